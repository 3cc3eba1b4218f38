//! How things end, and how long they last: forgetting, wipes that failed, credentials.

use bootd_core::lifecycle::{Action, Decision, Goal, Step};
use pb::watch_request::Subject;

use super::*;

fn delete(name: &str) -> pb::DeleteServerRequest {
    pb::DeleteServerRequest {
        name: name.into(),
        force: false,
    }
}

fn by_force(name: &str) -> pb::DeleteServerRequest {
    pb::DeleteServerRequest {
        force: true,
        ..delete(name)
    }
}

/// Brings a box into a phase as the reconciler does.
async fn enter(bench: &Bench, name: &str, phase: Phase, reason: Reason) {
    let id = machine(name);
    let epoch = bench.store.machine(&id).await.unwrap().unwrap();
    let epoch = epoch.machine.epoch;
    let done = bench.store.commit(&id, epoch, phase, &reason).await;
    assert!(done.unwrap());
}

/// A claimed box whose wipe failed.
async fn wipe_fails(bench: &Bench, name: &str, phase: Phase) {
    let mut admin = bench.client("admin").await;
    class(&mut admin, 8).await;
    admin.put_claim(put(claim("lab/cp"), name)).await.unwrap();
    admin.release_claim(named("lab/cp")).await.unwrap();
    enter(bench, name, Phase::Wiping, Reason::WipeAgain).await;
    enter(bench, name, phase, Reason::NotBlank).await;
}

