//! Values of what the schema's table says that a key may hold: mostly good ones, so that rules deeper down are reached.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};

use super::Random;

const TABLE: &str = include_str!("../../src/schema/table.txt");

/// The documents of generator 1.13, their keys, and the words of enumerations.
pub(crate) struct Shapes {
    enums: BTreeMap<&'static str, Vec<&'static str>>,
    pub(super) documents: Vec<(&'static str, &'static str)>,
    structures: BTreeMap<&'static str, Vec<(&'static str, &'static str)>>,
}

impl Shapes {
    pub(crate) fn new() -> Self {
        let mut shapes = Self {
            enums: BTreeMap::new(),
            documents: Vec::new(),
            structures: BTreeMap::new(),
        };
        let mut current = "";
        for line in TABLE
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
        {
            let words: Vec<&'static str> = line.split_whitespace().collect();
            let newer = words.contains(&"14");
            match (words[0], line.starts_with(' ')) {
                ("enum", false) => {
                    let values = words[2..].iter().filter(|w| !w.starts_with("14:"));
                    shapes.enums.insert(words[1], values.copied().collect());
                }
                ("document", false) if !newer => shapes.documents.push((words[1], words[2])),
                ("type", false) => current = words[1],
                (key, true) if !newer => {
                    let fields = shapes.structures.entry(current).or_default();
                    fields.push((key, words[1]));
                }
                _ => {}
            }
        }
        assert!(shapes.documents.len() > 40 && shapes.structures.len() > 100);
        shapes
    }

    fn fields(&self, structure: &str) -> &[(&'static str, &'static str)] {
        self.structures.get(structure).map_or(&[], |f| f.as_slice())
    }
}

