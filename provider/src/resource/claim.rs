//! `metal_server_claim`: a sticky, named slot filled from a class or one server. Its create is instant; its delete is the only eraser.

use std::sync::Arc;
use std::time::Duration;

use metal_proto::metal::v1::watch_request::Subject;
use metal_proto::metal::v1::wipe_disks::Which;
use metal_proto::metal::v1::{self as api, Named, PlanClaimRequest, PutClaimRequest};
use tfplugin::schema::Rule;
use tfplugin::{
    Change, Context, DefaultTimeouts, Diagnostics, Failed, Field, Object, Plan, Resource, Saved,
    Schema, Timeouts, async_trait, choices, model,
};

use crate::client::Session;
use crate::hardware::Hardware;
use crate::resource::server::Location;
use crate::{diag, id};

/// The resource.
pub struct Claim(pub(crate) Arc<Session>);

model! {
    /// A claim.
    pub struct State {
        /// `CLUSTER/NODE`: the slot, and the claim's id. The same slot gets the same box back where it can.
        pub name: String = required().requires_replace().validate(id::cluster_node()),
        /// Class that the box is chosen from.
        pub server_class_id: String = optional(),
        /// The box. State it to claim one server; else it is chosen from the class.
        pub server_id: String = optional_computed().use_state_for_unknown(),
        /// Spreads the claims of one cluster over values of this location field.
        pub spread_by: SpreadBy = optional(),
        /// Servers that are not taken.
        pub avoid: Vec<String> = optional(),
        /// What giving the box back erases. Default: nothing is erased, and the box is not free afterwards.
        pub wipe: Wipe = optional().rule(Rule::at_most_one_of([Wipe::disks.name(), Wipe::selected.name()])),
        /// Serials or WWIDs of disks with foreign data that may be erased.
        pub allow_wipe: Vec<String> = optional(),
        /// What to do with a box whose wipe could not be proven.
        pub on_wipe_failure: OnWipeFailure = optional().default("quarantine"),
        /// The claim's id.
        pub id: String = computed().use_state_for_unknown(),
        /// Grows each time this slot is claimed.
        pub generation: u64 = computed().use_state_for_unknown(),
        /// The box's hardware.
        pub hardware: Hardware = computed().use_state_for_unknown(),
        /// Where the box stands.
        pub location: ComputedLocation = computed().use_state_for_unknown(),
        /// Why this box was chosen.
        pub fit: String = computed().use_state_for_unknown(),
        /// How long operations may take.
        pub timeouts: Timeouts = optional().local(),
    }
}

model! {
    /// What is erased.
    pub struct Wipe {
        /// How: `quick` zeroes tables, ends and Talos's partitions; `full` zeroes every byte.
        pub method: WipeMethod = required(),
        /// Which disks: `all`, or `written` by this claim.
        pub disks: WipeDisks = optional(),
        /// Serials or WWIDs of the disks, in place of `disks`.
        pub selected: Vec<String> = optional(),
    }
}

model! {
    /// Where the box stands.
    pub struct ComputedLocation {
        /// Row.
        pub site_row: String = computed(),
        /// Rack.
        pub rack: String = computed(),
        /// Unit.
        pub unit: String = computed(),
    }
}

choices! {
    /// Location field.
    pub enum SpreadBy {
        /// The rack.
        Rack = "rack",
    }
}

choices! {
    /// How disks are erased.
    pub enum WipeMethod {
        /// Not at all.
        None = "none",
        /// What identifies content.
        Quick = "quick",
        /// Every byte.
        Full = "full",
    }
}

choices! {
    /// Which disks.
    pub enum WipeDisks {
        /// Every fixed disk.
        All = "all",
        /// Those that this claim wrote.
        Written = "written",
    }
}

choices! {
    /// After a failed wipe.
    pub enum OnWipeFailure {
        /// The box is in no pool; destroy succeeds when it is parked.
        Quarantine = "quarantine",
        /// Destroy fails.
        Fail = "fail",
    }
}

