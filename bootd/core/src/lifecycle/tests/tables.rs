//! The tables that a person reviews.

use super::*;

fn phases() -> Vec<Phase> {
    vec![
        Phase::Discovered,
        Phase::Inspecting,
        Phase::Available,
        Phase::Installing(claim_id()),
        Phase::Running(claim_id()),
        Phase::Wiping,
        Phase::Failed(Step::Inspect),
        Phase::Failed(Step::Install(claim_id())),
        Phase::Failed(Step::Wipe),
        Phase::Quarantined(Step::Wipe),
        Phase::Retired,
    ]
}

fn goals() -> Vec<(&'static str, Goal)> {
    vec![
        ("pool", Goal::Pool),
        ("run", Goal::Run(claim_id())),
        ("run other", Goal::Run(ClaimId("lab/other".into()))),
        ("retire", Goal::Retire),
    ]
}

fn table(change: impl Fn(&mut Machine)) -> String {
    let mut out = String::new();
    for phase in phases() {
        for (name, goal) in goals() {
            let mut m = machine(phase.clone(), goal);
            change(&mut m);
            let decision = decide(&m, later(1), &Deadlines::default());
            out.push_str(&format!(
                "{:<25} {name:<9} -> {}\n",
                phase.to_string(),
                short(&decision)
            ));
        }
    }
    out
}

#[test]
fn decide_when_the_claim_wrote_its_disk() {
    insta::assert_snapshot!(table(|m| {
        m.written.insert(DiskId("D1".into()));
    }));
}

#[test]
fn decide_when_nothing_was_written() {
    insta::assert_snapshot!(table(|_| {}));
}

#[test]
fn decide_when_the_claim_is_being_released() {
    insta::assert_snapshot!(table(|m| {
        m.written.insert(DiskId("D1".into()));
        if let Some(claim) = &mut m.claim {
            claim.hold = Hold::Releasing;
        }
    }));
}

#[test]
fn decide_without_a_claim() {
    insta::assert_snapshot!(table(|m| {
        m.written.insert(DiskId("D1".into()));
        m.claim = None;
    }));
}

#[test]
fn decide_when_a_failure_is_to_be_tried_again() {
    insta::assert_snapshot!(table(|m| {
        m.written.insert(DiskId("D1".into()));
        m.goal_at = later(1);
    }));
}

#[test]
fn decide_when_the_machine_is_not_accepted() {
    insta::assert_snapshot!(table(|m| {
        m.admission = Admission::Unaccepted;
        m.written.insert(DiskId("D1".into()));
    }));
}

