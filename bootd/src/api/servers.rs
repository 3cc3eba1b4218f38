//! Servers: declared, read, listed, forgotten; their stories; credentials and registration.

use std::collections::BTreeMap;
use std::time::Duration;

use bootd_core::id::{Mac, Timestamp};
use bootd_core::lifecycle::{
    Admission, Control, Goal, Hold, Idle, Inspect, Machine, OnDestroy, Phase, PowerState, Step,
};
use bootd_core::netboot::script;
use bootd_core::secret::Secret;
use metal_proto::metal::v1 as pb;

use super::status::{ApiError, Story, no_such};
use super::words::{failure, labels, name, phase, timestamp};
use super::{Api, Streamed, machine};
use crate::store::{Afterwards, Doc, Identity, Kind, Line, Record, hardware_to_proto, now};

/// Longest registration window.
const WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);

impl Api {
    pub(super) async fn put_server(
        &self,
        request: pb::PutServerRequest,
    ) -> Result<pb::Server, ApiError> {
        let config = request.config.unwrap_or_default();
        name(&config.name, "name")?;
        let identity = identity(&config)?;
        script::check_args(&config.boot_args).map_err(|e| {
            Story::new("bad-boot-args", "Kernel argument refused")
                .detail(format!("{}: {e}", config.name))
                .hint("remove the argument.")
                .at("boot_args")
                .invalid()
        })?;
        if let Some(other) = self.store.find(&identity).await?
            && other.0 != config.name
            && self.store.server(&other.0).await?.is_some()
        {
            return Err(
                Story::new("identity-taken", "Two servers with one identity")
                    .detail(format!(
                        "{} names the same mac, uuid or serial as {other}.",
                        config.name
                    ))
                    .hint("give each server its own identity.")
                    .at("mac")
                    .invalid(),
            );
        }
        self.one_bmc_each(&config).await?;
        let password =
            (!request.bmc_password.is_empty()).then(|| Secret::new(request.bmc_password));
        let words = config.clone();
        self.store
            .declare(&config, identity, password, |record, journal| {
                if apply(record, &words) {
                    journal.line(
                        "api",
                        if words.accepted {
                            "accepted"
                        } else {
                            "declared"
                        },
                    );
                }
            })
            .await?;
        self.read_server(&config.name).await
    }

    /// Two servers with one BMC would be one box under two names.
    async fn one_bmc_each(&self, config: &pb::ServerConfig) -> Result<(), ApiError> {
        let at = |c: &pb::ServerConfig| {
            let bmc = c.bmc.as_ref()?;
            (bmc.protocol() == pb::BmcProtocol::Ipmi).then(|| {
                (
                    bmc.address.clone(),
                    if bmc.port == 0 { 623 } else { bmc.port },
                )
            })
        };
        let Some(wanted) = at(config) else {
            return Ok(());
        };
        let all = self.store.servers().await?;
        let taken = all
            .iter()
            .find(|c| c.name != config.name && at(c).as_ref() == Some(&wanted));
        match taken {
            None => Ok(()),
            Some(other) => Err(Story::new("bmc-taken", "Two servers with one BMC")
                .detail(format!(
                    "{} names the BMC {}, which is that of {}.",
                    config.name, wanted.0, other.name
                ))
                .hint("give each server the address of its own BMC.")
                .at("bmc.address")
                .invalid()),
        }
    }

    pub(super) async fn read_server(&self, name: &str) -> Result<pb::Server, ApiError> {
        let record = self
            .store
            .machine(&machine(name))
            .await?
            .ok_or_else(|| no_such("server", name))?;
        let config = self.store.server(name).await?.map(|s| s.config);
        Ok(server(config, &record))
    }

    pub(super) async fn list_servers(
        &self,
        request: &pb::ListServersRequest,
    ) -> Result<pb::ListServersResponse, ApiError> {
        let configs: BTreeMap<String, pb::ServerConfig> = self
            .store
            .servers()
            .await?
            .into_iter()
            .map(|c| (c.name.clone(), c))
            .collect();
        let wanted = labels(&request.labels);
        let servers = self
            .store
            .machines()
            .await?
            .iter()
            .map(|record| server(configs.get(&record.machine.id.0).cloned(), record))
            .filter(|s| {
                let has = s
                    .config
                    .as_ref()
                    .map(|c| labels(&c.labels))
                    .unwrap_or_default();
                wanted.iter().all(|(k, v)| has.get(k) == Some(v))
            })
            .filter(|s| {
                let phase = s.status.as_ref().map_or(0, |s| s.phase);
                request.phases.is_empty() || request.phases.contains(&phase)
            })
            .collect();
        Ok(pb::ListServersResponse { servers })
    }

