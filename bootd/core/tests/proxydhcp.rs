//! Ladders of the proxy DHCP core: what each firmware sent on the wire, and the one datagram that answers it.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test stop it, as its own unwraps do"
)]

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

use bootd_core::netboot::proxydhcp::{Door, Heard, Ignore, Offerings, boot_file, hear};
use bootd_core::wire::dhcp::{self, Malformed};
use proptest::prelude::*;

const US: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x77, 0x00, 0x02];
const ASSETS: &[&str] = &["undionly.kpxe", "snponly.efi", "ipxe.efi", "ipxe-arm64.efi"];
/// 00112233-4455-6677-8899-aabbccddeeff as option 97 carries it.
const UUID: [u8; 17] = [
    0, 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
    0xff,
];
/// iPXE's encapsulated options as a 2019 build sends them, shortened.
const IPXE_175: &[u8] = &[
    0xb1, 5, 1, 0x10, 0xec, 0x81, 0x39, 0x19, 1, 1, 0xeb, 3, 1, 0, 0,
];

const DISCOVER: u8 = 1;
const REQUEST: u8 = 3;
const INFORM: u8 = 8;

/// A client's message before its options are written.
struct Packet {
    kind: u8,
    hops: u8,
    flags: u16,
    ciaddr: Ipv4Addr,
    giaddr: Ipv4Addr,
    options: Vec<(u8, Vec<u8>)>,
}

impl Packet {
    fn new(kind: u8) -> Self {
        Self {
            kind,
            hops: 0,
            flags: 0x8000,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            options: vec![(57, vec![0x05, 0xc0])],
        }
    }

    fn option(mut self, code: u8, value: &[u8]) -> Self {
        self.options.push((code, value.to_vec()));
        self
    }

    /// Options 60, 93, 94 and 97 as every PXE client sends them.
    fn pxe(self, class: &str, arch: u16) -> Self {
        self.option(60, class.as_bytes())
            .option(93, &arch.to_be_bytes())
            .option(94, &[1, 3, 0x10])
            .option(97, &UUID)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut b = vec![0; 236];
        (b[0], b[1], b[2], b[3]) = (1, 1, 6, self.hops);
        b[4..8].copy_from_slice(&[0xca, 0xfe, 0, 1]);
        b[10..12].copy_from_slice(&self.flags.to_be_bytes());
        b[12..16].copy_from_slice(&self.ciaddr.octets());
        b[24..28].copy_from_slice(&self.giaddr.octets());
        b[28..34].copy_from_slice(&MAC);
        b.extend([99, 130, 83, 99, 53, 1, self.kind]);
        for (code, value) in &self.options {
            b.extend([*code, u8::try_from(value.len()).unwrap()]);
            b.extend(value);
        }
        b.push(255);
        b
    }
}

/// Sends a packet and writes down what leaves.
fn ladder(packet: &Packet, from: &str, door: Door) -> String {
    let from: SocketAddrV4 = from.parse().unwrap();
    let ask = match hear(&packet.bytes(), from, door, US) {
        Heard::Ask(ask) => ask,
        heard @ (Heard::Seen(_) | Heard::Rival { .. } | Heard::Ignore(_)) => {
            return format!("{heard:?}");
        }
    };
    let has = |name: &str| ASSETS.contains(&name);
    let offerings = Offerings {
        server: US,
        http: "http://10.77.0.1:8081",
        boot_file: boot_file(ask.client, has),
    };
    let mut out = format!(
        "{:?} arch {} uuid {} at {:?}\n",
        ask.client,
        ask.arch,
        ask.uuid.as_deref().unwrap_or("-"),
        ask.address
    );
    match ask.reply(&offerings) {
        Ok(reply) => {
            let _ = write!(out, "to {}: {}", reply.to, written(&reply.datagram));
        }
        Err(why) => {
            let _ = write!(out, "{why:?}");
        }
    }
    out
}

/// A reader of its own, so that a mistake that parser and emitter share is seen.
fn written(b: &[u8]) -> String {
    assert!(b.len() >= 300, "BOOTP wants 300 bytes, got {}", b.len());
    assert_eq!(&b[4..8], [0xca, 0xfe, 0, 1], "transaction");
    assert_eq!(&b[28..34], MAC, "hardware address");
    assert_eq!(&b[236..240], [99, 130, 83, 99], "cookie");
    let ip = |at: usize| Ipv4Addr::new(b[at], b[at + 1], b[at + 2], b[at + 3]);
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let file = &b[108..236];
    let file = text(&file[..file.iter().position(|x| *x == 0).unwrap()]);
    let mut out = format!(
        "op {} flags {:02x}{:02x} ciaddr {} yiaddr {} siaddr {} giaddr {}\nfile {file:?}\n",
        b[0],
        b[10],
        b[11],
        ip(12),
        ip(16),
        ip(20),
        ip(24)
    );
    let mut at = 240;
    while b[at] != 255 {
        let (code, length) = (b[at], usize::from(b[at + 1]));
        let value = &b[at + 2..at + 2 + length];
        let shown = match code {
            60 | 66 | 67 => format!("{:?}", text(value)),
            _ => value
                .iter()
                .map(|x| format!("{x:02x}"))
                .collect::<Vec<_>>()
                .join(" "),
        };
        let _ = writeln!(out, "  {code} {shown}");
        at += 2 + length;
    }
    out
}

