//! Pushed Talos events, reduced to a line for people and at most one fact for the life cycle.
//!
//! A node's event ids are xids (20 characters of base32hex over 12 bytes); their last three bytes count up by one within a boot
//! and start anywhere in the next, so a jump is a new boot. Delivery is at least once: an id that was reduced before yields its
//! line again and no fact. A few ids may be missing, and the last events of a boot often are: nothing here needs them.
//! State may be lost (bootd restarted): the reducer then goes on from what it sees and claims no less than the events prove.

use bootd_core::lifecycle::facts::TalosFact;
use metal_proto::talos::machine::machine_status_event::MachineStage;
use metal_proto::talos::machine::service_state_event::Action as ServiceAction;
use metal_proto::talos::machine::{
    self, AddressEvent, ConfigLoadErrorEvent, ConfigValidationErrorEvent, MachineStatusEvent,
    PhaseEvent, RestartEvent, SequenceEvent, ServiceStateEvent, TaskEvent,
};
use prost::Message as _;

/// A counter that is this much further on is still the same boot: some ids are never sent.
const GAP_MAX: u32 = 1000;
/// Longest line for the timeline.
const LINE_CHARS_MAX: usize = 400;

/// One event, decoded.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A sequence starts, ends or fails.
    Sequence(SequenceEvent),
    /// A phase of a sequence.
    Phase(PhaseEvent),
    /// A task of a phase.
    Task(TaskEvent),
    /// A service changes.
    Service(ServiceStateEvent),
    /// The machine's stage.
    Status(MachineStatusEvent),
    /// Host name and addresses.
    Address(AddressEvent),
    /// The machine is about to restart.
    Restart(RestartEvent),
    /// The config could not be loaded or is not valid.
    ConfigError(String),
    /// A type that this version does not know.
    Other(String),
}

impl Event {
    /// Decodes the payload. The type is the last part of its URL: push and pull write different prefixes.
    pub fn decode(type_url: &str, value: &[u8]) -> Result<Self, prost::DecodeError> {
        let kind = type_url.rsplit(['/', '.']).next().unwrap_or(type_url);
        Ok(match kind {
            "SequenceEvent" => Self::Sequence(SequenceEvent::decode(value)?),
            "PhaseEvent" => Self::Phase(PhaseEvent::decode(value)?),
            "TaskEvent" => Self::Task(TaskEvent::decode(value)?),
            "ServiceStateEvent" => Self::Service(ServiceStateEvent::decode(value)?),
            "MachineStatusEvent" => Self::Status(MachineStatusEvent::decode(value)?),
            "AddressEvent" => Self::Address(AddressEvent::decode(value)?),
            "RestartEvent" => Self::Restart(RestartEvent::decode(value)?),
            "ConfigLoadErrorEvent" => Self::ConfigError(ConfigLoadErrorEvent::decode(value)?.error),
            "ConfigValidationErrorEvent" => {
                Self::ConfigError(ConfigValidationErrorEvent::decode(value)?.error)
            }
            other => Self::Other(other.chars().take(64).collect()),
        })
    }
}

/// What one node's events have shown so far in one boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    last: Option<u32>,
    install: Install,
    status: Option<(MachineStage, bool)>,
    halted: bool,
}

/// Sequence `install` of this boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Install {
    /// Not seen.
    #[default]
    Unseen,
    /// Started; nothing in it yet.
    Open,
    /// A phase of it was seen.
    Working,
    /// Ended after work, or gone to the reboot that ends it.
    Finished,
    /// Ended without work: this machine counts as installed.
    Empty,
    /// Ended with an error.
    Failed,
}

/// The outcome of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduced {
    /// The state to keep once line and fact are stored.
    pub run: Run,
    /// For the timeline.
    pub line: String,
    /// For the life cycle.
    pub fact: Option<TalosFact>,
}

/// The machine part of an event id: equal for all events of one machine, a hint and no proof. `None` if the id is no xid.
pub fn machine_of(id: &str) -> Option<[u8; 3]> {
    let bytes = xid(id)?;
    Some([bytes[4], bytes[5], bytes[6]])
}