#[async_trait]
impl Resource for Claim {
    fn type_name(&self) -> &'static str {
        "metal_server_claim"
    }

    fn schema(&self) -> Schema {
        Schema::of::<State>(
            "A box, held under a name. Destroying it gives the box back: what `wipe` names is erased, proven and the box powered off \
             (quick: minutes; full: hours). Nothing else ever erases a box. Creating it is instant, and the plan names the box.",
        )
        .rule(Rule::exactly_one_of([State::server_class_id.name(), State::server_id.name()]))
    }

    fn default_timeouts(&self) -> DefaultTimeouts {
        let delete = Duration::from_secs(12 * 3600);
        DefaultTimeouts {
            create: Duration::from_secs(300),
            delete,
            ..DefaultTimeouts::default()
        }
    }

    async fn plan(&self, cx: &Context, plan: &mut Plan, found: &mut Diagnostics) {
        let planned: State = plan.planned();
        plan.set(State::id, planned.name.clone());
        if !plan.is_create() {
            if let Some(server) = planned.server_id.known() {
                self.0.memory().plan_claim(server, config(&planned));
            }
            return;
        }
        let open = {
            let memory = self.0.memory();
            match (
                planned.server_class_id.known(),
                plan.config::<State>().server_id,
            ) {
                (Some(class), _) => memory.class_is_open(class),
                (None, Field::Known(server)) => memory.server_is_open(&server),
                (None, _) => true,
            }
        };
        if open || planned.name.is_unknown() || planned.avoid.is_unknown() {
            // Known after the servers exist: bootd could only report a false shortage.
            return;
        }
        let request = PlanClaimRequest {
            config: Some(config(&planned)),
        };
        match self
            .0
            .call(cx, |mut api| {
                let request = request.clone();
                async move { api.plan_claim(request).await }
            })
            .await
        {
            Ok(answer) => self.show(plan, &planned, answer, found),
            Err(why) => found.push(why),
        }
    }

    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let state: State = change.planned();
        let expected_server_id = state.server_id.known().cloned().unwrap_or_default();
        self.put(cx, state, expected_server_id).await
    }

    async fn read(&self, cx: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let state: State = state.model();
        let name = state.id.known().cloned().unwrap_or_default();
        let found = self
            .0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.read_claim(Named { name }).await }
            })
            .await?;
        // Hardware, place and fit stay what they were when the box was taken: what moves is in the data source.
        Ok(found.map(|claim| {
            Saved::new(State {
                server_id: claim.server_id.into(),
                generation: claim.generation.into(),
                ..state
            })
        }))
    }

    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let state: State = change.planned();
        let prior: Option<State> = change.prior();
        let held = prior
            .and_then(|p| p.server_id.into_known())
            .unwrap_or_default();
        self.put(cx, state, held).await
    }

    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed> {
        let name = state.model::<State>().id.into_known().unwrap_or_default();
        self.0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.release_claim(Named { name }).await }
            })
            .await?;
        let subject = Subject::ClaimReleased(name.clone());
        Ok(self
            .0
            .watch(cx, subject, &format!("The wipe of {name}"))
            .await?)
    }

    async fn import(&self, cx: &Context, id: &str) -> Result<Saved, Failed> {
        let name = id.to_owned();
        let found = self
            .0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.read_claim(Named { name }).await }
            })
            .await?;
        let claim = found.ok_or_else(|| diag::import_missing("claim", id))?;
        let class = claim.config.clone().unwrap_or_default().server_class_id;
        let state = State {
            name: id.into(),
            server_class_id: if class.is_empty() {
                Field::Null
            } else {
                class.into()
            },
            ..filled(State::default(), claim)
        };
        Ok(Saved::new(state))
    }
}

