//! `data "metal_servers"`: what moves by itself, which is why it is no resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use tfplugin::{Context, DataSource, Failed, Object, Saved, Schema, async_trait, choices, model};

use crate::api;
use crate::resource::hardware::{Hardware, Place};
use crate::site::{self, Site};

choices! {
    /// Where a server is in its life.
    pub(crate) enum PhaseName {
        /// Seen, not accepted.
        Discovered = "discovered",
        /// In the agent.
        Inspecting = "inspecting",
        /// Free.
        Available = "available",
        /// Being installed.
        Installing = "installing",
        /// Runs Talos.
        Running = "running",
        /// Being wiped.
        Wiping = "wiping",
        /// A step failed.
        Failed = "failed",
        /// Waits for a person.
        Quarantined = "quarantined",
        /// Out of use.
        Retired = "retired",
    }
}

model! {
    /// Which servers.
    pub(crate) struct Filter {
        /// Labels that must all match.
        pub(crate) labels: BTreeMap<String, String> = optional(),
        /// Phases, any of them: `discovered`, `inspecting`, `available`, `installing`, `running`, `wiping`, `failed`, `quarantined`, `retired`.
        pub(crate) phases: Vec<String> = optional().validate(tfplugin::schema::validators::each(
            tfplugin::schema::validators::one_of(PhaseName::WORDS),
        )),
    }
}

model! {
    /// A server as it is now.
    pub(crate) struct Listed {
        /// Id.
        pub(crate) id: String = computed(),
        /// Whether a `metal_server` declares it; otherwise it registered itself.
        pub(crate) declared: bool = computed(),
        /// Whether it may be written to.
        pub(crate) accepted: bool = computed(),
        /// Phase.
        pub(crate) phase: String = computed(),
        /// Why it is in this phase, for people.
        pub(crate) reason: String = computed(),
        /// The claim that holds it; null where it is free.
        pub(crate) claim: String = computed(),
        /// Holds data that no claim may erase: not free.
        pub(crate) dirty: bool = computed(),
        /// `on`, `off`, `unreachable`; null without a BMC.
        pub(crate) power: String = computed(),
        /// The address it spoke from last.
        pub(crate) address: String = computed(),
        /// Labels.
        pub(crate) labels: BTreeMap<String, String> = computed(),
        /// Where it stands.
        pub(crate) location: Place = computed(),
        /// What the agent found.
        pub(crate) hardware: Hardware = computed(),
    }
}

model! {
    /// The servers of a site.
    pub(crate) struct Servers {
        /// Which servers; all where it is left out.
        pub(crate) filter: Filter = optional(),
        /// The servers, in the order of their ids.
        pub(crate) servers: Vec<Listed> = computed(),
    }
}

pub(crate) struct ServersData(pub(crate) Arc<Site>);

#[async_trait]
impl DataSource for ServersData {
    fn type_name(&self) -> &'static str {
        "metal_servers"
    }

    fn schema(&self) -> Schema {
        Schema::of::<Servers>(
            "The servers of the site as they are now, declared or not. Read at every plan; do not derive `for_each` keys of nodes from it: use claims.",
        )
    }

    async fn read(&self, cx: &Context, config: &Object) -> Result<Saved, Failed> {
        let client = self.0.client()?;
        let mut data: Servers = config.model();
        let servers = site::call(cx, &client, "servers", api::list_servers(&client, &data)).await?;
        data.servers = servers.into();
        Ok(data.into())
    }
}
