//! Clusters.

use std::collections::BTreeMap;

use metal_proto::metal::v1 as pb;
use tfplugin::Field;

use super::named;
use super::node::{facts, facts_declared};
use crate::client::{CallError, Client};
use crate::fields::{said, text};
use crate::resource::cluster::schema::{Cluster, Level, Member, Role, WaitFor};

/// States a cluster; its authority's certificate comes back, where it is made already.
pub(crate) async fn put_cluster(
    client: &Client,
    cluster: &Cluster,
) -> Result<Field<String>, CallError> {
    client
        .put_cluster(config(cluster))
        .await
        .map(|c| said(c.ca_certificate))
}

/// The cluster as bootd has it; what means the same as in `prior` is left as written there.
pub(crate) async fn read_cluster(client: &Client, prior: &Cluster) -> Result<Cluster, CallError> {
    let id = text(&prior.id);
    let seen = client.read_cluster(named(&id)).await?;
    let stated = seen.config.unwrap_or_default();
    let mut cluster = prior.clone();
    if stated != config(prior) {
        cluster = declared(client, &stated).await?;
        cluster.allow_even = prior.allow_even.clone();
    }
    cluster.id = id.into();
    cluster.ca_certificate = said(seen.ca_certificate);
    Ok(cluster)
}

pub(crate) async fn delete_cluster(client: &Client, id: &str) -> Result<(), CallError> {
    match client.delete_cluster(named(id)).await {
        Ok(_) | Err(CallError::Gone) => Ok(()),
        Err(other) => Err(other),
    }
}

fn config(cluster: &Cluster) -> pb::ClusterConfig {
    let level = cluster.wait_for.known().and_then(|w| w.kubernetes.known());
    let wait = match level {
        Some(Level::None) => pb::KubernetesWait::None,
        Some(Level::Talos | Level::Api | Level::NodesReady) | None => pb::KubernetesWait::Talos,
    };
    let nodes = cluster.nodes.known().into_iter().flatten();
    pb::ClusterConfig {
        facts: cluster.cluster.known().map(facts),
        nodes: nodes.map(|(k, n)| (k.clone(), text(&n.id))).collect(),
        wait_for_kubernetes: wait.into(),
        deletion_protection: cluster
            .deletion_protection
            .known()
            .copied()
            .unwrap_or_default(),
    }
}

async fn declared(client: &Client, c: &pb::ClusterConfig) -> Result<Cluster, CallError> {
    let ids: BTreeMap<_, _> = c.nodes.clone().into_iter().collect();
    let mut nodes = BTreeMap::new();
    for (key, id) in ids {
        nodes.insert(key, member(client, id).await?);
    }
    let level = match c.wait_for_kubernetes() {
        pb::KubernetesWait::None => Some(Level::None),
        pb::KubernetesWait::Talos | pb::KubernetesWait::Unspecified => None,
    };
    Ok(Cluster {
        cluster: c.facts.as_ref().map(facts_declared).into(),
        nodes: nodes.into(),
        wait_for: level
            .map(|l| WaitFor {
                kubernetes: l.into(),
            })
            .into(),
        deletion_protection: c.deletion_protection.into(),
        ..Cluster::default()
    })
}

/// A node that is gone meanwhile is shown with what its id says.
async fn member(client: &Client, id: String) -> Result<Member, CallError> {
    let name = id.rsplit('/').next().unwrap_or_default().to_owned();
    let config = match client.read_node(named(&id)).await {
        Ok(node) => node.config.unwrap_or_default(),
        Err(CallError::Gone) => pb::NodeConfig::default(),
        Err(other) => return Err(other),
    };
    let role = match config.role() {
        pb::Role::Controlplane => Some(Role::ControlPlane),
        pb::Role::Worker => Some(Role::Worker),
        pb::Role::Unspecified => None,
    };
    Ok(Member {
        id: id.into(),
        name: name.into(),
        role: role.into(),
        server_id: said(config.server_id),
    })
}
