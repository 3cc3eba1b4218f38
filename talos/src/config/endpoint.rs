//! The endpoint of a cluster's Kubernetes API.

use std::fmt;
use std::net::Ipv6Addr;

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
