//! One story of the store and its desk: a machine from first sight to a served config, with everything that must be refused.

use std::net::IpAddr;

use bootd_core::id::{ClaimId, Epoch, MachineId};
use bootd_core::lifecycle::facts::{Fact, TalosFact};
use bootd_core::lifecycle::{
    Action, Admission, Claim, ConfigState, Control, DiskId, EraseDisk, Goal, Hold, How, Leg,
    OnWipeFailure, Outcome, Phase, Reason, Scope, Target, Wipe, WipeDisks, WipeMethod,
};
use bootd_core::secret::Secret;
use metal_proto::metal::v1 as pb;
use prost::Message as _;

use super::*;
use crate::net::{Asker, Desk as _, Netboot, Redeemed, Refusal};

async fn store(mode: Mode) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let url = Store::default_url(dir.path());
    let store = Store::open(&url, Seal::new(&[1; 32]), Registration::new(mode))
        .await
        .unwrap();
    (dir, store)
}

fn asker(mac: &str, from: [u8; 4]) -> Asker {
    Asker {
        mac: Some(mac.parse().unwrap()),
        from: Some(from.into()),
        ..Asker::default()
    }
}

const MAC: &str = "52:54:00:00:00:01";

async fn declare(store: &Store, name: &str) -> MachineId {
    let config = pb::ServerConfig {
        name: name.into(),
        mac: MAC.into(),
        accepted: true,
        ..Default::default()
    };
    let identity = Identity {
        mac: Some(MAC.parse().unwrap()),
        ..Identity::default()
    };
    store
        .declare(
            &config,
            identity,
            Some(Secret::new("hunter2".into())),
            |r, _| {
                r.machine.admission = Admission::Accepted;
                r.machine.control = Control::Bmc;
            },
        )
        .await
        .unwrap();
    MachineId(name.into())
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

async fn enter(store: &Store, id: &MachineId, phase: Phase) -> Epoch {
    let epoch = store.machine(id).await.unwrap().unwrap().machine.epoch;
    assert!(
        store
            .commit(id, epoch, phase, &Reason::Accepted)
            .await
            .unwrap()
    );
    Epoch(epoch.0 + 1)
}

/// A box that installs for `lab/cp`, at the moment in which Talos may boot.
async fn talos_leg(store: &Store) -> (MachineId, Epoch) {
    let id = declare(store, "b1").await;
    enter(store, &id, Phase::Available).await;
    let config = pb::ClaimConfig {
        name: "lab/cp".into(),
        ..Default::default()
    };
    assert_eq!(
        store.take(&config, &id, "best", claim()).await.unwrap(),
        Taken::Yes
    );
    store
        .change(&id, |r, _| {
            r.machine.goal = Goal::Run(ClaimId("lab/cp".into()))
        })
        .await
        .unwrap();
    let mut node = Doc::new(
        "lab/cp",
        pb::NodeConfig {
            image_id: "s/v/amd64".into(),
            ..Default::default()
        }
        .encode_to_vec(),
    );
    node.machine = Some(id.clone());
    node.sealed = Some(Secret::new(b"machine: {}".to_vec()));
    store.put_doc(Kind::Node, &node).await.unwrap();
    let epoch = enter(store, &id, Phase::Installing(ClaimId("lab/cp".into()))).await;
    let action = Action::Boot(Leg::Talos, How::ByAgent);
    assert!(
        store
            .record(&id, epoch, &action, &Reason::HandOver)
            .await
            .unwrap()
    );
    store
        .record_outcome(&id, epoch, Outcome::Done)
        .await
        .unwrap();
    (id, epoch)
}

#[tokio::test]
async fn unknown_machines_get_nothing_unless_registration_is_open() {
    let (_dir, store) = store(Mode::Declared).await;
    let ask = asker(MAC, [10, 0, 0, 1]);
    assert!(matches!(
        store.netboot(&ask).await.unwrap(),
        Netboot::Nothing(_)
    ));
    assert!(store.machines().await.unwrap().is_empty());
    store
        .registration()
        .open(now(), Duration::from_secs(60))
        .unwrap();
    assert!(matches!(
        store.netboot(&ask).await.unwrap(),
        Netboot::Agent { .. }
    ));
    let met = store.machines().await.unwrap();
    assert_eq!(met[0].machine.id.0, "m-525400000001");
    // Declared later: the same machine under its new name, with its story.
    let id = declare(&store, "b1").await;
    let all = store.machine_ids().await.unwrap();
    assert_eq!(all.as_slice(), std::slice::from_ref(&id));
    assert!(
        store.timeline(&id, 0).await.unwrap()[0]
            .text
            .contains("registered")
    );
    let closed = Registration::new(Mode::Closed);
    assert!(closed.open(now(), Duration::from_secs(60)).is_none());
}

#[tokio::test]
async fn facts_and_commits_of_an_older_epoch_are_dropped() {
    let (_dir, store) = store(Mode::Declared).await;
    let id = declare(&store, "b1").await;
    let epoch = enter(&store, &id, Phase::Inspecting).await;
    store
        .fact(&id, Epoch(epoch.0 - 1), Fact::AgentReported)
        .await
        .unwrap();
    store
        .fact(&id, epoch, Fact::DhcpOffered { arch: 7 })
        .await
        .unwrap();
    store
        .fact(&id, epoch, Fact::DhcpOffered { arch: 7 })
        .await
        .unwrap();
    let m = store.machine(&id).await.unwrap().unwrap();
    assert_eq!(
        m.machine.facts.len(),
        1,
        "repetitions and strangers are dropped"
    );
    assert_eq!(m.arch, Some(7));
    let stale = Epoch(epoch.0 - 1);
    assert!(
        !store
            .commit(&id, stale, Phase::Retired, &Reason::Forgotten)
            .await
            .unwrap()
    );
    assert!(
        !store
            .record(&id, stale, &Action::PowerOff, &Reason::Free)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_box_has_one_claim() {
    let (_dir, store) = store(Mode::Declared).await;
    let id = declare(&store, "b1").await;
    let words = |name: &str| pb::ClaimConfig {
        name: name.into(),
        ..Default::default()
    };
    let other = || Claim {
        id: ClaimId("other/cp".into()),
        ..claim()
    };
    assert_eq!(
        store
            .take(&words("lab/cp"), &id, "", claim())
            .await
            .unwrap(),
        Taken::Lost,
        "not at rest"
    );
    enter(&store, &id, Phase::Available).await;
    let lab = words("lab/cp");
    let other_words = words("other/cp");
    let (a, b) = tokio::join!(
        store.take(&lab, &id, "", claim()),
        store.take(&other_words, &id, "", other())
    );
    assert_ne!(a.unwrap(), b.unwrap(), "exactly one gets it");
    let holder = store.claims().await.unwrap();
    assert_eq!(holder.len(), 1);
    assert_eq!(holder[0].generation, 1);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn the_config_leaves_only_to_this_boots_token_from_its_own_address() {
    let (_dir, store) = store(Mode::Declared).await;
    let (id, epoch) = talos_leg(&store).await;
    let (own, thief): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 66].into());
    assert!(matches!(
        store.netboot(&asker(MAC, [10, 0, 0, 1])).await.unwrap(),
        Netboot::Talos { .. }
    ));
    assert_eq!(
        store.mint(&id, epoch, own).await.unwrap(),
        Err(Refusal::NoDhcp)
    );
    store.fact(&id, epoch, Fact::IpxeOffered).await.unwrap();
    let old = store.mint(&id, Epoch(epoch.0 - 1), own).await.unwrap();
    assert_eq!(old, Err(Refusal::NoWindow));
    let token = store.mint(&id, epoch, own).await.unwrap().unwrap();
    assert_eq!(token.len(), 64);
    assert_eq!(
        store.mint(&id, epoch, own).await.unwrap().unwrap(),
        token,
        "the same again"
    );
    assert_eq!(
        store.mint(&id, epoch, thief).await.unwrap(),
        Err(Refusal::SecondRequester)
    );
    assert_eq!(
        store.redeem(&token, thief).await.unwrap(),
        Err(Refusal::WrongSource)
    );
    assert_eq!(
        store.redeem("nonsense", own).await.unwrap(),
        Err(Refusal::BadToken)
    );
    let owner = store.redeem(&token, own).await.unwrap().unwrap();
    assert_eq!(
        store.config(&owner).await.unwrap().as_deref(),
        Some(&b"machine: {}"[..])
    );
    let seen = store.machine(&id).await.unwrap().unwrap().machine.facts;
    assert!(
        seen.iter()
            .any(|s| matches!(s.fact, Fact::SecondRequester { .. }))
    );

    store
        .fact(&id, epoch, Fact::ConfigServed { from: own })
        .await
        .unwrap();
    assert!(
        store.redeem(&token, own).await.unwrap().is_ok(),
        "a lost answer may be fetched again"
    );
    store
        .talos_event(own, "e1", "install", Some(TalosFact::InstallStarted))
        .await
        .unwrap();
    store
        .talos_event(own, "e1", "install", Some(TalosFact::InstallStarted))
        .await
        .unwrap();
    assert_eq!(
        store.redeem(&token, own).await.unwrap(),
        Err(Refusal::BadToken),
        "evidence ends it"
    );
    enter(&store, &id, Phase::Running(ClaimId("lab/cp".into()))).await;
    assert_eq!(
        store.redeem(&token, own).await.unwrap(),
        Err(Refusal::Ended)
    );
    assert!(matches!(
        store.netboot(&asker(MAC, [10, 0, 0, 1])).await.unwrap(),
        Netboot::Local { .. }
    ));
    let text = store
        .timeline(&id, 0)
        .await
        .unwrap()
        .iter()
        .map(|l| l.text.clone())
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        !text.contains(&token) && !text.contains("hunter2"),
        "{text}"
    );
}

#[tokio::test]
async fn the_agent_reports_obeys_and_proves() {
    let (_dir, store) = store(Mode::Declared).await;
    let id = declare(&store, "b1").await;
    store
        .change(&id, |r, _| r.machine.claim = Some(claim()))
        .await
        .unwrap();
    let epoch = enter(&store, &id, Phase::Wiping).await;
    let owner = Redeemed {
        machine: id.clone(),
        epoch,
    };
    let report = pb::AgentReport {
        hardware: Some(pb::Hardware::default()),
        ..Default::default()
    };
    let order = store
        .agent_report(&owner, report, [10, 0, 0, 1].into())
        .await
        .unwrap();
    assert!(matches!(order.what, Some(pb::agent_order::What::Wait(_))));
    let disk = EraseDisk {
        serial: "D1".into(),
        wwid: String::new(),
        bytes: 64 << 20,
        fingerprint: "f".into(),
        scope: Scope::Quick,
        probes: vec![],
    };
    assert!(
        store
            .record(&id, epoch, &Action::Erase(vec![disk]), &Reason::Erasing)
            .await
            .unwrap()
    );
    let order = store.agent_order(&owner, 0).await.unwrap().unwrap();
    let Some(pb::agent_order::What::Erase(erase)) = order.what else {
        panic!("{order:?}")
    };
    assert_eq!(erase.disks[0].fingerprint, "f");
    assert!(
        store
            .agent_order(&owner, order.number)
            .await
            .unwrap()
            .is_none()
    );
    let result = pb::AgentResult {
        order: order.number,
        disks: vec![pb::DiskResult {
            serial: "D1".into(),
            proof: vec![0; 32],
            ..Default::default()
        }],
        ..Default::default()
    };
    store.agent_result(&owner, result).await.unwrap();
    let m = store.machine(&id).await.unwrap().unwrap().machine;
    assert!(m.proven.is_empty(), "a wrong proof proves nothing");
    assert!(
        m.facts
            .iter()
            .any(|s| matches!(&s.fact, Fact::EraseFailed { why } if why.contains("D1")))
    );
    assert!(m.written.contains(&DiskId("D1".into())));
}

#[tokio::test]
async fn secrets_are_sealed_in_the_file() {
    let (dir, store) = store(Mode::Declared).await;
    let id = declare(&store, "b1").await;
    assert_eq!(
        store
            .server(&id.0)
            .await
            .unwrap()
            .unwrap()
            .bmc_password
            .unwrap()
            .expose(),
        "hunter2"
    );
    drop(store);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(7).any(|w| w == b"hunter2"));
    }
}

