//! The node's events: made in order, numbered as machined numbers them, kept for the sink and for the pull API.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use metal_proto::talos::common;
use metal_proto::talos::machine::machine_status_event::machine_status::UnmetCondition;
use metal_proto::talos::machine::machine_status_event::{MachineStage, MachineStatus};
use metal_proto::talos::machine::{
    AddressEvent, ConfigLoadErrorEvent, MachineStatusEvent, PhaseEvent, RestartEvent,
    SequenceEvent, ServiceHealth, ServiceStateEvent, TaskEvent, phase_event, sequence_event,
    service_state_event, task_event,
};
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// Events that a node keeps.
const KEPT_MAX: usize = 990;

/// An event's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Message name in package `machine`.
    pub name: &'static str,
    /// Encoded message.
    pub bytes: Vec<u8>,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Id.
    pub id: String,
    /// Content.
    pub payload: Payload,
    /// Actor of the sequence, if somebody asked for it.
    pub actor: String,
}

/// Everything that happened in this boot.
#[derive(Debug)]
pub struct EventLog {
    kept: Mutex<Kept>,
    count: watch::Sender<usize>,
    machine: [u8; 3],
}

#[derive(Debug)]
struct Kept {
    events: VecDeque<Event>,
    /// Number of the first one that is kept.
    first: usize,
    counter: u32,
    actor: String,
}

impl EventLog {
    /// An empty log of a boot; `counter` is where its ids begin.
    pub fn new(uuid: &str, counter: u32) -> Self {
        let digest: [u8; 32] = Sha256::digest(format!("{}\n", uuid.to_ascii_lowercase())).into();
        Self {
            kept: Mutex::new(Kept {
                events: VecDeque::new(),
                first: 0,
                counter: counter & 0xff_ffff,
                actor: String::new(),
            }),
            count: watch::Sender::new(0),
            machine: [digest[0], digest[1], digest[2]],
        }
    }

    /// From now on sequences, phases and tasks belong to this actor.
    pub fn actor(&self, actor: &str) {
        actor.clone_into(&mut self.lock().actor);
    }

    /// Adds an event.
    pub fn emit(&self, payload: Payload) {
        let mut kept = self.lock();
        let id = self.next_id(&mut kept);
        let acts = matches!(payload.name, "SequenceEvent" | "PhaseEvent" | "TaskEvent");
        let actor = if acts {
            kept.actor.clone()
        } else {
            String::new()
        };
        kept.events.push_back(Event { id, payload, actor });
        if kept.events.len() > KEPT_MAX {
            kept.events.pop_front();
            kept.first += 1;
        }
        let total = kept.first + kept.events.len();
        drop(kept);
        self.count.send_replace(total);
    }

    /// A fresh id, as the pull API's first message carries one.
    pub fn id(&self) -> String {
        let mut kept = self.lock();
        self.next_id(&mut kept)
    }

    /// The event of that number, or the oldest one that is kept and its number.
    pub fn at(&self, number: usize) -> Option<(usize, Event)> {
        let kept = self.lock();
        let number = number.max(kept.first);
        kept.events
            .get(number - kept.first)
            .map(|e| (number, e.clone()))
    }

    /// How many there were; grows.
    pub fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    fn next_id(&self, kept: &mut Kept) -> String {
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let [.., a, b, c, d] = seconds.to_be_bytes();
        kept.counter = (kept.counter + 1) & 0xff_ffff;
        let [_, x, y, z] = kept.counter.to_be_bytes();
        let m = self.machine;
        xid([a, b, c, d, m[0], m[1], m[2], 0, 1, x, y, z])
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 12 bytes in base32hex, lower case, without padding.
fn xid(bytes: [u8; 12]) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let mut text = String::with_capacity(20);
    for n in 0..20 {
        let bit = n * 5;
        let pair = u16::from_be_bytes([bytes[bit / 8], *bytes.get(bit / 8 + 1).unwrap_or(&0)]);
        let digit = pair >> (11 - bit % 8) & 31;
        text.push(char::from(DIGITS[usize::from(digit)]));
    }
    text
}

/// Whether something begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// It begins.
    Start,
    /// It ends.
    Stop,
}

/// A sequence begins or ends.
pub fn sequence(name: &str, edge: Edge) -> Payload {
    let action = match edge {
        Edge::Start => sequence_event::Action::Start,
        Edge::Stop => sequence_event::Action::Stop,
    };
    payload(
        "SequenceEvent",
        &SequenceEvent {
            sequence: name.to_owned(),
            action: action.into(),
            error: None,
        },
    )
}

