//! Machine configs as the node reads them: documents, the few values that matter here, and the node's own validation with its own
//! words (`talos-node.md` §2). What the node lets pass although it is wrong passes here too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::discovery::Role;
use super::{selector, yaml};
use crate::rack::plan::DiskPlan;

/// A config that was read; not yet validated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// As it came.
    pub bytes: Vec<u8>,
    documents: Vec<Value>,
}

/// A PEM certificate and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// Certificate, PEM.
    pub certificate: String,
    /// Key, PEM.
    pub key: String,
}

const KINDS: &[&str] = &[
    "DHCPv4Config",
    "DHCPv6Config",
    "DummyLinkConfig",
    "EnvironmentConfig",
    "EthernetConfig",
    "EventSinkConfig",
    "ExistingVolumeConfig",
    "ExtensionServiceConfig",
    "HostnameConfig",
    "KmsgLogConfig",
    "KubeSpanConfig",
    "KubeSpanEndpointsConfig",
    "LinkConfig",
    "LinkAliasConfig",
    "NetworkDefaultActionConfig",
    "NetworkRuleConfig",
    "OOMConfig",
    "PCIDriverRebindConfig",
    "RawVolumeConfig",
    "RegistryAuthConfig",
    "RegistryMirrorConfig",
    "RegistryTLSConfig",
    "ResolverConfig",
    "SideroLinkConfig",
    "StaticHostConfig",
    "SwapVolumeConfig",
    "TimeSyncConfig",
    "TrustedRootsConfig",
    "UserVolumeConfig",
    "VLANConfig",
    "BondConfig",
    "BridgeConfig",
    "VolumeConfig",
    "WatchdogTimerConfig",
    "WireguardConfig",
    "ZswapConfig",
    "Layer2VIPConfig",
    "HCloudVIPConfig",
    "KubePrismConfig",
    "DiscoveryConfig",
    "SysctlConfig",
    "KubeletConfig",
    "ImageVerificationConfig",
];

const MACHINE_KEYS: &[&str] = &[
    "type",
    "token",
    "ca",
    "acceptedCAs",
    "certSANs",
    "controlPlane",
    "kubelet",
    "pods",
    "network",
    "disks",
    "install",
    "files",
    "env",
    "time",
    "sysctls",
    "sysfs",
    "registries",
    "systemDiskEncryption",
    "features",
    "udev",
    "logging",
    "kernel",
    "seccompProfiles",
    "baseRuntimeSpecOverrides",
    "nodeLabels",
    "nodeAnnotations",
    "nodeTaints",
];

const CLUSTER_KEYS: &[&str] = &[
    "id",
    "secret",
    "controlPlane",
    "clusterName",
    "network",
    "token",
    "aescbcEncryptionSecret",
    "secretboxEncryptionSecret",
    "ca",
    "acceptedCAs",
    "aggregatorCA",
    "serviceAccount",
    "apiServer",
    "controllerManager",
    "proxy",
    "scheduler",
    "discovery",
    "etcd",
    "coreDNS",
    "externalCloudProvider",
    "extraManifests",
    "extraManifestHeaders",
    "inlineManifests",
    "adminKubeconfig",
    "allowSchedulingOnMasters",
    "allowSchedulingOnControlPlanes",
];

