//! URLs as Go's library takes them apart: far more is a URL there than elsewhere.

use std::fmt;

/// A URL's parts, as far as rules look at them. It prints as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    whole: &'a str,
    /// Lower case; empty where there is none.
    pub(crate) scheme: String,
    /// Host and port; empty where there is none.
    pub(crate) authority: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
}

impl<'a> Url<'a> {
    /// Nothing where Go finds an error.
    pub(crate) fn parse(whole: &'a str) -> Option<Self> {
        if whole.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return None;
        }
        let (before_fragment, _) = whole.split_once('#').unwrap_or((whole, ""));
        let (scheme, rest) = scheme(before_fragment)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let Some(after) = rest.strip_prefix("//") else {
            let first = rest.split('/').next().unwrap_or_default();
            let refused = scheme.is_empty() && first.contains(':');
            return (!refused && escapes_are_whole(rest)).then(|| Self {
                whole,
                scheme: scheme.to_ascii_lowercase(),
                authority: "",
                path: rest,
                query,
            });
        };
        let at = after.find('/').unwrap_or(after.len());
        let (authority, path) = after.split_at(at);
        let authority = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let valid = host_is_valid(authority) && escapes_are_whole(path);
        valid.then(|| Self {
            whole,
            scheme: scheme.to_ascii_lowercase(),
            authority,
            path,
            query,
        })
    }

    /// One URL over another, part by part, as Talos's machinery merges them: what the upper one lacks stays.
    pub(crate) fn over(lower: &str, upper: &str) -> String {
        let (below, above) = (parts(lower), parts(upper));
        let pick = |n: usize| match above[n] {
            "" => below[n],
            own => own,
        };
        let [scheme, authority, path, query, fragment] = [0, 1, 2, 3, 4].map(pick);
        let mut out = String::new();
        // A path without a slash, as a text without a scheme is one, gets it behind a host.
        let slash = match authority.is_empty() || path.starts_with('/') {
            true => "",
            false => "/",
        };
        for (before, part, after) in [
            ("", scheme, ":"),
            ("//", authority, ""),
            (slash, path, ""),
            ("?", query, ""),
            ("#", fragment, ""),
        ] {
            if !part.is_empty() {
                out.extend([before, part, after]);
            }
        }
        out
    }

    /// The host without port and brackets.
    pub(crate) fn host(&self) -> &'a str {
        let host = match self.port_at() {
            Some(at) => &self.authority[..at],
            None => self.authority.trim_end_matches(':'),
        };
        host.strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host)
    }

    /// The port's digits; empty where there is none.
    pub(crate) fn port(&self) -> &'a str {
        self.port_at().map_or("", |at| &self.authority[at + 1..])
    }

    fn port_at(&self) -> Option<usize> {
        let at = self.authority.rfind(':')?;
        let digits = self.authority[at + 1..].bytes().all(|b| b.is_ascii_digit());
        let bracket = self.authority.rfind(']');
        (digits && bracket.is_none_or(|b| b < at) && at + 1 < self.authority.len()).then_some(at)
    }
}

impl fmt::Display for Url<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Go prints no slashes where there is nothing behind them.
        match self.whole.split_once("://") {
            Some((scheme, rest)) if rest.is_empty() || rest.starts_with(['?', '#']) => {
                write!(f, "{scheme}:{rest}")
            }
            _ => f.write_str(self.whole),
        }
    }
}

/// Scheme, authority, path, query and fragment of a URL that was read before.
fn parts(whole: &str) -> [&str; 5] {
    let (rest, fragment) = whole.split_once('#').unwrap_or((whole, ""));
    let (scheme, rest) = scheme(rest).unwrap_or(("", rest));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let Some(after) = rest.strip_prefix("//") else {
        return [scheme, "", rest, query, fragment];
    };
    let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
    [scheme, authority, path, query, fragment]
}

/// Scheme and the rest; nothing where the scheme is missing before a colon.
fn scheme(text: &str) -> Option<(&str, &str)> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return None,
            ':' => return Some((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Some(("", text))
}

fn host_is_valid(authority: &str) -> bool {
    if authority.contains([' ', '<', '>', '"', '\\', '^', '`', '{', '|', '}']) {
        return false;
    }
    let port = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((_, port)) => port,
            None => return false,
        },
        None => authority.rfind(':').map_or("", |at| &authority[at..]),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    (port.is_empty() || port.starts_with(':')) && digits.bytes().all(|b| b.is_ascii_digit())
}

fn escapes_are_whole(path: &str) -> bool {
    path.split('%').skip(1).all(|after| {
        let mut bytes = after.bytes();
        let mut hex = || bytes.next().is_some_and(|b| b.is_ascii_hexdigit());
        hex() && hex()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let url = Url::parse("HTTPS://user@[::1]:6443/a?b#c").unwrap();
        assert_eq!(
            (
                url.scheme.as_str(),
                url.host(),
                url.port(),
                url.path,
                url.query
            ),
            ("https", "::1", "6443", "/a", "b")
        );
        let merged = [
            ("https://a:6443/p?q", "https://b:1", "https://b:1/p?q"),
            ("https://a:6443/p", "", "https://a:6443/p"),
            ("", "https://b", "https://b"),
            ("https://u@a/p#f", "/x?y", "https://u@a/x?y#f"),
        ];
        for (lower, upper, both) in merged {
            assert_eq!(Url::over(lower, upper), both);
        }
        let bare = Url::parse("10.0.0.1").unwrap();
        assert_eq!((bare.host(), bare.path), ("", "10.0.0.1"));
        for wrong in [
            "10.0.0.1:6443",
            ":x",
            "https://a:b",
            "https://[::1",
            "a\u{1}b",
            "/%zz",
        ] {
            assert_eq!(Url::parse(wrong), None, "{wrong}");
        }
    }
}
