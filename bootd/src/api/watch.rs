//! Progress of one thing until its outcome. Anyone may leave and come back: every message is computed from the store.

use std::time::Duration;

use bootd_core::lifecycle::{Admission, Goal, Machine, Phase, Step, clock};
use metal_proto::metal::v1 as pb;
use pb::progress::Outcome;
use pb::watch_request::Subject;
use prost::Message as _;

use super::status::{ApiError, Story};
use super::words::{failure, timestamp};
use super::{Api, Streamed, machine};
use crate::store::{Kind, StoreError, now};
use crate::talos::{ClusterState, NodeState, status};

/// Without any change, a look so often.
const LOOK: Duration = Duration::from_secs(2);

/// What is said of a thing now.
struct Now {
    stage: String,
    message: String,
    outcome: Option<Outcome>,
    remarks: Vec<pb::Remark>,
}

impl Now {
    fn done(stage: &str) -> Self {
        Self {
            stage: stage.to_owned(),
            message: String::new(),
            outcome: Some(Outcome::Done(pb::Empty {})),
            remarks: Vec::new(),
        }
    }

    fn failed(stage: &str, detail: pb::ErrorDetail) -> Self {
        Self {
            stage: stage.to_owned(),
            message: detail.summary.clone(),
            outcome: Some(Outcome::Failed(detail)),
            remarks: Vec::new(),
        }
    }

    fn going(stage: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            stage: stage.into(),
            message: message.into(),
            outcome: None,
            remarks: Vec::new(),
        }
    }

    fn warns(mut self, story: Story) -> Self {
        self.remarks.push(story.warns());
        self
    }
}

impl Api {
    pub(super) fn watch(
        &self,
        request: pb::WatchRequest,
    ) -> Result<Streamed<pb::Progress>, ApiError> {
        let subject = request.subject.ok_or_else(|| {
            Story::new("no-subject", "Nothing to watch")
                .detail("a watch names one thing.")
                .hint("set one of the subjects.")
                .invalid()
        })?;
        let mut changed = self.store.changed();
        changed.borrow_and_update();
        let state = Some((self.clone(), subject, changed, String::new()));
        let stream = futures::stream::try_unfold(state, |state| async move {
            let Some((api, subject, mut changed, said)) = state else {
                return Ok(None);
            };
            loop {
                let look = api.look(&subject).await?;
                let say = format!("{}\n{}", look.stage, look.message);
                if look.outcome.is_some() || say != said {
                    let progress = pb::Progress {
                        at: Some(timestamp(now())),
                        stage: look.stage,
                        message: look.message,
                        outcome: look.outcome.clone(),
                        remarks: look.remarks,
                    };
                    let next = look
                        .outcome
                        .is_none()
                        .then_some((api, subject, changed, say));
                    return Ok::<_, tonic::Status>(Some((progress, next)));
                }
                let _ = tokio::time::timeout(LOOK, changed.changed()).await;
            }
        });
        Ok(Box::pin(stream))
    }

    async fn look(&self, subject: &Subject) -> Result<Now, ApiError> {
        match subject {
            Subject::ServerInspected(name) => self.look_server(name).await,
            Subject::ClaimReleased(name) => self.look_release(name).await,
            Subject::ImageCached(id) => self.look_image(id).await,
            Subject::NodeInstalled(id) => self.look_node(id).await,
            Subject::NodeRemoved(id) => self.look_removal(id).await,
            Subject::ClusterReady(id) => self.look_cluster(id).await,
            Subject::ServerForgotten(name) => self.look_forgotten(name).await,
        }
    }

    async fn going(&self, m: &Machine) -> Result<Now, StoreError> {
        let last = self.store.timeline(&m.id, 0).await?.pop();
        let message = last.map_or_else(String::new, |l| format!("{}: {}", l.source, l.text));
        Ok(Now::going(format!("{}: {}", m.phase, m.reason), message))
    }