/// Lines of the newest story that need a person's eye.
async fn alarms(store: &Store, id: &MachineId) -> Vec<String> {
    let lines = store.timeline(id, 0).await.unwrap();
    lines
        .into_iter()
        .filter(|l| l.alarm)
        .map(|l| l.text)
        .collect()
}

#[tokio::test]
async fn an_agent_that_asks_once_more_after_its_boot_is_no_alarm_and_a_stranger_is() {
    let (_dir, store) = store(Mode::Declared).await;
    let (id, epoch) = talos_leg(&store).await;
    let (own, thief): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 66].into());
    store.fact(&id, epoch, Fact::IpxeOffered).await.unwrap();
    let token = store.mint(&id, epoch, own).await.unwrap().unwrap();
    enter(&store, &id, Phase::Available).await;
    assert_eq!(
        store.redeem(&token, own).await.unwrap(),
        Err(Refusal::Ended)
    );
    assert_eq!(alarms(&store, &id).await, Vec::<String>::new());
    let text = store.timeline(&id, 0).await.unwrap().pop().unwrap().text;
    assert_eq!(text, "10.0.0.1 was told that its boot is over");
    // From elsewhere, or never issued.
    assert_eq!(
        store.redeem(&token, thief).await.unwrap(),
        Err(Refusal::BadToken)
    );
    assert_eq!(alarms(&store, &id).await.len(), 1);
    assert_eq!(
        store.redeem("nonsense", own).await.unwrap(),
        Err(Refusal::BadToken)
    );
    assert_eq!(alarms(&store, &id).await.len(), 2);
}

