//! What `talos_machine_config` may hold.

use std::collections::BTreeMap;

use tfplugin::schema::{Rule, Schema, validators};
use tfplugin::{Timeouts, choices, model};

use crate::resource::class::schema::{DiskType, size};
use crate::resource::facts::Facts;
use crate::resource::name;

choices! {
    /// What a node does.
    pub(crate) enum Role {
        /// Runs etcd and the Kubernetes API.
        ControlPlane = "controlplane",
        /// Runs workloads.
        Worker = "worker",
    }
}

model! {
    /// The disk that Talos is installed to. It must name exactly one disk of the server.
    pub(crate) struct InstallDisk {
        /// Serial number.
        pub(crate) serial: String = optional().validate(validators::not_empty()),
        /// World-wide id.
        pub(crate) wwid: String = optional().validate(validators::not_empty()),
        /// Kind of disk.
        pub(crate) r#type: DiskType = optional(),
        /// Size range, for example `">= 100GB"`.
        pub(crate) size: String = optional().validate(size()),
        /// Model, with `*` and `?`.
        pub(crate) model: String = optional().validate(validators::not_empty()),
    }
}

impl InstallDisk {
    fn says_something() -> Rule {
        Rule::at_least_one_of([
            Self::serial.name(),
            Self::wwid.name(),
            Self::r#type.name(),
            Self::size.name(),
            Self::model.name(),
        ])
    }
}

model! {
    /// The node's network.
    pub(crate) struct Network {
        /// Addresses of name servers.
        pub(crate) nameservers: Vec<String> = optional(),
        /// Address that the control planes share. Ignored on workers, so that one block serves both.
        pub(crate) vip: String = optional(),
        /// Time servers.
        pub(crate) time_servers: Vec<String> = optional(),
    }
}

model! {
    /// The node, for `talos_cluster`.
    pub(crate) struct Node {
        /// `CLUSTER/NODE`.
        pub(crate) id: String = computed(),
        /// Name of the node.
        pub(crate) name: String = computed(),
        /// Role.
        pub(crate) role: String = computed(),
        /// The server it runs on.
        pub(crate) server_id: String = computed(),
    }
}

model! {
    /// A disk that the change destroys.
    pub(crate) struct WipeTarget {
        /// Device name as last seen, for people.
        pub(crate) disk: String = computed(),
        /// Serial number.
        pub(crate) serial: String = computed(),
        /// World-wide id.
        pub(crate) wwid: String = computed(),
        /// Size in bytes.
        pub(crate) size: u64 = computed(),
        /// Model.
        pub(crate) model: String = computed(),
        /// `blank`, or what was found on it.
        pub(crate) content: String = computed(),
        /// Of the content, as the plan saw it: apply refuses another one.
        pub(crate) fingerprint: String = computed(),
    }
}

model! {
    /// One node.
    pub(crate) struct MachineConfig {
        /// `CLUSTER/NODE`; known at plan.
        pub(crate) id: String = computed().use_state_for_unknown(),
        /// What all nodes of the cluster have in common.
        pub(crate) cluster: Facts = required(),
        /// Name of the node in its cluster.
        pub(crate) name: String = required().requires_replace().validate(name()),
        /// Host name, if it is not `name`. Changes in place.
        pub(crate) hostname: String = optional(),
        /// What the node does.
        pub(crate) role: Role = required().requires_replace(),
        /// The server that it runs on: `server_id` of a `metal_server_claim`.
        pub(crate) server_id: String = required().requires_replace(),
        /// `id` of the `metal_image`.
        pub(crate) image_id: String = required(),
        /// The disk that Talos is installed to.
        pub(crate) install_disk: InstallDisk = required()
            .rule(InstallDisk::says_something()),
        /// The node's network.
        pub(crate) network: Network = optional(),
        /// Labels of the Kubernetes node.
        pub(crate) labels: BTreeMap<String, String> = optional(),
        /// Patches, in order, after the cluster's: strategic merge YAML.
        pub(crate) patches: Vec<String> = optional(),
        /// The node, for `nodes` of `talos_cluster`.
        pub(crate) node: Node = computed().use_state_for_unknown(),
        /// What the plan does to the machine: `none`, `apply`, `reboot`, `upgrade`, `reinstall` or `install`.
        pub(crate) change: String = computed(),
        /// The disks that the change destroys, and what is on them.
        pub(crate) wipe_targets: Vec<WipeTarget> = computed(),
        /// The node's address, once it runs.
        pub(crate) address: String = computed().use_state_for_unknown(),
        /// How long each operation may take. Default: create 45m, update 45m, delete 20m.
        pub(crate) timeouts: Timeouts = optional().local(),
    }
}

pub(super) fn schema() -> Schema {
    Schema::of::<MachineConfig>(
        "One Talos node on a claimed server.\n\n\
         **Time:** creation boots the machine, installs Talos, and waits for evidence that it booted from its disk (typically 5 to 15 minutes). \
         It does not wait for the cluster: a node is installed before its cluster is bootstrapped. \
         An interrupted creation goes on in bootd, and the next apply continues there. \
         **Destroy:** the node leaves its cluster and is unbound from the server; no disk is erased (the claim's deletion does that).",
    )
}
