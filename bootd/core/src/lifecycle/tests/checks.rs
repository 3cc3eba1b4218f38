//! The disk check and the proof of install, case by case.

use super::*;

fn verdict(claim_words: impl Fn(&mut Claim), disks: Vec<Disk>, written: &[&str]) -> String {
    let mut m = machine(Phase::Installing(claim_id()), Goal::Run(claim_id()));
    m.written = written.iter().map(|w| DiskId((*w).to_owned())).collect();
    let mut c = claim();
    claim_words(&mut c);
    report(&mut m, T0, disks);
    match judge(&m, &c, m.report.as_ref().unwrap()) {
        DiskVerdict::Clean => "clean".to_owned(),
        DiskVerdict::Erase(disks) => {
            let ids: Vec<String> = disks.into_iter().map(|d| d.serial).collect();
            format!("erase {}", ids.join("+"))
        }
        DiskVerdict::Refuse(why) => format!("refuse: {why}"),
    }
}

fn allow(names: &[&str]) -> impl Fn(&mut Claim) {
    let names: Vec<DiskId> = names.iter().map(|n| DiskId((*n).to_owned())).collect();
    move |c| c.allow_wipe.clone_from(&names)
}

fn only_written(c: &mut Claim) {
    c.wipe.disks = WipeDisks::Written;
}

const STATE: [&str; 2] = ["gpt", "talos:STATE"];

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn the_disk_check_of_an_install() {
    let (d1, d2) = (disk("D1"), disk("D2"));
    let mut no_serial = disk("");
    no_serial.signatures = vec!["ext4".into()];
    let mut broken = d1.clone();
    broken.unreadable = "I/O error".into();
    let stale_as_planned = |c: &mut Claim| c.targets[0].fingerprint = "D1-gpt+talos:STATE".into();
    let rows = [
        (
            "all blank",
            verdict(|_| {}, vec![d1.clone(), d2.clone()], &[]),
        ),
        (
            "target holds ext4",
            verdict(|_| {}, vec![holds(d1.clone(), &["ext4"])], &[]),
        ),
        (
            "target holds ext4, allowed",
            verdict(allow(&["D1"]), vec![holds(d1.clone(), &["ext4"])], &[]),
        ),
        (
            "other disk holds lvm",
            verdict(|_| {}, vec![d1.clone(), holds(d2.clone(), &["lvm2"])], &[]),
        ),
        (
            "other disk holds lvm, allowed",
            verdict(
                allow(&["D2"]),
                vec![d1.clone(), holds(d2.clone(), &["lvm2"])],
                &[],
            ),
        ),
        (
            "stale Talos on the target, as planned",
            verdict(stale_as_planned, vec![holds(d1.clone(), &STATE)], &[]),
        ),
        (
            "stale Talos on the target, not planned",
            verdict(|_| {}, vec![holds(d1.clone(), &STATE)], &[]),
        ),
        (
            "our own half install on the target",
            verdict(|_| {}, vec![holds(d1.clone(), &STATE)], &["D1"]),
        ),
        (
            "stale Talos on another disk, covered",
            verdict(|_| {}, vec![d1.clone(), holds(d2.clone(), &STATE)], &[]),
        ),
        (
            "stale Talos on another disk, not covered",
            verdict(
                only_written,
                vec![d1.clone(), holds(d2.clone(), &STATE)],
                &[],
            ),
        ),
        (
            "Talos beside a foreign file system, other disk",
            verdict(
                |_| {},
                vec![d1.clone(), holds(d2.clone(), &["talos:META", "ext4"])],
                &[],
            ),
        ),
        ("target gone", verdict(|_| {}, vec![d2], &[])),
        ("target broken", verdict(|_| {}, vec![broken], &[])),
        (
            "no target",
            verdict(|c| c.targets.clear(), vec![d1.clone()], &[]),
        ),
        (
            "a disk without a name is left alone",
            verdict(|_| {}, vec![d1, no_serial], &[]),
        ),
    ];
    let text: Vec<String> = rows
        .iter()
        .map(|(name, v)| format!("{name}: {v}"))
        .collect();
    insta::assert_snapshot!(text.join("\n"));
}

fn proof(facts: &[Fact]) -> bool {
    let mut m = machine(Phase::Installing(claim_id()), Goal::Run(claim_id()));
    attempt(&mut m, T0, Leg::Talos, How::ByAgent, Some(Outcome::Done));
    for fact in facts {
        see(&mut m, later(1), fact.clone());
    }
    installed(&m)
}

