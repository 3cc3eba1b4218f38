//! Random cases of the case format, from a seed: inputs, options, patches of the corpus, and texts full of traps.

use serde_json::{Value as Json, json};

/// A generator of numbers that is the same everywhere (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

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

const WORDS: [&str; 56] = [
    "yes",
    "no",
    "on",
    "off",
    "y",
    "N",
    "true",
    "False",
    "null",
    "~",
    "",
    "0",
    "007",
    "0x1F",
    "0b11",
    "0o17",
    "1_000",
    "+1",
    "-1",
    "1.",
    ".5",
    "1e3",
    ".inf",
    "-.INF",
    ".nan",
    "12:30",
    "1:2:3.4",
    "12:60",
    "<<",
    "=",
    "2001-1-1",
    "2001-01-01T00:00:00Z",
    "- a",
    "-",
    "? a",
    "?",
    "a: b",
    "a:",
    ":a",
    "#a",
    "a #b",
    " a",
    "a ",
    "---",
    "...",
    "{a}",
    "[a]",
    "&a",
    "*a",
    "!a",
    "|",
    ">",
    "%a",
    "@a",
    "`a",
    "node-1.example.org",
];

// Not U+2028: the library breaks lines there and does not find its way back, so that no text survives two readings.
const TRAPS: [char; 47] = [
    'a',
    'b',
    'Z',
    '0',
    '1',
    '9',
    ' ',
    ' ',
    ':',
    '#',
    '-',
    '\'',
    '"',
    '\n',
    '\t',
    '{',
    '}',
    '[',
    ']',
    ',',
    '&',
    '*',
    '!',
    '|',
    '>',
    '%',
    '@',
    '`',
    '_',
    '.',
    '+',
    '~',
    '=',
    '<',
    '?',
    '/',
    '\\',
    'é',
    '日',
    '\u{a0}',
    '\u{85}',
    '\u{7f}',
    '\u{feff}',
    '\u{1f600}',
    '\r',
    '\u{7}',
    'e',
];

impl Random {
    fn text(&mut self) -> String {
        match self.below(4) {
            0 => (*self.one_of(&WORDS)).to_owned(),
            1 => format!("{}{}", self.one_of(&WORDS), self.one_of(&WORDS)),
            _ => {
                let length = self.below(12);
                (0..length).map(|_| *self.one_of(&TRAPS)).collect()
            }
        }
    }

    fn key(&mut self) -> String {
        let length = 1 + self.below(6);
        let text: String = (0..length).map(|_| *self.one_of(&TRAPS)).collect();
        // Below a key of several lines, the library forgets to quote the first item of a list.
        let text = text.replace(['\n', '\r', '\u{85}', '\u{2028}'], "");
        // A merge key, and one that says what a document is, are no keys of a map.
        format!("k{text}")
    }

    fn free_form(&mut self, depth: usize) -> Json {
        match self.below(if depth > 3 { 5 } else { 8 }) {
            0 => Json::Null,
            1 => self.chance(50).into(),
            2 => i64::try_from(self.below(1_000_000_000)).unwrap().into(),
            3 => (f64::from(u32::try_from(self.below(1_000_000)).unwrap()) / 64.0).into(),
            4 => self.text().into(),
            5 => (0..self.below(4))
                .map(|_| self.free_form(depth + 1))
                .collect(),
            _ => {
                let entries = (0..self.below(4)).map(|_| (self.key(), self.free_form(depth + 1)));
                Json::Object(entries.collect())
            }
        }
    }

    /// A patch whose values are texts of all kinds, written as JSON.
    fn patch(&mut self) -> String {
        let texts = |random: &mut Self| -> Vec<String> {
            (0..random.below(5)).map(|_| random.text()).collect()
        };
        let map = |random: &mut Self| -> Json {
            let entries = (0..random.below(5)).map(|_| (random.key(), random.text().into()));
            Json::Object(entries.collect())
        };
        let file = |random: &mut Self| json!({"path": "/var/x", "permissions": 420, "op": "create", "content": random.text()});
        let patch = match self.below(8) {
            0 => json!({"machine": {"env": map(self)}}),
            1 => json!({"machine": {"sysctls": map(self), "sysfs": map(self)}}),
            2 => json!({"machine": {"certSANs": texts(self)}}),
            3 => json!({"machine": {"files": [file(self), file(self)]}}),
            4 => json!({"machine": {"kubelet": {"extraConfig": {self.key(): self.free_form(0)}}}}),
            5 => {
                json!({"machine": {"kubelet": {"extraArgs": {self.key(): self.text(), self.key(): texts(self)}}}})
            }
            6 => {
                json!({"apiVersion": "v1alpha1", "kind": "EnvironmentConfig", "variables": map(self)})
            }
            _ => {
                json!({"apiVersion": "v1alpha1", "kind": "TrustedRootsConfig", "name": format!("n{}", self.below(3)), "certificates": self.text()})
            }
        };
        escaped(&patch.to_string())
    }

    /// One case; `patches` are those of the corpus.
    pub(crate) fn case(&mut self, index: usize, patches: &[String]) -> String {
        let (contract, kubernetes, bundle) = *self.one_of(&CONTRACTS);
        let role = *self.one_of(&["controlplane", "worker", "init"]);
        let mut chosen = Vec::new();
        for _ in 0..self.below(5) {
            chosen.push(match self.chance(60) {
                true => self.patch(),
                false => self.one_of(patches).clone(),
            });
        }
        let mut case = json!({
            "id": format!("random-{index}"),
            "op": "encode",
            "generate": {
                "contract": contract,
                "role": role,
                "bundle": bundle,
                "cluster": if self.chance(80) { "demo".to_owned() } else { self.text() },
                "endpoint": *self.one_of(&["https://10.0.0.10:6443", "https://kube.example.org", "https://[fd00::1]:6443"]),
                "kubernetes": if self.chance(95) { kubernetes } else { "" },
                "options": self.options(),
            },
            "patches": chosen,
        });
        if self.chance(20) {
            case["via"] = "bytes".into();
        }
        case.to_string()
    }

    fn options(&mut self) -> Json {
        let mut out = serde_json::Map::new();
        let ca = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let all: [(&str, Json); 17] = [
            ("install_disk", "/dev/sda".into()),
            (
                "install_image",
                "ghcr.io/siderolabs/installer:v1.13.9".into(),
            ),
            ("dns_domain", "k8s.lan".into()),
            (
                "install_extra_kernel_args",
                json!([self.text(), "console=ttyS0"]),
            ),
            ("additional_sans", json!([self.text(), self.text()])),
            (
                "registry_mirrors",
                json!({"docker.io": ["https://m.lan"], "*": ["http://all.lan:5000/v2"]}),
            ),
            ("registry_ca", json!({"m.lan": ca})),
            ("registry_insecure", json!(["m.lan", "n.lan:5000"])),
            (
                "sysctls",
                json!({self.key(): self.text(), "net.ipv4.ip_forward": "1"}),
            ),
            ("allow_scheduling_on_control_planes", true.into()),
            ("debug", true.into()),
            ("discovery", self.chance(50).into()),
            ("kubespan", self.chance(50).into()),
            ("host_dns_forward_kube_dns", self.chance(50).into()),
            ("kubeprism_port", self.below(9000).into()),
            ("local_api_server_port", 7443.into()),
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

/// JSON as YAML reads it too: what YAML takes for line ends and marks is escaped.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}
