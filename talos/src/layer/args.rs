//! The arguments themselves: plain data, as a person states them. What they mean is in the files beside this one.

use std::collections::BTreeMap;

use super::firewall::Firewall;
use super::network::Network;
use super::storage::{SystemVolume, UserVolume};
use crate::config::{Cni, Endpoint, Install, Role, Scheduling, Toggle};
use crate::secrets::Secret;
use crate::yaml::Node as Yaml;

/// What every node of a cluster shares.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// The cluster's name.
    pub name: String,
    /// The Kubernetes API's URL.
    pub endpoint: Endpoint,
    /// Kubernetes' version, with or without `v`.
    pub kubernetes_version: String,
    /// The network plugin.
    pub cni: Cni,
    /// kube-proxy.
    pub kube_proxy: Toggle,
    /// Pod networks; empty = Talos's default.
    pub pod_cidrs: Vec<String>,
    /// Service networks; empty = Talos's default.
    pub service_cidrs: Vec<String>,
    /// The cluster's DNS domain; absent = `cluster.local`.
    pub dns_domain: Option<String>,
    /// More names of both APIs.
    pub cert_sans: Vec<String>,
    /// The discovery service.
    pub discovery: Discovery,
    /// KubeSpan; absent = nothing is written about it.
    pub kubespan: Option<KubeSpan>,
    /// Manifests that control planes apply.
    pub inline_manifests: Vec<InlineManifest>,
    /// URLs of manifests that control planes apply.
    pub extra_manifests: Vec<String>,
    /// kube-apiserver.
    pub api_server: Component,
    /// kube-controller-manager.
    pub controller_manager: Component,
    /// kube-scheduler.
    pub scheduler: Component,
    /// etcd.
    pub etcd: Component,
    /// kube-proxy's arguments.
    pub proxy: Component,
}

impl Cluster {
    /// A cluster with Talos's defaults for everything that is not asked for here.
    pub fn new(
        name: impl Into<String>,
        endpoint: Endpoint,
        kubernetes_version: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            endpoint,
            kubernetes_version: kubernetes_version.into(),
            cni: Cni::Flannel,
            kube_proxy: Toggle::Enabled,
            pod_cidrs: Vec::new(),
            service_cidrs: Vec::new(),
            dns_domain: None,
            cert_sans: Vec::new(),
            discovery: Discovery::default(),
            kubespan: None,
            inline_manifests: Vec::new(),
            extra_manifests: Vec::new(),
            api_server: Component::default(),
            controller_manager: Component::default(),
            scheduler: Component::default(),
            etcd: Component::default(),
            proxy: Component::default(),
        }
    }
}

/// The discovery service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// On or off.
    pub state: Toggle,
    /// Another service than the public one.
    pub endpoint: Option<String>,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            state: Toggle::Enabled,
            endpoint: None,
        }
    }
}

/// KubeSpan's options; what is absent keeps Talos's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeSpan {
    /// On or off.
    pub state: Toggle,
    /// Whether pod networks go through it too.
    pub advertise_kubernetes_networks: Option<Toggle>,
    /// Whether traffic to a peer that is down leaves unencrypted.
    pub allow_down_peer_bypass: Option<Toggle>,
    /// Whether endpoints that others see are announced.
    pub harvest_extra_endpoints: Option<Toggle>,
    /// Bytes; at least 1280.
    pub mtu: Option<u32>,
    /// Which endpoints are used: networks, with `!` in front for those that are not.
    pub endpoints: Vec<String>,
    /// Networks that are not announced (contract 1.12 and later).
    pub exclude_advertised_networks: Vec<String>,
}

impl KubeSpan {
    /// Talos's defaults.
    pub const fn new(state: Toggle) -> Self {
        Self {
            state,
            advertise_kubernetes_networks: None,
            allow_down_peer_bypass: None,
            harvest_extra_endpoints: None,
            mtu: None,
            endpoints: Vec::new(),
            exclude_advertised_networks: Vec::new(),
        }
    }
}

/// A manifest with its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineManifest {
    /// Its name, once in a cluster.
    pub name: String,
    /// Its YAML. It may hold secrets.
    pub contents: Secret,
}

/// A part of Kubernetes that takes command line arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Component {
    /// Arguments without their dashes.
    pub extra_args: BTreeMap<String, String>,
}

