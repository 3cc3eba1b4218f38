//! One node of a `talconfig.yaml`: its own keys, and its group's where it has none.

use std::collections::BTreeMap;

use super::{FILE, File, TalhelperError, TalhelperNode, is_true, text_of, texts_of};
use crate::config::{InstallTarget, Role, Scheduling, Toggle};
use crate::explain::read::{disk_selector, network, storage};
use crate::layer::{
    DefaultAction, ExtensionService, File as FileArgs, FileOperation, Firewall, Interface,
    KernelModule, Layer, LinkKind, Node as NodeArgs,
};
use crate::schematic::Schematic;
use crate::secrets::Secret;
use crate::yaml::{Node, Style, emit, integer};

const NODE_KEYS: [&str; 10] = [
    "hostname",
    "ipAddress",
    "controlPlane",
    "installDisk",
    "installDiskSelector",
    "ignoreHostname",
    "overridePatches",
    "overrideExtraManifests",
    "overrideMachineCertSANs",
    "filenameTmpl",
];

/// What a group has too.
const SHARED_KEYS: [&str; 21] = [
    "nodeLabels",
    "nodeAnnotations",
    "nodeTaints",
    "machineDisks",
    "machineFiles",
    "disableSearchDomain",
    "kernelModules",
    "nameservers",
    "networkInterfaces",
    "extraManifests",
    "certSANs",
    "patches",
    "talosImageURL",
    "noSchematicValidate",
    "schematic",
    "imageSchematic",
    "machineSpec",
    "ingressFirewall",
    "extensionServices",
    "volumes",
    "userVolumes",
];

/// Where a node's values come from.
struct Source<'a> {
    node: &'a Node,
    group: Option<&'a Node>,
    path: String,
    group_name: &'static str,
}

impl<'a> Source<'a> {
    /// The node's own value, else its group's, and the path to it.
    fn value(&self, key: &str) -> Option<(&'a Node, String)> {
        let filled = |node: &&'a Node| !is_zero(node);
        let own = self.node.at(&[key]).filter(filled);
        let own = own.map(|node| (node, format!("{}.{key}", self.path)));
        own.or_else(|| {
            let node = self.group?.at(&[key]).filter(filled)?;
            Some((node, format!("{}.{key}", self.group_name)))
        })
    }

    fn items(&self, key: &str) -> impl Iterator<Item = (&'a Node, String)> {
        self.value(key).into_iter().flat_map(|(node, path)| {
            let items = node.as_sequence().unwrap_or_default().iter().enumerate();
            items.map(move |(index, item)| (item, format!("{path}[{index}]")))
        })
    }
}

/// What Go takes for absent.
fn is_zero(node: &Node) -> bool {
    node.is_null() || node.as_text().is_some_and(|t| t.is_empty() || t == "false")
}