    async fn look_server(&self, name: &str) -> Result<Now, ApiError> {
        let Some(record) = self.store.machine(&machine(name)).await? else {
            return Ok(Now::failed("gone", gone("server", name)));
        };
        let m = &record.machine;
        Ok(match &m.phase {
            Phase::Available | Phase::Installing(_) | Phase::Running(_) | Phase::Wiping => {
                Now::done("inspected")
            }
            Phase::Discovered if m.admission == Admission::Unaccepted => {
                Now::done("not accepted: it is not inspected")
            }
            Phase::Discovered | Phase::Inspecting => self.going(m).await?,
            Phase::Failed(_) | Phase::Quarantined(_) | Phase::Retired => {
                Now::failed("failed", story_of(m))
            }
        })
    }

    async fn look_release(&self, name: &str) -> Result<Now, ApiError> {
        let Some(row) = self.store.claim(name).await? else {
            return self.released(name).await;
        };
        let Some(record) = self.store.machine(&row.machine).await? else {
            return Ok(Now::done("released"));
        };
        let m = &record.machine;
        Ok(match &m.phase {
            Phase::Failed(Step::Wipe) | Phase::Quarantined(_) if m.goal_at <= m.since => {
                Now::failed("failed", story_of(m))
            }
            Phase::Failed(_)
            | Phase::Quarantined(_)
            | Phase::Discovered
            | Phase::Inspecting
            | Phase::Available
            | Phase::Installing(_)
            | Phase::Running(_)
            | Phase::Wiping
            | Phase::Retired => self.going(m).await?,
        })
    }

    /// The claim is gone. Where its box could not be wiped, a person should know.
    async fn released(&self, name: &str) -> Result<Now, ApiError> {
        let last = match self.store.previous(name).await? {
            Some(id) => self.store.machine(&id).await?.map(|r| r.machine),
            None => None,
        };
        let its = |m: &Machine| m.claim.as_ref().is_some_and(|c| c.id.0 == name);
        Ok(match last {
            Some(m) if matches!(m.phase, Phase::Quarantined(_)) && its(&m) => {
                let mut detail = story_of(&m);
                detail.summary = "Server is quarantined".to_owned();
                detail.detail = format!(
                    "The claim is gone, and its box is in no pool, because its wipe could not be proven. {}",
                    detail.detail
                );
                detail.hint = format!(
                    "repair {0} and run `metalctl retry {0}`; if it is dead, `metalctl forget {0} --force`.",
                    m.id
                );
                Now::done("quarantined").warns(Story::from(detail))
            }
            Some(_) | None => Now::done("released"),
        })
    }

    async fn look_forgotten(&self, name: &str) -> Result<Now, ApiError> {
        let id = machine(name);
        if let Some(record) = self.store.machine(&id).await? {
            let m = &record.machine;
            return if m.goal == Goal::Retire {
                Ok(self.going(m).await?)
            } else {
                let detail = Story::new("server-wanted", "Server is not to be forgotten")
                    .detail(format!("{id} was declared again, or never deleted."))
                    .hint("apply again.");
                Ok(Now::failed("wanted", detail.done()))
            };
        }
        let done = Now::done("forgotten");
        Ok(match self.store.timeline(&id, 0).await?.pop() {
            Some(line) => done.warns(
                Story::new(
                    "server-perhaps-on",
                    "Server was forgotten, but not in order",
                )
                .detail(line.text)
                .hint(format!(
                    "look at {id} itself: is it off, and what is on its disks?"
                )),
            ),
            None => done,
        })
    }

    async fn look_image(&self, id: &str) -> Result<Now, ApiError> {
        if self.images.cached(id).is_some() {
            return Ok(Now::done("cached"));
        }
        let Some(doc) = self.store.doc(Kind::Image, id).await? else {
            return Ok(Now::failed("gone", gone("image", id)));
        };
        if doc.status.is_empty() {
            return Ok(Now::going("fetching", format!("fetching {id}")));
        }
        let detail = Story::new("image-not-fetched", "Image could not be fetched")
            .detail(format!("{id}: {}.", doc.status))
            .hint("check [images] factory and [egress] allow in bootd.toml, then apply again.")
            .done();
        Ok(Now::failed("failed", detail))
    }

