//! What the bootd of these tests has and knows.

use std::collections::{BTreeMap, BTreeSet};

use metal_proto::metal::v1 as pb;

/// What machines do when they are to be installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Install {
    /// It works.
    #[default]
    Works,
    /// Nothing happens, for ever.
    Stalls,
    /// It fails with a story.
    Fails,
}

/// All that bootd has.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) servers: BTreeMap<String, pb::ServerConfig>,
    pub(crate) classes: BTreeMap<String, pb::ClassConfig>,
    pub(crate) claims: BTreeMap<String, pb::Claim>,
    pub(crate) images: BTreeMap<String, pb::Image>,
    pub(crate) secrets: BTreeMap<String, pb::Secrets>,
    pub(crate) nodes: BTreeMap<String, pb::Node>,
    pub(crate) clusters: BTreeMap<String, pb::Cluster>,
    pub(crate) install: Install,
    /// Password of every `PutServer`.
    pub(crate) passwords: Vec<String>,
    /// Calls that change something, in order.
    pub(crate) calls: Vec<String>,
    /// Targets of every `PutNode`.
    pub(crate) expected: Vec<Vec<pb::WipeTarget>>,
    /// What `Site` says: version and features; without it, what fits.
    pub(crate) site: Option<(&'static str, Vec<String>)>,
    /// Phases of servers; `available` where nothing is said.
    pub(crate) phases: BTreeMap<String, pb::Phase>,
    /// Watches that never end, by the first word of their subject.
    pub(crate) stalls: BTreeSet<&'static str>,
    /// Remarks of every `PlanNode`.
    pub(crate) remarks: Vec<pb::Remark>,
    /// Remarks with the end of every release.
    pub(crate) released: Vec<pb::Remark>,
    pub(crate) holds: BTreeMap<String, String>,
}

/// A plan-time warning.
pub(crate) fn warning(summary: &str) -> pb::Remark {
    let what = pb::ErrorDetail {
        reason: "a-warning".into(),
        summary: summary.into(),
        detail: "somebody should know".into(),
        hint: "know it".into(),
        attribute: String::new(),
    };
    pb::Remark {
        severity: pb::remark::Severity::Warning.into(),
        what: Some(what),
    }
}

impl World {
    pub(crate) fn holder(&self, server: &str) -> String {
        let held = self.claims.iter().find(|(_, c)| c.server_id == server);
        held.map(|(n, _)| n.clone()).unwrap_or_default()
    }

    pub(crate) fn hardware(server: &str) -> pb::Hardware {
        let disk = pb::Disk {
            device: "nvme0n1".into(),
            serial: format!("S-{server}"),
            r#type: "nvme".into(),
            bytes: 500_000_000_000,
            blank: true,
            fingerprint: "00".into(),
            ..Default::default()
        };
        pb::Hardware {
            manufacturer: "Test".into(),
            arch: "amd64".into(),
            cpu_cores: 8,
            cpu_threads: 16,
            memory_bytes: 32_000_000_000,
            disks: vec![disk],
            ..Default::default()
        }
    }

    pub(crate) fn server(&self, name: &str) -> Option<pb::Server> {
        let config = self.servers.get(name)?.clone();
        let status = pb::ServerStatus {
            id: name.to_owned(),
            phase: self
                .phases
                .get(name)
                .copied()
                .unwrap_or(pb::Phase::Available)
                .into(),
            address: "10.0.0.21".into(),
            claim: self.holder(name),
            hardware: Some(Self::hardware(name)),
            ..Default::default()
        };
        Some(pb::Server {
            config: Some(config),
            status: Some(status),
        })
    }

    /// The box that a claim has, is promised, or gets.
    pub(crate) fn pick(&self, config: &pb::ClaimConfig) -> Option<String> {
        if let Some(held) = self.claims.get(&config.name) {
            return Some(held.server_id.clone());
        }
        let free = |s: &&String| {
            let promised = self
                .holds
                .iter()
                .any(|(claim, server)| server == *s && *claim != config.name);
            self.holder(s).is_empty() && !promised && self.servers[*s].accepted
        };
        if let Some(promised) = self.holds.get(&config.name).filter(free) {
            return Some(promised.clone());
        }
        let scope: Vec<String> = match self.classes.get(&config.server_class_id) {
            Some(class) if !class.servers.is_empty() => class.servers.clone(),
            _ if !config.server_id.is_empty() => vec![config.server_id.clone()],
            _ => self.servers.keys().cloned().collect(),
        };
        scope
            .iter()
            .filter(|s| self.servers.contains_key(*s))
            .find(free)
            .cloned()
    }

    pub(crate) fn target(server: &str) -> pb::WipeTarget {
        pb::WipeTarget {
            disk: "nvme0n1".into(),
            serial: format!("S-{server}"),
            bytes: 500_000_000_000,
            content: "blank".into(),
            fingerprint: "00".into(),
            ..Default::default()
        }
    }
}
