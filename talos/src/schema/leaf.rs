//! Scalars with a form of their own: how they are read and written again.

use std::net::IpAddr;

use super::Leaf;
use crate::yaml::{Kind, Node, Scalar, Value};

/// The normal form of a leaf, or what belongs there.
pub(super) fn normal(leaf: Leaf, node: &Node) -> Result<Node, &'static str> {
    if leaf == Leaf::ArgumentValue
        && let Some(items) = node.as_sequence()
    {
        let texts = items.iter().map(|i| i.as_text().map(Node::text));
        let texts = texts
            .collect::<Option<Vec<_>>>()
            .ok_or("a text or a list of texts")?;
        return Ok(Node::list(texts));
    }
    let what = expected(leaf);
    let scalar = node.as_scalar().ok_or(what)?;
    let text = scalar.text.as_str();
    match leaf {
        Leaf::Duration => match scalar.kind {
            Kind::Int => Some(Node::text(print_duration(
                crate::yaml::integer(text).ok_or(what)?,
            ))),
            Kind::Null | Kind::Bool | Kind::Float | Kind::Timestamp | Kind::Text => {
                parse_duration(text).map(|ns| Node::text(print_duration(ns)))
            }
        },
        Leaf::FileMode => crate::yaml::integer(text)
            .map(|mode| Node::new(Value::Scalar(Scalar::raw(Kind::Int, format!("0o{mode:o}"))))),
        Leaf::DiskSize => parse_size(text).map(print_size),
        Leaf::ByteSize => Some(Node::text(text)),
        Leaf::HardwareAddress => Some(Node::text(text.to_ascii_lowercase())),
        Leaf::PortRange => match scalar.kind {
            Kind::Int => crate::yaml::integer(text).map(Node::integer),
            Kind::Null | Kind::Bool | Kind::Float | Kind::Timestamp | Kind::Text => {
                Some(Node::text(text))
            }
        },
        Leaf::SizeCondition => size_condition(text).then(|| Node::text(text.trim())),
        Leaf::Address => (text.is_empty() || is_address(text)).then(|| Node::text(text)),
        Leaf::Prefix => (text.is_empty() || is_prefix(text)).then(|| Node::text(text)),
        Leaf::Manifest => {
            let line_ends = ['\t', '\n', '\u{b}', '\u{c}', '\r'];
            Some(Node::text(text.trim_start_matches(line_ends)))
        }
        Leaf::ArgumentValue | Leaf::Other | Leaf::Base64 | Leaf::Expression => {
            Some(Node::text(text))
        }
    }
    .ok_or(what)
}

fn expected(leaf: Leaf) -> &'static str {
    match leaf {
        Leaf::Duration => "a duration like 1m30s",
        Leaf::FileMode => "a file mode like 0o644",
        Leaf::DiskSize | Leaf::ByteSize => "a size like 100GB",
        Leaf::SizeCondition => "a size like >= 100GB",
        Leaf::Address => "an IP address",
        Leaf::Prefix => "an address with a prefix length like 10.0.0.5/24",
        Leaf::PortRange => "a port or a range like 1000-2000",
        Leaf::ArgumentValue => "a text or a list of texts",
        Leaf::Manifest | Leaf::HardwareAddress | Leaf::Base64 | Leaf::Expression | Leaf::Other => {
            "a text"
        }
    }
}

/// An operator, if any, and a size.
fn size_condition(text: &str) -> bool {
    let text = text.trim();
    let operators = [">=", "<=", "==", ">", "<"];
    let size = operators.iter().find_map(|o| text.strip_prefix(o));
    parse_size(size.unwrap_or(text).trim()).is_some()
}

fn is_address(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    address.parse::<IpAddr>().is_ok() && !zone.is_empty()
}

fn is_prefix(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let length_max = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|l| l <= length_max)
}

const UNITS_NS: [(&str, f64); 7] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Nanoseconds of `1h2m3.5s`.
fn parse_duration(text: &str) -> Option<i128> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let (_, scale) = UNITS_NS.iter().find(|(unit, _)| *unit == &rest[..end])?;
        total += number * scale;
        rest = &rest[end..];
    }
    let value = total as i128;
    (value <= i128::from(i64::MAX)).then_some(if negative { -value } else { value })
}

