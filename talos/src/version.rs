//! The version inputs, kept apart: whose generator writes, which contract it writes for, and which Kubernetes runs.

use std::fmt;
use std::str::FromStr;

/// Whose machinery's output is reproduced. Output is defined by the pair of generator and [`Contract`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Generator {
    /// Talos machinery 1.13.9.
    #[default]
    V1_13,
    /// Talos machinery 1.14.
    V1_14,
}

impl Generator {
    /// All of them, oldest first.
    pub const ALL: [Self; 2] = [Self::V1_13, Self::V1_14];

    /// The generator that writes a contract's configs unless somebody says otherwise: the oldest that knows it, so
    /// that a newer one never rewrites a cluster that exists.
    pub const fn of(contract: Contract) -> Self {
        if contract.since_1(14) {
            Self::V1_14
        } else {
            Self::V1_13
        }
    }

    /// The number under which a cluster pins its generator.
    pub const fn render_rev(self) -> u32 {
        match self {
            Self::V1_13 => 1,
            Self::V1_14 => 2,
        }
    }

    /// The generator that a cluster has pinned.
    pub fn from_render_rev(rev: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|g| g.render_rev() == rev)
    }

    /// The newest contract that this generator writes.
    pub const fn newest(self) -> Contract {
        match self {
            Self::V1_13 => Contract { minor: 13 },
            Self::V1_14 => Contract { minor: 14 },
        }
    }

    /// The contracts that this generator writes here, oldest first.
    pub fn contracts(self) -> impl Iterator<Item = Contract> {
        (OLDEST_MINOR..=self.newest().minor).map(|minor| Contract { minor })
    }
}

impl fmt::Display for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_13 => "1.13",
            Self::V1_14 => "1.14",
        })
    }
}

impl FromStr for Generator {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let named = Self::ALL.into_iter().find(|g| g.to_string() == text);
        named.ok_or_else(|| VersionError::Generator(text.to_owned()))
    }
}

const OLDEST_MINOR: u16 = 6;

/// The Talos version whose config layout is written: that of a cluster's birth. It never changes afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contract {
    /// The y of 1.y.
    minor: u16,
}

impl Contract {
    /// Reads a Talos version; only its first two numbers count.
    ///
    /// # Errors
    /// Not a version, or one that the generator does not write.
    pub fn parse(version: &str, generator: Generator) -> Result<Self, VersionError> {
        let bad = || VersionError::Syntax(version.to_owned());
        let (major, minor) = leading_numbers(version).ok_or_else(bad)?;
        let newest = generator.newest();
        if major != 1 || !(OLDEST_MINOR..=newest.minor).contains(&minor) {
            return Err(VersionError::UnsupportedContract {
                asked: format!("v{major}.{minor}"),
                newest,
            });
        }
        Ok(Self { minor })
    }

    /// As [`Self::parse`] for the machinery's own inputs: an empty text, or a version that is newer than the
    /// generator, means the generator's newest contract; older layouts than [`crate::config::generate`] writes are
    /// taken, too, all before 1.0 as 1.0.
    ///
    /// # Errors
    /// Not a version.
    pub fn parse_clamped(version: &str, generator: Generator) -> Result<Self, VersionError> {
        if version.is_empty() {
            return Ok(generator.newest());
        }
        let bad = || VersionError::Syntax(version.to_owned());
        match leading_numbers(version).ok_or_else(bad)? {
            numbers if numbers > (1, generator.newest().minor) => Ok(generator.newest()),
            (0, _) => Ok(Self { minor: 0 }),
            (_, minor) => Ok(Self { minor }),
        }
    }

    /// Whether its layout is one that machines get here, and not one for comparing only.
    pub(crate) const fn is_offered(self) -> bool {
        self.minor >= OLDEST_MINOR
    }

    /// What the machinery makes of a version as a contract: `v1.13` of `1.13.9`, however old or new.
    ///
    /// # Errors
    /// Not a version.
    pub fn tag(version: &str) -> Result<String, VersionError> {
        let bad = || VersionError::Syntax(version.to_owned());
        let mut parts = version.strip_prefix('v').unwrap_or(version).splitn(3, '.');
        // Too many digits are the largest number of Go.
        let mut number = || {
            let digits = parts.next()?;
            let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            valid.then(|| digits.parse().unwrap_or(i64::MAX))
        };
        let (major, minor) = number().zip(number()).ok_or_else(bad)?;
        Ok(format!("v{major}.{minor}"))
    }

    /// Whether the contract is 1.`minor` or later.
    pub(crate) const fn since_1(self, minor: u16) -> bool {
        self.minor >= minor
    }

    /// The oldest and newest Kubernetes minor version (of 1.x) that this Talos supports.
    pub const fn kubernetes_minors(self) -> (u16, u16) {
        (self.minor + 18, self.minor + 23)
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1.{}", self.minor)
    }
}

