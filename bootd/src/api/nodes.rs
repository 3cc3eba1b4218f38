//! Secrets and nodes: stated here, worked off by the reconciler and the Talos jobs.

use std::sync::Arc;

use bootd_core::id::MachineId;
use bootd_core::lifecycle::{ConfigState, DiskId, Goal, Hold, Phase, Target};
use bootd_core::secret::Secret;
use metal_proto::metal::v1 as pb;
use prost::Message as _;
use talos::secrets::{Bundle, system_entropy};

use super::changes::{Effect, consequence, installs};
use super::status::{ApiError, Story, no_such};
use super::words::name;
use super::{Api, machine};
use crate::store::{Doc, Kind, Record, StoreError, now};
use crate::talos::{
    NodeState, Pins, Refused, Rendered, SecretsState, contract, installer_of, remarks, render,
    secrets, set_status, status,
};

/// What a node is rendered with, besides what it states.
struct Basis {
    pins: Pins,
    bundle: Arc<Bundle>,
}

impl Api {
    pub(super) async fn put_secrets(
        &self,
        config: pb::SecretsConfig,
    ) -> Result<pb::Secrets, ApiError> {
        name(&config.name, "name")?;
        let contract = contract(&config.talos_version).map_err(|e| bad_version(&config, &e))?;
        let pins = Pins::of(contract);
        if let Some(mut doc) = self.store.doc(Kind::Secrets, &config.name).await? {
            let mut state: SecretsState = status(&doc);
            let was = pb::SecretsConfig::decode(doc.config.as_slice())
                .map_err(|_| StoreError::Damaged("docs"))?;
            if was.talos_version != config.talos_version {
                return Err(
                    Story::new("birth-version", "A cluster's birth version never changes")
                        .detail(format!(
                            "{} was made for {}.",
                            config.name, was.talos_version
                        ))
                        .hint("to upgrade Talos, edit talos_version of the metal_image.")
                        .at("talos_version")
                        .invalid(),
                );
            }
            state.deleted_at = None;
            doc.config = config.encode_to_vec();
            set_status(&mut doc, &state);
            self.store.put_doc(Kind::Secrets, &doc).await?;
            return self.read_secrets(&config.name).await;
        }
        // The RSA key takes most of a second.
        let made = tokio::task::spawn_blocking(move || {
            Bundle::generate(
                pins.generator,
                pins.contract,
                jiff::Timestamp::now(),
                &mut system_entropy,
            )
        });
        let bundle = made.await.ok().and_then(Result::ok).ok_or_else(|| {
            Story::new("no-keys", "Secrets could not be made")
                .detail("the cryptographic library refused to make a key.")
                .hint("look into bootd's log.")
                .not_now()
        })?;
        let mut doc = Doc::new(config.name.clone(), config.encode_to_vec());
        set_status(
            &mut doc,
            &SecretsState {
                contract: contract.to_string(),
                render_rev: pins.generator.render_rev(),
                fingerprint: bundle.fingerprint(),
                deleted_at: None,
            },
        );
        doc.sealed = Some(Secret::new(
            bundle.to_secrets_yaml().expose().as_bytes().to_vec(),
        ));
        self.store.put_doc(Kind::Secrets, &doc).await?;
        self.read_secrets(&config.name).await
    }

    pub(super) async fn read_secrets(&self, id: &str) -> Result<pb::Secrets, ApiError> {
        let (config, state, _) = secrets(&self.store, id)
            .await?
            .ok_or_else(|| no_such("secrets", id))?;
        Ok(pb::Secrets {
            id: config.name.clone(),
            fingerprint: state.fingerprint,
            contract: state.contract,
            render_rev: state.render_rev,
            config: Some(config),
        })
    }