/// Texts for keys that are looked at; the last one is wrong for most.
const GOOD: [(&str, &[&str]); 62] = [
    (
        "interface",
        &["eth0", "eth1", "bond0", "br0", "wg0", "eth0"],
    ),
    ("interfaces", &["eth0", "eth1", "eth2"]),
    ("link", &["eth0", "bond0"]),
    ("links", &["eth0", "eth1", "eth2"]),
    ("parent", &["eth0", "eth1"]),
    (
        "addresses",
        &[
            "10.0.0.2/24",
            "fd00::2/64",
            "10.0.0.3/24",
            "10.0.0.2",
            "nope",
        ],
    ),
    ("cidr", &["10.0.0.4/24", "fd00::4/64", "10.0.0.4", "nope"]),
    (
        "network",
        &["0.0.0.0/0", "::/0", "10.1.0.0/16", "10.1.0.1/16", "", "x"],
    ),
    ("gateway", &["10.0.0.1", "fd00::1", "fe80::1%eth0", "", "x"]),
    ("source", &["10.0.0.2", "fd00::2", "", "x"]),
    ("ip", &["10.0.0.99", "fd00::99", "x"]),
    (
        "mode",
        &[
            "802.3ad",
            "active-backup",
            "balance-xor",
            "balance-tlb",
            "balance-alb",
            "iptables",
            "802.3AD",
        ],
    ),
    (
        "xmitHashPolicy",
        &["layer2", "layer3+4", "encap3+4", "layer7"],
    ),
    ("lacpRate", &["slow", "fast", "quick"]),
    ("adActorSystem", &["00:00:00:00:00:00", "x"]),
    ("arpValidate", &["none", "all", "filter", "x"]),
    ("arpAllTargets", &["any", "all", "x"]),
    ("primaryReselect", &["always", "better", "failure", "x"]),
    ("failOverMac", &["none", "active", "follow", "x"]),
    ("adSelect", &["stable", "bandwidth", "count", "x"]),
    ("arpIPTarget", &["10.0.0.1", "x"]),
    (
        "endpoint",
        &[
            "https://a.example.org:6443",
            "https://10.0.0.9",
            "tcp://10.0.0.9:5044",
            "udp://10.0.0.9:5044/",
            "10.0.0.9:51820",
            "[fd00::9]:51820",
            "grpc://x:4050",
            "a.lan:443",
            "x",
            "http://",
        ],
    ),
    (
        "endpoints",
        &[
            "https://m.lan",
            "http://m.lan:5000/v2",
            "0.0.0.0/0",
            "!10.0.0.0/8",
            "::/0",
            "x",
        ],
    ),
    ("excludeAdvertisedNetworks", &["10.0.0.0/8", "::/0", "x"]),
    (
        "hostname",
        &["node-1", "node-1.example.org", "node_1", "-a", ""],
    ),
    ("hostnames", &["a.lan", "b", "c.d.e"]),
    ("searchDomains", &["example.org", "lan"]),
    (
        "nameservers",
        &["1.1.1.1", "2606:4700::1111", "x", "10.0.0.1"],
    ),
    (
        "servers",
        &["time.cloudflare.com", "/dev/ptp0", "10.0.0.1", ""],
    ),
    ("devices", &["/dev/ptp0", "/dev/ptp1"]),
    ("provider", &["luks2", "luks1", ""]),
    ("format", &["json_lines", "text", ""]),
    ("op", &["create", "append", "overwrite", "delete"]),
    (
        "path",
        &["/var/a", "/etc/b", "/etc/cri/conf.d/20-customization.part"],
    ),
    (
        "dnsDomain",
        &["cluster.local", "k8s.lan", "-bad-", "cluster_local", ""],
    ),
    (
        "podSubnets",
        &["10.244.0.0/16", "fd00:1::/56", "x", "10.244.0.0/16"],
    ),
    (
        "serviceSubnets",
        &["10.96.0.0/12", "fd00:2::/112", "x", "10.96.0.0/12"],
    ),
    (
        "urls",
        &["https://a.lan/x.yaml", "http://b.lan/y", "file:///z", "x y"],
    ),
    (
        "extraManifests",
        &["https://a.lan/x.yaml", "http://b.lan/y", "not a url", "x"],
    ),
    ("manifests", &["https://a.lan/x.yaml", "x"]),
    (
        "privateKey",
        &["YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=", "c2hvcnQ="],
    ),
    (
        "publicKey",
        &["YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI=", "c2hvcnQ="],
    ),
    (
        "presharedKey",
        &["Y2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2M=", "c2hvcnQ="],
    ),
    ("allowedIPs", &["10.9.0.0/24", "0.0.0.0/0", "x"]),
    ("disk", &["/dev/sda", "/dev/vda", "/dev/nvme0n1", ""]),
    ("device", &["/dev/sdb", "/dev/watchdog0", ""]),
    ("mountpoint", &["/var/mnt/a", "/var/lib/b", "/c"]),
    ("destination", &["/var/mnt/a", "/x"]),
    (
        "busPath",
        &[
            "/pci0000:00/*",
            "00:0*",
            "/pci0000:00/0000:00:17.0/ata1/host0",
        ],
    ),
    (
        "hardwareAddr",
        &["00:1B:21:aa:BB:cc", "00:1b:21:*", "*:f0:ab"],
    ),
    ("validSubnets", &["10.0.0.0/8", "!10.1.0.0/16", "x", "!x"]),
    (
        "advertisedSubnets",
        &["10.0.0.0/8", "!10.1.0.0/16", "x", "!x"],
    ),
    ("listenSubnets", &["10.0.0.0/8", "!10.1.0.0/16", "x", "!x"]),
    ("subnet", &["10.0.0.0/8", "x"]),
    ("clusterDNS", &["10.96.0.10", "169.254.2.53", "x"]),
    (
        "allowedRoles",
        &["os:reader", "os:admin", "os:etcd:backup", "os:nope"],
    ),
    (
        "allowedKubernetesNamespaces",
        &["kube-system", "default", ""],
    ),
    ("nodeAddressSortAlgorithm", &["v1", "v2", "v3"]),
    (
        "image",
        &[
            "ghcr.io/siderolabs/x:v1.2.3",
            "registry.k8s.io/kube-apiserver:v1.29.7",
            "docker.io/*",
            "a/b@sha256:0",
            "",
        ],
    ),
    ("environment", &["A=b", "HTTP_PROXY=http://a:1", "nope"]),
    ("rules", &["SUBSYSTEM==\"drm\", MODE=\"0666\"", "x"]),
    ("parameters", &["a=b", "c"]),
];

