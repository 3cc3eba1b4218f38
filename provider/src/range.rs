//! Ranges over whole numbers and sizes, as a class rule writes them: `">= 16"`, `"64GB..256GB"`, `"< 4"`, `"8"`.
//!
//! Promises: parsing never panics, both ends of a parsed range are inclusive, and an error quotes the text at fault. Sizes with `GB` are
//! powers of ten and with `GiB` powers of two, as disk vendors and memory vendors count. Not here: what is compared.

use std::fmt;

/// An inclusive range; an absent bound does not restrict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The least that fits.
    pub min: Option<u64>,
    /// The most that fits.
    pub max: Option<u64>,
}

/// What a range counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Cores, threads, disks.
    Things,
    /// Bytes, with a unit.
    Bytes,
}

impl Counts {
    /// How such a range may look.
    #[must_use]
    pub const fn examples(self) -> &'static str {
        match self {
            Self::Things => r#"">= 16", "8..32", "< 4" or "8""#,
            Self::Bytes => r#"">= 64GB", "64GB..256GB", "< 2TB" or "512GiB""#,
        }
    }
}

/// Why a text is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Nothing to compare with.
    #[error("{0:?} has no number where one is expected")]
    Number(String),
    /// A unit that is not known.
    #[error("{0:?} has a unit that is not known (B, kB, MB, GB, TB, PB, KiB, MiB, GiB, TiB, PiB)")]
    Unit(String),
    /// A size without a unit.
    #[error("{0:?} has no unit; write GB or GiB after the number")]
    NoUnit(String),
    /// A unit where things are counted.
    #[error("{0:?} has a unit, and a plain number is expected")]
    UnitOnCount(String),
    /// More than 64 bits, or no whole number of bytes.
    #[error("{0:?} is not a whole number below 2^64")]
    TooLarge(String),
    /// No number can be in it.
    #[error("{0:?} is empty: nothing can be in it")]
    Empty(String),
}

impl Span {
    /// Reads a range.
    ///
    /// # Errors
    /// [`RangeError`] with the part of the text at fault.
    pub fn parse(text: &str, counts: Counts) -> Result<Self, RangeError> {
        let whole = text.trim();
        let empty = || RangeError::Empty(whole.to_owned());
        if let Some((low, high)) = whole.split_once("..") {
            let (min, max) = (quantity(low, counts)?, quantity(high, counts)?);
            return if min > max {
                Err(empty())
            } else {
                Ok(Self {
                    min: Some(min),
                    max: Some(max),
                })
            };
        }
        let (min, max) = if let Some(n) = whole.strip_prefix(">=") {
            (Some(quantity(n, counts)?), None)
        } else if let Some(n) = whole.strip_prefix("<=") {
            (None, Some(quantity(n, counts)?))
        } else if let Some(n) = whole.strip_prefix('>') {
            let above = quantity(n, counts)?.checked_add(1).ok_or_else(empty)?;
            (Some(above), None)
        } else if let Some(n) = whole.strip_prefix('<') {
            let below = quantity(n, counts)?.checked_sub(1).ok_or_else(empty)?;
            (None, Some(below))
        } else {
            let n = quantity(whole.strip_prefix('=').unwrap_or(whole), counts)?;
            (Some(n), Some(n))
        };
        Ok(Self { min, max })
    }

    /// The range as a person writes it; an unbounded one is `">= 0"`.
    #[must_use]
    pub fn written(self, counts: Counts) -> String {
        let one = |n: u64| match counts {
            Counts::Things => n.to_string(),
            Counts::Bytes => size(n),
        };
        match (self.min, self.max) {
            (Some(a), Some(b)) if a == b => one(a),
            (Some(a), Some(b)) => format!("{}..{}", one(a), one(b)),
            (Some(a), None) => format!(">= {}", one(a)),
            (None, Some(b)) => format!("<= {}", one(b)),
            (None, None) => format!(">= {}", one(0)),
        }
    }
}