impl Config {
    /// Reads documents. Unknown kinds, duplicate documents and unknown keys of the main document are errors.
    ///
    /// # Errors
    /// In the node's words.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "decode error: not UTF-8".to_owned())?;
        let documents = yaml::documents(text)?;
        if documents.is_empty() {
            return Err("config not found".to_owned());
        }
        let mut seen: Vec<String> = Vec::new();
        for document in &documents {
            let name = Self::document_name(document)?;
            if seen.contains(&name) {
                return Err(format!("duplicate document {name} is not allowed"));
            }
            seen.push(name);
        }
        Ok(Self {
            bytes: bytes.to_vec(),
            documents,
        })
    }

    fn document_name(document: &Value) -> Result<String, String> {
        let word = |key: &str| document.get(key).and_then(Value::as_str);
        if !document.is_object() {
            return Err("decode error: a document is no mapping".to_owned());
        }
        match (word("kind"), word("apiVersion")) {
            (Some(kind), Some(version)) => {
                let name = word("name").unwrap_or_default();
                if version == "v1alpha1" && KINDS.contains(&kind) {
                    Ok(format!("{version}/{kind}/{name}"))
                } else {
                    Err(format!(
                        "error decoding document {version}/{kind}/{name}: {kind:?} {version:?}: not registered"
                    ))
                }
            }
            (None, None)
                if document.get("machine").is_some() || document.get("version").is_some() =>
            {
                Self::known_keys(document)?;
                Ok("/v1alpha1/".to_owned())
            }
            _ => Err("error decoding document: missing kind".to_owned()),
        }
    }

    fn known_keys(document: &Value) -> Result<(), String> {
        let mut unknown = String::new();
        let tops = ["version", "debug", "persist", "machine", "cluster"];
        for (key, value) in document.as_object().into_iter().flatten() {
            if !tops.contains(&key.as_str()) {
                unknown.push_str(&format!("{key}: {}\n", shown(value)));
            }
        }
        for (part, known) in [("machine", MACHINE_KEYS), ("cluster", CLUSTER_KEYS)] {
            let mut inner = String::new();
            for (key, value) in document
                .get(part)
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                if !known.contains(&key.as_str()) {
                    inner.push_str(&format!("    {key}: {}\n", shown(value)));
                }
            }
            if !inner.is_empty() {
                unknown.push_str(&format!("{part}:\n{inner}"));
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        Err(format!(
            "error decoding document /v1alpha1/ (line 1): unknown keys found during decoding:\n{unknown}"
        ))
    }

    /// The main document.
    pub fn main(&self) -> Option<&Value> {
        self.documents.iter().find(|d| d.get("kind").is_none())
    }

    /// Whether it has the main document: only such a config leaves maintenance.
    pub fn is_complete(&self) -> bool {
        self.main().is_some()
    }

    fn kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.documents
            .iter()
            .filter(move |d| d.get("kind").and_then(Value::as_str) == Some(kind))
    }

    fn at(&self, pointer: &str) -> Option<&Value> {
        self.main()?.pointer(pointer).filter(|v| !v.is_null())
    }

    fn word(&self, pointer: &str) -> Option<&str> {
        self.at(pointer)?.as_str()
    }

    /// Role; `worker` unless it says so.
    pub fn role(&self) -> Role {
        match self.word("/machine/type") {
            Some("controlplane" | "init") => Role::ControlPlane,
            _ => Role::Worker,
        }
    }

    /// Host name, if it is static.
    pub fn hostname(&self) -> Option<String> {
        let document = self.kind("HostnameConfig").next();
        document
            .and_then(|d| d.get("hostname"))
            .and_then(Value::as_str)
            .or_else(|| self.word("/machine/network/hostname"))
            .map(str::to_owned)
    }

    /// Event sink.
    pub fn event_sink(&self) -> Option<String> {
        let document = self.kind("EventSinkConfig").next()?;
        document.get("endpoint")?.as_str().map(str::to_owned)
    }

    /// Kernel log sinks.
    pub fn kernel_logs(&self) -> Vec<String> {
        self.kind("KmsgLogConfig")
            .filter_map(|d| d.get("url")?.as_str().map(str::to_owned))
            .collect()
    }

    /// Trusted roots, PEM.
    pub fn trusted_roots(&self) -> String {
        self.kind("TrustedRootsConfig")
            .filter_map(|d| d.get("certificates")?.as_str())
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Cluster id; nodes with the same one find each other.
    pub fn cluster_id(&self) -> String {
        self.word("/cluster/id").unwrap_or_default().to_owned()
    }

    /// Cluster name.
    pub fn cluster_name(&self) -> String {
        self.word("/cluster/clusterName")
            .unwrap_or_default()
            .to_owned()
    }

    /// Endpoint of the Kubernetes API.
    pub fn endpoint(&self) -> String {
        self.word("/cluster/controlPlane/endpoint")
            .unwrap_or_default()
            .to_owned()
    }

    /// Join token of the machine API.
    pub fn token(&self) -> String {
        self.word("/machine/token").unwrap_or_default().to_owned()
    }

    /// Additional names of the server certificate.
    pub fn cert_sans(&self) -> Vec<String> {
        let list = self.at("/machine/certSANs").and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect()
    }

    /// Installer image.
    pub fn install_image(&self) -> Option<String> {
        self.word("/machine/install/image").map(str::to_owned)
    }

    /// Machine CA; on workers without its key.
    pub fn machine_ca(&self) -> Option<Pair> {
        self.pair("/machine/ca")
    }

    /// Kubernetes CA.
    pub fn kubernetes_ca(&self) -> Option<Pair> {
        self.pair("/cluster/ca")
    }

    fn pair(&self, pointer: &str) -> Option<Pair> {
        let text = |key: &str| {
            let value = self.word(&format!("{pointer}/{key}")).unwrap_or_default();
            STANDARD
                .decode(value)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
        };
        Some(Pair {
            certificate: text("crt").filter(|t| !t.is_empty())?,
            key: text("key").unwrap_or_default(),
        })
    }

    /// Index of the disk that the install writes.
    ///
    /// # Errors
    /// No disk matches, in the node's words.
    pub fn install_disk(&self, disks: &[DiskPlan]) -> Result<usize, String> {
        if let Some(Value::Object(wanted)) = self.at("/machine/install/diskSelector") {
            let mut expression = Vec::new();
            for (key, value) in wanted {
                expression.push(selector::expression(key, value)?);
            }
            let matches =
                |disk: &DiskPlan| wanted.iter().all(|(k, v)| selector::selects(k, v, disk));
            return disks.iter().position(matches).ok_or_else(|| {
                format!(
                    "no disks matched the expression: {} && !disk.readonly && !disk.cdrom",
                    expression.join(" && ")
                )
            });
        }
        let path = self.word("/machine/install/disk").unwrap_or_default();
        let name = path.trim_start_matches("/dev/");
        disks
            .iter()
            .position(|disk| disk.device == name)
            .ok_or_else(|| format!("failed to locate the disk {path}: no such file or directory"))
    }

    /// What the node itself checks.
    ///
    /// # Errors
    /// In the node's words.
    pub fn validate(&self, disks: &[DiskPlan]) -> Result<(), String> {
        let Some(main) = self.main() else {
            return Ok(());
        };
        let wrong = |what: &str| {
            Err(format!(
                "1 error occurred:\n\t* v1alpha1.Config: 1 error occurred:\n\t* {what}\n\n\n\n"
            ))
        };
        let kind = self.word("/machine/type").unwrap_or_default();
        if !matches!(kind, "controlplane" | "worker" | "init" | "") {
            return wrong(&format!("unknown machine type {kind:?}"));
        }
        if main.get("cluster").is_none_or(Value::is_null) {
            return wrong("cluster instructions are required");
        }
        let host = self.endpoint();
        let host = host.split("://").nth(1).unwrap_or_default();
        if host.split([':', '/']).next().unwrap_or_default().is_empty() {
            return wrong("invalid controlplane endpoint: hostname must not be blank");
        }
        if self.role() == Role::ControlPlane && self.machine_ca().is_none_or(|ca| ca.key.is_empty())
        {
            return wrong("issuing CA is required (.machine.ca)");
        }
        let Some(install) = self.at("/machine/install") else {
            return wrong("install instructions are required in \"metal\" mode");
        };
        let has_selector = install
            .get("diskSelector")
            .is_some_and(|s| s.as_object().is_some_and(|s| !s.is_empty()));
        if !has_selector
            && self
                .word("/machine/install/disk")
                .unwrap_or_default()
                .is_empty()
        {
            return wrong("either install disk or diskSelector should be defined");
        }
        if self.kind("HostnameConfig").next().is_some()
            && self.word("/machine/network/hostname").is_some()
        {
            return wrong("static hostname is already set in v1alpha1 config");
        }
        self.labels().or_else(|what| wrong(&what))?;
        self.kubelet_version().or_else(|what| wrong(&what))?;
        // A wrong `disk:` path is not noticed before the install; a selector without a match is.
        if has_selector && let Err(what) = self.install_disk(disks) {
            return wrong(&what);
        }
        Ok(())
    }

    fn labels(&self) -> Result<(), String> {
        let labels = self.at("/machine/nodeLabels").and_then(Value::as_object);
        for name in labels.into_iter().flatten().map(|(name, _)| name) {
            let good = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
            if !name.chars().all(good) {
                return Err(format!(
                    "invalid machine node labels: 1 error occurred:\n\t* name {name:?} is invalid\n\n"
                ));
            }
        }
        Ok(())
    }

    fn kubelet_version(&self) -> Result<(), String> {
        let Some((_, tag)) = self
            .word("/machine/kubelet/image")
            .and_then(|image| image.rsplit_once(":v"))
        else {
            return Ok(());
        };
        let minor = tag
            .split('.')
            .nth(1)
            .and_then(|minor| minor.parse::<u32>().ok());
        if minor.is_some_and(|minor| minor < 31) {
            return Err(format!(
                "kubelet image is not valid: version of Kubernetes {tag} is too old to be used with Talos 1.13.9"
            ));
        }
        Ok(())
    }
}