const EVERYBODY: &str = "0.0.0.0:68";

#[test]
fn bios_rom() {
    // A vendor's ROM; the one in QEMU is an iPXE and says so.
    let rom = Packet::new(DISCOVER).pxe("PXEClient:Arch:00000:UNDI:002001", 0);
    insta::assert_snapshot!(ladder(&rom, EVERYBODY, Door::Proxy));
}

#[test]
fn ovmf() {
    let ovmf = Packet::new(DISCOVER).pxe("PXEClient:Arch:00007:UNDI:003000", 7);
    insta::assert_snapshot!(ladder(&ovmf, EVERYBODY, Door::Proxy));
}

#[test]
fn ovmf_http_boot() {
    // Its option 55 holds one garbage code; nothing reads it.
    let http = Packet::new(DISCOVER)
        .pxe("HTTPClient:Arch:00016:UNDI:003000", 16)
        .option(55, &[1, 2, 3, 232, 67]);
    insta::assert_snapshot!(ladder(&http, EVERYBODY, Door::Proxy));
}

#[test]
fn aavmf() {
    let arm = Packet::new(DISCOVER).pxe("PXEClient:Arch:00011:UNDI:003000", 11);
    insta::assert_snapshot!(ladder(&arm, EVERYBODY, Door::Proxy));
}

#[test]
fn ipxe_2019_and_2025() {
    let old = Packet::new(DISCOVER)
        .pxe("PXEClient:Arch:00007:UNDI:003010", 7)
        .option(77, b"iPXE")
        .option(175, IPXE_175);
    insta::assert_snapshot!(ladder(&old, EVERYBODY, Door::Proxy));
    // A chained 2025 build leaves out the architecture's suffix in option 60.
    let new = Packet::new(DISCOVER)
        .pxe("PXEClient", 7)
        .option(77, b"iPXE");
    assert_eq!(
        ladder(&new, EVERYBODY, Door::Proxy),
        ladder(&old, EVERYBODY, Door::Proxy)
    );
    // By option 175 alone.
    let bare = Packet::new(DISCOVER)
        .pxe("PXEClient", 7)
        .option(175, IPXE_175);
    assert_eq!(
        ladder(&bare, EVERYBODY, Door::Proxy),
        ladder(&old, EVERYBODY, Door::Proxy)
    );
}

#[test]
fn port_4011() {
    let mut rom = Packet::new(REQUEST)
        .pxe("PXEClient:Arch:00007:UNDI:003000", 7)
        .option(43, &[71, 4, 0, 0, 0, 0, 255]);
    rom.ciaddr = Ipv4Addr::new(10, 77, 0, 50);
    rom.flags = 0;
    insta::assert_snapshot!(ladder(&rom, "10.77.0.50:4011", Door::BootServer));
    // INFORM asks the same; a DISCOVER has no business there.
    rom.kind = INFORM;
    assert!(ladder(&rom, "10.77.0.50:4011", Door::BootServer).contains("to 10.77.0.50:4011"));
    rom.kind = DISCOVER;
    assert_eq!(
        ladder(&rom, "10.77.0.50:4011", Door::BootServer),
        "Ignore(NotAQuestion)"
    );
    assert_eq!(
        ladder(&rom, "10.77.0.50:68", Door::Overhear),
        "Ignore(NotAQuestion)"
    );
}

#[test]
fn relays() {
    let to = |packet: &Packet, from: &str| {
        let out = ladder(packet, from, Door::Proxy);
        out.lines()
            .find_map(|line| {
                line.strip_prefix("to ")
                    .map(|l| l.split(": ").next().unwrap().to_owned())
            })
            .unwrap_or(out)
    };
    let mut relayed = Packet::new(DISCOVER)
        .pxe("PXEClient:Arch:00007:UNDI:003000", 7)
        .option(82, &[1, 2, 0xab, 0xcd, 2, 1, 7]);
    relayed.giaddr = Ipv4Addr::new(10, 88, 0, 254);
    relayed.hops = 1;
    // A relay on the network that it relays for, and one that sends from another of its addresses.
    assert_eq!(to(&relayed, "10.88.0.254:67"), "10.88.0.254:67");
    assert_eq!(to(&relayed, "10.88.0.254:10067"), "10.88.0.254:10067");
    assert_eq!(to(&relayed, "10.77.0.254:67"), "10.88.0.254:67");
    let out = ladder(&relayed, "10.77.0.254:67", Door::Proxy);
    assert!(
        out.contains("82 01 02 ab cd 02 01 07"),
        "the relay's own data returns to it: {out}"
    );
    assert!(
        out.contains("at None"),
        "a relay's address is not its client's: {out}"
    );
    // A machine on loopback that speaks as its own relay is where it says it is.
    relayed.giaddr = Ipv4Addr::new(127, 0, 3, 7);
    relayed.hops = 1;
    let out = ladder(&relayed, "127.0.3.7:40000", Door::Proxy);
    assert!(out.contains("at Some(127.0.3.7)"), "{out}");
    assert!(out.contains("to 127.0.3.7:40000"), "{out}");
}

