//! `machine.MachineService`.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use metal_proto::talos::common;
use metal_proto::talos::machine as m;
use metal_proto::talos::machine::apply_configuration_request::Mode as ApplyMode;
use metal_proto::talos::machine::machine_service_server::MachineService;
use metal_proto::talos::machine::reset_request::WipeMode;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Api, kubeconfig};
use crate::rack::plan::hex;
use crate::talosnode::apid::Mode;
use crate::talosnode::clock;
use crate::talosnode::config::Config;
use crate::talosnode::discovery::Role;
use crate::talosnode::node::{Command, Etcd, Node, Reset};

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

/// Bytes of a stream at once.
const CHUNK: usize = 32 << 10;

fn stream<T: Send + 'static>(items: Vec<T>) -> Response<BoxStream<T>> {
    Response::new(Box::pin(futures::stream::iter(items.into_iter().map(Ok))))
}

fn data(bytes: &[u8]) -> Response<BoxStream<common::Data>> {
    let chunk = |part: &[u8]| common::Data {
        metadata: None,
        bytes: part.to_vec(),
    };
    stream(bytes.chunks(CHUNK).map(chunk).collect())
}

/// Filled only when the caller fans out with `nodes`.
pub(super) fn metadata<T>(request: &Request<T>) -> Option<common::Metadata> {
    let asked = request.metadata().get("nodes")?.to_str().ok()?;
    Some(common::Metadata {
        hostname: asked.to_owned(),
        ..common::Metadata::default()
    })
}

impl Api {
    fn control_plane_only(&self, what: &str, verb: &str) -> Result<(), Status> {
        let control_plane =
            self.caller.mode == Mode::Configured && self.node.config().role() == Role::ControlPlane;
        if control_plane {
            return Ok(());
        }
        Err(Status::unimplemented(format!(
            "{what} {verb} only available on control plane nodes"
        )))
    }