    pub(super) async fn delete_secrets(&self, id: &str) -> Result<pb::Empty, ApiError> {
        let Some(mut doc) = self.store.doc(Kind::Secrets, id).await? else {
            return Ok(pb::Empty {});
        };
        let config = pb::SecretsConfig::decode(doc.config.as_slice())
            .map_err(|_| StoreError::Damaged("docs"))?;
        if config.deletion_protection {
            return Err(protected("secrets", id));
        }
        let mut state: SecretsState = status(&doc);
        state.deleted_at = Some(now());
        set_status(&mut doc, &state);
        self.store.put_doc(Kind::Secrets, &doc).await?;
        Ok(pb::Empty {})
    }

    pub(super) async fn plan_node(
        &self,
        request: pb::PlanNodeRequest,
    ) -> Result<pb::PlanNodeResponse, ApiError> {
        let config = request.config.unwrap_or_default();
        let before = self.store.doc(Kind::Node, &node_id(&config)?).await?;
        let id = machine(&config.server_id);
        let record = self.store.machine(&id).await?;
        let here = match &record {
            Some(record) => self.made_for(record).await?,
            None => String::new(),
        };
        let mut answer = pb::PlanNodeResponse::default();
        let held = record.as_ref().is_some_and(has_live_claim);
        if !held && request.planned_claim.is_none() {
            answer.remarks.push(unclaimed(&config).refuses());
            return Ok(answer);
        }
        let Some(record) = record.filter(|r| r.machine.report.is_some()) else {
            answer.remarks.push(uninspected(&config).refuses());
            return Ok(answer);
        };
        let basis = self.basis(&config, &request.planned_contract).await?;
        let rendered = match self.render(&config, &basis, &record)? {
            Ok(rendered) => rendered,
            Err(refused) => {
                let stories = refused.into_iter().map(Story::from);
                answer.remarks.extend(stories.map(Story::refuses));
                return Ok(answer);
            }
        };
        let effect = effect(before.as_ref(), &config, &here, &rendered, &basis)?;
        answer.change = effect.change.into();
        if let Some(story) = effect.beyond(&node_id(&config)?, &record) {
            answer.remarks.push(story.refuses());
            return Ok(answer);
        }
        answer.rendered = talos::redact::redact(rendered.config.expose(), &basis.bundle);
        if installs(&record) {
            let allow = match &request.planned_claim {
                Some(planned) => planned.allow_wipe.clone(),
                None => allow_wipe(&record),
            };
            if let Some(report) = &record.machine.report {
                let about = remarks(&rendered.targets, &report.hardware, &allow);
                answer.remarks.extend(about);
            }
            answer.wipe_targets = rendered.targets;
        } else if let Some(doc) = &before {
            answer.wipe_targets = stored_targets(doc);
        }
        Ok(answer)
    }

    pub(super) async fn put_node(&self, request: pb::PutNodeRequest) -> Result<pb::Node, ApiError> {
        let config = request.config.unwrap_or_default();
        let id = node_id(&config)?;
        let box_id = machine(&config.server_id);
        let record = self.store.machine(&box_id).await?;
        let Some(record) = record.filter(has_live_claim) else {
            return Err(unclaimed(&config).not_now());
        };
        if record.machine.report.is_none() {
            return Err(uninspected(&config).not_now());
        }
        let before = self.store.doc(Kind::Node, &id).await?;
        let here = self.made_for(&record).await?;
        if let Some(other) = self.store.doc_of_machine(Kind::Node, &box_id).await?
            && other.name != id
        {
            return Err(Story::new("server-has-node", "Two nodes with one server")
                .detail(format!("{id}: {box_id} is bound to {}.", other.name))
                .hint("give each node its own claim.")
                .at("server_id")
                .not_now());
        }
        let basis = self.basis(&config, "").await?;
        let rendered = self.render(&config, &basis, &record)?.map_err(first)?;
        let effect = effect(before.as_ref(), &config, &here, &rendered, &basis)?;
        if let Some(story) = effect.beyond(&id, &record) {
            return Err(story.not_now());
        }
        if installs(&record) {
            Self::agree(&config, &rendered, &request.expected_wipe_targets, &record)?;
        }
        self.bind(&id, &config, rendered, &record).await?;
        self.read_node(&id).await
    }

