//! Patches of every kind: strategic, of one or several documents, deleting, JSON, and ones that are broken.

use serde_json::{Map, Value as Json, json};

use super::{Corpus, Random, escaped};

/// Places in the first document, some of which are not there.
const POINTERS: [&str; 26] = [
    "/machine",
    "/machine/env",
    "/machine/env/A",
    "/machine/type",
    "/machine/network",
    "/machine/network/hostname",
    "/machine/network/kubespan",
    "/machine/network/interfaces/0",
    "/machine/kubelet/extraArgs",
    "/machine/kubelet/image",
    "/machine/install/disk",
    "/machine/install/extraKernelArgs/-",
    "/machine/certSANs/-",
    "/machine/certSANs/0",
    "/machine/certSANs/-1",
    "/machine/certSANs/7",
    "/machine/features/rbac",
    "/cluster/apiServer/certSANs/-",
    "/cluster/apiServer/certSANs",
    "/cluster/apiServer/admissionControl/0/configuration/exemptions",
    "/cluster/network/podSubnets",
    "/cluster/discovery/enabled",
    "/cluster/nope/deeper",
    "/cluster/extraManifests",
    "",
    "/machine/sysctls/net.ipv4~1x",
];

impl Random {
    /// A patch whose values are texts of all kinds, written as JSON.
    fn texts_patch(&mut self) -> Json {
        let texts = |random: &mut Self| -> Vec<String> {
            (0..random.below(5)).map(|_| random.text()).collect()
        };
        let map = |random: &mut Self| -> Json {
            let entries = (0..random.below(5)).map(|_| (random.key(), random.text().into()));
            Json::Object(entries.collect())
        };
        let file = |random: &mut Self| json!({"path": "/var/x", "permissions": 420, "op": "create", "content": random.text()});
        match self.below(8) {
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
        }
    }

    /// One patch.
    pub(super) fn patch(&mut self, corpus: &Corpus) -> String {
        match self.below(100) {
            0..25 => {
                let patch = self.texts_patch();
                match self.chance(70) {
                    true => escaped(&patch.to_string()),
                    false => self.written(&patch),
                }
            }
            25..55 => {
                let document = self.main_document(&corpus.shapes);
                self.written(&document)
            }
            55..75 => {
                let count = 1 + usize::from(self.chance(25)) + usize::from(self.chance(25));
                let documents = (0..count).map(|_| {
                    let document = self.document(&corpus.shapes);
                    self.written(&document)
                });
                documents.collect::<Vec<_>>().join("\n---\n")
            }
            75..83 => self.deletion(),
            83..88 => self.operations(),
            88..98 => self.one_of(&corpus.patches).clone(),
            _ => {
                let document = self.main_document(&corpus.shapes);
                let whole = self.written(&document);
                self.damaged(&whole)
            }
        }
    }

    /// Operations of JSON Patch, as JSON or YAML.
    pub(super) fn operations(&mut self) -> String {
        let count = 1 + self.below(3);
        let all: Json = (0..count)
            .map(|_| {
                let op = *self.one_of(&[
                    "add", "add", "replace", "remove", "test", "copy", "move", "nope",
                ]);
                let path = *self.one_of(&POINTERS);
                let mut out = Map::new();
                out.insert("op".into(), op.into());
                out.insert("path".into(), path.into());
                if matches!(op, "copy" | "move") {
                    out.insert("from".into(), (*self.one_of(&POINTERS)).into());
                }
                if matches!(op, "add" | "replace" | "test") && self.chance(97) {
                    let value = match path.rsplit('/').next().unwrap_or_default() {
                        "env" | "extraArgs" => json!({"A": self.text()}),
                        "-" | "0" | "-1" | "image" | "disk" | "A" | "hostname" => {
                            self.text().into()
                        }
                        "certSANs" | "podSubnets" | "extraManifests" => json!([self.text()]),
                        "kubespan" => json!({"enabled": true}),
                        "enabled" | "rbac" => self.chance(50).into(),
                        _ => self.free_form(2),
                    };
                    out.insert("value".into(), value);
                }
                Json::Object(out)
            })
            .collect();
        match self.chance(60) {
            true => escaped(&all.to_string()),
            false => self.written(&all),
        }
    }

    /// A patch that takes something away, from where it is or is not.
    fn deletion(&mut self) -> String {
        let delete = || json!({"$patch": "delete"});
        let paths: [&[&str]; 16] = [
            &["machine", "kubelet"],
            &["machine", "kubelet", "image"],
            &["machine", "network"],
            &["machine", "network", "kubespan"],
            &["machine", "install", "disk"],
            &["machine", "install"],
            &["machine", "features", "kubePrism"],
            &["machine", "nodeLabels"],
            &["machine", "env", "A"],
            &["machine", "certSANs"],
            &["cluster", "apiServer", "admissionControl"],
            &["cluster", "apiServer", "auditPolicy"],
            &["cluster", "network", "podSubnets"],
            &["cluster", "discovery"],
            &["cluster", "proxy"],
            &["cluster", "nope"],
        ];
        let patch = match self.below(6) {
            0..=3 => {
                let path = *self.one_of(&paths);
                let mut out = delete();
                for key in path.iter().rev() {
                    out = json!({ *key: out });
                }
                out
            }
            4 => {
                let key = *self.one_of(&["interface", "name", "path"]);
                let value = *self.one_of(&["eth0", "PodSecurity", "/var/x"]);
                let item = json!([{ key: value, "$patch": "delete" }]);
                match key {
                    "interface" => json!({"machine": {"network": {"interfaces": item}}}),
                    "path" => json!({"machine": {"files": item}}),
                    _ => json!({"cluster": {"apiServer": {"admissionControl": item}}}),
                }
            }
            // One that may be absent is left out: the machinery then writes a stray document.
            _ => json!({"apiVersion": "v1alpha1", "kind": "HostnameConfig", "auto": delete()}),
        };
        self.written(&patch)
    }

    /// A text with one character gone, twice, or another one.
    pub(super) fn damaged(&mut self, text: &str) -> String {
        let mut all: Vec<char> = text.chars().collect();
        if all.is_empty() {
            return String::new();
        }
        let at = self.below(all.len());
        match self.below(3) {
            0 => {
                all.remove(at);
            }
            1 => all.insert(at, all[at]),
            _ => {
                all[at] =
                    *self.one_of(&[':', '-', '{', ']', '"', '\'', '#', '&', '*', ' ', '\n', '|'])
            }
        }
        all.into_iter().collect()
    }
}
