//! `metal_servers`: the inventory as it is now. For reports; never to choose boxes with, because it changes under the plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use metal_proto::metal::v1::{self as api, ListServersRequest, Phase};
use tfplugin::{Context, DataSource, Failed, Object, Saved, Schema, async_trait, choices, model};

use crate::client::Session;

/// The data source.
pub struct Servers(pub(crate) Arc<Session>);

model! {
    /// The inventory.
    pub struct State {
        /// Only servers with all of these labels.
        pub labels: BTreeMap<String, String> = optional(),
        /// Only servers in one of these phases.
        pub phases: Vec<PhaseName> = optional(),
        /// The servers, by name.
        pub servers: Vec<Server> = computed(),
    }
}

model! {
    /// A server.
    pub struct Server {
        /// Its id.
        pub id: String = computed(),
        /// Its phase.
        pub phase: String = computed(),
        /// Why it is in it.
        pub reason: String = computed(),
        /// The claim that holds it; empty if it is free.
        pub claim: String = computed(),
        /// May it be powered and written?
        pub accepted: bool = computed(),
        /// Does it hold data that no claim may erase?
        pub dirty: bool = computed(),
        /// Its boot MAC.
        pub mac: String = computed(),
        /// Its labels.
        pub labels: BTreeMap<String, String> = computed(),
        /// Physical cores.
        pub cpu_cores: u32 = computed(),
        /// Main memory in bytes.
        pub memory_bytes: u64 = computed(),
    }
}

choices! {
    /// A phase.
    pub enum PhaseName {
        /// Registered itself.
        Discovered = "discovered",
        /// Is looked at.
        Inspecting = "inspecting",
        /// Is in the pool.
        Available = "available",
        /// Is installed.
        Installing = "installing",
        /// Runs.
        Running = "running",
        /// Is erased.
        Wiping = "wiping",
        /// Failed.
        Failed = "failed",
        /// Is in no pool.
        Quarantined = "quarantined",
    }
}

#[async_trait]
impl DataSource for Servers {
    fn type_name(&self) -> &'static str {
        "metal_servers"
    }

    fn schema(&self) -> Schema {
        Schema::of::<State>(
            "The servers of the inventory, also those that registered themselves, as they are now.",
        )
    }

    async fn read(&self, cx: &Context, config: &Object) -> Result<Saved, Failed> {
        let config: State = config.model();
        let labels = config
            .labels
            .into_known()
            .unwrap_or_default()
            .into_iter()
            .collect();
        let phases = config
            .phases
            .into_known()
            .unwrap_or_default()
            .into_iter()
            .map(|p| phase(p).into())
            .collect();
        let request = ListServersRequest { labels, phases };
        let listed = self
            .0
            .call(cx, |mut api| {
                let request = request.clone();
                async move { api.list_servers(request).await }
            })
            .await?;
        let mut servers: Vec<Server> = listed.servers.into_iter().map(Server::from).collect();
        servers.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Saved::new(State {
            servers: servers.into(),
            ..State::default()
        }))
    }
}

fn phase(name: PhaseName) -> Phase {
    match name {
        PhaseName::Discovered => Phase::Discovered,
        PhaseName::Inspecting => Phase::Inspecting,
        PhaseName::Available => Phase::Available,
        PhaseName::Installing => Phase::Installing,
        PhaseName::Running => Phase::Running,
        PhaseName::Wiping => Phase::Wiping,
        PhaseName::Failed => Phase::Failed,
        PhaseName::Quarantined => Phase::Quarantined,
    }
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Unspecified => "",
        Phase::Discovered => PhaseName::Discovered.as_str(),
        Phase::Inspecting => PhaseName::Inspecting.as_str(),
        Phase::Available => PhaseName::Available.as_str(),
        Phase::Installing => PhaseName::Installing.as_str(),
        Phase::Running => PhaseName::Running.as_str(),
        Phase::Wiping => PhaseName::Wiping.as_str(),
        Phase::Failed => PhaseName::Failed.as_str(),
        Phase::Quarantined => PhaseName::Quarantined.as_str(),
        Phase::Retired => "retired",
    }
}

impl From<api::Server> for Server {
    fn from(server: api::Server) -> Self {
        let (config, status) = (
            server.config.unwrap_or_default(),
            server.status.unwrap_or_default(),
        );
        let phase = word(status.phase());
        let hardware = status.hardware.unwrap_or_default();
        Self {
            id: status.id.into(),
            phase: phase.into(),
            reason: status.reason.into(),
            claim: status.claim.into(),
            accepted: config.accepted.into(),
            dirty: status.dirty.into(),
            mac: config.mac.into(),
            labels: config.labels.into_iter().collect::<BTreeMap<_, _>>().into(),
            cpu_cores: hardware.cpu_cores.into(),
            memory_bytes: hardware.memory_bytes.into(),
        }
    }
}
