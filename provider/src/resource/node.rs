//! `talos_machine_config`: one node. Its create boots and installs the claimed server and waits for the proof that it runs from disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metal_proto::metal::v1::watch_request::Subject;
use metal_proto::metal::v1::{self as api, Named, PlanNodeRequest, PutNodeRequest};
use talos::version::Generator;
use tfplugin::{
    Change, Context, DefaultTimeouts, Diagnostics, Failed, Field, Object, Path, Plan, Resource,
    Saved, Schema, Timeouts, Value, async_trait, choices, model,
};

use crate::client::Session;
use crate::range::{self, Unit};
use crate::resource::class::{DiskKind, range_of};
use crate::resource::facts::Facts;
use crate::{diag, id};

/// The resource.
pub struct Node(pub(crate) Arc<Session>);

model! {
    /// A node.
    pub struct State {
        /// The cluster's facts: the same object in every node and in `talos_cluster`.
        pub cluster: Facts = required(),
        /// Name of the node.
        pub name: String = required().requires_replace().validate(id::name()),
        /// Host name. Default: the name.
        pub hostname: String = optional().validate(id::name()),
        /// What it is in its cluster.
        pub role: Role = required().requires_replace(),
        /// The server it runs on: that of a live `metal_server_claim`.
        pub server_id: String = required().requires_replace(),
        /// Id of the `metal_image`.
        pub image_id: String = required(),
        /// The disk that Talos is installed to, and that the install destroys. Default: the only one.
        pub install_disk: InstallDisk = optional(),
        /// Network settings.
        pub network: Network = optional(),
        /// Labels of the Kubernetes node.
        pub labels: BTreeMap<String, String> = optional(),
        /// Strategic-merge patches, in order, after those of the cluster.
        pub patches: Vec<String> = optional(),
        /// `CLUSTER/NAME`.
        pub id: String = computed().use_state_for_unknown(),
        /// The node, for `talos_cluster`.
        pub node: NodeRef = computed().use_state_for_unknown(),
        /// What the last plan did to it: `install`, `none`, `apply`, `reboot`, `upgrade` or `reinstall`.
        pub change: String = computed().use_state_for_unknown(),
        /// What the install destroyed.
        pub wipe_targets: Vec<WipeTarget> = computed().use_state_for_unknown(),
        /// Where the node was seen when it was installed.
        pub address: String = computed().use_state_for_unknown(),
        /// How long operations may take.
        pub timeouts: Timeouts = optional().local(),
    }
}

model! {
    /// Properties that the disk must have, all of them.
    pub struct InstallDisk {
        /// Serial number.
        pub serial: String = optional(),
        /// World-wide id.
        pub wwid: String = optional(),
        /// Kind.
        pub r#type: DiskKind = optional(),
        /// Size: `>= 100GB`.
        pub size: String = optional().validate(range::range(Unit::Bytes)),
        /// Model; `*` and `?` match anything.
        pub model: String = optional(),
    }
}

model! {
    /// Network settings.
    pub struct Network {
        /// DNS servers.
        pub nameservers: Vec<String> = optional(),
        /// Address that the control planes share; ignored on workers.
        pub vip: String = optional(),
        /// Time servers.
        pub time_servers: Vec<String> = optional(),
    }
}

model! {
    /// A node, as `talos_cluster` takes it.
    pub struct NodeRef {
        /// `CLUSTER/NAME`.
        pub id: String = computed(),
        /// Name.
        pub name: String = computed(),
        /// Role.
        pub role: String = computed(),
        /// Server.
        pub server_id: String = computed(),
    }
}

model! {
    /// A disk that an install destroys.
    pub struct WipeTarget {
        /// Kernel's name when it was last seen.
        pub disk: String = computed(),
        /// Serial number.
        pub serial: String = computed(),
        /// World-wide id.
        pub wwid: String = computed(),
        /// Size in bytes.
        pub bytes: u64 = computed(),
        /// Model.
        pub model: String = computed(),
        /// What is on it.
        pub content: String = computed(),
        /// Digest of what is on it: apply refuses if it changed.
        pub fingerprint: String = computed(),
    }
}

choices! {
    /// What a node is.
    pub enum Role {
        /// Runs etcd and the Kubernetes control plane.
        ControlPlane = "controlplane",
        /// Runs workloads.
        Worker = "worker",
    }
}

