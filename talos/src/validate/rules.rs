//! The rules themselves, one function per section.

use super::{Mode, Violation};
use crate::config::Endpoint;
use crate::yaml::Node;

pub(super) fn check(documents: &[Node], mode: Mode) -> Vec<Violation> {
    let mut found = Found::default();
    let main = documents.iter().find(|d| d.at(&["kind"]).is_none());
    let Some(main) = main else {
        found.absent(
            "machine",
            "the main document (machine and cluster) is missing",
        );
        return found.all;
    };
    let control_plane = machine_type(main, &mut found);
    machine(main, control_plane, mode, &mut found);
    interfaces(main, control_plane, &mut found);
    cluster(main, control_plane, &mut found);
    manifests(main, &mut found);
    side_documents(main, documents, &mut found);
    found.all
}

#[derive(Default)]
struct Found {
    all: Vec<Violation>,
}

impl Found {
    fn absent(&mut self, path: &str, reason: &str) {
        self.add(0, path, reason);
    }

    fn at(&mut self, node: Option<&Node>, path: &str, reason: &str) {
        self.add(node.map_or(0, |n| n.line), path, reason);
    }

    fn add(&mut self, line: usize, path: &str, reason: &str) {
        self.all.push(Violation {
            line,
            path: path.to_owned(),
            reason: reason.to_owned(),
        });
    }
}

/// The text of a scalar that is neither absent, null nor empty.
fn filled<'a>(root: &'a Node, path: &[&str]) -> Option<&'a str> {
    root.text_at(path).filter(|t| !t.is_empty())
}

fn is_true(root: &Node, path: &[&str]) -> bool {
    root.text_at(path) == Some("true")
}

fn items<'a>(root: &'a Node, path: &[&str]) -> &'a [Node] {
    root.at(path)
        .and_then(Node::as_sequence)
        .unwrap_or_default()
}

/// Whether it is a control plane, where the type says.
fn machine_type(main: &Node, found: &mut Found) -> Option<bool> {
    match main.text_at(&["machine", "type"]) {
        Some("controlplane" | "init") => Some(true),
        Some("worker" | "join") => Some(false),
        _ => {
            let place = main.at(&["machine", "type"]);
            found.at(place, "machine.type", "it must be controlplane or worker");
            None
        }
    }
}

fn machine(main: &Node, control_plane: Option<bool>, mode: Mode, found: &mut Found) {
    let key = filled(main, &["machine", "ca", "key"]);
    let key_place = main.at(&["machine", "ca", "key"]);
    if filled(main, &["machine", "ca", "crt"]).is_none() {
        found.absent("machine.ca", "the authority's certificate is required");
    } else if control_plane == Some(true) && key.is_none() {
        found.at(
            key_place,
            "machine.ca.key",
            "control planes need the authority's key",
        );
    }
    if control_plane == Some(false) && key.is_some() {
        found.at(
            key_place,
            "machine.ca.key",
            "workers must not have the authority's key",
        );
    }
    let install = main.at(&["machine", "install"]);
    let named = filled(main, &["machine", "install", "disk"]).is_some()
        || main
            .at(&["machine", "install", "diskSelector"])
            .is_some_and(|s| !s.is_null());
    if mode == Mode::Metal && !named {
        found.at(
            install,
            "machine.install",
            "installing needs disk or diskSelector",
        );
    }
    if !items(main, &["machine", "install", "extraKernelArgs"]).is_empty()
        && is_true(main, &["machine", "install", "grubUseUKICmdline"])
    {
        let place = main.at(&["machine", "install", "extraKernelArgs"]);
        found.at(
            place,
            "machine.install.extraKernelArgs",
            "it excludes grubUseUKICmdline: true; put the arguments into the image, or set that to false",
        );
    }
    if main.text_at(&["persist"]) == Some("false") {
        found.at(main.at(&["persist"]), "persist", "it must be true");
    }
    for (section, rule) in [
        (
            "nodeLabels",
            label_fault as fn(&str, &str) -> Option<&'static str>,
        ),
        ("nodeTaints", taint_fault),
    ] {
        let mapping = main.at(&["machine", section]).and_then(Node::as_mapping);
        for entry in mapping.into_iter().flatten() {
            let value = entry.value.as_text().unwrap_or_default();
            if let Some(reason) = rule(&entry.key, value) {
                found.add(
                    entry.line,
                    &format!("machine.{section}.{}", entry.key),
                    reason,
                );
            }
        }
    }
}

fn interfaces(main: &Node, control_plane: Option<bool>, found: &mut Found) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, interface) in items(main, &["machine", "network", "interfaces"])
        .iter()
        .enumerate()
    {
        let path = format!("machine.network.interfaces.{index}");
        let name = filled(interface, &["interface"]);
        let selector = interface.at(&["deviceSelector"]).filter(|s| !s.is_null());
        match (name, selector) {
            (None, None) => found.add(
                interface.line,
                &path,
                "it needs interface or deviceSelector",
            ),
            (Some(_), Some(_)) => {
                found.add(
                    interface.line,
                    &path,
                    "interface and deviceSelector exclude each other",
                );
            }
            _ => {}
        }
        if let Some(name) = name {
            if seen.contains(&name) {
                found.add(interface.line, &path, "this interface is there twice");
            }
            seen.push(name);
        }
        if interface.at(&["bond"]).is_some() && interface.at(&["bridge"]).is_some() {
            found.add(interface.line, &path, "bond and bridge exclude each other");
        }
        if control_plane == Some(false) && filled(interface, &["vip", "ip"]).is_some() {
            found.add(
                interface.line,
                &path,
                "a virtual IP belongs to control planes only",
            );
        }
    }
}

