//! Operations that end otherwise than well: failures, timeouts, Ctrl-C.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::matrix::{Feature, Story};
use crate::rig::{Rig, flat, thing};

pub(crate) const STORIES: &[Story] = &[
    Story::new(
        "failures_keep_what_exists",
        Feature::Failures,
        failures_keep_what_exists,
    ),
    Story::new(
        "ctrl_c_ends_a_slow_creation_and_keeps_its_state",
        Feature::Cancellation,
        ctrl_c_ends_a_slow_creation_and_keeps_its_state,
    ),
    Story::new(
        "operations_end_at_their_timeout",
        Feature::Timeouts,
        operations_end_at_their_timeout,
    ),
];

/// Starts an apply that takes a minute, presses Ctrl-C once the thing exists, and waits for the end.
fn interrupted(rig: &Rig, blocks: &str) -> (Duration, String) {
    rig.write(blocks);
    let mut apply = rig.command(&["apply", "-auto-approve", "-input=false"]);
    // A group of its own: Ctrl-C in a terminal reaches Terraform and its plugins alike.
    let mut apply = apply
        .env("TF_LOG_PROVIDER", "INFO")
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(apply.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("thing written") {
        line.clear();
        assert_ne!(
            log.read_line(&mut line).unwrap(),
            0,
            "the apply ended before the thing was written"
        );
    }
    // The provider's own line, re-levelled by the host and with its fields.
    assert!(
        line.contains("[INFO]") && line.contains("id=slow"),
        "{line}"
    );
    let pressed = Instant::now();
    let group = format!("-{}", apply.id());
    assert!(
        Command::new("kill")
            .args(["-INT", "--", &group])
            .status()
            .unwrap()
            .success()
    );
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    let mut out = String::new();
    apply
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    assert_eq!(apply.wait().unwrap().code(), Some(1), "{out}{rest}");
    (pressed.elapsed(), out + &rest)
}

fn failures_keep_what_exists(rig: &Rig) {
    let failed = rig
        .apply(&thing("early", "  mode = \"fail_early\""))
        .failed();
    assert!(failed.contains("Error: Thing refused"), "{failed}");
    assert_eq!(rig.state().len(), 0);

    for (mode, said) in [
        ("fail_late", "Error: Thing half made"),
        ("panic", "The provider panicked in this operation"),
        ("lie", "`size` was planned as 1 and came out as 999."),
    ] {
        let failed = rig
            .apply(&thing("t", &format!("  mode = \"{mode}\"")))
            .failed();
        assert!(flat(&failed).contains(said), "{failed}");
        assert!(
            !failed.contains("stack backtrace") && !failed.contains("plugin crashed"),
            "{failed}"
        );
        assert_eq!(rig.state()["t"].1.as_deref(), Some("tainted"), "{mode}");
        let again = rig.apply(&thing("t", "")).ok();
        assert!(again.contains("# toy_thing.t is tainted, so"), "{again}");
        rig.assert_plan_is_empty();
        let _ = rig.run(&["destroy", "-auto-approve"]).ok();
    }

    // A failed update keeps the resource, not tainted.
    let _ = rig.apply(&thing("u", "")).ok();
    let failed = rig
        .apply(&thing("u", "  size = 2\n  mode = \"fail_early\""))
        .failed();
    assert!(failed.contains("Error: Thing refused"), "{failed}");
    let (u, status) = &rig.state()["u"];
    assert_eq!((&u["size"], status), (&1.into(), &None));
}

fn ctrl_c_ends_a_slow_creation_and_keeps_its_state(rig: &Rig) {
    for mode in ["slow", "deaf"] {
        let (took, said) = interrupted(
            rig,
            &thing("slow", &format!("  mode  = \"{mode}\"\n  delay = \"60s\"")),
        );
        assert!(said.contains("Error: Operation cancelled"), "{said}");
        assert!(took < Duration::from_secs(2), "{mode}: {took:?}");
        let (slow, status) = &rig.state()["slow"];
        assert_eq!(
            (&slow["id"], status.as_deref()),
            (&"slow".into(), Some("tainted"))
        );
        assert_eq!(rig.things(), ["slow.json"]);
        let _ = rig.apply("").ok();
    }
}

fn operations_end_at_their_timeout(rig: &Rig) {
    let late = rig
        .apply(&thing(
            "a",
            "  mode = \"slow\"\n  delay = \"60s\"\n  timeouts = { create = \"200ms\" }",
        ))
        .failed();
    assert!(
        late.contains("Error: Operation timed out") && late.contains("timeouts.create"),
        "{late}"
    );
    assert_eq!(rig.state()["a"].1.as_deref(), Some("tainted"));
}
