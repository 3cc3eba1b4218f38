//! DHCP over sockets: who is answered, what is on record before the answer, and the alarms.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bootd::net::Netboot;
use tokio::net::UdpSocket;

use super::fixture::{Site, Store, local};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x77, 0, 2];

/// A message of a machine that is its own relay at `at`.
fn message(op: u8, kind: u8, at: Ipv4Addr, options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut b = vec![0; 236];
    (b[0], b[1], b[2]) = (op, 1, 6);
    b[24..28].copy_from_slice(&at.octets());
    b[28..34].copy_from_slice(&MAC);
    b.extend([99, 130, 83, 99, 53, 1, kind]);
    for (code, value) in options {
        b.extend([*code, u8::try_from(value.len()).unwrap()]);
        b.extend(*value);
    }
    b.push(255);
    b
}

const OVMF: &[(u8, &[u8])] = &[(60, b"PXEClient:Arch:00007:UNDI:003000"), (93, &[0, 7])];
const ARM: &[(u8, &[u8])] = &[(60, b"PXEClient:Arch:00011:UNDI:003000"), (93, &[0, 11])];
const IPXE: &[(u8, &[u8])] = &[(60, b"PXEClient"), (93, &[0, 7]), (77, b"iPXE")];

async fn ask(socket: &UdpSocket, to: SocketAddr, message: &[u8]) {
    socket.send_to(message, to).await.unwrap();
}

async fn answer(socket: &UdpSocket) -> String {
    let mut buffer = [0; 1500];
    let receive = socket.recv_from(&mut buffer);
    let (length, _) = tokio::time::timeout(Duration::from_secs(10), receive)
        .await
        .expect("an answer")
        .unwrap();
    let file = &buffer[108..236];
    assert!(length >= 300);
    let end = file.iter().position(|b| *b == 0).unwrap();
    String::from_utf8(file[..end].to_vec()).unwrap()
}

#[tokio::test]
async fn a_machine_climbs_the_ladder() {
    let site = Site::start().await;
    let proxy = site.bound.dhcp[0].proxy;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = Ipv4Addr::LOCALHOST;

    ask(&socket, proxy, &message(1, 1, at, OVMF)).await;
    assert_eq!(answer(&socket).await, "snponly.efi");
    ask(&socket, proxy, &message(1, 1, at, IPXE)).await;
    let script = format!(
        "http://{}/boot/script?mac=52:54:00:77:00:02",
        site.bound.http
    );
    assert_eq!(answer(&socket).await, script);
    // On 4011 as well.
    ask(
        &socket,
        site.bound.dhcp[0].boot_server,
        &message(1, 3, at, OVMF),
    )
    .await;
    assert_eq!(answer(&socket).await, "snponly.efi");
    let all = site.desk.all();
    let facts: Vec<&str> = all
        .iter()
        .map(String::as_str)
        .filter(|t| t.starts_with("fact"))
        .collect();
    assert_eq!(
        facts,
        [
            "fact r1-u1/7 DhcpOffered { arch: 7 }",
            "fact r1-u1/7 IpxeOffered",
            "fact r1-u1/7 DhcpOffered { arch: 7 }",
        ]
    );
    assert!(all[0].contains("from: Some(127.0.0.1)"), "{}", all[0]);

    // No boot file for it: no answer, but the timeline says why.
    ask(&socket, proxy, &message(1, 1, at, ARM)).await;
    let note = site.desk.told("ALARM").await;
    insta::assert_snapshot!(note, @"note r1-u1 dhcp ALARM: asked DHCP for boot data and got none: a boot file for architecture 11 is not in the assets directory");
    site.stop().await;
}

