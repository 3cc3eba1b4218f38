//! Classes and claims: who gets which box.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use bootd_core::class::{Candidate, Pick, Shortage, Source, Standing, Wish, choose};
use bootd_core::id::{ClaimId, MachineId, Timestamp};
use bootd_core::lifecycle::{
    Admission, Claim, ConfigState, Content, DiskId, Goal, Hardware, Hold, OnWipeFailure, Phase,
    Step, Wipe, WipeDisks, WipeMethod,
};
use metal_proto::metal::v1 as pb;
use prost::Message as _;

use super::status::{ApiError, Story, no_such};
use super::words::{impossible, labels, name, rules, slot};
use super::{Api, machine};
use crate::store::{ClaimRow, Doc, Kind, Record, StoreError, Taken, hardware_to_proto, now};

/// Soft holds at once.
const HOLDS_MAX: usize = 200;
/// How long a plan's choice is kept in mind.
const HOLD_FOR: Duration = Duration::from_secs(30 * 60);
/// A box lost to somebody else between choice and commit is chosen anew so often.
const RACES_MAX: usize = 5;

/// Soft holds: which box a plan showed for which claim. In memory; they steer choices and deny nothing.
#[derive(Debug, Default)]
pub struct Holds(Mutex<BTreeMap<String, (MachineId, Timestamp)>>);

impl Holds {
    fn of_others(&self, claim: &str, now: Timestamp) -> BTreeSet<MachineId> {
        let mut holds = self.0.lock().unwrap_or_else(|e| e.into_inner());
        holds.retain(|_, (_, until)| *until > now);
        holds
            .iter()
            .filter(|(name, _)| *name != claim)
            .map(|(_, (id, _))| id.clone())
            .collect()
    }

    fn of(&self, claim: &str) -> Option<MachineId> {
        let holds = self.0.lock().unwrap_or_else(|e| e.into_inner());
        holds.get(claim).map(|(id, _)| id.clone())
    }

    fn hold(&self, claim: &str, id: &MachineId, now: Timestamp) {
        let mut holds = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if holds.len() < HOLDS_MAX || holds.contains_key(claim) {
            holds.insert(claim.to_owned(), (id.clone(), now + HOLD_FOR));
        }
    }

    fn end(&self, claim: &str) {
        let mut holds = self.0.lock().unwrap_or_else(|e| e.into_inner());
        holds.remove(claim);
    }
}

