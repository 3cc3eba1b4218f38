//! The kernel command line of a Talos netboot. Pure: everything comes in, a line or a refusal comes out.
//!
//! What it promises: the config is fetched with this boot's token, over HTTPS under our CA where this Talos can be told to trust
//! it; a disk that was missed halts the boot instead of joining its old cluster; the kernel log shows which netboot it was; the
//! arguments that do this cannot be overridden by an image or by `boot_args`.

use std::fmt::Write as _;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bootd_core::netboot::script::{self, ArgError};

/// The first version whose `talos.config.early` was seen to carry a CA that the download of the config then trusts.
const EARLY_CONFIG_SINCE: (u32, u32) = (1, 13);

/// Marks the command line of a netboot of ours; the value is the epoch's nonce. Talos never copies it to the disk.
pub const NONCE_ARG: &str = "metal.nonce";

/// What the command line is made of.
#[derive(Debug, Clone)]
pub struct TalosBoot<'a> {
    /// The image's own command line (`cmdline-metal-ARCH` of the factory).
    pub image: &'a str,
    /// The image's Talos version, `v1.13.2`.
    pub version: &'a str,
    /// Name under which iPXE loads the initramfs.
    pub initrd_name: &'a str,
    /// This boot's token.
    pub token: &'a str,
    /// This epoch's nonce.
    pub nonce: &'a str,
    /// Our CA.
    pub ca_pem: &'a str,
    /// Where machines reach us.
    pub advertise: IpAddr,
    /// Port of plain HTTP.
    pub http_port: u16,
    /// Port of HTTPS.
    pub https_port: u16,
    /// Port of the event sink.
    pub events_port: u16,
    /// Port of the kernel log sink.
    pub kernel_log_port: u16,
    /// The server's `boot_args`.
    pub extra: &'a [String],
}

/// How the config will travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigTransport {
    /// HTTPS, certificate checked against our CA.
    Tls,
    /// Plain HTTP: this Talos cannot be told of our CA before it fetches.
    Plain,
}

/// How this version of Talos fetches its config. A version that cannot be read counts as new: a config that fails to arrive is
/// seen, one that leaks is not.
pub fn config_transport(version: &str) -> ConfigTransport {
    let number = version.strip_prefix('v').unwrap_or(version);
    let mut parts = number
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) if (major, minor) < EARLY_CONFIG_SINCE => ConfigTransport::Plain,
        _ => ConfigTransport::Tls,
    }
}

