//! Reads arguments out of a config, whatever its layout. What is read may be wrong: who renders it again sees that.

use std::collections::BTreeMap;

use super::ExplainError;
use crate::config::{Cni, DiskSelector, Endpoint, InstallTarget, Role, Scheduling, Toggle};
use crate::diff::Document;
use crate::layer::{
    Cluster, ExtraMount, File, FileOperation, InlineManifest, KernelModule, KubeSpan, Layer,
    Node as NodeArgs,
};
use crate::secrets::Secret;
use crate::version::{Contract, TalosVersion};
use crate::yaml::{Node, integer};

#[path = "read_machine.rs"]
mod machine;
#[path = "read_network.rs"]
pub(crate) mod network;
#[path = "read_storage.rs"]
pub(crate) mod storage;

/// A config's documents.
pub(super) struct Source<'a> {
    documents: &'a [Document],
}

impl<'a> Source<'a> {
    pub(super) fn new(documents: &'a [Document]) -> Self {
        Self { documents }
    }

    fn main(&self, path: &[&str]) -> Option<&'a Node> {
        let main = self.documents.iter().find(|d| d.key.is_main())?;
        main.root.at(path).filter(|n| !n.is_null())
    }

    fn text(&self, path: &[&str]) -> Option<String> {
        let text = self.main(path)?.as_text().filter(|t| !t.is_empty());
        text.map(str::to_owned)
    }

    /// The documents of a kind with their names.
    fn all<'b>(&'b self, kind: &'b str) -> impl Iterator<Item = (&'a str, &'a Node)> + 'b {
        let documents = self.documents.iter().filter(move |d| d.key.kind == kind);
        documents.map(|d| (d.key.name.as_str(), &d.root))
    }

    fn one(&self, kind: &str) -> Option<&'a Node> {
        self.all(kind).next().map(|(_, root)| root)
    }

    /// A value of the main document or of the document that took its place.
    fn either(&self, main: &[&str], kind: &str, path: &[&str]) -> Option<&'a Node> {
        self.main(main)
            .or_else(|| self.one(kind)?.at(path).filter(|n| !n.is_null()))
    }
}

fn items(node: Option<&Node>) -> &[Node] {
    node.and_then(Node::as_sequence).unwrap_or_default()
}

fn texts(node: Option<&Node>) -> Vec<String> {
    let items = items(node).iter().filter_map(Node::as_text);
    items.map(str::to_owned).collect()
}

fn text(node: &Node, path: &[&str]) -> Option<String> {
    let text = node.text_at(path).filter(|t| !t.is_empty());
    text.map(str::to_owned)
}

fn map(node: Option<&Node>) -> BTreeMap<String, String> {
    let entries = node.and_then(Node::as_mapping).into_iter().flatten();
    entries
        .filter_map(|e| Some((e.key.clone(), e.value.as_text()?.to_owned())))
        .collect()
}

fn number<T: TryFrom<i128>>(node: &Node, path: &[&str]) -> Option<T> {
    T::try_from(integer(node.text_at(path)?)?).ok()
}

fn toggle(node: &Node, path: &[&str]) -> Option<Toggle> {
    match node.text_at(path)? {
        "true" => Some(Toggle::Enabled),
        "false" => Some(Toggle::Disabled),
        _ => None,
    }
}

/// What no config can be without.
pub(super) fn base(source: &Source<'_>, contract: Contract) -> Result<Layer, ExplainError> {
    let role = match source.text(&["machine", "type"]).as_deref() {
        Some("init") => Role::Init,
        Some("controlplane") => Role::ControlPlane,
        Some("worker" | "join") => Role::Worker,
        _ => return Err(ExplainError::Missing("machine.type")),
    };
    let url = source
        .either(
            &["cluster", "controlPlane", "endpoint"],
            "KubeClusterConfig",
            &["endpoint"],
        )
        .and_then(Node::as_text)
        .ok_or(ExplainError::Missing("cluster.controlPlane.endpoint"))?;
    let endpoint = Endpoint::parse(url)
        .map_err(|_| ExplainError::Missing("a usable cluster.controlPlane.endpoint"))?;
    let version = kubernetes_version(source).unwrap_or_else(|| {
        let (_, newest) = contract.kubernetes_minors();
        format!("v1.{newest}.0")
    });
    let name = source
        .either(
            &["cluster", "clusterName"],
            "KubeClusterConfig",
            &["clusterName"],
        )
        .and_then(Node::as_text)
        // Old workers do not know it.
        .unwrap_or("unnamed");
    Ok(Layer {
        cluster: Cluster::new(name, endpoint, version),
        node: NodeArgs::new(role),
    })
}

