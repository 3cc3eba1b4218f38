//! `metal_server_class`: an expression over hardware and labels. Instant; claims are filled from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use metal_proto::metal::v1::{self as api, Named};
use tfplugin::{
    Change, Context, Diagnostics, Failed, Field, Object, Plan, Resource, Saved, Schema,
    async_trait, choices, model,
};

use crate::client::Session;
use crate::memory::Changes;
use crate::range::{self, Unit};
use crate::{diag, id};

/// The resource.
pub struct Class(pub(crate) Arc<Session>);

model! {
    /// A class.
    pub struct State {
        /// Name of the class, and its id.
        pub name: String = required().requires_replace().validate(id::name()),
        /// What a server must have. Everything that is stated must hold.
        pub r#match: Match = required(),
        /// Ids of the servers that it chooses from. State it: it orders servers before claims. Default: every accepted server.
        pub servers: Vec<String> = optional(),
        /// The class's id.
        pub id: String = computed().use_state_for_unknown(),
    }
}

model! {
    /// What a server must have. Numbers and sizes are ranges: `>= 16`, `64GB..256GB`, `8`.
    pub struct Match {
        /// Physical cores.
        pub cpu_cores: String = optional().validate(range::range(Unit::Count)),
        /// Hardware threads.
        pub cpu_threads: String = optional().validate(range::range(Unit::Count)),
        /// Main memory.
        pub memory: String = optional().validate(range::range(Unit::Bytes)),
        /// Processor architecture.
        pub arch: Arch = optional(),
        /// Manufacturer; `*` and `?` match anything.
        pub manufacturer: String = optional(),
        /// Product; `*` and `?` match anything.
        pub product: String = optional(),
        /// Disks that it must have.
        pub disks: Vec<DiskRule> = optional(),
        /// Labels: `"v"` equals, `"a|b"` one of, `"!v"` anything else, `"*"` any value.
        pub labels: BTreeMap<String, String> = optional(),
    }
}

model! {
    /// Disks that a server must have.
    pub struct DiskRule {
        /// Kind of disk.
        pub r#type: DiskKind = optional(),
        /// Size.
        pub size: String = optional().validate(range::range(Unit::Bytes)),
        /// Model; `*` and `?` match anything.
        pub model: String = optional(),
        /// How many of them. Default: at least one.
        pub count: String = optional().validate(range::range(Unit::Count)),
    }
}

choices! {
    /// Processor architecture.
    pub enum Arch {
        /// x86-64.
        Amd64 = "amd64",
        /// 64-bit Arm.
        Arm64 = "arm64",
    }
}

choices! {
    /// Kind of disk.
    pub enum DiskKind {
        /// NVMe.
        Nvme = "nvme",
        /// SATA or SAS without rotation.
        Ssd = "ssd",
        /// Rotates.
        Hdd = "hdd",
    }
}

