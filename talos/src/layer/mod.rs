//! The typed layer: what a person states in HCL, rendered to the layout that a cluster's contract has.
//!
//! Promises: the same arguments mean the same for every contract, as keys of the main document before there were
//! documents and as documents from the contract on that has them; what a contract cannot express is an error that
//! names the argument and the contract; every fault is reported, not only the first; addresses, networks and URLs are
//! read before they are written; a firewall that would cut off a known peer is an error. Not here: what no argument
//! has (write a patch), what the merged config means (see [`crate::validate`]), and where the arguments come from.

mod address;
mod args;
mod cel;
mod draft;
mod firewall;
mod kubernetes;
mod links;
mod machine;
mod names;
mod network;
mod storage;

use std::fmt;
use std::net::IpAddr;

pub use args::{
    Cluster, Component, Discovery, ExtensionService, ExtraMount, File, FileOperation,
    InlineManifest, KernelLog, KernelModule, KubeSpan, Kubelet, Node, RegistryArgs, RegistryAuth,
    TrustedRoots,
};
pub use firewall::{
    DefaultAction, Firewall, FirewallRule, Flow, Ingress, Peer, Peers, PortRange, Protocol,
};
pub use network::{
    BgpInstance, BgpNeighbor, Bond, Bridge, Dhcp, HostEntry, Interface, Link, LinkKind,
    LinkSelector, NeighborPlace, Network, Route, Vip, Vlan,
};
pub use storage::{Encryption, EncryptionKey, Provisioning, SystemVolume, UserVolume, VolumeDisk};

use crate::config::{GenerateError, Input, MachineConfig, generate, style};
use crate::patch::{PatchError, apply};
use crate::secrets::Bundle;
use crate::version::{Contract, Generator};
use crate::yaml::emit_documents;
pub(crate) use cel::disk as disk_expression;
use draft::Draft;

/// All arguments of one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What it shares with the other nodes of its cluster.
    pub cluster: Cluster,
    /// What is its own.
    pub node: Node,
}

/// An argument that cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerFault {
    /// The contract has nothing that says it.
    Contract {
        /// The argument.
        argument: String,
        /// The cluster's contract.
        contract: Contract,
        /// The minor version of the first contract that has it; absent where later ones lost it.
        since: Option<u16>,
        /// What can be done in its place.
        instead: &'static str,
    },
    /// The value cannot be used.
    Invalid {
        /// The argument.
        argument: String,
        /// Why, without the value.
        reason: String,
    },
    /// The ingress firewall would cut peers off.
    CutOff {
        /// Who.
        peer: Peer,
        /// From what.
        flow: Flow,
        /// Their addresses.
        cut: Vec<IpAddr>,
    },
}

impl LayerFault {
    /// The argument that it is about.
    pub fn argument(&self) -> &str {
        match self {
            Self::Contract { argument, .. } | Self::Invalid { argument, .. } => argument,
            Self::CutOff { .. } => "ingress_firewall",
        }
    }
}

impl fmt::Display for LayerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contract {
                argument,
                contract,
                since: Some(since),
                instead,
            } => write!(
                f,
                "{argument}: the contract {contract} cannot express it, v1.{since} is the first that can; {instead}"
            ),
            Self::Contract {
                argument,
                contract,
                since: None,
                instead,
            } => write!(
                f,
                "{argument}: the contract {contract} cannot express it any more; {instead}"
            ),
            Self::Invalid { argument, reason } => write!(f, "{argument}: {reason}"),
            Self::CutOff { peer, flow, cut } => {
                let Flow {
                    port,
                    protocol,
                    service,
                } = flow;
                let protocol = protocol.as_str();
                let addresses: Vec<String> = cut.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "ingress_firewall: it would cut off {peer} {} from {service} on port {port}/{protocol}; add a rule that lets it in",
                    addresses.join(", ")
                )
            }
        }
    }
}