impl Api {
    pub(super) async fn put_class(
        &self,
        config: pb::ClassConfig,
    ) -> Result<pb::ClassConfig, ApiError> {
        name(&config.name, "name")?;
        if let Some(attribute) = config.r#match.as_ref().and_then(impossible) {
            return Err(Story::new("empty-range", "Range that nothing can meet")
                .detail(format!(
                    "{} of class {} ends before it begins.",
                    attribute, config.name
                ))
                .hint("swap the bounds.")
                .at(attribute)
                .invalid());
        }
        let doc = Doc::new(config.name.clone(), config.encode_to_vec());
        self.store.put_doc(Kind::Class, &doc).await?;
        Ok(config)
    }

    pub(super) async fn read_class(&self, name: &str) -> Result<pb::ClassConfig, ApiError> {
        let class = self.class(name).await?;
        class.ok_or_else(|| no_such("server class", name))
    }

    async fn class(&self, name: &str) -> Result<Option<pb::ClassConfig>, StoreError> {
        let Some(doc) = self.store.doc(Kind::Class, name).await? else {
            return Ok(None);
        };
        pb::ClassConfig::decode(doc.config.as_slice())
            .map(Some)
            .map_err(|_| StoreError::Damaged("docs"))
    }

    pub(super) async fn delete_class(&self, name: &str) -> Result<pb::Empty, ApiError> {
        let claims = self.store.claims().await?;
        if let Some(user) = claims.iter().find(|c| c.config.server_class_id == name) {
            return Err(Story::new("class-used", "Server class is in use")
                .detail(format!(
                    "claim {} refers to class {name}.",
                    user.config.name
                ))
                .hint("destroy the claim first.")
                .not_now());
        }
        self.store.drop_doc(Kind::Class, name).await?;
        Ok(pb::Empty {})
    }

    pub(super) async fn plan_claim(
        &self,
        request: pb::PlanClaimRequest,
    ) -> Result<pb::PlanClaimResponse, ApiError> {
        let config = request.config.unwrap_or_default();
        slot(&config.name, "name")?;
        if let Some(row) = self.store.claim(&config.name).await? {
            let claim = self.claim_of(&row).await?;
            return Ok(pb::PlanClaimResponse {
                server_id: claim.server_id,
                hardware: claim.hardware,
                location: claim.location,
                fit: claim.fit,
                ..Default::default()
            });
        }
        let pool = self.pool().await?;
        match self
            .pick(&config, &pool, self.holds.of(&config.name))
            .await?
        {
            Err(shortage) => Ok(pb::PlanClaimResponse {
                remarks: vec![short(&config, &shortage).refuses()],
                free_before: u32::try_from(shortage.free).unwrap_or(u32::MAX),
                free_after: u32::try_from(shortage.free).unwrap_or(u32::MAX),
                ..Default::default()
            }),
            Ok(pick) => {
                self.holds.hold(&config.name, &pick.id, now());
                let hardware = pool
                    .iter()
                    .find(|c| c.id == pick.id)
                    .and_then(|c| c.hardware.clone());
                let remarks = unstated(&config, &pick.id, hardware.as_ref())
                    .map(Story::refuses)
                    .into_iter()
                    .collect();
                let free = u32::try_from(pick.free).unwrap_or(u32::MAX);
                Ok(pb::PlanClaimResponse {
                    location: self.location(&pick.id).await?,
                    server_id: pick.id.0,
                    hardware: hardware.as_ref().map(hardware_to_proto),
                    fit: pick.fit,
                    remarks,
                    free_before: free,
                    free_after: free.saturating_sub(1),
                })
            }
        }
    }

    pub(super) async fn put_claim(
        &self,
        request: pb::PutClaimRequest,
    ) -> Result<pb::Claim, ApiError> {
        let config = request.config.unwrap_or_default();
        slot(&config.name, "name")?;
        for _ in 0..RACES_MAX {
            let (id, fit) = match self.store.claim(&config.name).await? {
                Some(row) => {
                    self.still_held(&row).await?;
                    (row.machine, row.fit)
                }
                None => {
                    self.choose_for(&config, &request.expected_server_id)
                        .await?
                }
            };
            let claim = claim_words(&config);
            if self.store.take(&config, &id, &fit, claim).await? == Taken::Yes {
                self.holds.end(&config.name);
                return self.read_claim(&config.name).await;
            }
        }
        Err(Story::new("claim-raced", "Claim lost every race")
            .detail(format!(
                "{}: each chosen box was taken by somebody else.",
                config.name
            ))
            .hint("apply again.")
            .not_now())
    }

    async fn still_held(&self, row: &ClaimRow) -> Result<(), ApiError> {
        let record = self.store.machine(&row.machine).await?;
        let releasing = record
            .and_then(|r| r.machine.claim)
            .is_some_and(|c| c.hold == Hold::Releasing);
        if releasing {
            return Err(Story::new("claim-releasing", "Claim is being released")
                .detail(format!(
                    "{} still holds {}, which is being wiped.",
                    row.config.name, row.machine
                ))
                .hint("wait until the wipe ended, then apply again.")
                .not_now());
        }
        Ok(())
    }

    async fn choose_for(
        &self,
        config: &pb::ClaimConfig,
        expected: &str,
    ) -> Result<(MachineId, String), ApiError> {
        let pool = self.pool().await?;
        let wanted = (!expected.is_empty()).then(|| machine(expected));
        let pick = match self.pick(config, &pool, wanted.clone()).await? {
            Ok(pick) => pick,
            Err(shortage) => return Err(ApiError::Exhausted(short(config, &shortage).done())),
        };
        if let Some(wanted) = wanted.filter(|w| *w != pick.id) {
            let now_is = pool
                .iter()
                .find(|c| c.id == wanted)
                .map_or_else(|| "gone".to_owned(), |c| standing(&c.standing));
            return Err(Story::new("planned-box-taken", "Planned box was taken")
                .detail(format!(
                    "{}: the plan showed {wanted}, which is {now_is}.",
                    config.name
                ))
                .hint("plan again.")
                .not_now());
        }
        let hardware = pool
            .iter()
            .find(|c| c.id == pick.id)
            .and_then(|c| c.hardware.as_ref());
        match unstated(config, &pick.id, hardware) {
            Some(story) => Err(story.invalid()),
            None => Ok((pick.id, pick.fit)),
        }
    }

    /// A planned box is the choice if it can be taken at all.
    async fn pick(
        &self,
        config: &pb::ClaimConfig,
        pool: &[Candidate],
        planned: Option<MachineId>,
    ) -> Result<Result<Pick, Shortage>, ApiError> {
        let mut wish = self.wish(config).await?;
        if let Some(planned) = planned {
            let alone: Vec<Candidate> = pool.iter().filter(|c| c.id == planned).cloned().collect();
            if let Ok(mut pick) = choose(&wish, &alone) {
                if let Ok(open) = choose(&wish, pool) {
                    pick.fit = open.fit;
                    pick.free = open.free;
                }
                return Ok(Ok(pick));
            }
        }
        wish.held = self.holds.of_others(&config.name, now());
        Ok(choose(&wish, pool))
    }

    async fn wish(&self, config: &pb::ClaimConfig) -> Result<Wish, ApiError> {
        let from = match (config.server_class_id.as_str(), config.server_id.as_str()) {
            ("", "") => return Err(one_source(config)),
            ("", server) => Source::Server(machine(server)),
            (class, "") => {
                let Some(class) = self.class(class).await? else {
                    return Err(Story::new("no-class", "No such server class")
                        .detail(format!("{}: there is no class {class:?}.", config.name))
                        .hint("use the id of a metal_server_class.")
                        .at("server_class_id")
                        .not_now());
                };
                Source::Class(
                    class.name.clone(),
                    Box::new(class.r#match.as_ref().map(rules).unwrap_or_default()),
                    class.servers.iter().map(|s| machine(s)).collect(),
                )
            }
            (_, _) => return Err(one_source(config)),
        };
        let spread = if config.spread_by == "rack" {
            Some(self.racks_of(&config.name).await?)
        } else {
            None
        };
        Ok(Wish {
            claim: ClaimId(config.name.clone()),
            from,
            avoid: config.avoid.iter().map(|s| machine(s)).collect(),
            spread,
            previous: self.store.previous(&config.name).await?,
            held: BTreeSet::new(),
        })
    }

    /// How many claims of the same cluster each rack holds.
    async fn racks_of(&self, claim: &str) -> Result<BTreeMap<String, usize>, ApiError> {
        let cluster = claim.split('/').next().unwrap_or_default();
        let mut racks = BTreeMap::new();
        for row in self.store.claims().await? {
            if row.config.name.split('/').next() == Some(cluster)
                && let Some(location) = self.location(&row.machine).await?
            {
                *racks.entry(location.rack).or_insert(0) += 1;
            }
        }
        Ok(racks)
    }

    async fn location(&self, id: &MachineId) -> Result<Option<pb::Location>, ApiError> {
        Ok(self
            .store
            .server(&id.0)
            .await?
            .and_then(|s| s.config.location))
    }

    async fn pool(&self) -> Result<Vec<Candidate>, ApiError> {
        let configs: BTreeMap<String, pb::ServerConfig> = self
            .store
            .servers()
            .await?
            .into_iter()
            .map(|c| (c.name.clone(), c))
            .collect();
        Ok(self
            .store
            .machines()
            .await?
            .into_iter()
            .map(|record| {
                let config = configs.get(&record.machine.id.0);
                candidate(record, config)
            })
            .collect())
    }

    pub(super) async fn read_claim(&self, name: &str) -> Result<pb::Claim, ApiError> {
        let row = self
            .store
            .claim(name)
            .await?
            .ok_or_else(|| no_such("claim", name))?;
        self.claim_of(&row).await
    }

    async fn claim_of(&self, row: &ClaimRow) -> Result<pb::Claim, ApiError> {
        let record = self.store.machine(&row.machine).await?;
        let (state, reason, hardware) = match &record {
            Some(record) => {
                let m = &record.machine;
                let releasing = m.claim.as_ref().is_some_and(|c| c.hold == Hold::Releasing);
                let state = match &m.phase {
                    Phase::Failed(Step::Wipe) | Phase::Quarantined(_) => pb::ClaimState::Failed,
                    Phase::Discovered
                    | Phase::Inspecting
                    | Phase::Available
                    | Phase::Installing(_)
                    | Phase::Running(_)
                    | Phase::Wiping
                    | Phase::Failed(_)
                    | Phase::Retired => {
                        if releasing {
                            pb::ClaimState::Releasing
                        } else {
                            pb::ClaimState::Held
                        }
                    }
                };
                let hardware = m.report.as_ref().map(|r| hardware_to_proto(&r.hardware));
                (state, m.reason.clone(), hardware)
            }
            None => (pb::ClaimState::Unspecified, String::new(), None),
        };
        Ok(pb::Claim {
            config: Some(row.config.clone()),
            server_id: row.machine.0.clone(),
            generation: row.generation,
            state: state.into(),
            reason,
            hardware,
            location: self.location(&row.machine).await?,
            fit: row.fit.clone(),
        })
    }

    pub(super) async fn release_claim(&self, name: &str) -> Result<pb::Empty, ApiError> {
        let Some(row) = self.store.claim(name).await? else {
            return Ok(pb::Empty {});
        };
        if let Some(mut node) = self.store.doc_of_machine(Kind::Node, &row.machine).await? {
            node.machine = None;
            self.store.put_doc(Kind::Node, &node).await?;
        }
        self.store
            .change(&row.machine, |record, journal| {
                let m = &mut record.machine;
                if let Some(claim) = m.claim.as_mut().filter(|c| c.id.0 == name) {
                    if claim.hold == Hold::Held {
                        journal.line("api", format!("{name} released"));
                    }
                    claim.hold = Hold::Releasing;
                    claim.config = ConfigState::Absent;
                    m.want(Goal::Pool, now());
                }
            })
            .await?;
        Ok(pb::Empty {})
    }
}

