//! talhelper's `talconfig.yaml`, read into the typed layer: one set of arguments per node.
//!
//! Promises: what has an argument becomes one; what has none and is a part of the machine config becomes a patch of that
//! node; everything else is reported with its line, and nothing is left out silently. Patches come in talhelper's
//! order: all nodes', the group's, the node's. Not here: files beside it (their contents are not at hand, so `@file`
//! is reported), SOPS, and Go templates.

mod node;
mod substitute;

use std::collections::BTreeMap;

use crate::config::{Cni, Endpoint, EndpointError};
use crate::layer::{Cluster, InlineManifest, Layer};
use crate::schematic::Schematic;
use crate::secrets::Secret;
use crate::yaml::{Node, ParseError, parse_documents};

/// What a `talconfig.yaml` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Talconfig {
    /// Talos's version; absent = talhelper's own default.
    pub talos_version: Option<String>,
    /// The nodes, in order.
    pub nodes: Vec<TalhelperNode>,
    /// What was not taken over.
    pub unmapped: Vec<Unmapped>,
}

/// One node.
#[derive(Clone, Debug, PartialEq)]
pub struct TalhelperNode {
    /// 1-based line.
    pub line: usize,
    /// Its name, also where the config shall not hold it.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Its arguments.
    pub layer: Layer,
    /// Patches, in order.
    pub patches: Vec<String>,
    /// What its image contains besides Talos.
    pub schematic: Option<Schematic>,
    /// Its processor, as images name it.
    pub arch: Option<String>,
}

/// Something that was not taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmapped {
    /// 1-based line.
    pub line: usize,
    /// The keys down to it.
    pub path: String,
    /// Why, and what to do about it.
    pub reason: String,
}

impl std::fmt::Display for Unmapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, path, reason } = self;
        write!(f, "line {line}: {path}: {reason}")
    }
}

/// Why a file cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TalhelperError {
    /// Not YAML.
    #[error("the file is not valid YAML: {0}")]
    Syntax(ParseError),
    /// A variable without a value.
    #[error(
        "line {line}: the variable {name} is not set; give it a value or a default like ${{{name}:-…}}"
    )]
    Variable {
        /// 1-based line.
        line: usize,
        /// Its name.
        name: String,
    },
    /// Something that looks like a variable and is none.
    #[error("line {line}: a variable is not written like ${{NAME}}; write $$ for a dollar sign")]
    Expression {
        /// 1-based line.
        line: usize,
    },
    /// A key without which there is no cluster.
    #[error("line {line}: {key} is missing")]
    Missing {
        /// 1-based line of what lacks it.
        line: usize,
        /// The key.
        key: &'static str,
    },
    /// The endpoint is none.
    #[error("line {line}: {error}")]
    Endpoint {
        /// 1-based line.
        line: usize,
        /// Why.
        error: EndpointError,
    },
}

/// Reads a `talconfig.yaml`, with its variables from `environment`.
///
/// # Errors
/// It cannot be read at all; what can be read in part is in [`Talconfig::unmapped`].
pub fn read(
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Result<Talconfig, TalhelperError> {
    let text = substitute::substitute(text, environment)?;
    let documents = parse_documents(&text).map_err(TalhelperError::Syntax)?;
    let root = documents.first().ok_or(TalhelperError::Missing {
        line: 1,
        key: "clusterName",
    })?;
    let mut report = Report::default();
    let cluster = cluster(root, &mut report)?;
    let mut file = File {
        root,
        cluster,
        talos_version: text_of(root, "talosVersion"),
        patches: Vec::new(),
        report,
    };
    file.patches = file.patches_of(root, "");
    globals(root, &mut file.report);
    let nodes = root.at(&["nodes"]).and_then(Node::as_sequence);
    let nodes = nodes.ok_or(TalhelperError::Missing {
        line: root.line,
        key: "nodes",
    })?;
    let nodes: Result<Vec<_>, _> = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| file.node(index, node))
        .collect();
    let mut unmapped = file.report.0;
    // A group's values come once per node.
    unmapped.sort_by(|a, b| (a.line, &a.path).cmp(&(b.line, &b.path)));
    unmapped.dedup();
    Ok(Talconfig {
        talos_version: file.talos_version,
        nodes: nodes?,
        unmapped,
    })
}

/// What is read of a file.
struct File<'a> {
    root: &'a Node,
    cluster: Cluster,
    talos_version: Option<String>,
    /// All nodes'.
    patches: Vec<String>,
    report: Report,
}

#[derive(Default)]
struct Report(Vec<Unmapped>);

impl Report {
    fn add(&mut self, line: usize, path: impl Into<String>, reason: impl Into<String>) {
        self.0.push(Unmapped {
            line,
            path: path.into(),
            reason: reason.into(),
        });
    }