/// Largest first, powers of ten before powers of two.
const UNITS: [(&str, u64); 11] = [
    ("PB", 1_000_000_000_000_000),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

fn quantity(text: &str, counts: Counts) -> Result<u64, RangeError> {
    let text = text.trim();
    let owned = || text.to_owned();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim());
    if number.is_empty() {
        return Err(RangeError::Number(owned()));
    }
    match counts {
        Counts::Things if !unit.is_empty() => Err(RangeError::UnitOnCount(owned())),
        Counts::Things if number.contains('.') => Err(RangeError::Number(owned())),
        Counts::Things => number.parse().map_err(|_| RangeError::TooLarge(owned())),
        Counts::Bytes if unit.is_empty() && number != "0" => Err(RangeError::NoUnit(owned())),
        Counts::Bytes => {
            let known = UNITS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit));
            let factor = match known {
                Some((_, factor)) => *factor,
                None if unit.is_empty() => 1,
                None => return Err(RangeError::Unit(owned())),
            };
            scaled(number, factor).ok_or_else(|| RangeError::TooLarge(owned()))
        }
    }
}

/// `number` × `factor`, exact; a fraction that leaves part of a byte is refused.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 15 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = |t: &str| {
        if t.is_empty() {
            Some(0)
        } else {
            t.parse::<u128>().ok()
        }
    };
    let places = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let all = digits(whole)?
        .checked_mul(places)?
        .checked_add(digits(fraction)?)?;
    let bytes = all.checked_mul(u128::from(factor))?;
    (bytes % places == 0)
        .then(|| u64::try_from(bytes / places).ok())
        .flatten()
}

fn size(bytes: u64) -> String {
    let exact = UNITS
        .iter()
        .find(|(_, f)| bytes >= *f && bytes.is_multiple_of(*f));
    exact.map_or_else(
        || "0B".to_owned(),
        |(unit, f)| format!("{}{unit}", bytes / f),
    )
}

/// Reads back as it was written.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written(Counts::Things))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        let things = |t| Span::parse(t, Counts::Things).map(|s| (s.min, s.max));
        let bytes = |t| Span::parse(t, Counts::Bytes).map(|s| (s.min, s.max));
        assert_eq!(things(">= 16"), Ok((Some(16), None)));
        assert_eq!(things("< 4"), Ok((None, Some(3))));
        assert_eq!(things("> 4"), Ok((Some(5), None)));
        assert_eq!(things("8"), Ok((Some(8), Some(8))));
        assert_eq!(things("8..32"), Ok((Some(8), Some(32))));
        assert_eq!(bytes(">= 8GB"), Ok((Some(8_000_000_000), None)));
        assert_eq!(bytes("1.5TiB"), Ok((Some(3 << 39), Some(3 << 39))));
        assert_eq!(
            bytes("64GB..256GB"),
            Ok((Some(64_000_000_000), Some(256_000_000_000)))
        );
    }

    #[test]
    fn says_what_is_wrong() {
        let said = |t, c| Span::parse(t, c).unwrap_err().to_string();
        let all = [
            said(">= lots", Counts::Things),
            said("64GX", Counts::Bytes),
            said("64", Counts::Bytes),
            said("4GB", Counts::Things),
            said("9..2", Counts::Things),
            said("< 0", Counts::Things),
            said("99999999999999999999", Counts::Things),
            said("", Counts::Bytes),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        "lots" has no number where one is expected
        "64GX" has a unit that is not known (B, kB, MB, GB, TB, PB, KiB, MiB, GiB, TiB, PiB)
        "64" has no unit; write GB or GiB after the number
        "4GB" has a unit, and a plain number is expected
        "9..2" is empty: nothing can be in it
        "< 0" is empty: nothing can be in it
        "99999999999999999999" is not a whole number below 2^64
        "" has no number where one is expected
        "#);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}", near in "[<>=. 0-9kKMGTPiB]{0,30}") {
            for t in [&text, &near] {
                let _ = Span::parse(t, Counts::Things);
                let _ = Span::parse(t, Counts::Bytes);
            }
        }

        #[test]
        fn written_reads_back(a in any::<u64>(), b in any::<u64>(), open in 0..4u8) {
            let span = Span {
                min: (open & 1 == 0).then_some(a.min(b)),
                max: (open & 2 == 0).then_some(a.max(b)),
            };
            if span.min.is_some() || span.max.is_some() {
                for counts in [Counts::Things, Counts::Bytes] {
                    prop_assert_eq!(Span::parse(&span.written(counts), counts), Ok(span));
                }
            }
        }
    }
}
