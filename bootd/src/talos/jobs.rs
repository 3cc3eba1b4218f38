//! Cluster jobs: etcd's one bootstrap, health by level, configs handed to running nodes, nodes that leave.
//!
//! Promises: Bootstrap is recorded before it is called and never called again once it was accepted; every call has a deadline;
//! only our own machines' addresses and `[egress] allow` are dialled. Level triggered: killed anywhere, it goes on.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bootd_core::id::MachineId;
use bootd_core::lifecycle::Phase;
use metal_proto::metal::v1 as pb;
use prost::Message as _;
use talos::client::{ApplyMode, BootstrapOutcome, Client, ClientError};
use talos::config::MachineConfig;
use talos::secrets::{Bundle, Role};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::render::Surroundings;
use super::state::{
    Bootstrap, ClusterState, NodeState, contract, secrets, set_status, status, talos_access,
};
use crate::store::{Doc, Kind, Store, StoreError, now};

/// Every call's deadline.
const CALL: Duration = Duration::from_secs(10);
/// Pause between two looks at a cluster that is not ready.
const PAUSE: Duration = Duration::from_millis(500);
/// A client certificate of ours lives so long.
const CERTIFICATE: Duration = Duration::from_secs(3600);

/// What the jobs are told by the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our CA.
    pub ca_pem: String,
    /// Event sink, as nodes reach it.
    pub events: SocketAddr,
    /// Kernel log sink, as nodes reach it.
    pub kernel_log: SocketAddr,
    /// Port of the machine API.
    pub port: u16,
}

/// The cluster jobs.
#[derive(Debug)]
pub struct Jobs {
    store: Store,
    settings: Settings,
    sample: OnceCell<Arc<Bundle>>,
}

/// A node and where it is.
struct Member {
    id: String,
    config: pb::NodeConfig,
    machine: MachineId,
    address: Option<IpAddr>,
    installed: bool,
}

impl Jobs {
    /// Over a store.
    pub fn new(store: Store, settings: Settings) -> Self {
        Self {
            store,
            settings,
            sample: OnceCell::new(),
        }
    }