/// One way to get into a situation of the install.
type Situation = (&'static str, fn(&mut Machine));

#[expect(clippy::too_many_lines, reason = "one table")]
fn installing() -> Vec<Situation> {
    vec![
        ("nothing done", |_| {}),
        ("agent boot commanded", |m| {
            attempt(m, T0, Leg::Agent, How::Start, Some(Outcome::Done));
        }),
        ("agent boot recorded, then a crash", |m| {
            attempt(m, T0, Leg::Agent, How::Start, None);
        }),
        ("the BMC refuses", |m| {
            attempt(
                m,
                T0,
                Leg::Agent,
                How::Start,
                Some(Outcome::Refused("no".into())),
            );
        }),
        ("the BMC is silent", |m| {
            attempt(
                m,
                T0,
                Leg::Agent,
                How::Start,
                Some(Outcome::Silent("no".into())),
            );
        }),
        ("blank report", |m| report(m, T0, vec![disk("D1")])),
        ("blank report, no config", |m| {
            report(m, T0, vec![disk("D1")]);
            if let Some(c) = &mut m.claim {
                c.config = ConfigState::Absent;
            }
        }),
        ("foreign data on the target", |m| {
            report(m, T0, vec![holds(disk("D1"), &["ext4"])]);
        }),
        ("foreign data, allowed", |m| {
            report(m, T0, vec![holds(disk("D1"), &["ext4"])]);
            if let Some(c) = &mut m.claim {
                c.allow_wipe = vec![DiskId("D1".into())];
            }
        }),
        ("report of an older epoch", |m| {
            report(m, T0, vec![disk("D1")]);
            m.epoch = Epoch(8);
        }),
        ("second requester", |m| {
            let ip = |n| std::net::IpAddr::from([10, 0, 0, n]);
            see(
                m,
                T0,
                Fact::SecondRequester {
                    from: ip(9),
                    holder: ip(8),
                },
            );
        }),
        ("reboot ordered", |m| {
            report(m, T0, vec![disk("D1")]);
            attempt(m, T0, Leg::Talos, How::ByAgent, Some(Outcome::Done));
        }),
        ("Talos kernel served", |m| {
            attempt(m, T0, Leg::Talos, How::ByAgent, Some(Outcome::Done));
            see(
                m,
                T0,
                Fact::KernelServed {
                    what: ServedBoot::Talos,
                },
            );
        }),
        ("config served", |m| {
            attempt(m, T0, Leg::Talos, How::ByAgent, Some(Outcome::Done));
            see(
                m,
                T0,
                Fact::ConfigServed {
                    from: [10, 0, 0, 9].into(),
                },
            );
        }),
        ("installed, not booted", |m| {
            attempt(m, T0, Leg::Talos, How::ByAgent, Some(Outcome::Done));
            see(
                m,
                T0,
                Fact::ConfigServed {
                    from: [10, 0, 0, 9].into(),
                },
            );
            see(m, T0, Fact::Talos(TalosFact::InstallFinished));
        }),
        ("proof of install", |m| {
            attempt(m, T0, Leg::Talos, How::ByAgent, Some(Outcome::Done));
            see(
                m,
                T0,
                Fact::ConfigServed {
                    from: [10, 0, 0, 9].into(),
                },
            );
            see(m, T0, Fact::Talos(TalosFact::InstallStarted));
            see(m, T0, Fact::Talos(TalosFact::BootStarted));
            see(m, T0, Fact::Talos(TalosFact::BootedInstalled));
        }),
        ("Talos halted", |m| {
            attempt(m, T0, Leg::Talos, How::ByAgent, Some(Outcome::Done));
            see(m, T0, Fact::Talos(TalosFact::HaltedInstalled));
        }),
        ("Talos rejected the config", |m| {
            attempt(m, T0, Leg::Talos, How::ByAgent, Some(Outcome::Done));
            see(
                m,
                T0,
                Fact::Talos(TalosFact::ConfigRejected { error: "x".into() }),
            );
        }),
    ]
}

fn situations(rows: Vec<Situation>, phase: &Phase, goal: &Goal, minutes: &[u64]) -> String {
    let mut out = String::new();
    for (name, arrange) in rows {
        let mut m = machine(phase.clone(), goal.clone());
        arrange(&mut m);
        out.push_str(&format!("{name}: boot {:?}\n", boot(&m)));
        for minute in minutes {
            let decision = decide(&m, later(*minute), &Deadlines::default());
            out.push_str(&format!("    +{minute}m {}\n", short(&decision)));
        }
    }
    out
}

#[test]
fn decide_and_boot_of_an_install() {
    let phase = Phase::Installing(claim_id());
    let goal = Goal::Run(claim_id());
    insta::assert_snapshot!(situations(installing(), &phase, &goal, &[1, 6, 31]));
}

#[test]
fn decide_and_boot_of_a_wipe() {
    let rows: Vec<Situation> = vec![
        ("nothing done", |_| {}),
        ("tenant's disk seen", |m| {
            m.written.insert(DiskId("D1".into()));
            report(m, T0, vec![holds(disk("D1"), &["gpt", "talos:STATE"])]);
        }),
        ("blank but not proven", |m| {
            m.written.insert(DiskId("D1".into()));
            report(m, T0, vec![disk("D1")]);
        }),
        ("erase ordered", |m| {
            m.written.insert(DiskId("D1".into()));
            report(m, T0, vec![holds(disk("D1"), &["gpt"])]);
            order(m, T0, None);
        }),
        ("proven, no look yet", |m| {
            m.written.insert(DiskId("D1".into()));
            report(m, T0, vec![holds(disk("D1"), &["gpt"])]);
            order(m, T0, Some(None));
        }),
        ("proven and seen blank", |m| {
            m.written.insert(DiskId("D1".into()));
            order(m, T0, Some(None));
            report(m, later(1), vec![disk("D1")]);
        }),
        ("proven and seen not blank", |m| {
            m.written.insert(DiskId("D1".into()));
            order(m, T0, Some(None));
            report(m, later(1), vec![holds(disk("D1"), &["gpt"])]);
        }),
        ("three erases, not blank", |m| {
            m.written.insert(DiskId("D1".into()));
            order(m, T0, Some(Some("I/O error")));
            m.erases = 3;
            report(m, later(1), vec![holds(disk("D1"), &["gpt"])]);
        }),
        ("the written disk is gone", |m| {
            m.written.insert(DiskId("D1".into()));
            report(m, T0, vec![disk("D2")]);
        }),
    ];
    insta::assert_snapshot!(situations(rows, &Phase::Wiping, &Goal::Pool, &[1, 61]));
}

fn order(m: &mut Machine, at: Timestamp, ended: Option<Option<&str>>) {
    m.erases = 1;
    if ended == Some(None) {
        m.proven.insert(DiskId("D1".into()));
    }
    m.order = Some(Order {
        number: 7001,
        what: What::Erase {
            disks: vec![],
            nonce: vec![],
        },
        issued: at,
        ended: ended.map(|failed| Ended {
            at: later(1),
            failed: failed.map(str::to_owned),
        }),
    });
}

#[test]
fn boot_table() {
    let mut out = String::new();
    for phase in phases() {
        for (name, admission, control) in [
            ("accepted, bmc", Admission::Accepted, Control::Bmc),
            ("accepted, manual", Admission::Accepted, Control::Manual),
            ("unaccepted", Admission::Unaccepted, Control::Bmc),
        ] {
            let mut m = machine(phase.clone(), Goal::Pool);
            m.admission = admission;
            m.control = control;
            out.push_str(&format!(
                "{:<25} {name:<17} -> {:?}\n",
                phase.to_string(),
                boot(&m)
            ));
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn a_failure_tells_the_story() {
    let mut m = machine(Phase::Installing(claim_id()), Goal::Run(claim_id()));
    attempt(&mut m, T0, Leg::Agent, How::Start, Some(Outcome::Done));
    see(&mut m, later(1), Fact::DhcpOffered { arch: 7 });
    see(
        &mut m,
        later(1),
        Fact::BootFileRequested {
            name: "snponly.efi".into(),
        },
    );
    let reason = Reason::Stalled(Stage::BootFile, 3);
    let story = failure(
        &m,
        &Phase::Failed(Step::Install(claim_id())),
        &reason,
        later(9),
    );
    let story = story.map(|f| format!("{}\n{}\n{}\n{}", f.reason, f.summary, f.detail, f.hint));
    insta::assert_snapshot!(story.unwrap_or_default());
}
