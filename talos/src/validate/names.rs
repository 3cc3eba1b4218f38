//! Names, labels, addresses: what they may look like, in the words of Talos's machinery.

use std::net::IpAddr;

use super::go::quoted;
use crate::schema::parse_prefix;
use crate::yaml::Mapping;

/// Errors of labels: of their names and their values.
pub(super) fn labels(labels: &Mapping) -> Vec<String> {
    let mut errors = Vec::new();
    for (key, value) in sorted(labels) {
        errors.extend(qualified_name(key).err());
        errors.extend(label_value(value).err());
    }
    errors
}

const ANNOTATIONS_MAX: usize = 256 << 10;

pub(super) fn annotations(annotations: &Mapping) -> Vec<String> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in sorted(annotations) {
        errors.extend(qualified_name(key).err());
        let owned = ["annotations", "labels", "taints"];
        if key
            .strip_prefix("talos.dev/owned-")
            .is_some_and(|k| owned.contains(&k))
        {
            errors.push(format!("annotation {key} is reserved", key = quoted(key)));
        }
        size += key.len() + value.len();
    }
    if size > ANNOTATIONS_MAX {
        errors.push(format!(
            "total annotation size exceeds limit of {ANNOTATIONS_MAX} bytes"
        ));
    }
    errors
}

pub(super) fn taints(taints: &Mapping) -> Vec<String> {
    let check = |(key, value): (&str, &str)| {
        qualified_name(key)?;
        let (value, effect) = match value.split_once(':') {
            Some((value, effect)) => (value, effect),
            None => ("", value),
        };
        if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            return Err(format!(
                "invalid taint effect: {effect}",
                effect = quoted(effect)
            ));
        }
        label_value(value)
    };
    sorted(taints)
        .into_iter()
        .filter_map(|t| check(t).err())
        .collect()
}

fn sorted(mapping: &Mapping) -> Vec<(&str, &str)> {
    let entries = mapping.iter();
    let mut all: Vec<(&str, &str)> = entries
        .map(|e| (e.key.as_str(), e.value.as_text().unwrap_or_default()))
        .collect();
    all.sort_unstable();
    all
}

pub(super) fn qualified_name(value: &str) -> Result<(), String> {
    let parts: Vec<&str> = value.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        ["", _] => {
            return Err(format!(
                "prefix cannot be empty: {value}",
                value = quoted(value)
            ));
        }
        [prefix, name] => {
            dns_subdomain(prefix)
                .map_err(|e| format!("prefix {prefix} is invalid: {e}", prefix = quoted(prefix)))?;
            name
        }
        _ => {
            return Err(format!(
                "invalid format: too many slashes: {value}",
                value = quoted(value)
            ));
        }
    };
    if name.is_empty() {
        return Err(format!(
            "name cannot be empty: {value}",
            value = quoted(value)
        ));
    }
    if name.len() > 63 {
        return Err(format!(
            "name is too long: {value} (limit is 63)",
            value = quoted(value)
        ));
    }
    is_word(name)
        .then_some(())
        .ok_or_else(|| format!("name {name} is invalid", name = quoted(name)))
}

fn label_value(value: &str) -> Result<(), String> {
    if value.len() > 63 {
        return Err(format!(
            "label value length exceeds limit of 63: {value}",
            value = quoted(value)
        ));
    }
    (value.is_empty() || is_word(value))
        .then_some(())
        .ok_or_else(|| format!("label value {value} is invalid", value = quoted(value)))
}

/// Letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
fn is_word(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    text.bytes().all(inner) && edge(text.as_bytes().first()) && edge(text.as_bytes().last())
}

pub(super) fn dns_subdomain(value: &str) -> Result<(), String> {
    if value.len() > 253 {
        return Err(format!(
            "domain name length exceeds limit of 253: {value}",
            value = quoted(value)
        ));
    }
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let dash = label.starts_with('-') || label.ends_with('-');
        !label.is_empty() && label.bytes().all(inner) && !dash
    };
    value.split('.').all(label).then_some(()).ok_or_else(|| {
        format!(
            "domain doesn't match required format: {value}",
            value = quoted(value)
        )
    })
}