#[test]
fn only_the_whole_chain_proves_an_install() {
    let config = Fact::ConfigServed {
        from: [10, 0, 0, 9].into(),
    };
    let kernel = Fact::KernelServed {
        what: ServedBoot::Talos,
    };
    let t = Fact::Talos;
    let chain = [
        config.clone(),
        t(TalosFact::InstallStarted),
        t(TalosFact::BootStarted),
        t(TalosFact::BootedInstalled),
    ];
    assert!(proof(&chain));
    for missing in 0..chain.len() {
        let mut broken = chain.to_vec();
        broken.remove(missing);
        assert!(!proof(&broken), "without {:?}", chain[missing]);
    }
    // A netboot of a box that counts as installed says the same in events: our kernel left since.
    let mut faked = chain.to_vec();
    faked.insert(2, kernel);
    assert!(!proof(&faked));
    // The event overtakes the record of our answer.
    let mut overtaken = chain.to_vec();
    overtaken.swap(0, 1);
    assert!(proof(&overtaken));
    let log = [
        config,
        t(TalosFact::BootStarted),
        Fact::CommandLine { ours: false },
        t(TalosFact::BootedInstalled),
    ];
    assert!(
        proof(&log),
        "the kernel log stands for the install's events"
    );
    for missing in [0, 2, 3] {
        let mut broken = log.to_vec();
        broken.remove(missing);
        assert!(!proof(&broken), "without {:?}", log[missing]);
    }
}

#[test]
fn a_machine_leaves_clean_only_if_every_fixed_disk_is_blank() {
    let mut m = machine(Phase::Wiping, Goal::Pool);
    m.written.insert(DiskId("D1".into()));
    assert!(leaves_dirty(&m), "without a look");
    report(&mut m, T0, vec![disk("D1"), holds(disk("D2"), &["ext4"])]);
    assert!(leaves_dirty(&m));
    report(&mut m, T0, vec![disk("D1"), disk("D2")]);
    assert!(!leaves_dirty(&m));
}

#[test]
fn a_wish_is_newer_than_the_failure_it_meets_whatever_the_clock_says() {
    for now in [Timestamp(0), T0, later(10)] {
        let mut m = machine(Phase::Failed(Step::Wipe), Goal::Pool);
        m.want_again(now);
        assert!(m.goal_at > m.since, "{now:?}");
        assert_eq!(m.goal_at, now.max(Timestamp(m.since.0 + 1)));
    }
}

/// What a machine that is forgotten with `on_destroy = power_off` does, by what its BMC said and when.
#[test]
fn forgetting_cuts_the_power_within_its_deadline() {
    let d = Deadlines::default();
    let next = |power: Option<(u64, PowerState)>, now: u64| {
        let mut m = machine(Phase::Available, Goal::Retire);
        m.claim = None;
        m.on_destroy = OnDestroy::PowerOff;
        m.goal_at = later(10);
        m.power = power.map(|(at, state)| PowerSeen {
            at: later(at),
            state,
        });
        short(&decide(&m, later(now), &d))
    };
    let rows = [
        ("never read", next(None, 10)),
        ("was off before", next(Some((9, PowerState::Off)), 10)),
        ("off", next(Some((10, PowerState::Off)), 10)),
        (
            "silent just now",
            next(Some((10, PowerState::Unreachable)), 10),
        ),
        (
            "silent a minute ago",
            next(Some((10, PowerState::Unreachable)), 11),
        ),
        (
            "silent too long",
            next(Some((14, PowerState::Unreachable)), 15),
        ),
        ("still on", next(Some((14, PowerState::On)), 15)),
    ];
    let text: Vec<String> = rows.iter().map(|(n, v)| format!("{n}: {v}")).collect();
    insta::assert_snapshot!(text.join("\n"), @r"
    never read: work [power off] (powering-off)
    was off before: work [power off] (powering-off)
    off: ENTER retired (forgotten)
    silent just now: work [] (powering-off)
    silent a minute ago: work [power off] (powering-off)
    silent too long: ENTER retired (forgotten-on)
    still on: ENTER retired (forgotten-on)
    ");
    let mut m = machine(Phase::Available, Goal::Retire);
    m.claim = None;
    m.on_destroy = OnDestroy::PowerOff;
    m.admission = Admission::Unaccepted;
    let decision = short(&decide(&m, later(1), &d));
    assert_eq!(decision, "ENTER retired (forgotten)", "not ours to power");
}

#[test]
fn a_machine_that_rests_in_the_agent_is_started_once() {
    let mut m = machine(Phase::Available, Goal::Pool);
    m.claim = None;
    m.idle = Idle::Hold;
    let next = |m: &Machine| short(&decide(m, later(1), &Deadlines::default()));
    assert_eq!(next(&m), "rest [] (free)", "its power is not known");
    m.power = Some(PowerSeen {
        at: T0,
        state: PowerState::Off,
    });
    assert_eq!(next(&m), "rest [boot agent Start] (free)");
    attempt(&mut m, T0, Leg::Agent, How::Start, Some(Outcome::Done));
    assert_eq!(next(&m), "rest [] (free)", "never a reboot loop");
    assert_eq!(boot(&m), Boot::Agent(AgentMode::Hold));
}
