//! The layout of a generated config, in the order in which Talos's machinery writes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::documents::{document, hostname_document};
use super::input::{Cni, Input, InstallTarget, Registry, RegistryTls, Role, Scheduling, Toggle};
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
}

/// Makes a node's config.
///
/// # Errors
/// An input that cannot be written, before anything is.
pub fn generate(input: &Input, bundle: &Bundle) -> Result<MachineConfig, GenerateError> {
    let documents = trees(input, bundle)?;
    Ok(MachineConfig::new(emit_documents(
        &documents,
        style(input.generator),
    )))
}

/// The config's documents before they are written.
pub(crate) fn trees(input: &Input, bundle: &Bundle) -> Result<Vec<Node>, GenerateError> {
    let kubernetes = checked(input)?;
    let plan = Plan {
        input,
        bundle,
        kubernetes: &kubernetes,
    };
    let mut documents = vec![plan.v1alpha1()];
    documents.extend(plan.registries_as_documents());
    if input.contract.since_1(12) {
        documents.push(hostname_document(input.hostname.as_deref()));
    }
    if let (Some(toggle), true) = (input.kubespan, input.contract.since_1(13)) {
        documents.push(document(
            "KubeSpanConfig",
            [("enabled", Node::boolean(toggle.is_enabled()))],
        ));
    }
    Ok(documents)
}

/// How a generator's output is quoted.
pub(crate) const fn style(generator: Generator) -> Style {
    match generator {
        Generator::V1_13 => Style::V1_13,
    }
}