    /// The cluster's own secrets and pins; or, where its secrets are only planned yet, those that it will have and nobody's.
    async fn basis(&self, config: &pb::NodeConfig, planned: &str) -> Result<Basis, ApiError> {
        let facts = config.cluster.clone().unwrap_or_default();
        let id = &facts.secrets_id;
        if let Some((words, state, bundle)) = secrets(&self.store, id).await? {
            let born = contract(&words.talos_version).map_err(|e| bad_version(&words, &e))?;
            let pins = Pins::stored(born, &state).ok_or_else(|| newer_pin(id, state.render_rev))?;
            let bundle = Arc::new(bundle);
            return Ok(Basis { pins, bundle });
        }
        let born = contract(planned).map_err(|_| no_such("secrets", id))?;
        let sample = self.jobs.sample(born).await;
        let bundle = sample.ok_or_else(|| no_such("secrets", id))?;
        let pins = Pins::of(born);
        Ok(Basis { pins, bundle })
    }

    fn render(
        &self,
        config: &pb::NodeConfig,
        basis: &Basis,
        record: &Record,
    ) -> Result<Result<Rendered, Refused>, ApiError> {
        let installer = installer_of(&config.image_id).ok_or_else(|| {
            Story::new("bad-image-id", "Not an image")
                .detail(format!(
                    "{}: image_id {:?} is not SCHEMATIC/VERSION/ARCH.",
                    config.name, config.image_id
                ))
                .hint("use the id of a metal_image.")
                .at("image_id")
                .invalid()
        })?;
        let hardware = record
            .machine
            .report
            .as_ref()
            .map(|r| r.hardware.clone())
            .unwrap_or_default();
        Ok(render(
            config,
            &basis.bundle,
            basis.pins,
            &installer,
            &hardware,
            self.jobs.surroundings(),
        ))
    }

    /// The install may begin: nothing is destroyed that the plan did not show or the claim does not allow.
    fn agree(
        config: &pb::NodeConfig,
        rendered: &Rendered,
        expected: &[pb::WipeTarget],
        record: &Record,
    ) -> Result<(), ApiError> {
        let same = |a: &pb::WipeTarget, b: &pb::WipeTarget| {
            a.serial == b.serial && a.wwid == b.wwid && a.fingerprint == b.fingerprint
        };
        let shown = |t: &pb::WipeTarget| expected.iter().any(|e| same(e, t));
        if !expected.is_empty()
            && let Some(new) = rendered.targets.iter().find(|t| !shown(t))
        {
            return Err(Story::new("wipe-targets-changed", "Disks changed since the plan")
                .detail(format!(
                    "{}: the install would destroy {} ({}) of {}, which the plan did not show so.",
                    config.name, new.serial, new.content, config.server_id
                ))
                .hint("plan again.")
                .at("wipe_targets")
                .not_now());
        }
        let Some(report) = &record.machine.report else {
            return Ok(());
        };
        let allow = allow_wipe(record);
        let refused = remarks(&rendered.targets, &report.hardware, &allow)
            .into_iter()
            .find(|r| r.severity() == pb::remark::Severity::Error);
        match refused.and_then(|r| r.what) {
            Some(detail) => Err(ApiError::NotNow(detail)),
            None => Ok(()),
        }
    }

    /// The box and its claim's generation: what a config is rendered for.
    async fn made_for(&self, record: &Record) -> Result<String, ApiError> {
        let m = &record.machine;
        let generation = match &m.claim {
            Some(claim) => self
                .store
                .claim(&claim.id.0)
                .await?
                .map_or(0, |c| c.generation),
            None => 0,
        };
        Ok(format!("{}#{generation}", m.id))
    }

