//! Random walks: a world that does anything, and rules that must hold after every step of it.

use super::*;

/// A small generator with a seed that a failure prints.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What is really there, whatever was reported.
struct World {
    m: Machine,
    now: Timestamp,
    disks: Vec<Disk>,
    /// What the machine runs.
    runs: Runs,
    erases: u32,
    looked_since_erase: bool,
    trail: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Runs {
    Off,
    Agent,
    NetbootedTalos,
    DiskTalos,
}

const FOREIGN: &str = "D2";

impl World {
    fn new() -> Self {
        let mut m = Machine::new(MachineId("b1".into()), T0);
        m.control = Control::Bmc;
        m.admission = Admission::Accepted;
        Self {
            m,
            now: T0,
            disks: vec![disk("D1"), holds(disk(FOREIGN), &["ext4"])],
            runs: Runs::Off,
            erases: 0,
            looked_since_erase: true,
            trail: vec![],
        }
    }

    fn see(&mut self, fact: Fact) {
        see(&mut self.m, self.now, fact);
    }

    /// One decision, carried out as the shell does.
    fn turn(&mut self) {
        let decision = decide(&self.m, self.now, &Deadlines::default());
        self.trail.push(short(&decision));
        match decision {
            Decision::Enter(phase, reason) => {
                self.invariant_entering(&phase);
                if phase == Phase::Available {
                    self.m.dirty = leaves_dirty(&self.m);
                    if self
                        .m
                        .claim
                        .as_ref()
                        .is_some_and(|c| c.hold == Hold::Releasing)
                    {
                        self.m.claim = None;
                        self.m.written.clear();
                    }
                }
                if reason == Reason::SecondRequester {
                    self.m.contests += 1;
                }
                self.m.enter(phase, reason.to_string(), self.now);
            }
            Decision::Work(actions, _) | Decision::Rest(actions, _) => {
                for action in actions {
                    self.act(&action);
                }
            }
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Boot(leg, how) => {
                assert_eq!(self.m.admission, Admission::Accepted, "{}", self.story());
                if *leg == Leg::Talos {
                    let targets = self.m.claim.iter().flat_map(|c| &c.targets);
                    let targets: Vec<DiskId> = targets.map(|t| t.disk.clone()).collect();
                    self.m.written.extend(targets);
                }
                attempt(&mut self.m, self.now, *leg, *how, Some(Outcome::Done));
            }
            Action::Erase(disks) => {
                self.invariant_erase(disks);
                self.looked_since_erase = false;
                self.erases += 1;
                self.m.erases += 1;
                let names = disks.iter().map(|d| DiskId(d.serial.clone()));
                self.m.written.extend(names);
                self.m.order = Some(Order {
                    number: u64::from(self.erases),
                    what: What::Erase {
                        disks: disks.clone(),
                        nonce: vec![],
                    },
                    issued: self.now,
                    ended: None,
                });
            }
            Action::PowerOff => {
                self.runs = Runs::Off;
                self.m.power = None;
            }
        }
    }

    /// The machine asks for something to boot.
    fn netboot(&mut self) {
        let what = boot(&self.m);
        self.invariant_boot(&what);
        self.see(Fact::DhcpOffered { arch: 7 });
        self.runs = match what {
            Boot::Nothing | Boot::Local => self.disk_boots(),
            Boot::Agent(_) => {
                self.see(Fact::KernelServed {
                    what: ServedBoot::Agent,
                });
                Runs::Agent
            }
            Boot::Talos(_) => {
                self.see(Fact::KernelServed {
                    what: ServedBoot::Talos,
                });
                Runs::NetbootedTalos
            }
        };
    }

    fn disk_boots(&self) -> Runs {
        let installed = self.disks[0].signatures.iter().any(|s| s == "talos:STATE");
        if installed {
            Runs::DiskTalos
        } else {
            Runs::Off
        }
    }

    fn report(&mut self) {
        self.see(Fact::AgentReported);
        let disks = self.disks.clone();
        report(&mut self.m, self.now, disks);
        self.looked_since_erase = true;
    }

    /// The agent carries out its order, well or badly.
    fn obey(&mut self, works: bool) {
        let now = self.now;
        let Some(order) = self.m.order.as_mut().filter(|o| o.ended.is_none()) else {
            return;
        };
        let What::Erase { disks, .. } = order.what.clone() else {
            return;
        };
        order.ended = Some(Ended {
            at: now,
            failed: (!works).then(|| "I/O error".to_owned()),
        });
        if works {
            for erased in &disks {
                self.m.proven.insert(DiskId(erased.serial.clone()));
                for d in self.disks.iter_mut().filter(|d| d.serial == erased.serial) {
                    *d = disk(&erased.serial);
                }
            }
        }
    }

