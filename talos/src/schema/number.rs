//! Durations, sizes and floating point numbers, read and printed as Go does.

use crate::yaml::{Kind, Node, Scalar};

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
pub(crate) fn parse_duration(text: &str) -> Option<i128> {
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
pub(crate) fn print_duration(ns: i128) -> String {
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

/// A size in bytes or in per cent of a disk; it may be negative: everything but so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Bytes { count: u64, negative: bool },
    Percent { count: u64, negative: bool },
}

impl Size {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if !text.contains('%') {
            return Self::parse_bytes(text);
        }
        let (negative, body) = unsigned(text);
        let digits = body.strip_suffix('%')?;
        let count = digits.parse().ok().filter(|n| *n <= 100)?;
        Some(Self::Percent { count, negative })
    }

    pub(crate) fn parse_bytes(text: &str) -> Option<Self> {
        let (negative, body) = unsigned(text);
        let count = parse_size(body)?;
        Some(Self::Bytes { count, negative })
    }

    pub(crate) fn is_negative(self) -> bool {
        match self {
            Self::Bytes { negative, .. } | Self::Percent { negative, .. } => negative,
        }
    }
}

fn unsigned(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, text),
    }
}

/// As `machine.disks` sizes are written: with a unit where that loses nothing.
pub(super) fn print_size(bytes: u64) -> Node {
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

/// A number or a time of a free-form value in the one form in which it is written.
pub(crate) fn shortest(scalar: &Scalar) -> Option<String> {
    match scalar.kind {
        Kind::Int => crate::yaml::integer(&scalar.text).map(|n| n.to_string()),
        Kind::Float => {
            let value: f64 = scalar.text.replace('_', "").parse().ok()?;
            Some(print_float(value))
        }
        Kind::Timestamp => Some(print_time(&scalar.text)),
        Kind::Null | Kind::Bool | Kind::Text => None,
    }
}

/// As RFC 3339 has it: `2001-1-1` to `2001-01-01T00:00:00Z`. The text is known to be a time.
fn print_time(text: &str) -> String {
    let (date, rest) = text.split_at(text.find([' ', 'T', 't']).unwrap_or(text.len()));
    let two = |part: &str| format!("{part:0>2}");
    let date: Vec<String> = date.split('-').map(two).collect();
    let rest = rest.get(1..).unwrap_or_default();
    let (clock, zone) = match rest.find(['Z', '+', '-']) {
        Some(at) => rest.split_at(at),
        None => (rest, "Z"),
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let clock = if clock.is_empty() { "0:0:0" } else { clock };
    let clock: Vec<String> = clock.split(':').map(two).collect();
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let zone = if zone == "+00:00" || zone == "-00:00" {
        "Z"
    } else {
        zone
    };
    format!(
        "{}T{}{point}{fraction}{zone}",
        date.join("-"),
        clock.join(":")
    )
}

fn print_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let exponent = scientific
        .split_once('e')
        .and_then(|(_, e)| e.parse::<i32>().ok())
        .unwrap_or_default();
    if (-4..6).contains(&exponent) {
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
    fn times_are_rfc_3339() {
        for (text, printed) in [
            ("2001-1-1", "2001-01-01T00:00:00Z"),
            ("2001-01-01 1:2:3.50", "2001-01-01T01:02:03.5Z"),
            ("2001-01-01T10:00:00+02:00", "2001-01-01T10:00:00+02:00"),
            ("2001-01-01t10:00:00.000Z", "2001-01-01T10:00:00Z"),
        ] {
            assert_eq!(print_time(text), printed);
        }
    }

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
            ("123456.5", "123456.5"),
            ("1e6", "1e+06"),
        ] {
            assert_eq!(print_float(text.parse().unwrap()), printed);
        }
    }
}
