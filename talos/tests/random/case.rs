//! Whole cases: what is asked, of which source, with which patches.

use serde_json::{Map, Value as Json, json};

use super::{Random, Shapes};

/// What random cases are made from besides chance.
pub(crate) struct Corpus {
    pub(crate) shapes: Shapes,
    /// Patches that people wrote.
    pub(crate) patches: Vec<String>,
    /// Files of secrets.
    pub(crate) bundles: Vec<String>,
}

/// Contract, Kubernetes, and the secrets of that time.
const CONTRACTS: [(&str, &str, &str); 8] = [
    ("v1.6", "1.29.7", "v1.6"),
    ("v1.7", "1.30.5", "v1.8"),
    ("v1.8", "1.31.4", "v1.8"),
    ("v1.9", "1.32.4", "v1.8"),
    ("v1.10", "1.33.6", "v1.11"),
    ("v1.11", "1.34.1", "v1.11"),
    ("v1.12", "1.35.4", "v1.12"),
    ("v1.13", "1.36.3", "v1.13"),
];

const ENDPOINTS: [&str; 12] = [
    "https://10.0.0.10:6443",
    "https://kube.example.org",
    "https://[fd00::1]:6443",
    "https://10.0.0.10:6443",
    "https://kube.example.org:6443",
    "https://[fd00::1]:6443",
    "https://kube.example.org:6443/path?q=1",
    "http://kube.example.org",
    "10.0.0.10",
    "https://",
    "https://h:port",
    "https://[::1",
];

impl Random {
    /// One case.
    pub(crate) fn case(&mut self, index: usize, corpus: &Corpus) -> String {
        let mut case = match self.below(100) {
            0..=66 => {
                let mut case = self.config_case(corpus, "encode");
                if self.chance(20) {
                    case["via"] = "bytes".into();
                }
                case
            }
            67..=84 => {
                let mut case = self.config_case(corpus, "validate");
                case["mode"] = (*self.one_of(&["metal", "metal", "cloud", "container"])).into();
                case["local"] = self.chance(20).into();
                case["strict"] = self.chance(20).into();
                case
            }
            85..=89 => {
                let mut case = self.config_case(corpus, "redact");
                case["value"] = (*self.one_of(&["******", "x", "", "[hidden]"])).into();
                case
            }
            90..=91 => {
                // Of a worker's config the machinery makes a bundle without keys, which is refused here.
                let mut case = json!({"op": "bundle-from-config", "generate": self.input()});
                case["generate"]["role"] = (*self.one_of(&["controlplane", "init"])).into();
                case
            }
            92 => json!({"op": "bundle", "text": self.secrets_file(corpus)}),
            93 => json!({"op": "bundle-validate", "text": self.secrets_file(corpus)}),
            94 => json!({"op": "contract", "value": self.version()}),
            95 => {
                let count = self.below(4);
                let endpoints: Json = (0..count).map(|_| Json::from(self.text())).collect();
                let (_, _, bundle) = *self.one_of(&CONTRACTS);
                json!({"op": "talosconfig", "context": self.text(), "endpoints": endpoints, "bundle": bundle})
            }
            96 => json!({"op": "talosconfig-load", "text": self.talosconfig()}),
            _ => json!({"op": "schematic", "text": self.schematic()}),
        };
        case["id"] = format!("random-{index}").into();
        case.to_string()
    }

    fn config_case(&mut self, corpus: &Corpus, op: &str) -> Json {
        let mut case = json!({"op": op});
        if self.chance(12) {
            case["config"] = self.config(corpus).into();
        } else {
            case["generate"] = self.input();
        }
        let patches: Json = (0..self.below(4))
            .map(|_| Json::from(self.patch(corpus)))
            .collect();
        case["patches"] = patches;
        case
    }

    /// A config that nothing generated.
    fn config(&mut self, corpus: &Corpus) -> String {
        let mut documents = Vec::new();
        if self.chance(85) {
            let mut main = self.main_document(&corpus.shapes);
            main["version"] = "v1alpha1".into();
            documents.push(self.written(&main));
        }
        for _ in 0..self.below(4) {
            let document = self.document(&corpus.shapes);
            documents.push(self.written(&document));
        }
        let text = documents.join("\n---\n");
        match self.chance(5) {
            true => self.damaged(&text),
            false => text,
        }
    }

    fn input(&mut self) -> Json {
        let (contract, kubernetes, bundle) = *self.one_of(&CONTRACTS);
        let roles = ["controlplane", "worker", "controlplane", "worker", "init"];
        let usual = self.chance(97);
        let endpoints = if usual { 6 } else { ENDPOINTS.len() };
        json!({
            "contract": if self.chance(98) { contract.to_owned() } else { self.contract() },
            "role": if self.chance(99) { *self.one_of(&roles) } else { *self.one_of(&["join", "boss", ""]) },
            "bundle": if self.chance(90) { bundle } else { self.one_of(&CONTRACTS).2 },
            "cluster": if self.chance(80) { "demo".to_owned() } else { self.text() },
            "endpoint": *self.one_of(&ENDPOINTS[..endpoints]),
            "kubernetes": if self.chance(95) { kubernetes } else { *self.one_of(&["", "v1.30.0", "1.20.0", "x"]) },
            "options": self.options(),
        })
    }

    fn options(&mut self) -> Json {
        let mut out = Map::new();
        let ca = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let texts = |random: &mut Self| -> Json {
            let count = random.below(4);
            (0..count).map(|_| Json::from(random.text())).collect()
        };
        let mirrors: [Json; 4] = [
            json!([]),
            json!(["https://m.lan"]),
            json!(["http://all.lan:5000/v2", "https://m.lan"]),
            json!(["https://m.lan/a?b=c"]),
        ];
        let all: [(&str, Json); 17] = [
            (
                "install_disk",
                (*self.one_of(&["/dev/sda", "/dev/vda", ""])).into(),
            ),
            (
                "install_image",
                "ghcr.io/siderolabs/installer:v1.13.9".into(),
            ),
            ("dns_domain", (*self.one_of(&["k8s.lan", "", "a b"])).into()),
            ("install_extra_kernel_args", texts(self)),
            ("additional_sans", texts(self)),
            (
                "registry_mirrors",
                json!({"docker.io": self.one_of(&mirrors), "*": self.one_of(&mirrors)}),
            ),
            (
                "registry_ca",
                json!({"m.lan": ca, "docker.io": self.text()}),
            ),
            ("registry_insecure", json!(["m.lan", "n.lan:5000"])),
            (
                "sysctls",
                json!({self.key(): self.text(), "net.ipv4.ip_forward": "1"}),
            ),
            ("allow_scheduling_on_control_planes", self.chance(80).into()),
            ("debug", self.chance(80).into()),
            ("discovery", self.chance(50).into()),
            ("kubespan", self.chance(50).into()),
            ("host_dns_forward_kube_dns", self.chance(50).into()),
            (
                "kubeprism_port",
                (if self.chance(80) { self.below(9000) } else { 0 }).into(),
            ),
            ("local_api_server_port", self.below(2 * 7443).into()),
            ("cni_url", "https://example.org/cni.yaml".into()),
        ];
        for (index, (key, value)) in all.into_iter().enumerate() {
            if self.chance(if index < 2 { 80 } else { 15 }) {
                out.insert(key.to_owned(), value);
            }
        }
        Json::Object(out)
    }
}