    /// Where nodes find us.
    pub fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            ca_pem: &self.settings.ca_pem,
            events: self.settings.events,
            kernel_log: self.settings.kernel_log,
        }
    }

    /// Secrets of nobody, to render plans of clusters whose secrets do not exist yet.
    pub async fn sample(&self, version: &str) -> Option<Arc<Bundle>> {
        let contract = contract(version).ok()?;
        let make = async move || {
            let made = tokio::task::spawn_blocking(move || {
                Bundle::generate(
                    talos::version::Generator::V1_13,
                    contract,
                    jiff::Timestamp::now(),
                    &mut talos::secrets::system_entropy,
                )
            });
            made.await.ok().and_then(Result::ok).map(Arc::new).ok_or(())
        };
        self.sample.get_or_try_init(make).await.ok().cloned()
    }

    /// Drives every cluster until stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> Result<(), StoreError> {
        let mut changed = self.store.changed();
        loop {
            changed.borrow_and_update();
            let mut busy = self.turn_nodes().await?;
            for doc in self.store.docs(Kind::Cluster).await? {
                busy |= self.turn_cluster(doc).await?;
            }
            let pause = if busy { PAUSE } else { Duration::from_secs(30) };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
                // A burst of changes is one look.
                ended = changed.changed(), if !busy => {
                    if ended.is_err() { return Ok(()) }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn members(&self, wanted: &pb::ClusterConfig) -> Result<Vec<Member>, StoreError> {
        let ids: BTreeMap<&String, &String> = wanted.nodes.iter().collect();
        let mut members = Vec::new();
        for id in ids.into_values() {
            let Some(doc) = self.store.doc(Kind::Node, id).await? else {
                continue;
            };
            if let Some(member) = self.member(doc).await? {
                members.push(member);
            }
        }
        Ok(members)
    }

    async fn member(&self, doc: Doc) -> Result<Option<Member>, StoreError> {
        let Some(machine) = doc.machine.clone() else {
            return Ok(None);
        };
        let config = pb::NodeConfig::decode(doc.config.as_slice())
            .map_err(|_| StoreError::Damaged("docs"))?;
        let record = self.store.machine(&machine).await?;
        Ok(record.map(|r| Member {
            id: doc.name,
            config,
            installed: matches!(r.machine.phase, Phase::Running(_)),
            address: r.address,
            machine,
        }))
    }

    fn client(&self, bundle: &Bundle, address: IpAddr) -> Result<Client, ClientError> {
        let certificate = talos_access(bundle, &[Role::Admin], CERTIFICATE)
            .map_err(|_| ClientError::Certificate("the cluster's CA cannot sign"))?;
        Client::new(
            SocketAddr::new(address, self.settings.port),
            &certificate,
            CALL,
        )
    }

    /// One look at a cluster; true while there is something to do.
    async fn turn_cluster(&self, doc: Doc) -> Result<bool, StoreError> {
        let config = pb::ClusterConfig::decode(doc.config.as_slice())
            .map_err(|_| StoreError::Damaged("docs"))?;
        let before: ClusterState = status(&doc);
        if before.ready {
            return Ok(false);
        }
        let mut state = before.clone();
        let facts = config.facts.clone().unwrap_or_default();
        match secrets(&self.store, &facts.secrets_id).await? {
            None => state.line = format!("there are no secrets {:?}", facts.secrets_id),
            Some((_, _, bundle)) => {
                let members = self.members(&config).await?;
                if !matches!(state.bootstrap, Bootstrap::Done { .. }) {
                    self.bootstrap(&doc, &mut state, &bundle, &members).await?;
                }
                if matches!(state.bootstrap, Bootstrap::Done { .. }) {
                    self.health(&mut state, &config, &bundle, &members).await;
                }
            }
        }
        if state != before {
            self.save(&doc.name, &state).await?;
        }
        Ok(!state.ready)
    }

    async fn save(&self, name: &str, state: &ClusterState) -> Result<(), StoreError> {
        // The caller's config may have changed meanwhile: only the status is ours.
        if let Some(mut doc) = self.store.doc(Kind::Cluster, name).await? {
            set_status(&mut doc, state);
            self.store.put_doc(Kind::Cluster, &doc).await?;
        }
        Ok(())
    }

    async fn bootstrap(
        &self,
        doc: &Doc,
        state: &mut ClusterState,
        bundle: &Bundle,
        members: &[Member],
    ) -> Result<(), StoreError> {
        let planes = || {
            members
                .iter()
                .filter(|m| m.config.role() == pb::Role::Controlplane && m.installed)
        };
        let intended = match &state.bootstrap {
            Bootstrap::Intended { node } => planes().find(|m| m.id == *node),
            Bootstrap::Never | Bootstrap::Done { .. } => None,
        };
        let Some((member, address)) = intended
            .or_else(|| planes().next())
            .and_then(|m| Some((m, m.address?)))
        else {
            "waiting for a control plane to boot from its disk".clone_into(&mut state.line);
            return Ok(());
        };
        let client = match self.client(bundle, address) {
            Ok(client) => client,
            Err(error) => {
                state.line = format!("{}: {error}", member.id);
                return Ok(());
            }
        };
        let asked_before = intended.is_some();
        let known = asked_before && client.etcd_members().await.is_ok_and(|m| !m.is_empty());
        state.bootstrap = Bootstrap::Intended {
            node: member.id.clone(),
        };
        if !asked_before {
            self.save(&doc.name, state).await?;
        }
        let outcome = if known {
            Ok(BootstrapOutcome::AlreadyBootstrapped)
        } else {
            client.bootstrap().await
        };
        match outcome {
            Ok(BootstrapOutcome::Done | BootstrapOutcome::AlreadyBootstrapped) => {
                state.bootstrap = Bootstrap::Done { at: now() };
                state.line = format!("etcd bootstrapped on {}", member.id);
                self.save(&doc.name, state).await?;
                let line = state.line.clone();
                self.store
                    .change(&member.machine, |_, journal| journal.line("talos", line))
                    .await?;
            }
            Ok(BootstrapOutcome::NotYet(why)) => {
                state.line = format!("{} is not ready to bootstrap etcd: {why}", member.id);
            }
            Err(error) => state.line = format!("{}: {error}", member.id),
        }
        Ok(())
    }

    /// The level that was asked for: every node answers with this cluster's certificate, and every worker is a member.
    async fn health(
        &self,
        state: &mut ClusterState,
        config: &pb::ClusterConfig,
        bundle: &Bundle,
        members: &[Member],
    ) {
        if config.wait_for_kubernetes() == pb::KubernetesWait::None {
            state.ready = true;
            return;
        }
        if members.len() < config.nodes.len() {
            state.line = format!(
                "{} of {} nodes are bound to a server",
                members.len(),
                config.nodes.len()
            );
            return;
        }
        let mut known = None;
        for member in members {
            let Some(address) = member.address.filter(|_| member.installed) else {
                state.line = format!("{} did not boot from its disk yet", member.id);
                return;
            };
            let look = async {
                let client = self.client(bundle, address)?;
                let version = client.version().await?;
                client.machine_status().await?;
                if known.is_none() && member.config.role() == pb::Role::Controlplane {
                    known = Some(client.members().await?);
                }
                Ok::<_, ClientError>(version)
            };
            match look.await {
                Ok(version) => self.runs(&member.id, &version.tag).await,
                Err(error) => {
                    state.line = format!("{}: {error}", member.id);
                    return;
                }
            }
        }
        let known = known.unwrap_or_default();
        let absent = members.iter().find(|m| {
            let hostname = hostname(&m.config);
            !known.iter().any(|k| k.hostname == hostname)
        });
        match absent {
            Some(absent) => {
                state.line = format!("{} is not a member of the cluster yet", absent.id);
            }
            None => {
                state.ready = true;
                state.line = format!("all {} nodes answer and are members", members.len());
            }
        }
    }

    /// Remembers what a node said it runs. A store that fails now is asked again at the next look.
    async fn runs(&self, id: &str, version: &str) {
        let Ok(Some(mut doc)) = self.store.doc(Kind::Node, id).await else {
            return;
        };
        let mut state: NodeState = status(&doc);
        if state.version == version {
            return;
        }
        version.clone_into(&mut state.version);
        set_status(&mut doc, &state);
        if let Err(error) = self.store.put_doc(Kind::Node, &doc).await {
            tracing::warn!(node = id, %error, "its version was not stored");
        }
    }

    /// Configs that changed after the install, and nodes that leave; true while there are some.
    async fn turn_nodes(&self) -> Result<bool, StoreError> {
        let mut busy = false;
        for doc in self.store.docs(Kind::Node).await? {
            let state: NodeState = status(&doc);
            if state.leaving {
                self.leave(doc).await?;
            } else if state.to_apply {
                busy |= self.hand_over(doc, state).await?;
            }
        }
        Ok(busy)
    }

    async fn hand_over(&self, mut doc: Doc, mut state: NodeState) -> Result<bool, StoreError> {
        let Some(text) = doc
            .sealed
            .as_ref()
            .and_then(|s| String::from_utf8(s.expose().clone()).ok())
        else {
            return Ok(false);
        };
        let Some(member) = self.member(doc.clone()).await? else {
            return Ok(false);
        };
        let facts = member.config.cluster.clone().unwrap_or_default();
        let (Some(address), Some((_, _, bundle))) = (
            member.address.filter(|_| member.installed),
            secrets(&self.store, &facts.secrets_id).await?,
        ) else {
            return Ok(true);
        };
        let applied = match self.client(&bundle, address) {
            Ok(client) => {
                client
                    .apply_configuration(&MachineConfig::new(text), ApplyMode::Auto)
                    .await
            }
            Err(error) => Err(error),
        };
        let line = match applied {
            Ok(applied) => {
                state.to_apply = false;
                set_status(&mut doc, &state);
                self.store.put_doc(Kind::Node, &doc).await?;
                format!("config applied: {}", applied.details)
            }
            Err(error) => format!("config not applied yet: {error}"),
        };
        self.store
            .change(&member.machine, |_, journal| journal.line("talos", line))
            .await?;
        Ok(state.to_apply)
    }

    /// Best effort: a node that does not answer is dropped; its claim's release erases it.
    async fn leave(&self, doc: Doc) -> Result<(), StoreError> {
        let name = doc.name.clone();
        if let Some(member) = self.member(doc).await? {
            let facts = member.config.cluster.clone().unwrap_or_default();
            if let (Some(address), Some((_, _, bundle)), pb::Role::Controlplane) = (
                member.address,
                secrets(&self.store, &facts.secrets_id).await?,
                member.config.role(),
            ) {
                let left = match self.client(&bundle, address) {
                    Ok(client) => client.etcd_leave().await,
                    Err(error) => Err(error),
                };
                let line = match left {
                    Ok(()) => "left etcd".to_owned(),
                    Err(error) => format!("did not leave etcd: {error}"),
                };
                self.store
                    .change(&member.machine, |_, journal| journal.line("talos", line))
                    .await?;
            }
        }
        self.store.drop_doc(Kind::Node, &name).await
    }
}

/// A node's host name: its own, or its name.
pub(super) fn hostname(config: &pb::NodeConfig) -> &str {
    if config.hostname.is_empty() {
        &config.name
    } else {
        &config.hostname
    }
}
