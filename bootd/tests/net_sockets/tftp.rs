//! TFTP with curl as a foreign client where it can TFTP, and with a small client of our own for what curl does not do.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::fixture::Site;

/// A read request with options, as firmware writes it.
fn request(name: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let mut b = vec![0, 1];
    for word in [name, "octet"]
        .into_iter()
        .chain(options.iter().flat_map(|(k, v)| [*k, *v]))
    {
        b.extend(word.as_bytes());
        b.push(0);
    }
    b
}

struct Client {
    socket: UdpSocket,
    server: SocketAddr,
}

impl Client {
    async fn ask(site: &Site, name: &str, options: &[(&str, &str)]) -> (Self, Vec<u8>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = site.bound.tftp.unwrap();
        socket
            .send_to(&request(name, options), server)
            .await
            .unwrap();
        let mut client = Self { socket, server };
        let (from, first) = client.receive().await;
        // The transfer goes on from a port of its own (RFC 1350 §4).
        assert_ne!(from, server);
        client.server = from;
        (client, first)
    }

    async fn receive(&self) -> (SocketAddr, Vec<u8>) {
        let mut buffer = vec![0; 70_000];
        let receive = self.socket.recv_from(&mut buffer);
        let (length, from) = tokio::time::timeout(Duration::from_secs(20), receive)
            .await
            .expect("a packet")
            .unwrap();
        buffer.truncate(length);
        (from, buffer)
    }