impl File<'_> {
    pub(super) fn node(
        &mut self,
        index: usize,
        node: &Node,
    ) -> Result<TalhelperNode, TalhelperError> {
        let name = text_of(node, "hostname").ok_or(TalhelperError::Missing {
            line: node.line,
            key: "hostname",
        })?;
        let (role, group_name) = if is_true(node, "controlPlane") {
            (Role::ControlPlane, "controlPlane")
        } else {
            (Role::Worker, "worker")
        };
        let source = Source {
            node,
            group: self.root.at(&[group_name]).filter(|g| !g.is_null()),
            path: format!("nodes[{index}]"),
            group_name,
        };
        let known: Vec<&str> = NODE_KEYS.into_iter().chain(SHARED_KEYS).collect();
        let reason = "talhelper has no such key";
        let path = format!("{}.", source.path);
        self.report.others(node, &path, &known, reason);
        if let Some(group) = source.group {
            let known: Vec<&str> = SHARED_KEYS.into_iter().chain(["filenameTmpl"]).collect();
            let path = format!("{group_name}.");
            self.report.others(group, &path, &known, reason);
        }
        let mut layer = Layer {
            cluster: self.cluster.clone(),
            node: NodeArgs::new(role),
        };
        if !is_true(node, "ignoreHostname") {
            layer.node.hostname = Some(name.clone());
        }
        self.install(&source, &mut layer.node);
        self.kubernetes(&source, &mut layer.node);
        self.network(&source, &mut layer.node);
        self.machine(&source, &mut layer.node);
        self.storage(&source, &mut layer.node);
        self.unsupported(&source);
        let addresses = text_of(node, "ipAddress").unwrap_or_default();
        let addresses = addresses.split(',').map(|a| a.trim().to_owned());
        Ok(TalhelperNode {
            line: node.line,
            name,
            addresses: addresses.filter(|a| !a.is_empty()).collect(),
            patches: self.all_patches(&source),
            schematic: self.schematic(&source),
            arch: source
                .value("machineSpec")
                .and_then(|(spec, _)| text_of(spec, "arch")),
            layer,
        })
    }

    fn install(&mut self, source: &Source<'_>, node: &mut NodeArgs) {
        if let Some(device) = text_of(source.node, "installDisk") {
            node.install.target = Some(InstallTarget::Device(device));
        }
        let selector = source.node.at(&["installDiskSelector"]);
        if let Some(selector) = selector.filter(|s| !s.is_null()) {
            node.install.target = Some(InstallTarget::Selector(disk_selector(selector)));
        }
        if let Some((image, path)) = source.value("talosImageURL") {
            match &self.talos_version {
                Some(version) => {
                    let url = image.as_text().unwrap_or_default();
                    node.install.image = Some(format!("{url}:{version}"));
                }
                None => {
                    let reason = "it needs talosVersion to name an installer image";
                    self.report.add(image.line, path, reason);
                }
            }
        }
    }

    fn kubernetes(&mut self, source: &Source<'_>, node: &mut NodeArgs) {
        let allow = ["allowSchedulingOnMasters", "allowSchedulingOnControlPlanes"];
        if node.role != Role::Worker && allow.iter().any(|key| is_true(self.root, key)) {
            node.scheduling = Scheduling::ControlPlanesToo;
        }
        for (key, place) in [
            ("nodeLabels", &mut node.labels),
            ("nodeAnnotations", &mut node.annotations),
            ("nodeTaints", &mut node.taints),
        ] {
            let Some((values, path)) = source.value(key) else {
                continue;
            };
            for entry in values.as_mapping().into_iter().flatten() {
                let text = entry.value.as_text().unwrap_or_default();
                if text.contains("{{") {
                    let path = format!("{path}.{}", entry.key);
                    let reason = "it is a Go template; write what it gives";
                    self.report.add(entry.line, path, reason);
                } else {
                    place.insert(entry.key.clone(), text.to_owned());
                }
            }
        }
    }

    fn network(&mut self, source: &Source<'_>, node: &mut NodeArgs) {
        let servers = source.items("nameservers");
        let servers = servers.filter_map(|(item, _)| item.as_text());
        node.network.nameservers = servers.map(str::to_owned).collect();
        if source.value("disableSearchDomain").is_some() {
            node.network.disable_search_domain = Some(Toggle::Enabled);
        }
        for (index, (item, path)) in source.items("networkInterfaces").enumerate() {
            let interface = network::device(index, item);
            self.interface_rest(item, &path, &interface);
            node.network.interfaces.push(interface);
        }
    }

    /// Reports what an interface says and no argument does.
    fn interface_rest(&mut self, item: &Node, path: &str, interface: &Interface) {
        let reason = "no argument says it; write a patch for this node";
        let known = [
            "interface",
            "deviceSelector",
            "addresses",
            "routes",
            "bond",
            "bridge",
            "dummy",
            "dhcp",
            "dhcpOptions",
            "mtu",
            "vip",
            "vlans",
        ];
        self.report
            .others(item, &format!("{path}."), &known, reason);
        if let (LinkKind::Bond(_), Some(bond)) = (&interface.kind, item.at(&["bond"])) {
            let known = [
                "interfaces",
                "deviceSelectors",
                "mode",
                "xmitHashPolicy",
                "lacpRate",
                "miimon",
                "updelay",
                "downdelay",
            ];
            self.report
                .others(bond, &format!("{path}.bond."), &known, reason);
        }
        if let Some(vip) = item.at(&["vip"]) {
            self.report
                .others(vip, &format!("{path}.vip."), &["ip", "hcloud"], reason);
        }
        let known = [
            "vlanId",
            "addresses",
            "routes",
            "dhcp",
            "dhcpOptions",
            "mtu",
            "vip",
        ];
        let vlans = item.at(&["vlans"]).and_then(Node::as_sequence);
        for (index, vlan) in vlans.unwrap_or_default().iter().enumerate() {
            let path = format!("{path}.vlans[{index}].");
            self.report.others(vlan, &path, &known, reason);
        }
    }

    fn machine(&mut self, source: &Source<'_>, node: &mut NodeArgs) {
        for (item, _) in source.items("kernelModules") {
            node.kernel_modules.push(KernelModule {
                name: text_of(item, "name").unwrap_or_default(),
                parameters: texts_of(item, "parameters"),
            });
        }
        for (item, path) in source.items("machineFiles") {
            let content = item.text_at(&["content"]).unwrap_or_default();
            if content.starts_with('@') {
                self.report.add(item.line, path, FILE);
                continue;
            }
            let permissions = item.text_at(&["permissions"]).and_then(integer);
            let operation = match item.text_at(&["op"]) {
                Some("append") => Some(FileOperation::Append),
                Some("overwrite") => Some(FileOperation::Overwrite),
                Some("create") => Some(FileOperation::Create),
                _ => None,
            };
            let permissions = permissions.and_then(|p| u32::try_from(p).ok());
            let (Some(permissions), Some(operation)) = (permissions, operation) else {
                let reason = "it needs permissions and op (create, append or overwrite)";
                self.report.add(item.line, path, reason);
                continue;
            };
            node.files.push(FileArgs {
                path: text_of(item, "path").unwrap_or_default(),
                content: Secret::new(content),
                permissions,
                operation,
            });
        }
        for (item, _) in source.items("extensionServices") {
            let files = item.at(&["configFiles"]).and_then(Node::as_sequence);
            let files: BTreeMap<String, Secret> = files
                .unwrap_or_default()
                .iter()
                .map(|file| {
                    let content = file.text_at(&["content"]).unwrap_or_default();
                    let path = text_of(file, "mountPath").unwrap_or_default();
                    (path, Secret::new(content))
                })
                .collect();
            let environment = texts_of(item, "environment").into_iter();
            node.extension_services.push(ExtensionService {
                name: text_of(item, "name").unwrap_or_default(),
                files,
                environment: environment.map(Secret::new).collect(),
            });
        }
    }

    fn storage(&mut self, source: &Source<'_>, node: &mut NodeArgs) {
        for (item, _) in source.items("volumes") {
            let name = text_of(item, "name").unwrap_or_default();
            node.system_volumes
                .push(storage::system_volume(&name, item));
        }
        for (item, path) in source.items("userVolumes") {
            let name = text_of(item, "name").unwrap_or_default();
            node.volumes.push(storage::user_volume(&name, item));
            let known = ["name", "provisioning", "filesystem", "encryption"];
            let reason = "no argument says it; write a patch for this node";
            self.report
                .others(item, &format!("{path}."), &known, reason);
        }
        let Some((firewall, path)) = source.value("ingressFirewall") else {
            return;
        };
        let rules = firewall.at(&["rules"]).and_then(Node::as_sequence);
        let mut out = Vec::new();
        for (index, item) in rules.unwrap_or_default().iter().enumerate() {
            match storage::rule(&text_of(item, "name").unwrap_or_default(), item) {
                Some(rule) => out.push(rule),
                None => {
                    let path = format!("{path}.rules[{index}]");
                    let reason = "it needs portSelector (ports, protocol) and ingress";
                    self.report.add(item.line, path, reason);
                }
            }
        }
        node.firewall = Some(Firewall {
            default_action: match firewall.text_at(&["defaultAction"]) {
                Some("block") => DefaultAction::Block,
                _ => DefaultAction::Accept,
            },
            rules: out,
        });
    }

    fn unsupported(&mut self, source: &Source<'_>) {
        if let Some((spec, path)) = source.value("machineSpec") {
            let reason = "an image's kind belongs to metal_image";
            let known = ["arch", "mode"];
            self.report
                .others(spec, &format!("{path}."), &known, reason);
        }
        for (key, reason) in [
            (
                "imageSchematic",
                "a boot image of its own belongs to another metal_image",
            ),
            (
                "extraManifests",
                "it names files, whose contents are not at hand; write them as patches",
            ),
        ] {
            if let Some((node, path)) = source.value(key) {
                self.report.add(node.line, path, reason);
            }
        }
    }

    /// All nodes', the group's and the node's patches, and what only a patch can say.
    fn all_patches(&mut self, source: &Source<'_>) -> Vec<String> {
        let mut machine = Vec::new();
        if let Some((disks, _)) = source.value("machineDisks") {
            machine.push(("disks", disks.clone()));
        }
        let mut names = texts_of(source.node, "certSANs");
        if let Some(group) = source.group
            && (names.is_empty() || !is_true(source.node, "overrideMachineCertSANs"))
        {
            names.extend(texts_of(group, "certSANs"));
        }
        if !names.is_empty() {
            machine.push(("certSANs", Node::texts(names)));
        }
        let mut out = Vec::new();
        if !machine.is_empty() {
            let patch = Node::map([("machine", Node::map(machine))]);
            out.push(emit(&patch, Style::V1_13));
        }
        out.extend(self.patches.iter().cloned());
        let own = self.patches_of(source.node, &format!("{}.", source.path));
        let overrides = is_true(source.node, "overridePatches") && !own.is_empty();
        if let Some(group) = source.group.filter(|_| !overrides) {
            let path = format!("{}.", source.group_name);
            out.extend(self.patches_of(group, &path));
        }
        out.extend(own);
        out
    }

    fn schematic(&mut self, source: &Source<'_>) -> Option<Schematic> {
        let (node, path) = source.value("schematic")?;
        match Schematic::read(&emit(node, Style::V1_13)) {
            Ok(schematic) => Some(schematic),
            Err(error) => {
                self.report.add(node.line, path, error.to_string());
                None
            }
        }
    }
}