/// Takes one event in.
pub fn reduce(run: &Run, id: &str, event: &Event) -> Reduced {
    let line = line(event);
    let Some(counter) = xid(id).map(|b| u32::from_be_bytes([0, b[9], b[10], b[11]])) else {
        return Reduced {
            run: run.clone(),
            line,
            fact: None,
        };
    };
    let is_start = matches!(event, Event::Sequence(s)
        if s.sequence == "initialize" && s.action == machine::sequence_event::Action::Start as i32);
    let (mut next, is_new) = match run.last {
        Some(last) if counter == last || behind(counter, last) => {
            return Reduced {
                run: run.clone(),
                line,
                fact: None,
            };
        }
        Some(last) if !is_start && ahead(counter, last) => (run.clone(), false),
        Some(_) => (Run::default(), true),
        // Our first sight of this node: a boot in full swing if it does not begin with its beginning.
        None => (run.clone(), is_start),
    };
    next.last = Some(counter);
    let fact = step(&mut next, event).or(is_new.then_some(TalosFact::BootStarted));
    Reduced {
        run: next,
        line,
        fact,
    }
}

fn behind(counter: u32, last: u32) -> bool {
    let distance = last.wrapping_sub(counter) & 0x00ff_ffff;
    distance > 0 && distance <= GAP_MAX
}

fn ahead(counter: u32, last: u32) -> bool {
    let distance = counter.wrapping_sub(last) & 0x00ff_ffff;
    distance > 0 && distance <= GAP_MAX
}

fn step(run: &mut Run, event: &Event) -> Option<TalosFact> {
    match event {
        Event::Sequence(sequence) => sequence_step(run, sequence),
        Event::Phase(phase) => {
            if phase.phase == "haltIfInstalled" {
                return halted(run);
            }
            let works = run.install == Install::Open;
            if works {
                run.install = Install::Working;
            }
            works.then_some(TalosFact::InstallStarted)
        }
        Event::Task(task) => match task.task.as_str() {
            "haltIfInstalled" => halted(run),
            "runningMaintenance" if task.action() == machine::task_event::Action::Start => {
                Some(TalosFact::Maintenance)
            }
            _ => None,
        },
        Event::Status(status) => status_step(run, status),
        Event::Restart(_) => finished(run),
        Event::ConfigError(error) => Some(TalosFact::ConfigRejected {
            error: clip(error, 2000),
        }),
        Event::Service(_) | Event::Address(_) | Event::Other(_) => None,
    }
}

fn sequence_step(run: &mut Run, sequence: &SequenceEvent) -> Option<TalosFact> {
    use machine::sequence_event::Action;
    match (sequence.sequence.as_str(), sequence.action()) {
        ("install", Action::Start) => {
            run.install = Install::Open;
            None
        }
        ("install", Action::Noop) if sequence.error.is_some() => {
            run.install = Install::Failed;
            None
        }
        ("install", Action::Stop) => match run.install {
            Install::Open => {
                run.install = Install::Empty;
                None
            }
            Install::Working => finished(run),
            Install::Unseen | Install::Finished | Install::Empty | Install::Failed => None,
        },
        // An install that had work ends in a reboot, so `boot` after it belongs to no boot of this kind.
        ("boot", Action::Start) => match run.install {
            Install::Unseen | Install::Open | Install::Empty => Some(TalosFact::BootedInstalled),
            Install::Working | Install::Finished | Install::Failed => None,
        },
        _ => None,
    }
}

fn status_step(run: &mut Run, status: &MachineStatusEvent) -> Option<TalosFact> {
    let stage = status.stage();
    let ready = status.status.as_ref().is_some_and(|status| status.ready);
    let is_news = run.status != Some((stage, ready));
    run.status = Some((stage, ready));
    if stage == MachineStage::Rebooting
        && let Some(fact) = finished(run)
    {
        return Some(fact);
    }
    is_news.then(|| TalosFact::Status {
        stage: stage_name(stage).to_owned(),
        ready,
    })
}

fn finished(run: &mut Run) -> Option<TalosFact> {
    let works = run.install == Install::Working;
    if works {
        run.install = Install::Finished;
    }
    works.then_some(TalosFact::InstallFinished)
}

fn halted(run: &mut Run) -> Option<TalosFact> {
    let first = !run.halted;
    run.halted = true;
    first.then_some(TalosFact::HaltedInstalled)
}