#[async_trait]
impl Resource for Class {
    fn type_name(&self) -> &'static str {
        "metal_server_class"
    }

    fn schema(&self) -> Schema {
        Schema::of::<State>(
            "A class of servers: claims are filled from it. Creating, changing and destroying it is instant and touches no server; \
             destroying is an error while a claim refers to it.",
        )
    }

    async fn plan(&self, _cx: &Context, plan: &mut Plan, _found: &mut Diagnostics) {
        let planned: State = plan.planned();
        plan.set(State::id, planned.name.clone());
        if let Some(name) = planned.name.known() {
            let changes = if plan.changes_anything() {
                Changes::Yes
            } else {
                Changes::No
            };
            let servers = planned.servers.known().cloned().unwrap_or_default();
            self.0.memory().plan_class(name, servers, changes);
        }
    }

    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let mut state: State = change.planned();
        let config = config(&state)?;
        let name = config.name.clone();
        self.0
            .call(cx, |mut api| {
                let config = config.clone();
                async move { api.put_class(config).await }
            })
            .await?;
        self.0.memory().settle_class(&name);
        state.id = name.into();
        Ok(Saved::new(state))
    }

    async fn read(&self, cx: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let state: State = state.model();
        let name = state.id.known().cloned().unwrap_or_default();
        let found = self
            .0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.read_class(Named { name }).await }
            })
            .await?;
        let Some(now) = found else { return Ok(None) };
        // Only a change that somebody else made shows as drift; how a range is written is the state's.
        let same = config(&state).is_ok_and(|own| own.r#match == now.r#match);
        let servers = if now.servers.is_empty() && state.servers.is_null() {
            Field::Null
        } else {
            Field::Known(now.servers)
        };
        let mut fresh = State {
            servers,
            name: now.name.into(),
            ..state
        };
        if !same {
            fresh.r#match = Field::Known(Match::default());
        }
        Ok(Some(Saved::new(fresh)))
    }

    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.create(cx, change).await
    }

    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed> {
        let name = state.model::<State>().id.into_known().unwrap_or_default();
        self.0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.delete_class(Named { name }).await }
            })
            .await?;
        Ok(())
    }

    async fn import(&self, cx: &Context, id: &str) -> Result<Saved, Failed> {
        let name = id.to_owned();
        let found = self
            .0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.read_class(Named { name }).await }
            })
            .await?;
        let class = found.ok_or_else(|| diag::import_missing("class", id))?;
        Ok(Saved::new(State {
            name: class.name.clone().into(),
            id: class.name.into(),
            ..State::default()
        }))
    }
}

fn config(state: &State) -> Result<api::ClassConfig, Diagnostics> {
    let rule = state.r#match.known().cloned().unwrap_or_default();
    let text = |field: &Field<String>| field.known().cloned().unwrap_or_default();
    let disks = rule.disks.known().cloned().unwrap_or_default();
    Ok(api::ClassConfig {
        name: text(&state.name),
        r#match: Some(api::Match {
            cpu_cores: range_of(&rule.cpu_cores, Unit::Count)?,
            cpu_threads: range_of(&rule.cpu_threads, Unit::Count)?,
            memory_bytes: range_of(&rule.memory, Unit::Bytes)?,
            arch: rule.arch.known().map_or("", |a| a.as_str()).to_owned(),
            manufacturer: text(&rule.manufacturer),
            product: text(&rule.product),
            disks: disks
                .iter()
                .map(disk_rule)
                .collect::<Result<_, Diagnostics>>()?,
            labels: rule
                .labels
                .known()
                .into_iter()
                .flatten()
                .map(|(key, value)| label_rule(key, value))
                .collect(),
        }),
        servers: state.servers.known().cloned().unwrap_or_default(),
    })
}

fn disk_rule(rule: &DiskRule) -> Result<api::DiskRule, Diagnostics> {
    Ok(api::DiskRule {
        r#type: rule.r#type.known().map_or("", |t| t.as_str()).to_owned(),
        bytes: range_of(&rule.size, Unit::Bytes)?,
        model: rule.model.known().cloned().unwrap_or_default(),
        count: range_of(&rule.count, Unit::Count)?,
    })
}

fn label_rule(key: &str, value: &str) -> api::LabelRule {
    let (negate, value) = value
        .strip_prefix('!')
        .map_or((false, value), |rest| (true, rest));
    let any_of = if value == "*" {
        vec![]
    } else {
        value.split('|').map(str::to_owned).collect()
    };
    api::LabelRule {
        key: key.to_owned(),
        any_of,
        negate,
    }
}

/// The validator has refused what does not parse; what a state holds was valid once.
pub(crate) fn range_of(
    field: &Field<String>,
    unit: Unit,
) -> Result<Option<api::Range>, Diagnostics> {
    let parse = |text: &String| {
        range::parse(text, unit).map_err(|why| {
            tfplugin::Diagnostic::error("Not a range")
                .detail(why)
                .into()
        })
    };
    field.known().map(parse).transpose()
}