/// A scalar as a person writes it.
pub(super) fn shown(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rack::plan;
    use crate::rack::spec::RackSpec;

    const WORKER: &str = "version: v1alpha1\nmachine:\n  type: worker\n  token: a.b\n  install:\n    disk: /dev/nvme0n1\ncluster:\n  id: c\n  controlPlane:\n    endpoint: https://10.0.0.10:6443\n";

    fn check(text: &str, want: &str) {
        let disks = plan::plan(&RackSpec::plain(1), Path::new("d"), 1)
            .unwrap()
            .servers[0]
            .disks
            .clone();
        let got = Config::read(text.as_bytes()).and_then(|config| config.validate(&disks));
        let got = got.map_or_else(|why| why, |()| "good".to_owned());
        if want == "good" || got == "good" {
            assert_eq!(got, want, "{text}");
        }
        assert!(got.contains(want), "{text}\n{got}");
    }

    #[test]
    fn what_the_node_refuses() {
        check(WORKER, "good");
        check("", "config not found");
        check(
            &WORKER.replace("worker", "bogus"),
            "unknown machine type \"bogus\"",
        );
        check(
            &WORKER.replace("worker", "controlplane"),
            "issuing CA is required (.machine.ca)",
        );
        check(
            &WORKER.replace("https://10.0.0.10:6443", "https://:6443"),
            "hostname must not be blank",
        );
        check(
            &WORKER.replace("    disk: /dev/nvme0n1\n", "    wipe: true\n"),
            "1 error occurred:\n\t* v1alpha1.Config: 1 error occurred:\n\t* either install disk or diskSelector should be defined",
        );
        check(
            &WORKER.replace("token: a.b", "foo: 1"),
            "unknown keys found during decoding:\nmachine:\n    foo: 1",
        );
        check(
            &WORKER.replace("disk: /dev/nvme0n1", "diskSelector: {serial: DISK-cp}"),
            "no disks matched the expression: glob(\"DISK-cp\", disk.serial) && ",
        );
        check(
            &WORKER.replace(
                "disk: /dev/nvme0n1",
                "diskSelector: {size: '>= 100GB', type: nvme, serial: 'RD*'}",
            ),
            "good",
        );
        check(
            &WORKER.replace("disk: /dev/nvme0n1", "disk: /dev/not-there"),
            "good",
        );
        check(
            &format!("{WORKER}---\napiVersion: v1alpha1\nkind: Nonsense\nname: x\n"),
            "\"Nonsense\" \"v1alpha1\": not registered",
        );
        let host = "---\napiVersion: v1alpha1\nkind: HostnameConfig\nhostname: h\n";
        check(
            &format!("{WORKER}{host}{host}"),
            "duplicate document v1alpha1/HostnameConfig/ is not allowed",
        );
        check(host, "good");
    }
}
