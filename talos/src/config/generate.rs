//! The layout of a generated config, in the order in which Talos's machinery writes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::documents::{document, hostname_document};
use super::input::{Cni, Input, InstallTarget, Role, Scheduling, Toggle};
use super::policy::{audit_policy, pod_security};
use super::text::MachineConfig;
use crate::secrets::{Authority, Bundle, EtcdEncryption, Secret};
use crate::version::Generator;
use crate::yaml::{Node, Style, emit_documents};

/// Inputs from which no config can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// A contract that the chosen generator does not write.
    #[error("the generator {generator:?} does not write the layout of Talos {contract}")]
    Contract {
        /// The generator.
        generator: Generator,
        /// The contract.
        contract: crate::version::Contract,
    },
    /// Not a Kubernetes version.
    #[error("{0:?} is not a Kubernetes version; write it like v1.36.3")]
    KubernetesVersion(String),
    /// A version that this Talos does not run.
    #[error("Talos {contract} runs Kubernetes 1.{oldest} to 1.{newest}, not {asked}")]
    KubernetesRange {
        /// The contract.
        contract: crate::version::Contract,
        /// Oldest minor version.
        oldest: u16,
        /// Newest minor version.
        newest: u16,
        /// What was asked for.
        asked: String,
    },
    /// The cluster has no name.
    #[error("the cluster needs a name")]
    ClusterName,
    /// A selector that every disk satisfies.
    #[error(
        "the install disk selector is empty: it would take any disk; name a serial, wwid, size or type"
    )]
    EmptySelector,
    /// No Kubernetes version, where the machinery insists on one.
    #[error("kubernetes version must be specified")]
    NoKubernetesVersion,
    /// A selector that has no expression.
    #[error("this install disk selector cannot be written for Talos 1.14: {0}")]
    Selector(&'static str),
}

/// Makes a node's config.
///
/// # Errors
/// An input that cannot be written, before anything is.
pub fn generate(input: &Input, bundle: &Bundle) -> Result<MachineConfig, GenerateError> {
    written(input, trees(input, bundle)?)
}

/// The config's documents before they are written.
pub(crate) fn trees(input: &Input, bundle: &Bundle) -> Result<Vec<Node>, GenerateError> {
    checked(input)?;
    plan(input, bundle, Rigor::Checked)
}

/// Makes a node's config of whatever the machinery takes: older and newer Kubernetes, no name, kernel arguments that
/// the installed image will ignore. For comparing, not for machines.
///
/// # Errors
/// What the machinery refuses too.
pub fn generate_unchecked(input: &Input, bundle: &Bundle) -> Result<MachineConfig, GenerateError> {
    written(input, trees_unchecked(input, bundle)?)
}

/// The documents of such a config before they are written.
pub(crate) fn trees_unchecked(input: &Input, bundle: &Bundle) -> Result<Vec<Node>, GenerateError> {
    contract_is_known(input)?;
    if input.generator == Generator::V1_14 && input.kubernetes_version.is_empty() {
        return Err(GenerateError::NoKubernetesVersion);
    }
    plan(input, bundle, Rigor::AsTheMachinery)
}

fn written(input: &Input, documents: Vec<Node>) -> Result<MachineConfig, GenerateError> {
    let style = style(input.generator);
    Ok(MachineConfig::new(emit_documents(&documents, style)))
}

/// How much of the machinery's own carelessness is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rigor {
    Checked,
    AsTheMachinery,
}

fn plan(input: &Input, bundle: &Bundle, rigor: Rigor) -> Result<Vec<Node>, GenerateError> {
    let plan = Plan {
        input,
        bundle,
        rigor,
    };
    let mut documents = vec![plan.v1alpha1()];
    if plan.is_split() {
        documents.extend(plan.documents_before_registries()?);
    }
    documents.extend(plan.registries_as_documents());
    if plan.since_1(12) {
        documents.push(hostname_document(input.hostname.as_deref()));
    }
    if let (Some(toggle), true) = (input.kubespan, plan.since_1(13)) {
        documents.push(document(
            "KubeSpanConfig",
            [("enabled", Node::boolean(toggle.is_enabled()))],
        ));
    }
    if plan.is_split() {
        documents.extend(plan.kubernetes_documents());
    }
    Ok(documents)
}

/// How a generator's output is quoted.
pub(crate) const fn style(generator: Generator) -> Style {
    match generator {
        Generator::V1_13 => Style::V1_13,
        Generator::V1_14 => Style::V1_14,
    }
}

