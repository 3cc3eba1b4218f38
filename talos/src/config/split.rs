//! Contract 1.14 and later: Kubernetes, discovery and installation in documents of their own, in the machinery's order.

use super::documents::document;
use super::generate::{
    API_SERVER, CONTROLLER_MANAGER, Entries, GenerateError, KUBELET, NO_LOAD_BALANCER, PROXY, Plan,
    SCHEDULER, secret,
};
use super::input::{Cni, InstallTarget, Scheduling, Toggle};
use super::policy::{audit_policy, authentication, pod_security};
use crate::secrets::{Authority, EtcdEncryption};
use crate::yaml::Node;

const DISCOVERY: &str = "https://discovery.talos.dev/";
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
const FLANNEL_PORT: u16 = 4789;

impl Plan<'_> {
    /// From discovery to the security profile.
    pub(super) fn documents_before_registries(&self) -> Result<Vec<Node>, GenerateError> {
        let mut out = Vec::new();
        if self.input.discovery == Toggle::Enabled {
            let service = [
                ("name", Node::text("default")),
                ("endpoint", Node::text(DISCOVERY)),
            ];
            out.push(document("DiscoveryServiceConfig", service));
        }
        let identity = [
            ("clusterID", Node::text(&self.bundle.cluster_id)),
            ("clusterSecret", secret(&self.bundle.cluster_secret)),
        ];
        out.push(document("DiscoveryIdentityConfig", identity));
        out.extend(self.unattended_install()?);
        out.push(document("ResolverConfig", [("hostDNS", self.host_dns())]));
        if !self.input.sysctls.is_empty() {
            out.push(document("SysctlConfig", [("params", self.sysctls())]));
        }
        let ephemeral = [
            ("name", Node::text("EPHEMERAL")),
            ("mount", Node::map([("secure", Node::boolean(true))])),
        ];
        out.push(document("VolumeConfig", ephemeral));
        let weekly = [("interval", Node::text("168h0m0s"))];
        out.push(document("FilesystemTrimConfig", weekly));
        let isolated = [("workloadIsolation", Node::boolean(true))];
        out.push(document("SecurityProfileConfig", isolated));
        Ok(out)
    }

    /// Without a disk there is nothing to install to.
    fn unattended_install(&self) -> Result<Option<Node>, GenerateError> {
        let expression = match &self.input.install.target {
            None => return Ok(None),
            Some(InstallTarget::Device(path)) if path.is_empty() => return Ok(None),
            Some(InstallTarget::Device(path)) => format!("disk.dev_path == {}", quoted(path)),
            Some(InstallTarget::Selector(selector)) => {
                crate::layer::disk_expression(selector).map_err(GenerateError::Selector)?
            }
        };
        let image = self.input.install.image.as_deref().unwrap_or_default();
        let matched = Node::map([("match", Node::text(expression))]);
        let entries = [
            ("installer", Node::map([("image", Node::text(image))])),
            (
                "provisioning",
                Node::map([("diskSelector", matched), ("wipe", Node::boolean(false))]),
            ),
        ];
        Ok(Some(document("UnattendedInstallConfig", entries)))
    }

    /// Everything of Kubernetes; a worker ends with KubePrism.
    pub(super) fn kubernetes_documents(&self) -> Vec<Node> {
        let input = self.input;
        let empty = || Node::map::<&str>([]);
        let cluster = [
            ("clusterName", Node::text(&input.cluster_name)),
            ("endpoint", Node::text(input.endpoint.as_str())),
        ];
        let mut kubelet = self.image(KUBELET);
        kubelet.push(("config", empty()));
        kubelet.push(("defaultRuntimeSeccompProfileEnabled", Node::boolean(true)));
        let network = [
            ("dnsDomain", Node::text(&input.dns_domain)),
            ("podSubnets", Node::texts(&input.pod_cidrs)),
            ("serviceSubnets", Node::texts(&input.service_cidrs)),
        ];
        let mut out = vec![
            document("KubeClusterConfig", cluster),
            document("KubeNodeConfig", self.node()),
            document("KubeletConfig", kubelet),
            document("KubeNetworkConfig", network),
            document("KubeAPIServerCAConfig", [self.kubernetes_authority()]),
        ];
        if let Some(port) = input.kube_prism_port {
            out.push(document("KubePrismConfig", [("port", Node::integer(port))]));
        }
        if self.is_control_plane() {
            out.extend(self.admission());
            out.extend(self.components());
            out.extend(self.network_plugin());
        }
        out
    }

    fn node(&self) -> Entries {
        let mut out: Entries = vec![("nodeIP", Node::map::<&str>([]))];
        if self.is_control_plane() {
            let labels = [CONTROL_PLANE, NO_LOAD_BALANCER];
            out.push(("labels", Node::map(labels.map(|l| (l, Node::text(""))))));
            if self.input.scheduling == Scheduling::WorkersOnly {
                let taint = [(CONTROL_PLANE, Node::text("NoSchedule"))];
                out.push(("taints", Node::map(taint)));
            }
        }
        out
    }

    fn kubernetes_authority(&self) -> (&'static str, Node) {
        let authority = &self.bundle.kubernetes;
        if self.is_control_plane() {
            ("issuingCA", pem_pair(authority))
        } else {
            ("acceptedCAs", Node::texts([&authority.certificate]))
        }
    }

    /// Who may do what at the Kubernetes API, and how its secrets are kept.
    fn admission(&self) -> Vec<Node> {
        let bundle = self.bundle;
        let authorizer = |name: &str, kind: &str| {
            let entries = [("name", Node::text(name)), ("type", Node::text(kind))];
            document("KubeAuthorizerConfig", entries)
        };
        let issuer = Node::map([
            ("privateKey", secret(&bundle.service_account)),
            ("issuerURL", Node::text(self.input.endpoint.as_str())),
        ]);
        vec![
            document(
                "KubeAggregatorCAConfig",
                [("issuingCA", pem_pair(&bundle.aggregator))],
            ),
            document("KubeAdmissionControlConfig", pod_security()),
            document("KubeAuditPolicyConfig", [("configuration", audit_policy())]),
            document(
                "KubeAuthenticationConfig",
                [("configuration", authentication())],
            ),
            authorizer("node", "Node"),
            authorizer("rbac", "RBAC"),
            document(
                "KubeEtcdEncryptionConfig",
                [("config", etcd_encryption(&bundle.etcd_encryption))],
            ),
            document("KubeServiceAccountConfig", [("issuer", issuer)]),
        ]
    }

    fn components(&self) -> Vec<Node> {
        let mut api_server = self.image(API_SERVER);
        if let Some(port) = self.input.local_api_server_port {
            api_server.push(("apiPort", Node::integer(port)));
        }
        if !self.input.cert_sans.is_empty() {
            api_server.push(("certExtraSANs", Node::texts(&self.input.cert_sans)));
        }
        let with_config = |mut entries: Entries| {
            entries.push(("config", Node::map::<&str>([])));
            entries
        };
        let mut proxy: Entries = Vec::new();
        if self.input.kube_proxy == Toggle::Disabled {
            proxy.push(("enabled", Node::boolean(false)));
        }
        proxy.extend(self.image(PROXY));
        vec![
            document("KubeAPIServerConfig", api_server),
            document(
                "KubeControllerManagerConfig",
                self.image(CONTROLLER_MANAGER),
            ),
            document("KubeSchedulerConfig", with_config(self.image(SCHEDULER))),
            document("KubeProxyConfig", with_config(proxy)),
        ]
    }

    fn network_plugin(&self) -> Vec<Node> {
        let mut out = Vec::new();
        if self.input.cni == Cni::Flannel {
            let flannel = [
                ("backendType", Node::text("vxlan")),
                ("backendPort", Node::integer(FLANNEL_PORT)),
            ];
            out.push(document("KubeFlannelCNIConfig", flannel));
        }
        out.push(document(
            "KubeCoreDNSConfig",
            [("enabled", Node::boolean(true))],
        ));
        if let Cni::Custom(urls) = &self.input.cni {
            for (index, url) in urls.iter().enumerate() {
                // The machinery knows one URL only, and this name.
                let name = match index {
                    0 => "custom-cni".to_owned(),
                    _ => format!("custom-cni-{index}"),
                };
                let manifest = [("name", Node::text(name)), ("url", Node::text(url))];
                out.push(document("KubeExternalManifestConfig", manifest));
            }
        }
        out
    }
}

/// These documents hold certificates and keys as PEM text.
fn pem_pair(authority: &Authority) -> Node {
    Node::map([
        ("cert", Node::text(&authority.certificate)),
        ("key", secret(&authority.key)),
    ])
}

/// The older key has the older name, and the provider of the newer one.
fn etcd_encryption(encryption: &EtcdEncryption) -> Node {
    let (name, key) = match encryption {
        EtcdEncryption::Secretbox(key) => ("key2", key),
        EtcdEncryption::AesCbc(key) => ("key1", key),
    };
    let key = Node::map([("name", Node::text(name)), ("secret", secret(key))]);
    let keys = Node::map([("keys", Node::list([key]))]);
    let resource = Node::map([
        ("providers", Node::list([Node::map([("secretbox", keys)])])),
        ("resources", Node::texts(["secrets"])),
    ]);
    Node::map([("resources", Node::list([resource]))])
}

/// A text of the expression language, quoted as Go quotes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
