//! Exact decimal numbers.
//!
//! Terraform's numbers are decimals of up to 512 bits; an `f64` would change `0.1` on the way through and the host would refuse the plan.
//! No arithmetic here: a provider compares and converts.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Most digits that a number may have, before or after its point.
const DIGITS_MAX: usize = 100_000;

/// A finite decimal number of any size, kept exactly.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Number(Repr);

/// Every whole number that fits `i64` is `Int`, so that equal numbers have one form.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Int(i64),
    Big(Decimal),
}

/// `digits` × 10^`exponent`; no zero at either end of `digits`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

/// The text is no decimal number, or one of more than 100,000 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number of at most {DIGITS_MAX} digits")]
pub struct NotANumber;

impl Number {
    /// The whole number, if it is one and fits.
    #[must_use]
    pub fn to_i64(&self) -> Option<i64> {
        match &self.0 {
            Repr::Int(i) => Some(*i),
            Repr::Big(_) => None,
        }
    }

    /// The whole number, if it is one, not negative, and fits.
    #[must_use]
    pub fn to_u64(&self) -> Option<u64> {
        match &self.0 {
            Repr::Int(i) => u64::try_from(*i).ok(),
            Repr::Big(d) if d.exponent >= 0 => self.to_string().parse().ok(),
            Repr::Big(_) => None,
        }
    }

    /// The nearest `f64`; infinite where the number is larger than any.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "nearest is what is promised")]
    pub fn to_f64(&self) -> f64 {
        match &self.0 {
            Repr::Int(i) => *i as f64,
            Repr::Big(d) => d.scientific().parse().unwrap_or(f64::NAN),
        }
    }

    /// Is it a whole number?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match &self.0 {
            Repr::Int(_) => true,
            Repr::Big(d) => d.exponent >= 0,
        }
    }

    /// The exact value of `float`; none for NaN and the infinities.
    #[must_use]
    pub fn from_f64(float: f64) -> Option<Self> {
        if !float.is_finite() {
            return None;
        }
        if let Some(number) = Self::from_short_f64(float) {
            return Some(number);
        }
        // 1074 places hold every f64 exactly.
        format!("{float:.1074}").parse().ok()
    }

    /// Floats with few binary places, such as hosts send: `mantissa` × 2^-k is `mantissa` × 5^k × 10^-k.
    fn from_short_f64(float: f64) -> Option<Self> {
        let bits = float.to_bits();
        let exponent = i32::try_from((bits >> 52) & 0x7ff).ok()? - 1075;
        let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
        let halves = mantissa.trailing_zeros();
        let places = u32::try_from(-exponent).ok()?.checked_sub(halves)?;
        // Subnormal numbers have many more places than this.
        if places > 30 {
            return None;
        }
        let digits = u128::from(mantissa >> halves) * 5u128.pow(places);
        Some(Self::from(Decimal::trimmed(
            float.is_sign_negative(),
            digits.to_string(),
            -i64::from(places),
        )))
    }

    /// The `f64` that is exactly this number, if there is one.
    pub(crate) fn to_exact_f64(&self) -> Option<f64> {
        if let Repr::Big(d) = &self.0
            && d.exponent < 0
            && !d.digits.ends_with('5')
        {
            // A binary fraction ends in 5.
            return None;
        }
        let float = self.to_f64();
        (Self::from_f64(float).as_ref() == Some(self)).then_some(float)
    }

    /// As text, without zeros by the thousand.
    pub(crate) fn compact(&self) -> String {
        match &self.0 {
            Repr::Int(i) => i.to_string(),
            Repr::Big(d) if d.exponent.unsigned_abs() > 100 => d.scientific(),
            Repr::Big(d) => d.plain(),
        }
    }

    fn decimal(&self) -> Decimal {
        match &self.0 {
            Repr::Int(i) => Decimal::trimmed(*i < 0, i.unsigned_abs().to_string(), 0),
            Repr::Big(d) => d.clone(),
        }
    }
}

impl Decimal {
    fn trimmed(negative: bool, digits: String, exponent: i64) -> Self {
        let zeros = digits.len() - digits.trim_end_matches('0').len();
        let kept = digits
            .trim_end_matches('0')
            .trim_start_matches('0')
            .to_owned();
        let exponent = exponent + i64::try_from(zeros).unwrap_or(0);
        if kept.is_empty() {
            return Self {
                negative: false,
                digits: kept,
                exponent: 0,
            };
        }
        Self {
            negative,
            digits: kept,
            exponent,
        }
    }

    /// Position of the point counted from the first digit.
    fn magnitude(&self) -> i64 {
        i64::try_from(self.digits.len()).unwrap_or(i64::MAX) + self.exponent
    }

    fn scientific(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        format!("{sign}{}e{}", self.digits, self.exponent)
    }

    fn plain(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        let point = self.magnitude();
        let zeros = |n: i64| "0".repeat(usize::try_from(n).unwrap_or(0));
        if self.exponent >= 0 {
            return format!("{sign}{}{}", self.digits, zeros(self.exponent));
        }
        match usize::try_from(point) {
            Ok(at) if at > 0 => format!("{sign}{}.{}", &self.digits[..at], &self.digits[at..]),
            _ => format!("{sign}0.{}{}", zeros(-point), self.digits),
        }
    }

    fn cmp_size(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {}
        }
        // With the points aligned, and no zeros at the ends, digits compare as text.
        self.magnitude()
            .cmp(&other.magnitude())
            .then_with(|| self.digits.cmp(&other.digits))
    }
}