/// `v1.13.9`, `1.13`, `1.13.0-rc.1`: two numbers, then the end or a dot.
fn leading_numbers(version: &str) -> Option<(u16, u16)> {
    let body = version.strip_prefix('v').unwrap_or(version);
    let mut parts = body.splitn(3, '.');
    let number = |part: Option<&str>| {
        part.filter(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|p| p.parse().ok())
    };
    Some((number(parts.next())?, number(parts.next())?))
}

/// A Talos release: `v1.13.9` or `v1.14.0-rc.1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TalosVersion {
    numbers: (u16, u16, u16),
    /// After the dash; empty for a release.
    pre: String,
}

impl TalosVersion {
    /// Major, minor and patch number.
    pub const fn numbers(&self) -> (u16, u16, u16) {
        self.numbers
    }
}

impl FromStr for TalosVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let bad = || VersionError::Syntax(text.to_owned());
        let body = text.strip_prefix('v').unwrap_or(text);
        let (release, pre) = body.split_once('-').unwrap_or((body, ""));
        let numbers: Vec<u16> = release
            .split('.')
            .map(|part| {
                let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
                digits.then(|| part.parse().ok()).flatten()
            })
            .collect::<Option<_>>()
            .ok_or_else(bad)?;
        let &[major, minor, patch] = numbers.as_slice() else {
            return Err(bad());
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        if body.ends_with('-') || !pre.chars().all(valid) {
            return Err(bad());
        }
        Ok(Self {
            numbers: (major, minor, patch),
            pre: pre.to_owned(),
        })
    }
}

impl fmt::Display for TalosVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.numbers;
        write!(f, "v{major}.{minor}.{patch}")?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre)?;
        }
        Ok(())
    }
}

/// A version that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Not a version at all.
    #[error("{0:?} is not a version; write it like v1.13.9")]
    Syntax(String),
    /// No such generator.
    #[error("there is no generator {0:?}; there are 1.13 and 1.14")]
    Generator(String),
    /// No layout for it.
    #[error("Talos {asked} has no config layout here; v1.6 to {newest} have one")]
    UnsupportedContract {
        /// What was asked for.
        asked: String,
        /// The newest one of the generator.
        newest: Contract,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contracts_take_the_first_two_numbers_only() {
        let parse = |v| Contract::parse(v, Generator::V1_13).map(|c| c.to_string());
        for good in ["v1.13", "1.13", "v1.13.9", "1.13.0-rc.1"] {
            assert_eq!(parse(good), Ok("v1.13".to_owned()), "{good}");
        }
        for bad in ["v1", "v1.6-x", "V1.6", "latest", "", "v", "1."] {
            assert!(matches!(parse(bad), Err(VersionError::Syntax(_))), "{bad}");
        }
        for unsupported in ["v1.5", "v1.14.0", "v2.0"] {
            let error = parse(unsupported).unwrap_err();
            assert!(matches!(error, VersionError::UnsupportedContract { .. }));
        }
    }

    #[test]
    fn kubernetes_ranges() {
        let range = |v| Contract::parse(v, Generator::V1_13).map(Contract::kubernetes_minors);
        assert_eq!(range("v1.6"), Ok((24, 29)));
        assert_eq!(range("v1.13"), Ok((31, 36)));
    }

    #[test]
    fn a_contract_has_its_generator_and_a_generator_its_number() {
        let of = |v| Generator::of(Contract::parse(v, Generator::V1_14).unwrap());
        assert_eq!(
            (of("v1.6"), of("v1.13"), of("v1.14")),
            (Generator::V1_13, Generator::V1_13, Generator::V1_14)
        );
        for generator in Generator::ALL {
            let number = generator.render_rev();
            assert_eq!(Generator::from_render_rev(number), Some(generator));
            assert_eq!(generator.to_string().parse(), Ok(generator));
        }
        assert_eq!(Generator::from_render_rev(3), None);
    }

    #[test]
    fn contracts_as_the_machinery_takes_them() {
        let clamped = |v| Contract::parse_clamped(v, Generator::V1_13).map(|c| c.to_string());
        assert_eq!(clamped(""), Ok("v1.13".to_owned()));
        assert_eq!(clamped("v2.0"), Ok("v1.13".to_owned()));
        assert_eq!(clamped("1.6.4"), Ok("v1.6".to_owned()));
        assert_eq!(clamped("v1.5.1"), Ok("v1.5".to_owned()));
        assert_eq!(clamped("v0.14"), Ok("v1.0".to_owned()));
        assert!(clamped("latest").is_err());
        assert_eq!(Contract::tag("0.14.2"), Ok("v0.14".to_owned()));
        assert!(Contract::tag("v1.6-x").is_err());
    }

    #[test]
    fn releases_print_as_tags() {
        for (text, tag) in [("1.13.9", "v1.13.9"), ("v1.14.0-rc.1", "v1.14.0-rc.1")] {
            assert_eq!(text.parse::<TalosVersion>().unwrap().to_string(), tag);
        }
        for bad in ["v1.13", "1.13.x", "1.13.9-", "1.13.9-rc_1", "1.13.9.1"] {
            assert!(bad.parse::<TalosVersion>().is_err(), "{bad}");
        }
    }
}
