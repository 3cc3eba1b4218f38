//! What host and plugin tell each other before the first byte of gRPC: environment variables one way, one line the other.
//!
//! Pure: the environment is an argument and the line a return value.

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::socket::{Address, Transport};

/// Hosts set this variable to [`COOKIE`], to tell a plugin's start from a person's.
const COOKIE_KEY: &str = "TF_PLUGIN_MAGIC_COOKIE";
const COOKIE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";

/// Asks for the transport of systems without unix sockets, `tcp`, so that it can be tried everywhere.
const TRANSPORT_KEY: &str = "TFPLUGIN_TRANSPORT";

/// Version of go-plugin's own handshake.
const CORE_PROTOCOL: u32 = 1;
/// Major version of the plugin protocol.
const PROTOCOL: u32 = 6;

/// What the host asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// The certificate that the host will show, PEM. None: the host has switched encryption off.
    pub(super) client_certificate: Option<String>,
    /// Where it wants the socket.
    pub(super) socket_dir: Option<String>,
    /// How it reaches the plugin.
    pub(super) transport: Transport,
    /// The ports that it opens for plugins; none where it does not care.
    pub(super) ports: Option<RangeInclusive<u16>>,
}

/// Why the process should not serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// A person started the program.
    #[error(
        "This program is a plugin of Terraform and OpenTofu, which start it themselves. There is nothing to run by hand.\n\n\
         Hint: name it in required_providers and run terraform init; to attach a debugger, start it with -debug."
    )]
    NotAHost,
    /// The host speaks other versions.
    #[error(
        "This provider speaks plugin protocol {PROTOCOL}; the host offers {offered}.\n\nHint: use Terraform 1.6 or OpenTofu 1.6, or later."
    )]
    Protocol {
        /// What it offers.
        offered: String,
    },
}

/// Reads the host's wishes from the environment.
pub(super) fn ask(env: impl Fn(&str) -> Option<String>) -> Result<Ask, Refusal> {
    if env(COOKIE_KEY).as_deref() != Some(COOKIE) {
        return Err(Refusal::NotAHost);
    }
    if let Some(offered) = env("PLUGIN_PROTOCOL_VERSIONS").filter(|o| !o.is_empty())
        && !offered.split(',').any(|v| v.trim().parse() == Ok(PROTOCOL))
    {
        return Err(Refusal::Protocol { offered });
    }
    let set = |key| env(key).filter(|v: &String| !v.is_empty());
    Ok(Ask {
        client_certificate: set("PLUGIN_CLIENT_CERT"),
        socket_dir: set("PLUGIN_UNIX_SOCKET_DIR"),
        transport: if env(TRANSPORT_KEY).as_deref() == Some("tcp") {
            Transport::Tcp
        } else {
            Transport::NATIVE
        },
        ports: ports(set("PLUGIN_MIN_PORT"), set("PLUGIN_MAX_PORT")),
    })
}

fn ports(first: Option<String>, last: Option<String>) -> Option<RangeInclusive<u16>> {
    let (first, last) = (first?.parse().ok()?, last?.parse().ok()?);
    (0 < first && first <= last).then_some(first..=last)
}

/// The line that the host waits for on standard output.
pub(super) fn line(socket: &Address, server_certificate: Option<&[u8]>) -> String {
    let certificate = server_certificate
        .map(|der| STANDARD_NO_PAD.encode(der))
        .unwrap_or_default();
    let Address { network, place } = socket;
    format!("{CORE_PROTOCOL}|{PROTOCOL}|{network}|{place}|grpc|{certificate}\n")
}

/// What a person exports so that a host attaches to a process in debug mode.
pub(super) fn reattach(address: &str, pid: u32, socket: &Address) -> String {
    let config = serde_json::json!({ address: {
        "Protocol": "grpc",
        "ProtocolVersion": PROTOCOL,
        "Pid": pid,
        "Test": true,
        "Addr": { "Network": socket.network, "String": socket.place },
    }});
    format!("TF_REATTACH_PROVIDERS='{config}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(env: &[(&str, &str)]) -> Result<Ask, Refusal> {
        ask(|key| {
            env.iter()
                .find(|(k, _)| *k == key)
                .map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn only_a_host_is_served() {
        assert_eq!(check(&[]), Err(Refusal::NotAHost));
        assert_eq!(check(&[(COOKIE_KEY, "x")]), Err(Refusal::NotAHost));
        let cookie = (COOKIE_KEY, COOKIE);
        assert!(check(&[cookie]).is_ok());
        assert!(check(&[cookie, ("PLUGIN_PROTOCOL_VERSIONS", "5,6")]).is_ok());
        let old = check(&[cookie, ("PLUGIN_PROTOCOL_VERSIONS", "5")]);
        assert_eq!(
            old,
            Err(Refusal::Protocol {
                offered: "5".into()
            })
        );
        let ask = check(&[cookie, ("PLUGIN_CLIENT_CERT", "pem")]).unwrap();
        assert_eq!(ask.client_certificate.as_deref(), Some("pem"));
    }

    #[test]
    fn ports_are_a_range_or_any() {
        let cookie = (COOKIE_KEY, COOKIE);
        let check = |first, last| {
            let range = [("PLUGIN_MIN_PORT", first), ("PLUGIN_MAX_PORT", last)];
            check(&[cookie, range[0], range[1]]).unwrap().ports
        };
        assert_eq!(check("10000", "25000"), Some(10_000..=25_000));
        for (first, last) in [
            ("", "25000"),
            ("9", "8"),
            ("0", "0"),
            ("x", "1"),
            ("1", "70000"),
        ] {
            assert_eq!(check(first, last), None, "{first}..{last}");
        }
    }

    #[test]
    fn lines_have_their_form() {
        let at = |network, place: &str| Address {
            network,
            place: place.to_owned(),
        };
        let socket = at("unix", "/d/s");
        assert_eq!(
            line(&socket, Some(&[0xff, 0xff])),
            "1|6|unix|/d/s|grpc|//8\n"
        );
        let port = at("tcp", "127.0.0.1:7");
        assert_eq!(line(&port, None), "1|6|tcp|127.0.0.1:7|grpc|\n");
        insta::assert_snapshot!(reattach("example.com/x/toy", 7, &socket), @r#"TF_REATTACH_PROVIDERS='{"example.com/x/toy":{"Protocol":"grpc","ProtocolVersion":6,"Pid":7,"Test":true,"Addr":{"Network":"unix","String":"/d/s"}}}'"#);
    }
}
