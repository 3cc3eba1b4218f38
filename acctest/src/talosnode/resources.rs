//! The node's resource state (COSI): what reads and watches see. Specs are YAML; the protobuf form stays empty.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use metal_proto::talos::cosi::resource as cosi;
use tokio::sync::broadcast;

use super::clock;

/// A type of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Type {
    /// Full name.
    pub name: &'static str,
    /// Default namespace.
    pub namespace: &'static str,
    /// Name for people.
    pub display: &'static str,
    /// Controller that owns its resources.
    pub owner: &'static str,
    /// Who may read it.
    pub reads: Reads,
}

/// Who may read a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Everybody who may log in.
    All,
    /// `os:admin` only.
    Admin,
}

const fn public(
    name: &'static str,
    namespace: &'static str,
    display: &'static str,
    owner: &'static str,
) -> Type {
    Type {
        name,
        namespace,
        display,
        owner,
        reads: Reads::All,
    }
}

const fn secret(
    name: &'static str,
    namespace: &'static str,
    display: &'static str,
    owner: &'static str,
) -> Type {
    Type {
        name,
        namespace,
        display,
        owner,
        reads: Reads::Admin,
    }
}

/// The types that a simulated node has.
pub const TYPES: &[Type] = &[
    public(
        "MachineStatuses.runtime.talos.dev",
        "runtime",
        "MachineStatus",
        "runtime.MachineStatusController",
    ),
    public(
        "Members.cluster.talos.dev",
        "cluster",
        "Member",
        "cluster.MemberController",
    ),
    public(
        "Affiliates.cluster.talos.dev",
        "cluster",
        "Affiliate",
        "cluster.AffiliateMergeController",
    ),
    public(
        "NodeAddresses.net.talos.dev",
        "network",
        "NodeAddress",
        "network.NodeAddressController",
    ),
    public(
        "HostnameStatuses.net.talos.dev",
        "network",
        "HostnameStatus",
        "network.HostnameSpecController",
    ),
    public(
        "Disks.block.talos.dev",
        "runtime",
        "Disk",
        "block.DisksController",
    ),
    public(
        "SystemInformations.hardware.talos.dev",
        "hardware",
        "SystemInformation",
        "hardware.SystemInfoController",
    ),
    public(
        "KernelCmdlines.runtime.talos.dev",
        "runtime",
        "KernelCmdline",
        "runtime.KernelCmdlineController",
    ),
    public(
        "Services.v1alpha1.talos.dev",
        "runtime",
        "Service",
        "v1alpha1.ServiceController",
    ),
    public(
        "MachineTypes.config.talos.dev",
        "config",
        "MachineType",
        "config.MachineTypeController",
    ),
    public(
        "Versions.runtime.talos.dev",
        "runtime",
        "Version",
        "runtime.VersionController",
    ),
    public(
        "ExtensionStatuses.runtime.talos.dev",
        "runtime",
        "ExtensionStatus",
        "runtime.ExtensionStatusController",
    ),
    public(
        "EtcdMembers.etcd.talos.dev",
        "etcd",
        "EtcdMember",
        "etcd.MemberController",
    ),
    secret(
        "MachineConfigs.config.talos.dev",
        "config",
        "MachineConfig",
        "config.MachineConfigController",
    ),
    secret(
        "OSRootSecrets.secrets.talos.dev",
        "secrets",
        "OSRootSecret",
        "secrets.RootController",
    ),
    secret(
        "LinkSpecs.net.talos.dev",
        "network",
        "LinkSpec",
        "network.LinkMergeController",
    ),
];
/// The type that lists types.
pub const DEFINITIONS: &str = "ResourceDefinitions.meta.cosi.dev";

/// A change.
#[derive(Debug, Clone)]
pub struct Change {
    /// What happened.
    pub kind: cosi::EventType,
    /// The resource now, or at its end.
    pub resource: cosi::Resource,
    /// What it was before.
    pub old: Option<cosi::Resource>,
}

type Key = (&'static str, String);

/// Everything that the node knows.
#[derive(Debug)]
pub struct Resources {
    all: Mutex<BTreeMap<Key, cosi::Resource>>,
    changes: broadcast::Sender<Change>,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            all: Mutex::default(),
            changes: broadcast::Sender::new(1024),
        }
    }
}

