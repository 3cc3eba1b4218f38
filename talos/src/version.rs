//! The version inputs, kept apart: whose generator writes, which contract it writes for, and which Kubernetes runs.

use std::fmt;
use std::str::FromStr;

/// Whose machinery's output is reproduced. Output is defined by the pair of generator and [`Contract`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Generator {
    /// Talos machinery 1.13.9.
    #[default]
    V1_13,
}

impl Generator {
    /// The newest contract that this generator writes.
    pub const fn newest(self) -> Contract {
        match self {
            Self::V1_13 => Contract { minor: 13 },
        }
    }

    /// The contracts that this generator writes here, oldest first.
    pub fn contracts(self) -> impl Iterator<Item = Contract> {
        (OLDEST_MINOR..=self.newest().minor).map(|minor| Contract { minor })
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
    fn releases_print_as_tags() {
        for (text, tag) in [("1.13.9", "v1.13.9"), ("v1.14.0-rc.1", "v1.14.0-rc.1")] {
            assert_eq!(text.parse::<TalosVersion>().unwrap().to_string(), tag);
        }
        for bad in ["v1.13", "1.13.x", "1.13.9-", "1.13.9-rc_1", "1.13.9.1"] {
            assert!(bad.parse::<TalosVersion>().is_err(), "{bad}");
        }
    }
}
