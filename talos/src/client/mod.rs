//! A client of the Talos machine API.
//!
//! Promises: every call has a deadline; a node that is not the cluster's own is a typed error and never data; nothing
//! is retried here. Not here: when to call (Bootstrap in particular must stop at its first success), and what follows
//! from an answer.

mod connect;
mod error;
mod kubeconfig;
mod resource;

use std::net::SocketAddr;
use std::time::Duration;

use metal_proto::talos::machine::machine_service_client::MachineServiceClient;
use metal_proto::talos::machine::{
    ApplyConfigurationRequest, BootstrapRequest, EtcdLeaveClusterRequest, EtcdMemberListRequest,
    RebootRequest, ResetPartitionSpec, ResetRequest, apply_configuration_request, reset_request,
};
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Request, Status};

pub use connect::{Peer, probe};
pub use error::ClientError;
pub use resource::{Cluster, MachineStatus, Member, Stage};

use crate::config::MachineConfig;
use crate::secrets::{ClientCertificate, Secret};

/// A config, and some answers, are larger than the usual limit of gRPC.
const MESSAGE_MAX: usize = 32 << 20;
/// No kubeconfig is larger.
const KUBECONFIG_MAX: usize = 1 << 20;

/// One node's API. Cheap to clone; the connection is made at the first call and again after it was lost.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    address: SocketAddr,
    deadline: Duration,
}

/// What a node said about its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// Like `v1.13.9`.
    pub tag: String,
    /// Like `metal`.
    pub platform: String,
    /// Like `amd64`.
    pub arch: String,
}

/// What a Bootstrap call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootstrapOutcome {
    /// Accepted: never call it again, only watch. A second call before etcd runs restarts etcd.
    Done,
    /// Too early; the node's words.
    NotYet(String),
    /// etcd has data already.
    AlreadyBootstrapped,
}

/// How a config takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyMode {
    /// The node decides.
    Auto,
    /// At once, or refused.
    NoReboot,
    /// At the next boot.
    Staged,
    /// Nothing changes; the answer tells what would.
    DryRun,
}

/// What a node answered to a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its warnings.
    pub warnings: Vec<String>,
    /// What it did, or would do.
    pub details: String,
}

/// What a reset erases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetScope {
    /// STATE and EPHEMERAL: the node forgets its cluster, and stays installed.
    StateAndEphemeral,
    /// The whole system disk.
    SystemDisk,
}

/// How a node leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It drains and leaves etcd. The last member cannot.
    Gracefully,
    /// It only erases.
    AtOnce,
}

/// What it does after a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterReset {
    /// Boots again.
    Reboot,
    /// Powers off.
    PowerOff,
}

/// One member of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdMember {
    /// Its id.
    pub id: u64,
    /// Its host name.
    pub hostname: String,
    /// Whether it does not vote yet.
    pub is_learner: bool,
}

