//! What Go's library prints: texts in quotes, and where a text stops being base64.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// A text as Go's `%q` prints it.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if is_printed(c) => out.push(c),
            c if c.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if u32::from(c) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Rust escapes what is not printable, as Go does; marks that join the character before them only at the beginning
/// of a text, so one stands before.
fn is_printed(c: char) -> bool {
    let text = String::from_iter(['a', c]);
    c == '\'' || text.escape_debug().count() == 2
}

/// The bytes of a base64 text; else Go's words for where it is none.
///
/// Go passes over line ends and over bits behind the last byte.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, String> {
    if let Some(at) = illegal_base64(text.as_bytes()) {
        return Err(format!("illegal base64 data at input byte {at}"));
    }
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let joined = text.replace(['\n', '\r'], "");
    let decoded = GeneralPurpose::new(&STANDARD, config).decode(joined);
    decoded.map_err(|_| "illegal base64 data".to_owned())
}

/// The offset that Go names.
fn illegal_base64(text: &[u8]) -> Option<usize> {
    let is_line_end = |b: &u8| matches!(b, b'\n' | b'\r');
    let past_line_ends = |from: usize| {
        let rest = text.iter().skip(from);
        from + rest.take_while(|b| is_line_end(b)).count()
    };
    let mut digits = 0;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'\n' | b'\r' => {}
            b'=' if digits % 4 < 2 => return Some(at),
            b'=' => {
                let mut end = past_line_ends(at + 1);
                if digits % 4 == 2 {
                    match text.get(end) {
                        None => return Some(text.len()),
                        Some(b'=') => end = past_line_ends(end + 1),
                        Some(_) => return Some(end - 1),
                    }
                }
                return (end < text.len()).then_some(end);
            }
            b if b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/') => digits += 1,
            _ => return Some(at),
        }
    }
    match digits % 4 {
        0 => None,
        missing => Some(text.len() - missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes() {
        assert_eq!(
            quoted("a\"\\'\u{0}\u{7}\n\u{7f}\u{a0}\u{ad}\u{feff}\u{301}日😀\u{e0001}"),
            "\"a\\\"\\\\'\\x00\\a\\n\\x7f\\u00a0\\u00ad\\ufeff\u{301}日😀\\U000e0001\""
        );
    }

    /// The offsets are what Go 1.26 answers.
    #[test]
    fn base64_offsets() {
        for (text, at) in [
            ("*", Some(0)),
            ("AAAA*", Some(4)),
            ("AAA", Some(0)),
            ("AAAAA", Some(4)),
            ("A===", Some(1)),
            ("AA=", Some(3)),
            ("AA=A", Some(2)),
            ("AA==A", Some(4)),
            ("AAA=\nB", Some(5)),
            ("AA=\n=\n", None),
            ("AB==", None),
            ("", None),
        ] {
            let expected = at.map(|at: usize| format!("illegal base64 data at input byte {at}"));
            assert_eq!(base64(text).err(), expected, "{text:?}");
        }
    }
}