#[test]
fn unicast_when_it_has_an_address() {
    let mut renewing = Packet::new(DISCOVER).pxe("PXEClient:Arch:00000:UNDI:002001", 0);
    renewing.ciaddr = Ipv4Addr::new(10, 77, 0, 60);
    renewing.flags = 0;
    let out = ladder(&renewing, "10.77.0.60:68", Door::Proxy);
    assert!(out.contains("to 10.77.0.60:68"), "{out}");
    renewing.ciaddr = Ipv4Addr::UNSPECIFIED;
    let out = ladder(&renewing, EVERYBODY, Door::Proxy);
    assert!(
        out.contains("to 255.255.255.255:68"),
        "no yiaddr to send to: {out}"
    );
}

#[test]
fn silence() {
    let check =
        |packet: Packet, want: &str| assert_eq!(ladder(&packet, EVERYBODY, Door::Proxy), want);
    // An ordinary client, one without an architecture, 32-bit UEFI, a type that is no question.
    check(
        Packet::new(DISCOVER).option(60, b"MSFT 5.0"),
        "Ignore(NotPxe)",
    );
    check(Packet::new(DISCOVER), "Ignore(NotPxe)");
    check(
        Packet::new(DISCOVER).option(60, b"PXEClient"),
        "Ignore(Architecture)",
    );
    check(
        Packet::new(DISCOVER).pxe("PXEClient:Arch:00006:UNDI:003000", 6),
        "Ignore(Architecture)",
    );
    check(
        Packet::new(7).pxe("PXEClient:Arch:00007:UNDI:003000", 7),
        "Ignore(NotAQuestion)",
    );
    // A REQUEST to the server that gives the addresses shows the address that the machine takes.
    check(
        Packet::new(REQUEST)
            .pxe("PXEClient:Arch:00007:UNDI:003000", 7)
            .option(50, &[10, 77, 0, 50])
            .option(54, &[10, 77, 0, 254]),
        "Seen(Sighting { mac: 52:54:00:77:00:02, uuid: Some(\"00112233-4455-6677-8899-aabbccddeeff\"), address: 10.77.0.50 })",
    );
    // One to us is answered.
    let ours = Packet::new(REQUEST)
        .pxe("PXEClient:Arch:00007:UNDI:003000", 7)
        .option(54, &US.octets());
    assert!(ladder(&ours, EVERYBODY, Door::Proxy).contains("  53 05\n"));
}

#[test]
fn identifiers_and_several_architectures() {
    // Missing, empty and odd identifiers do not keep a machine from booting; only a good one is mirrored.
    for odd in [&[][..], &[0; 5], &UUID[..16]] {
        let packet = Packet::new(DISCOVER)
            .option(60, b"PXEClient:Arch:00007:UNDI:003000")
            .option(93, &[0, 7])
            .option(97, odd);
        let out = ladder(&packet, EVERYBODY, Door::Proxy);
        assert!(
            out.contains("uuid -") && out.contains("file \"snponly.efi\""),
            "{out}"
        );
        assert!(!out.contains("  97 "), "{out}");
    }
    // dhcproto keeps the first of several values, which is the one that counts.
    let packet = Packet::new(DISCOVER)
        .option(60, b"PXEClient")
        .option(93, &[0, 9, 0, 0, 0, 6]);
    assert!(ladder(&packet, EVERYBODY, Door::Proxy).contains("file \"snponly.efi\""));
}

#[test]
fn options_that_a_decoder_dies_of() {
    // A classless route with a prefix of 33 bits, a network interface of one byte, a user class that is cut.
    let packet = Packet::new(DISCOVER)
        .option(121, &[33, 1, 2, 3, 4, 5, 6, 7, 8])
        .option(94, &[1])
        .option(116, &[])
        .pxe("PXEClient:Arch:00007:UNDI:003000", 7);
    assert!(ladder(&packet, EVERYBODY, Door::Proxy).contains("file \"snponly.efi\""));
    let mut cut = packet.bytes();
    cut.pop();
    cut.extend([77, 200, b'i']);
    let heard = hear(&cut, EVERYBODY.parse().unwrap(), Door::Proxy, US);
    assert!(matches!(heard, Heard::Ask(_)), "{heard:?}");
}