    /// Before etcd runs its calls hang, to the caller's deadline.
    async fn etcd_runs(&self) -> u64 {
        let mut etcd = self.node.etcd.subscribe();
        loop {
            if let Etcd::Running(id) = *etcd.borrow_and_update() {
                return id;
            }
            if etcd.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn order(&self, command: Command) -> Result<(), Status> {
        let sent = self.node.commands.send(command).await;
        sent.map_err(|_| Status::unavailable("the node is going down"))
    }

    fn actor(&self) -> String {
        let random: Vec<u8> = (0..4)
            .flat_map(|_| self.node.machine.random().to_be_bytes())
            .collect();
        let h = hex(&random);
        format!(
            "{}-{}-4{}-9{}-{}",
            &h[..8],
            &h[8..12],
            &h[13..16],
            &h[17..20],
            &h[20..]
        )
    }

    fn members(&self) -> Vec<m::EtcdMember> {
        let running = |peer: crate::talosnode::discovery::Affiliate| {
            Some(m::EtcdMember {
                id: peer.etcd?,
                hostname: peer.hostname,
                peer_urls: vec![format!("https://{}:2380", peer.address)],
                client_urls: vec![format!("https://{}:2379", peer.address)],
                is_learner: false,
            })
        };
        self.node.peers().into_iter().filter_map(running).collect()
    }
}

#[tonic::async_trait]
impl MachineService for Api {
    async fn version(&self, request: Request<()>) -> Answer<m::VersionResponse> {
        let configured = self.caller.mode == Mode::Configured;
        Ok(Response::new(m::VersionResponse {
            messages: vec![m::Version {
                metadata: metadata(&request),
                version: Some(m::VersionInfo {
                    tag: self.node.start.version.clone(),
                    sha: "undefined".to_owned(),
                    built: String::new(),
                    go_version: "go1.26.8".to_owned(),
                    os: "linux".to_owned(),
                    arch: "amd64".to_owned(),
                }),
                platform: Some(m::PlatformInfo {
                    name: "metal".to_owned(),
                    mode: "metal".to_owned(),
                }),
                features: configured.then_some(m::FeaturesInfo { rbac: true }),
            }],
        }))
    }

    async fn hostname(&self, request: Request<()>) -> Answer<m::HostnameResponse> {
        Ok(Response::new(m::HostnameResponse {
            messages: vec![m::Hostname {
                metadata: metadata(&request),
                hostname: self.node.hostname(),
            }],
        }))
    }

    async fn service_list(&self, request: Request<()>) -> Answer<m::ServiceListResponse> {
        let service = |(id, service): (&str, crate::talosnode::node::Service)| m::ServiceInfo {
            id: id.to_owned(),
            state: service.state.to_owned(),
            events: Some(m::ServiceEvents {
                events: service
                    .events
                    .iter()
                    .map(|(at, state, msg)| m::ServiceEvent {
                        msg: msg.clone(),
                        state: (*state).to_owned(),
                        ts: Some(clock::timestamp(*at)),
                    })
                    .collect(),
            }),
            health: Some(m::ServiceHealth {
                unknown: service.healthy.is_none(),
                healthy: service.healthy == Some(true),
                last_message: String::new(),
                last_change: None,
            }),
        };
        Ok(Response::new(m::ServiceListResponse {
            messages: vec![m::ServiceList {
                metadata: metadata(&request),
                services: self.node.services().into_iter().map(service).collect(),
            }],
        }))
    }

    async fn apply_configuration(
        &self,
        request: Request<m::ApplyConfigurationRequest>,
    ) -> Answer<m::ApplyConfigurationResponse> {
        let ask = request.into_inner();
        let config = Config::read(&ask.data).map_err(Status::invalid_argument)?;
        config
            .validate(&self.node.machine.plan.disks)
            .map_err(Status::invalid_argument)?;
        if self.caller.mode == Mode::Configured && !config.is_complete() {
            return Err(Status::invalid_argument(
                "the applied machine configuration doesn't contain v1alpha1 config",
            ));
        }
        let staged = ask.mode() == ApplyMode::Staged;
        let details = match (ask.dry_run, staged) {
            (true, _) if config.bytes == self.node.config().bytes => {
                "Dry run summary:\nNo changes."
            }
            (true, _) => {
                "Dry run summary:\nApplied configuration without a reboot (skipped in dry-run)."
            }
            (false, true) => "Staged configuration to be applied after the next reboot",
            (false, false) => "Applied configuration without a reboot",
        };
        if !ask.dry_run {
            self.order(Command::Apply(Box::new(config))).await?;
        }
        Ok(Response::new(m::ApplyConfigurationResponse {
            messages: vec![m::ApplyConfiguration {
                metadata: None,
                warnings: Vec::new(),
                mode: if staged {
                    ApplyMode::Staged
                } else {
                    ApplyMode::NoReboot
                }
                .into(),
                mode_details: details.to_owned(),
            }],
        }))
    }

    async fn bootstrap(
        &self,
        _request: Request<m::BootstrapRequest>,
    ) -> Answer<m::BootstrapResponse> {
        self.control_plane_only("bootstrap", "is")?;
        let mut refused = None;
        self.node.etcd.send_if_modified(|etcd| match *etcd {
            Etcd::Absent => {
                refused = Some(Status::failed_precondition(
                    "bootstrap is not available yet",
                ));
                false
            }
            Etcd::Running(_) => {
                refused = Some(Status::already_exists("etcd data directory is not empty"));
                false
            }
            Etcd::Waiting => {
                *etcd = Etcd::Pulling(1);
                true
            }
            // Answers OK again, and starts etcd anew.
            Etcd::Pulling(n) => {
                *etcd = Etcd::Pulling(n + 1);
                true
            }
        });
        if let Some(status) = refused {
            return Err(status);
        }
        self.node.machine.count(|counts| counts.bootstraps += 1);
        Ok(Response::new(m::BootstrapResponse {
            messages: vec![m::Bootstrap::default()],
        }))
    }

    async fn kubeconfig(&self, _request: Request<()>) -> Answer<BoxStream<common::Data>> {
        self.control_plane_only("kubeconfig", "is")?;
        Ok(data(&kubeconfig::archive(&self.node.config())?))
    }

    async fn etcd_member_list(
        &self,
        request: Request<m::EtcdMemberListRequest>,
    ) -> Answer<m::EtcdMemberListResponse> {
        self.control_plane_only("member list", "is")?;
        self.etcd_runs().await;
        let members = self.members();
        Ok(Response::new(m::EtcdMemberListResponse {
            messages: vec![m::EtcdMembers {
                metadata: metadata(&request),
                legacy_members: members
                    .iter()
                    .map(|member| member.hostname.clone())
                    .collect(),
                members,
            }],
        }))
    }

    async fn etcd_status(&self, request: Request<()>) -> Answer<m::EtcdStatusResponse> {
        self.control_plane_only("etcd status", "is")?;
        let id = self.etcd_runs().await;
        let leader = self.members().first().map_or(id, |member| member.id);
        Ok(Response::new(m::EtcdStatusResponse {
            messages: vec![m::EtcdStatus {
                metadata: metadata(&request),
                member_status: Some(m::EtcdMemberStatus {
                    storage_version: "3.6.0".to_owned(),
                    member_id: id,
                    protocol_version: "3.6.12".to_owned(),
                    db_size: 20_480,
                    db_size_in_use: 16_384,
                    leader,
                    raft_index: 8,
                    raft_term: 2,
                    raft_applied_index: 8,
                    errors: Vec::new(),
                    is_learner: false,
                }),
            }],
        }))
    }

    async fn etcd_alarm_list(&self, request: Request<()>) -> Answer<m::EtcdAlarmListResponse> {
        self.control_plane_only("etcd alarm list", "is")?;
        self.etcd_runs().await;
        Ok(Response::new(m::EtcdAlarmListResponse {
            messages: vec![m::EtcdAlarm {
                metadata: metadata(&request),
            }],
        }))
    }

    async fn etcd_leave_cluster(
        &self,
        _request: Request<m::EtcdLeaveClusterRequest>,
    ) -> Answer<m::EtcdLeaveClusterResponse> {
        self.control_plane_only("etcd leave", "is")?;
        self.etcd_runs().await;
        self.node.etcd.send_replace(Etcd::Absent);
        self.node.announce();
        Ok(Response::new(m::EtcdLeaveClusterResponse {
            messages: vec![m::EtcdLeaveCluster::default()],
        }))
    }

    async fn etcd_forfeit_leadership(
        &self,
        _request: Request<m::EtcdForfeitLeadershipRequest>,
    ) -> Answer<m::EtcdForfeitLeadershipResponse> {
        self.control_plane_only("etcd forfeit leadership", "is")?;
        self.etcd_runs().await;
        Ok(Response::new(m::EtcdForfeitLeadershipResponse {
            messages: vec![m::EtcdForfeitLeadership::default()],
        }))
    }

    async fn etcd_remove_member_by_id(
        &self,
        request: Request<m::EtcdRemoveMemberByIdRequest>,
    ) -> Answer<m::EtcdRemoveMemberByIdResponse> {
        self.control_plane_only("etcd remove member", "is")?;
        self.etcd_runs().await;
        let id = request.into_inner().member_id;
        let cluster = self.node.config().cluster_id();
        let mut peers = self.node.peers().into_iter();
        let Some(mut peer) = peers.find(|peer| peer.etcd == Some(id)) else {
            return Err(Status::not_found("etcdserver: member not found"));
        };
        peer.etcd = None;
        self.node.machine.world.discovery.put(&cluster, peer);
        Ok(Response::new(m::EtcdRemoveMemberByIdResponse {
            messages: vec![m::EtcdRemoveMemberById::default()],
        }))
    }

    async fn etcd_snapshot(
        &self,
        _request: Request<m::EtcdSnapshotRequest>,
    ) -> Answer<BoxStream<common::Data>> {
        self.control_plane_only("etcd snapshot", "is")?;
        self.etcd_runs().await;
        // bbolt's magic number, where its first page has it.
        let mut page = vec![0; 4096];
        page[8] = 4;
        page[16..20].copy_from_slice(&0xed0c_daed_u32.to_le_bytes());
        Ok(data(&page))
    }

    async fn read(&self, request: Request<m::ReadRequest>) -> Answer<BoxStream<common::Data>> {
        let path = request.into_inner().path;
        match path.as_str() {
            "/proc/sys/kernel/random/boot_id" => {
                Ok(data(format!("{}\n", self.node.boot_id).as_bytes()))
            }
            "/proc/cmdline" => Ok(data(
                format!("{}\n", self.node.start.command_line).as_bytes(),
            )),
            path => Err(Status::not_found(format!(
                "stat {path}: no such file or directory"
            ))),
        }
    }

    async fn list(&self, request: Request<m::ListRequest>) -> Answer<BoxStream<m::FileInfo>> {
        let root = match request.into_inner().root {
            root if root.is_empty() => "/".to_owned(),
            root => root,
        };
        Ok(stream(vec![m::FileInfo {
            name: root,
            size: 237,
            mode: 2_147_484_141,
            is_dir: true,
            relative_name: ".".to_owned(),
            ..m::FileInfo::default()
        }]))
    }

    async fn dmesg(&self, _request: Request<m::DmesgRequest>) -> Answer<BoxStream<common::Data>> {
        let lines = self.node.kernel.lines();
        let chunk = |line: String| common::Data {
            metadata: None,
            bytes: line.into_bytes(),
        };
        Ok(stream(lines.into_iter().map(chunk).collect()))
    }

    async fn logs_containers(&self, request: Request<()>) -> Answer<m::LogsContainersResponse> {
        let services = self.node.services();
        let mut ids: Vec<String> = services.keys().map(|id| (*id).to_owned()).collect();
        ids.extend(
            [
                "kernel",
                "controller-runtime",
                "dns-resolve-cache",
                "early-startup",
            ]
            .map(str::to_owned),
        );
        Ok(Response::new(m::LogsContainersResponse {
            messages: vec![m::LogsContainer {
                metadata: metadata(&request),
                ids,
            }],
        }))
    }

    async fn events(&self, request: Request<m::EventsRequest>) -> Answer<BoxStream<m::Event>> {
        let ask = request.into_inner();
        let (send, receive) = mpsc::channel(64);
        // Ends when the caller is gone.
        tokio::spawn(follow(Arc::clone(&self.node), ask, send));
        Ok(Response::new(Box::pin(ReceiverStream::new(receive))))
    }

    async fn reboot(&self, request: Request<m::RebootRequest>) -> Answer<m::RebootResponse> {
        let actor = self.actor();
        self.order(Command::Reboot {
            actor: actor.clone(),
        })
        .await?;
        Ok(Response::new(m::RebootResponse {
            messages: vec![m::Reboot {
                metadata: metadata(&request),
                actor_id: actor,
            }],
        }))
    }

    async fn shutdown(&self, request: Request<m::ShutdownRequest>) -> Answer<m::ShutdownResponse> {
        let actor = self.actor();
        self.order(Command::Shutdown {
            actor: actor.clone(),
        })
        .await?;
        Ok(Response::new(m::ShutdownResponse {
            messages: vec![m::Shutdown {
                metadata: metadata(&request),
                actor_id: actor,
            }],
        }))
    }

    async fn reset(&self, request: Request<m::ResetRequest>) -> Answer<m::ResetResponse> {
        let metadata = metadata(&request);
        let ask = request.into_inner();
        let last_member = self.node.config().role() == Role::ControlPlane
            && matches!(*self.node.etcd.borrow(), Etcd::Running(_))
            && self.members().len() <= 1;
        if ask.graceful && last_member {
            return Err(Status::failed_precondition(
                "failed to leave etcd: etcd member is the last one: set graceful to false to reset it",
            ));
        }
        let actor = self.actor();
        let partitions = ask.system_partitions_to_wipe.iter();
        let reset = Reset {
            actor: actor.clone(),
            reboot: ask.reboot,
            partitions: partitions
                .filter(|p| p.wipe)
                .map(|p| p.label.clone())
                .collect(),
            system: ask.mode() != WipeMode::UserDisks,
            user_disks: match ask.mode() {
                WipeMode::SystemDisk => Vec::new(),
                WipeMode::All | WipeMode::UserDisks => ask.user_disks_to_wipe,
            },
        };
        self.order(Command::Reset(reset)).await?;
        Ok(Response::new(m::ResetResponse {
            messages: vec![m::Reset {
                metadata,
                actor_id: actor,
            }],
        }))
    }
}

/// First an empty message; then old events if asked for, then new ones.
async fn follow(
    node: Arc<Node>,
    ask: m::EventsRequest,
    send: mpsc::Sender<Result<m::Event, Status>>,
) {
    let hello = m::Event {
        metadata: None,
        data: Some(prost_types::Any::default()),
        id: node.events.id(),
        actor_id: String::new(),
    };
    if send.send(Ok(hello)).await.is_err() {
        return;
    }
    let mut count = node.events.count();
    let total = *count.borrow_and_update();
    let mut next = match usize::try_from(ask.tail_events) {
        Ok(tail) => total.saturating_sub(tail),
        // Negative: all.
        Err(_) => 0,
    };
    if !ask.tail_id.is_empty() {
        next = (0..total)
            .find(|n| node.events.at(*n).is_some_and(|(_, e)| e.id == ask.tail_id))
            .map_or(next, |n| n + 1);
    }
    loop {
        while let Some((number, event)) = node.events.at(next) {
            next = number + 1;
            if !ask.with_actor_id.is_empty() && event.actor != ask.with_actor_id {
                continue;
            }
            let message = m::Event {
                metadata: None,
                data: Some(prost_types::Any {
                    type_url: format!("talos/runtime/machine.{}", event.payload.name),
                    value: event.payload.bytes,
                }),
                id: event.id,
                actor_id: event.actor,
            };
            if send.send(Ok(message)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = count.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = send.closed() => return,
        }
    }
}
