//! Ranges and sizes as HCL writes them: `">= 16"`, `"64GB..256GB"`, `"< 2TB"`, `"8"`.
//!
//! Parsed here, at the edge; bootd receives numbers. A bound that is excluded becomes the neighbouring whole number.

use metal_proto::metal::v1::Range;
use tfplugin::schema::{Validator, validators};

/// What a range counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things: cores, threads, disks.
    Count,
    /// Bytes: a unit is required.
    Bytes,
}

/// The attribute must be a range.
pub fn range(unit: Unit) -> Validator {
    let must = match unit {
        Unit::Count => "a range such as `>= 16`, `4..8` or `8`",
        Unit::Bytes => "a range of sizes such as `>= 64GB`, `64GB..256GB` or `512GiB`",
    };
    validators::text(must, move |text| parse(text, unit).map(|_| ()))
}

/// Parses a range; the error says what is wrong with the text.
pub fn parse(text: &str, unit: Unit) -> Result<Range, String> {
    let trimmed = text.trim();
    let bounds = if let Some((low, high)) = trimmed.split_once("..") {
        (Some(number(low, unit)?), Some(number(high, unit)?))
    } else if let Some(rest) = trimmed.strip_prefix(">=") {
        (Some(number(rest, unit)?), None)
    } else if let Some(rest) = trimmed.strip_prefix("<=") {
        (None, Some(number(rest, unit)?))
    } else if let Some(rest) = trimmed.strip_prefix('>') {
        let above = number(rest, unit)?
            .checked_add(1)
            .ok_or_else(|| format!("`{text}` holds no number."))?;
        (Some(above), None)
    } else if let Some(rest) = trimmed.strip_prefix('<') {
        let below = number(rest, unit)?
            .checked_sub(1)
            .ok_or_else(|| format!("`{text}` holds no number."))?;
        (None, Some(below))
    } else {
        let exact = number(trimmed.strip_prefix('=').unwrap_or(trimmed), unit)?;
        (Some(exact), Some(exact))
    };
    match bounds {
        (Some(min), Some(max)) if min > max => Err(format!("`{text}` ends before it begins.")),
        (min, max) => Ok(Range { min, max }),
    }
}

/// Decimal units (GB) and binary ones (GiB); a fraction is allowed where the result is whole bytes.
fn number(text: &str, unit: Unit) -> Result<u64, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (value, suffix) = text.split_at(digits);
    let scale = match (unit, suffix.trim()) {
        (Unit::Count, "") => 1,
        (Unit::Count, other) => return Err(format!("`{other}` is no part of a whole number.")),
        (Unit::Bytes, "B") => 1,
        (Unit::Bytes, "KB" | "kB") => 1_000,
        (Unit::Bytes, "MB") => 1_000_000,
        (Unit::Bytes, "GB") => 1_000_000_000,
        (Unit::Bytes, "TB") => 1_000_000_000_000,
        (Unit::Bytes, "KiB") => 1 << 10,
        (Unit::Bytes, "MiB") => 1 << 20,
        (Unit::Bytes, "GiB") => 1 << 30,
        (Unit::Bytes, "TiB") => 1 << 40,
        (Unit::Bytes, "") => {
            return Err(format!(
                "`{text}` has no unit: want B, KB, MB, GB, TB, KiB, MiB, GiB or TiB."
            ));
        }
        (Unit::Bytes, other) => {
            return Err(format!(
                "`{other}` is no unit: want B, KB, MB, GB, TB, KiB, MiB, GiB or TiB."
            ));
        }
    };
    let wrong = || format!("`{text}` is no number.");
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let mut total = whole
        .parse::<u64>()
        .map_err(|_| wrong())?
        .checked_mul(scale)
        .ok_or_else(wrong)?;
    if value.contains('.') {
        let parts = u32::try_from(fraction.len())
            .ok()
            .and_then(|n| 10_u64.checked_pow(n))
            .ok_or_else(wrong)?;
        let product = fraction
            .parse::<u64>()
            .map_err(|_| wrong())?
            .checked_mul(scale)
            .ok_or_else(wrong)?;
        if unit == Unit::Count || product % parts != 0 {
            return Err(format!("`{text}` is not a whole number."));
        }
        total = total.checked_add(product / parts).ok_or_else(wrong)?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, unit: Unit, min: Option<u64>, max: Option<u64>) {
        assert_eq!(parse(text, unit), Ok(Range { min, max }), "{text}");
    }

    #[test]
    fn every_form() {
        check(">= 16", Unit::Count, Some(16), None);
        check("4..8", Unit::Count, Some(4), Some(8));
        check("8", Unit::Count, Some(8), Some(8));
        check("< 4", Unit::Count, None, Some(3));
        check("> 4", Unit::Count, Some(5), None);
        check(">= 8GB", Unit::Bytes, Some(8_000_000_000), None);
        check(
            "64GB..256GB",
            Unit::Bytes,
            Some(64_000_000_000),
            Some(256_000_000_000),
        );
        check(
            "1.5TiB",
            Unit::Bytes,
            Some(1_649_267_441_664),
            Some(1_649_267_441_664),
        );
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let said: Vec<String> = [
            ">= 8",
            ">= 8XB",
            "8GB..4GB",
            "x",
            "< 0B",
            ">= 1.00000000001KB",
        ]
        .iter()
        .map(|t| parse(t, Unit::Bytes).unwrap_err())
        .collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        `8` has no unit: want B, KB, MB, GB, TB, KiB, MiB, GiB or TiB.
        `XB` is no unit: want B, KB, MB, GB, TB, KiB, MiB, GiB or TiB.
        `8GB..4GB` ends before it begins.
        `x` is no unit: want B, KB, MB, GB, TB, KiB, MiB, GiB or TiB.
        `< 0B` holds no number.
        `1.00000000001KB` is not a whole number.
        ");
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,40}") {
            let _ = parse(&text, Unit::Bytes);
            let _ = parse(&text, Unit::Count);
        }
    }
}
