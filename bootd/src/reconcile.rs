//! The reconciler: load, decide, commit, record, act, record. One task per machine; level triggered; killed anywhere, it goes on.
//!
//! Promises: the only room that stores a phase (through [`Store::commit`]) and the only one that touches a BMC; an action is
//! recorded before it is done. Deliberately not here: what is next (the core decides) and how a BMC is spoken to.

mod power;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bootd_core::id::MachineId;
use bootd_core::lifecycle::{
    Action, Admission, Control, Deadlines, Decision, How, Leg, OnDestroy, Outcome, Phase,
    PowerState, decide,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use power::{PowerControl, Trouble};

use crate::bmc::Target;
use crate::store::{Afterwards, Record, Store, StoreError, now};

/// The reconciler of all machines.
#[derive(Debug)]
pub struct Reconciler<P> {
    store: Store,
    power: P,
    deadlines: Deadlines,
    poll: Duration,
    tick: Duration,
}

/// What one turn of a machine's wheel came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Something changed: look again at once.
    Moved,
    /// Waiting for evidence or a deadline.
    Waits,
    /// At rest.
    Rests,
    /// There is no such machine any more.
    Gone,
}

impl<P: PowerControl> Reconciler<P> {
    /// A reconciler that reads idle machines' power every `poll`.
    pub fn new(store: Store, power: P, deadlines: Deadlines, poll: Duration) -> Self {
        let shortest = [
            deadlines.power,
            deadlines.dhcp,
            deadlines.boot_file,
            deadlines.script,
            deadlines.kernel,
            deadlines.agent,
            deadlines.config,
        ]
        .into_iter()
        .min()
        .unwrap_or_default();
        Self {
            store,
            power,
            deadlines,
            poll,
            tick: (shortest / 24).clamp(Duration::from_millis(50), Duration::from_secs(1)),
        }
    }