/// What Talos takes for the DNS domain of a cluster.
pub(super) fn is_dns_domain(name: &str) -> bool {
    let dots = name.bytes().filter(|b| *b == b'.').count();
    if name.is_empty() || name.len() - dots > 255 {
        return false;
    }
    let body = name.strip_suffix(['.', '_']).unwrap_or(name);
    let valid = |body: &str| body.split('.').all(is_dns_label);
    // An underscore at the end may also be a part of the last label.
    valid(body) || valid(name)
}

fn is_dns_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && label.bytes().all(inner)
}

pub(super) fn is_address(text: &str) -> bool {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => zone.is_none(),
        Ok(IpAddr::V6(_)) => zone != Some(""),
        Err(_) => false,
    }
}

/// An address or a network, as lists of subnets have them.
pub(super) fn is_subnet_or_address(text: &str) -> bool {
    parse_prefix(text).is_some() || is_address(text)
}

/// `None` where an address, with or without a prefix length, is fine; otherwise what Go's library says.
pub(super) fn address_or_network_error(text: &str) -> Option<String> {
    if text.contains('/') {
        return (parse_prefix(text).is_none()).then(|| format!("invalid CIDR address: {text}"));
    }
    let plain = text.parse::<IpAddr>().is_ok();
    (!plain).then(|| format!("failed to parse IP address {text}", text = quoted(text)))
}

/// A host and a port, as Go's library splits them; the error is its own.
pub(super) fn split_host_port(text: &str) -> Result<(&str, &str), String> {
    let error = |what: &str| match text {
        "" => what.to_owned(),
        text => format!("address {text}: {what}"),
    };
    let Some(colon) = text.rfind(':') else {
        return Err(error("missing port in address"));
    };
    if let Some(rest) = text.strip_prefix('[') {
        let Some(end) = rest.find(']') else {
            return Err(error("missing ']' in address"));
        };
        return match &rest[end + 1..] {
            "" => Err(error("missing port in address")),
            after if after.starts_with(':') && !after[1..].contains(':') => {
                Ok((&rest[..end], &after[1..]))
            }
            after if after.starts_with(':') => Err(error("too many colons in address")),
            _ => Err(error("missing port in address")),
        };
    }
    if text[..colon].contains(':') {
        return Err(error("too many colons in address"));
    }
    Ok((&text[..colon], &text[colon + 1..]))
}

/// `None` where a URL can be an endpoint.
pub(super) fn endpoint_error(text: &str) -> Option<String> {
    let Some(url) = crate::schema::Url::parse(text) else {
        return Some(format!("parse {text}: not a URL", text = quoted(text)));
    };
    let colons = url.authority.matches(':').count();
    if colons > 2 && !(url.authority.contains('[') && url.authority.contains(']')) {
        return Some("IPv6 addresses MUST be enclosed by square brackets".into());
    }
    if url.host().is_empty() {
        return Some("hostname must not be blank".into());
    }
    let port = url.port();
    if port.is_empty() {
        return None;
    }
    match port.parse::<u32>() {
        Ok(number) if (1..=65535).contains(&number) => None,
        _ => Some("port number must be between 1 and 65535".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_domains() {
        for good in ["a", "kubernetes.io/hostname", "A_b.c-d"] {
            assert_eq!(qualified_name(good), Ok(()), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "-a", "A.b/c", "foo_"] {
            assert!(qualified_name(bad).is_err(), "{bad}");
        }
        assert!(is_dns_domain("cluster.local") && is_dns_domain("cluster.local."));
        assert!(!is_dns_domain("-x") && !is_dns_domain("a..b"));
    }

    #[test]
    fn hosts_and_ports() {
        assert_eq!(split_host_port("[::1]:80"), Ok(("::1", "80")));
        assert_eq!(split_host_port("a:80"), Ok(("a", "80")));
        for bad in ["nope", "a:b:c", "[::1]", "[::1"] {
            assert!(split_host_port(bad).is_err(), "{bad}");
        }
        assert_eq!(endpoint_error("https://[::1]:6443"), None);
        assert_eq!(
            endpoint_error("10.0.0.1").as_deref(),
            Some("hostname must not be blank")
        );
    }
}