/// The Kubernetes version without `v`.
fn checked(input: &Input) -> Result<String, GenerateError> {
    if input.contract > input.generator.newest() {
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
    Ok(asked.strip_prefix('v').unwrap_or(asked).to_owned())
}

/// Entries of a mapping that is being written.
type Entries = Vec<(&'static str, Node)>;

struct Plan<'a> {
    input: &'a Input,
    bundle: &'a Bundle,
    kubernetes: &'a str,
}

impl Plan<'_> {
    fn is_control_plane(&self) -> bool {
        self.input.role == Role::ControlPlane
    }

    fn since_1(&self, minor: u16) -> bool {
        self.input.contract.since_1(minor)
    }

    fn v1alpha1(&self) -> Node {
        Node::map([
            ("version", Node::text("v1alpha1")),
            ("debug", Node::boolean(false)),
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
            ("kubelet", self.kubelet()),
        ];
        let network = self.network();
        if !self.since_1(13) || network.as_mapping().is_some_and(|m| !m.is_empty()) {
            out.push(("network", network));
        }
        out.push(("install", self.install()));
        if !input.sysctls.is_empty() {
            let entries = input.sysctls.iter();
            let mut node = Node::map(entries.map(|(k, v)| (k.as_str(), Node::text(v))));
            if let Some(mapping) = node.as_mapping_mut() {
                mapping.sort_natural();
            }
            out.push(("sysctls", node));
        }
        if let Some(registries) = self.registries_in_machine() {
            out.push(("registries", registries));
        }
        out.push(("features", self.features()));
        if self.is_control_plane() && self.since_1(8) {
            let label = "node.kubernetes.io/exclude-from-external-load-balancers";
            out.push(("nodeLabels", Node::map([(label, Node::text(""))])));
        }
        Node::map(out)
    }

    fn kubelet(&self) -> Node {
        Node::map([
            ("image", self.image("ghcr.io/siderolabs/kubelet")),
            ("defaultRuntimeSeccompProfileEnabled", Node::boolean(true)),
            ("disableManifestsDirectory", Node::boolean(true)),
        ])
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
            let from_image = install.extra_kernel_args.is_empty();
            out.push(("grubUseUKICmdline", Node::boolean(from_image)));
        }
        Node::map(out)
    }

    fn features(&self) -> Node {
        let mut out: Entries = Vec::new();
        if !self.since_1(12) {
            out.push(("rbac", Node::boolean(true)));
            out.push(("stableHostname", Node::boolean(true)));
            out.push(("apidCheckExtKeyUsage", Node::boolean(true)));
        }
        out.push(("diskQuotaSupport", Node::boolean(true)));
        out.push((
            "kubePrism",
            Node::map([
                ("enabled", Node::boolean(true)),
                ("port", Node::integer(7445)),
            ]),
        ));
        if self.since_1(7) {
            let mut dns: Entries = vec![("enabled", Node::boolean(true))];
            if self.since_1(8) {
                dns.push(("forwardKubeDNSToHost", Node::boolean(true)));
            }
            out.push(("hostDNS", Node::map(dns)));
        }
        Node::map(out)
    }

    fn cluster(&self) -> Node {
        let bundle = self.bundle;
        let endpoint = Node::text(self.input.endpoint.as_str());
        let mut out: Entries = vec![
            ("id", Node::text(&bundle.cluster_id)),
            ("secret", secret(&bundle.cluster_secret)),
            ("controlPlane", Node::map([("endpoint", endpoint)])),
        ];
        if self.is_control_plane() || self.since_1(8) {
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
            out.push(("etcd", Node::map([("ca", pair(&bundle.etcd))])));
            if self.input.scheduling == Scheduling::ControlPlanesToo {
                out.push(("allowSchedulingOnControlPlanes", Node::boolean(true)));
            }
        }
        Node::map(out)
    }

    /// What only control planes hold, from the encryption key to the scheduler.
    fn control_plane(&self) -> Entries {
        let bundle = self.bundle;
        let encryption = match &bundle.etcd_encryption {
            EtcdEncryption::Secretbox(key) => ("secretboxEncryptionSecret", secret(key)),
            EtcdEncryption::AesCbc(key) => ("aescbcEncryptionSecret", secret(key)),
        };
        let service_account = Node::text(STANDARD.encode(bundle.service_account.expose()));
        vec![
            encryption,
            ("ca", pair(&bundle.kubernetes)),
            ("aggregatorCA", pair(&bundle.aggregator)),
            ("serviceAccount", Node::map([("key", service_account)])),
            ("apiServer", self.api_server()),
            (
                "controllerManager",
                Node::map([(
                    "image",
                    self.image("registry.k8s.io/kube-controller-manager"),
                )]),
            ),
            ("proxy", self.proxy()),
            (
                "scheduler",
                Node::map([("image", self.image("registry.k8s.io/kube-scheduler"))]),
            ),
        ]
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
        let mut out: Entries = vec![("image", self.image("registry.k8s.io/kube-apiserver"))];
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
        out.push(("admissionControl", Node::list([pod_security()])));
        out.push((
            "auditPolicy",
            Node::map([
                ("apiVersion", Node::text("audit.k8s.io/v1")),
                ("kind", Node::text("Policy")),
                (
                    "rules",
                    Node::list([Node::map([("level", Node::text("Metadata"))])]),
                ),
            ]),
        ));
        Node::map(out)
    }

    fn proxy(&self) -> Node {
        let mut out: Entries = Vec::new();
        if self.input.kube_proxy == Toggle::Disabled {
            out.push(("disabled", Node::boolean(true)));
        }
        out.push(("image", self.image("registry.k8s.io/kube-proxy")));
        Node::map(out)
    }

    fn discovery(&self) -> Node {
        let kubernetes = Node::map([("disabled", Node::boolean(true))]);
        let service = Node::map::<&str>([]);
        let registries = Node::map([("kubernetes", kubernetes), ("service", service)]);
        Node::map([
            ("enabled", Node::boolean(self.input.discovery.is_enabled())),
            ("registries", registries),
        ])
    }

    fn image(&self, name: &str) -> Node {
        Node::text(format!("{name}:v{}", self.kubernetes))
    }

    /// An authority as this role may see it: workers do not get its key.
    fn authority(&self, authority: &Authority) -> Node {
        match self.input.role {
            Role::ControlPlane => pair(authority),
            Role::Worker => Node::map([
                ("crt", Node::text(STANDARD.encode(&authority.certificate))),
                ("key", Node::text("")),
            ]),
        }
    }

    /// Up to contract 1.11, registries stand in the machine section.
    fn registries_in_machine(&self) -> Option<Node> {
        if self.since_1(12) || self.input.registries.is_empty() {
            return None;
        }
        let mut mirrors = Vec::new();
        let mut configs = Vec::new();
        for (host, registry) in &self.input.registries {
            if !registry.endpoints.is_empty() {
                let endpoints = Node::texts(&registry.endpoints);
                mirrors.push((host.as_str(), Node::map([("endpoints", endpoints)])));
            }
            if let Some(tls) = &registry.tls {
                let tls = match tls {
                    RegistryTls::Ca(pem) => ("ca", Node::text(STANDARD.encode(pem))),
                    RegistryTls::DangerSkipVerify => ("insecureSkipVerify", Node::boolean(true)),
                };
                let config = Node::map([("tls", Node::map([tls]))]);
                configs.push((host.as_str(), config));
            }
        }
        let parts = [("mirrors", mirrors), ("config", configs)];
        let filled = parts.into_iter().filter(|(_, entries)| !entries.is_empty());
        Some(Node::map(filled.map(|(key, entries)| {
            let mut node = Node::map(entries);
            if let Some(mapping) = node.as_mapping_mut() {
                mapping.sort_natural();
            }
            (key, node)
        })))
    }

    /// From contract 1.12 on, each registry has documents of its own.
    fn registries_as_documents(&self) -> Vec<Node> {
        if !self.since_1(12) {
            return Vec::new();
        }
        let all = || self.input.registries.iter();
        let mirrors = all().filter_map(|(host, r)| mirror_document(host, r));
        let tls = all().filter_map(|(host, r)| Some(tls_document(host, r.tls.as_ref()?)));
        mirrors.chain(tls).collect()
    }
}