#[async_trait]
impl Resource for Node {
    fn type_name(&self) -> &'static str {
        "talos_machine_config"
    }

    fn schema(&self) -> Schema {
        Schema::of::<State>(
            "A Talos node on a claimed server. Creating it netboots the server, checks its disks, installs Talos and waits for the proof that \
             it runs from disk (about ten minutes). Destroying it takes the node out of its cluster and erases nothing: the claim does.",
        )
    }

    fn default_timeouts(&self) -> DefaultTimeouts {
        let long = Duration::from_secs(45 * 60);
        DefaultTimeouts {
            create: long,
            update: long,
            ..DefaultTimeouts::default()
        }
    }

    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        let state: State = config.model();
        let cluster = state
            .cluster
            .known()
            .map(|c| c.patches.clone())
            .unwrap_or_default();
        check_patches(&state.patches, &Path::from(State::patches), found);
        check_patches(
            &cluster,
            &Path::from(State::cluster).attr(Facts::patches.name()),
            found,
        );
    }

    async fn plan(&self, cx: &Context, plan: &mut Plan, found: &mut Diagnostics) {
        let planned: State = plan.planned();
        let id = node_id(&planned);
        if plan.is_create() {
            plan.set(State::id, id.clone());
            plan.set(State::node, Field::Known(node_ref(&planned, &id)));
            plan.set(State::change, "install");
        } else if !plan.changes_anything() {
            if let (Some(server), Some(id)) = (planned.server_id.known(), id.known()) {
                self.note(server, id, found);
            }
            return;
        }
        let (Some(server), Some(id)) = (planned.server_id.known(), id.known()) else {
            return;
        };
        self.note(server, id, found);
        if planned.image_id.is_unknown() || planned.cluster.is_unknown() {
            return;
        }
        self.ask(cx, plan, &planned, found).await;
    }

    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.put(cx, change).await
    }

    async fn read(&self, cx: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let state: State = state.model();
        let name = state.id.known().cloned().unwrap_or_default();
        let found = self
            .0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.read_node(Named { name }).await }
            })
            .await?;
        Ok(found.map(|node| {
            Saved::new(State {
                server_id: node.config.unwrap_or_default().server_id.into(),
                ..state
            })
        }))
    }

    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.put(cx, change).await
    }

    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed> {
        let name = state.model::<State>().id.into_known().unwrap_or_default();
        self.0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.delete_node(Named { name }).await }
            })
            .await?;
        Ok(self
            .0
            .watch(
                cx,
                Subject::NodeRemoved(name.clone()),
                &format!("The removal of {name}"),
            )
            .await?)
    }
}

impl Node {
    /// Remembers which node has which server; two nodes with one server are an error.
    fn note(&self, server: &str, id: &str, found: &mut Diagnostics) {
        if let Some(other) = self.0.memory().plan_node(server, id) {
            found.push(diag::server_twice(server, &other).at(State::server_id));
        }
    }

    async fn ask(&self, cx: &Context, plan: &mut Plan, planned: &State, found: &mut Diagnostics) {
        let config = match config(planned) {
            Ok(config) => config,
            Err(why) => return why.iter().for_each(|d| found.push(d.clone())),
        };
        let (planned_claim, planned_contract) = {
            let memory = self.0.memory();
            let secrets = planned
                .cluster
                .known()
                .and_then(|c| c.secrets_id.known().cloned())
                .unwrap_or_default();
            (
                memory.claim_of(&config.server_id),
                memory.contract_of(&secrets),
            )
        };
        let request = PlanNodeRequest {
            config: Some(config),
            planned_contract,
            planned_claim,
        };
        let answer = self
            .0
            .call(cx, |mut api| {
                let request = request.clone();
                async move { api.plan_node(request).await }
            })
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => return found.push(why),
        };
        let endpoint = self.0.endpoint();
        for remark in &answer.remarks {
            found.push(diag::from_remark(remark, &endpoint));
        }
        plan.set(State::change, change_word(answer.change()));
        if plan.is_create() {
            let targets: Vec<WipeTarget> = answer
                .wipe_targets
                .into_iter()
                .map(WipeTarget::from)
                .collect();
            plan.set(State::wipe_targets, Field::Known(targets));
        }
    }

    async fn put(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let mut state: State = change.planned();
        let config = config(&state)?;
        let targets = state.wipe_targets.known().cloned().unwrap_or_default();
        let is_create = change.prior_object().is_none();
        let expected_wipe_targets = if is_create {
            targets.into_iter().map(api::WipeTarget::from).collect()
        } else {
            vec![]
        };
        let request = PutNodeRequest {
            config: Some(config),
            expected_wipe_targets,
        };
        let made = self
            .0
            .call(cx, |mut api| {
                let request = request.clone();
                async move { api.put_node(request).await }
            })
            .await?;
        let id = made.id.clone();
        fill(&mut state, made);
        cx.checkpoint(state.clone());
        let waited = self
            .0
            .watch(
                cx,
                Subject::NodeInstalled(id.clone()),
                &format!("The install of {id}"),
            )
            .await;
        waited.map_err(|why| Failed::with_state(state.clone(), why))?;
        let name = id.clone();
        let find = self.0.find(cx, |mut api| {
            let name = name.clone();
            async move { api.read_node(Named { name }).await }
        });
        if is_create
            && let Some(node) = find
                .await
                .map_err(|why| Failed::with_state(state.clone(), why))?
        {
            state.address = node.address.into();
        }
        Ok(Saved::new(state))
    }
}