impl FromStr for Number {
    type Err = NotANumber;

    fn from_str(text: &str) -> Result<Self, NotANumber> {
        if let Ok(small) = text.parse::<i64>() {
            return Ok(Self(Repr::Int(small)));
        }
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((m, e)) => (m, e.parse::<i64>().map_err(|_| NotANumber)?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let limit = DIGITS_MAX as u64;
        if digits.is_empty()
            || digits.len() > DIGITS_MAX
            || exponent.unsigned_abs() > limit
            || !digits.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(NotANumber);
        }
        let places = i64::try_from(fraction.len()).map_err(|_| NotANumber)?;
        Ok(Self::from(Decimal::trimmed(
            negative,
            digits,
            exponent - places,
        )))
    }
}

impl From<Decimal> for Number {
    fn from(d: Decimal) -> Self {
        if d.digits.is_empty() {
            return Self(Repr::Int(0));
        }
        // 19 digits are the most that an i64 has.
        if d.exponent >= 0
            && d.magnitude() <= 19
            && let Ok(small) = d.plain().parse()
        {
            return Self(Repr::Int(small));
        }
        Self(Repr::Big(d))
    }
}

macro_rules! from_whole {
    ($($small:ty),* ; $($large:ty),*) => {
        $(impl From<$small> for Number {
            fn from(n: $small) -> Self { Self(Repr::Int(i64::from(n))) }
        })*
        $(impl From<$large> for Number {
            fn from(n: $large) -> Self {
                match i64::try_from(n) {
                    Ok(small) => Self(Repr::Int(small)),
                    Err(_) => Self::from(Decimal::trimmed(false, n.to_string(), 0)),
                }
            }
        })*
    };
}
from_whole!(i8, i16, i32, i64, u8, u16, u32; u64, usize);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Int(i) => write!(f, "{i}"),
            Repr::Big(d) => f.write_str(&d.plain()),
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Repr::Int(a), Repr::Int(b)) = (&self.0, &other.0) {
            return a.cmp(b);
        }
        let (a, b) = (self.decimal(), other.decimal());
        match (a.negative, b.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => a.cmp_size(&b),
            (true, true) => b.cmp_size(&a),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number {
        text.parse().unwrap()
    }

    #[test]
    fn equal_numbers_have_one_form() {
        for (a, b) in [
            ("1", "1.000"),
            ("-0", "0"),
            ("1e3", "1000"),
            ("0.10", "1e-1"),
            ("+7", "7.0e0"),
        ] {
            assert_eq!(number(a), number(b), "{a} {b}");
        }
        for bad in [
            "",
            "-",
            ".",
            "e1",
            "1e",
            "0x10",
            "1_000",
            "nan",
            "inf",
            "1e999999999",
            "--1",
            "1.2.3",
        ] {
            assert!(bad.parse::<Number>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn text_is_plain() {
        for text in [
            "0.1",
            "-12.5",
            "18446744073709551616",
            "0.000001",
            "123456789012345678901234567890.25",
        ] {
            assert_eq!(number(text).to_string(), text);
        }
        assert_eq!(number("1e20").to_string(), "100000000000000000000");
        assert_eq!(number("-9223372036854775808").to_i64(), Some(i64::MIN));
        assert_eq!(number("18446744073709551615").to_u64(), Some(u64::MAX));
        assert_eq!(Number::from(u64::MAX).to_string(), u64::MAX.to_string());
    }

    #[test]
    fn floats_are_exact() {
        assert_eq!(Number::from_f64(0.5), Some(number("0.5")));
        assert_ne!(Number::from_f64(0.1), Some(number("0.1")));
        assert_eq!(Number::from_f64(f64::INFINITY), None);
        for (float, text) in [
            (-2.5, "-2.5"),
            (1e15, "1000000000000000"),
            (0.0, "0"),
            (-0.0, "0"),
        ] {
            assert_eq!(Number::from_f64(float), Some(number(text)));
            assert_eq!(number(text).to_exact_f64(), Some(float));
        }
        assert_eq!(number("0.1").to_exact_f64(), None);
        assert_eq!(number("1e22").to_exact_f64(), Some(1e22));
        assert_eq!(number("1e23").to_exact_f64(), None);
        assert_eq!(
            Number::from_f64(f64::MIN_POSITIVE).map(|n| n.to_f64()),
            Some(f64::MIN_POSITIVE)
        );
    }

    proptest! {
        #[test]
        fn parse_never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Number>();
        }

        #[test]
        fn text_round_trips(whole in "-?[0-9]{1,40}", fraction in "[0-9]{0,40}", e in -60i64..60) {
            let n = number(&format!("{whole}.{fraction}0e{e}"));
            prop_assert_eq!(number(&n.to_string()), n);
        }

        #[test]
        fn short_floats_are_exact(float in any::<f64>(), places in 0i32..40) {
            let scale = 2f64.powi(places);
            for float in [float, (float % 1e6 * scale).trunc() / scale] {
                let exact = float.is_finite().then(|| number(&format!("{float:.1074}")));
                prop_assert_eq!(Number::from_f64(float), exact);
            }
        }

        #[test]
        fn order_is_numeric(a in any::<f64>(), b in any::<f64>()) {
            if let (Some(x), Some(y)) = (Number::from_f64(a), Number::from_f64(b)) {
                prop_assert_eq!(x.cmp(&y), a.partial_cmp(&b).unwrap());
                prop_assert_eq!(x.to_f64(), a);
            }
        }
    }
}
