//! Durations in Go's syntax, which is what Terraform users write: `300ms`, `1.5h`, `1h30m`.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDuration {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// A sign; only positive durations mean something here.
    #[error("a sign is not allowed")]
    Signed,
    /// No number where one is expected.
    #[error("a number is missing")]
    Number,
    /// A number without unit, or with one that does not exist.
    #[error("a unit is missing or unknown; use h, m, s or ms")]
    Unit,
    /// More than 584 years.
    #[error("it is too long")]
    TooLong,
}

/// Reads a duration: numbers with units, largest first by custom but in any order.
///
/// # Errors
/// [`BadDuration`] with the first thing wrong.
pub fn parse(text: &str) -> Result<Duration, BadDuration> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = match text.as_bytes().first() {
        None => return Err(BadDuration::Empty),
        Some(b'-' | b'+') => return Err(BadDuration::Signed),
        Some(_) => text,
    };
    let mut total_ns: u128 = 0;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        total_ns = total_ns
            .checked_add(nanoseconds(number, unit)?)
            .ok_or(BadDuration::TooLong)?;
        rest = after;
    }
    u64::try_from(total_ns)
        .map(Duration::from_nanos)
        .map_err(|_| BadDuration::TooLong)
}

fn nanoseconds(number: &str, unit: &str) -> Result<u128, BadDuration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(BadDuration::Number);
    }
    let scale: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(BadDuration::Unit),
    };
    let digits = |t: &str| {
        if t.is_empty() {
            Ok(0)
        } else {
            t.parse::<u64>().map_err(|_| BadDuration::TooLong)
        }
    };
    // Fifteen places are finer than a nanosecond of an hour.
    let fraction = fraction.get(..15).unwrap_or(fraction);
    let places = u32::try_from(fraction.len()).map_err(|_| BadDuration::TooLong)?;
    let part = u128::from(digits(fraction)?) * scale / 10u128.pow(places);
    Ok(u128::from(digits(whole)?) * scale + part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, ms) in [
            ("0", 0),
            ("300ms", 300),
            ("1.5h", 5_400_000),
            ("1h30m", 5_400_000),
            ("2s.5s", 2500),
            ("1m0.25s", 60_250),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse(""), Err(BadDuration::Empty));
        assert_eq!(parse("10"), Err(BadDuration::Unit));
        assert_eq!(parse("10 m"), Err(BadDuration::Unit));
        assert_eq!(parse("m"), Err(BadDuration::Number));
        assert_eq!(parse("1.2.3s"), Err(BadDuration::Number));
        assert_eq!(parse("-1s"), Err(BadDuration::Signed));
        assert_eq!(parse("99999999999h"), Err(BadDuration::TooLong));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,30}", number in "[0-9.]{0,40}", unit in "(h|m|s|ms|us|ns|d)?") {
            let _ = parse(&text);
            let _ = parse(&format!("{number}{unit}"));
        }
    }
}