/// What is still open after bootd has taken the node.
fn fill(state: &mut State, made: api::Node) {
    let id = Field::Known(made.id);
    state.node = Field::Known(node_ref(state, &id));
    state.id = id;
    if !state.wipe_targets.is_known() {
        state.wipe_targets = made
            .wipe_targets
            .into_iter()
            .map(WipeTarget::from)
            .collect::<Vec<_>>()
            .into();
    }
    if !state.change.is_known() {
        state.change = change_word(api::Change::Install).into();
    }
    if !state.address.is_known() {
        state.address = made.address.into();
    }
}

fn check_patches(patches: &Field<Vec<String>>, at: &Path, found: &mut Diagnostics) {
    for (n, patch) in patches.known().into_iter().flatten().enumerate() {
        if let Err(why) = talos::patch::check_patch(Generator::V1_13, patch) {
            found.push(diag::bad_patch(&why.to_string()).at(at.clone().index(n as u64)));
        }
    }
}

fn node_id(state: &State) -> Field<String> {
    let cluster = match &state.cluster {
        Field::Known(facts) => facts.cluster_name(),
        Field::Unknown | Field::Null => Field::Unknown,
    };
    match (cluster, &state.name) {
        (Field::Known(cluster), Field::Known(name)) => Field::Known(format!("{cluster}/{name}")),
        _ => Field::Unknown,
    }
}

fn node_ref(state: &State, id: &Field<String>) -> NodeRef {
    NodeRef {
        id: id.clone(),
        name: state.name.clone(),
        role: state.role.clone().map(|r| r.as_str().to_owned()),
        server_id: state.server_id.clone(),
    }
}

fn change_word(change: api::Change) -> &'static str {
    match change {
        api::Change::None | api::Change::Unspecified => "none",
        api::Change::Apply => "apply",
        api::Change::Reboot => "reboot",
        api::Change::Upgrade => "upgrade",
        api::Change::Reinstall => "reinstall",
        api::Change::Install => "install",
    }
}

fn config(state: &State) -> Result<api::NodeConfig, Diagnostics> {
    let text = |field: &Field<String>| field.known().cloned().unwrap_or_default();
    let list = |field: &Field<Vec<String>>| field.known().cloned().unwrap_or_default();
    let role = match state.role.known() {
        Some(Role::ControlPlane) => api::Role::Controlplane,
        Some(Role::Worker) => api::Role::Worker,
        None => api::Role::Unspecified,
    };
    let disk = |d: &InstallDisk| {
        Ok::<_, Diagnostics>(api::InstallDisk {
            serial: text(&d.serial),
            wwid: text(&d.wwid),
            r#type: d.r#type.known().map_or("", |t| t.as_str()).to_owned(),
            bytes: range_of(&d.size, Unit::Bytes)?,
            model: text(&d.model),
        })
    };
    let network = |n: &Network| api::Network {
        nameservers: list(&n.nameservers),
        vip: text(&n.vip),
        time_servers: list(&n.time_servers),
    };
    Ok(api::NodeConfig {
        cluster: state.cluster.known().map(Facts::config),
        name: text(&state.name),
        hostname: text(&state.hostname),
        role: role.into(),
        server_id: text(&state.server_id),
        image_id: text(&state.image_id),
        install_disk: state.install_disk.known().map(disk).transpose()?,
        network: state.network.known().map(network),
        labels: state
            .labels
            .known()
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .collect(),
        patches: list(&state.patches),
    })
}

impl From<api::WipeTarget> for WipeTarget {
    fn from(t: api::WipeTarget) -> Self {
        Self {
            disk: t.disk.into(),
            serial: t.serial.into(),
            wwid: t.wwid.into(),
            bytes: t.bytes.into(),
            model: t.model.into(),
            content: t.content.into(),
            fingerprint: t.fingerprint.into(),
        }
    }
}

impl From<WipeTarget> for api::WipeTarget {
    fn from(t: WipeTarget) -> Self {
        let text = |field: Field<String>| field.into_known().unwrap_or_default();
        Self {
            disk: text(t.disk),
            serial: text(t.serial),
            wwid: text(t.wwid),
            bytes: t.bytes.into_known().unwrap_or_default(),
            model: text(t.model),
            content: text(t.content),
            fingerprint: text(t.fingerprint),
        }
    }
}

impl From<NodeRef> for Value {
    fn from(node: NodeRef) -> Self {
        Self::Object(node.into())
    }
}
