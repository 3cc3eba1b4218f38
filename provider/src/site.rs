//! What all resources of one provider process share: the way to bootd and the memory of this plan; and waiting.
//!
//! Promises: waiting survives a bootd that restarts, ends at once when the host asks to stop, and tells then what was seen last.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tfplugin::{Context, Diagnostic, Failed, Interrupt, Saved};

use crate::api::{Progress, Subject};
use crate::client::{CallError, Client};
use crate::diag;
use crate::memory::Memory;

/// Between two tries of a stream that broke.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Shared by the provider and its resources.
#[derive(Debug, Default)]
pub(crate) struct Site {
    bootd: Mutex<Bootd>,
    pub(crate) memory: Memory,
}

/// What the provider block said.
#[derive(Clone, Debug, Default)]
pub(crate) enum Bootd {
    /// Nothing, and the environment neither.
    #[default]
    Absent,
    /// Something that is not applied yet.
    Unknown,
    /// A bundle.
    Known(Client),
}

impl Site {
    pub(crate) fn shared() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn configure(&self, bootd: Bootd) {
        *self.bootd.lock().unwrap_or_else(PoisonError::into_inner) = bootd;
    }

    /// The way to bootd; the message for the user where there is none.
    pub(crate) fn client(&self) -> Result<Client, Diagnostic> {
        match &*self.bootd.lock().unwrap_or_else(PoisonError::into_inner) {
            Bootd::Absent => Err(diag::no_bundle()),
            Bootd::Unknown => Err(diag::bundle_unknown()),
            Bootd::Known(client) => Ok(client.clone()),
        }
    }
}

/// Runs a call of an operation that may be stopped.
pub(crate) async fn call<T>(
    cx: &Context,
    client: &Client,
    what: &str,
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, Diagnostic> {
    tokio::select! {
        done = work => done.map_err(|e| diag::call(what, &e)),
        why = cx.interrupted() => Err(interrupted(cx, client, what, "the request was sent", why)),
    }
}

/// What a read answers: what bootd has, or nothing where it has forgotten it. An unreachable bootd is an error, never "gone".
pub(crate) fn found<T: Into<Saved>>(
    what: &str,
    read: Result<T, CallError>,
) -> Result<Option<Saved>, Failed> {
    match read {
        Ok(model) => Ok(Some(model.into())),
        Err(CallError::Gone) => Ok(None),
        Err(e) => Err(diag::call(what, &e).into()),
    }
}

/// Waits until bootd tells the outcome.
pub(crate) async fn wait(
    cx: &Context,
    client: &Client,
    what: &str,
    subject: Subject,
) -> Result<(), Diagnostic> {
    let mut stage = "bootd has taken the request".to_owned();
    let outcome = tokio::select! {
        outcome = follow(cx, client, what, &subject, &mut stage) => Ok(outcome),
        why = cx.interrupted() => Err(why),
    };
    match outcome {
        Ok(outcome) => outcome.map_err(|e| diag::call(what, &e)),
        Err(why) => Err(interrupted(cx, client, what, &stage, why)),
    }
}

async fn follow(
    cx: &Context,
    client: &Client,
    what: &str,
    subject: &Subject,
    stage: &mut String,
) -> Result<(), CallError> {
    loop {
        let mut progress = match Progress::open(client, subject).await {
            Ok(progress) => progress,
            Err(CallError::Unreachable { endpoint, why }) => {
                tracing::warn!(endpoint, why, "bootd is not reachable; trying again");
                tokio::time::sleep(TRY_AGAIN).await;
                continue;
            }
            Err(CallError::Gone) if subject.ends_by_going() => return Ok(()),
            Err(other) => return Err(other),
        };
        loop {
            match progress.next(client).await {
                Ok(Some(step)) => {
                    for remark in step.told(what, client) {
                        cx.warn(remark);
                    }
                    if !step.stage.is_empty() {
                        tracing::info!(subject = %subject, stage = step.stage, message = step.message, "progress");
                        *stage = match step.message.as_str() {
                            "" => step.stage,
                            message => format!("{} ({message})", step.stage),
                        };
                    }
                    match step.outcome {
                        Some(Ok(())) => return Ok(()),
                        Some(Err(refusal)) => return Err(CallError::Refused(refusal)),
                        None => {}
                    }
                }
                Err(CallError::Gone) if subject.ends_by_going() => return Ok(()),
                Ok(None) | Err(CallError::Unreachable { .. }) => break,
                Err(other) => return Err(other),
            }
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

fn interrupted(
    cx: &Context,
    client: &Client,
    what: &str,
    stage: &str,
    why: Interrupt,
) -> Diagnostic {
    match why {
        Interrupt::Stopped => diag::stopped(what, stage, client.endpoint()),
        Interrupt::TimedOut => diag::late(what, stage, client.endpoint(), cx.operation()),
    }
}
