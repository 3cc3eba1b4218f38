//! Names and ids: `NAME` for servers, classes, images, secrets and clusters; `CLUSTER/NODE` for claims and machine configs.

use tfplugin::schema::{Validator, validators};

/// Longest name.
const NAME_MAX: usize = 63;

/// True for `[a-z0-9][a-z0-9-]{0,62}`.
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    first
        && text.len() <= NAME_MAX
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The attribute must be a name.
pub fn name() -> Validator {
    validators::text(
        "a name of 1 to 63 lower-case letters, digits and hyphens that does not start with a hyphen",
        |text| {
            if is_name(text) {
                Ok(())
            } else {
                Err(format!("`{text}` is none."))
            }
        },
    )
}

/// The attribute must be `CLUSTER/NODE`.
pub fn cluster_node() -> Validator {
    validators::text(
        "`CLUSTER/NODE`, each a name of lower-case letters, digits and hyphens",
        |text| match text.split_once('/') {
            Some((cluster, node)) if is_name(cluster) && is_name(node) => Ok(()),
            _ => Err(format!("`{text}` is none.")),
        },
    )
}

/// The attribute must be an Ethernet address.
pub fn mac() -> Validator {
    validators::text("an Ethernet address such as `02:00:00:00:00:01`", |text| {
        let parts: Vec<&str> = text.split(':').collect();
        let good = parts.len() == 6
            && parts
                .iter()
                .all(|p| p.len() == 2 && u8::from_str_radix(p, 16).is_ok());
        if good {
            Ok(())
        } else {
            Err(format!("`{text}` is none."))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_the_grammar() {
        for good in ["a", "r2-u14", "0", &"x".repeat(63)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", "A", "a/b", "a.b", "ä", &"x".repeat(64)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
