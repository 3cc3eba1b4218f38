//! Sizes of disks and conditions on them, as Talos's tools read them.

/// Reads `480GB`, `1.5 TiB`, `100`: a number and a unit, of a thousand or (`i`) of 1024. Nothing where it is no size.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = number.replace(',', "");
    let unit = unit.trim().to_ascii_lowercase();
    let letters = unit.strip_suffix('b').unwrap_or(&unit);
    let (prefix, base) = match letters.strip_suffix('i') {
        Some(prefix) if !prefix.is_empty() => (prefix, 1024_u64),
        _ => (letters, 1000),
    };
    let power = ["", "k", "m", "g", "t", "p", "e"]
        .iter()
        .position(|p| *p == prefix)?;
    let factor = base.pow(u32::try_from(power).ok()?);
    match number.split_once('.') {
        None => number.parse::<u64>().ok()?.checked_mul(factor),
        Some((whole, fraction)) => {
            let whole: u64 = if whole.is_empty() {
                0
            } else {
                whole.parse().ok()?
            };
            // Nine digits are more than any unit can tell apart in whole bytes that matter.
            let fraction = &fraction[..fraction.len().min(9)];
            let digits = u32::try_from(fraction.len()).ok()?;
            let part: u64 = if fraction.is_empty() {
                0
            } else {
                fraction.parse().ok()?
            };
            let part = u128::from(part) * u128::from(factor) / u128::from(10_u64.pow(digits));
            whole
                .checked_mul(factor)?
                .checked_add(u64::try_from(part).ok()?)
        }
    }
}

/// How a disk's size is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Exactly.
    Equal,
    /// At least.
    AtLeast,
    /// At most.
    AtMost,
    /// More than.
    More,
    /// Less than.
    Less,
}

impl Operator {
    /// As expressions write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::Less => "<",
        }
    }
}

/// A condition of `install.diskSelector.size`: `>= 100GB`, `480GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeCondition {
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub bytes: u64,
}

impl SizeCondition {
    /// Reads a condition; nothing where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let operators = [
            (">=", Operator::AtLeast),
            ("<=", Operator::AtMost),
            ("==", Operator::Equal),
            (">", Operator::More),
            ("<", Operator::Less),
        ];
        let (operator, size) = operators
            .into_iter()
            .find_map(|(sign, operator)| Some((operator, text.strip_prefix(sign)?)))
            .unwrap_or((Operator::Equal, text));
        let bytes = parse_size(size)?;
        Some(Self { operator, bytes })
    }

    /// Whether a size satisfies it.
    pub const fn holds(self, bytes: u64) -> bool {
        match self.operator {
            Operator::Equal => bytes == self.bytes,
            Operator::AtLeast => bytes >= self.bytes,
            Operator::AtMost => bytes <= self.bytes,
            Operator::More => bytes > self.bytes,
            Operator::Less => bytes < self.bytes,
        }
    }
}

/// A wanted size: one condition, or a range with both ends in it (`64GB..256GB`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeRange {
    /// A condition.
    Condition(SizeCondition),
    /// From one size to another.
    Between(u64, u64),
}

impl SizeRange {
    /// Reads a range or a condition; nothing where it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once("..") {
            None => SizeCondition::parse(text).map(Self::Condition),
            Some((low, high)) => {
                let (low, high) = (parse_size(low)?, parse_size(high)?);
                (low <= high).then_some(Self::Between(low, high))
            }
        }
    }

    /// Whether a size is in it.
    pub const fn holds(self, bytes: u64) -> bool {
        match self {
            Self::Condition(condition) => condition.holds(bytes),
            Self::Between(low, high) => low <= bytes && bytes <= high,
        }
    }
}

/// A size for people, in the units that disks are sold in.
pub fn describe_size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut power = 0;
    let mut unit = 1_u64;
    while power + 1 < units.len() && bytes / unit >= 1000 {
        unit *= 1000;
        power += 1;
    }
    let tenths = bytes / (unit / 10).max(1) % 10;
    let whole = bytes / unit;
    if power == 0 || tenths == 0 || whole >= 100 {
        format!("{whole} {}", units[power])
    } else {
        format!("{whole}.{tenths} {}", units[power])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |text: &str, bytes: Option<u64>| assert_eq!(parse_size(text), bytes, "{text}");
        check("480GB", Some(480_000_000_000));
        check("1.5 TiB", Some(1_649_267_441_664));
        check("100", Some(100));
        check("10gib", Some(10_737_418_240));
        check("4G", Some(4_000_000_000));
        check("1,000MB", Some(1_000_000_000));
        check("B", None);
        check("10XB", None);
        check("20000000EB", None);
        check("", None);
        check("iB", None);
    }

    #[test]
    fn conditions_and_ranges() {
        let holds = |text: &str, bytes: u64| SizeRange::parse(text).map(|r| r.holds(bytes));
        assert_eq!(holds(">= 100GB", 100_000_000_000), Some(true));
        assert_eq!(holds("> 100GB", 100_000_000_000), Some(false));
        assert_eq!(holds("64GB..256GB", 256_000_000_000), Some(true));
        assert_eq!(holds("64GB..256GB", 256_000_000_001), Some(false));
        assert_eq!(holds("256GB..64GB", 1), None);
        assert_eq!(holds("=> 1GB", 1), None);
    }

    #[test]
    fn sizes_for_people() {
        let all = [512, 1_500, 480_103_981_056, 1_920_383_410_176, u64::MAX];
        let all = all.map(describe_size);
        assert_eq!(all, ["512 B", "1.5 kB", "480 GB", "1.9 TB", "18.4 EB"]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,30}", digits in "[<>=]{0,2} ?[0-9.,]{0,40}[kKmMgGtTpPeE]?i?[bB]?(\\.\\.)?[0-9]{0,5}") {
            let _ = (SizeRange::parse(&text), SizeRange::parse(&digits));
        }

        #[test]
        fn every_size_has_words(bytes: u64) {
            proptest::prop_assert!(!describe_size(bytes).is_empty());
        }
    }
}