fn cluster(main: &Node, control_plane: Option<bool>, found: &mut Found) {
    let place = main.at(&["cluster", "controlPlane", "endpoint"]);
    match filled(main, &["cluster", "controlPlane", "endpoint"]) {
        None => found.at(
            place,
            "cluster.controlPlane.endpoint",
            "the endpoint is required",
        ),
        Some(url) => {
            if let Err(error) = Endpoint::parse(url) {
                found.at(place, "cluster.controlPlane.endpoint", &error.to_string());
            }
        }
    }
    let key = main.at(&["cluster", "ca", "key"]);
    if control_plane == Some(false) && filled(main, &["cluster", "ca", "key"]).is_some() {
        found.at(
            key,
            "cluster.ca.key",
            "workers must not have the authority's key",
        );
    }
    if control_plane == Some(false) && main.at(&["cluster", "etcd"]).is_some_and(|e| !e.is_null()) {
        found.at(
            main.at(&["cluster", "etcd"]),
            "cluster.etcd",
            "etcd runs on control planes only",
        );
    }
    if let Some(domain) = filled(main, &["cluster", "network", "dnsDomain"])
        && !is_dns_domain(domain)
    {
        let place = main.at(&["cluster", "network", "dnsDomain"]);
        found.at(place, "cluster.network.dnsDomain", "it is not a DNS domain");
    }
    if control_plane == Some(true) {
        let cni = filled(main, &["cluster", "network", "cni", "name"]);
        let place = main.at(&["cluster", "network", "cni"]);
        if cni.is_some_and(|name| !matches!(name, "flannel" | "custom" | "none")) {
            found.at(
                place,
                "cluster.network.cni.name",
                "it must be flannel, custom or none",
            );
        }
        let urls = !items(main, &["cluster", "network", "cni", "urls"]).is_empty();
        if urls && matches!(cni, Some("flannel" | "none")) {
            found.at(
                place,
                "cluster.network.cni.urls",
                "only a custom CNI has URLs",
            );
        }
    }
    if is_true(main, &["cluster", "discovery", "enabled"]) {
        for key in ["id", "secret"] {
            if filled(main, &["cluster", key]).is_none() {
                found.absent(&format!("cluster.{key}"), "discovery needs it");
            }
        }
    }
}

fn manifests(main: &Node, found: &mut Found) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, manifest) in items(main, &["cluster", "inlineManifests"])
        .iter()
        .enumerate()
    {
        let path = format!("cluster.inlineManifests.{index}");
        match filled(manifest, &["name"]) {
            None => found.add(manifest.line, &path, "it needs a name"),
            Some(name) if seen.contains(&name) => {
                found.add(manifest.line, &path, "another manifest has this name");
            }
            Some(name) => seen.push(name),
        }
    }
}

fn side_documents(main: &Node, documents: &[Node], found: &mut Found) {
    for document in documents {
        match document.text_at(&["kind"]) {
            Some("HostnameConfig") => {
                let fixed = document.at(&["hostname"]).filter(|h| !h.is_null());
                let auto = document.text_at(&["auto"]).unwrap_or("off");
                if let (Some(fixed), true) = (fixed, auto != "off") {
                    let reason = "a fixed hostname needs auto: off";
                    found.add(fixed.line, "HostnameConfig.hostname", reason);
                }
                if filled(main, &["machine", "network", "hostname"]).is_some() {
                    let place = main.at(&["machine", "network", "hostname"]);
                    let reason = "HostnameConfig decides the hostname; set it there";
                    found.at(place, "machine.network.hostname", reason);
                }
            }
            Some("KubeSpanConfig") => {
                let mtu = document
                    .text_at(&["mtu"])
                    .and_then(|m| m.parse::<u32>().ok());
                if mtu.is_some_and(|m| m < 1280) {
                    let place = document.at(&["mtu"]);
                    found.at(place, "KubeSpanConfig.mtu", "it must be 1280 or more");
                }
            }
            _ => {}
        }
    }
}

fn is_dns_domain(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.trim_end_matches('.').split('.').all(label)
}

/// A Kubernetes label's name: an optional DNS prefix, and 63 letters, digits, dashes, dots or underscores.
fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_dns_domain) && !name.is_empty() && is_label_value(name)
}

fn is_label_value(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let edge = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    text.len() <= 63
        && text.bytes().all(inner)
        && edge(text.as_bytes().first())
        && edge(text.as_bytes().last())
}

fn label_fault(key: &str, value: &str) -> Option<&'static str> {
    if !is_qualified_name(key) {
        return Some("it is not a label name");
    }
    (!is_label_value(value)).then_some("its value is not a label value")
}

fn taint_fault(key: &str, value: &str) -> Option<&'static str> {
    if !is_qualified_name(key) {
        return Some("it is not a taint name");
    }
    let (value, effect) = value.rsplit_once(':').unwrap_or(("", value));
    if !matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
        return Some("its effect must be NoSchedule, PreferNoSchedule or NoExecute");
    }
    (!is_label_value(value)).then_some("its value is not a taint value")
}