    async fn look_node(&self, id: &str) -> Result<Now, ApiError> {
        let doc = self.store.doc(Kind::Node, id).await?;
        let Some((doc, box_id)) = doc.and_then(|d| d.machine.clone().map(|m| (d, m))) else {
            return Ok(Now::failed("gone", gone("node", id)));
        };
        let Some(record) = self.store.machine(&box_id).await? else {
            return Ok(Now::failed("gone", gone("server", &box_id.0)));
        };
        let m = &record.machine;
        Ok(match &m.phase {
            Phase::Running(_) => {
                let state: NodeState = status(&doc);
                if state.to_apply {
                    self.going(m).await?
                } else {
                    Now::done("installed and booted from disk")
                }
            }
            Phase::Failed(_) | Phase::Quarantined(_) | Phase::Retired if m.goal_at <= m.since => {
                Now::failed("failed", story_of(m))
            }
            Phase::Failed(_)
            | Phase::Quarantined(_)
            | Phase::Retired
            | Phase::Discovered
            | Phase::Inspecting
            | Phase::Available
            | Phase::Installing(_)
            | Phase::Wiping => self.going(m).await?,
        })
    }

    async fn look_removal(&self, id: &str) -> Result<Now, ApiError> {
        let Some(doc) = self.store.doc(Kind::Node, id).await? else {
            return Ok(Now::done("removed"));
        };
        let state: NodeState = status(&doc);
        Ok(if state.unbound || doc.machine.is_none() {
            Now::done("unbound")
        } else {
            Now::going("leaving", format!("{id} leaves its cluster"))
        })
    }

    async fn look_cluster(&self, id: &str) -> Result<Now, ApiError> {
        let Some(doc) = self.store.doc(Kind::Cluster, id).await? else {
            return Ok(Now::failed("gone", gone("cluster", id)));
        };
        let state: ClusterState = status(&doc);
        if state.ready {
            return Ok(Now::done("ready"));
        }
        let config = pb::ClusterConfig::decode(doc.config.as_slice())
            .map_err(|_| StoreError::Damaged("docs"))?;
        let nodes: std::collections::BTreeSet<&String> = config.nodes.values().collect();
        for node in nodes {
            let look = self.look_node(node).await?;
            if let Some(Outcome::Failed(detail)) = look.outcome {
                return Ok(Now::failed("failed", detail));
            }
        }
        let patience = self.jobs.patience();
        if let Some(asked) = state.asked_at
            && now().since(asked) >= patience
        {
            let detail = Story::new("stalled-cluster", "Cluster did not start in time")
                .detail(format!(
                    "{id}: {}. It was asked for at {}, and [deadlines] cluster is {} s.",
                    state.line,
                    clock(asked),
                    patience.as_secs()
                ))
                .hint("look at the console of that node and at `metalctl timeline` of its server, then apply again; bootd goes on meanwhile.");
            return Ok(Now::failed("not started in time", detail.done()));
        }
        Ok(Now::going("starting the cluster", state.line))
    }
}

fn story_of(m: &Machine) -> pb::ErrorDetail {
    match &m.failure {
        Some(f) => failure(f),
        None => Story::new("not-running", "Machine is not what was asked for")
            .detail(format!("{} is {}: {}.", m.id, m.phase, m.reason))
            .hint(format!("`metalctl timeline {}` tells what happened.", m.id))
            .done(),
    }
}

fn gone(kind: &str, name: &str) -> pb::ErrorDetail {
    Story::new("gone", "Gone")
        .detail(format!("{kind} {name} is not there any more."))
        .hint("apply again.")
        .done()
}