fn one_source(config: &pb::ClaimConfig) -> ApiError {
    Story::new("claim-source", "Claim needs one source")
        .detail(format!(
            "{} must name exactly one of server_class_id and server_id.",
            config.name
        ))
        .hint("name one of them.")
        .at("server_class_id")
        .invalid()
}

fn candidate(record: Record, config: Option<&pb::ServerConfig>) -> Candidate {
    let m = record.machine;
    let standing = match (&m.claim, &m.phase) {
        // It still knows the claim whose wipe failed; the claim itself is gone.
        (Some(_), phase @ Phase::Quarantined(_)) => Standing::Busy(phase.to_string()),
        (Some(claim), _) => Standing::Claimed(claim.id.clone()),
        (None, _) if m.admission == Admission::Unaccepted => Standing::Unaccepted,
        (None, Phase::Available) if m.dirty => Standing::Dirty,
        (None, Phase::Available) if m.goal == Goal::Pool => Standing::Free,
        (None, phase) => Standing::Busy(phase.to_string()),
    };
    Candidate {
        id: m.id,
        standing,
        hardware: m.report.map(|r| r.hardware),
        labels: config.map(|c| labels(&c.labels)).unwrap_or_default(),
        rack: config
            .and_then(|c| c.location.as_ref())
            .map(|l| l.rack.clone())
            .unwrap_or_default(),
    }
}