/// What belongs to one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub role: Role,
    /// Its host name; absent = Talos derives one.
    pub hostname: Option<String>,
    /// Where and what to install.
    pub install: Install,
    /// Addresses, names and routes.
    pub network: Network,
    /// Labels of the Kubernetes node.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Kubernetes node (contract 1.8 and later).
    pub annotations: BTreeMap<String, String>,
    /// Taints of the Kubernetes node: `value:Effect` or `Effect` by key.
    pub taints: BTreeMap<String, String>,
    /// Whether this control plane takes workloads.
    pub scheduling: Scheduling,
    /// The kubelet.
    pub kubelet: Kubelet,
    /// Registries by host; `*` stands for all others.
    pub registries: BTreeMap<String, RegistryArgs>,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Values below `/sys`.
    pub sysfs: BTreeMap<String, String>,
    /// Kernel modules.
    pub kernel_modules: Vec<KernelModule>,
    /// Files below `/var` or for the container runtime.
    pub files: Vec<File>,
    /// Environment variables of Talos's own services.
    pub environment: BTreeMap<String, String>,
    /// udev rules.
    pub udev_rules: Vec<String>,
    /// Configurations of extensions' services (contract 1.7 and later).
    pub extension_services: Vec<ExtensionService>,
    /// Volumes of Talos itself.
    pub system_volumes: Vec<SystemVolume>,
    /// Volumes for workloads.
    pub volumes: Vec<UserVolume>,
    /// Which traffic the node takes in.
    pub firewall: Option<Firewall>,
    /// Where events are pushed: `HOST:PORT`.
    pub event_sink: Option<String>,
    /// Where the kernel log is sent.
    pub kernel_logs: Vec<KernelLog>,
    /// Authorities that the node trusts besides its own (contract 1.8 and later).
    pub trusted_roots: Vec<TrustedRoots>,
}

impl Node {
    /// A node with Talos's defaults.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            hostname: None,
            install: Install::default(),
            network: Network::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            taints: BTreeMap::new(),
            scheduling: Scheduling::WorkersOnly,
            kubelet: Kubelet::default(),
            registries: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            sysfs: BTreeMap::new(),
            kernel_modules: Vec::new(),
            files: Vec::new(),
            environment: BTreeMap::new(),
            udev_rules: Vec::new(),
            extension_services: Vec::new(),
            system_volumes: Vec::new(),
            volumes: Vec::new(),
            firewall: None,
            event_sink: None,
            kernel_logs: Vec::new(),
            trusted_roots: Vec::new(),
        }
    }
}

/// The kubelet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kubelet {
    /// Another image than the one of the Kubernetes version.
    pub image: Option<String>,
    /// Addresses of the cluster's DNS.
    pub cluster_dns: Vec<String>,
    /// Arguments without their dashes.
    pub extra_args: BTreeMap<String, String>,
    /// Host paths that the kubelet sees (until contract 1.13).
    pub extra_mounts: Vec<ExtraMount>,
    /// A KubeletConfiguration's keys: a mapping.
    pub extra_config: Option<Yaml>,
    /// The networks from which the node's own address is chosen, with `!` in front for those it is not.
    pub valid_subnets: Vec<String>,
}

/// A host path that the kubelet sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraMount {
    /// Where it is in the kubelet's container.
    pub destination: String,
    /// `bind` as a rule.
    pub kind: String,
    /// Where it is on the host.
    pub source: String,
    /// Mount options.
    pub options: Vec<String>,
}

/// One registry host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryArgs {
    /// Mirrors that are asked in its place.
    pub endpoints: Vec<String>,
    /// Whether the mirrors' URLs are taken as they are.
    pub override_path: Option<Toggle>,
    /// Whether the registry itself is left out when no mirror answers (contract 1.9 and later).
    pub skip_fallback: Option<Toggle>,
    /// The authority of its TLS certificate, as PEM text.
    pub ca: Option<String>,
    /// Whether its TLS certificate is not checked at all.
    pub danger_skip_tls_verify: Option<Toggle>,
    /// How the node says who it is.
    pub auth: RegistryAuth,
}

/// How a node says who it is to a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryAuth {
    /// A user's name.
    pub username: Option<String>,
    /// A user's password.
    pub password: Option<Secret>,
    /// The value of the Authorization header's Basic scheme.
    pub auth: Option<Secret>,
    /// A token.
    pub identity_token: Option<Secret>,
}

/// A kernel module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelModule {
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub parameters: Vec<String>,
}

/// A file that Talos writes at boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// An absolute path.
    pub path: String,
    /// What is in it. It may hold secrets.
    pub content: Secret,
    /// Permission bits.
    pub permissions: u32,
    /// What happens to a file that is there.
    pub operation: FileOperation,
}

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOperation {
    /// It must not be there.
    Create,
    /// The content is added.
    Append,
    /// The content replaces it.
    Overwrite,
}

impl FileOperation {
    /// As `machine.files` says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Append => "append",
            Self::Overwrite => "overwrite",
        }
    }
}

/// The configuration of an extension's service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionService {
    /// The service's name.
    pub name: String,
    /// Content by the path where the service sees it. It may hold secrets.
    pub files: BTreeMap<String, Secret>,
    /// `NAME=value`. It may hold secrets.
    pub environment: Vec<Secret>,
}

/// Where the kernel log is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelLog {
    /// A name of one's own.
    pub name: String,
    /// `tcp://HOST:PORT/` or `udp://…`.
    pub url: String,
}

/// Authorities that a node trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedRoots {
    /// A name of one's own.
    pub name: String,
    /// Certificates as PEM text.
    pub certificates: String,
}