fn stage_name(stage: MachineStage) -> &'static str {
    match stage {
        MachineStage::Unknown => "unknown",
        MachineStage::Booting => "booting",
        MachineStage::Installing => "installing",
        MachineStage::Maintenance => "maintenance",
        MachineStage::Running => "running",
        MachineStage::Rebooting => "rebooting",
        MachineStage::ShuttingDown => "shutting-down",
        MachineStage::Resetting => "resetting",
        MachineStage::Upgrading => "upgrading",
    }
}

fn line(event: &Event) -> String {
    use machine::sequence_event::Action;
    let text = match event {
        Event::Sequence(sequence) => {
            let name = &sequence.sequence;
            match (sequence.action(), &sequence.error) {
                (_, Some(error)) => format!("sequence {name} failed: {}", error.message),
                (Action::Start, None) => format!("sequence {name} started"),
                (Action::Stop, None) => format!("sequence {name} ended"),
                (Action::Noop, None) => format!("sequence {name}"),
            }
        }
        Event::Phase(phase) => match phase.action() {
            machine::phase_event::Action::Start => format!("phase {} started", phase.phase),
            machine::phase_event::Action::Stop => format!("phase {} ended", phase.phase),
        },
        Event::Task(task) => match task.action() {
            machine::task_event::Action::Start => format!("task {} started", task.task),
            machine::task_event::Action::Stop => format!("task {} ended", task.task),
        },
        Event::Service(service) => format!(
            "service {} {}: {}",
            service.service,
            service_word(service.action()),
            service.message
        ),
        Event::Status(status) => status_line(status),
        Event::Address(address) if address.addresses.is_empty() => {
            format!("host name {:?}, no address yet", address.hostname)
        }
        Event::Address(address) => format!(
            "host name {:?}, addresses {}",
            address.hostname,
            address.addresses.join(", ")
        ),
        Event::Restart(restart) => match restart.cmd {
            1_163_412_803 => "restarts by kexec".to_owned(),
            19_088_743 => "restarts".to_owned(),
            1_126_301_404 => "powers off".to_owned(),
            other => format!("restarts with command {other}"),
        },
        Event::ConfigError(error) => format!("config rejected: {error}"),
        Event::Other(kind) => format!("event of type {kind}"),
    };
    clip(&text, LINE_CHARS_MAX)
}

fn status_line(status: &MachineStatusEvent) -> String {
    let stage = stage_name(status.stage());
    let Some(inner) = &status.status else {
        return format!("stage {stage}, not ready");
    };
    if inner.ready {
        return format!("stage {stage}, ready");
    }
    let unmet: Vec<String> = inner
        .unmet_conditions
        .iter()
        .map(|unmet| match unmet.reason.as_str() {
            "" => unmet.name.clone(),
            reason => format!("{} ({reason})", unmet.name),
        })
        .collect();
    format!("stage {stage}, not ready: {}", unmet.join("; "))
}

fn service_word(action: ServiceAction) -> &'static str {
    match action {
        ServiceAction::Initialized => "initialized",
        ServiceAction::Preparing => "prepares",
        ServiceAction::Waiting => "waits",
        ServiceAction::Running => "runs",
        ServiceAction::Stopping => "stops",
        ServiceAction::Finished => "finished",
        ServiceAction::Failed => "failed",
        ServiceAction::Skipped => "skipped",
        ServiceAction::Starting => "starts",
    }
}

/// One line of printable characters, cut at `max`.
fn clip(text: &str, max: usize) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut clipped: String = chars.by_ref().take(max).collect();
    if chars.next().is_some() {
        clipped.push('…');
    }
    clipped
}

/// The twelve bytes of an xid.
fn xid(id: &str) -> Option<[u8; 12]> {
    if id.len() != 20 {
        return None;
    }
    let mut bytes = [0; 13];
    let mut bits = 0u32;
    let (mut held, mut at) = (0u32, 0);
    for c in id.bytes() {
        let value = match c {
            b'0'..=b'9' => c - b'0',
            b'a'..=b'v' => c - b'a' + 10,
            _ => return None,
        };
        bits = (bits << 5) | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes[at] = u8::try_from((bits >> held) & 0xff).expect("masked to eight bits");
            at += 1;
        }
    }
    bytes[..12].try_into().ok()
}

#[cfg(test)]
mod tests;
