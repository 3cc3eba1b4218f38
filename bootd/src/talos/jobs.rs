//! Cluster jobs: etcd's one bootstrap, health by level, configs handed to running nodes, nodes that leave.
//!
//! Promises: Bootstrap is recorded before it is called and never called again once it was accepted; every call has a deadline;
//! only our own machines' addresses and `[egress] allow` are dialled. Level triggered: killed anywhere, it goes on.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bootd_core::id::{MachineId, Timestamp};
use bootd_core::lifecycle::Phase;
use metal_proto::metal::v1 as pb;
use prost::Message as _;
use talos::client::{ApplyMode, BootstrapOutcome, Client, ClientError};
use talos::config::MachineConfig;
use talos::secrets::{Bundle, Role};
use talos::version::{Contract, Generator};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::render::Surroundings;
use super::state::{
    Bootstrap, ClusterState, NodeState, SecretsState, secrets, set_status, status, talos_access,
};
use crate::egress::{Egress, Network};
use crate::store::{Doc, Kind, Store, StoreError, now};

/// Secrets that were deleted are kept so long (hcl.md §3).
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Pause between two looks for those.
const PURGE: Duration = Duration::from_secs(3600);
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
    /// Networks of `[egress] allow`.
    pub egress: Vec<Network>,
    /// How long a cluster may take, from the call that asks for it.
    pub patience: Duration,
}

/// The cluster jobs.
#[derive(Debug)]
pub struct Jobs {
    store: Store,
    settings: Settings,
    samples: Mutex<BTreeMap<Contract, Arc<Bundle>>>,
}

