//! Which addresses bootd may dial for its users (images, Talos nodes, BMCs), and an HTTP client that dials no others.
//!
//! Promises: a name is judged by the addresses that it resolves to, at the moment of dialling, so a changed DNS answer gains
//! nothing; loopback, link-local and multicast addresses are opened only by an entry of `[egress] allow` that lies within them, so
//! that "everything" does not mean bootd's own host. HCL cannot widen any of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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

    /// Whether all of this network lies in `other`.
    fn within(&self, other: &Self) -> bool {
        self.prefix >= other.prefix && other.contains(self.address)
    }
}

/// Networks that reach bootd's own host, its link's routers and metadata services, or nobody in particular.
const SPECIAL: [Network; 9] = [
    v4([0, 0, 0, 0], 8),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
    v6(0, 0, 128),
    v6(0, 1, 128),
    v6(0xfe80, 0, 10),
    v6(0xff00, 0, 8),
];

const fn v4(octets: [u8; 4], prefix: u8) -> Network {
    let [a, b, c, d] = octets;
    Network {
        address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        prefix,
    }
}

const fn v6(first: u16, last: u16, prefix: u8) -> Network {
    Network {
        address: IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last)),
        prefix,
    }
}

fn special(address: IpAddr) -> Option<&'static Network> {
    SPECIAL.iter().find(|network| network.contains(address))
}

/// The networks of `[egress] allow`.
#[derive(Debug, Clone)]
pub struct Egress(Arc<[Network]>);

impl From<Vec<Network>> for Egress {
    fn from(allow: Vec<Network>) -> Self {
        Self(allow.into())
    }
}

impl Egress {
    /// May bootd fetch from there? Only where an entry says so.
    pub fn allows(&self, address: IpAddr) -> bool {
        let special = special(address);
        self.0.iter().any(|network| {
            network.contains(address) && special.is_none_or(|range| network.within(range))
        })
    }

    /// May bootd speak to a machine of its own inventory there, or to its BMC? Everywhere but at special addresses.
    pub fn allows_own(&self, address: IpAddr) -> bool {
        special(address).is_none() || self.allows(address)
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
#[error("no address of it is in [egress] allow")]
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

    #[test]
    fn special_addresses_are_opened_by_name_only() {
        let check = |allow: &[&str], address: &str, fetch, own| {
            let networks: Vec<Network> = allow.iter().map(|n| n.parse().unwrap()).collect();
            let egress = Egress::from(networks);
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(egress.allows(address), fetch, "{allow:?} {address}");
            assert_eq!(egress.allows_own(address), own, "{allow:?} {address}");
        };
        check(&[], "10.0.0.1", false, true);
        check(&["10.0.0.0/8"], "10.0.0.1", true, true);
        let all = ["0.0.0.0/0", "::/0"];
        for metadata in [
            "169.254.169.254",
            "127.0.0.1",
            "::1",
            "fe80::1",
            "0.0.0.0",
            "224.0.0.1",
        ] {
            check(&all, metadata, false, false);
        }
        check(&all, "::ffff:127.0.0.1", false, false);
        check(&all, "192.0.2.1", true, true);
        check(&["127.0.0.0/8"], "127.0.1.7", true, true);
        check(&["127.0.1.7"], "127.0.1.7", true, true);
        check(&["fe80::/10"], "fe80::1", true, true);
    }
}
