//! Named interfaces: two boot networks on one port, and empty router advertisements. Needs root, for interfaces of its own.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::process::Command;
use std::time::Duration;

use bootd::net::DhcpListener;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::fixture::{Kernel, NO_FACTORY, Site};

/// Set in the process that runs in a network namespace of its own.
const INSIDE: &str = "METAL_TEST_NAMESPACE";
/// Two pairs of interfaces: `net0` and `net1` are ours, `far0` and `far1` the machines' ends.
const SETUP: &str = "
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
ip link set lo up
for n in 0 1; do
  ip link add net$n type veth peer name far$n
  ip link set net$n up
  ip link set far$n up
done
exec \"$@\"
";

#[test]
fn named_interfaces_share_a_port_and_get_empty_router_advertisements() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(inside());
    }
    let me = std::env::current_exe().unwrap();
    let test = "router::named_interfaces_share_a_port_and_get_empty_router_advertisements";
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-ec", SETUP, "sh"]).arg(me);
    let ran = command
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let Ok(ran) = ran else {
        eprintln!("SKIPPED: there is no `unshare`: {ran:?}");
        return;
    };
    let text = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    if text.contains("Operation not permitted") && !text.contains("panicked") {
        eprintln!("SKIPPED: interfaces of one's own need root: {text}");
        return;
    }
    assert!(ran.status.success() && text.contains("1 passed"), "{text}");
}

async fn inside() {
    let network = |interface: &str, proxy: u16| DhcpListener {
        proxy: any(proxy),
        boot_server: any(proxy + 1),
        overhear: Some(any(proxy + 2)),
        interface: Some(interface.to_owned()),
    };
    let site = Site::on(
        NO_FACTORY,
        Kernel::Zeros(1000),
        Ipv4Addr::LOCALHOST,
        vec![network("net0", 4100), network("net1", 4100)],
        vec!["net0".to_owned()],
    )
    .await;
    assert_eq!(site.bound.dhcp.len(), 2, "one port, two interfaces");
    assert!(site.bound.dhcp.iter().all(|n| n.overhear.is_some()));

    let advertisement = solicit("far0").await.expect("an answer");
    // RFC 4861 §4.2: flags, lifetime and both timers are zero, and no option follows.
    assert_eq!(advertisement.len(), 16, "{advertisement:?}");
    assert_eq!(advertisement[0], 134);
    assert_eq!(&advertisement[4..], [0; 12]);
    assert_eq!(solicit("far1").await, None, "not asked to answer there");
    site.stop().await;
}

/// What comes back to a router solicitation; none within a while.
async fn solicit(interface: &str) -> Option<Vec<u8>> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind_device(Some(interface.as_bytes())).unwrap();
    socket.set_multicast_hops_v6(255).unwrap();
    let socket = UdpSocket::from_std(socket.into()).unwrap();
    let routers = format!("ff02::2%{interface}");
    let to = (routers.as_str(), 0).to_socket_addrs().unwrap().next();
    let to = to.unwrap();
    let mut buffer = [0; 1500];
    for _ in 0..20 {
        // The link's own address may not be there yet.
        let _ = socket.send_to(&[133, 0, 0, 0, 0, 0, 0, 0], to).await;
        let answer = async {
            loop {
                let (length, _) = socket.recv_from(&mut buffer).await.unwrap();
                if buffer[0] == 134 {
                    return length;
                }
            }
        };
        if let Ok(length) = tokio::time::timeout(Duration::from_millis(100), answer).await {
            return Some(buffer[..length].to_vec());
        }
    }
    None
}

fn any(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}