fn standing(standing: &Standing) -> String {
    match standing {
        Standing::Free => "free, but does not fit any more".to_owned(),
        Standing::Dirty => "not free: it holds data that no claim may erase".to_owned(),
        Standing::Claimed(holder) => format!("held by {holder}"),
        Standing::Unaccepted => "not accepted".to_owned(),
        Standing::Busy(what) => what.clone(),
    }
}

fn short(config: &pb::ClaimConfig, shortage: &Shortage) -> Story {
    let source = if config.server_id.is_empty() {
        format!("class {}", config.server_class_id)
    } else {
        format!("server {}", config.server_id)
    };
    let attribute = if config.server_id.is_empty() {
        "server_class_id"
    } else {
        "server_id"
    };
    Story::new("no-free-server", "No free server")
        .detail(format!(
            "{} wants one of {source}: {shortage}.",
            config.name
        ))
        .hint("accept or add a server, release a claim, or widen the class.")
        .at(attribute)
}

/// A box with somebody's data needs a claim that says which disks a release erases.
fn unstated(
    config: &pb::ClaimConfig,
    id: &MachineId,
    hardware: Option<&Hardware>,
) -> Option<Story> {
    let wipe = config.wipe.clone().unwrap_or_default();
    if wipe.disks.is_some() || wipe.method() == pb::WipeMethod::None {
        return None;
    }
    let disk = hardware?
        .disks
        .iter()
        .find(|d| d.fixed() && d.content() == Content::Foreign)?;
    Some(
        Story::new("wipe-not-stated", "Claim must say which disks it wipes")
            .detail(format!(
                "{}: disk {} of {id} holds {}.",
                config.name,
                disk.id().map_or_else(|| disk.device.clone(), |d| d.0),
                disk.contents()
            ))
            .hint("set wipe = { disks = \"written\" } to keep it, or \"all\" to erase it when the claim is destroyed.")
            .at("wipe.disks"),
    )
}