    /// Reports every key of a mapping that is not among these.
    fn others(&mut self, node: &Node, path: &str, known: &[&str], reason: &str) {
        for entry in node.as_mapping().into_iter().flatten() {
            if !known.contains(&entry.key.as_str()) {
                self.add(entry.line, format!("{path}{}", entry.key), reason);
            }
        }
    }
}

fn text_of(node: &Node, key: &str) -> Option<String> {
    let text = node.text_at(&[key]).filter(|t| !t.is_empty());
    text.map(str::to_owned)
}

fn is_true(node: &Node, key: &str) -> bool {
    node.text_at(&[key]) == Some("true")
}

fn texts_of(node: &Node, key: &str) -> Vec<String> {
    let items = node.at(&[key]).and_then(Node::as_sequence);
    let items = items.unwrap_or_default().iter();
    items.filter_map(Node::as_text).map(str::to_owned).collect()
}

const GLOBAL_KEYS: [&str; 17] = [
    "clusterName",
    "talosVersion",
    "kubernetesVersion",
    "endpoint",
    "domain",
    "allowSchedulingOnMasters",
    "allowSchedulingOnControlPlanes",
    "additionalMachineCertSans",
    "additionalApiServerCertSans",
    "inlineManifests",
    "clusterPodNets",
    "clusterSvcNets",
    "cniConfig",
    "patches",
    "nodes",
    "controlPlane",
    "worker",
];

fn globals(root: &Node, report: &mut Report) {
    let mapping = root.as_mapping().into_iter().flatten();
    for entry in mapping.filter(|e| e.key == "imageFactory") {
        let reason = "another image factory is a setting of bootd, not of a node";
        report.add(entry.line, "imageFactory", reason);
    }
    let known: Vec<&str> = GLOBAL_KEYS.into_iter().chain(["imageFactory"]).collect();
    report.others(root, "", &known, "talhelper has no such key");
}

/// What all nodes share.
fn cluster(root: &Node, report: &mut Report) -> Result<Cluster, TalhelperError> {
    let required = |key| {
        text_of(root, key).ok_or(TalhelperError::Missing {
            line: root.line,
            key,
        })
    };
    let url = required("endpoint")?;
    let endpoint = Endpoint::parse(&url).map_err(|error| TalhelperError::Endpoint {
        line: root.at(&["endpoint"]).map_or(0, |n| n.line),
        error,
    })?;
    let name = required("clusterName")?;
    let mut cluster = Cluster::new(name, endpoint, required("kubernetesVersion")?);
    cluster.dns_domain = text_of(root, "domain");
    cluster.pod_cidrs = texts_of(root, "clusterPodNets");
    cluster.service_cidrs = texts_of(root, "clusterSvcNets");
    // Both lists stand in both certificates then, which opens nothing.
    for key in ["additionalMachineCertSans", "additionalApiServerCertSans"] {
        for name in texts_of(root, key) {
            if !cluster.cert_sans.contains(&name) {
                cluster.cert_sans.push(name);
            }
        }
    }
    if let Some(cni) = root.at(&["cniConfig"]).filter(|c| !c.is_null()) {
        match cni.text_at(&["name"]) {
            Some("none") => cluster.cni = Cni::None,
            Some("custom") => cluster.cni = Cni::Custom(texts_of(cni, "urls")),
            Some("flannel") | None => {}
            Some(_) => report.add(cni.line, "cniConfig.name", "it is flannel, custom or none"),
        }
        let reason = "no argument says it; write a patch for all nodes";
        report.others(cni, "cniConfig.", &["name", "urls"], reason);
    }
    let manifests = root.at(&["inlineManifests"]).and_then(Node::as_sequence);
    for (index, manifest) in manifests.unwrap_or_default().iter().enumerate() {
        let path = format!("inlineManifests[{index}]");
        let contents = manifest.text_at(&["contents"]).unwrap_or_default();
        if contents.starts_with('@') {
            report.add(manifest.line, path, FILE);
            continue;
        }
        cluster.inline_manifests.push(InlineManifest {
            name: text_of(manifest, "name").unwrap_or_default(),
            contents: Secret::new(contents),
        });
    }
    Ok(cluster)
}

/// A value that names a file.
const FILE: &str = "it names a file, whose content is not at hand; put the content here";

impl File<'_> {
    /// The patches of a place, without those that are files or templates.
    fn patches_of(&mut self, node: &Node, path: &str) -> Vec<String> {
        let items = node.at(&["patches"]).and_then(Node::as_sequence);
        let mut out = Vec::new();
        for (index, patch) in items.unwrap_or_default().iter().enumerate() {
            let path = format!("{path}patches[{index}]");
            let text = patch.as_text().unwrap_or_default();
            if text.starts_with('@') {
                self.report.add(patch.line, path, FILE);
            } else if text.contains("{{") {
                let reason = "it is a Go template; write what it gives";
                self.report.add(patch.line, path, reason);
            } else {
                out.push(text.to_owned());
            }
        }
        out
    }
}

#[cfg(test)]
mod tests;
