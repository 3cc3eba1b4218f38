//! Which addresses bootd may dial, and an HTTP client that dials no others.
//!
//! A name is judged by the addresses that it resolves to, at the moment of dialling, so a changed DNS answer gains nothing.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

/// A network in CIDR notation, `10.0.0.0/8` or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a network (want ADDRESS or ADDRESS/PREFIX, such as 10.0.0.0/8)")]
pub struct NotANetwork;

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| NotANetwork)?,
            None => bits,
        };
        if prefix > bits {
            return Err(NotANetwork);
        }
        Ok(Self { address, prefix })
    }
}

impl Network {
    /// Whether the address lies in this network. An IPv4 address inside IPv6 counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                u32::from(network) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                u128::from(network) & mask == u128::from(address) & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// The networks of `[egress] allow`.
#[derive(Debug, Clone)]
pub(crate) struct Egress(pub(crate) Arc<[Network]>);

impl Egress {
    fn allows(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Checks a URL whose host is an address: a client resolves no name then, so [`Resolve`] is never asked.
    pub(crate) fn allows_url(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else {
            return false;
        };
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => self.allows(address),
            Err(_) => true,
        }
    }

    /// A client that dials only allowed addresses, uses no proxy of the environment and follows redirects on one host only.
    pub(crate) fn client(&self, idle: Duration) -> Result<Client, reqwest::Error> {
        // Idempotent; whoever installs the first provider wins, and all of ours are this one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Client::builder()
            .user_agent(concat!("bootd/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(idle)
            .redirect(Policy::custom(|attempt| {
                let same = attempt.previous().first().is_some_and(|first| {
                    (first.scheme(), first.host_str(), first.port())
                        == (
                            attempt.url().scheme(),
                            attempt.url().host_str(),
                            attempt.url().port(),
                        )
                });
                if same && attempt.previous().len() < 5 {
                    attempt.follow()
                } else {
                    attempt.stop()
                }
            }))
            .dns_resolver(Arc::new(self.clone()))
            .build()
    }
}

impl Resolve for Egress {
    fn resolve(&self, name: Name) -> Resolving {
        let egress = self.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| egress.allows(address.ip()))
                .collect();
            if allowed.is_empty() {
                return Err(NotAllowed.into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

/// Every address of a name lies outside the allowed networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("none of its addresses is in [egress] allow")]
pub(crate) struct NotAllowed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let check = |network: &str, address: &str, want: bool| {
            let network: Network = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                want,
                "{network:?} {address}"
            );
        };
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.0.0.0/8", "::ffff:10.0.0.1", true);
        check("0.0.0.0/0", "169.254.169.254", true);
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.7", "192.0.2.6", false);
        check("fd00::/8", "fd12::1", true);
        check("::/0", "10.0.0.1", false);
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "example.org"] {
            assert_eq!(bad.parse::<Network>(), Err(NotANetwork), "{bad}");
        }
    }
}