const TYPES: [(&str, &[&str]); 6] = [
    (
        "v1alpha1.MachineConfig",
        &[
            "controlplane",
            "worker",
            "init",
            "controlplane",
            "worker",
            "boss",
        ],
    ),
    (
        "v1alpha1.InstallDiskSelector",
        &["ssd", "hdd", "nvme", "sd", "floppy"],
    ),
    ("v1alpha1.CNIConfig", &["flannel", "custom", "none", "bird"]),
    (
        "v1alpha1.AuthorizationConfigAuthorizerConfig",
        &["Node", "RBAC", "Webhook", "Nope"],
    ),
    (
        "v1alpha1.AdmissionPluginConfig",
        &["PodSecurity", "ImagePolicyWebhook"],
    ),
    ("v1alpha1.ExtraMount", &["bind", "tmpfs"]),
];

/// Names of documents: few, so that several patches mean the same one.
const NAMES: [(&str, &[&str]); 14] = [
    (
        "VolumeConfig",
        &["EPHEMERAL", "STATE", "IMAGECACHE", "NOPE"],
    ),
    ("Layer2VIPConfig", &["10.0.0.99", "fd00::99", "x"]),
    ("HCloudVIPConfig", &["10.0.0.98", "x"]),
    ("LinkConfig", &["eth0", "eth1", "lo"]),
    ("BondConfig", &["bond0", "bond1"]),
    ("BridgeConfig", &["br0"]),
    ("VLANConfig", &["eth0.5", "vlan7"]),
    ("DummyLinkConfig", &["dummy0"]),
    ("LinkAliasConfig", &["net0", "net%d", "a b"]),
    ("StaticHostConfig", &["10.0.0.7", "fd00::7", "x"]),
    ("BlackholeRouteConfig", &["10.1.0.0/16", "fd01::/32", "x"]),
    ("RoutingRuleConfig", &["1000", "32765", "0", "x"]),
    (
        "PCIDriverRebindConfig",
        &["0000:04:00.00", "0000:00:1f.2", "x"],
    ),
    ("RegistryMirrorConfig", &["docker.io", "*", "ghcr.io"]),
];

impl Random {
    /// A document of some kind, whole.
    pub(super) fn document(&mut self, shapes: &Shapes) -> Json {
        let (kind, structure) = *self.one_of(&shapes.documents);
        if kind == "v1alpha1" {
            return self.main_document(shapes);
        }
        let mut out = Map::new();
        out.insert("apiVersion".into(), "v1alpha1".into());
        out.insert("kind".into(), kind.into());
        let fields = shapes.fields(structure);
        if fields.iter().any(|(key, _)| *key == "name") {
            let names = NAMES.iter().find(|(k, _)| *k == kind);
            let names = names.map_or(&["a", "b", "a-b1"][..], |(_, names)| names);
            out.insert("name".into(), (*self.one_of(names)).into());
        }
        let own = fields
            .iter()
            .filter(|(key, _)| !matches!(*key, "apiVersion" | "kind" | "name"));
        let own: Vec<_> = own.copied().collect();
        // Half of them have most keys: a document that lacks what it needs is soon refused.
        let percent = if self.chance(50) { 85 } else { 40 };
        self.fill(shapes, structure, &own, percent, 1, &mut out);
        Json::Object(out)
    }

    /// A part of the first document.
    pub(super) fn main_document(&mut self, shapes: &Shapes) -> Json {
        let mut out = Map::new();
        for (key, structure) in [
            ("machine", "v1alpha1.MachineConfig"),
            ("cluster", "v1alpha1.ClusterConfig"),
        ] {
            if self.chance(60) {
                let mut part = Map::new();
                let fields = shapes.fields(structure);
                for _ in 0..=self.below(3) {
                    // What every node needs is seldom changed, so that most cases get past it.
                    let (key, kind) = *self.one_of(fields);
                    let vital = matches!(key, "type" | "token" | "ca" | "id" | "secret");
                    if !vital || self.chance(10) {
                        part.insert(key.into(), self.value(shapes, structure, key, kind, 1));
                    }
                }
                out.insert(key.into(), Json::Object(part));
            }
        }
        if out.is_empty() || self.chance(4) {
            let (key, kind) = *self.one_of(&[
                ("debug", "*bool"),
                ("persist", "*bool"),
                ("version", "string"),
            ]);
            let value = self.value(shapes, "", key, kind, 1);
            out.insert(key.into(), value);
        }
        Json::Object(out)
    }

