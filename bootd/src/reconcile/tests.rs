//! The reconciler on a real store with a scripted BMC: crash after every step, repeat every action, same end.

use std::sync::{Arc, Mutex};

use bootd_core::id::ClaimId;
use bootd_core::lifecycle::facts::{Fact, TalosFact};
use bootd_core::lifecycle::{
    Claim, ConfigState, Disk, DiskId, Goal, Hardware, Hold, OnWipeFailure, Phase, Report, Step,
    Target, Wipe, WipeDisks, WipeMethod,
};
use bootd_core::secret::Secret;
use metal_proto::metal::v1 as pb;

use super::*;
use crate::store::{Doc, Identity, Kind, Mode, Registration, Seal};

/// A BMC that does what it is told, or what the script says.
#[derive(Clone, Default)]
struct Script {
    said: Arc<Mutex<Vec<String>>>,
    fails: Arc<Mutex<Option<Trouble>>>,
    on: Arc<Mutex<bool>>,
    guid: Arc<Mutex<Option<crate::bmc::SystemGuid>>>,
}

impl Script {
    fn say(&self, word: &str) -> Result<(), Trouble> {
        self.said.lock().unwrap().push(word.to_owned());
        match &*self.fails.lock().unwrap() {
            Some(trouble) => Err(trouble.clone()),
            None => Ok(()),
        }
    }

    fn said(&self) -> String {
        std::mem::take(&mut *self.said.lock().unwrap()).join(" ")
    }
}

impl PowerControl for Script {
    async fn guid(&self, _: &Target1) -> Result<Option<crate::bmc::SystemGuid>, Trouble> {
        Ok(*self.guid.lock().unwrap())
    }
    async fn read(&self, _: &Target1) -> Result<PowerState, Trouble> {
        self.say("read")?;
        Ok(if *self.on.lock().unwrap() {
            PowerState::On
        } else {
            PowerState::Off
        })
    }
    async fn boot_pxe(&self, _: &Target1, _: Option<u16>) -> Result<(), Trouble> {
        self.say("pxe")
    }
    async fn on(&self, _: &Target1) -> Result<(), Trouble> {
        self.say("on")?;
        *self.on.lock().unwrap() = true;
        Ok(())
    }
    async fn off(&self, _: &Target1) -> Result<(), Trouble> {
        self.say("off")?;
        *self.on.lock().unwrap() = false;
        Ok(())
    }
    async fn cycle(&self, _: &Target1) -> Result<(), Trouble> {
        self.say("cycle")?;
        *self.on.lock().unwrap() = true;
        Ok(())
    }
}

type Target1 = crate::bmc::Target;

