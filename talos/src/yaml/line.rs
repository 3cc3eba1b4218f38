//! Parts of one line, as the short way reads them: where a key or a comment ends, and what quotes hold.

/// The offset of the colon that ends a key on the line that begins here.
pub(super) fn colon(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let end = bytes.iter().enumerate().find(|(at, byte)| match byte {
        b'\n' => true,
        b':' => matches!(bytes.get(at + 1), None | Some(b' ' | b'\n')),
        // A comment: no key comes any more.
        b'#' => *at > 0 && bytes[at - 1] == b' ',
        _ => false,
    });
    end.filter(|(_, byte)| **byte == b':').map(|(at, _)| at)
}

/// Whether it is base64 or a word, which is most of every file: one look finds that there is neither a comment nor a
/// colon nor a tab. It has no early exit, so that the compiler takes 16 bytes at a time.
pub(super) fn is_word(line: &str) -> bool {
    let sign = |b: &u8| (*b == b'+') | (*b == b'/') | (*b == b'=');
    let bytes = line.as_bytes().iter();
    !line.is_empty() && bytes.fold(true, |all, b| all & (b.is_ascii_alphanumeric() | sign(b)))
}

/// The offset at which a comment begins, or the end.
pub(super) fn comment(line: &str) -> usize {
    line.find(" #").unwrap_or(line.len())
}

/// A text that may stand without quotes, where no comment is in it.
pub(super) fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let start = match bytes.first() {
        None => false,
        Some(b'-' | b'?' | b':') => bytes.get(1).is_some_and(|b| !b" ,[]{}".contains(b)),
        Some(first) => !b",[]{}#&*!|>'\"%@`".contains(first),
    };
    start && !bytes.contains(&b'\t')
}

/// The text up to the closing quote, which must come on this line and without a tab before it, and the offset behind.
pub(super) fn single(quoted: &str) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut from = 0;
    loop {
        let at = from + quoted[from..].find(['\'', '\n', '\t'])?;
        text.push_str(&quoted[from..at]);
        match (quoted.as_bytes()[at], quoted.as_bytes().get(at + 1)) {
            (b'\'', Some(b'\'')) => text.push('\''),
            (b'\'', _) => return Some((text, at + 1)),
            _ => return None,
        }
        from = at + 2;
    }
}

/// The same with double quotes, and the escapes that people write.
pub(super) fn double(quoted: &str) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut from = 0;
    loop {
        let at = from + quoted[from..].find(['"', '\\', '\n', '\t'])?;
        text.push_str(&quoted[from..at]);
        match quoted.as_bytes()[at] {
            b'"' => return Some((text, at + 1)),
            b'\\' => {}
            _ => return None,
        }
        text.push(match quoted.as_bytes().get(at + 1)? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'0' => '\0',
            // The rarer ones are the whole parser's.
            _ => return None,
        });
        from = at + 2;
    }
}