/// A sequence failed.
pub fn sequence_failed(name: &str, code: common::Code, why: &str) -> Payload {
    payload(
        "SequenceEvent",
        &SequenceEvent {
            sequence: name.to_owned(),
            action: sequence_event::Action::Noop.into(),
            error: Some(common::Error {
                code: code.into(),
                message: why.to_owned(),
                details: Vec::new(),
            }),
        },
    )
}

/// A phase begins or ends.
pub fn phase(name: &str, edge: Edge) -> Payload {
    let action = match edge {
        Edge::Start => phase_event::Action::Start,
        Edge::Stop => phase_event::Action::Stop,
    };
    let event = PhaseEvent {
        phase: name.to_owned(),
        action: action.into(),
    };
    payload("PhaseEvent", &event)
}

/// A task begins or ends.
pub fn task(name: &str, edge: Edge) -> Payload {
    let action = match edge {
        Edge::Start => task_event::Action::Start,
        Edge::Stop => task_event::Action::Stop,
    };
    let event = TaskEvent {
        task: name.to_owned(),
        action: action.into(),
    };
    payload("TaskEvent", &event)
}

/// What is known of a service's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Nothing.
    Unknown,
    /// It is well.
    Good,
}

/// A service changed.
pub fn service(
    name: &str,
    action: service_state_event::Action,
    message: &str,
    health: Health,
) -> Payload {
    payload(
        "ServiceStateEvent",
        &ServiceStateEvent {
            service: name.to_owned(),
            action: action.into(),
            message: message.to_owned(),
            health: Some(ServiceHealth {
                unknown: health == Health::Unknown,
                healthy: health == Health::Good,
                last_message: String::new(),
                last_change: None,
            }),
        },
    )
}

/// The machine's stage, readiness and what is missing.
pub fn status(stage: MachineStage, unmet: &[(String, String)]) -> Payload {
    let unmet_conditions: Vec<_> = unmet
        .iter()
        .map(|(name, reason)| UnmetCondition {
            name: name.clone(),
            reason: reason.clone(),
        })
        .collect();
    let event = MachineStatusEvent {
        stage: stage.into(),
        status: Some(MachineStatus {
            ready: unmet_conditions.is_empty(),
            unmet_conditions,
        }),
    };
    payload("MachineStatusEvent", &event)
}

/// Host name and addresses.
pub fn address(hostname: &str, addresses: Vec<String>) -> Payload {
    let event = AddressEvent {
        hostname: hostname.to_owned(),
        addresses,
    };
    payload("AddressEvent", &event)
}

/// Linux's reboot commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Into another kernel.
    Kexec,
    /// Through the firmware.
    Reboot,
    /// Off.
    PowerOff,
}

/// The machine restarts.
pub fn restart(how: Restart) -> Payload {
    let cmd = match how {
        Restart::Kexec => 1_163_412_803,
        Restart::Reboot => 19_088_743,
        Restart::PowerOff => 1_126_301_404,
    };
    payload("RestartEvent", &RestartEvent { cmd })
}

/// A config could not be used.
pub fn config_load_error(error: &str) -> Payload {
    let event = ConfigLoadErrorEvent {
        error: error.to_owned(),
    };
    payload("ConfigLoadErrorEvent", &event)
}

fn payload<M: Message>(name: &'static str, message: &M) -> Payload {
    Payload {
        name,
        bytes: message.encode_to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        assert_eq!(xid([0; 12]), "0".repeat(20));
        assert_eq!(xid([0xff; 12]), "vvvvvvvvvvvvvvvvvvvg");
        let log = EventLog::new("5E8D1C2B-0000-4000-8000-0000000000AA", 0xff_fffe);
        log.emit(sequence("initialize", Edge::Start));
        log.emit(phase("systemRequirements", Edge::Start));
        let (first, second) = (log.at(0).unwrap().1, log.at(1).unwrap().1);
        assert_eq!(first.id.len(), 20);
        assert_eq!(first.id[7..14], second.id[7..14]);
        assert_ne!(first.id, second.id);
        assert_eq!(*log.count().borrow(), 2);
    }

    #[test]
    fn the_oldest_go() {
        let log = EventLog::new("x", 0);
        for _ in 0..KEPT_MAX + 10 {
            log.emit(phase("p", Edge::Start));
        }
        assert_eq!(log.at(0).unwrap().0, 10);
        assert_eq!(log.at(KEPT_MAX + 10), None);
    }
}
