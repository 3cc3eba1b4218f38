//! The endpoint of a cluster's Kubernetes API.

use std::fmt;
use std::net::Ipv6Addr;

use crate::schema::Url;

/// An `https` URL with a host, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    url: String,
    host: String,
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No scheme, or another one.
    #[error("the cluster endpoint {0:?} must be a URL with https; did you mean \"https://{1}\"?")]
    Scheme(String, String),
    /// Nothing where the host should be, or something that is no host.
    #[error("the cluster endpoint {0:?} has no usable host; write it like https://10.0.0.10:6443")]
    Host(String),
    /// The port is not a number from 1 to 65535.
    #[error("the cluster endpoint {0:?} has no usable port; the usual one is 6443")]
    Port(String),
    /// Not even Go's library takes it.
    #[error("the cluster endpoint {0:?} is no URL; write it like https://10.0.0.10:6443")]
    NoUrl(String),
    /// User names, spaces and control characters have no place in it.
    #[error("the cluster endpoint {0:?} holds more than host, port and path")]
    Excess(String),
}

impl Endpoint {
    /// Checks a URL.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        let owned = || url.to_owned();
        let Some(rest) = url.strip_prefix("https://") else {
            let bare = url.split_once("://").map_or(url, |(_, rest)| rest);
            let with_port = if bare.rsplit(']').next().is_some_and(|t| t.contains(':')) {
                bare.to_owned()
            } else {
                format!("{bare}:6443")
            };
            return Err(EndpointError::Scheme(owned(), with_port));
        };
        if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(EndpointError::Excess(owned()));
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(EndpointError::Excess(owned()));
        }
        let (host, port) =
            split_authority(authority).ok_or_else(|| EndpointError::Host(owned()))?;
        if port.is_some_and(|p| p.parse().map_or(true, |n: u16| n == 0)) {
            return Err(EndpointError::Port(owned()));
        }
        Ok(Self {
            url: owned(),
            host: host.to_owned(),
        })
    }

    /// Takes whatever Talos's own machinery takes for a URL, and writes it as it does: no scheme, any scheme, no host.
    /// For comparing, not for machines.
    ///
    /// # Errors
    /// What is no URL to Go's library.
    pub fn parse_any(url: &str) -> Result<Self, EndpointError> {
        let parsed = Url::parse(url).ok_or_else(|| EndpointError::NoUrl(url.to_owned()))?;
        let (before, fragment) = match url.split_once('#') {
            Some((before, fragment)) => (before, Some(fragment)),
            None => (url, None),
        };
        let (before, query) = match before.split_once('?') {
            Some((before, query)) => (before, Some(query)),
            None => (before, None),
        };
        let head = before.len() - parsed.path.len();
        let scheme = parsed.scheme.len();
        let authority = match &before[scheme..head] {
            // Go prints no slashes where there is nothing behind them.
            "://" if parsed.path.is_empty() => ":",
            written => written,
        };
        let mut out = format!("{}{authority}", parsed.scheme);
        out.push_str(&escaped(parsed.path));
        if let Some(query) = query {
            out.push('?');
            out.push_str(query);
        }
        if let Some(fragment) = fragment.filter(|f| !f.is_empty()) {
            out.push('#');
            out.push_str(&escaped(fragment));
        }
        Ok(Self {
            url: out,
            host: parsed.host().to_owned(),
        })
    }

    /// The URL as written.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// A path as Go's library writes it: as it was, unless a character stands in it that must be escaped.
fn escaped(path: &str) -> String {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@/[]%?".contains(&b);
    let mut out = String::with_capacity(path.len());
    for b in path.bytes() {
        if allowed(b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// Host and port text.
fn split_authority(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        let port = match rest {
            "" => None,
            rest => Some(rest.strip_prefix(':')?),
        };
        return Some((host, port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let label = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (!host.is_empty() && host.chars().all(label)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_and_their_hosts() {
        for (url, host) in [
            ("https://10.0.0.10:6443", "10.0.0.10"),
            ("https://api.example.org", "api.example.org"),
            ("https://[fd00::1]:6443/base?x=1", "fd00::1"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!((endpoint.as_str(), endpoint.host()), (url, host));
        }
    }

    #[test]
    fn endpoints_as_the_machinery_takes_them() {
        for (url, printed, host) in [
            (
                "HTTPS://kube.lan:6443/a b?q=1#f",
                "https://kube.lan:6443/a%20b?q=1#f",
                "kube.lan",
            ),
            ("10.0.0.10", "10.0.0.10", ""),
            ("http://[fd00::1]:6443", "http://[fd00::1]:6443", "fd00::1"),
        ] {
            let endpoint = Endpoint::parse_any(url).unwrap();
            assert_eq!((endpoint.as_str(), endpoint.host()), (printed, host));
        }
        assert!(Endpoint::parse_any("10.0.0.10:6443").is_err());
    }

    #[test]
    fn what_is_no_endpoint_says_why() {
        let check = |url: &str, part: &str| {
            let error = Endpoint::parse(url).unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
        };
        check("10.0.0.10", "did you mean \"https://10.0.0.10:6443\"");
        check(
            "http://10.0.0.10:6443",
            "did you mean \"https://10.0.0.10:6443\"",
        );
        check("https://", "no usable host");
        check("https://[fd00::1", "no usable host");
        check("https://fd00::1:6443", "no usable port");
        check("https://10.0.0.10:0", "no usable port");
        check("https://a b", "more than");
        check("https://u@h", "more than");
    }
}