    pub(super) async fn delete_server(
        &self,
        request: &pb::DeleteServerRequest,
    ) -> Result<pb::Empty, ApiError> {
        let id = machine(&request.name);
        let Some(record) = self.store.machine(&id).await? else {
            return Ok(pb::Empty {});
        };
        let m = &record.machine;
        let unwiped = matches!(m.phase, Phase::Failed(Step::Wipe) | Phase::Quarantined(_));
        if let Some(claim) = &m.claim
            && (claim.hold == Hold::Held || !unwiped)
        {
            return Err(Story::new("server-claimed", "Server is claimed")
                .detail(format!("{id} is held by {} and is {}.", claim.id, m.phase))
                .hint("destroy the claim first; its disks are erased then.")
                .not_now());
        }
        if m.phase == Phase::Wiping {
            return Err(Story::new("server-wiping", "Server is being wiped")
                .detail(format!("{id}: {}.", m.reason))
                .hint("wait until the wipe ended.")
                .not_now());
        }
        if request.force {
            let text = format!(
                "forgotten by force while {}: its disks may still hold what was on them",
                m.phase
            );
            tracing::warn!(machine = %id, text, "audit: a server is forgotten");
            self.store.forget(&id, Afterwards::Told(text)).await?;
            return Ok(pb::Empty {});
        }
        if unwiped {
            return Err(not_wiped(m).not_now());
        }
        let ours = m.control == Control::Bmc && m.admission == Admission::Accepted;
        if m.on_destroy == OnDestroy::Release || !ours {
            self.store.forget(&id, Afterwards::Nothing).await?;
            return Ok(pb::Empty {});
        }
        self.store
            .change(&id, |record, journal| {
                if record.machine.goal != Goal::Retire {
                    record.machine.want(Goal::Retire, now());
                    journal.line("api", "to be turned off and forgotten");
                }
            })
            .await?;
        Ok(pb::Empty {})
    }

    pub(super) async fn retry_server(
        &self,
        request: &pb::RetryServerRequest,
    ) -> Result<pb::Server, ApiError> {
        let id = machine(&request.name);
        let record = self
            .store
            .machine(&id)
            .await?
            .ok_or_else(|| no_such("server", &request.name))?;
        if request.confirm_bmc {
            self.store.record_binding(&id, None).await?;
        }
        let m = &record.machine;
        let failed = matches!(m.phase, Phase::Failed(_) | Phase::Quarantined(_));
        let wipes = matches!(m.phase, Phase::Failed(Step::Wipe) | Phase::Quarantined(_));
        if !failed && request.confirm_bmc {
            return self.read_server(&request.name).await;
        }
        if !failed || (wipes && m.claim.is_none()) {
            let why = if failed {
                "no claim says which of its disks may be erased"
            } else {
                "nothing failed on it"
            };
            return Err(Story::new("nothing-to-retry", "Nothing to try again")
                .detail(format!("{id} is {}: {why}.", m.phase))
                .hint(format!("`metalctl timeline {id}` tells what happened."))
                .not_now());
        }
        self.store
            .change(&id, |record, journal| {
                record.machine.want_again(now());
                journal.line("api", "another try was asked for");
            })
            .await?;
        self.read_server(&request.name).await
    }

    pub(super) async fn timeline(
        &self,
        request: pb::TimelineRequest,
    ) -> Result<Streamed<pb::TimelineEvent>, ApiError> {
        let id = machine(&request.server);
        let mut changed = self.store.changed();
        changed.borrow_and_update();
        let first = self.store.timeline(&id, request.after_seq).await?;
        // A box that was forgotten by force leaves its story behind.
        if first.is_empty() && self.store.machine(&id).await?.is_none() {
            return Err(no_such("server", &request.server));
        }
        let store = self.store.clone();
        let state = (store, changed, id, request.after_seq, first);
        let follow = request.follow;
        let stream = futures::stream::try_unfold(
            (state, true),
            move |((store, mut changed, id, after, lines), first)| async move {
                let mut lines = lines;
                if !first {
                    loop {
                        if !follow || changed.changed().await.is_err() {
                            return Ok(None);
                        }
                        lines = store.timeline(&id, after).await.map_err(ApiError::from)?;
                        if !lines.is_empty() {
                            break;
                        }
                        if store.machine(&id).await.map_err(ApiError::from)?.is_none() {
                            return Ok(None);
                        }
                    }
                }
                let after = lines.last().map_or(after, |l| l.seq);
                let batch: Vec<Result<pb::TimelineEvent, tonic::Status>> =
                    lines.iter().map(|l| Ok(event(l))).collect();
                Ok::<_, tonic::Status>(Some((
                    futures::stream::iter(batch),
                    ((store, changed, id, after, Vec::new()), false),
                )))
            },
        );
        Ok(Box::pin(futures::TryStreamExt::try_flatten(stream)))
    }

    pub(super) fn open_registration(
        &self,
        request: &pb::OpenRegistrationRequest,
    ) -> Result<pb::OpenRegistrationResponse, ApiError> {
        let during = request
            .r#for
            .and_then(|d| Duration::try_from(d).ok())
            .filter(|d| !d.is_zero() && *d <= WINDOW_MAX)
            .ok_or_else(|| {
                Story::new("bad-duration", "Not a usable duration")
                    .detail("a registration window is open for more than nothing and at most 24 h.")
                    .hint("try `--for 15m`.")
                    .at("for")
                    .invalid()
            })?;
        match self.store.registration().open(now(), during) {
            Some(until) => Ok(pb::OpenRegistrationResponse {
                until: Some(timestamp(until)),
            }),
            None => Err(Story::new("registration-closed", "Registration is closed")
                .detail("bootd.toml says [registration] mode = \"closed\".")
                .hint("set it to \"declared\" and restart bootd.")
                .not_now()),
        }
    }

