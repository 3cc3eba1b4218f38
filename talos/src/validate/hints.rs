//! What to do about a finding, where its words leave one thing that is likely.
//!
//! Rules keep the machinery's words, which say what is wrong and seldom what would be right. Not here: hints that only
//! the rule itself can give, which it states beside its words.

use super::bond;
use crate::schema::nearest;

/// A part of a finding's words, and what to do.
const HINTS: [(&str, &str); 35] = [
    (
        "is already set in v1alpha1 config",
        "state it in one place: remove the key of the main document, or the document",
    ),
    (
        "is configured in both",
        "state it in one place: remove the key of the main document, or the document",
    ),
    (
        "in both v1alpha1 and new-style",
        "remove machine.time, or the servers of TimeSyncConfig",
    ),
    (
        "is incompatible with v1alpha1 config (.machine.install)",
        "remove machine.install, or the document",
    ),
    ("config sections are mutually exclusive", "keep one of them"),
    (
        "required either config section to be set",
        "set interface to the link's name, or deviceSelector",
    ),
    (
        "install.extraKernelArgs and install.grubUseUKICmdline",
        "put kernel arguments into the image's schematic and remove extraKernelArgs",
    ),
    (
        "key is not allowed on non-controlplane nodes",
        "leave key empty on workers: they need the certificate only",
    ),
    (
        "only allowed on control plane machines",
        "give it to control planes only",
    ),
    (
        "is not allowed on non-controlplane nodes",
        "give it to control planes only",
    ),
    (
        "either install disk or diskSelector should be defined",
        "set machine.install.disk or machine.install.diskSelector",
    ),
    (
        ".cluster.discovery should be enabled",
        "set cluster.discovery.enabled to true, or disable KubeSpan",
    ),
    (
        "link MTU must be at least",
        "leave mtu out to have the default of 1420",
    ),
    (
        "endpoint filter is not valid",
        "write a network like 10.0.0.0/8, or !10.0.0.0/8 to leave it out",
    ),
    (
        "subnet is not valid",
        "write a network like 10.0.0.0/8, or !10.0.0.0/8 to leave it out",
    ),
    ("invalid CIDR address", "write a network like 10.0.0.0/24"),
    (
        "failed to parse IP address",
        "write an address like 10.0.0.2, with its prefix length where it is a link's own",
    ),
    (".persist should be enabled", "remove persist"),
    (
        "is not a valid DNS name",
        "write labels of letters, digits and hyphens, joined by dots",
    ),
    (
        "invalid taint effect",
        "write NoSchedule, PreferNoSchedule or NoExecute",
    ),
    (
        "label value",
        "write at most 63 letters, digits, dots, hyphens and underscores; the first and last are letters or digits",
    ),
    ("too many slashes", "write NAME or DOMAIN/NAME"),
    (
        "at least one link must be specified",
        "list the names of its links",
    ),
    (
        "must be a valid PEM-encoded certificate",
        "write the text that begins with -----BEGIN CERTIFICATE-----",
    ),
    ("unsupported scheme", "write a URL with https or http"),
    (
        "no encryption keys provided",
        "list keys, each with a slot and one of static, nodeID, kms and tpm",
    ),
    (
        "doesn't have the configuration parameters",
        "give the key one of static, nodeID, kms and tpm",
    ),
    ("encryption key slot", "give every key a slot of its own"),
    ("duplicate key slot", "give every key a slot of its own"),
    ("expected 32 bytes", "write 32 random bytes in base64"),
    ("is duplicate", "give each one a name of its own"),
    ("name is required", "write name beside apiVersion and kind"),
    (
        "name must be specified",
        "write name beside apiVersion and kind",
    ),
    (
        "\"urls\" field should be empty",
        "remove urls, or set the CNI's name to custom",
    ),
    (
        "feature HostDNS should",
        "containers need machine.features.hostDNS with enabled and forwardKubeDNSToHost",
    ),
];

/// Words before a text that is none of a few: the likeliest of them is meant.
const WORDS: [(&str, &[&str]); 4] = [
    ("unknown machine type ", &["controlplane", "worker", "init"]),
    ("invalid bond type ", &bond::MODES),
    ("unsupported disk type ", &["ssd", "hdd", "nvme", "sd"]),
    ("invalid node address sort algorithm: ", &["v1", "v2"]),
];

/// What to do about a finding.
pub(super) fn of(reason: &str) -> Option<String> {
    for (before, words) in WORDS {
        if let Some((_, rest)) = reason.split_once(before) {
            let written = rest.split_whitespace().next().unwrap_or_default();
            return Some(
                match nearest(written.trim_matches('"'), words.iter().copied()) {
                    Some(word) => format!("did you mean {word}?"),
                    None => format!("write one of {}", words.join(", ")),
                },
            );
        }
    }
    let found = HINTS.iter().find(|(part, _)| reason.contains(part));
    found.map(|(_, hint)| (*hint).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_say_what_to_do() {
        let check = |reason: &str, hint: &str| assert_eq!(of(reason).as_deref(), Some(hint));
        check("unknown machine type \"workr\"", "did you mean worker?");
        check(
            "invalid bond type active-bakcup",
            "did you mean active-backup?",
        );
        check(
            "install disk selector is invalid: unsupported disk type \"floppy\"",
            "write one of ssd, hdd, nvme, sd",
        );
        check(
            "kubespan link MTU must be at least 1280",
            "leave mtu out to have the default of 1420",
        );
        check(
            "virtual (shared) IP is not allowed on non-controlplane nodes",
            "give it to control planes only",
        );
        check("duplicate key slot 1", "give every key a slot of its own");
        assert_eq!(of("proxy image is not valid"), None);
    }

    /// A hint for words that no rule has is never shown.
    #[test]
    fn every_hint_is_for_the_words_of_a_rule() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/validate");
        let mut rules = String::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("hints.rs") {
                rules.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
        let escaped = |text: &str| text.replace('"', "\\\"");
        let parts = HINTS.iter().map(|(part, _)| *part);
        for part in parts.chain(WORDS.iter().map(|(before, _)| *before)) {
            assert!(
                rules.contains(part) || rules.contains(&escaped(part)),
                "{part}"
            );
        }
    }
}