/// Why a node was not spoken to.
#[derive(Debug, thiserror::Error)]
enum NoClient {
    /// It did not answer, or not well.
    #[error(transparent)]
    Talos(#[from] ClientError),
    /// It says that it is where bootd does not go.
    #[error(
        "its address {0} is not dialled: loopback and link-local addresses need an entry in [egress] allow"
    )]
    Egress(IpAddr),
    /// It says that it is where a BMC is.
    #[error("its address {0} is not dialled: the BMC of {1} is there")]
    Bmc(IpAddr, String),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
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
            samples: Mutex::default(),
        }
    }

    /// How long a cluster may take, from the call that asks for it.
    pub fn patience(&self) -> Duration {
        self.settings.patience
    }

    /// Where nodes find us.
    pub fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            ca_pem: &self.settings.ca_pem,
            events: self.settings.events,
            kernel_log: self.settings.kernel_log,
        }
    }

    /// Secrets of nobody, to render plans of clusters whose secrets do not exist yet. One per contract is made, once.
    pub async fn sample(&self, contract: Contract) -> Option<Arc<Bundle>> {
        let mut samples = self.samples.lock().await;
        if let Some(sample) = samples.get(&contract) {
            return Some(sample.clone());
        }
        let make = move || {
            Bundle::generate(
                Generator::of(contract),
                contract,
                jiff::Timestamp::now(),
                &mut talos::secrets::system_entropy,
            )
        };
        let made = tokio::task::spawn_blocking(make).await.ok()?.ok()?;
        let made = Arc::new(made);
        samples.insert(contract, made.clone());
        Some(made)
    }

    /// Drives every cluster until stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> Result<(), StoreError> {
        let mut changed = self.store.changed();
        let mut purge_at = now();
        loop {
            changed.borrow_and_update();
            if now() >= purge_at {
                self.purge(now()).await?;
                purge_at = now() + PURGE;
            }
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

    /// Drops secrets whose term after their deletion is over, for good. Those that a cluster or node still names are kept.
    async fn purge(&self, now: Timestamp) -> Result<(), StoreError> {
        for doc in self.store.docs(Kind::Secrets).await? {
            let state: SecretsState = status(&doc);
            if state.deleted_at.is_none_or(|at| now.since(at) < KEPT) {
                continue;
            }
            if let Some(user) = self.user_of(&doc.name).await? {
                tracing::warn!(
                    secrets = doc.name,
                    user,
                    "deleted secrets are in use, and kept"
                );
                continue;
            }
            self.store.drop_doc(Kind::Secrets, &doc.name).await?;
            tracing::info!(
                secrets = doc.name,
                "audit: deleted secrets are gone for good"
            );
        }
        Ok(())
    }

    async fn user_of(&self, secrets: &str) -> Result<Option<String>, StoreError> {
        for doc in self.store.docs(Kind::Cluster).await? {
            let config = pb::ClusterConfig::decode(doc.config.as_slice()).unwrap_or_default();
            if config.facts.is_some_and(|f| f.secrets_id == secrets) {
                return Ok(Some(doc.name));
            }
        }
        for doc in self.store.docs(Kind::Node).await? {
            let config = pb::NodeConfig::decode(doc.config.as_slice()).unwrap_or_default();
            let unbound = status::<NodeState>(&doc).unbound;
            if !unbound && config.cluster.is_some_and(|f| f.secrets_id == secrets) {
                return Ok(Some(doc.name));
            }
        }
        Ok(None)
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

    /// A client of a node. A machine says itself where it is: an address that is not its own to give is not dialled.
    async fn client(&self, bundle: &Bundle, address: IpAddr) -> Result<Client, NoClient> {
        let egress = Egress::from(self.settings.egress.clone());
        if !egress.allows_own(address) {
            return Err(NoClient::Egress(address));
        }
        let servers = self.store.servers().await?;
        let bmc = servers.iter().find(|c| {
            let at = c.bmc.as_ref().map(|b| b.address.parse::<IpAddr>());
            matches!(at, Some(Ok(at)) if address == at)
        });
        if let Some(server) = bmc.filter(|_| !egress.allows(address)) {
            return Err(NoClient::Bmc(address, server.name.clone()));
        }
        Ok(self.dial(bundle, address)?)
    }

    fn dial(&self, bundle: &Bundle, address: IpAddr) -> Result<Client, ClientError> {
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
            self.save(&doc, &state).await?;
        }
        Ok(!state.ready)
    }

    /// Stores what was found of the cluster that was looked at. The caller may have asked anew meanwhile: that stays.
    async fn save(&self, looked_at: &Doc, state: &ClusterState) -> Result<(), StoreError> {
        self.store
            .change_doc(Kind::Cluster, &looked_at.name, |doc| {
                let asked: ClusterState = status(doc);
                let merged = ClusterState {
                    ready: state.ready && doc.config == looked_at.config,
                    asked_at: asked.asked_at,
                    ..state.clone()
                };
                set_status(doc, &merged);
            })
            .await?;
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
        let client = match self.client(bundle, address).await {
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
            self.save(doc, state).await?;
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
                self.save(doc, state).await?;
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
                let client = self.client(bundle, address).await?;
                let version = client.version().await?;
                client.machine_status().await?;
                if known.is_none() && member.config.role() == pb::Role::Controlplane {
                    known = Some(client.members().await?);
                }
                Ok::<_, NoClient>(version)
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
        let known = match self.store.doc(Kind::Node, id).await {
            Ok(Some(doc)) => status::<NodeState>(&doc).version,
            Ok(None) | Err(_) => return,
        };
        if known == version {
            return;
        }
        let stored = self.store.change_doc(Kind::Node, id, |doc| {
            let mut state: NodeState = status(doc);
            version.clone_into(&mut state.version);
            set_status(doc, &state);
        });
        if let Err(error) = stored.await {
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
        let applied = match self.client(&bundle, address).await {
            Ok(client) => client
                .apply_configuration(&MachineConfig::new(text), ApplyMode::Auto)
                .await
                .map_err(NoClient::from),
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
                let left = match self.client(&bundle, address).await {
                    Ok(client) => client.etcd_leave().await.map_err(NoClient::from),
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

#[cfg(test)]
mod tests;