#[tokio::test]
async fn silence_is_the_default() {
    let site = Site::start().await;
    let proxy = site.bound.dhcp[0].proxy;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = Ipv4Addr::LOCALHOST;
    // Unknown; own disk; store down. Each would be answered before the last question, which is.
    site.desk
        .set(|s| s.netboot = Netboot::Nothing("not declared"));
    ask(&socket, proxy, &message(1, 1, at, IPXE)).await;
    site.desk.told("asked").await;
    site.desk.set(|s| {
        s.told.clear();
        s.netboot = local();
    });
    ask(&socket, proxy, &message(1, 1, at, OVMF)).await;
    site.desk.told("asked").await;
    site.desk.set(|s| s.store = Store::Down);
    ask(&socket, proxy, &message(1, 1, at, IPXE)).await;
    ask(&socket, proxy, b"noise").await;
    site.desk.told("turned away").await;
    // Own disk: iPXE gets its script, and that is the only answer of all.
    site.desk.set(|s| s.store = Store::Up);
    ask(&socket, proxy, &message(1, 1, at, IPXE)).await;
    assert!(answer(&socket).await.contains("/boot/script?"));
    assert!(socket.try_recv(&mut [0; 1500]).is_err());
    site.stop().await;
}

#[tokio::test]
async fn a_second_boot_server_is_an_alarm() {
    let site = Site::start().await;
    let overhear = site.bound.dhcp[0].overhear.unwrap();
    let socket = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let offer: &[(u8, &[u8])] = &[
        (54, &[127, 0, 0, 2]),
        (60, b"PXEClient"),
        (67, b"evil.efi\n"),
    ];
    for _ in 0..3 {
        ask(
            &socket,
            overhear,
            &message(2, 2, Ipv4Addr::UNSPECIFIED, offer),
        )
        .await;
    }
    let note = site.desk.told("second boot server").await;
    insta::assert_snapshot!(note, @"note r1-u1 dhcp ALARM: a second boot server, 127.0.0.2, answered this machine with evil.efi: only one may serve a boot network");
    site.stop().await;
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let site = Site::start().await;
    let taken = site.bound.http;
    let again = std::net::TcpListener::bind(taken);
    assert!(again.is_err());
    let error = start_on(&site, vec![], taken).await.unwrap_err();
    let text = error.to_string().replace(&taken.to_string(), "ADDRESS");
    insta::assert_snapshot!(text, @"netboot.http cannot listen on ADDRESS: another program holds this port; find it with `ss -lnp` and stop it, or choose another address");
    site.stop().await;
}

#[tokio::test]
async fn a_taken_port_for_overhearing_is_no_reason_not_to_serve() {
    use super::fixture::free;
    let site = Site::start().await;
    let taken = site.bound.dhcp[0].overhear.unwrap();
    let network = bootd::net::DhcpListener {
        proxy: free(),
        boot_server: free(),
        overhear: Some(taken),
        interface: None,
    };
    let running = start_on(&site, vec![network], free()).await.unwrap();
    assert_eq!(running.bound.dhcp[0].overhear, None);
    assert_ne!(running.bound.dhcp[0].proxy.port(), 0);
    site.stop().await;
}

async fn start_on(
    site: &Site,
    dhcp: Vec<bootd::net::DhcpListener>,
    http: SocketAddr,
) -> Result<bootd::net::Running, bootd::net::StartError> {
    use super::fixture::{FakeDesk, free};
    let settings = bootd::net::Settings {
        advertise: Ipv4Addr::LOCALHOST,
        dhcp,
        empty_ra: vec![],
        tftp: None,
        http,
        https: free(),
        events: free(),
        kernel_log: free(),
        assets: site.dir.path().join("assets"),
        cache: site.dir.path().join("assembled-2"),
        agent: None,
        boot_files: std::collections::BTreeMap::new(),
        long_poll: Duration::from_secs(1),
    };
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(std::sync::Arc::new(
            rustls::server::ResolvesServerCertUsingSni::new(),
        ));
    bootd::net::start(
        settings,
        FakeDesk::new(),
        std::sync::Arc::clone(&site.images),
        std::sync::Arc::new(tls),
        String::new(),
        tokio_util::sync::CancellationToken::new(),
    )
    .await
}
