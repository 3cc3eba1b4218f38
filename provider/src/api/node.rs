//! Nodes, and the facts of their cluster.

use metal_proto::metal::v1 as pb;
use tfplugin::{Diagnostic, Field};

use super::{named, range, range_text, remarks};
use crate::client::{CallError, Client};
use crate::fields::{entries, said, some, text, texts};
use crate::range::Counts;
use crate::resource::facts::{Cni, Facts};
use crate::resource::machine_config::schema::{
    InstallDisk, MachineConfig, Network, Node, Role, WipeTarget,
};

/// What a change does.
pub(crate) struct NodePlan {
    pub(crate) change: String,
    pub(crate) wipe_targets: Vec<WipeTarget>,
    pub(crate) remarks: Vec<Diagnostic>,
}

/// What bootd would do. `contract` and `claim` are those of this plan, where they are new in it.
pub(crate) async fn plan_node(
    client: &Client,
    what: &str,
    node: &MachineConfig,
    contract: String,
    claim: Option<pb::ClaimConfig>,
) -> Result<NodePlan, CallError> {
    let request = pb::PlanNodeRequest {
        config: Some(config(node)),
        planned_contract: contract,
        planned_claim: claim,
    };
    let answer = client.plan_node(request).await?;
    let change = match answer.change() {
        pb::Change::Unspecified | pb::Change::None => "none",
        pb::Change::Apply => "apply",
        pb::Change::Reboot => "reboot",
        pb::Change::Upgrade => "upgrade",
        pb::Change::Reinstall => "reinstall",
        pb::Change::Install => "install",
    };
    Ok(NodePlan {
        change: change.to_owned(),
        wipe_targets: answer.wipe_targets.into_iter().map(target).collect(),
        remarks: remarks(what, client, answer.remarks),
    })
}

/// States a node; the disks that it destroys are those that the plan showed.
pub(crate) async fn put_node(
    client: &Client,
    node: &MachineConfig,
    targets: &[WipeTarget],
) -> Result<(), CallError> {
    let expected_wipe_targets = targets.iter().map(expected).collect();
    client
        .put_node(pb::PutNodeRequest {
            config: Some(config(node)),
            expected_wipe_targets,
        })
        .await
        .map(|_| ())
}

/// The node as bootd has it; what means the same as in `prior` is left as written there.
pub(crate) async fn read_node(
    client: &Client,
    prior: &MachineConfig,
) -> Result<MachineConfig, CallError> {
    let id = text(&prior.id);
    let seen = client.read_node(named(&id)).await?;
    let stated = seen.config.unwrap_or_default();
    let mut node = if stated == config(prior) {
        prior.clone()
    } else {
        declared(&stated)
    };
    node.node = Node {
        id: id.clone().into(),
        name: node.name.clone(),
        role: node.role.clone().map(|r| r.as_str().to_owned()),
        server_id: node.server_id.clone(),
    }
    .into();
    node.id = id.into();
    // An address that is not known for a moment is not forgotten.
    node.address = if seen.address.is_empty() {
        prior.address.clone().into_known().into()
    } else {
        seen.address.into()
    };
    let kept = |f: &Field<String>| f.clone().into_known().unwrap_or_else(|| "none".to_owned());
    node.change = kept(&prior.change).into();
    node.wipe_targets = prior
        .wipe_targets
        .clone()
        .into_known()
        .unwrap_or_default()
        .into();
    Ok(node)
}

pub(crate) async fn delete_node(client: &Client, id: &str) -> Result<(), CallError> {
    match client.delete_node(named(id)).await {
        Ok(_) | Err(CallError::Gone) => Ok(()),
        Err(other) => Err(other),
    }
}

/// The facts of a cluster.
pub(super) fn facts(facts: &Facts) -> pb::ClusterFacts {
    let cni = facts.cni.known().map(|c| c.as_str().to_owned());
    pb::ClusterFacts {
        name: facts.cluster_name().cloned().unwrap_or_default(),
        secrets_id: text(&facts.secrets_id),
        endpoint: text(&facts.endpoint),
        kubernetes_version: text(&facts.kubernetes_version),
        cni: cni.unwrap_or_default(),
        kube_proxy: facts.kube_proxy.known().copied(),
        pod_cidrs: texts(&facts.pod_cidrs),
        service_cidrs: texts(&facts.service_cidrs),
        dns_domain: text(&facts.dns_domain),
        cert_sans: texts(&facts.cert_sans),
        patches: texts(&facts.patches),
    }
}