struct Bench {
    dir: tempfile::TempDir,
    store: Store,
    bmc: Script,
    id: MachineId,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bench = Self {
            store: open(&dir).await,
            dir,
            bmc: Script::default(),
            id: MachineId("b1".into()),
        };
        let config = pb::ServerConfig {
            name: "b1".into(),
            accepted: true,
            bmc: Some(pb::Bmc {
                address: "127.0.0.1".into(),
                protocol: pb::BmcProtocol::Ipmi.into(),
                credentials: "lab".into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let identity = Identity {
            serial: Some("S1".into()),
            ..Identity::default()
        };
        let apply = |r: &mut Record, _: &mut crate::store::Journal| {
            r.machine.admission = Admission::Accepted;
            r.machine.control = Control::Bmc;
        };
        bench
            .store
            .declare(&config, identity, None, apply)
            .await
            .unwrap();
        let mut credential = Doc::new("lab", b"admin".to_vec());
        credential.sealed = Some(Secret::new(b"pw".to_vec()));
        bench
            .store
            .put_doc(Kind::Credential, &credential)
            .await
            .unwrap();
        bench
    }

    fn reconciler(&self) -> Reconciler<Script> {
        let poll = Duration::from_secs(3600);
        Reconciler::new(
            self.store.clone(),
            self.bmc.clone(),
            Deadlines::default(),
            poll,
        )
    }

    /// Turns until nothing moves; `crash` opens the store anew before each turn.
    async fn settle(&mut self, crash: Crash) {
        for _ in 0..20 {
            if crash == Crash::BeforeEachTurn {
                self.store = open(&self.dir).await;
            }
            if self.reconciler().turn(&self.id).await.unwrap() != Turn::Moved {
                return;
            }
        }
        panic!("it never settles");
    }

    async fn record(&self) -> Record {
        self.store.machine(&self.id).await.unwrap().unwrap()
    }

    async fn phase(&self) -> Phase {
        self.record().await.machine.phase
    }

    async fn report(&self, disk: Disk) {
        self.store
            .change(&self.id, |r, journal| {
                r.machine.report = Some(Report {
                    at: now(),
                    epoch: r.machine.epoch,
                    hardware: Hardware {
                        disks: vec![disk],
                        ..Hardware::default()
                    },
                });
                journal.fact(Fact::AgentReported);
            })
            .await
            .unwrap();
    }

    async fn facts(&self, facts: &[Fact]) {
        for fact in facts {
            let fact = fact.clone();
            self.store
                .change(&self.id, |_, journal| journal.fact(fact))
                .await
                .unwrap();
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Crash {
    Never,
    BeforeEachTurn,
}

async fn open(dir: &tempfile::TempDir) -> Store {
    let url = Store::default_url(dir.path());
    Store::open(&url, Seal::new(&[1; 32]), Registration::new(Mode::Declared))
        .await
        .unwrap()
}

fn disk(blank: bool) -> Disk {
    Disk {
        serial: "D1".into(),
        bytes: 100 << 30,
        blank,
        fingerprint: format!("{blank}"),
        signatures: if blank {
            vec![]
        } else {
            vec!["gpt".into(), "talos:STATE".into()]
        },
        ..Disk::default()
    }
}

fn claim() -> Claim {
    Claim {
        id: ClaimId("lab/cp".into()),
        hold: Hold::Held,
        wipe: Wipe {
            method: WipeMethod::Quick,
            disks: WipeDisks::All,
        },
        allow_wipe: vec![],
        on_wipe_failure: OnWipeFailure::Quarantine,
        targets: vec![Target {
            disk: DiskId("D1".into()),
            fingerprint: String::new(),
        }],
        config: ConfigState::Ready,
    }
}

#[expect(clippy::too_many_lines, reason = "one story")]
async fn whole_life(crash: Crash) -> Vec<String> {
    let mut b = Bench::new().await;
    let mut told = Vec::new();
    b.settle(crash).await;
    assert_eq!(b.phase().await, Phase::Inspecting);
    told.push(b.bmc.said());
    b.report(disk(true)).await;
    b.settle(crash).await;
    assert_eq!(b.phase().await, Phase::Available);
    told.push(b.bmc.said());

    let words = pb::ClaimConfig {
        name: "lab/cp".into(),
        ..Default::default()
    };
    b.store.take(&words, &b.id, "", claim()).await.unwrap();
    b.store
        .change(&b.id, |r, _| {
            r.machine.goal = Goal::Run(ClaimId("lab/cp".into()))
        })
        .await
        .unwrap();
    b.settle(crash).await;
    assert_eq!(b.phase().await, Phase::Installing(ClaimId("lab/cp".into())));
    told.push(b.bmc.said());
    b.report(disk(true)).await;
    b.settle(crash).await;
    told.push(b.bmc.said());
    b.facts(&[
        Fact::ConfigServed {
            from: [10, 0, 0, 1].into(),
        },
        Fact::Talos(TalosFact::InstallStarted),
        Fact::Talos(TalosFact::BootStarted),
        Fact::Talos(TalosFact::BootedInstalled),
    ])
    .await;
    b.settle(crash).await;
    assert_eq!(b.phase().await, Phase::Running(ClaimId("lab/cp".into())));

    b.bmc.said();
    b.store
        .change(&b.id, |r, _| {
            r.machine.goal = Goal::Pool;
            if let Some(c) = &mut r.machine.claim {
                c.hold = Hold::Releasing;
            }
        })
        .await
        .unwrap();
    b.settle(crash).await;
    assert_eq!(b.phase().await, Phase::Wiping);
    told.push(b.bmc.said());
    b.report(disk(false)).await;
    b.settle(crash).await;
    assert_eq!(b.record().await.machine.erases, 1, "one erase per look");
    b.store
        .change(&b.id, |r, journal| {
            r.machine.proven.insert(DiskId("D1".into()));
            if let Some(order) = &mut r.machine.order {
                order.ended = Some(bootd_core::lifecycle::Ended {
                    at: now(),
                    failed: None,
                });
            }
            journal.fact(Fact::EraseProven);
        })
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    b.report(disk(true)).await;
    b.settle(crash).await;
    assert_eq!(b.phase().await, Phase::Available);
    told.push(b.bmc.said());
    assert!(
        b.store.claims().await.unwrap().is_empty(),
        "the claim is gone with the wipe"
    );
    assert!(!b.record().await.machine.dirty);
    told
}

#[tokio::test]
async fn a_whole_life_with_and_without_crashes() {
    let calm = whole_life(Crash::Never).await;
    insta::assert_snapshot!(calm.join("\n"), @r"
    read pxe on
    off
    read pxe on
    pxe
    read pxe cycle
    off
    ");
    assert_eq!(whole_life(Crash::BeforeEachTurn).await, calm);
}

#[tokio::test]
async fn an_action_that_was_recorded_before_a_crash_is_done_again() {
    let mut b = Bench::new().await;
    b.settle(Crash::Never).await;
    b.bmc.said();
    // Recorded, and then we died before the BMC's answer was stored.
    b.store
        .change(&b.id, |r, _| {
            r.machine.tries.iter_mut().for_each(|t| t.outcome = None)
        })
        .await
        .unwrap();
    b.settle(Crash::BeforeEachTurn).await;
    assert_eq!(b.bmc.said(), "read pxe cycle");
    assert_eq!(
        b.record().await.machine.tries.len(),
        1,
        "it is the same try"
    );
}

#[tokio::test]
async fn a_bmc_that_refuses_the_login_fails_at_once_and_a_new_try_can_be_asked_for() {
    let mut b = Bench::new().await;
    *b.bmc.fails.lock().unwrap() = Some(Trouble::Refused("BMC 127.0.0.1 refused the login".into()));
    b.settle(Crash::Never).await;
    b.settle(Crash::Never).await;
    assert_eq!(b.phase().await, Phase::Failed(Step::Inspect));
    let failure = b.record().await.machine.failure.unwrap();
    assert_eq!(failure.reason, "bmc-refused");
    assert!(
        failure.detail.contains("b1") && failure.hint.contains("credentials"),
        "{failure:?}"
    );
    *b.bmc.fails.lock().unwrap() = None;
    b.store
        .change(&b.id, |r, _| {
            r.machine.goal_at = now() + Duration::from_secs(1)
        })
        .await
        .unwrap();
    b.settle(Crash::Never).await;
    assert_eq!(b.phase().await, Phase::Inspecting);
}

#[tokio::test]
async fn a_silent_bmc_is_asked_again_and_missing_credentials_are_told() {
    let mut b = Bench::new().await;
    *b.bmc.fails.lock().unwrap() = Some(Trouble::Silent("no answer".into()));
    b.settle(Crash::Never).await;
    b.settle(Crash::Never).await;
    assert_eq!(b.phase().await, Phase::Inspecting, "patience");
    assert!(b.record().await.machine.reason.contains("asking again"));
    b.store.drop_doc(Kind::Credential, "lab").await.unwrap();
    b.store
        .change(&b.id, |r, _| r.machine.tries.clear())
        .await
        .unwrap();
    b.settle(Crash::Never).await;
    b.settle(Crash::Never).await;
    let failure = b.record().await.machine.failure.unwrap();
    assert!(
        failure.detail.contains("metalctl credentials set lab"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_server_is_turned_off_before_it_is_forgotten() {
    let mut bench = Bench::new().await;
    *bench.bmc.on.lock().unwrap() = true;
    bench
        .store
        .change(&bench.id, |r, _| {
            r.machine.on_destroy = OnDestroy::PowerOff;
            r.machine.goal = Goal::Retire;
            r.machine.goal_at = now();
        })
        .await
        .unwrap();
    let turn = async |b: &Bench| b.reconciler().turn(&b.id).await.unwrap();
    assert_eq!(turn(&bench).await, Turn::Waits);
    assert_eq!(bench.bmc.said(), "off");
    bench.store = open(&bench.dir).await;
    assert_eq!(turn(&bench).await, Turn::Moved);
    bench.store = open(&bench.dir).await;
    assert_eq!(turn(&bench).await, Turn::Gone);
    assert!(bench.store.machine(&bench.id).await.unwrap().is_none());
    assert!(bench.store.timeline(&bench.id, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_dead_bmc_does_not_keep_a_server_for_ever() {
    let bench = Bench::new().await;
    *bench.bmc.fails.lock().unwrap() = Some(Trouble::Silent("no answer".into()));
    bench
        .store
        .change(&bench.id, |r, _| {
            r.machine.on_destroy = OnDestroy::PowerOff;
            r.machine.goal = Goal::Retire;
            r.machine.goal_at = now();
        })
        .await
        .unwrap();
    let turn = async |power| {
        let deadlines = Deadlines {
            power,
            ..Deadlines::default()
        };
        let poll = Duration::from_secs(3600);
        let r = Reconciler::new(bench.store.clone(), bench.bmc.clone(), deadlines, poll);
        r.turn(&bench.id).await.unwrap()
    };
    let minutes = Duration::from_secs(300);
    assert_eq!(turn(minutes).await, Turn::Waits);
    assert_eq!(turn(minutes).await, Turn::Waits);
    assert_eq!(bench.bmc.said(), "off", "asked again only after a while");
    assert_eq!(turn(Duration::ZERO).await, Turn::Moved);
    assert_eq!(turn(Duration::ZERO).await, Turn::Gone);
    let line = bench.store.timeline(&bench.id, 0).await.unwrap().pop();
    let line = line.unwrap();
    assert!(
        line.alarm && line.text.contains("did not confirm in time"),
        "{line:?}"
    );
}

/// The GUID that a BMC of the specification's byte order sends for a UUID.
fn guid(uuid: &str) -> crate::bmc::SystemGuid {
    let number = u128::from_str_radix(&uuid.replace('-', ""), 16).unwrap();
    crate::bmc::SystemGuid(number.to_le_bytes())
}

#[tokio::test]
async fn a_bmc_that_controls_another_box_is_an_error_that_names_both() {
    let mut bench = Bench::new().await;
    let (own, others) = (
        "00000000-0000-0000-0000-0000000000b1",
        "00000000-0000-0000-0000-0000000000b2",
    );
    let second = pb::ServerConfig {
        name: "b2".into(),
        uuid: others.into(),
        ..Default::default()
    };
    let identity = Identity {
        uuid: Some(others.into()),
        ..Identity::default()
    };
    bench
        .store
        .declare(&second, identity, None, |_, _| {})
        .await
        .unwrap();
    *bench.bmc.guid.lock().unwrap() = Some(guid(others));
    // One turn asks the BMC, the next draws the conclusion.
    bench.settle(Crash::BeforeEachTurn).await;
    bench.settle(Crash::BeforeEachTurn).await;
    assert_eq!(bench.phase().await, Phase::Failed(Step::Inspect));
    assert_eq!(bench.bmc.said(), "read", "looked at, and nothing powered");
    let failure = bench.record().await.machine.failure.unwrap();
    assert_eq!(failure.reason, "bmc-other-box");
    assert!(
        failure
            .detail
            .contains("the BMC 127.0.0.1:623 of b1 controls b2")
            && failure.hint.contains("metalctl retry b1 --confirm-bmc"),
        "{failure:?}"
    );

    // Cabled right, it is bound; its own UUID is known from the report.
    *bench.bmc.guid.lock().unwrap() = Some(guid(own));
    let again = |r: &mut Record, _: &mut crate::store::Journal| {
        r.machine.goal_at = bootd_core::id::Timestamp(r.machine.since.0 + 1);
    };
    bench.store.change(&bench.id, again).await.unwrap();
    bench.settle(Crash::Never).await;
    let bound = bench.record().await.bmc.unwrap();
    assert_eq!(bound.guid, own);
    assert_eq!(bench.bmc.said(), "read pxe on");
    // Another BMC behind the same address: nothing is turned off.
    bench
        .store
        .change(&bench.id, |r, _| {
            r.machine.report = Some(Report {
                at: now(),
                epoch: r.machine.epoch,
                hardware: Hardware {
                    uuid: own.to_uppercase(),
                    ..Hardware::default()
                },
            });
        })
        .await
        .unwrap();
    *bench.bmc.guid.lock().unwrap() = Some(guid("00000000-0000-0000-0000-0000000000b9"));
    bench.settle(Crash::Never).await;
    assert_eq!(bench.phase().await, Phase::Available);
    let said = bench.bmc.said();
    assert!(!said.contains("off"), "{said}");
    let story = bench.store.timeline(&bench.id, 0).await.unwrap();
    let alarm = story.iter().rfind(|l| l.alarm).unwrap();
    assert!(
        alarm.text.contains("is another one than before"),
        "{alarm:?}"
    );
    // Confirmed by a person, the new one is bound, and obeys.
    bench.store.record_binding(&bench.id, None).await.unwrap();
    bench.settle(Crash::Never).await;
    assert!(bench.bmc.said().contains("off"));
}