impl Client {
    /// A client for one node of a cluster. The certificate's authority is what the node is checked against.
    ///
    /// # Errors
    /// The certificate cannot be used.
    pub fn new(
        address: SocketAddr,
        certificate: &ClientCertificate,
        deadline: Duration,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            channel: connect::channel(address, certificate, deadline)?,
            address,
            deadline,
        })
    }

    /// The node's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The node's version: the cheapest proof that it holds this cluster's config.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn version(&self) -> Result<VersionInfo, ClientError> {
        let answer = self
            .call(|mut c, r| async move { c.version(r).await }, ())
            .await?;
        let message = first(answer.messages, "Version")?;
        let version = message.version.unwrap_or_default();
        Ok(VersionInfo {
            tag: version.tag,
            arch: version.arch,
            platform: message.platform.unwrap_or_default().name,
        })
    }

    /// Hands a config over.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where the node finds the config wrong: do not repeat it unchanged.
    pub async fn apply_configuration(
        &self,
        config: &MachineConfig,
        mode: ApplyMode,
    ) -> Result<Applied, ClientError> {
        use apply_configuration_request::Mode;
        let request = ApplyConfigurationRequest {
            data: config.expose().as_bytes().to_vec(),
            mode: match mode {
                ApplyMode::Auto | ApplyMode::DryRun => Mode::Auto,
                ApplyMode::NoReboot => Mode::NoReboot,
                ApplyMode::Staged => Mode::Staged,
            }
            .into(),
            dry_run: mode == ApplyMode::DryRun,
            try_mode_timeout: None,
        };
        let answer = self
            .call(
                |mut c, r| async move { c.apply_configuration(r).await },
                request,
            )
            .await?;
        let message = first(answer.messages, "ApplyConfiguration")?;
        Ok(Applied {
            warnings: message.warnings,
            details: message.mode_details,
        })
    }

    /// Starts etcd's first member. Once in a cluster's life.
    ///
    /// # Errors
    /// See [`ClientError`]; being early or late are outcomes, not errors.
    pub async fn bootstrap(&self) -> Result<BootstrapOutcome, ClientError> {
        let request = BootstrapRequest::default();
        let answer = self
            .call(|mut c, r| async move { c.bootstrap(r).await }, request)
            .await;
        match answer {
            Ok(_) => Ok(BootstrapOutcome::Done),
            Err(ClientError::Precondition(text)) => Ok(BootstrapOutcome::NotYet(text)),
            Err(ClientError::AlreadyExists(_)) => Ok(BootstrapOutcome::AlreadyBootstrapped),
            Err(other) => Err(other),
        }
    }

    /// The administrator's kubeconfig, from a control plane. It works before bootstrap too.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn kubeconfig(&self) -> Result<Secret, ClientError> {
        let stream = self
            .call(|mut c, r| async move { c.kubeconfig(r).await }, ())
            .await?;
        let collect = async {
            let mut stream = stream;
            let mut archive = Vec::new();
            while let Some(chunk) = stream.next().await {
                archive.extend(
                    chunk
                        .map_err(|s| ClientError::from_status(self.address, &s))?
                        .bytes,
                );
                if archive.len() > KUBECONFIG_MAX {
                    return Err(ClientError::Answer("a kubeconfig archive above 1 MiB"));
                }
            }
            Ok(archive)
        };
        let archive = tokio::time::timeout(self.deadline, collect)
            .await
            .map_err(|_| ClientError::Deadline(self.address))??;
        kubeconfig::unpack(&archive, KUBECONFIG_MAX)
    }

    /// Erases and leaves.
    ///
    /// # Errors
    /// See [`ClientError`]. Success means that the sequence has begun, not that anything is erased.
    pub async fn reset(
        &self,
        scope: ResetScope,
        leave: Leave,
        after: AfterReset,
    ) -> Result<(), ClientError> {
        let partition = |label: &str| ResetPartitionSpec {
            label: label.to_owned(),
            wipe: true,
        };
        let request = ResetRequest {
            graceful: leave == Leave::Gracefully,
            reboot: after == AfterReset::Reboot,
            system_partitions_to_wipe: match scope {
                ResetScope::StateAndEphemeral => vec![partition("STATE"), partition("EPHEMERAL")],
                ResetScope::SystemDisk => Vec::new(),
            },
            user_disks_to_wipe: Vec::new(),
            mode: reset_request::WipeMode::SystemDisk.into(),
        };
        self.call(|mut c, r| async move { c.reset(r).await }, request)
            .await?;
        Ok(())
    }

    /// Restarts the node.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn reboot(&self) -> Result<(), ClientError> {
        let request = RebootRequest::default();
        self.call(|mut c, r| async move { c.reboot(r).await }, request)
            .await?;
        Ok(())
    }

    /// Takes the node out of etcd. The last member cannot leave.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn etcd_leave(&self) -> Result<(), ClientError> {
        let request = EtcdLeaveClusterRequest {};
        self.call(
            |mut c, r| async move { c.etcd_leave_cluster(r).await },
            request,
        )
        .await?;
        Ok(())
    }

    /// etcd's members as this node sees them. Before etcd runs it ends at the deadline.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn etcd_members(&self) -> Result<Vec<EtcdMember>, ClientError> {
        let request = EtcdMemberListRequest { query_local: true };
        let answer = self
            .call(
                |mut c, r| async move { c.etcd_member_list(r).await },
                request,
            )
            .await?;
        let message = first(answer.messages, "EtcdMemberList")?;
        let members = message.members.into_iter().map(|m| EtcdMember {
            id: m.id,
            hostname: m.hostname,
            is_learner: m.is_learner,
        });
        Ok(members.collect())
    }

    /// One unary call, or the start of a stream, within the deadline.
    async fn call<M, A, F>(
        &self,
        method: impl FnOnce(MachineServiceClient<Channel>, Request<M>) -> F,
        message: M,
    ) -> Result<A, ClientError>
    where
        F: Future<Output = Result<tonic::Response<A>, Status>>,
    {
        let client = MachineServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX);
        self.within(method(client, Request::new(message))).await
    }

    async fn within<A>(
        &self,
        call: impl Future<Output = Result<tonic::Response<A>, Status>>,
    ) -> Result<A, ClientError> {
        match tokio::time::timeout(self.deadline, call).await {
            Err(_) => Err(ClientError::Deadline(self.address)),
            Ok(Err(status)) => Err(ClientError::from_status(self.address, &status)),
            Ok(Ok(answer)) => Ok(answer.into_inner()),
        }
    }
}

fn first<T>(messages: Vec<T>, call: &'static str) -> Result<T, ClientError> {
    messages.into_iter().next().ok_or(ClientError::Answer(call))
}