    async fn acknowledge(&self, block: u16) {
        let [a, b] = block.to_be_bytes();
        self.socket
            .send_to(&[0, 4, a, b], self.server)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn curl_fetches_it_whole() {
    let site = Site::start().await;
    let protocols = Command::new("curl").arg("--version").output();
    let has_tftp = protocols.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains(" tftp"));
    if !has_tftp {
        eprintln!("SKIPPED: no curl with TFTP here, apt-get install curl");
        return;
    }
    let url = format!("tftp://{}/snponly.efi", site.bound.tftp.unwrap());
    let fetched = tokio::task::spawn_blocking(move || {
        Command::new("curl")
            .args(["-sS", "--tftp-blksize", "1468", &url])
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    assert!(
        fetched.status.success(),
        "{}",
        String::from_utf8_lossy(&fetched.stderr)
    );
    assert_eq!(fetched.stdout, vec![0x5a; 174_001]);
    site.desk.told("BootFileServed").await;
    assert_eq!(
        site.desk.all(),
        [
            "fact r1-u1/7 BootFileRequested { name: \"snponly.efi\" }",
            "fact r1-u1/7 BootFileServed { name: \"snponly.efi\" }",
        ]
    );
    site.stop().await;
}

#[tokio::test]
async fn a_transfer_that_ends_before_its_address_is_known_is_told_all_the_same() {
    let site = Site::start().await;
    let mut owner = None;
    site.desk
        .set(|script| owner = script.machine_at.pop_first());
    let (mut client, first) = Client::ask(&site, "undionly.kpxe", &[]).await;
    let mut data = first;
    while data.len() == 4 + 512 {
        client
            .acknowledge(u16::from_be_bytes([data[2], data[3]]))
            .await;
        (client.server, data) = client.receive().await;
    }
    client
        .acknowledge(u16::from_be_bytes([data[2], data[3]]))
        .await;
    // Requested and served were looked up in vain; a change that has nothing to do with it tells nothing either.
    site.desk.looked_up(3).await;
    site.desk.set(|_| {});
    assert_eq!(site.desk.all(), [""; 0]);
    site.desk.set(|script| script.machine_at.extend(owner));
    site.desk.told("BootFileServed").await;
    assert_eq!(
        site.desk.all(),
        [
            "fact r1-u1/7 BootFileRequested { name: \"undionly.kpxe\" }",
            "fact r1-u1/7 BootFileServed { name: \"undionly.kpxe\" }",
        ]
    );
    site.stop().await;
}

#[tokio::test]
async fn options_and_windows() {
    let site = Site::start().await;
    let options = [
        ("blksize", "1024"),
        ("tsize", "0"),
        ("windowsize", "4"),
        ("timeout", "2"),
    ];
    let (client, oack) = Client::ask(&site, "undionly.kpxe", &options).await;
    assert_eq!(&oack[..2], [0, 6]);
    let text = String::from_utf8_lossy(&oack[2..]).replace('\0', " ");
    for want in ["blksize 1024", "tsize 70000", "windowsize 4", "timeout 2"] {
        assert!(text.contains(want), "{text}");
    }
    client.acknowledge(0).await;
    let mut got = 0;
    let mut block = 0;
    loop {
        let (_, data) = client.receive().await;
        assert_eq!(&data[..2], [0, 3]);
        block += 1;
        assert_eq!(u16::from_be_bytes([data[2], data[3]]), block);
        got += data.len() - 4;
        let is_last = data.len() < 1028;
        if block % 4 == 0 || is_last {
            client.acknowledge(block).await;
        }
        if is_last {
            break;
        }
    }
    assert_eq!(got, 70_000);
    site.desk.told("BootFileServed").await;
    site.stop().await;
}

#[tokio::test]
async fn no_paths_and_no_writing() {
    let site = Site::start().await;
    for name in [
        "../kernel",
        "/etc/passwd",
        "assets/tiny",
        "autoexec.ipxe",
        "",
    ] {
        let (_, error) = Client::ask(&site, name, &[]).await;
        assert_eq!(&error[..4], [0, 5, 0, 1], "{name}: file not found");
    }
    site.desk
        .told("asked TFTP for autoexec.ipxe, which is not in the assets directory")
        .await;
    // A leading slash is how some ROMs write a plain name.
    let (client, data) = Client::ask(&site, "/tiny", &[]).await;
    assert_eq!(data, b"\0\x03\0\x01tiny");
    client.acknowledge(1).await;
    // A write request.
    let mut write = request("tiny", &[]);
    write[1] = 2;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket
        .send_to(&write, site.bound.tftp.unwrap())
        .await
        .unwrap();
    let mut buffer = [0; 600];
    socket.recv_from(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..4], [0, 5, 0, 2], "access violation");
    site.stop().await;
}

#[tokio::test]
async fn a_stalled_transfer_is_seen_and_a_size_probe_is_not() {
    let site = Site::start().await;
    // A ROM asks for the size, abandons the transfer and begins again from another port.
    let (_probe, oack) = Client::ask(&site, "tiny", &[("tsize", "0")]).await;
    assert!(String::from_utf8_lossy(&oack).contains("tsize\u{0}4"));
    let (client, _) = Client::ask(&site, "tiny", &[]).await;
    client.acknowledge(1).await;
    // Another machine's firmware dies after the first block.
    let (stalled, _) = Client::ask(&site, "snponly.efi", &[]).await;
    stalled.acknowledge(1).await;
    let note = site.desk.told("ALARM").await;
    insta::assert_snapshot!(note, @"note r1-u1 tftp ALARM: TFTP transfer of snponly.efi to 127.0.0.1 stalled: at most 1024 of 174001 bytes arrived, nothing was acknowledged after that");
    let sends = {
        let mut sends = 0;
        let mut buffer = [0; 600];
        while stalled.socket.try_recv(&mut buffer).is_ok() {
            sends += u32::from(buffer[..4] == [0, 3, 0, 2]);
        }
        sends
    };
    assert_eq!(sends, 6, "one send and five retransmits");
    let all = site.desk.all();
    assert!(
        !all.iter().any(|t| t.contains("transfer of tiny")),
        "{all:#?}"
    );
    assert_eq!(
        all.iter().filter(|t| t.contains("BootFileServed")).count(),
        1,
        "{all:#?}"
    );
    site.stop().await;
}

#[tokio::test]
async fn one_address_cannot_take_every_transfer() {
    let site = Site::start().await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(Client::ask(&site, "snponly.efi", &[]).await);
    }
    let (_, error) = Client::ask(&site, "snponly.efi", &[]).await;
    assert_eq!(&error[..2], [0, 5], "{}", String::from_utf8_lossy(&error));
    site.stop().await;
}
