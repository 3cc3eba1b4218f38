//! What a config is generated from.

use std::collections::BTreeMap;

use super::Endpoint;
use crate::version::{Contract, Generator};

/// Everything that decides a node's config, besides the secrets. Plain data: [`super::generate`] checks it.
#[derive(Clone, Debug)]
pub struct Input {
    /// Whose output is reproduced.
    pub generator: Generator,
    /// The layout, pinned at the cluster's birth.
    pub contract: Contract,
    /// What the node is.
    pub role: Role,
    /// The cluster's name.
    pub cluster_name: String,
    /// The Kubernetes API's URL.
    pub endpoint: Endpoint,
    /// Kubernetes' version, with or without `v`.
    pub kubernetes_version: String,
    /// The machine's host name; absent = Talos derives a stable one.
    pub hostname: Option<String>,
    /// Where and what to install.
    pub install: Install,
    /// DNS domain of the cluster.
    pub dns_domain: String,
    /// Pod networks.
    pub pod_cidrs: Vec<String>,
    /// Service networks.
    pub service_cidrs: Vec<String>,
    /// The network plugin.
    pub cni: Cni,
    /// kube-proxy.
    pub kube_proxy: Toggle,
    /// The discovery service.
    pub discovery: Toggle,
    /// KubeSpan; absent = nothing is written about it.
    pub kubespan: Option<Toggle>,
    /// More names of both APIs.
    pub cert_sans: Vec<String>,
    /// Registries by host.
    pub registries: BTreeMap<String, Registry>,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Whether control planes take workloads.
    pub scheduling: Scheduling,
    /// Whether Talos writes its debug log to the console.
    pub debug: Toggle,
    /// The port of KubePrism, each node's own way to the Kubernetes API; absent = none.
    pub kube_prism_port: Option<u32>,
    /// Whether Kubernetes' DNS forwards to the host's. From contract 1.8 on it does anyway.
    pub host_dns_forward: Toggle,
    /// The port of each control plane's own Kubernetes API; absent = the usual one.
    pub local_api_server_port: Option<u32>,
}

/// Where KubePrism listens.
const KUBE_PRISM_PORT: u32 = 7445;

impl Input {
    /// The defaults of Talos's own tool for everything that is not asked for here.
    pub fn new(
        contract: Contract,
        role: Role,
        cluster_name: impl Into<String>,
        endpoint: Endpoint,
        kubernetes_version: impl Into<String>,
    ) -> Self {
        Self {
            generator: Generator::of(contract),
            contract,
            role,
            cluster_name: cluster_name.into(),
            endpoint,
            kubernetes_version: kubernetes_version.into(),
            hostname: None,
            install: Install::default(),
            dns_domain: "cluster.local".to_owned(),
            pod_cidrs: vec!["10.244.0.0/16".to_owned()],
            service_cidrs: vec!["10.96.0.0/12".to_owned()],
            cni: Cni::Flannel,
            kube_proxy: Toggle::Enabled,
            discovery: Toggle::Enabled,
            kubespan: None,
            cert_sans: Vec::new(),
            registries: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            scheduling: Scheduling::WorkersOnly,
            debug: Toggle::Disabled,
            kube_prism_port: contract.since_1(6).then_some(KUBE_PRISM_PORT),
            host_dns_forward: Toggle::Disabled,
            local_api_server_port: None,
        }
    }
}

/// What a node is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A control plane that also starts the cluster by itself: a role of clusters of old.
    Init,
    /// Runs etcd and Kubernetes' control plane.
    ControlPlane,
    /// Runs workloads only.
    Worker,
}

impl Role {
    /// As `machine.type` says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::ControlPlane => "controlplane",
            Self::Worker => "worker",
        }
    }
}

/// A part that is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toggle {
    /// On.
    Enabled,
    /// Off.
    Disabled,
}

impl Toggle {
    pub(super) fn is_enabled(self) -> bool {
        self == Self::Enabled
    }
}

/// Whether control planes take workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// Control planes are tainted.
    WorkersOnly,
    /// Control planes take workloads too.
    ControlPlanesToo,
}

/// The network plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cni {
    /// Talos's default.
    Flannel,
    /// None: something else brings one.
    None,
    /// Manifests at these URLs.
    Custom(Vec<String>),
}

/// Where and what to install.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Install {
    /// The disk; absent for clouds, whose image is installed already.
    pub target: Option<InstallTarget>,
    /// The installer image's reference.
    pub image: Option<String>,
    /// Arguments of the installed kernel.
    pub extra_kernel_args: Vec<String>,
}

/// The disk that is overwritten. Talos destroys it without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallTarget {
    /// A device node, which may name another disk after the next boot.
    Device(String),
    /// A disk by its own properties.
    Selector(DiskSelector),
}

/// Properties that a disk must have, all of them. Texts are globs, which Talos matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskSelector {
    /// `>= 100GB`, `<= 2TB`, `480GB`.
    pub size: Option<String>,
    /// The kernel's name (`/sys/block/<name>/device/name`).
    pub name: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The serial number.
    pub serial: Option<String>,
    /// `/sys/block/<name>/device/modalias`.
    pub modalias: Option<String>,
    /// The UUID.
    pub uuid: Option<String>,
    /// The World Wide Identifier.
    pub wwid: Option<String>,
    /// `ssd`, `hdd`, `nvme` or `sd`.
    pub kind: Option<String>,
    /// The bus path, without `/sys/devices`.
    pub bus_path: Option<String>,
}

impl DiskSelector {
    /// Keys of `install.diskSelector` and their values, in the order of the config.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("size", &self.size),
            ("name", &self.name),
            ("model", &self.model),
            ("serial", &self.serial),
            ("modalias", &self.modalias),
            ("uuid", &self.uuid),
            ("wwid", &self.wwid),
            ("type", &self.kind),
            ("busPath", &self.bus_path),
        ]
        .into_iter()
        .filter_map(|(key, value)| value.as_deref().map(|v| (key, v)))
    }
}

/// One registry host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// Mirrors that are asked in its place; absent = none are named, which differs from an empty list.
    pub endpoints: Option<Vec<String>>,
    /// How its own TLS is checked; absent = as usual.
    pub tls: Option<RegistryTls>,
}

/// How a registry's TLS is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryTls {
    /// Against this CA (PEM text).
    Ca(String),
    /// Not at all.
    DangerSkipVerify,
    /// Not at all, though there is a CA (PEM text), which other tools may use.
    DangerSkipVerifyWithCa(String),
}

impl RegistryTls {
    pub(super) fn ca(&self) -> Option<&str> {
        match self {
            Self::Ca(pem) | Self::DangerSkipVerifyWithCa(pem) => Some(pem),
            Self::DangerSkipVerify => None,
        }
    }

    pub(super) fn skips_verification(&self) -> bool {
        match self {
            Self::Ca(_) => false,
            Self::DangerSkipVerify | Self::DangerSkipVerifyWithCa(_) => true,
        }
    }
}