    async fn bind(
        &self,
        id: &str,
        config: &pb::NodeConfig,
        rendered: Rendered,
        record: &Record,
    ) -> Result<(), ApiError> {
        let m = &record.machine;
        if m.claim.is_none() {
            return Err(unclaimed(config).not_now());
        }
        let made_for = self.made_for(record).await?;
        let before = self.store.doc(Kind::Node, id).await?;
        let old: Option<NodeState> = before
            .as_ref()
            .map(status)
            .filter(|s: &NodeState| s.made_for == made_for);
        let text = rendered.config.into_exposed().into_bytes();
        let differs = before
            .as_ref()
            .and_then(|d| d.sealed.as_ref())
            .is_some_and(|s| *s.expose() != text);
        let running = matches!(m.phase, Phase::Running(_));
        let mut doc = Doc::new(id, config.encode_to_vec());
        doc.machine = Some(m.id.clone());
        doc.sealed = Some(Secret::new(text));
        let targets = match &old {
            Some(old) if !installs(record) => old.targets.clone(),
            Some(_) | None => rendered.targets.iter().map(Into::into).collect(),
        };
        set_status(
            &mut doc,
            &NodeState {
                made_for,
                targets,
                to_apply: running && (differs || old.as_ref().is_some_and(|o| o.to_apply)),
                version: old.map(|o| o.version).unwrap_or_default(),
                ..NodeState::default()
            },
        );
        self.store.put_doc(Kind::Node, &doc).await?;
        let targets: Vec<Target> = rendered.targets.iter().filter_map(target).collect();
        let fresh = installs(record);
        self.store
            .change(&m.id, |record, journal| {
                let m = &mut record.machine;
                let Some(claim) = &mut m.claim else { return };
                claim.config = ConfigState::Ready;
                if fresh {
                    claim.targets = targets;
                }
                let wanted = Goal::Run(claim.id.clone());
                if m.goal != wanted || matches!(m.phase, Phase::Failed(_)) {
                    journal.line("api", format!("{id} is to run here"));
                    m.want(wanted, now());
                }
            })
            .await?;
        Ok(())
    }

    pub(super) async fn read_node(&self, id: &str) -> Result<pb::Node, ApiError> {
        let doc = self
            .store
            .doc(Kind::Node, id)
            .await?
            .ok_or_else(|| no_such("node", id))?;
        let state: NodeState = status(&doc);
        let (Some(box_id), false) = (&doc.machine, state.unbound) else {
            return Err(no_such("node", id));
        };
        let record = self.store.machine(box_id).await?;
        let config = pb::NodeConfig::decode(doc.config.as_slice())
            .map_err(|_| StoreError::Damaged("docs"))?;
        Ok(pb::Node {
            config: Some(config),
            id: doc.name.clone(),
            claim: record
                .as_ref()
                .and_then(|r| r.machine.claim.as_ref())
                .map(|c| c.id.0.clone())
                .unwrap_or_default(),
            installed: record
                .as_ref()
                .is_some_and(|r| matches!(r.machine.phase, Phase::Running(_))),
            address: record
                .and_then(|r| r.address)
                .map(|a| a.to_string())
                .unwrap_or_default(),
            wipe_targets: stored_targets(&doc),
            running_version: state.version,
        })
    }

    pub(super) async fn delete_node(&self, id: &str) -> Result<pb::Empty, ApiError> {
        let Some(mut doc) = self.store.doc(Kind::Node, id).await? else {
            return Ok(pb::Empty {});
        };
        let mut state: NodeState = status(&doc);
        let cluster = id.split('/').next().unwrap_or_default();
        let lives = self.store.doc(Kind::Cluster, cluster).await?.is_some();
        let box_id: Option<MachineId> = doc.machine.clone();
        let joined = match &box_id {
            Some(box_id) => self
                .store
                .machine(box_id)
                .await?
                .is_some_and(|r| matches!(r.machine.phase, Phase::Running(_))),
            None => false,
        };
        if joined && lives {
            state.leaving = true;
        } else {
            // Never joined, or nothing to leave: the next create of the same node goes on where this one was.
            state.unbound = true;
            doc.machine = None;
        }
        set_status(&mut doc, &state);
        self.store.put_doc(Kind::Node, &doc).await?;
        if let Some(box_id) = box_id {
            self.store
                .change(&box_id, |record, journal| {
                    if let Some(claim) = &mut record.machine.claim {
                        claim.config = ConfigState::Absent;
                    }
                    journal.line("api", format!("{id} is not bound to it any more"));
                })
                .await?;
        }
        Ok(pb::Empty {})
    }
}

