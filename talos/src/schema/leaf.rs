//! Scalars with a form of their own: how they are read and written again.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::decode::whole_number;
use super::number::{Size, parse_duration, parse_size, print_duration, print_size};
use super::{Leaf, Url};
use crate::yaml::{Kind, Node, Scalar, Value, integer};

/// The redacted form of a key, which is no base64.
const REDACTED: &str = "******";

/// The normal form of a leaf, or what belongs there.
pub(super) fn normal(leaf: Leaf, node: &Node) -> Result<Node, &'static str> {
    if leaf == Leaf::ArgumentValue
        && let Some(items) = node.as_sequence()
    {
        let filled = items.iter().filter(|i| !i.is_null());
        let texts = filled.map(|i| i.as_text().map(Node::text));
        let texts = texts
            .collect::<Option<Vec<_>>>()
            .ok_or("a text or a list of texts")?;
        return Ok(Node::list(texts));
    }
    let what = expected(leaf);
    let scalar = node.as_scalar().ok_or(what)?;
    let text = scalar.text.as_str();
    let value = match leaf {
        Leaf::Duration => duration(scalar).map(|ns| Node::text(print_duration(ns))),
        Leaf::FileMode => whole_number(scalar)
            .filter(|mode| (0..=i128::from(u32::MAX)).contains(mode))
            .map(|mode| Node::new(Value::Scalar(Scalar::raw(Kind::Int, format!("0o{mode:o}"))))),
        Leaf::DiskSize => parse_size(text).map(print_size),
        Leaf::ByteSize => {
            (text.is_empty() || Size::parse_bytes(text).is_some()).then(|| Node::text(text))
        }
        Leaf::Size => (text.is_empty() || Size::parse(text).is_some()).then(|| Node::text(text)),
        Leaf::HardwareAddress => hardware_address(text).map(Node::text),
        Leaf::PortRange => port_range(scalar),
        Leaf::SizeCondition => size_condition(text).then(|| Node::text(text.trim())),
        Leaf::Address => or_empty(text, |t| Some(address(t)?.to_string())),
        Leaf::AddressPort => or_empty(text, |t| Some(t.parse::<SocketAddr>().ok()?.to_string())),
        Leaf::Prefix => or_empty(text, |t| {
            let (address, length) = parse_prefix(t)?;
            Some(format!("{address}/{length}"))
        }),
        Leaf::Manifest => {
            let line_ends = ['\t', '\n', '\u{b}', '\u{c}', '\r'];
            Some(Node::text(text.trim_start_matches(line_ends)))
        }
        Leaf::Base64 => base64(text).map(Node::text),
        Leaf::Url => or_empty(text, |t| Some(Url::parse(t)?.to_string())),
        Leaf::RoutingTable => routing_table(text),
        Leaf::ArgumentValue | Leaf::Expression => Some(Node::text(text)),
    };
    value.ok_or(what)
}

fn expected(leaf: Leaf) -> &'static str {
    match leaf {
        Leaf::Duration => "a duration like 1m30s",
        Leaf::FileMode => "a file mode like 0o644",
        Leaf::DiskSize | Leaf::ByteSize => "a size like 100GB",
        Leaf::Size => "a size like 100GB or 80%",
        Leaf::SizeCondition => "a size like >= 100GB",
        Leaf::Address => "an IP address",
        Leaf::AddressPort => "an IP address and a port like 10.0.0.5:51820",
        Leaf::Prefix => "an address with a prefix length like 10.0.0.5/24",
        Leaf::PortRange => "a port or a range like 1000-2000",
        Leaf::ArgumentValue => "a text or a list of texts",
        Leaf::HardwareAddress => "a hardware address like 00:1b:21:aa:bb:cc",
        Leaf::Base64 => "base64",
        Leaf::Url => "a URL",
        Leaf::RoutingTable => "a routing table: main, local, default or 1 to 252",
        Leaf::Manifest | Leaf::Expression => "a text",
    }
}

fn or_empty(text: &str, print: impl FnOnce(&str) -> Option<String>) -> Option<Node> {
    if text.is_empty() {
        return Some(Node::text(""));
    }
    print(text).map(Node::text)
}

fn duration(scalar: &Scalar) -> Option<i128> {
    match scalar.kind {
        // A number has no unit; nought needs none.
        Kind::Int => integer(&scalar.text).filter(|n| *n == 0),
        Kind::Text => parse_duration(&scalar.text),
        Kind::Null | Kind::Bool | Kind::Float | Kind::Timestamp => None,
    }
}

fn hardware_address(text: &str) -> Option<String> {
    let digits: Vec<char> = text.chars().filter(|c| *c != ':').collect();
    let valid = digits.len().is_multiple_of(2) && digits.iter().all(char::is_ascii_hexdigit);
    let pairs = digits.chunks(2).map(|pair| pair.iter().collect::<String>());
    valid.then(|| pairs.collect::<Vec<_>>().join(":").to_ascii_lowercase())
}

fn port_range(scalar: &Scalar) -> Option<Node> {
    if scalar.kind == Kind::Int {
        let port = integer(&scalar.text).and_then(|n| u16::try_from(n).ok());
        return port.map(Node::integer);
    }
    let (low, high) = scalar.text.split_once('-')?;
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (low, high) = (port(low)?, port(high)?);
    Some(match low == high {
        true => Node::integer(low),
        false => Node::text(format!("{low}-{high}")),
    })
}

/// An operator, if any, and a size.
fn size_condition(text: &str) -> bool {
    let text = text.trim();
    let operators = [">=", "<=", "==", ">", "<"];
    let size = operators.iter().find_map(|o| text.strip_prefix(o));
    parse_size(size.unwrap_or(text).trim()).is_some()
}

fn address(text: &str) -> Option<Zoned<'_>> {
    let (address, zone) = match text.split_once('%') {
        Some((_, "")) => return None,
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let address = address.parse().ok()?;
    (zone.is_none() || matches!(address, IpAddr::V6(_))).then_some(Zoned { address, zone })
}

struct Zoned<'a> {
    address: IpAddr,
    zone: Option<&'a str>,
}

impl std::fmt::Display for Zoned<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.address)?;
        self.zone.map_or(Ok(()), |zone| write!(f, "%{zone}"))
    }
}

/// An address and the length of its network's prefix, in the one notation that Go takes.
pub(crate) fn parse_prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let digits = length.bytes().all(|b| b.is_ascii_digit());
    if !digits || (length.len() > 1 && length.starts_with('0')) {
        return None;
    }
    let address: IpAddr = address.parse().ok()?;
    let length_max = match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    let length = length.parse().ok()?;
    (length <= length_max).then_some((address, length))
}

/// Base64 as Go prints it again; line breaks inside it are dropped.
fn base64(text: &str) -> Option<Cow<'_, str>> {
    if text == REDACTED {
        return Some(Cow::Borrowed(text));
    }
    if !text.contains(['\n', '\r']) {
        return STANDARD.decode(text).is_ok().then_some(Cow::Borrowed(text));
    }
    let joined = text.replace(['\n', '\r'], "");
    STANDARD
        .decode(&joined)
        .is_ok()
        .then_some(Cow::Owned(joined))
}

fn routing_table(text: &str) -> Option<Node> {
    const NAMES: [&str; 4] = ["unspec", "default", "main", "local"];
    if let Some(name) = NAMES.iter().find(|n| n.eq_ignore_ascii_case(text)) {
        return Some(Node::text(*name));
    }
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    let number: Option<u8> = plain.then(|| text.parse().ok()).flatten();
    number
        .filter(|n| (1..=252).contains(n))
        .map(|_| Node::text(text))
}
