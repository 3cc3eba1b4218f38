//! Sizes in bytes, as people write them: `512`, `10GB` (thousands), `1.5 GiB` (1,024s).

/// Why a text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSize {
    /// No number where one is expected.
    #[error("a number is missing")]
    Number,
    /// A unit that does not exist, or one that some read as thousands and some as 1,024s.
    #[error("the unit is unknown; use B, KB, MB, GB, TB, PB or KiB, MiB, GiB, TiB, PiB")]
    Unit,
    /// Half a byte.
    #[error("it is no whole number of bytes")]
    Fraction,
    /// More than 18 exabytes.
    #[error("it is too large")]
    TooLarge,
}

/// Reads a size, in bytes.
///
/// # Errors
/// [`BadSize`] with the first thing wrong.
pub fn parse(text: &str) -> Result<u64, BadSize> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale: u128 = match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "PB" => 1_000_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "PiB" => 1 << 50,
        _ => return Err(BadSize::Unit),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(BadSize::Number);
    }
    // 2^50 has 50 binary places, hence 50 decimal ones at most; more cannot come out whole.
    if fraction.len() > 18 {
        return Err(BadSize::Fraction);
    }
    let digits = |t: &str| match t {
        "" => Ok(0),
        t => t
            .parse::<u64>()
            .map(u128::from)
            .map_err(|_| BadSize::TooLarge),
    };
    let places = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| BadSize::Fraction)?);
    let part = digits(fraction)? * scale;
    if part % places != 0 {
        return Err(BadSize::Fraction);
    }
    u64::try_from(digits(whole)? * scale + part / places).map_err(|_| BadSize::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_exact() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("1KB", 1_000),
            ("1.5 KiB", 1_536),
            ("0.50GiB", 1 << 29),
            ("2TB", 2_000_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse(""), Err(BadSize::Number));
        assert_eq!(parse("GB"), Err(BadSize::Number));
        assert_eq!(parse("1.2.3"), Err(BadSize::Number));
        assert_eq!(parse("10G"), Err(BadSize::Unit));
        assert_eq!(parse("-1B"), Err(BadSize::Unit));
        assert_eq!(parse("1.0001KB"), Err(BadSize::Fraction));
        assert_eq!(parse("99999PB"), Err(BadSize::TooLarge));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,30}", number in "[0-9.]{0,40}", unit in "(B|KB|PiB|EB)?") {
            let _ = parse(&text);
            let _ = parse(&format!("{number}{unit}"));
        }
    }
}
