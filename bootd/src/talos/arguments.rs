//! A node's arguments as `metal.v1` states them, in the words of the typed layer of `talos`.
//!
//! Promises: a word that the layer does not have is an error that names the argument. Deliberately not here: what the arguments
//! mean in a contract ([`talos::layer`]), and which disk is chosen ([`super::disks`]).

use metal_proto::metal::v1::{ClusterFacts, ErrorDetail, Network, NodeConfig, Role};
use talos::config::{self, Cni, Endpoint, Install, Toggle};
use talos::layer::{self, Layer, LayerFault, Vip};

use super::refusal::refusal;

/// All arguments of a node.
pub(super) fn layer(node: &NodeConfig, install: Install) -> Result<Layer, ErrorDetail> {
    let role = match node.role() {
        Role::Controlplane => config::Role::ControlPlane,
        Role::Worker => config::Role::Worker,
        Role::Unspecified => {
            let why = "A node is a controlplane or a worker.";
            return Err(refusal("bad-role", "The role is missing", why, "role"));
        }
    };
    let mut out = layer::Node::new(role);
    out.hostname = Some(match node.hostname.as_str() {
        "" => node.name.clone(),
        name => name.to_owned(),
    });
    out.install = install;
    out.network = network(&node.network.clone().unwrap_or_default());
    out.labels = node.labels.clone().into_iter().collect();
    Ok(Layer {
        cluster: cluster(node.cluster.clone().unwrap_or_default())?,
        node: out,
    })
}

fn cluster(facts: ClusterFacts) -> Result<layer::Cluster, ErrorDetail> {
    let endpoint = Endpoint::parse(&facts.endpoint).map_err(|e| {
        let at = "cluster.endpoint";
        refusal(
            "bad-endpoint",
            "The endpoint cannot be used",
            &e.to_string(),
            at,
        )
    })?;
    let mut out = layer::Cluster::new(facts.name, endpoint, facts.kubernetes_version);
    out.cni = match facts.cni.as_str() {
        "" | "flannel" => Cni::Flannel,
        "none" => Cni::None,
        other => {
            let why = format!("`{other}` is neither flannel nor none.");
            return Err(refusal(
                "bad-cni",
                "The CNI is not known",
                &why,
                "cluster.cni",
            ));
        }
    };
    if facts.kube_proxy == Some(false) {
        out.kube_proxy = Toggle::Disabled;
    }
    out.pod_cidrs = facts.pod_cidrs;
    out.service_cidrs = facts.service_cidrs;
    out.dns_domain = stated(&facts.dns_domain);
    out.cert_sans = facts.cert_sans;
    Ok(out)
}

fn network(words: &Network) -> layer::Network {
    layer::Network {
        nameservers: words.nameservers.clone(),
        time_servers: words.time_servers.clone(),
        vip: stated(&words.vip).map(Vip::Layer2),
        ..layer::Network::default()
    }
}

/// The argument that a fault of the layer is about, as the resource has it.
pub(super) fn attribute(fault: &LayerFault) -> String {
    let argument = fault.argument();
    let word = argument.split(['.', '[']).next().unwrap_or_default();
    let shared = [
        "pod_cidrs",
        "service_cidrs",
        "discovery",
        "kubespan",
        "inline_manifests",
        "extra_manifests",
    ];
    if shared.contains(&word) {
        format!("cluster.{argument}")
    } else {
        argument.to_owned()
    }
}

fn stated(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
