//! Takes boot tokens out of texts before anybody stores or prints them.

/// Replaces the value of every `token=` (also `metal.token=`, `jointoken=` and the URL-encoded `token%3D`) by `***`.
///
/// A value ends at a blank, a quote, `&`, `#` or the end.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, len)) = next_key(rest) {
        let (before, after) = rest.split_at(at + len);
        out.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '&' | '"' | '\'' | '#' | '\\'))
            .unwrap_or(after.len());
        if end > 0 {
            out.push_str("***");
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

fn next_key(text: &str) -> Option<(usize, usize)> {
    ["token=", "token%3D", "token%3d"]
        .iter()
        .filter_map(|key| text.find(key).map(|at| (at, key.len())))
        .min()
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn tokens_go() {
        let check = |text: &str, want: &str| assert_eq!(redact(text), want);
        check("nothing here", "nothing here");
        check(
            "GET /configdata?token=abc&x=1",
            "GET /configdata?token=***&x=1",
        );
        check(
            "rdinit=/init metal.token=s3 metal.mac=52:54:00:00:00:01",
            "rdinit=/init metal.token=*** metal.mac=52:54:00:00:00:01",
        );
        check(
            "\"https://a/configdata?token=abc\": EOF",
            "\"https://a/configdata?token=***\": EOF",
        );
        check(
            "u=http%3A%2F%2Fa%3Ftoken%3Dabc token=",
            "u=http%3A%2F%2Fa%3Ftoken%3D*** token=",
        );
    }
}
