//! `bootd init`: the CA, the server's certificate, the sealing key, and the first bundle.
//!
//! Promise: private files are 0600 and nothing that exists is replaced. Not here: renewal and revocation.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::store::Seal;

/// Days that a bundle is good for.
const BUNDLE_DAYS: i64 = 90;
const CA_DAYS: i64 = 3650;

/// Files of a state directory.
#[derive(Debug, Clone)]
pub struct Files {
    dir: PathBuf,
}

impl Files {
    /// Of this directory.
    pub fn in_dir(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Our CA's certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    fn ca_key(&self) -> PathBuf {
        self.dir.join("ca.key")
    }

    /// The server's certificate.
    pub fn server(&self) -> PathBuf {
        self.dir.join("server.pem")
    }

    /// The server's key.
    pub fn server_key(&self) -> PathBuf {
        self.dir.join("server.key")
    }

    /// The sealing key.
    pub fn sealing_key(&self) -> PathBuf {
        self.dir.join("sealing.key")
    }

    fn bundle(&self) -> PathBuf {
        self.dir.join("admin.bundle")
    }

    fn config(&self) -> PathBuf {
        self.dir.join("bootd.toml")
    }
}

/// Why a site could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A file is there already, or cannot be written.
    #[error("{path:?} cannot be written (bootd init replaces nothing)")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A certificate could not be made.
    #[error("a certificate for {host:?} could not be made; give an IP address or a host name")]
    Certificate {
        /// The advertised host.
        host: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
}

/// Makes everything that `bootd serve` needs, and `admin.bundle`.
pub fn init(dir: &Path, advertise: &str) -> Result<(), InitError> {
    let files = Files::in_dir(dir);
    std::fs::create_dir_all(dir).map_err(|source| InitError::Write {
        path: dir.to_owned(),
        source,
    })?;
    let certificates = |source| InitError::Certificate {
        host: advertise.to_owned(),
        source,
    };
    let ca = Authority::new().map_err(certificates)?;
    let server = ca
        .issue(server_params(advertise).map_err(certificates)?)
        .map_err(certificates)?;
    let admin = ca
        .client("admin", "admin", BUNDLE_DAYS)
        .map_err(certificates)?;
    write(&files.ca_key(), 0o600, &ca.key.serialize_pem())?;
    write(&files.ca(), 0o644, &ca.pem)?;
    write(&files.server_key(), 0o600, &server.key)?;
    write(&files.server(), 0o644, &server.certificate)?;
    Seal::create(&files.sealing_key()).map_err(|source| InitError::Write {
        path: files.sealing_key(),
        source,
    })?;
    write(&files.bundle(), 0o600, &bundle(advertise, &ca.pem, &admin))?;
    write(&files.config(), 0o644, &sample(dir, advertise))
}

/// The CA with its key.
#[derive(Debug)]
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    /// Its certificate.
    pub pem: String,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub struct Issued {
    /// Certificate.
    pub certificate: String,
    /// Key.
    pub key: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issued([secret])")
    }
}

impl Authority {
    /// A new one.
    pub fn new() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "bootd CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        lasts(&mut params, CA_DAYS);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { params, key, pem })
    }

    /// A client certificate; the role stands in its organisation.
    pub fn client(&self, name: &str, role: &str, days: i64) -> Result<Issued, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params
            .distinguished_name
            .push(DnType::OrganizationName, role);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        lasts(&mut params, days);
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> Result<Issued, rcgen::Error> {
        let key = KeyPair::generate()?;
        let issuer = Issuer::from_params(&self.params, &self.key);
        Ok(Issued {
            certificate: params.signed_by(&key, &issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// A server certificate for a host.
    pub fn server(&self, host: &str) -> Result<Issued, rcgen::Error> {
        self.issue(server_params(host)?)
    }
}

fn server_params(host: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut names = vec![host.to_owned()];
    for local in ["localhost", "127.0.0.1"] {
        if host != local {
            names.push(local.to_owned());
        }
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "bootd");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    lasts(&mut params, CA_DAYS);
    Ok(params)
}

/// From yesterday, because machines' clocks are not ours.
fn lasts(params: &mut CertificateParams, days: i64) {
    let today = jiff::Zoned::now().date();
    let date = |offset: i64| {
        let day = today.saturating_add(jiff::Span::new().days(offset));
        rcgen::date_time_ymd(
            i32::from(day.year()),
            day.month().unsigned_abs(),
            day.day().unsigned_abs(),
        )
    };
    params.not_before = date(-1);
    params.not_after = date(days);
}

fn bundle(advertise: &str, ca: &str, client: &Issued) -> String {
    let host = match advertise.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => format!("[{v6}]"),
        Ok(IpAddr::V4(_)) | Err(_) => advertise.to_owned(),
    };
    format!(
        "# Opens bootd's API with the role admin. Keep it like a password.\nendpoint = \"https://{host}:7443\"\nca = '''\n{ca}'''\ncertificate = '''\n{}'''\nkey = '''\n{}'''\n",
        client.certificate, client.key
    )
}

fn sample(dir: &Path, advertise: &str) -> String {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    format!(
        "# Written by `bootd init`. Unknown keys are errors; docs/operations.md lists every key and default.\n\
         state_dir = {:?}\nadvertise = {advertise:?}\n\n\
         [registration]\nmode = \"declared\" # closed | declared | open\n\n\
         # The agent that unknown and idle machines boot:\n# [agent]\n# kernel = \"/usr/share/metal/vmlinuz\"\n# initrd = \"/usr/share/metal/agent-initrd\"\n",
        dir.display().to_string()
    )
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), InitError> {
    std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| InitError::Write {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn init_writes_private_files_once() {
        let dir = tempfile::tempdir().unwrap();
        init(dir.path(), "127.0.0.1").unwrap();
        for name in ["ca.key", "server.key", "sealing.key", "admin.bundle"] {
            let mode = std::fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let bundle: toml::Table = std::fs::read_to_string(dir.path().join("admin.bundle"))
            .unwrap()
            .parse()
            .unwrap();
        let keys: Vec<&str> = bundle.keys().map(String::as_str).collect();
        assert_eq!(keys, ["ca", "certificate", "endpoint", "key"]);
        let sample = std::fs::read_to_string(dir.path().join("bootd.toml")).unwrap();
        crate::config::Config::parse(&sample).unwrap();
        assert!(
            init(dir.path(), "127.0.0.1").is_err(),
            "nothing is replaced"
        );
    }
}