fn mirror_document(host: &str, registry: &Registry) -> Option<Node> {
    if registry.endpoints.is_empty() {
        return None;
    }
    let url = |endpoint: &String| Node::map([("url", Node::text(endpoint))]);
    Some(document(
        "RegistryMirrorConfig",
        [
            ("name", Node::text(host)),
            ("endpoints", Node::list(registry.endpoints.iter().map(url))),
        ],
    ))
}

fn tls_document(host: &str, tls: &RegistryTls) -> Node {
    let check = match tls {
        RegistryTls::Ca(pem) => ("ca", Node::text(pem)),
        RegistryTls::DangerSkipVerify => ("insecureSkipVerify", Node::boolean(true)),
    };
    document("RegistryTLSConfig", [("name", Node::text(host)), check])
}

fn secret(secret: &Secret) -> Node {
    Node::text(secret.expose())
}

fn pair(authority: &Authority) -> Node {
    Node::map([
        ("crt", Node::text(STANDARD.encode(&authority.certificate))),
        ("key", Node::text(STANDARD.encode(authority.key.expose()))),
    ])
}

/// The admission plugin that Talos configures by default.
fn pod_security() -> Node {
    let text = |t: &str| Node::text(t);
    let defaults = [
        ("audit", text("restricted")),
        ("audit-version", text("latest")),
        ("enforce", text("baseline")),
        ("enforce-version", text("latest")),
        ("warn", text("restricted")),
        ("warn-version", text("latest")),
    ];
    let exemptions = [
        ("namespaces", Node::texts(["kube-system"])),
        ("runtimeClasses", Node::list([])),
        ("usernames", Node::list([])),
    ];
    Node::map([
        ("name", text("PodSecurity")),
        (
            "configuration",
            Node::map([
                (
                    "apiVersion",
                    text("pod-security.admission.config.k8s.io/v1alpha1"),
                ),
                ("defaults", Node::map(defaults)),
                ("exemptions", Node::map(exemptions)),
                ("kind", text("PodSecurityConfiguration")),
            ]),
        ),
    ])
}
