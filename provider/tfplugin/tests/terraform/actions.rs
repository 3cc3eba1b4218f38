//! Actions: triggered by a resource, or invoked by a person.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tfplugin::kit::Version;

use crate::matrix::{Feature, Story};
use crate::rig::{Rig, flat, thing};

pub(crate) const STORIES: &[Story] = &[
    Story::new(
        "resources_trigger_actions",
        Feature::Actions,
        resources_trigger_actions,
    )
    .without(actions_are_unknown),
    Story::new(
        "people_invoke_actions",
        Feature::Actions,
        people_invoke_actions,
    ),
    Story::new(
        "actions_take_secrets",
        Feature::Actions,
        actions_take_secrets,
    ),
    Story::new("actions_fail", Feature::Actions, actions_fail),
    Story::new(
        "ctrl_c_ends_an_action",
        Feature::Actions,
        ctrl_c_ends_an_action,
    ),
];

fn stamp(body: &str) -> String {
    format!("action \"toy_stamp\" \"s\" {{\n  config {{\n{body}\n  }}\n}}\n")
}

/// A thing that is stamped once it exists.
fn stamped(name: &str) -> String {
    let trigger = "  lifecycle {\n    action_trigger {\n      events  = [after_create]\n      actions = [action.toy_stamp.s]\n    }\n  }";
    thing(name, trigger)
}

fn resources_trigger_actions(rig: &Rig) {
    let config = format!(
        "{}{}",
        stamp("    name = toy_thing.a.id\n    steps = 3"),
        stamped("a")
    );
    let planned = rig.plan(&config).ok();
    assert!(planned.contains("Actions: 1 to invoke"), "{planned}");
    assert_eq!(rig.things(), [""; 0]);
    let applied = rig.apply(&config).ok();
    for step in ["step 1 of 3", "step 2 of 3", "step 3 of 3"] {
        assert!(applied.contains(step), "{applied}");
    }
    assert_eq!(rig.things(), ["a.json", "a.stamp"]);
    rig.assert_plan_is_empty();
}

/// An engine without actions says so (Terraform 1.13 parses the block and does nothing), and the provider works all the same.
fn actions_are_unknown(rig: &Rig) {
    rig.write(&stamp("    name = \"a\""));
    let code = rig.run(&["validate"]).code;
    let parses = rig.engine().version >= Version::new(1, 13);
    assert_eq!(code, Some(if parses { 0 } else { 1 }));
    let _ = rig.apply(&thing("a", "")).ok();
    rig.assert_plan_is_empty();
}

fn people_invoke_actions(rig: &Rig) {
    rig.write(&stamp("    name = \"p\"\n    mode = \"warn\""));
    let done = rig
        .run(&[
            "apply",
            "-auto-approve",
            "-input=false",
            "-invoke=action.toy_stamp.s",
        ])
        .ok();
    assert!(done.contains("step 2 of 2"), "{done}");
    assert!(done.contains("Ink is low"), "{done}");
    assert_eq!(rig.things(), ["p.stamp"]);
}

fn actions_take_secrets(rig: &Rig) {
    let ticket = "ephemeral \"toy_ticket\" \"t\" {\n  name   = \"t\"\n  length = 40\n}\n";
    let key = "    name   = \"k\"\n    key_wo = ephemeral.toy_ticket.t.token";
    rig.write(&format!("{ticket}{}", stamp(key)));
    let invoke = [
        "apply",
        "-auto-approve",
        "-input=false",
        "-invoke=action.toy_stamp.s",
    ];
    let done = rig.run(&invoke).ok();
    assert!(!done.contains("tttttttt"), "{done}");
    assert_eq!(
        std::fs::read_to_string(rig.path("things/k.stamp")).unwrap(),
        "40"
    );
}

fn actions_fail(rig: &Rig) {
    let invoke = [
        "apply",
        "-auto-approve",
        "-input=false",
        "-invoke=action.toy_stamp.s",
    ];
    for (body, said) in [
        ("name = \"x\"\n    mode = \"fail\"", "Stamp broke"),
        (
            "name = \"x\"\n    mode = \"panic\"",
            "The provider panicked in this operation",
        ),
        ("name = \"unstampable\"", "Error: Cannot be stamped"),
        ("name = \"X\"", "Error: Invalid attribute value"),
        (
            "name = \"x\"\n    mode = \"slow\"\n    timeouts = { invoke = \"200ms\" }",
            "Operation timed out",
        ),
    ] {
        rig.write(&stamp(&format!("    {body}")));
        let refused = flat(&rig.run(&invoke).failed());
        assert!(refused.contains(said), "{refused}");
        assert!(!refused.contains("plugin crashed"), "{refused}");
    }
    assert!(!rig.things().contains(&"x.stamp".to_owned()));
}

fn ctrl_c_ends_an_action(rig: &Rig) {
    rig.write(&stamp("    name = \"c\"\n    mode = \"slow\""));
    let mut apply = rig
        .command(&[
            "apply",
            "-auto-approve",
            "-input=false",
            "-invoke=action.toy_stamp.s",
        ])
        .env("TF_LOG_PROVIDER", "INFO")
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(apply.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("slow action begun") {
        line.clear();
        assert_ne!(
            lines.read_line(&mut line).unwrap(),
            0,
            "the apply ended too early"
        );
    }
    let begun = Instant::now();
    let group = format!("-{}", apply.id());
    let pressed = Command::new("kill").args(["-INT", "--", &group]).status();
    assert!(pressed.unwrap().success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(!apply.wait().unwrap().success());
    assert!(rest.contains("Operation cancelled"), "{rest}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(rig.things(), ["c.stopped"]);
}