fn contract_is_known(input: &Input) -> Result<(), GenerateError> {
    if input.contract > input.generator.newest() {
        return Err(GenerateError::Contract {
            generator: input.generator,
            contract: input.contract,
        });
    }
    Ok(())
}

fn checked(input: &Input) -> Result<(), GenerateError> {
    contract_is_known(input)?;
    if !input.contract.is_offered() {
        return Err(GenerateError::Contract {
            generator: input.generator,
            contract: input.contract,
        });
    }
    if input.cluster_name.is_empty() {
        return Err(GenerateError::ClusterName);
    }
    if let Some(InstallTarget::Selector(selector)) = &input.install.target
        && selector.fields().next().is_none()
    {
        return Err(GenerateError::EmptySelector);
    }
    let asked = &input.kubernetes_version;
    let version: crate::version::TalosVersion = asked
        .parse()
        .map_err(|_| GenerateError::KubernetesVersion(asked.clone()))?;
    let (oldest, newest) = input.contract.kubernetes_minors();
    let (major, minor, _) = version.numbers();
    if major != 1 || !(oldest..=newest).contains(&minor) {
        return Err(GenerateError::KubernetesRange {
            contract: input.contract,
            oldest,
            newest,
            asked: asked.clone(),
        });
    }
    Ok(())
}

pub(super) const KUBELET: &str = "ghcr.io/siderolabs/kubelet";
pub(super) const API_SERVER: &str = "registry.k8s.io/kube-apiserver";
pub(super) const CONTROLLER_MANAGER: &str = "registry.k8s.io/kube-controller-manager";
pub(super) const SCHEDULER: &str = "registry.k8s.io/kube-scheduler";
pub(super) const PROXY: &str = "registry.k8s.io/kube-proxy";
pub(super) const NO_LOAD_BALANCER: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Entries of a mapping that is being written.
pub(super) type Entries = Vec<(&'static str, Node)>;

pub(super) struct Plan<'a> {
    pub(super) input: &'a Input,
    pub(super) bundle: &'a Bundle,
    rigor: Rigor,
}

