//! How the simulated Talos nodes of one rack find each other: the discovery service, and what they would ask of each other over
//! the network (trustd's certificates, etcd's membership).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// A node as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affiliate {
    /// Node id.
    pub id: String,
    /// Host name.
    pub hostname: String,
    /// Address.
    pub address: Ipv4Addr,
    /// Control plane or worker.
    pub role: Role,
    /// `v1.13.9`.
    pub version: String,
    /// On a running control plane: what its trustd signs with.
    pub trustd: Option<Trustd>,
    /// Its etcd, while it runs.
    pub etcd: Option<u64>,
}

/// Role of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs etcd and the API server.
    ControlPlane,
    /// Runs workloads.
    Worker,
}

impl Role {
    /// As Talos spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "controlplane",
            Self::Worker => "worker",
        }
    }
}

/// What a control plane's trustd needs to sign the certificate of another node.
#[derive(Clone, PartialEq, Eq)]
pub struct Trustd {
    /// Callers must show it.
    pub token: String,
    /// Machine CA, PEM.
    pub ca_pem: String,
    /// Its key, PEM.
    pub key_pem: String,
}

impl std::fmt::Debug for Trustd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trustd(secret)")
    }
}

/// Clusters by id, nodes by id.
type Clusters = BTreeMap<String, BTreeMap<String, Affiliate>>;

/// The service.
#[derive(Debug, Default)]
pub struct Discovery {
    clusters: Mutex<Clusters>,
    changed: watch::Sender<u64>,
}

impl Discovery {
    /// Makes a node known, or changes what is known.
    pub fn put(&self, cluster: &str, node: Affiliate) {
        self.change(|clusters| {
            clusters
                .entry(cluster.to_owned())
                .or_default()
                .insert(node.id.clone(), node);
        });
    }

    /// Forgets a node.
    pub fn remove(&self, cluster: &str, id: &str) {
        self.change(|clusters| {
            if let Some(nodes) = clusters.get_mut(cluster) {
                nodes.remove(id);
            }
        });
    }

    /// The nodes of a cluster, in the order of their ids.
    pub fn nodes(&self, cluster: &str) -> Vec<Affiliate> {
        self.lock()
            .get(cluster)
            .map(|nodes| nodes.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Grows with every change.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn change(&self, how: impl FnOnce(&mut Clusters)) {
        let before = self.lock().clone();
        how(&mut self.lock());
        if *self.lock() != before {
            self.changed.send_modify(|n| *n += 1);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Clusters> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
