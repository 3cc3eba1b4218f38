//! Ladders over recorded and made-up event runs.

use std::fmt::Write as _;

use metal_proto::talos::common;
use metal_proto::talos::machine::machine_status_event::MachineStatus;
use metal_proto::talos::machine::machine_status_event::machine_status::UnmetCondition;
use proptest::prelude::*;

use super::*;

/// A recorded boot of a real node (1.13.9, installed before), one event per line: id, type, content.
const RECORDED: &str = include_str!("../../../tests/data/boot-events.txt");

/// Reads one line of the recording.
fn recorded(line: &str) -> (String, Event) {
    let mut words = line.split_whitespace();
    let (id, kind) = (words.next().unwrap(), words.next().unwrap());
    let rest = line.split_once(kind).unwrap().1.trim();
    let (name, action) = rest.rsplit_once(' ').unwrap_or((rest, ""));
    let event = match kind {
        "SequenceEvent" => Event::Sequence(sequence(name, action, None)),
        "PhaseEvent" => phase(name, action),
        "TaskEvent" => task(name, action),
        "ServiceStateEvent" => {
            let (name, rest) = rest.split_once(' ').unwrap();
            let (action, message) = rest.split_once(": ").unwrap();
            Event::Service(ServiceStateEvent {
                service: name.into(),
                action: ServiceAction::from_str_name(action).unwrap().into(),
                message: message.into(),
                health: None,
            })
        }
        "MachineStatusEvent" => {
            let (stage, unmet) = rest
                .split_once(" ready: false, unmet conditions: ")
                .unwrap();
            let unmet = unmet.trim_matches(['[', ']']);
            status(stage, false, &unmet.split(' ').collect::<Vec<_>>())
        }
        "AddressEvent" => {
            let (host, addresses) = rest.split_once("ADDRESSES:").unwrap();
            Event::Address(AddressEvent {
                hostname: host.trim().into(),
                addresses: addresses.split_whitespace().map(str::to_owned).collect(),
            })
        }
        other => panic!("unknown type {other}"),
    };
    (id.to_owned(), event)
}

fn sequence(name: &str, action: &str, error: Option<&str>) -> SequenceEvent {
    SequenceEvent {
        sequence: name.into(),
        action: machine::sequence_event::Action::from_str_name(action)
            .unwrap()
            .into(),
        error: error.map(|message| common::Error {
            message: message.into(),
            ..Default::default()
        }),
    }
}

fn phase(name: &str, action: &str) -> Event {
    Event::Phase(PhaseEvent {
        phase: name.into(),
        action: machine::phase_event::Action::from_str_name(action)
            .unwrap()
            .into(),
    })
}

fn task(name: &str, action: &str) -> Event {
    Event::Task(TaskEvent {
        task: name.into(),
        action: machine::task_event::Action::from_str_name(action)
            .unwrap()
            .into(),
    })
}

fn status(stage: &str, ready: bool, unmet: &[&str]) -> Event {
    Event::Status(MachineStatusEvent {
        stage: MachineStage::from_str_name(stage).unwrap().into(),
        status: Some(MachineStatus {
            ready,
            unmet_conditions: unmet
                .iter()
                .map(|name| UnmetCondition {
                    name: (*name).into(),
                    reason: String::new(),
                })
                .collect(),
        }),
    })
}

/// An id with this counter, as node `f7.59.65` would write it.
fn id(counter: u32) -> String {
    let [_, a, b, c] = counter.to_be_bytes();
    let bytes = [0x6b, 0, 0, 0, 1, 2, 3, 0, 1, a, b, c];
    let mut text = String::new();
    for at in 0..20 {
        let bit = at * 5;
        let pair = (u16::from(bytes[bit / 8]) << 8)
            | u16::from(bytes.get(bit / 8 + 1).copied().unwrap_or(0));
        let value = u8::try_from((pair >> (11 - bit % 8)) & 31).unwrap();
        text.push(char::from(
            b"0123456789abcdefghijklmnopqrstuv"[usize::from(value)],
        ));
    }
    text
}

/// Runs a ladder and writes down the facts.
fn facts(events: &[(String, Event)]) -> String {
    let mut run = Run::default();
    let mut out = String::new();
    for (id, event) in events {
        let reduced = reduce(&run, id, event);
        if let Some(fact) = reduced.fact {
            let _ = writeln!(out, "{}: {fact:?}", reduced.line);
        }
        run = reduced.run;
    }
    out
}

fn numbered(start: u32, events: Vec<Event>) -> Vec<(String, Event)> {
    events
        .into_iter()
        .zip(start..)
        .map(|(event, counter)| (id(counter), event))
        .collect()
}

fn seq(name: &str, action: &str) -> Event {
    Event::Sequence(sequence(name, action, None))
}