/// As Go prints a duration: the largest unit first, zero units in between kept.
fn print_duration(ns: i128) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    let fraction = |value: u128, unit: u128| {
        let digits = unit.to_string().len() - 1;
        let text = format!("{}.{:0digits$}", value / unit, value % unit);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let body = match ns {
        0 => "0s".to_owned(),
        1..=999 => format!("{ns}ns"),
        1_000..=999_999 => format!("{}µs", fraction(ns, 1_000)),
        1_000_000..=999_999_999 => format!("{}ms", fraction(ns, 1_000_000)),
        _ => {
            let (minutes, rest) = (ns / 60_000_000_000, ns % 60_000_000_000);
            let seconds = fraction(rest, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, m) => format!("{m}m{seconds}s"),
                (h, m) => format!("{h}h{m}m{seconds}s"),
            }
        }
    };
    format!("{sign}{body}")
}

/// Bytes of `100GB`, `40 GiB`, `512`.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let compact = text.replace(',', "");
    let at = compact.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = compact.split_at(at.unwrap_or(compact.len()));
    let number: f64 = number.parse().ok()?;
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let (letter, base) = match unit.strip_suffix('i') {
        Some(letter) => (letter, 1024.0_f64),
        None => (unit, 1000.0_f64),
    };
    let power = match letter {
        "" if base < 1024.0 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        "e" => 6,
        _ => return None,
    };
    let bytes = number * base.powi(power);
    (bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// As `machine.disks` sizes are written: with a unit where that loses nothing.
fn print_size(bytes: u64) -> Node {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit < 6 {
        value /= 1000.0;
        unit += 1;
    }
    let value = (value * 10.0 + 0.5).floor() / 10.0;
    let unit = ["B", "kB", "MB", "GB", "TB", "PB", "EB"][unit];
    let text = match value {
        _ if bytes < 10 => format!("{bytes} B"),
        v if v < 10.0 => format!("{v:.1} {unit}"),
        v => format!("{v:.0} {unit}"),
    };
    if bytes.is_multiple_of(1000) && parse_size(&text) == Some(bytes) {
        Node::text(text)
    } else {
        Node::integer(bytes)
    }
}

/// A number of a free-form value in its shortest form.
pub(super) fn shortest_number(scalar: &Scalar) -> Option<String> {
    match scalar.kind {
        Kind::Int => crate::yaml::integer(&scalar.text).map(|n| n.to_string()),
        Kind::Float => {
            let value: f64 = scalar.text.replace('_', "").parse().ok()?;
            Some(print_float(value))
        }
        Kind::Null | Kind::Bool | Kind::Timestamp | Kind::Text => None,
    }
}

fn print_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let exponent = scientific
        .split_once('e')
        .and_then(|(_, e)| e.parse::<i32>().ok())
        .unwrap_or_default();
    if (-4..21).contains(&exponent) {
        return value.to_string();
    }
    let (mantissa, _) = scientific.split_once('e').unwrap_or((&scientific, ""));
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_go_does() {
        for (text, printed) in [
            ("90s", "1m30s"),
            ("168h", "168h0m0s"),
            ("1.5s", "1.5s"),
            ("250ms", "250ms"),
            ("1h0.5s", "1h0m0.5s"),
            ("0", "0s"),
            ("-2m", "-2m0s"),
        ] {
            let ns = parse_duration(text).unwrap();
            assert_eq!(print_duration(ns), printed, "{text}");
        }
        for bad in ["", "5", "s", "1x", "1m-3s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("100GB"), Some(100_000_000_000));
        assert_eq!(parse_size("40 GiB"), Some(40 << 30));
        assert_eq!(parse_size("512"), Some(512));
        assert_eq!(parse_size("12 parsecs"), None);
        assert_eq!(print_size(100_000_000_000), Node::text("100 GB"));
        assert_eq!(print_size(1 << 30), Node::integer(1_073_741_824));
        assert_eq!(print_size(1_500_000), Node::text("1.5 MB"));
    }

    #[test]
    fn floats_are_shortest() {
        for (text, printed) in [
            ("1.50", "1.5"),
            ("1e21", "1e+21"),
            ("1.0", "1"),
            ("1e-7", "1e-07"),
        ] {
            assert_eq!(print_float(text.parse().unwrap()), printed);
        }
    }
}