    fn fill(
        &mut self,
        shapes: &Shapes,
        structure: &str,
        fields: &[(&'static str, &'static str)],
        percent: usize,
        depth: usize,
        out: &mut Map<String, Json>,
    ) {
        let enough = if fields.len() > 8 {
            percent / 3
        } else {
            percent
        };
        for (key, kind) in fields {
            if self.chance(enough) {
                let value = self.value(shapes, structure, key, kind, depth);
                out.insert((*key).into(), value);
            }
        }
        if self.chance(1) {
            let key = self.one_of(&["nope", "Name", "mtuu"]);
            out.insert((*key).to_owned(), self.text().into());
        }
    }

    /// A value for a key of a type, as the table writes types.
    fn value(
        &mut self,
        shapes: &Shapes,
        structure: &str,
        key: &str,
        kind: &str,
        depth: usize,
    ) -> Json {
        if self.chance(1) {
            return self.free_form(2);
        }
        if let Some(inner) = kind.strip_prefix('*') {
            return match self.chance(3) {
                true => Json::Null,
                false => self.value(shapes, structure, key, inner, depth),
            };
        }
        if kind.starts_with('[') {
            let inner = kind.split_once(']').unwrap().1;
            let count = self.below(if depth > 3 { 2 } else { 4 });
            let items = (0..count).map(|_| self.value(shapes, structure, key, inner, depth + 1));
            return items.collect();
        }
        if let Some(inner) = kind.strip_prefix("map:") {
            let count = self.below(4);
            let entries = (0..count).map(|_| {
                let name = self.map_key(key);
                (
                    name,
                    self.value(shapes, structure, "in-map", inner, depth + 1),
                )
            });
            return Json::Object(entries.collect());
        }
        if let Some(structure) = kind.strip_prefix('{') {
            let structure = structure.trim_end_matches('}');
            let mut out = Map::new();
            let fields = shapes.fields(structure);
            let percent = if self.chance(50) { 80 } else { 40 };
            self.fill(shapes, structure, fields, percent, depth + 1, &mut out);
            return Json::Object(out);
        }
        match kind.strip_prefix('$') {
            Some(form) => self.form(shapes, form),
            None => self.plain(structure, key, kind),
        }
    }

    fn map_key(&mut self, of: &str) -> String {
        let names: &[&str] = match of {
            "nodeLabels" | "nodeAnnotations" | "nodeTaints" => {
                &["a", "example.org/b", "a b", "-c", "x/y/z"]
            }
            "mirrors" | "config" => &["docker.io", "ghcr.io", "*"],
            "sysctls" | "sysfs" => &["net.ipv4.ip_forward", "kernel.panic", "a.b"],
            "features" => &["tx-checksum-ipv4", "a"],
            _ => &["a", "b", "HTTP_PROXY"],
        };
        match self.chance(75) {
            true => (*self.one_of(names)).to_owned(),
            false => self.key(),
        }
    }

    fn plain(&mut self, structure: &str, key: &str, kind: &str) -> Json {
        match kind {
            "bool" => match self.below(30) {
                0 => "yes".into(),
                1 => "true".into(),
                n => (n % 2 == 0).into(),
            },
            "string" => self.string(structure, key),
            "args" => {
                let count = self.below(4);
                let entries = (0..count).map(|_| {
                    let value = match self.below(6) {
                        0 => json!([self.text(), self.text()]),
                        1 => self.below(100).into(),
                        2 => self.chance(50).into(),
                        3 => "".into(),
                        _ => self.text().into(),
                    };
                    let name =
                        self.one_of(&["v", "feature-gates", "bind-address", "authorization-mode"]);
                    ((*name).to_owned(), value)
                });
                Json::Object(entries.collect())
            }
            "any" => match self.chance(95) {
                true => {
                    let count = self.below(4);
                    let entries = (0..count).map(|_| (self.map_key(""), self.free_form(1)));
                    Json::Object(entries.collect())
                }
                false => self.free_form(0),
            },
            number => {
                let all: &[i64] = match number {
                    "uint8" => &[0, 1, 2, 100, 255, 256, -1],
                    "uint16" => &[0, 1, 5, 7, 4095, 65535, 65536, -1],
                    "uint32" | "uint" | "uint64" => {
                        &[0, 1, 100, 1280, 1500, 9000, 4_294_967_295, -1]
                    }
                    _ => &[0, 1, 1500, 51820, 7445, 9000, -1, 100],
                };
                match self.chance(97) {
                    true => (*self.one_of(all)).into(),
                    false => self
                        .one_of(&["0x10", "1500.0", "ten", "", "1e3"])
                        .to_string()
                        .into(),
                }
            }
        }
    }

