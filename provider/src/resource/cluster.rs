//! `talos_cluster`: the sink. Its create waits until etcd is bootstrapped and the chosen level is reached; its delete dissolves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use metal_proto::metal::v1::watch_request::Subject;
use metal_proto::metal::v1::{self as api, Named};
use tfplugin::{
    Change, Context, DefaultTimeouts, Diagnostics, Failed, Field, Object, Path, Plan, Resource,
    Saved, Schema, Timeouts, async_trait, choices, model,
};

use crate::client::Session;
use crate::diag;
use crate::resource::facts::Facts;
use crate::resource::node::Role;

/// The resource.
pub struct Cluster(pub(crate) Arc<Session>);

model! {
    /// A cluster.
    pub struct State {
        /// The cluster's facts: the same object as in its nodes.
        pub cluster: Facts = required(),
        /// The nodes: `{ for k, c in talos_machine_config.n : k => c.node }`.
        pub nodes: BTreeMap<String, Member> = required(),
        /// What creation waits for.
        pub wait_for: WaitFor = optional().local(),
        /// Accepts an even number of control planes.
        pub allow_even: bool = optional().default(false).local(),
        /// Refuses to dissolve it.
        pub deletion_protection: bool = optional().default(false),
        /// The cluster's name.
        pub id: String = computed().use_state_for_unknown(),
        /// CA of the Talos API, PEM. Public.
        pub ca_certificate: String = computed().use_state_for_unknown(),
        /// How long operations may take.
        pub timeouts: Timeouts = optional().local(),
    }
}

model! {
    /// A node, from `talos_machine_config`'s `node`.
    pub struct Member {
        /// `CLUSTER/NAME`.
        pub id: String = required(),
        /// Name.
        pub name: String = required(),
        /// Role.
        pub role: Role = required(),
        /// Server.
        pub server_id: String = required(),
    }
}

model! {
    /// What creation waits for.
    pub struct WaitFor {
        /// `none`: etcd is bootstrapped; `talos`: every node answers with the cluster's certificate, too. Higher levels come later.
        pub kubernetes: Level = optional(),
    }
}

choices! {
    /// A level of readiness.
    pub enum Level {
        /// Bootstrapped.
        None = "none",
        /// Every node's Talos is ready.
        Talos = "talos",
        /// The Kubernetes API answers.
        Api = "api",
        /// Every Kubernetes node is ready.
        NodesReady = "nodes_ready",
    }
}

#[async_trait]
impl Resource for Cluster {
    fn type_name(&self) -> &'static str {
        "talos_cluster"
    }

    fn schema(&self) -> Schema {
        Schema::of::<State>(
            "A Talos cluster of installed nodes. Creating it bootstraps etcd exactly once and waits (minutes). Destroying it dissolves \
             the cluster: its nodes then leave without draining; nothing is erased.",
        )
    }

    fn default_timeouts(&self) -> DefaultTimeouts {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        DefaultTimeouts {
            create: minutes(30),
            update: minutes(90),
            delete: minutes(10),
            ..DefaultTimeouts::default()
        }
    }

    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        check(&config.model(), found);
    }

    async fn plan(&self, _cx: &Context, plan: &mut Plan, found: &mut Diagnostics) {
        let planned: State = plan.planned();
        check(&planned, found);
        if plan.is_create() {
            let name = planned
                .cluster
                .known()
                .map_or(Field::Unknown, Facts::cluster_name);
            plan.set(State::id, name);
        }
    }

    async fn plan_delete(&self, _cx: &Context, state: &Object, found: &mut Diagnostics) {
        let state: State = state.model();
        if state.deletion_protection == Field::Known(true) {
            found.push(diag::protected(&format!(
                "talos_cluster {}",
                state.id.into_known().unwrap_or_default()
            )));
        }
    }

    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let mut state: State = change.planned();
        let config = config(&state);
        let made = self
            .0
            .call(cx, |mut api| {
                let config = config.clone();
                async move { api.put_cluster(config).await }
            })
            .await?;
        let id = made.id.clone();
        state.id = made.id.into();
        state.ca_certificate = made.ca_certificate.into();
        cx.checkpoint(state.clone());
        let waited = self
            .0
            .watch(
                cx,
                Subject::ClusterReady(id.clone()),
                &format!("The bootstrap of {id}"),
            )
            .await;
        waited.map_err(|why| Failed::with_state(state.clone(), why))?;
        Ok(Saved::new(state))
    }

    async fn read(&self, cx: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let state: State = state.model();
        let name = state.id.known().cloned().unwrap_or_default();
        let found = self
            .0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.read_cluster(Named { name }).await }
            })
            .await?;
        Ok(found.map(|cluster| {
            Saved::new(State {
                ca_certificate: cluster.ca_certificate.into(),
                ..state
            })
        }))
    }

    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.create(cx, change).await
    }

    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed> {
        let name = state.model::<State>().id.into_known().unwrap_or_default();
        self.0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.delete_cluster(Named { name }).await }
            })
            .await?;
        Ok(())
    }
}

/// Rules over all nodes. What is unknown is left for later.
fn check(state: &State, found: &mut Diagnostics) {
    if let Some(level @ (Level::Api | Level::NodesReady)) =
        state.wait_for.known().and_then(|w| w.kubernetes.known())
    {
        found.push(
            diag::wait_not_yet(level.as_str())
                .at(Path::from(State::wait_for).attr(WaitFor::kubernetes.name())),
        );
    }
    let Some(nodes) = state.nodes.known() else {
        return;
    };
    let mut ids = BTreeSet::new();
    for (key, node) in nodes {
        if let Some(id) = node.id.known()
            && !ids.insert(id)
        {
            found.push(diag::node_twice(id).at(Path::from(State::nodes).key(key)));
        }
    }
    let roles: Vec<_> = nodes.values().filter_map(|n| n.role.known()).collect();
    let count = roles.iter().filter(|r| ***r == Role::ControlPlane).count();
    if roles.len() < nodes.len() {
        return;
    }
    match count {
        0 => found.push(diag::no_control_plane().at(State::nodes)),
        n if n % 2 == 0 && state.allow_even != Field::Known(true) => {
            found.push(diag::even_control_planes(n).at(State::nodes))
        }
        _ => {}
    }
}

fn config(state: &State) -> api::ClusterConfig {
    let nodes = state.nodes.known().into_iter().flatten();
    let wait = match state.wait_for.known().and_then(|w| w.kubernetes.known()) {
        Some(Level::None) => api::KubernetesWait::None,
        Some(Level::Talos | Level::Api | Level::NodesReady) | None => api::KubernetesWait::Talos,
    };
    api::ClusterConfig {
        facts: state.cluster.known().map(Facts::config),
        nodes: nodes
            .filter_map(|(key, node)| Some((key.clone(), node.id.known()?.clone())))
            .collect(),
        wait_for_kubernetes: wait.into(),
        deletion_protection: state
            .deletion_protection
            .known()
            .copied()
            .unwrap_or_default(),
    }
}