    pub(super) async fn set_credentials(
        &self,
        request: pb::SetCredentialsRequest,
    ) -> Result<pb::Empty, ApiError> {
        name(&request.name, "name")?;
        let mut doc = Doc::new(request.name, request.username.into_bytes());
        doc.sealed = Some(Secret::new(request.password.into_bytes()));
        self.store.put_doc(Kind::Credential, &doc).await?;
        Ok(pb::Empty {})
    }
}

fn identity(config: &pb::ServerConfig) -> Result<Identity, ApiError> {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let wrong = |detail: String, attribute: &str| {
        Story::new("bad-identity", "Server cannot be recognised")
            .detail(detail)
            .hint("give its boot NIC's MAC address, its SMBIOS UUID or its serial.")
            .at(attribute)
            .invalid()
    };
    let mac = match config.mac.as_str() {
        "" => None,
        text => Some(
            text.parse::<Mac>()
                .map_err(|e| wrong(format!("{}: {text:?} is {e}", config.name), "mac"))?,
        ),
    };
    let identity = Identity {
        mac,
        uuid: some(&config.uuid.to_lowercase()),
        serial: some(&config.serial),
    };
    if identity == Identity::default() {
        return Err(wrong(format!("{} names no identity", config.name), "mac"));
    }
    Ok(identity)
}

fn not_wiped(m: &Machine) -> Story {
    let id = &m.id;
    Story::new(
        "server-not-wiped",
        "Server holds data that could not be wiped",
    )
    .detail(format!(
        "{id} is {}: {}. Forgotten now, nobody would know that its disks were not erased.",
        m.phase, m.reason
    ))
    .hint(format!(
        "repair it and run `metalctl retry {id}`; if it is dead, `metalctl forget {id} --force`."
    ))
}

/// Brings the caller's words into the machine. True if something changed that a timeline should tell.
fn apply(record: &mut Record, config: &pb::ServerConfig) -> bool {
    let m = &mut record.machine;
    let before = (m.admission, m.control);
    m.admission = if config.accepted {
        Admission::Accepted
    } else {
        Admission::Unaccepted
    };
    let ipmi = config
        .bmc
        .as_ref()
        .is_some_and(|b| b.protocol() == pb::BmcProtocol::Ipmi);
    m.control = if ipmi { Control::Bmc } else { Control::Manual };
    m.idle = match config.idle() {
        pb::Idle::Hold => Idle::Hold,
        pb::Idle::Off | pb::Idle::Unspecified => Idle::Off,
    };
    m.inspect = if config.inspect {
        Inspect::Once
    } else {
        Inspect::Never
    };
    m.on_destroy = match config.on_destroy() {
        pb::OnDestroy::PowerOff => OnDestroy::PowerOff,
        pb::OnDestroy::Release | pb::OnDestroy::Unspecified => OnDestroy::Release,
    };
    record.boot_args.clone_from(&config.boot_args);
    let again = matches!(m.phase, Phase::Failed(Step::Inspect));
    if again || m.goal == Goal::Retire {
        m.want(Goal::Pool, now());
    }
    before != (m.admission, m.control) || again
}

pub(super) fn server(config: Option<pb::ServerConfig>, record: &Record) -> pb::Server {
    pb::Server {
        config,
        status: Some(server_status(&record.machine, record)),
    }
}

fn server_status(m: &Machine, record: &Record) -> pb::ServerStatus {
    let power = match m.power.map(|p| p.state) {
        None => pb::Power::Unspecified,
        Some(PowerState::On) => pb::Power::On,
        Some(PowerState::Off) => pb::Power::Off,
        Some(PowerState::Unreachable) => pb::Power::Unreachable,
    };
    pb::ServerStatus {
        id: m.id.0.clone(),
        phase: phase(&m.phase).into(),
        reason: m.reason.clone(),
        since: Some(timestamp(m.since)),
        epoch: m.epoch.0,
        claim: m.claim.as_ref().map(|c| c.id.0.clone()).unwrap_or_default(),
        power: power.into(),
        hardware: m.report.as_ref().map(|r| hardware_to_proto(&r.hardware)),
        reported_at: m.report.as_ref().map(|r| timestamp(r.at)),
        dirty: m.dirty,
        failure: m.failure.as_ref().map(failure),
        address: record.address.map(|a| a.to_string()).unwrap_or_default(),
    }
}

fn event(line: &Line) -> pb::TimelineEvent {
    let at: Timestamp = line.at;
    pb::TimelineEvent {
        seq: line.seq,
        at: Some(timestamp(at)),
        source: line.source.clone(),
        text: line.text.clone(),
        epoch: line.epoch.0,
        alarm: line.alarm,
    }
}