fn claim_words(config: &pb::ClaimConfig) -> Claim {
    let wipe = config.wipe.clone().unwrap_or_default();
    let id = |s: &String| DiskId(s.clone());
    let disks = match wipe.disks.as_ref().and_then(|d| d.which.as_ref()) {
        None | Some(pb::wipe_disks::Which::All(_)) => WipeDisks::All,
        Some(pb::wipe_disks::Which::Written(_)) => WipeDisks::Written,
        Some(pb::wipe_disks::Which::Selected(list)) => {
            WipeDisks::Selected(list.serials.iter().map(id).collect())
        }
    };
    Claim {
        id: ClaimId(config.name.clone()),
        hold: Hold::Held,
        wipe: Wipe {
            method: match wipe.method() {
                pb::WipeMethod::None => WipeMethod::None,
                pb::WipeMethod::Quick | pb::WipeMethod::Unspecified => WipeMethod::Quick,
                pb::WipeMethod::Full => WipeMethod::Full,
            },
            disks,
        },
        allow_wipe: config.allow_wipe.iter().map(id).collect(),
        on_wipe_failure: match config.on_wipe_failure() {
            pb::OnWipeFailure::Fail => OnWipeFailure::Fail,
            pb::OnWipeFailure::Quarantine | pb::OnWipeFailure::Unspecified => {
                OnWipeFailure::Quarantine
            }
        },
        targets: Vec::new(),
        config: ConfigState::Absent,
    }
}
