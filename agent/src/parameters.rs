//! What the agent must know to speak to bootd, and where it comes from: the kernel command line and the pinned CA.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Everything that [`crate::run`] needs besides the machine.
#[derive(Clone, PartialEq, Eq)]
pub struct BootParameters {
    /// bootd's HTTPS address. Always an address and never a name: the agent has no resolver.
    pub server: SocketAddr,
    /// This boot epoch's token.
    pub token: String,
    /// Of the interface that the machine booted from; lower case with colons.
    pub mac: String,
    /// The only certificate authority that is trusted, PEM.
    pub ca_pem: String,
    /// Source address of connections; `None` leaves it to the routes.
    pub bind: Option<IpAddr>,
}

impl fmt::Debug for BootParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootParameters")
            .field("server", &self.server)
            .field("token", &"(secret)")
            .field("mac", &self.mac)
            .field("bind", &self.bind)
            .finish_non_exhaustive()
    }
}

/// What is wrong with the command line. Never shows the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// An argument is absent or empty.
    #[error(
        "the kernel command line has no {0}=…; the agent is started by bootd's boot script only"
    )]
    Missing(&'static str),
    /// The URL is not `https://ADDRESS:PORT`.
    #[error("metal.url must be https://ADDRESS:PORT with a literal address, got {0:?}")]
    Url(String),
    /// Not a hardware address.
    #[error("metal.mac must be six hexadecimal pairs, got {0:?}")]
    Mac(String),
    /// A token with characters that cannot stand in a header.
    #[error("metal.token holds characters that no token has")]
    Token,
}

impl BootParameters {
    /// Reads `metal.url`, `metal.token` and `metal.mac` from a kernel command line. The last of several wins, as in the kernel.
    ///
    /// # Errors
    /// See [`ParameterError`].
    pub fn parse(
        command_line: &str,
        ca_pem: String,
        bind: Option<IpAddr>,
    ) -> Result<Self, ParameterError> {
        let url = argument(command_line, "metal.url")?;
        let token = argument(command_line, "metal.token")?;
        let mac = argument(command_line, "metal.mac")?;
        if !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ParameterError::Token);
        }
        Ok(Self {
            server: server(url).ok_or_else(|| ParameterError::Url(url.to_owned()))?,
            token: token.to_owned(),
            mac: hardware_address(mac).ok_or_else(|| ParameterError::Mac(mac.to_owned()))?,
            ca_pem,
            bind,
        })
    }
}

fn argument<'a>(command_line: &'a str, name: &'static str) -> Result<&'a str, ParameterError> {
    command_line
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        .next_back()
        .filter(|value| !value.is_empty())
        .ok_or(ParameterError::Missing(name))
}

fn server(url: &str) -> Option<SocketAddr> {
    let rest = url.strip_prefix("https://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    rest.parse().ok()
}

/// iPXE prints colons, some firmware hyphens.
fn hardware_address(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase().replace('-', ":");
    let pairs: Vec<&str> = lower.split(':').collect();
    let good = pairs.len() == 6
        && pairs
            .iter()
            .all(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()));
    good.then_some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(command_line: &str) -> Result<BootParameters, ParameterError> {
        BootParameters::parse(command_line, "CA".to_owned(), None)
    }

    #[test]
    fn reads_what_the_boot_script_passes() {
        let p = check("console=ttyS0 metal.url=https://10.0.0.1:8443 metal.token=abc-_9 metal.mac=52-54-00-AA-bb-01 quiet").unwrap();
        assert_eq!(p.server, "10.0.0.1:8443".parse().unwrap());
        assert_eq!(p.token, "abc-_9");
        assert_eq!(p.mac, "52:54:00:aa:bb:01");
        assert!(!format!("{p:?}").contains("abc-_9"), "the token is secret");
        let six =
            check("metal.url=https://[fd77::1]:8443/ metal.token=t metal.mac=52:54:00:aa:bb:01")
                .unwrap();
        assert_eq!(six.server, "[fd77::1]:8443".parse().unwrap());
    }

    #[test]
    fn refuses_what_could_lead_astray() {
        let rest = "metal.token=t metal.mac=52:54:00:aa:bb:01";
        assert_eq!(check(rest), Err(ParameterError::Missing("metal.url")));
        for url in [
            "http://10.0.0.1:1",
            "https://bootd:1",
            "https://10.0.0.1",
            "https://10.0.0.1:1/x",
        ] {
            assert_eq!(
                check(&format!("metal.url={url} {rest}")),
                Err(ParameterError::Url(url.to_owned()))
            );
        }
        let mac = "metal.url=https://10.0.0.1:1 metal.token=t metal.mac=52:54:00:aa:bb";
        assert_eq!(
            check(mac),
            Err(ParameterError::Mac("52:54:00:aa:bb".to_owned()))
        );
        let none = "metal.url=https://10.0.0.1:1 metal.token= metal.mac=52:54:00:aa:bb:01";
        assert_eq!(check(none), Err(ParameterError::Missing("metal.token")));
    }

    proptest! {
        #[test]
        fn never_panics(line in ".*") {
            let _ = check(&line);
            let _ = check(&format!("metal.url={line} metal.token=t metal.mac={line}"));
        }
    }
}
