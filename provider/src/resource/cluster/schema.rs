//! What `talos_cluster` may hold.

use std::collections::BTreeMap;

use tfplugin::schema::Schema;
use tfplugin::{Timeouts, choices, model};

use crate::resource::facts::Facts;
pub(crate) use crate::resource::machine_config::schema::Role;

choices! {
    /// How far Kubernetes must be.
    pub(crate) enum Level {
        /// etcd is bootstrapped.
        None = "none",
        /// Every node's Talos API answers as a member of the cluster.
        Talos = "talos",
        /// The Kubernetes API answers; comes later.
        Api = "api",
        /// Every Kubernetes node is ready; comes later.
        NodesReady = "nodes_ready",
    }
}

model! {
    /// A node: `node` of a `talos_machine_config`.
    pub(crate) struct Member {
        /// `CLUSTER/NODE`.
        pub(crate) id: String = required(),
        /// Name of the node.
        pub(crate) name: String = required(),
        /// Role.
        pub(crate) role: Role = required(),
        /// The server it runs on.
        pub(crate) server_id: String = optional(),
    }
}

model! {
    /// What creation and update wait for, besides the bootstrap.
    pub(crate) struct WaitFor {
        /// How far Kubernetes must be: `none` or `talos`; `api` and `nodes_ready` come later.
        pub(crate) kubernetes: Level = optional().default("talos"),
    }
}

model! {
    /// A cluster.
    pub(crate) struct Cluster {
        /// The cluster's name; known after its first creation.
        pub(crate) id: String = computed().use_state_for_unknown(),
        /// What all nodes have in common: the same value as in the nodes.
        pub(crate) cluster: Facts = required(),
        /// The nodes: `{ for k, c in talos_machine_config.n : k => c.node }`.
        pub(crate) nodes: BTreeMap<String, Member> = required(),
        /// What is waited for besides the bootstrap.
        pub(crate) wait_for: WaitFor = optional(),
        /// Allow an even number of control planes.
        pub(crate) allow_even: bool = optional().default(false).local(),
        /// Refuse deletion.
        pub(crate) deletion_protection: bool = optional().default(false),
        /// Certificate of the Talos API's authority, PEM. Public.
        pub(crate) ca_certificate: String = computed().use_state_for_unknown(),
        /// How long each operation may take. Default: 30m, delete 20m.
        pub(crate) timeouts: Timeouts = optional().local(),
    }
}

pub(super) fn schema() -> Schema {
    Schema::of::<Cluster>(
        "A cluster out of installed nodes: bootstraps etcd exactly once.\n\n\
         **Time:** waits until etcd is bootstrapped and `wait_for` is reached (minutes). \
         **Destroy:** the cluster dissolves: its nodes are then removed without draining and without leaving etcd. \
         Clients are given out by `metalctl kubeconfig|talosconfig CLUSTER`; none is in the state.",
    )
}
