//! `install.diskSelector`: which disk it means, and how the node words it.

use serde_json::Value;

use super::config::shown;
use crate::rack::plan::DiskPlan;
use crate::rack::spec::Bytes;

/// The selector's key as the node's own expression language says it.
///
/// # Errors
/// The value is no size.
pub(super) fn expression(key: &str, value: &Value) -> Result<String, String> {
    let text = shown(value);
    Ok(match key {
        "size" => {
            let (operator, bytes) = size_rule(&text)?;
            format!("disk.size {operator} {bytes}u")
        }
        "type" => match text.as_str() {
            "nvme" => "disk.transport == \"nvme\"".to_owned(),
            "hdd" => "disk.rotational".to_owned(),
            _ => "disk.transport != \"nvme\" && !disk.rotational".to_owned(),
        },
        "busPath" => format!("glob({text:?}, disk.bus_path)"),
        key => format!("glob({text:?}, disk.{key})"),
    })
}

/// Whether a disk has what the selector's key asks for.
pub(super) fn selects(key: &str, value: &Value, disk: &DiskPlan) -> bool {
    let text = shown(value);
    match key {
        "size" => size_rule(&text).is_ok_and(|(operator, bytes)| match operator {
            ">=" => disk.bytes >= bytes,
            "<=" => disk.bytes <= bytes,
            ">" => disk.bytes > bytes,
            "<" => disk.bytes < bytes,
            // The node rounds both to what a person would read; one per cent stands for it.
            _ => disk.bytes.abs_diff(bytes) * 100 <= bytes,
        }),
        "type" => disk.kind.as_str() == text,
        "serial" => glob(&text, &disk.serial),
        "wwid" => glob(&text, &disk.wwid),
        "model" => glob(&text, &disk.model),
        "busPath" => glob(&text, &disk.bus_path),
        "name" => glob(&text, &disk.device),
        _ => false,
    }
}

fn size_rule(text: &str) -> Result<(&'static str, u64), String> {
    for operator in [">=", "<=", "==", ">", "<"] {
        if let Some(rest) = text.trim().strip_prefix(operator) {
            return Bytes::parse(rest).map(|bytes| (operator, bytes.0));
        }
    }
    Bytes::parse(text).map(|bytes| ("==", bytes.0))
}

/// `*` and `?`, as the node's selectors have them.
pub fn glob(pattern: &str, text: &str) -> bool {
    fn go(p: &[char], t: &[char]) -> bool {
        match (p.split_first(), t.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => (0..=t.len()).any(|n| go(rest, &t[n..])),
            (Some(('?', p)), Some((_, t))) => go(p, t),
            (Some((a, p)), Some((b, t))) => a == b && go(p, t),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    pattern.len() <= 256 && go(&pattern, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        assert!(glob("RD*9?", "RDxx9y"));
        assert!(!glob("RD", "RDx"));
        assert!(glob("*", ""));
    }
}
