//! `bootd init`: a new site's CA, its server certificate, the operator's bundle and a sample `bootd.toml`.
//!
//! Promise: nothing that exists is replaced. Not here: starting anything.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use super::tls::{Authority, AuthorityError, Identity, Role, write_private};

/// How long the operator's bundle is good for (DESIGN §2.2).
const BUNDLE_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// Makes a site in `dir`, reachable at `advertise`.
pub fn run(dir: &Path, advertise: Ipv4Addr) -> Result<(), AuthorityError> {
    let mut hosts = vec![advertise.to_string(), "localhost".to_owned()];
    if !advertise.is_loopback() {
        hosts.push(Ipv4Addr::LOCALHOST.to_string());
    }
    let authority = Authority::create(dir, &hosts)?;
    let admin = authority.issue_client("admin", Role::Admin, BUNDLE_LIFE)?;
    let text = bundle(
        &format!("https://{advertise}:7443"),
        authority.ca_pem(),
        &admin,
    );
    write_private(&dir.join("admin.bundle"), text.as_bytes())?;
    let sample = dir.join("bootd.toml");
    if !sample.exists() {
        write_private(&sample, config(dir, advertise).as_bytes())?;
    }
    Ok(())
}

/// A bundle: all that the provider and `metalctl` need, in one TOML file.
pub fn bundle(endpoint: &str, ca_pem: &str, client: &Identity) -> String {
    let mut text = format!("endpoint = \"{endpoint}\"\n");
    for (key, pem) in [
        ("ca", ca_pem),
        ("certificate", &client.certificate),
        ("key", &client.key),
    ] {
        // A PEM holds neither quotes nor backslashes.
        let _ = write!(
            text,
            "{key} = \"\"\"\n{}\n\"\"\"\n",
            pem.trim_end().replace('\r', "")
        );
    }
    text
}

fn config(dir: &Path, advertise: Ipv4Addr) -> String {
    format!(
        "# Unknown keys are errors. docs/operations.md lists every key and its default.\n\
         state_dir = {dir:?}\n\
         advertise = \"{advertise}\"\n\
         \n\
         [netboot]\n\
         # interfaces = [\"eth1\"]       # name the boot network's interface\n\
         assets = \"/usr/lib/ipxe\"\n\
         \n\
         # What machines boot to be looked at and erased: `scripts/agent-initrd DIR --kernel` makes these files.\n\
         # [agent]\n\
         # kernel = \"/var/lib/bootd/agent/vmlinuz\"\n\
         # initrd = \"/var/lib/bootd/agent/agent-initrd\"\n\
         # modules = \"/var/lib/bootd/agent/modules\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn init_writes_a_bundle_and_a_config_that_parses() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("site");
        run(&dir, Ipv4Addr::new(10, 0, 0, 5)).unwrap();
        let bundle: toml::Table = std::fs::read_to_string(dir.join("admin.bundle"))
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(bundle["endpoint"].as_str(), Some("https://10.0.0.5:7443"));
        assert!(bundle["key"].as_str().unwrap().contains("PRIVATE KEY"));
        let config = Config::read(&dir.join("bootd.toml")).unwrap();
        assert_eq!(config.state_dir, dir);
        assert!(run(&dir, Ipv4Addr::new(10, 0, 0, 5)).is_err());
    }
}