#[test]
fn a_recorded_installed_boot() {
    let events: Vec<_> = RECORDED.lines().map(recorded).collect();
    assert!(events.len() > 130, "{}", events.len());
    insta::assert_snapshot!(facts(&events), @r#"
    sequence initialize started: BootStarted
    stage booting, not ready: time; network; services: Status { stage: "booting", ready: false }
    sequence boot started: BootedInstalled
    "#);
}

#[test]
fn ids() {
    // machine = first three bytes of sha256(uuid + newline), pid 1.
    assert_eq!(machine_of("dc0i7rf654u000fs0780"), Some([0xe6, 0x29, 0x3c]));
    assert_eq!(machine_of(&id(7)), Some([1, 2, 3]));
    assert_eq!(machine_of("dc0i7rf654u000fs078"), None);
    assert_eq!(machine_of("dc0i7rf654u000fs078w"), None);
    assert_eq!(xid(&id(0x00ab_cdef)).unwrap()[9..], [0xab, 0xcd, 0xef]);
}

#[test]
fn a_first_install() {
    let mut events = numbered(
        500,
        vec![
            seq("initialize", "START"),
            status("BOOTING", false, &["network"]),
            task("loadConfig", "START"),
            task("loadConfig", "STOP"),
            seq("initialize", "STOP"),
            seq("install", "START"),
            phase("env", "START"),
            phase("install", "START"),
            status("INSTALLING", true, &[]),
            task("install", "STOP"),
            status("REBOOTING", true, &[]),
            phase("reboot", "START"),
            Event::Restart(RestartEvent { cmd: 1_163_412_803 }),
        ],
    );
    // The next boot's ids start anywhere; its first event was lost here.
    events.extend(numbered(
        90_000,
        vec![
            phase("systemRequirements", "START"),
            seq("initialize", "STOP"),
            seq("install", "START"),
            seq("install", "STOP"),
            seq("boot", "START"),
            phase("memorySizeCheck", "START"),
            status("RUNNING", true, &[]),
        ],
    ));
    insta::assert_snapshot!(facts(&events), @r#"
    sequence initialize started: BootStarted
    stage booting, not ready: network: Status { stage: "booting", ready: false }
    phase env started: InstallStarted
    stage installing, ready: Status { stage: "installing", ready: true }
    stage rebooting, ready: InstallFinished
    phase systemRequirements started: BootStarted
    sequence boot started: BootedInstalled
    stage running, ready: Status { stage: "running", ready: true }
    "#);
}

#[test]
fn trouble() {
    let halted = numbered(
        1,
        vec![
            seq("initialize", "START"),
            phase("haltIfInstalled", "START"),
            task("haltIfInstalled", "START"),
        ],
    );
    insta::assert_snapshot!(facts(&halted), @r#"
    sequence initialize started: BootStarted
    phase haltIfInstalled started: HaltedInstalled
    "#);
    let failed = numbered(
        1,
        vec![
            seq("initialize", "START"),
            seq("install", "START"),
            phase("install", "START"),
            Event::Sequence(sequence("install", "NOOP", Some("no space"))),
            status("REBOOTING", true, &[]),
            Event::Restart(RestartEvent { cmd: 19_088_743 }),
        ],
    );
    insta::assert_snapshot!(facts(&failed), @r#"
    sequence initialize started: BootStarted
    phase install started: InstallStarted
    stage rebooting, ready: Status { stage: "rebooting", ready: true }
    "#);
    let rejected = numbered(
        1,
        vec![
            task("runningMaintenance", "START"),
            status("MAINTENANCE", true, &[]),
            Event::ConfigError("no disks matched\n\t* serial".into()),
        ],
    );
    insta::assert_snapshot!(facts(&rejected), @r#"
    task runningMaintenance started: Maintenance
    stage maintenance, ready: Status { stage: "maintenance", ready: true }
    config rejected: no disks matched  * serial: ConfigRejected { error: "no disks matched  * serial" }
    "#);
}

#[test]
fn repeats_and_lost_state() {
    let start = seq("initialize", "START");
    let first = reduce(&Run::default(), &id(10), &start);
    assert_eq!(first.fact, Some(TalosFact::BootStarted));
    // The same event again, and an older one: lines only.
    for counter in [10, 9] {
        let again = reduce(&first.run, &id(counter), &start);
        assert_eq!((again.fact, again.run), (None, first.run.clone()));
    }
    // A new `initialize` close by: still a new boot.
    assert_eq!(
        reduce(&first.run, &id(20), &start).fact,
        Some(TalosFact::BootStarted)
    );
    // bootd restarted in the middle: `boot` START alone proves an installed boot, as an install with work never reaches it.
    assert_eq!(
        reduce(&Run::default(), &id(10), &seq("boot", "START")).fact,
        Some(TalosFact::BootedInstalled)
    );
    // An id that is no xid carries no fact.
    assert_eq!(reduce(&Run::default(), "x", &start).fact, None);
}

#[test]
fn types_are_the_last_word_of_the_url() {
    let bytes = sequence("boot", "START", None).encode_to_vec();
    for url in [
        "type.googleapis.com/machine.SequenceEvent",
        "talos/runtime/machine.SequenceEvent",
    ] {
        assert_eq!(Event::decode(url, &bytes).unwrap(), seq("boot", "START"));
    }
    assert_eq!(
        Event::decode("x/machine.NewEvent", &bytes).unwrap(),
        Event::Other("NewEvent".into())
    );
}

proptest! {
    #[test]
    fn never_panics(url in "\\PC{0,80}", value: Vec<u8>, id in "\\PC{0,30}|[0-9a-v]{20}") {
        for kind in ["SequenceEvent", "MachineStatusEvent", "ServiceStateEvent", &url] {
            if let Ok(event) = Event::decode(kind, &value) {
                let reduced = reduce(&Run::default(), &id, &event);
                prop_assert!(reduced.line.chars().count() <= LINE_CHARS_MAX + 1);
                prop_assert!(!reduced.line.contains('\n'));
            }
        }
    }
}