/// The version of the first image that has one: the kubelet's, as a rule.
fn kubernetes_version(source: &Source<'_>) -> Option<String> {
    let images: [(&[&str], &str); 3] = [
        (&["machine", "kubelet", "image"], "KubeletConfig"),
        (&["cluster", "apiServer", "image"], "KubeAPIServerConfig"),
        (&["cluster", "scheduler", "image"], "KubeSchedulerConfig"),
    ];
    images.into_iter().find_map(|(path, kind)| {
        let image = source.either(path, kind, &["image"])?.as_text()?;
        // A digest may follow the tag.
        let (_, tag) = image.split('@').next()?.rsplit_once(':')?;
        tag.parse::<TalosVersion>().ok()?;
        Some(tag.to_owned())
    })
}

/// Reads one argument, or a few that belong together.
type Section = fn(&Source<'_>, &mut Layer);

pub(super) const SECTIONS: [Section; 40] = [
    hostname,
    install_target,
    install_image,
    install_arguments,
    dns_domain,
    pod_cidrs,
    service_cidrs,
    cni,
    kube_proxy,
    discovery,
    discovery_endpoint,
    kubespan,
    cert_sans,
    scheduling,
    sysctls,
    sysfs,
    labels,
    annotations,
    taints,
    kernel_modules,
    files,
    environment,
    udev_rules,
    kubelet_arguments,
    kubelet_rest,
    machine::registry_mirrors,
    machine::registry_checks,
    machine::registry_credentials,
    machine::extension_services,
    machine::sinks,
    machine::trusted_roots,
    components,
    manifests,
    network::interfaces,
    network::names,
    network::rest,
    network::bgp,
    storage::volumes,
    storage::machine_disks,
    storage::firewall,
];

fn hostname(source: &Source<'_>, layer: &mut Layer) {
    let path = ["machine", "network", "hostname"];
    let found = source.either(&path, "HostnameConfig", &["hostname"]);
    layer.node.hostname = found.and_then(Node::as_text).map(str::to_owned);
}

fn install_target(source: &Source<'_>, layer: &mut Layer) {
    let install = &mut layer.node.install;
    if let Some(device) = source.text(&["machine", "install", "disk"]) {
        install.target = Some(InstallTarget::Device(device));
    } else if let Some(selector) = source.main(&["machine", "install", "diskSelector"]) {
        install.target = Some(InstallTarget::Selector(disk_selector(selector)));
    } else if let Some(document) = source.one("UnattendedInstallConfig") {
        let expression = document.text_at(&["provisioning", "diskSelector", "match"]);
        let device = expression
            .and_then(|e| e.strip_prefix("disk.dev_path == \""))
            .and_then(|e| e.strip_suffix('"'));
        install.target = match device {
            Some(device) => Some(InstallTarget::Device(device.to_owned())),
            None => expression
                .and_then(disk_expression)
                .map(InstallTarget::Selector),
        };
    }
}

/// A selector in the words in which one is written.
fn disk_expression(text: &str) -> Option<DiskSelector> {
    let mut selector = DiskSelector::default();
    for term in text.split(" && ") {
        if let Some(size) = term.strip_prefix("disk.size ") {
            selector.size = Some(size.strip_suffix('u')?.to_owned());
            continue;
        }
        let kind = match term {
            "disk.transport == \"nvme\"" => "nvme",
            "disk.transport == \"mmc\"" => "sd",
            "disk.rotational" => "hdd",
            "!disk.rotational" => "ssd",
            "disk.transport != \"\"" | "!disk.readonly" | "!disk.cdrom" => continue,
            glob => {
                let rest = glob.strip_prefix("glob(\"")?.strip_suffix(')')?;
                let (pattern, field) = rest.split_once("\", disk.")?;
                let place = match field {
                    "uuid" => &mut selector.uuid,
                    "wwid" => &mut selector.wwid,
                    "model" => &mut selector.model,
                    "serial" => &mut selector.serial,
                    "modalias" => &mut selector.modalias,
                    "bus_path" => &mut selector.bus_path,
                    _ => return None,
                };
                *place = Some(pattern.to_owned());
                continue;
            }
        };
        selector.kind = Some(kind.to_owned());
    }
    Some(selector)
}

pub(crate) fn disk_selector(node: &Node) -> DiskSelector {
    DiskSelector {
        size: text(node, &["size"]),
        name: text(node, &["name"]),
        model: text(node, &["model"]),
        serial: text(node, &["serial"]),
        modalias: text(node, &["modalias"]),
        uuid: text(node, &["uuid"]),
        wwid: text(node, &["wwid"]),
        kind: text(node, &["type"]),
        bus_path: text(node, &["busPath"]),
    }
}

fn install_image(source: &Source<'_>, layer: &mut Layer) {
    let path = ["machine", "install", "image"];
    let found = source.either(&path, "UnattendedInstallConfig", &["installer", "image"]);
    layer.node.install.image = found.and_then(Node::as_text).map(str::to_owned);
}

fn install_arguments(source: &Source<'_>, layer: &mut Layer) {
    let arguments = source.main(&["machine", "install", "extraKernelArgs"]);
    layer.node.install.extra_kernel_args = texts(arguments);
}

fn dns_domain(source: &Source<'_>, layer: &mut Layer) {
    let path = ["cluster", "network", "dnsDomain"];
    let found = source.either(&path, "KubeNetworkConfig", &["dnsDomain"]);
    let domain = found.and_then(Node::as_text).filter(|d| !d.is_empty());
    layer.cluster.dns_domain = domain.map(str::to_owned);
}

fn pod_cidrs(source: &Source<'_>, layer: &mut Layer) {
    let path = ["cluster", "network", "podSubnets"];
    layer.cluster.pod_cidrs = texts(source.either(&path, "KubeNetworkConfig", &["podSubnets"]));
}

fn service_cidrs(source: &Source<'_>, layer: &mut Layer) {
    let path = ["cluster", "network", "serviceSubnets"];
    let found = source.either(&path, "KubeNetworkConfig", &["serviceSubnets"]);
    layer.cluster.service_cidrs = texts(found);
}

fn cni(source: &Source<'_>, layer: &mut Layer) {
    let cni = source.main(&["cluster", "network", "cni"]);
    let legacy = cni.and_then(|c| c.text_at(&["name"]));
    layer.cluster.cni = match legacy {
        Some("none") => Cni::None,
        Some("custom") => Cni::Custom(texts(cni.and_then(|c| c.at(&["urls"])))),
        _ => Cni::Flannel,
    };
    // From contract 1.14 on flannel is a document of the control planes.
    let split = source.one("KubeAPIServerConfig").is_some();
    if split && source.one("KubeFlannelCNIConfig").is_none() {
        let custom = source.one("KubeExternalManifestConfig");
        let url = custom.and_then(|d| text(d, &["url"]));
        layer.cluster.cni = url.map_or(Cni::None, |url| Cni::Custom(vec![url]));
    }
}

fn kube_proxy(source: &Source<'_>, layer: &mut Layer) {
    let disabled = source.main(&["cluster", "proxy", "disabled"]);
    let off = disabled.and_then(Node::as_text) == Some("true")
        || source
            .one("KubeProxyConfig")
            .and_then(|d| d.text_at(&["enabled"]))
            == Some("false");
    if off {
        layer.cluster.kube_proxy = Toggle::Disabled;
    }
}

fn discovery(source: &Source<'_>, layer: &mut Layer) {
    let enabled = source.main(&["cluster", "discovery", "enabled"]);
    let on = enabled.and_then(Node::as_text) == Some("true")
        || source.one("DiscoveryServiceConfig").is_some();
    layer.cluster.discovery.state = if on {
        Toggle::Enabled
    } else {
        Toggle::Disabled
    };
}

fn discovery_endpoint(source: &Source<'_>, layer: &mut Layer) {
    let path = ["cluster", "discovery", "registries", "service", "endpoint"];
    let found = source.either(&path, "DiscoveryServiceConfig", &["endpoint"]);
    let endpoint = found.and_then(Node::as_text).filter(|e| !e.is_empty());
    layer.cluster.discovery.endpoint = endpoint.map(str::to_owned);
}

fn kubespan(source: &Source<'_>, layer: &mut Layer) {
    let path = ["machine", "network", "kubespan"];
    let Some(node) = source.either(&path, "KubeSpanConfig", &[]) else {
        return;
    };
    layer.cluster.kubespan = Some(KubeSpan {
        state: toggle(node, &["enabled"]).unwrap_or(Toggle::Disabled),
        advertise_kubernetes_networks: toggle(node, &["advertiseKubernetesNetworks"]),
        allow_down_peer_bypass: toggle(node, &["allowDownPeerBypass"]),
        harvest_extra_endpoints: toggle(node, &["harvestExtraEndpoints"]),
        mtu: number(node, &["mtu"]),
        endpoints: texts(node.at(&["filters", "endpoints"])),
        exclude_advertised_networks: texts(node.at(&["filters", "excludeAdvertisedNetworks"])),
    });
}

fn cert_sans(source: &Source<'_>, layer: &mut Layer) {
    layer.cluster.cert_sans = texts(source.main(&["machine", "certSANs"]));
}

fn scheduling(source: &Source<'_>, layer: &mut Layer) {
    let path = ["cluster", "allowSchedulingOnControlPlanes"];
    let untainted = source.one("KubeNodeConfig").is_some_and(|node| {
        let taints = node.at(&["taints"]).and_then(Node::as_mapping);
        taints.is_none_or(|t| t.value("node-role.kubernetes.io/control-plane").is_none())
    });
    let takes = source.text(&path).as_deref() == Some("true") || untainted;
    if takes && layer.node.role != Role::Worker {
        layer.node.scheduling = Scheduling::ControlPlanesToo;
    }
}

fn sysctls(source: &Source<'_>, layer: &mut Layer) {
    let path = ["machine", "sysctls"];
    layer.node.sysctls = map(source.either(&path, "SysctlConfig", &["params"]));
}

fn sysfs(source: &Source<'_>, layer: &mut Layer) {
    let path = ["machine", "sysfs"];
    layer.node.sysfs = map(source.either(&path, "SysfsConfig", &["params"]));
}

/// What generation writes by itself is no argument.
const GENERATED_LABELS: [&str; 2] = [
    "node.kubernetes.io/exclude-from-external-load-balancers",
    "node-role.kubernetes.io/control-plane",
];

fn own(mut all: BTreeMap<String, String>) -> BTreeMap<String, String> {
    all.retain(|key, _| !GENERATED_LABELS.contains(&key.as_str()));
    all
}

fn labels(source: &Source<'_>, layer: &mut Layer) {
    let path = ["machine", "nodeLabels"];
    layer.node.labels = own(map(source.either(&path, "KubeNodeConfig", &["labels"])));
}

fn annotations(source: &Source<'_>, layer: &mut Layer) {
    let path = ["machine", "nodeAnnotations"];
    layer.node.annotations = map(source.either(&path, "KubeNodeConfig", &["annotations"]));
}

fn taints(source: &Source<'_>, layer: &mut Layer) {
    let path = ["machine", "nodeTaints"];
    layer.node.taints = own(map(source.either(&path, "KubeNodeConfig", &["taints"])));
}

fn kernel_modules(source: &Source<'_>, layer: &mut Layer) {
    let module = |name: Option<String>, node: &Node| KernelModule {
        name: name.unwrap_or_default(),
        parameters: texts(node.at(&["parameters"])),
    };
    let legacy = items(source.main(&["machine", "kernel", "modules"])).iter();
    let legacy = legacy.map(|node| module(text(node, &["name"]), node));
    let documents = source.all("KernelModuleConfig");
    let documents = documents.map(|(name, node)| module(Some(name.to_owned()), node));
    layer.node.kernel_modules = legacy.chain(documents).collect();
}

fn files(source: &Source<'_>, layer: &mut Layer) {
    let files = items(source.main(&["machine", "files"])).iter();
    let files = files.map(|node| {
        Some(File {
            path: text(node, &["path"])?,
            content: Secret::new(node.text_at(&["content"]).unwrap_or_default()),
            permissions: number(node, &["permissions"])?,
            operation: match node.text_at(&["op"])? {
                "create" => FileOperation::Create,
                "append" => FileOperation::Append,
                "overwrite" => FileOperation::Overwrite,
                _ => return None,
            },
        })
    });
    layer.node.files = files.collect::<Option<_>>().unwrap_or_default();
}

fn environment(source: &Source<'_>, layer: &mut Layer) {
    let path = ["machine", "env"];
    layer.node.environment = map(source.either(&path, "EnvironmentConfig", &["variables"]));
}

fn udev_rules(source: &Source<'_>, layer: &mut Layer) {
    let path = ["machine", "udev", "rules"];
    layer.node.udev_rules = texts(source.either(&path, "UdevRulesConfig", &["rules"]));
}

fn kubelet_arguments(source: &Source<'_>, layer: &mut Layer) {
    let path = ["machine", "kubelet", "extraArgs"];
    let found = source.either(&path, "KubeletConfig", &["extraArgs"]);
    layer.node.kubelet.extra_args = map(found);
}

fn kubelet_rest(source: &Source<'_>, layer: &mut Layer) {
    let main = |key: &'static str| ["machine", "kubelet", key];
    let document = "KubeletConfig";
    let kubelet = &mut layer.node.kubelet;
    kubelet.cluster_dns = texts(source.either(&main("clusterDNS"), document, &["clusterDNS"]));
    let config = source.either(&main("extraConfig"), document, &["config"]);
    let filled = |n: &&Node| n.as_mapping().is_some_and(|m| !m.is_empty());
    kubelet.extra_config = config.filter(filled).cloned();
    let path = ["machine", "kubelet", "nodeIP", "validSubnets"];
    let subnets = source.either(&path, "KubeNodeConfig", &["nodeIP", "validSubnets"]);
    kubelet.valid_subnets = texts(subnets);
    let mounts = items(source.main(&main("extraMounts"))).iter();
    kubelet.extra_mounts = mounts
        .map(|node| ExtraMount {
            destination: text(node, &["destination"]).unwrap_or_default(),
            kind: text(node, &["type"]).unwrap_or_default(),
            source: text(node, &["source"]).unwrap_or_default(),
            options: texts(node.at(&["options"])),
        })
        .collect();
}

fn components(source: &Source<'_>, layer: &mut Layer) {
    let arguments = |legacy, kind| {
        let path = ["cluster", legacy, "extraArgs"];
        map(source.either(&path, kind, &["extraArgs"]))
    };
    let cluster = &mut layer.cluster;
    cluster.api_server.extra_args = arguments("apiServer", "KubeAPIServerConfig");
    cluster.controller_manager.extra_args =
        arguments("controllerManager", "KubeControllerManagerConfig");
    cluster.scheduler.extra_args = arguments("scheduler", "KubeSchedulerConfig");
    cluster.proxy.extra_args = arguments("proxy", "KubeProxyConfig");
    cluster.etcd.extra_args = arguments("etcd", "");
}

fn manifests(source: &Source<'_>, layer: &mut Layer) {
    let manifest = |name: Option<String>, contents: Option<String>| InlineManifest {
        name: name.unwrap_or_default(),
        contents: Secret::new(contents.unwrap_or_default()),
    };
    let legacy = items(source.main(&["cluster", "inlineManifests"])).iter();
    let legacy = legacy.map(|n| manifest(text(n, &["name"]), text(n, &["contents"])));
    let documents = source.all("KubeInlineManifestConfig");
    let documents = documents.map(|(name, n)| manifest(Some(name.into()), text(n, &["manifest"])));
    layer.cluster.inline_manifests = legacy.chain(documents).collect();
    let legacy = texts(source.main(&["cluster", "extraManifests"])).into_iter();
    let documents = source.all("KubeExternalManifestConfig");
    let documents = documents.filter(|(name, _)| name.starts_with("extra-"));
    let documents = documents.filter_map(|(_, node)| text(node, &["url"]));
    layer.cluster.extra_manifests = legacy.chain(documents).collect();
}