/// The facts as a user would write them.
pub(super) fn facts_declared(f: &pb::ClusterFacts) -> Facts {
    Facts {
        secrets_id: said(f.secrets_id.clone()),
        endpoint: said(f.endpoint.clone()),
        kubernetes_version: said(f.kubernetes_version.clone()),
        name: if f.name == f.secrets_id {
            Field::Null
        } else {
            said(f.name.clone())
        },
        cni: f.cni.parse::<Cni>().ok().into(),
        kube_proxy: f.kube_proxy.into(),
        pod_cidrs: some(f.pod_cidrs.clone()),
        service_cidrs: some(f.service_cidrs.clone()),
        dns_domain: said(f.dns_domain.clone()),
        cert_sans: some(f.cert_sans.clone()),
        patches: some(f.patches.clone()),
    }
}

fn config(node: &MachineConfig) -> pb::NodeConfig {
    let role = match node.role.known() {
        Some(Role::ControlPlane) => pb::Role::Controlplane,
        Some(Role::Worker) => pb::Role::Worker,
        None => pb::Role::Unspecified,
    };
    let disk = node.install_disk.known().map(|d| pb::InstallDisk {
        serial: text(&d.serial),
        wwid: text(&d.wwid),
        r#type: d
            .r#type
            .known()
            .map(|t| t.as_str().to_owned())
            .unwrap_or_default(),
        bytes: range(&d.size, Counts::Bytes),
        model: text(&d.model),
    });
    let network = node.network.known().map(|n| pb::Network {
        nameservers: texts(&n.nameservers),
        vip: text(&n.vip),
        time_servers: texts(&n.time_servers),
    });
    pb::NodeConfig {
        cluster: node.cluster.known().map(facts),
        name: text(&node.name),
        hostname: text(&node.hostname),
        role: role.into(),
        server_id: text(&node.server_id),
        image_id: text(&node.image_id),
        install_disk: disk,
        network,
        labels: node
            .labels
            .known()
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .collect(),
        patches: texts(&node.patches),
    }
}

fn declared(c: &pb::NodeConfig) -> MachineConfig {
    let role = match c.role() {
        pb::Role::Controlplane => Some(Role::ControlPlane),
        pb::Role::Worker => Some(Role::Worker),
        pb::Role::Unspecified => None,
    };
    let disk = c.install_disk.as_ref().map(|d| InstallDisk {
        serial: said(d.serial.clone()),
        wwid: said(d.wwid.clone()),
        r#type: d.r#type.parse().ok().into(),
        size: range_text(d.bytes.as_ref(), Counts::Bytes),
        model: said(d.model.clone()),
    });
    let network = c.network.as_ref().map(|n| Network {
        nameservers: some(n.nameservers.clone()),
        vip: said(n.vip.clone()),
        time_servers: some(n.time_servers.clone()),
    });
    MachineConfig {
        cluster: c.cluster.as_ref().map(facts_declared).into(),
        name: said(c.name.clone()),
        hostname: said(c.hostname.clone()),
        role: role.into(),
        server_id: said(c.server_id.clone()),
        image_id: said(c.image_id.clone()),
        install_disk: disk.into(),
        network: network.into(),
        labels: entries(
            c.labels
                .iter()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        ),
        patches: some(c.patches.clone()),
        ..MachineConfig::default()
    }
}

fn target(t: pb::WipeTarget) -> WipeTarget {
    WipeTarget {
        disk: t.disk.into(),
        serial: t.serial.into(),
        wwid: t.wwid.into(),
        size: t.bytes.into(),
        model: t.model.into(),
        content: t.content.into(),
        fingerprint: t.fingerprint.into(),
    }
}

fn expected(t: &WipeTarget) -> pb::WipeTarget {
    pb::WipeTarget {
        disk: text(&t.disk),
        serial: text(&t.serial),
        wwid: text(&t.wwid),
        bytes: t.size.known().copied().unwrap_or_default(),
        model: text(&t.model),
        content: text(&t.content),
        fingerprint: text(&t.fingerprint),
    }
}