impl Claim {
    /// Puts what bootd would choose into the plan.
    fn show(
        &self,
        plan: &mut Plan,
        planned: &State,
        answer: api::PlanClaimResponse,
        found: &mut Diagnostics,
    ) {
        let endpoint = self.0.endpoint();
        for remark in &answer.remarks {
            found.push(diag::from_remark(remark, &endpoint));
        }
        if answer.server_id.is_empty() {
            return;
        }
        self.0
            .memory()
            .plan_claim(&answer.server_id, config(planned));
        if plan.config::<State>().server_id.is_null() {
            plan.set(State::server_id, answer.server_id.as_str());
        }
        plan.set(
            State::hardware,
            Field::<Hardware>::from(answer.hardware.map(Hardware::from)),
        );
        plan.set(
            State::location,
            Field::<ComputedLocation>::from(answer.location.map(ComputedLocation::from)),
        );
        plan.set(State::fit, answer.fit.as_str());
    }

    async fn put(
        &self,
        cx: &Context,
        state: State,
        expected_server_id: String,
    ) -> Result<Saved, Failed> {
        let request = PutClaimRequest {
            config: Some(config(&state)),
            expected_server_id,
        };
        let claim = self
            .0
            .call(cx, |mut api| {
                let request = request.clone();
                async move { api.put_claim(request).await }
            })
            .await?;
        let planned = state.clone();
        let mut state = filled(state, claim);
        // What the plan showed stands: it was the same box, looked at a moment earlier.
        if planned.hardware.is_known() || planned.hardware.is_null() {
            state.hardware = planned.hardware;
        }
        if planned.location.is_known() || planned.location.is_null() {
            state.location = planned.location;
        }
        if planned.fit.is_known() {
            state.fit = planned.fit;
        }
        Ok(Saved::new(state))
    }
}

fn filled(state: State, claim: api::Claim) -> State {
    State {
        id: claim.config.unwrap_or_default().name.into(),
        server_id: claim.server_id.into(),
        generation: claim.generation.into(),
        hardware: claim.hardware.map(Hardware::from).into(),
        location: claim.location.map(ComputedLocation::from).into(),
        fit: claim.fit.into(),
        ..state
    }
}

impl From<api::Location> for ComputedLocation {
    fn from(l: api::Location) -> Self {
        Self {
            site_row: l.site_row.into(),
            rack: l.rack.into(),
            unit: l.unit.into(),
        }
    }
}

impl From<api::Location> for Location {
    fn from(l: api::Location) -> Self {
        Self {
            site_row: l.site_row.into(),
            rack: l.rack.into(),
            unit: l.unit.into(),
        }
    }
}

fn config(state: &State) -> api::ClaimConfig {
    let text = |field: &Field<String>| field.known().cloned().unwrap_or_default();
    let class = text(&state.server_class_id);
    api::ClaimConfig {
        name: text(&state.name),
        // A box that was chosen from the class is not asked for by name.
        server_id: if class.is_empty() {
            text(&state.server_id)
        } else {
            String::new()
        },
        server_class_id: class,
        spread_by: state
            .spread_by
            .known()
            .map_or("", |s| s.as_str())
            .to_owned(),
        avoid: state.avoid.known().cloned().unwrap_or_default(),
        wipe: state.wipe.known().map(wipe),
        allow_wipe: state.allow_wipe.known().cloned().unwrap_or_default(),
        on_wipe_failure: match state.on_wipe_failure.known() {
            Some(OnWipeFailure::Fail) => api::OnWipeFailure::Fail.into(),
            Some(OnWipeFailure::Quarantine) | None => api::OnWipeFailure::Quarantine.into(),
        },
    }
}

fn wipe(wipe: &Wipe) -> api::Wipe {
    let method = match wipe.method.known() {
        Some(WipeMethod::Quick) => api::WipeMethod::Quick,
        Some(WipeMethod::Full) => api::WipeMethod::Full,
        Some(WipeMethod::None) | None => api::WipeMethod::None,
    };
    let which = match (wipe.disks.known(), wipe.selected.known()) {
        (Some(WipeDisks::All), _) => Some(Which::All(true)),
        (Some(WipeDisks::Written), _) => Some(Which::Written(true)),
        (None, Some(serials)) => Some(Which::Selected(api::SerialList {
            serials: serials.clone(),
        })),
        (None, None) => None,
    };
    api::Wipe {
        method: method.into(),
        disks: which.map(|which| api::WipeDisks { which: Some(which) }),
    }
}