    fn talos(&mut self, step: u64) {
        match (self.runs, step) {
            (Runs::NetbootedTalos, 0) => self.see(Fact::Talos(TalosFact::BootStarted)),
            (Runs::NetbootedTalos, 1) => {
                self.see(Fact::ConfigServed {
                    from: [10, 0, 0, 9].into(),
                });
                self.see(Fact::Talos(TalosFact::InstallStarted));
                self.disks[0] = holds(disk("D1"), &["gpt", "talos:STATE"]);
            }
            (Runs::NetbootedTalos, 2) => {
                self.see(Fact::Talos(TalosFact::InstallFinished));
                self.runs = self.disk_boots();
            }
            (Runs::DiskTalos, _) => {
                self.see(Fact::Talos(TalosFact::BootStarted));
                self.see(Fact::Talos(TalosFact::BootedInstalled));
            }
            (Runs::Off | Runs::Agent | Runs::NetbootedTalos, _) => {}
        }
    }

    fn take_claim(&mut self) {
        if self.m.phase == Phase::Available && self.m.claim.is_none() {
            self.m.claim = Some(Claim {
                wipe: Wipe {
                    method: WipeMethod::Quick,
                    disks: WipeDisks::Written,
                },
                ..claim()
            });
            if let Some(c) = &mut self.m.claim {
                c.targets[0]
                    .fingerprint
                    .clone_from(&self.disks[0].fingerprint);
            }
            self.want(Goal::Run(claim_id()));
        }
    }

    fn release(&mut self) {
        if let Some(c) = &mut self.m.claim {
            c.hold = Hold::Releasing;
            self.want(Goal::Pool);
        }
    }

    fn want(&mut self, goal: Goal) {
        self.m.want(goal, self.now);
    }

    fn anything(&mut self, dice: &mut Dice) {
        self.now = self.now + Duration::from_secs(1 + dice.roll(120));
        match dice.roll(14) {
            0 => self.take_claim(),
            1 if dice.roll(4) == 0 => self.release(),
            2 | 3 => self.netboot(),
            4 | 5 if self.runs == Runs::Agent => self.report(),
            6 if self.runs == Runs::Agent => self.obey(dice.roll(4) > 0),
            7..=9 => self.talos(dice.roll(3)),
            10 => self.now = self.now + Duration::from_secs(60 * dice.roll(90)),
            11 if dice.roll(6) == 0 => {
                self.m.power = Some(PowerSeen {
                    at: self.now,
                    state: PowerState::On,
                });
            }
            12 if dice.roll(8) == 0 => {
                let ip = |n| std::net::IpAddr::from([10, 0, 0, n]);
                self.see(Fact::SecondRequester {
                    from: ip(1),
                    holder: ip(2),
                });
            }
            11 if dice.roll(20) == 0 => {
                self.m.admission = match self.m.admission {
                    Admission::Accepted => Admission::Unaccepted,
                    Admission::Unaccepted => Admission::Accepted,
                };
            }
            13 if dice.roll(8) == 0 => {
                let goal = self.m.goal.clone();
                self.want(goal);
            }
            _ => {}
        }
    }

    // ---- what must hold, whatever the world does

    fn invariant_entering(&self, phase: &Phase) {
        match phase {
            Phase::Available => {
                if self.m.phase == Phase::Wiping {
                    assert!(
                        self.disks[0].blank,
                        "a dirty disk in the pool: {}",
                        self.story()
                    );
                }
            }
            Phase::Running(claim) => {
                let told = self.disks[0].signatures.iter().any(|s| s == "talos:STATE");
                assert!(told, "running without an install: {}", self.story());
                assert_eq!(*claim, claim_id());
            }
            Phase::Wiping | Phase::Installing(_) => {
                assert!(self.m.claim.is_some(), "without a claim: {}", self.story());
            }
            Phase::Discovered
            | Phase::Inspecting
            | Phase::Failed(_)
            | Phase::Quarantined(_)
            | Phase::Retired => {}
        }
    }

    fn invariant_erase(&self, disks: &[EraseDisk]) {
        let story = || self.story();
        assert!(
            matches!(self.m.phase, Phase::Installing(_) | Phase::Wiping),
            "an erase in {}: {}",
            self.m.phase,
            story()
        );
        assert!(self.m.claim.is_some(), "an erase for nobody: {}", story());
        assert_eq!(self.m.admission, Admission::Accepted);
        assert!(
            self.looked_since_erase,
            "two erases without a look: {}",
            story()
        );
        for d in disks {
            assert_ne!(d.serial, FOREIGN, "somebody's data: {}", story());
            assert!(!d.fingerprint.is_empty());
        }
    }

