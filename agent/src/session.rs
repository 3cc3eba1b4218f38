//! The agent's whole life on a machine: report, take an order, carry it out, say how it went, report again.
//!
//! Promise: nothing is written but by an erase order that bootd gave to this boot's token, and no order is carried out twice.
//! A refused token ends the session with the machine off. An unreachable bootd is asked again for ever, ever less often:
//! doing nothing is safe.

use std::error::Error;
use std::time::{Duration, Instant};

use metal_proto::metal::v1::agent_order::What;
use metal_proto::metal::v1::{AgentErase, AgentOrder, AgentReport, AgentResult};
use prost::Message;

use crate::parameters::BootParameters;
use crate::platform::Platform;
use crate::talk::{Line, Request, TalkError};
use crate::{erase, report};

/// What to do with the machine's power when the agent is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Turn it off.
    PowerOff,
    /// Restart it; the firmware decides what boots.
    Reboot,
    /// It is off already: [`Platform::alive`] said so.
    Cut,
}

/// The agent's own version, as reported.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
const ANSWER: Duration = Duration::from_secs(30);
/// The server holds a long poll for up to 60 s.
const POLL: Duration = Duration::from_secs(75);
/// A server that answers every poll at once is not asked more often.
const POLL_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// Runs the agent on a machine until bootd says how it ends.
pub fn run<P: Platform>(platform: &P, boot: &BootParameters) -> Outcome {
    match Session::new(platform, boot).and_then(|mut session| session.run()) {
        Ok(outcome) => outcome,
        Err(End::Cut) => Outcome::Cut,
        Err(End::Refused) => {
            platform.log("bootd refuses this boot's token: nothing is written, powering off");
            Outcome::PowerOff
        }
        Err(End::NoLine(why)) => {
            platform.log(&format!("{why}: nothing is written, powering off"));
            Outcome::PowerOff
        }
    }
}

/// Why a session ends without an order to end.
enum End {
    Cut,
    Refused,
    NoLine(String),
}

struct Session<'a, P> {
    platform: &'a P,
    boot: &'a BootParameters,
    line: Line<'a>,
    reports: u64,
    done: Option<AgentResult>,
}

/// How often a request is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tries {
    Once,
    UntilAnswered,
}

impl<'a, P: Platform> Session<'a, P> {
    fn new(platform: &'a P, boot: &'a BootParameters) -> Result<Self, End> {
        let line = Line::new(boot).map_err(|e| End::NoLine(chain(&e)))?;
        Ok(Self {
            platform,
            boot,
            line,
            reports: 0,
            done: None,
        })
    }

    fn run(&mut self) -> Result<Outcome, End> {
        let mut order = self.report(Tries::UntilAnswered)?.unwrap_or_default();
        loop {
            order = match order.what {
                Some(What::PowerOff(_)) => return Ok(Outcome::PowerOff),
                Some(What::Reboot(_)) => return Ok(Outcome::Reboot),
                Some(What::Erase(erase)) => self.obey(order.number, &erase)?,
                Some(What::Wait(_)) | None => self.poll(order.number)?,
            };
        }
    }

    fn report(&mut self, tries: Tries) -> Result<Option<AgentOrder>, End> {
        self.reports += 1;
        let hardware = report::inspect(self.platform);
        if !self.platform.alive() {
            return Err(End::Cut);
        }
        let report = report::fit(AgentReport {
            mac: self.boot.mac.clone(),
            hardware: Some(hardware),
            sent_sequence: self.reports,
            agent_version: VERSION.to_owned(),
        });
        self.platform
            .log(&format!("report {} to {}", self.reports, self.boot.server));
        self.ask(
            &Request::Post("/agent/report", report.encode_to_vec()),
            ANSWER,
            tries,
        )
    }

    fn poll(&mut self, after: u64) -> Result<AgentOrder, End> {
        let asked = Instant::now();
        let request = Request::Get(format!("/agent/order?after={after}"));
        let order = self
            .ask(&request, POLL, Tries::UntilAnswered)?
            .unwrap_or_default();
        if matches!(order.what, Some(What::Wait(_)) | None) {
            self.pause(POLL_AT_MOST_EVERY.saturating_sub(asked.elapsed()))?;
        }
        // A number only grows; an answer without one must not make the next poll ask for old orders again.
        Ok(AgentOrder {
            number: order.number.max(after),
            ..order
        })
    }

    /// Carries an erase order out, or repeats the result of one that was carried out before.
    fn obey(&mut self, number: u64, order: &AgentErase) -> Result<AgentOrder, End> {
        let result = match self.done.take() {
            Some(done) if done.order == number => {
                self.pause(POLL_AT_MOST_EVERY)?;
                done
            }
            _ => {
                self.platform.log(&format!(
                    "order {number}: erase {} disk(s)",
                    order.disks.len()
                ));
                erase::carry_out(self.platform, number, order)
            }
        };
        if !self.platform.alive() {
            return Err(End::Cut);
        }
        self.platform
            .log(&format!("order {number}: {}", report::verdict(&result)));
        let request = Request::Post("/agent/result", result.encode_to_vec());
        self.done = Some(result);
        let next = self
            .ask(&request, ANSWER, Tries::UntilAnswered)?
            .unwrap_or_default();
        if matches!(next.what, Some(What::PowerOff(_) | What::Reboot(_))) {
            // The order to end stands, whether or not the last report arrives.
            let _ = self.report(Tries::Once)?;
            return Ok(next);
        }
        let newer = self.report(Tries::UntilAnswered)?.unwrap_or_default();
        Ok(if newer.number >= next.number {
            newer
        } else {
            next
        })
    }

    fn ask(
        &self,
        request: &Request<'_>,
        patience: Duration,
        tries: Tries,
    ) -> Result<Option<AgentOrder>, End> {
        let alive = || self.platform.alive();
        let mut pause = FIRST_PAUSE;
        let mut said = String::new();
        loop {
            let failed = match self.line.ask(request, patience, &alive) {
                Ok(order) => return Ok(Some(order)),
                Err(TalkError::Cut) => return Err(End::Cut),
                Err(TalkError::Unauthorized) if tries == Tries::Once => return Ok(None),
                Err(TalkError::Unauthorized) => return Err(End::Refused),
                Err(failed) => chain(&failed),
            };
            if tries == Tries::Once {
                return Ok(None);
            }
            if failed != said {
                self.platform.log(&format!("{failed}; trying again"));
                said = failed;
            }
            self.pause(pause)?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn pause(&self, long: Duration) -> Result<(), End> {
        let until = Instant::now() + long;
        loop {
            if !self.platform.alive() {
                return Err(End::Cut);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}

/// An error and what caused it, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