fn allow_wipe(record: &Record) -> Vec<String> {
    let claim = record.machine.claim.as_ref();
    claim
        .map(|c| c.allow_wipe.iter().map(|d| d.0.clone()).collect())
        .unwrap_or_default()
}

fn node_id(config: &pb::NodeConfig) -> Result<String, ApiError> {
    let facts = config.cluster.clone().unwrap_or_default();
    name(&facts.name, "cluster.name")?;
    name(&config.name, "name")?;
    Ok(format!("{}/{}", facts.name, config.name))
}

fn has_live_claim(record: &Record) -> bool {
    let claim = record.machine.claim.as_ref();
    claim.is_some_and(|c| c.hold == Hold::Held)
}

fn target(t: &pb::WipeTarget) -> Option<Target> {
    let id = [&t.serial, &t.wwid].into_iter().find(|s| !s.is_empty())?;
    Some(Target {
        disk: DiskId(id.clone()),
        fingerprint: t.fingerprint.clone(),
    })
}

fn stored_targets(doc: &Doc) -> Vec<pb::WipeTarget> {
    let state: NodeState = status(doc);
    state.targets.iter().map(Into::into).collect()
}

fn effect(
    before: Option<&Doc>,
    config: &pb::NodeConfig,
    here: &str,
    rendered: &Rendered,
    basis: &Basis,
) -> Result<Effect, ApiError> {
    let generator = basis.pins.generator;
    consequence(
        before,
        config,
        here,
        &rendered.config,
        generator,
        &basis.bundle,
    )
}

/// An rpc can carry one error.
fn first(refused: Refused) -> ApiError {
    ApiError::Invalid(refused.into_iter().next().unwrap_or_default())
}

fn newer_pin(id: &str, revision: u32) -> ApiError {
    Story::new("newer-renderer", "The cluster is pinned to a newer bootd")
        .detail(format!(
            "Secrets {id} keep revision {revision} of the renderer, which this bootd does not have."
        ))
        .hint("run the bootd that made them, or a newer one.")
        .at("cluster.secrets_id")
        .not_now()
}

fn bad_version(config: &pb::SecretsConfig, error: &talos::version::VersionError) -> ApiError {
    Story::new("bad-talos-version", "Talos version cannot be used")
        .detail(format!("{}: {error}.", config.name))
        .hint("write a version such as v1.13.9.")
        .at("talos_version")
        .invalid()
}

fn unclaimed(config: &pb::NodeConfig) -> Story {
    Story::new("server-not-claimed", "Server has no claim")
        .detail(format!(
            "{}: no live claim holds server {:?}.",
            config.name, config.server_id
        ))
        .hint(format!(
            "add a metal_server_claim {{ server_id = {:?} }} and use its server_id.",
            config.server_id
        ))
        .at("server_id")
}

fn uninspected(config: &pb::NodeConfig) -> Story {
    Story::new("server-not-inspected", "Server's disks are not known")
        .detail(format!(
            "{}: the agent has not reported the hardware of {}.",
            config.name, config.server_id
        ))
        .hint("let the server be inspected (inspect = true).")
        .at("server_id")
}

pub(super) fn protected(kind: &str, name: &str) -> ApiError {
    Story::new("deletion-protected", "Protected against deletion")
        .detail(format!("{kind} {name} has deletion_protection = true."))
        .hint("set it to false and apply, then destroy.")
        .at("deletion_protection")
        .not_now()
}