/// Why there is no config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// Arguments that cannot be rendered, all of them.
    #[error("{}", Faults(.0))]
    Arguments(Vec<LayerFault>),
    /// Generation refused its inputs.
    #[error("the config cannot be generated: {0}")]
    Generate(GenerateError),
    /// The rendered patch was refused.
    #[error("the arguments cannot be merged: {0}")]
    Patch(PatchError),
}

struct Faults<'a>(&'a [LayerFault]);

impl fmt::Display for Faults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl Layer {
    /// The node's config: generated, with the arguments merged in. User patches come after it.
    ///
    /// # Errors
    /// Every argument that cannot be rendered, or what generation refuses.
    pub fn render(
        &self,
        generator: Generator,
        contract: Contract,
        bundle: &Bundle,
        peers: &Peers,
    ) -> Result<MachineConfig, LayerError> {
        let patch = self
            .patch(generator, contract, peers)
            .map_err(LayerError::Arguments)?;
        let config =
            generate(&self.input(generator, contract), bundle).map_err(LayerError::Generate)?;
        match patch {
            Some(patch) => apply(generator, &config, &[patch]).map_err(LayerError::Patch),
            None => Ok(config),
        }
    }

    /// The inputs of generation that the arguments state.
    pub fn input(&self, generator: Generator, contract: Contract) -> Input {
        let Self { cluster, node } = self;
        let mut input = Input::new(
            contract,
            node.role,
            &cluster.name,
            cluster.endpoint.clone(),
            &cluster.kubernetes_version,
        );
        input.generator = generator;
        input.hostname.clone_from(&node.hostname);
        input.install = node.install.clone();
        if let Some(domain) = &cluster.dns_domain {
            input.dns_domain.clone_from(domain);
        }
        if !cluster.pod_cidrs.is_empty() {
            input.pod_cidrs.clone_from(&cluster.pod_cidrs);
        }
        if !cluster.service_cidrs.is_empty() {
            input.service_cidrs.clone_from(&cluster.service_cidrs);
        }
        input.cni = cluster.cni.clone();
        input.kube_proxy = cluster.kube_proxy;
        input.discovery = cluster.discovery.state;
        input.kubespan = cluster.kubespan.as_ref().map(|k| k.state);
        input.cert_sans.clone_from(&cluster.cert_sans);
        input.sysctls = node.sysctls.clone();
        input.scheduling = node.scheduling;
        input
    }

    /// What generation has no input for, as one strategic merge patch; nothing where there is nothing to say.
    ///
    /// # Errors
    /// Every argument that cannot be rendered.
    pub fn patch(
        &self,
        generator: Generator,
        contract: Contract,
        peers: &Peers,
    ) -> Result<Option<String>, Vec<LayerFault>> {
        let Self { cluster, node } = self;
        let mut draft = Draft::new(contract, node.role);
        subnets(cluster, &mut draft);
        links::render(&node.network, &mut draft);
        names::render(&node.network, &mut draft);
        machine::render(node, &mut draft);
        kubernetes::render(cluster, node, &mut draft);
        storage::render(&node.system_volumes, &node.volumes, &mut draft);
        if let Some(firewall) = &node.firewall {
            firewall::render(firewall, cluster, peers, &mut draft);
        }
        let documents = draft.finish()?;
        Ok((!documents.is_empty()).then(|| emit_documents(&documents, style(generator))))
    }
}

fn subnets(cluster: &Cluster, draft: &mut Draft) {
    for (argument, networks) in [
        ("pod_cidrs", &cluster.pod_cidrs),
        ("service_cidrs", &cluster.service_cidrs),
    ] {
        for (index, network) in networks.iter().enumerate() {
            if address::Prefix::parse(network).is_none() {
                let reason = "it must be a network like 10.244.0.0/16";
                draft.invalid(format!("{argument}[{index}]"), reason);
            }
        }
    }
}

#[cfg(test)]
mod tests;