async fn last_word(admin: &mut MetalClient<Channel>, subject: Subject) -> pb::Progress {
    let request = pb::WatchRequest {
        subject: Some(subject),
    };
    let mut watch = admin.watch(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(progress) = watch.message().await.unwrap() {
        last = Some(progress);
    }
    last.unwrap()
}

async fn story(admin: &mut MetalClient<Channel>, server: &str) -> Vec<pb::TimelineEvent> {
    let request = pb::TimelineRequest {
        server: server.into(),
        ..Default::default()
    };
    let mut lines = admin.timeline(request).await.unwrap().into_inner();
    let mut all = Vec::new();
    while let Some(line) = lines.message().await.unwrap() {
        all.push(line);
    }
    all
}

#[tokio::test]
async fn a_dead_box_is_forgotten_by_force_only_and_its_story_stays() {
    let bench = Bench::new().await;
    bench.free_box("b1", "52:54:00:00:00:01", 16, true).await;
    let mut admin = bench.client("admin").await;
    class(&mut admin, 8).await;
    admin.put_claim(put(claim("lab/cp"), "")).await.unwrap();
    for request in [delete("b1"), by_force("b1")] {
        let claimed = admin.delete_server(request).await.unwrap_err();
        assert_eq!(detail(&claimed).reason, "server-claimed");
    }
    admin.release_claim(named("lab/cp")).await.unwrap();
    enter(&bench, "b1", Phase::Wiping, Reason::WipeAgain).await;
    let wiping = admin.delete_server(by_force("b1")).await.unwrap_err();
    assert_eq!(detail(&wiping).reason, "server-claimed");
    enter(&bench, "b1", Phase::Failed(Step::Wipe), Reason::NotBlank).await;
    let refused = admin.delete_server(delete("b1")).await.unwrap_err();
    let told = detail(&refused);
    assert_eq!(told.reason, "server-not-wiped");
    assert!(told.hint.contains("metalctl forget b1 --force"), "{told:?}");

    admin.delete_server(by_force("b1")).await.unwrap();
    assert!(bench.store.machines().await.unwrap().is_empty());
    assert!(bench.store.claims().await.unwrap().is_empty());
    let after = story(&mut admin, "b1").await;
    let last = after.last().unwrap();
    assert!(
        last.alarm && last.text.contains("forgotten by force"),
        "{last:?}"
    );
    let gone = last_word(&mut admin, Subject::ServerForgotten("b1".into())).await;
    assert!(
        gone.remarks[0]
            .what
            .as_ref()
            .unwrap()
            .detail
            .contains("by force")
    );

    // Declared again, its story goes on; forgotten in order, nothing is left.
    let again = server("b1", "52:54:00:00:00:01", true);
    admin.put_server(again).await.unwrap();
    let story = story(&mut admin, "b1").await;
    assert!(story.len() > after.len(), "{story:?}");
    admin.delete_server(delete("b1")).await.unwrap();
    let none = admin.timeline(pb::TimelineRequest {
        server: "b1".into(),
        ..Default::default()
    });
    assert_eq!(none.await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_met_box_that_gets_a_forgotten_name_keeps_both_stories() {
    use crate::net::{Asker, Desk as _};
    let bench = Bench::new().await;
    let mut admin = bench.client("admin").await;
    bench.free_box("b1", "52:54:00:00:00:01", 16, true).await;
    admin.delete_server(by_force("b1")).await.unwrap();
    let before = story(&mut admin, "b1").await.len();
    let minute = std::time::Duration::from_secs(60);
    bench.store.registration().open(now(), minute).unwrap();
    let asker = Asker {
        mac: Some("52:54:00:00:00:01".parse().unwrap()),
        from: Some([10, 0, 0, 1].into()),
        ..Asker::default()
    };
    bench.store.netboot(&asker).await.unwrap();
    let met = story(&mut admin, "m-525400000001").await.len();
    assert!(before > 0 && met > 0);
    let named = server("b1", "52:54:00:00:00:01", true);
    admin.put_server(named).await.unwrap();
    let both = story(&mut admin, "b1").await;
    assert!(both.len() > before + met, "{both:?}");
    assert!(both.is_sorted_by_key(|l| l.seq), "{both:?}");
}

#[tokio::test]
async fn on_wipe_failure_quarantine_frees_the_name_and_fail_keeps_it() {
    let bench = Bench::new().await;
    bench.free_box("b1", "52:54:00:00:00:01", 16, true).await;
    bench.free_box("b2", "52:54:00:00:00:02", 16, true).await;
    let mut admin = bench.client("admin").await;
    wipe_fails(&bench, "b1", Phase::Quarantined(Step::Wipe)).await;
    let released = Subject::ClaimReleased("lab/cp".into());
    let word = last_word(&mut admin, released.clone()).await;
    assert!(
        matches!(word.outcome, Some(pb::progress::Outcome::Done(_))),
        "{word:?}"
    );
    let warning = word.remarks[0].what.clone().unwrap();
    assert_eq!(warning.summary, "Server is quarantined");
    assert!(warning.hint.contains("metalctl retry b1"), "{warning:?}");
    let gone = admin.read_claim(named("lab/cp")).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    // The slot is filled again, with another box; the quarantined one says so.
    let again = admin.put_claim(put(claim("lab/cp"), "")).await.unwrap();
    assert_eq!(again.into_inner().server_id, "b2");
    let refused = admin.put_claim(put(claim("x/y"), "")).await.unwrap_err();
    assert!(
        detail(&refused).detail.contains("quarantined"),
        "{refused:?}"
    );

    // The same with `fail`: the claim is still there, and its deletion may be repeated.
    admin.release_claim(named("lab/cp")).await.unwrap();
    enter(&bench, "b2", Phase::Wiping, Reason::WipeAgain).await;
    enter(&bench, "b2", Phase::Failed(Step::Wipe), Reason::NotBlank).await;
    let word = last_word(&mut admin, released).await;
    assert!(
        matches!(word.outcome, Some(pb::progress::Outcome::Failed(_))),
        "{word:?}"
    );
    admin.read_claim(named("lab/cp")).await.unwrap();
}

#[tokio::test]
async fn a_failed_step_is_tried_again_on_request() {
    let bench = Bench::new().await;
    bench.free_box("b1", "52:54:00:00:00:01", 16, true).await;
    let mut admin = bench.client("admin").await;
    let retry = || pb::RetryServerRequest {
        name: "b1".into(),
        confirm_bmc: false,
    };
    let nothing = admin.retry_server(retry()).await.unwrap_err();
    assert_eq!(detail(&nothing).reason, "nothing-to-retry");
    wipe_fails(&bench, "b1", Phase::Quarantined(Step::Wipe)).await;
    let next = async || {
        let record = bench.store.machine(&machine("b1")).await.unwrap().unwrap();
        let long = Timestamp(record.machine.since.0 + 1000);
        bootd_core::lifecycle::decide(&record.machine, long, &Default::default())
    };
    assert!(matches!(next().await, Decision::Rest(..)));
    admin.retry_server(retry()).await.unwrap();
    assert_eq!(
        next().await,
        Decision::Enter(Phase::Wiping, Reason::WipeAgain)
    );
}

#[tokio::test]
async fn a_server_with_on_destroy_power_off_is_turned_off_first() {
    let bench = Bench::new().await;
    let mut admin = bench.client("admin").await;
    let mut words = server("b1", "52:54:00:00:00:01", true);
    if let Some(config) = &mut words.config {
        config.on_destroy = pb::OnDestroy::PowerOff.into();
        config.bmc = Some(pb::Bmc {
            address: "127.0.0.1".into(),
            protocol: pb::BmcProtocol::Ipmi.into(),
            ..Default::default()
        });
    }
    admin.put_server(words).await.unwrap();
    enter(&bench, "b1", Phase::Available, Reason::Inspected).await;
    admin.delete_server(delete("b1")).await.unwrap();
    let m = bench.store.machine(&machine("b1")).await.unwrap().unwrap();
    let m = m.machine;
    assert_eq!(m.goal, Goal::Retire);
    let decision = bootd_core::lifecycle::decide(&m, m.goal_at, &Default::default());
    assert_eq!(
        decision,
        Decision::Work(vec![Action::PowerOff], Reason::PoweringOff)
    );
}

#[tokio::test]
async fn credentials_last_as_long_as_they_are_asked_for() {
    let bench = Bench::new().await;
    let mut admin = bench.client("admin").await;
    let secrets = pb::SecretsConfig {
        name: "lab".into(),
        talos_version: "v1.13.9".into(),
        deletion_protection: false,
    };
    admin.put_secrets(secrets).await.unwrap();
    let facts = pb::ClusterFacts {
        name: "lab".into(),
        secrets_id: "lab".into(),
        endpoint: "https://10.0.0.10:6443".into(),
        kubernetes_version: "v1.36.3".into(),
        ..Default::default()
    };
    let cluster = pb::ClusterConfig {
        facts: Some(facts),
        ..Default::default()
    };
    admin.put_cluster(cluster).await.unwrap();
    let life = async |ttl: Option<u64>| {
        let request = pb::CredentialRequest {
            cluster: "lab".into(),
            ttl: ttl.map(|s| prost_types::Duration {
                seconds: i64::try_from(s).unwrap(),
                nanos: 0,
            }),
            ..Default::default()
        };
        let yaml = admin.clone().kubeconfig(request).await.unwrap();
        let yaml = yaml.into_inner().yaml;
        let field = "client-certificate-data: ";
        let line = yaml.lines().find_map(|l| l.trim().strip_prefix(field));
        use base64::Engine as _;
        let pem = base64::engine::general_purpose::STANDARD.decode(line.unwrap());
        let pem = x509_parser::pem::parse_x509_pem(&pem.unwrap()).unwrap().1;
        let certificate = pem.parse_x509().unwrap();
        let end = certificate.validity().not_after.timestamp();
        u64::try_from(end).unwrap() - now().0 / 1000
    };
    let near = |have: u64, want: u64| have <= want && have + 120 > want;
    let hour = life(Some(3600)).await;
    assert!(near(hour, 3600), "{hour}");
    let default = life(None).await;
    assert!(near(default, 24 * 3600), "{default}");
    let most = life(Some(10 * 365 * 24 * 3600)).await;
    assert!(near(most, 365 * 24 * 3600), "{most}");
}

#[tokio::test]
async fn an_image_may_get_another_name() {
    let bench = Bench::new().await;
    let mut admin = bench.client("admin").await;
    let image = |name: &str| pb::ImageConfig {
        name: name.into(),
        talos_version: "v1.13.9".into(),
        arch: "amd64".into(),
        ..Default::default()
    };
    let made = admin.put_image(image("old")).await.unwrap().into_inner();
    let renamed = admin.put_image(image("new")).await.unwrap().into_inner();
    assert_eq!(made.id, renamed.id);
    let read = admin.read_image(named(&made.id)).await.unwrap();
    assert_eq!(read.into_inner().config.unwrap().name, "new");
}