impl Resources {
    /// Makes or changes a resource; nothing happens if it is the same already.
    pub fn put(&self, kind: &'static str, id: &str, yaml: String) {
        let Some(of) = TYPES.iter().find(|t| t.name == kind) else {
            return;
        };
        let now = clock::timestamp(SystemTime::now());
        let mut all = self.lock();
        let old = all.get(&(of.name, id.to_owned())).cloned();
        if old
            .as_ref()
            .is_some_and(|old| old.spec.as_ref().is_some_and(|s| s.yaml_spec == yaml))
        {
            return;
        }
        let before = old.as_ref().and_then(|old| old.metadata.as_ref());
        let version = before
            .and_then(|m| m.version.parse::<u64>().ok())
            .unwrap_or(0)
            + 1;
        let resource = cosi::Resource {
            metadata: Some(cosi::Metadata {
                namespace: of.namespace.to_owned(),
                r#type: of.name.to_owned(),
                id: id.to_owned(),
                version: version.to_string(),
                owner: of.owner.to_owned(),
                phase: "running".to_owned(),
                created: before.and_then(|m| m.created).or(Some(now)),
                updated: Some(now),
                ..cosi::Metadata::default()
            }),
            spec: Some(cosi::Spec {
                proto_spec: Vec::new(),
                yaml_spec: yaml,
            }),
        };
        all.insert((of.name, id.to_owned()), resource.clone());
        let kind = if old.is_some() {
            cosi::EventType::Updated
        } else {
            cosi::EventType::Created
        };
        // Nobody watches: nobody is told.
        drop(self.changes.send(Change {
            kind,
            resource,
            old,
        }));
    }

    /// Removes a resource.
    pub fn remove(&self, kind: &'static str, id: &str) {
        let mut all = self.lock();
        if let Some(resource) = all.remove(&(kind, id.to_owned())) {
            let kind = cosi::EventType::Destroyed;
            drop(self.changes.send(Change {
                kind,
                resource,
                old: None,
            }));
        }
    }

    /// Ids of a type.
    pub fn ids(&self, kind: &str) -> Vec<String> {
        let all = self.lock();
        all.keys()
            .filter(|(t, _)| *t == kind)
            .map(|(_, id)| id.clone())
            .collect()
    }

    /// One resource.
    pub fn find(&self, kind: &str, id: &str) -> Option<cosi::Resource> {
        self.list(kind)
            .into_iter()
            .find(|r| r.metadata.as_ref().is_some_and(|m| m.id == id))
    }

    /// All of a type.
    pub fn list(&self, kind: &str) -> Vec<cosi::Resource> {
        if kind == DEFINITIONS {
            return TYPES.iter().map(definition).collect();
        }
        let all = self.lock();
        all.iter()
            .filter(|((t, _), _)| *t == kind)
            .map(|(_, r)| r.clone())
            .collect()
    }

    /// What is there now and what comes, without a gap.
    pub fn watch(&self, kind: &str) -> (Vec<cosi::Resource>, broadcast::Receiver<Change>) {
        let changes = self.changes.subscribe();
        // Subscribed before: a change in between is seen twice at worst.
        (self.list(kind), changes)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, cosi::Resource>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn definition(of: &Type) -> cosi::Resource {
    let id = of.name.to_ascii_lowercase();
    let singular = of.display.to_ascii_lowercase();
    let plural = id.split('.').next().unwrap_or_default();
    let yaml = format!(
        "type: {}\ndisplayType: {}\naliases:\n    - {singular}\nallAliases:\n    - {plural}\n    - {singular}\n    - {id}\n\
         defaultNamespace: {}\nprintColumns: []\nsensitivity: {}\n",
        of.name,
        of.display,
        of.namespace,
        match of.reads {
            Reads::All => "\"\"",
            Reads::Admin => "sensitive",
        }
    );
    let now = clock::timestamp(SystemTime::now());
    cosi::Resource {
        metadata: Some(cosi::Metadata {
            namespace: "meta".to_owned(),
            r#type: DEFINITIONS.to_owned(),
            id,
            version: "1".to_owned(),
            phase: "running".to_owned(),
            created: Some(now),
            updated: Some(now),
            ..cosi::Metadata::default()
        }),
        spec: Some(cosi::Spec {
            proto_spec: Vec::new(),
            yaml_spec: yaml,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_grow_with_changes() {
        let resources = Resources::default();
        let kind = "MachineStatuses.runtime.talos.dev";
        resources.put(kind, "machine", "stage: booting\n".to_owned());
        let (now, mut changes) = resources.watch(kind);
        assert_eq!(now.len(), 1);
        resources.put(kind, "machine", "stage: booting\n".to_owned());
        resources.put(kind, "machine", "stage: running\n".to_owned());
        let change = changes.try_recv().unwrap();
        assert_eq!(change.resource.metadata.unwrap().version, "2");
        assert!(changes.try_recv().is_err(), "the same again is no change");
        assert_eq!(resources.list(DEFINITIONS).len(), TYPES.len());
    }
}
