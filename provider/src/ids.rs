//! The grammar of names and ids (hcl.md §1): `NAME` for roots, `CLUSTER/NODE` for claims and nodes, MAC addresses, UUIDs.
//!
//! Promises: parsing never panics; an error says which part is wrong. Not here: site prefixes, which come with several sites.

/// Longest name.
pub const NAME_LENGTH_MAX: usize = 63;

/// Is it `[a-z0-9][a-z0-9-]{0,62}`? The error completes "…, but".
///
/// # Errors
/// What is wrong, with the name quoted.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("it is empty".to_owned());
    }
    if name.len() > NAME_LENGTH_MAX {
        return Err(format!(
            "{name:?} is longer than {NAME_LENGTH_MAX} characters"
        ));
    }
    match name
        .chars()
        .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-'))
    {
        Some(bad) => Err(format!("{name:?} contains {bad:?}")),
        None if name.starts_with('-') => Err(format!("{name:?} starts with a hyphen")),
        None => Ok(()),
    }
}

/// Splits `CLUSTER/NODE` and checks both halves.
///
/// # Errors
/// What is wrong, with the text quoted.
pub fn split_slot(text: &str) -> Result<(&str, &str), String> {
    let Some((cluster, node)) = text.split_once('/') else {
        return Err(format!("{text:?} has no slash"));
    };
    check_name(cluster).map_err(|why| format!("the cluster part: {why}"))?;
    check_name(node).map_err(|why| format!("the node part: {why}"))?;
    Ok((cluster, node))
}

/// An Ethernet address in lower case with colons; hyphens and either case are accepted.
#[must_use]
pub fn mac(text: &str) -> Option<String> {
    let parts: Vec<_> = text.split([':', '-']).collect();
    let fine = |p: &&str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
    (parts.len() == 6 && parts.iter().all(fine)).then(|| parts.join(":").to_ascii_lowercase())
}

/// An SMBIOS UUID in lower case.
#[must_use]
pub fn uuid(text: &str) -> Option<String> {
    let parts: Vec<_> = text.split('-').collect();
    let lengths = [8, 4, 4, 4, 12];
    let fine = |(p, n): (&&str, usize)| p.len() == n && p.bytes().all(|b| b.is_ascii_hexdigit());
    (parts.len() == 5 && parts.iter().zip(lengths).all(fine)).then(|| text.to_ascii_lowercase())
}

/// What a server is told by where not by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// An Ethernet address of its own.
    Mac,
    /// Its SMBIOS UUID.
    Uuid,
    /// Its serial number.
    Serial,
    /// The address of its BMC.
    Bmc,
    /// Its own address, as last seen.
    Address,
}

impl KnownBy {
    const ALL: [Self; 5] = [
        Self::Mac,
        Self::Uuid,
        Self::Serial,
        Self::Bmc,
        Self::Address,
    ];

    /// What import ids and made names begin with. A promise to users of its own: it stays where an attribute is renamed.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Mac => "mac",
            Self::Uuid => "uuid",
            Self::Serial => "serial",
            Self::Bmc => "bmc",
            Self::Address => "address",
        }
    }

    /// The parts of an import id such as `mac:52:54:00:aa:bb:cc`; none of a plain name.
    #[must_use]
    pub fn split(id: &str) -> Option<(Self, &str)> {
        let (word, value) = id.split_once(':')?;
        let kind = Self::ALL.into_iter().find(|k| k.word() == word)?;
        Some((kind, value))
    }
}

/// The name of a server that the user gave none, from its identity: `mac-525400aabbcc`.
#[must_use]
pub fn name_from_identity(kind: KnownBy, value: &str) -> String {
    let kept = value.chars().filter_map(|c| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9') => Some(c),
        '-' | '_' | '.' | ' ' if kind == KnownBy::Serial => Some('-'),
        _ => None,
    });
    let name: String = kind.word().chars().chain(['-']).chain(kept).collect();
    name.chars().take(NAME_LENGTH_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_slots() {
        assert_eq!(split_slot("lab/cp-0"), Ok(("lab", "cp-0")));
        let said: Vec<_> = ["cp-0", "Lab/cp-0", "lab/", "lab/a/b", "-x/y"]
            .iter()
            .map(|t| split_slot(t).unwrap_err())
            .collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        "cp-0" has no slash
        the cluster part: "Lab" contains 'L'
        the node part: it is empty
        the node part: "a/b" contains '/'
        the cluster part: "-x" starts with a hyphen
        "#);
    }

    #[test]
    fn identities() {
        assert_eq!(
            mac("52-54-00-AA-bb-cc").as_deref(),
            Some("52:54:00:aa:bb:cc")
        );
        assert_eq!(mac("52:54:00:aa:bb"), None);
        assert_eq!(mac("52:54:00:aa:bb:gg"), None);
        let id = "4C4C4544-0042-3510-8052-B4C04F564432";
        assert_eq!(uuid(id), Some(id.to_ascii_lowercase()));
        assert_eq!(uuid("4c4c4544"), None);
        assert_eq!(KnownBy::split("bmc:::1"), Some((KnownBy::Bmc, "::1")));
        for name in ["mac", "rack:1", ""] {
            assert_eq!(KnownBy::split(name), None, "{name}");
        }
        assert_eq!(
            name_from_identity(KnownBy::Mac, "52:54:00:aa:bb:cc"),
            "mac-525400aabbcc"
        );
        assert_eq!(
            name_from_identity(KnownBy::Serial, "AB 12/x"),
            "serial-ab-12x"
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,80}") {
            let _ = (split_slot(&text), check_name(&text), mac(&text), uuid(&text));
            prop_assert!(name_from_identity(KnownBy::Serial, &text).len() <= NAME_LENGTH_MAX);
        }
    }
}
