//! Ephemeral resources: opened in plan and apply, renewed, closed, stored nowhere.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::matrix::{Feature, Story};
use crate::rig::{Rig, flat, thing};

pub(crate) const STORIES: &[Story] = &[
    Story::new(
        "tickets_live_for_a_run",
        Feature::Ephemeral,
        tickets_live_for_a_run,
    ),
    Story::new(
        "tickets_that_fail_are_closed",
        Feature::Ephemeral,
        tickets_that_fail_are_closed,
    ),
    Story::new(
        "ctrl_c_closes_tickets",
        Feature::Ephemeral,
        ctrl_c_closes_tickets,
    ),
    Story::new(
        "tickets_feed_write_only_attributes",
        Feature::WriteOnly,
        tickets_feed_write_only_attributes,
    ),
];

fn ticket(body: &str) -> String {
    format!("ephemeral \"toy_ticket\" \"t\" {{\n  name = \"t\"\n{body}\n}}\n")
}

/// Something that uses the ticket for three seconds, without keeping it.
const USER: &str = r#"resource "terraform_data" "user" {
  provisioner "local-exec" {
    command     = "sleep 3; test ${length(ephemeral.toy_ticket.t.token)} = 40"
    environment = { TOKEN = ephemeral.toy_ticket.t.token }
  }
}
"#;

/// What happened to tickets since the last look.
fn log(rig: &Rig) -> Vec<String> {
    let file = rig.path("things/tickets.log");
    let text = fs::read_to_string(&file).unwrap_or_default();
    let _ = fs::remove_file(file);
    text.lines().map(str::to_owned).collect()
}

fn tickets_live_for_a_run(rig: &Rig) {
    let config = format!("{USER}{}", ticket("  length = 40\n  renew_every = \"1s\""));
    let mut seen = rig.plan(&config).ok();
    assert_eq!(log(rig), ["open t", "close t"]);
    rig.write(&config);
    let _ = rig.run(&["plan", "-input=false", "-out=saved.plan"]).ok();
    seen += &rig.run(&["show", "-json", "saved.plan"]).ok();
    log(rig);
    seen += &rig
        .run(&["apply", "-auto-approve", "-input=false", "saved.plan"])
        .ok();
    let happened = log(rig);
    assert_eq!(
        happened.first().map(String::as_str),
        Some("open t"),
        "{happened:?}"
    );
    assert_eq!(
        happened.last().map(String::as_str),
        Some("close t"),
        "{happened:?}"
    );
    let renewals = happened.iter().filter(|l| *l == "renew t").count();
    assert!((1..=6).contains(&renewals), "{happened:?}");
    seen += &rig.raw_state().to_string();
    assert!(!seen.contains("tttttttt"), "{seen}");
    assert_eq!(rig.things(), [""; 0]);
    rig.assert_plan_is_empty();
}

fn tickets_that_fail_are_closed(rig: &Rig) {
    for (body, said) in [
        (
            "  length = 40\n  mode = \"fail_late\"",
            "Error: Ticket half made",
        ),
        (
            "  length = 40\n  mode = \"panic\"",
            "The provider panicked in this operation",
        ),
        (
            "  length = 40\n  mode = \"lie\"",
            "`name` was planned as \"t\" and came out as \"another\".",
        ),
        (
            "  length = 40\n  mode = \"slow\"\n  timeouts = { open = \"200ms\" }",
            "Error: Operation timed out",
        ),
    ] {
        let refused = flat(&rig.plan(&format!("{USER}{}", ticket(body))).failed());
        assert!(refused.contains(said), "{refused}");
        assert_eq!(log(rig), ["open t", "close t"], "{body}");
    }
    let wrong = flat(
        &rig.plan(&format!("{USER}{}", ticket("  length = 3")))
            .failed(),
    );
    assert!(
        wrong.contains("`length` must be between 4 and 64: 3 is not."),
        "{wrong}"
    );
    assert_eq!(log(rig), [""; 0]);

    // A renewal that failed is not tried again (hosts up to 1.14 do not even tell), and the ticket is closed.
    let body = "  length = 40\n  mode = \"fail_renew\"\n  renew_every = \"1s\"";
    let _ = rig.apply(&format!("{USER}{}", ticket(body)));
    let happened = log(rig);
    assert_eq!(
        happened,
        ["open t", "close t", "open t", "renew t", "close t"]
    );
}

fn ctrl_c_closes_tickets(rig: &Rig) {
    rig.write(&format!(
        "{USER}{}{}",
        ticket("  length = 40"),
        thing("slow", "  mode = \"slow\"\n  delay = \"60s\"")
    ));
    let mut apply = rig
        .command(&["apply", "-auto-approve", "-input=false"])
        .env("TF_LOG_PROVIDER", "INFO")
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(apply.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("thing written") {
        line.clear();
        assert_ne!(
            lines.read_line(&mut line).unwrap(),
            0,
            "the apply ended too early"
        );
    }
    let group = format!("-{}", apply.id());
    let pressed = Command::new("kill").args(["-INT", "--", &group]).status();
    assert!(pressed.unwrap().success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(!apply.wait().unwrap().success());
    let happened = log(rig);
    let count = |what: &str| happened.iter().filter(|l| *l == what).count();
    assert_eq!(count("open t"), count("close t"), "{happened:?}");
    assert!(!rig.things().contains(&"t.ticket".to_owned()));
}

fn tickets_feed_write_only_attributes(rig: &Rig) {
    let body = "  password_wo = ephemeral.toy_ticket.t.token\n  password_wo_version = 1";
    let _ = rig
        .apply(&format!("{}{}", ticket("  length = 40"), thing("a", body)))
        .ok();
    let (a, _) = &rig.state()["a"];
    assert_eq!(a["password_length"], 40);
    assert!(!rig.raw_state().to_string().contains("tttttttt"));
    rig.assert_plan_is_empty();
}