#[test]
fn an_empty_shelf_is_told() {
    let packet = Packet::new(DISCOVER).pxe("PXEClient:Arch:00011:UNDI:003000", 11);
    let from = EVERYBODY.parse().unwrap();
    let Heard::Ask(ask) = hear(&packet.bytes(), from, Door::Proxy, US) else {
        panic!("an ask");
    };
    let offerings = Offerings {
        server: US,
        http: "http://h",
        boot_file: boot_file(ask.client, |name| name == "undionly.kpxe"),
    };
    assert_eq!(ask.reply(&offerings), Err(Ignore::NoBootFile));
}

#[test]
fn rivals() {
    // An OFFER of another boot server; our own; one of a plain address server.
    let offer = |server: [u8; 4], class: &[u8], file: &[u8]| {
        let mut packet = Packet::new(2).option(54, &server).option(60, class);
        if !file.is_empty() {
            packet = packet.option(67, file);
        }
        let mut bytes = packet.bytes();
        bytes[0] = 2;
        let from = SocketAddrV4::new(server.into(), 67);
        format!("{:?}", hear(&bytes, from, Door::Overhear, US))
    };
    assert_eq!(
        offer([10, 77, 0, 9], b"PXEClient", b"pxelinux.0\0"),
        "Rival { server: 10.77.0.9, mac: 52:54:00:77:00:02, file: Some(\"pxelinux.0\") }"
    );
    assert_eq!(
        offer(US.octets(), b"PXEClient", b"snponly.efi"),
        "Ignore(Addresses)"
    );
    assert_eq!(offer([10, 77, 0, 254], b"", b""), "Ignore(Addresses)");
}

#[test]
fn malformed() {
    let good = Packet::new(DISCOVER).pxe("PXEClient", 7).bytes();
    let check = |change: &dyn Fn(&mut Vec<u8>), want: Malformed| {
        let mut bytes = good.clone();
        change(&mut bytes);
        assert_eq!(dhcp::parse(&bytes), Err(want));
    };
    check(&|b| b.truncate(239), Malformed::Short);
    check(&|b| b.clear(), Malformed::Short);
    check(&|b| b[236] = 0, Malformed::NoCookie);
    check(&|b| b[2] = 255, Malformed::NotEthernet);
    check(&|b| b[2] = 7, Malformed::NotEthernet);
    check(&|b| b[1] = 6, Malformed::NotEthernet);
    check(&|b| b[0] = 9, Malformed::Opcode);
}

proptest! {
    /// Any options at all, well framed: the framing is what lets them through to the decoder.
    #[test]
    fn hostile_options(options in proptest::collection::vec((1u8..255, proptest::collection::vec(any::<u8>(), 0..40)), 0..8)) {
        let mut packet = Packet::new(DISCOVER);
        for (code, value) in &options {
            packet = packet.option(*code, value);
        }
        let heard = hear(&packet.bytes(), EVERYBODY.parse().unwrap(), Door::Proxy, US);
        if let Heard::Ask(ask) = heard {
            let offerings = Offerings { server: US, http: "http://h", boot_file: Some("f") };
            if let Ok(reply) = ask.reply(&offerings) {
                prop_assert!(matches!(dhcp::parse(&reply.datagram), Ok(dhcp::Incoming::Answer(_))));
            }
        }
    }

    /// Hostile bytes: no panic, and never more than one datagram, which is a reply to this client.
    #[test]
    fn hostile_bytes(noise in proptest::collection::vec(any::<u8>(), 0..600), cut in 0usize..400, at in 0usize..300, door in 0usize..3) {
        let door = [Door::Proxy, Door::BootServer, Door::Overhear][door];
        let mut bytes = Packet::new(DISCOVER).pxe("PXEClient:Arch:00007:UNDI:003000", 7).bytes();
        for (offset, byte) in noise.iter().enumerate() {
            if let Some(slot) = bytes.get_mut(at + offset) {
                *slot = *byte;
            }
        }
        bytes.extend(&noise);
        bytes.truncate(cut + 200);
        for bytes in [&bytes, &noise] {
            if let Heard::Ask(ask) = hear(bytes, EVERYBODY.parse().unwrap(), door, US) {
                let offerings = Offerings { server: US, http: "http://h", boot_file: Some("f") };
                if let Ok(reply) = ask.reply(&offerings) {
                    prop_assert!(matches!(dhcp::parse(&reply.datagram), Ok(dhcp::Incoming::Answer(_))));
                    prop_assert!(reply.datagram.len() <= 1472);
                }
            }
        }
    }
}
