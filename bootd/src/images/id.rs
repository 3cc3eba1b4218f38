//! An image's id, `SCHEMATIC/VERSION/ARCH`, and the factory's file names for it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// `SCHEMATIC/VERSION/ARCH`: 64 hex digits, `v1.13.2` (with an optional pre-release), `amd64` or `arm64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageId {
    schematic: String,
    version: String,
    arch: &'static str,
}

/// What is wrong with an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnImage {
    /// Not three parts.
    #[error("want SCHEMATIC/VERSION/ARCH")]
    Shape,
    /// First part.
    #[error("a schematic id has 64 lower-case hex digits")]
    Schematic,
    /// Second part.
    #[error("a version looks like v1.13.2")]
    Version,
    /// Third part.
    #[error("an architecture is amd64 or arm64")]
    Arch,
}

impl ImageId {
    /// The Talos version, `v1.13.2`.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn kernel_file(&self) -> String {
        format!("kernel-{}", self.arch)
    }

    pub(super) fn initrd_file(&self) -> String {
        format!("initramfs-{}.xz", self.arch)
    }

    pub(super) fn cmdline_file(&self) -> String {
        format!("cmdline-metal-{}", self.arch)
    }

    pub(super) fn dir(&self, root: &Path) -> PathBuf {
        root.join(&self.schematic)
            .join(&self.version)
            .join(self.arch)
    }

    pub(super) fn url_path(&self) -> String {
        format!("image/{}/{}", self.schematic, self.version)
    }
}

impl FromStr for ImageId {
    type Err = NotAnImage;

    fn from_str(text: &str) -> Result<Self, NotAnImage> {
        let mut parts = text.split('/');
        let (Some(schematic), Some(version), Some(arch), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotAnImage::Shape);
        };
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if schematic.len() != 64 || !schematic.bytes().all(is_hex) {
            return Err(NotAnImage::Schematic);
        }
        let is_version = version.len() <= 40
            && version.starts_with('v')
            && version.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
            && version[1..]
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-')
            && !version.contains("..");
        if !is_version {
            return Err(NotAnImage::Version);
        }
        let arch = match arch {
            "amd64" => "amd64",
            "arm64" => "arm64",
            _ => return Err(NotAnImage::Arch),
        };
        Ok(Self {
            schematic: schematic.to_owned(),
            version: version.to_owned(),
            arch,
        })
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.schematic, self.version, self.arch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids() {
        let schematic = "a".repeat(64);
        let check = |text: String, want: Result<(), NotAnImage>| {
            assert_eq!(
                text.parse::<ImageId>()
                    .map(|id| assert_eq!(id.to_string(), text)),
                want
            );
        };
        check(format!("{schematic}/v1.13.2/amd64"), Ok(()));
        check(format!("{schematic}/v1.14.0-rc.1/arm64"), Ok(()));
        check(format!("{schematic}/v1.13.2"), Err(NotAnImage::Shape));
        check(
            format!("{schematic}/v1.13.2/amd64/x"),
            Err(NotAnImage::Shape),
        );
        check("../v1.13.2/amd64".into(), Err(NotAnImage::Schematic));
        check(format!("{schematic}/v1../amd64"), Err(NotAnImage::Version));
        check(format!("{schematic}/../amd64"), Err(NotAnImage::Version));
        check(format!("{schematic}/v1.13.2/mips"), Err(NotAnImage::Arch));
    }

    proptest! {
        #[test]
        fn never_leaves_its_directory(text in "\\PC{0,90}|[a-f0-9]{64}/v[0-9a-z./-]{0,12}/amd64") {
            if let Ok(id) = text.parse::<ImageId>() {
                let path = id.dir(Path::new("/cache"));
                prop_assert!(path.starts_with("/cache"));
                prop_assert_eq!(path.components().count(), 5);
            }
        }
    }
}