#[tokio::test]
async fn a_token_of_a_contested_boot_stays_an_alarm() {
    let (_dir, store) = store(Mode::Declared).await;
    let (id, epoch) = talos_leg(&store).await;
    let (own, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 66].into());
    store.fact(&id, epoch, Fact::IpxeOffered).await.unwrap();
    let token = store.mint(&id, epoch, own).await.unwrap().unwrap();
    assert!(store.mint(&id, epoch, other).await.unwrap().is_err());
    let again = Phase::Installing(ClaimId("lab/cp".into()));
    store
        .commit(&id, epoch, again, &Reason::SecondRequester)
        .await
        .unwrap();
    let before = alarms(&store, &id).await.len();
    assert_eq!(
        store.redeem(&token, own).await.unwrap(),
        Err(Refusal::BadToken)
    );
    assert_eq!(alarms(&store, &id).await.len(), before + 1);
}

#[tokio::test]
async fn a_machine_that_rests_in_the_agent_keeps_its_token() {
    let (_dir, store) = store(Mode::Declared).await;
    let id = declare(&store, "b1").await;
    let epoch = enter(&store, &id, Phase::Inspecting).await;
    let own: IpAddr = [10, 0, 0, 1].into();
    let action = Action::Boot(Leg::Agent, How::Start);
    store
        .record(&id, epoch, &action, &Reason::HandOver)
        .await
        .unwrap();
    store.fact(&id, epoch, Fact::IpxeOffered).await.unwrap();
    let token = store.mint(&id, epoch, own).await.unwrap().unwrap();
    store
        .change(&id, |r, _| {
            r.machine.idle = bootd_core::lifecycle::Idle::Hold
        })
        .await
        .unwrap();
    enter(&store, &id, Phase::Available).await;
    let owner = store.redeem(&token, own).await.unwrap().unwrap();
    assert!(store.agent_order(&owner, 0).await.unwrap().is_none());
    enter(&store, &id, Phase::Inspecting).await;
    assert_eq!(
        store.redeem(&token, own).await.unwrap(),
        Err(Refusal::Ended)
    );
}