    fn string(&mut self, structure: &str, key: &str) -> Json {
        if self.chance(4) {
            return match self.below(4) {
                0 => self.below(5000).into(),
                1 => self.chance(50).into(),
                _ => self.text().into(),
            };
        }
        let typed = TYPES.iter().find(|(name, _)| *name == structure);
        if let (Some((_, all)), "type" | "name") = (typed, key) {
            return (*self.one_of(all)).into();
        }
        match GOOD.iter().find(|(name, _)| *name == key) {
            // The first ones more often.
            Some((_, all)) => {
                let at = self.below(all.len()).min(self.below(all.len()));
                all[at].into()
            }
            None => self.text().into(),
        }
    }

    fn form(&mut self, shapes: &Shapes, form: &str) -> Json {
        if let Some(words) = shapes.enums.get(form) {
            return match self.chance(96) {
                true => (*self.one_of(words)).into(),
                false => (*self.one_of(&["nope", "", "LUKS2", "8"])).into(),
            };
        }
        let all: &[&str] = match form {
            "Duration" => &["1m30s", "0s", "168h", "250ms", "1.5h", "-5s", "10", "soon"],
            "FileMode" => &["0o644", "0644", "0o600", "0o1777", "rw"],
            "DiskSize" | "ByteSize" => &["100GB", "10GiB", "1.5TB", "512", "0", "-1", "big"],
            "Size" => &["100GB", "10GiB", "80%", "100%", "-10GB", "120%", "big"],
            "InstallDiskSizeMatcher" => {
                &[">= 100GB", "<= 2TB", "== 1GB", "100GB", "> 5 GB", "~ 1GB"]
            }
            "HardwareAddr" => &["00:1B:21:aa:BB:cc", "02:00:00:00:00:01", "", "x"],
            "Addr" => &["10.0.0.1", "fd00::1", "FD00:0::1", "", "x"],
            "AddrPort" => &["10.0.0.1:51820", "[fd00::1]:51820", "10.0.0.1", "x"],
            "Prefix" => &[
                "10.0.0.0/24",
                "fd00::/64",
                "10.0.0.5/24",
                "",
                "10.0.0.1",
                "x",
            ],
            "URL" | "Endpoint" => &[
                "https://a.example.org:6443",
                "https://10.0.0.9",
                "tcp://10.0.0.9:5044/",
                "udp://a:1",
                "grpc://a.lan:8080?jointoken=x",
                "oci://a/b",
                "",
                "https://a b",
                "%zz",
            ],
            "RoutingTable" => &["main", "local", "default", "5", "252", "253", "nope"],
            "PortRange" => &["80", "1000-2000", "0", "65535", "2000-1000", "65536", "x"],
            "Manifest" => &[
                "apiVersion: v1\nkind: Namespace\nmetadata:\n    name: a\n",
                "",
                "x",
            ],
            "Expression" => &[
                "disk.transport == \"nvme\"",
                "disk.size > 100u * GB && !system_disk",
                "volume.partition_label == \"a\"",
                "glob(\"00:1b:*\", mac(link.permanent_addr))",
                "",
            ],
            "Base64Bytes" => {
                let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
                return match self.chance(85) {
                    true => STANDARD.encode(pem).into(),
                    false => self.text().into(),
                };
            }
            other => panic!("no values for ${other}"),
        };
        let at = self.below(all.len()).min(self.below(all.len()));
        match all[at].parse::<i64>() {
            Ok(number) if self.chance(60) => number.into(),
            _ => all[at].into(),
        }
    }
}