/// The whole command line, at most [`script::COMMAND_LINE_BYTES_MAX`] bytes.
pub fn command_line(boot: &TalosBoot<'_>) -> Result<String, ArgError> {
    let host = match boot.advertise {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let mut ours = vec![
        format!("initrd={}", boot.initrd_name),
        "talos.platform=metal".to_owned(),
    ];
    let token = boot.token;
    match config_transport(boot.version) {
        ConfigTransport::Tls => {
            let port = boot.https_port;
            ours.push(format!(
                "talos.config=https://{host}:{port}/configdata?token={token}"
            ));
            ours.push(format!("talos.config.early={}", early_config(boot.ca_pem)));
        }
        ConfigTransport::Plain => {
            let port = boot.http_port;
            ours.push(format!(
                "talos.config=http://{host}:{port}/configdata?token={token}"
            ));
        }
    }
    ours.push("talos.halt_if_installed=1".to_owned());
    ours.push(format!("{NONCE_ARG}={}", boot.nonce));
    ours.push(format!("talos.events.sink={host}:{}", boot.events_port));
    ours.push(format!(
        "talos.logging.kernel=tcp://{host}:{}",
        boot.kernel_log_port
    ));
    let foreign: Vec<String> = boot
        .image
        .split_ascii_whitespace()
        .filter(|arg| *arg != "talos.platform=metal")
        .map(str::to_owned)
        .chain(boot.extra.iter().cloned())
        .collect();
    script::command_line(&ours, &foreign)
}

/// A TrustedRootsConfig with our CA, packed as `talos.config.early` wants it: base64 with padding over zstd.
fn early_config(ca_pem: &str) -> String {
    let mut yaml = String::from(
        "apiVersion: v1alpha1\nkind: TrustedRootsConfig\nname: metal\ncertificates: |\n",
    );
    for line in ca_pem.lines().filter(|line| !line.is_empty()) {
        let _ = writeln!(yaml, "    {line}");
    }
    let packed = zstd::bulk::compress(yaml.as_bytes(), 19)
        .expect("compressing memory into memory that grows cannot fail");
    STANDARD.encode(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ca() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.self_signed(&key).unwrap().pem()
    }

    fn boot<'a>(ca_pem: &'a str, version: &'a str, extra: &'a [String]) -> TalosBoot<'a> {
        TalosBoot {
            image: "talos.platform=metal console=tty0 init_on_alloc=1 slab_nomerge pti=on\n",
            version,
            initrd_name: "initramfs.xz",
            token: "TOKEN",
            nonce: "N0",
            ca_pem,
            advertise: [10, 0, 0, 1].into(),
            http_port: 8081,
            https_port: 8443,
            events_port: 9001,
            kernel_log_port: 9002,
            extra,
        }
    }

    #[test]
    fn versions() {
        let check = |version, want| assert_eq!(config_transport(version), want, "{version}");
        check("v1.13.0", ConfigTransport::Tls);
        check("v1.14.0-rc.1", ConfigTransport::Tls);
        check("v2.0.0", ConfigTransport::Tls);
        check("v1.12.4", ConfigTransport::Plain);
        check("1.9.0", ConfigTransport::Plain);
        check("nonsense", ConfigTransport::Tls);
    }

    #[test]
    fn lines() {
        let ca_pem = ca();
        let extra = ["console=ttyS0,115200".to_owned()];
        let line = command_line(&boot(&ca_pem, "v1.13.2", &extra)).unwrap();
        let (early, rest): (Vec<&str>, Vec<&str>) = line
            .split(' ')
            .partition(|arg| arg.starts_with("talos.config.early="));
        insta::assert_snapshot!(rest.join("\n"), @r"
        initrd=initramfs.xz
        talos.platform=metal
        talos.config=https://10.0.0.1:8443/configdata?token=TOKEN
        talos.halt_if_installed=1
        metal.nonce=N0
        talos.events.sink=10.0.0.1:9001
        talos.logging.kernel=tcp://10.0.0.1:9002
        console=tty0
        init_on_alloc=1
        slab_nomerge
        pti=on
        console=ttyS0,115200
        ");
        let packed = early[0].strip_prefix("talos.config.early=").unwrap();
        let yaml = zstd::decode_all(&*STANDARD.decode(packed).unwrap()).unwrap();
        let yaml = String::from_utf8(yaml).unwrap();
        let body: Vec<&str> = yaml.lines().skip(4).map(|line| &line[4..]).collect();
        assert_eq!(body.join("\n"), ca_pem.trim_end());
        assert!(early[0].len() < 1000, "{}", early[0].len());

        let old = command_line(&boot(&ca_pem, "v1.12.0", &extra)).unwrap();
        assert!(old.contains(" talos.config=http://10.0.0.1:8081/configdata?token=TOKEN "));
        assert!(!old.contains("talos.config.early"));
    }

    #[test]
    fn owned_arguments_stay_ours() {
        let ca_pem = ca();
        let mut bad = boot(&ca_pem, "v1.13.2", &[]);
        bad.image = "console=tty0 talos.config=http://evil/";
        assert_eq!(
            command_line(&bad).unwrap_err().to_string(),
            "kernel argument `talos.config` is set by bootd and cannot be overridden"
        );
        let extra = [format!("a={}", "x".repeat(2000))];
        assert!(matches!(
            command_line(&boot(&ca_pem, "v1.13.2", &extra)),
            Err(ArgError::TooLong { .. })
        ));
    }
}