    /// Tends every machine until stopped. A machine's task that panics ends this one.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> Result<(), StoreError> {
        let mut population = self.store.population();
        let mut tended = BTreeSet::new();
        let mut tasks = JoinSet::new();
        loop {
            population.borrow_and_update();
            for id in self.store.machine_ids().await? {
                if tended.insert(id.clone()) {
                    let (this, stop) = (Arc::clone(&self), stop.clone());
                    tasks.spawn(async move {
                        this.tend(&id, stop).await;
                        id
                    });
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = population.changed() => if changed.is_err() { break },
                ended = tasks.join_next(), if !tasks.is_empty() => match ended {
                    Some(Ok(id)) => { tended.remove(&id); }
                    Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
                    None => {}
                },
            }
        }
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    async fn tend(&self, id: &MachineId, stop: CancellationToken) {
        let waker = self.store.waker(id);
        loop {
            let wait = match self.turn(id).await {
                Ok(Turn::Moved) => continue,
                Ok(Turn::Gone) => return,
                Ok(Turn::Waits) => self.tick,
                Ok(Turn::Rests) => self.poll,
                Err(error) => {
                    tracing::error!(machine = %id, error = &error as &dyn std::error::Error, "the store failed");
                    Duration::from_secs(1)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = waker.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One turn: load, decide, and carry out the decision.
    pub async fn turn(&self, id: &MachineId) -> Result<Turn, StoreError> {
        let Some(record) = self.store.machine(id).await? else {
            return Ok(Turn::Gone);
        };
        let epoch = record.machine.epoch;
        let (actions, reason, turn) = match decide(&record.machine, now(), &self.deadlines) {
            Decision::Enter(phase, reason) => {
                self.store.commit(id, epoch, phase, &reason).await?;
                return Ok(Turn::Moved);
            }
            Decision::Work(actions, reason) => (actions, reason, Turn::Waits),
            Decision::Rest(actions, reason) => (actions, reason, Turn::Rests),
        };
        if record.machine.phase == Phase::Retired {
            self.store.forget(id, afterwards(&record)).await?;
            return Ok(Turn::Gone);
        }
        if actions.is_empty() {
            if record.machine.reason != reason.to_string() {
                self.store.record_reason(id, epoch, &reason).await?;
            }
            if turn == Turn::Rests {
                self.poll_power(&record).await?;
            }
            return Ok(turn);
        }
        for action in &actions {
            if !self.store.record(id, epoch, action, &reason).await? {
                return Ok(Turn::Moved);
            }
            self.act(&record, action).await?;
        }
        Ok(turn)
    }

    async fn act(&self, record: &Record, action: &Action) -> Result<(), StoreError> {
        let id = &record.machine.id;
        match action {
            Action::Boot(_, How::Button) => {
                let epoch = record.machine.epoch;
                self.store.record_outcome(id, epoch, Outcome::Done).await
            }
            Action::Boot(leg, how) => self.boot(record, *leg, *how).await,
            Action::Erase(_) => Ok(()),
            Action::PowerOff => self.power_off(record).await,
        }
    }

    async fn power_off(&self, record: &Record) -> Result<(), StoreError> {
        let id = &record.machine.id;
        let Ok(target) = self.target(record).await? else {
            return self.store.record_power(id, PowerState::Unreachable).await;
        };
        let done = match self.power.guid(&target).await {
            Err(trouble) => Err(trouble),
            Ok(guid) => match power::bind(&self.store, record, &target, guid).await? {
                Err(why) => return self.store.record_other_box(id, &why).await,
                Ok(()) => self.power.off(&target).await,
            },
        };
        let state = match done {
            Ok(()) => PowerState::Off,
            Err(trouble) => {
                tracing::warn!(machine = %id, why = trouble.text(), "power off failed");
                PowerState::Unreachable
            }
        };
        self.store.record_power(id, state).await
    }

    async fn boot(&self, record: &Record, leg: Leg, how: How) -> Result<(), StoreError> {
        let m = &record.machine;
        if m.control == Control::Manual {
            return self
                .store
                .record_outcome(&m.id, m.epoch, Outcome::Done)
                .await;
        }
        let outcome = match self.target(record).await? {
            Err(why) => Outcome::Refused(why),
            Ok(target) => match self.power.guid(&target).await {
                Err(trouble) => trouble.into(),
                Ok(guid) => match power::bind(&self.store, record, &target, guid).await? {
                    Err(why) => Outcome::OtherBox(why),
                    Ok(()) => match self.boot_steps(record, &target, how).await {
                        Ok(()) => Outcome::Done,
                        Err(trouble) => trouble.into(),
                    },
                },
            },
        };
        tracing::info!(machine = %m.id, epoch = m.epoch.0, leg = leg.name(), ?how, ?outcome, "boot");
        if outcome == Outcome::Done {
            self.store.record_power(&m.id, PowerState::On).await?;
        }
        self.store.record_outcome(&m.id, m.epoch, outcome).await
    }

    async fn boot_steps(&self, record: &Record, target: &Target, how: How) -> Result<(), Trouble> {
        match how {
            How::Start => {
                let state = self.power.read(target).await?;
                self.power.boot_pxe(target, record.arch).await?;
                match state {
                    PowerState::Off => self.power.on(target).await,
                    PowerState::On | PowerState::Unreachable => self.power.cycle(target).await,
                }
            }
            How::Restart => {
                self.power.off(target).await?;
                self.power.boot_pxe(target, record.arch).await?;
                self.power.on(target).await
            }
            How::ByAgent => self.power.boot_pxe(target, record.arch).await,
            How::Button => Ok(()),
        }
    }

    async fn poll_power(&self, record: &Record) -> Result<(), StoreError> {
        let m = &record.machine;
        let due = m.power.is_none_or(|p| now().since(p.at) >= self.poll);
        if !due || m.control == Control::Manual || m.admission == Admission::Unaccepted {
            return Ok(());
        }
        let state = match self.target(record).await? {
            Ok(target) => self
                .power
                .read(&target)
                .await
                .unwrap_or(PowerState::Unreachable),
            Err(_) => PowerState::Unreachable,
        };
        self.store.record_power(&m.id, state).await
    }

    /// Where its BMC is, or why that is not known.
    async fn target(&self, record: &Record) -> Result<Result<Target, String>, StoreError> {
        power::target(&self.store, &record.machine.id).await
    }
}

/// A box that should have been turned off and perhaps was not is worth a line after its end.
fn afterwards(record: &Record) -> Afterwards {
    let m = &record.machine;
    let off = m.power.is_some_and(|p| p.state == PowerState::Off);
    if m.on_destroy == OnDestroy::Release || m.control == Control::Manual || off {
        return Afterwards::Nothing;
    }
    let text = format!("{}: {}", m.phase, m.reason);
    tracing::warn!(machine = %m.id, text, "a server is forgotten");
    Afterwards::Told(text)
}

#[cfg(test)]
mod tests;