    fn invariant_boot(&self, what: &Boot) {
        if let Boot::Talos(claim) = what {
            assert_eq!(
                self.m.phase,
                Phase::Installing(claim.clone()),
                "{}",
                self.story()
            );
            assert!(
                self.m.fresh_report().is_some(),
                "Talos before a look: {}",
                self.story()
            );
            let installs = |s: &Seen| matches!(s.fact, Fact::ConfigServed { .. });
            let from = self.m.talos_since().expect("Talos has a leg");
            assert!(
                !self.m.facts_since(from).any(installs),
                "twice: {}",
                self.story()
            );
        }
    }

    fn invariant_foreign_data_stays(&self) {
        assert_eq!(self.disks[1].signatures, ["ext4"], "{}", self.story());
    }

    fn story(&self) -> String {
        let from = self.trail.len().saturating_sub(15);
        self.trail[from..].join("\n  ")
    }
}

#[test]
fn random_walks_keep_the_rules() {
    let (mut installs, mut returns) = (0, 0);
    for seed in 1..600 {
        let mut dice = Dice(seed * 0x9e37_79b9);
        let mut world = World::new();
        world.trail.push(format!("seed {seed}"));
        for _ in 0..250 {
            world.anything(&mut dice);
            let before = world.m.phase.clone();
            world.turn();
            world.invariant_foreign_data_stays();
            installs +=
                u32::from(before != world.m.phase && matches!(world.m.phase, Phase::Running(_)));
            returns += u32::from(before == Phase::Wiping && world.m.phase == Phase::Available);
        }
    }
    assert!(
        installs > 20 && returns > 5,
        "the walks get somewhere: {installs}, {returns}"
    );
}

/// One step of a world in which everything works.
fn help(world: &mut World) {
    world.now = world.now + Duration::from_secs(5);
    world.turn();
    let legs = world.m.tries.last().map(|t| (t.leg, t.at));
    let seen = legs.is_some_and(|(_, at)| {
        world
            .m
            .facts_since(at)
            .any(|s| matches!(s.fact, Fact::DhcpOffered { .. }))
    });
    if legs.is_some() && !seen {
        world.netboot();
    }
    world.now = world.now + Duration::from_secs(5);
    match world.runs {
        Runs::Agent => {
            world.obey(true);
            let stale = world.m.report.as_ref().is_none_or(|r| {
                let ended = world.m.order.as_ref().and_then(|o| o.ended.as_ref());
                r.epoch != world.m.epoch || ended.is_some_and(|e| e.at > r.at)
            });
            if stale && legs.is_some() {
                world.now = world.now + Duration::from_secs(1);
                world.report();
            }
        }
        Runs::NetbootedTalos => {
            world.talos(1);
            world.talos(2);
        }
        Runs::DiskTalos => world.talos(0),
        Runs::Off => {}
    }
}

#[test]
fn a_helpful_world_reaches_every_goal() {
    let mut world = World::new();
    let until = |world: &mut World, what: &str, phase: Phase| {
        for _ in 0..40 {
            if world.m.phase == phase {
                return;
            }
            help(world);
        }
        panic!("never {what}: {}", world.story());
    };
    until(&mut world, "inspected", Phase::Available);
    for _ in 0..2 {
        world.take_claim();
        until(&mut world, "running", Phase::Running(claim_id()));
        world.now = world.now + Duration::from_secs(5);
        world.release();
        until(&mut world, "wiped", Phase::Available);
        assert!(world.disks[0].blank && world.m.claim.is_none());
        world.m.dirty = false;
    }
    world.want(Goal::Retire);
    until(&mut world, "retired", Phase::Retired);
}

#[test]
fn every_working_phase_ends_without_any_evidence() {
    for phase in [
        Phase::Inspecting,
        Phase::Installing(claim_id()),
        Phase::Wiping,
    ] {
        let mut world = World::new();
        world.m = machine(phase.clone(), Goal::Run(claim_id()));
        world.m.written.insert(DiskId("D1".into()));
        for _ in 0..600 {
            world.now = world.now + Duration::from_secs(10);
            world.turn();
            if world.m.phase != phase {
                break;
            }
        }
        assert!(
            matches!(world.m.phase, Phase::Failed(_) | Phase::Quarantined(_)),
            "{phase} has no deadline: {}",
            world.story()
        );
        assert_eq!(
            world
                .trail
                .iter()
                .filter(|l| l.contains("boot agent"))
                .count(),
            3
        );
    }
}