impl Plan<'_> {
    pub(super) fn is_control_plane(&self) -> bool {
        self.input.role != Role::Worker
    }

    /// Whether Kubernetes, discovery and installation stand in documents of their own.
    fn is_split(&self) -> bool {
        self.since_1(14)
    }

    pub(super) fn since_1(&self, minor: u16) -> bool {
        self.input.contract.since_1(minor)
    }

    fn v1alpha1(&self) -> Node {
        Node::map([
            ("version", Node::text("v1alpha1")),
            ("debug", Node::boolean(self.input.debug.is_enabled())),
            ("persist", Node::boolean(true)),
            ("machine", self.machine()),
            ("cluster", self.cluster()),
        ])
    }

    fn machine(&self) -> Node {
        let input = self.input;
        let mut out: Entries = vec![
            ("type", Node::text(input.role.as_str())),
            ("token", secret(&self.bundle.machine_token)),
            ("ca", self.authority(&self.bundle.os)),
            ("certSANs", Node::texts(&input.cert_sans)),
        ];
        if self.is_split() {
            let quota = [("diskQuotaSupport", Node::boolean(true))];
            out.push(("features", Node::map(quota)));
            return Node::map(out);
        }
        out.push(("kubelet", self.kubelet()));
        let network = self.network();
        if !self.since_1(13) || network.as_mapping().is_some_and(|m| !m.is_empty()) {
            out.push(("network", network));
        }
        out.push(("install", self.install()));
        if !input.sysctls.is_empty() {
            out.push(("sysctls", self.sysctls()));
        }
        if let Some(registries) = self.registries_in_machine() {
            out.push(("registries", registries));
        }
        out.push(("features", self.features()));
        if self.is_control_plane() && self.since_1(8) {
            out.push((
                "nodeLabels",
                Node::map([(NO_LOAD_BALANCER, Node::text(""))]),
            ));
        }
        Node::map(out)
    }

    pub(super) fn sysctls(&self) -> Node {
        let entries = self.input.sysctls.iter();
        let mut node = Node::map(entries.map(|(k, v)| (k.as_str(), Node::text(v))));
        if let Some(mapping) = node.as_mapping_mut() {
            mapping.sort_natural();
        }
        node
    }

    fn kubelet(&self) -> Node {
        let mut out = self.image(KUBELET);
        if self.since_1(2) {
            out.push(("defaultRuntimeSeccompProfileEnabled", Node::boolean(true)));
        }
        if self.since_1(3) {
            out.push(("disableManifestsDirectory", Node::boolean(true)));
        }
        Node::map(out)
    }

    fn network(&self) -> Node {
        let mut out: Entries = Vec::new();
        if let (Some(hostname), false) = (&self.input.hostname, self.since_1(12)) {
            out.push(("hostname", Node::text(hostname)));
        }
        if let (Some(toggle), false) = (self.input.kubespan, self.since_1(13)) {
            let enabled = Node::boolean(toggle.is_enabled());
            out.push(("kubespan", Node::map([("enabled", enabled)])));
        }
        Node::map(out)
    }

    fn install(&self) -> Node {
        let install = &self.input.install;
        let mut out: Entries = Vec::new();
        match &install.target {
            Some(InstallTarget::Device(device)) => out.push(("disk", Node::text(device))),
            Some(InstallTarget::Selector(selector)) => out.push((
                "diskSelector",
                Node::map(selector.fields().map(|(k, v)| (k, Node::text(v)))),
            )),
            None => {}
        }
        if !install.extra_kernel_args.is_empty() {
            out.push(("extraKernelArgs", Node::texts(&install.extra_kernel_args)));
        }
        if let Some(image) = &install.image {
            out.push(("image", Node::text(image)));
        }
        out.push(("wipe", Node::boolean(false)));
        // The two exclude each other: the image's own command line cannot be added to.
        if self.since_1(12) {
            let from_image =
                install.extra_kernel_args.is_empty() || self.rigor == Rigor::AsTheMachinery;
            out.push(("grubUseUKICmdline", Node::boolean(from_image)));
        }
        Node::map(out)
    }

    fn features(&self) -> Node {
        let mut out: Entries = Vec::new();
        if !self.since_1(12) {
            out.push(("rbac", Node::boolean(true)));
            if self.since_1(2) {
                out.push(("stableHostname", Node::boolean(true)));
            }
            if self.since_1(3) {
                out.push(("apidCheckExtKeyUsage", Node::boolean(true)));
            }
        }
        if self.since_1(5) {
            out.push(("diskQuotaSupport", Node::boolean(true)));
        }
        if let Some(port) = self.input.kube_prism_port {
            let prism = [
                ("enabled", Node::boolean(true)),
                ("port", Node::integer(port)),
            ];
            out.push(("kubePrism", Node::map(prism)));
        }
        if self.since_1(7) {
            out.push(("hostDNS", self.host_dns()));
        }
        Node::map(out)
    }

    pub(super) fn host_dns(&self) -> Node {
        let mut out: Entries = vec![("enabled", Node::boolean(true))];
        if self.since_1(8) || self.input.host_dns_forward.is_enabled() {
            out.push(("forwardKubeDNSToHost", Node::boolean(true)));
        }
        Node::map(out)
    }

    fn cluster(&self) -> Node {
        let bundle = self.bundle;
        let etcd = || ("etcd", Node::map([("ca", pair(&bundle.etcd))]));
        if self.is_split() {
            let mut out = vec![("token", secret(&bundle.bootstrap_token))];
            if self.is_control_plane() {
                out.push(etcd());
            }
            return Node::map(out);
        }
        let mut out: Entries = vec![
            ("id", Node::text(&bundle.cluster_id)),
            ("secret", secret(&bundle.cluster_secret)),
            ("controlPlane", self.api_endpoint()),
        ];
        let named = self.is_control_plane() || self.since_1(8);
        if named && !self.input.cluster_name.is_empty() {
            out.push(("clusterName", Node::text(&self.input.cluster_name)));
        }
        out.push(("network", self.cluster_network()));
        out.push(("token", secret(&bundle.bootstrap_token)));
        if self.is_control_plane() {
            out.extend(self.control_plane());
        } else {
            out.push(("ca", self.authority(&bundle.kubernetes)));
        }
        out.push(("discovery", self.discovery()));
        if self.is_control_plane() {
            out.push(etcd());
            if self.input.scheduling == Scheduling::ControlPlanesToo {
                let key = match self.since_1(2) {
                    true => "allowSchedulingOnControlPlanes",
                    false => "allowSchedulingOnMasters",
                };
                out.push((key, Node::boolean(true)));
            }
        }
        Node::map(out)
    }

    fn api_endpoint(&self) -> Node {
        let endpoint = Node::text(self.input.endpoint.as_str());
        let mut out: Entries = vec![("endpoint", endpoint)];
        if let (Some(port), true) = (self.input.local_api_server_port, self.is_control_plane()) {
            out.push(("localAPIServerPort", Node::integer(port)));
        }
        Node::map(out)
    }

    /// What only control planes hold, from the encryption key to the scheduler.
    fn control_plane(&self) -> Entries {
        let bundle = self.bundle;
        let encryption = match &bundle.etcd_encryption {
            EtcdEncryption::Secretbox(_) if !self.since_1(3) => None,
            EtcdEncryption::Secretbox(key) => Some(("secretboxEncryptionSecret", secret(key))),
            // The machinery forgets the key of a cluster of old: its secrets could not be read any more.
            EtcdEncryption::AesCbc(_) if self.rigor == Rigor::AsTheMachinery && self.since_1(3) => {
                None
            }
            EtcdEncryption::AesCbc(key) => Some(("aescbcEncryptionSecret", secret(key))),
        };
        let service_account = Node::text(STANDARD.encode(bundle.service_account.expose()));
        let rest = [
            ("ca", pair(&bundle.kubernetes)),
            ("aggregatorCA", pair(&bundle.aggregator)),
            ("serviceAccount", Node::map([("key", service_account)])),
            ("apiServer", self.api_server()),
            (
                "controllerManager",
                Node::map(self.image(CONTROLLER_MANAGER)),
            ),
            ("proxy", self.proxy()),
            ("scheduler", Node::map(self.image(SCHEDULER))),
        ];
        encryption.into_iter().chain(rest).collect()
    }

    fn cluster_network(&self) -> Node {
        let mut out: Entries = Vec::new();
        match &self.input.cni {
            Cni::Flannel => {}
            Cni::None => out.push(("cni", Node::map([("name", Node::text("none"))]))),
            Cni::Custom(urls) => {
                let mut cni: Entries = vec![("name", Node::text("custom"))];
                if !urls.is_empty() {
                    cni.push(("urls", Node::texts(urls)));
                }
                out.push(("cni", Node::map(cni)));
            }
        }
        out.push(("dnsDomain", Node::text(&self.input.dns_domain)));
        out.push(("podSubnets", Node::texts(&self.input.pod_cidrs)));
        out.push(("serviceSubnets", Node::texts(&self.input.service_cidrs)));
        Node::map(out)
    }

    fn api_server(&self) -> Node {
        let mut out = self.image(API_SERVER);
        let mut sans: Vec<&str> = Vec::new();
        if !self.since_1(12) {
            sans.push(self.input.endpoint.host());
        }
        sans.extend(self.input.cert_sans.iter().map(String::as_str));
        if !sans.is_empty() {
            out.push(("certSANs", Node::texts(sans)));
        }
        if !self.since_1(12) {
            out.push(("disablePodSecurityPolicy", Node::boolean(true)));
        }
        if self.since_1(1) {
            out.push(("admissionControl", Node::list([Node::map(pod_security())])));
        }
        if self.since_1(3) {
            out.push(("auditPolicy", audit_policy()));
        }
        Node::map(out)
    }

    fn proxy(&self) -> Node {
        let mut out: Entries = Vec::new();
        if self.input.kube_proxy == Toggle::Disabled {
            out.push(("disabled", Node::boolean(true)));
        }
        out.extend(self.image(PROXY));
        Node::map(out)
    }

    fn discovery(&self) -> Node {
        let disabled = Some(("disabled", Node::boolean(true)));
        let kubernetes = Node::map(disabled.filter(|_| self.since_1(2)));
        let service = Node::map::<&str>([]);
        let registries = Node::map([("kubernetes", kubernetes), ("service", service)]);
        Node::map([
            ("enabled", Node::boolean(self.input.discovery.is_enabled())),
            ("registries", registries),
        ])
    }

    /// The key `image` and its value; nothing where no Kubernetes version is named.
    pub(super) fn image(&self, name: &str) -> Entries {
        let asked = &self.input.kubernetes_version;
        let version = match self.rigor {
            Rigor::Checked => asked.strip_prefix('v').unwrap_or(asked),
            Rigor::AsTheMachinery => asked,
        };
        if version.is_empty() {
            return Vec::new();
        }
        vec![("image", Node::text(format!("{name}:v{version}")))]
    }

    /// An authority as this role may see it: workers do not get its key.
    fn authority(&self, authority: &Authority) -> Node {
        match self.input.role {
            Role::Init | Role::ControlPlane => pair(authority),
            Role::Worker => Node::map([
                ("crt", Node::text(STANDARD.encode(&authority.certificate))),
                ("key", Node::text("")),
            ]),
        }
    }
}

pub(super) fn secret(secret: &Secret) -> Node {
    Node::text(secret.expose())
}

fn pair(authority: &Authority) -> Node {
    Node::map([
        ("crt", Node::text(STANDARD.encode(&authority.certificate))),
        ("key", Node::text(STANDARD.encode(authority.key.expose()))),
    ])
}
