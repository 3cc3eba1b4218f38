//! A value that no log, error or snapshot can show.
//!
//! Promise: `Debug` prints a fixed word, there is no `Display` and no `Serialize`, and the only way to the content is a method
//! whose name a reviewer's eye stops at. Deliberately not here: sealing for storage (the store does that).

use std::fmt;

use subtle::ConstantTimeEq as _;

/// A password, key or token.
#[derive(Clone)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps `content`.
    pub const fn new(content: T) -> Self {
        Self(content)
    }

    /// The content, for the one place that computes or sends with it.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The content, taken out.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> From<T> for Secret<T> {
    fn from(content: T) -> Self {
        Self(content)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Compares in time that depends on the lengths only.
impl<T: AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().ct_eq(other.0.as_ref()).into()
    }
}

impl<T: AsRef<[u8]>> Eq for Secret<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[expect(dead_code, reason = "only its Debug text is of interest")]
    struct Holder {
        user: &'static str,
        password: Secret<String>,
    }

    #[test]
    fn debug_of_a_holder_does_not_show_the_content() {
        let text = format!(
            "{:?} {:#?}",
            Secret::new("hunter2"),
            Holder {
                user: "admin",
                password: Secret::new("hunter2".to_owned()),
            }
        );
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(text.matches("[secret]").count(), 2, "{text}");
    }

    #[test]
    fn equality_looks_at_the_whole_content() {
        assert_eq!(Secret::new("abc"), Secret::new("abc"));
        assert_ne!(Secret::new("abc"), Secret::new("abd"));
        assert_ne!(Secret::new("abc"), Secret::new("ab"));
    }
}
