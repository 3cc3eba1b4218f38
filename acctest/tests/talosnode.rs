//! The simulated Talos node against what was recorded on a real one: answers of the API, order of events, members.
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]
#![allow(clippy::too_many_lines, reason = "a story is told in one piece")]

mod rack_double;

use std::time::Duration;

use acctest::rack::content;
use bytes::{Buf, BufMut, Bytes};
use metal_proto::talos::cosi::resource as cosi;
use metal_proto::talos::machine as m;
use metal_proto::talos::machine::machine_service_client::MachineServiceClient;
use rack_double::{Cluster, Double, channel, connected, insecure, rack, serve_talos};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const ONE: &str = "[[server]]\nname = \"node-a\"\n";
const MAINTENANCE: &str = include_str!("../data/talos-node/maintenance.txt");
const RECORDED_BOOT: &str = include_str!("../data/talos-node/boot-events.txt");
const ADMIN: &str = include_str!("../data/talos-node/controlplane-admin.txt");

/// Bytes in, bytes out: for methods whose messages we have not defined.
#[derive(Default, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Calls every method of a recording with an empty request; same code, same text.
async fn same_answers(channel: Channel, recording: &str) {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for line in recording.lines() {
        let (path, rest) = line.split_once(char::is_whitespace).unwrap();
        let rest = rest.trim_start();
        if rest.starts_with("SKIPPED") {
            continue;
        }
        let rest = rest.strip_prefix("(stream) ").unwrap_or(rest);
        let (want, is_end) = match rest
            .split_once(' ')
            .map_or((rest, ""), |(_, text)| ("", text))
            .1
        {
            "" => (rest, false),
            text if text.starts_with("OK ") => ("OK", false),
            text if text.starts_with("(stream EOF") => ("OK", true),
            text => (text, false),
        };
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let mut request = Request::new(futures::stream::once(async { Bytes::new() }));
        request.set_timeout(Duration::from_secs(5));
        let path = http::uri::PathAndQuery::try_from(path).unwrap();
        let answer = match client.streaming(request, path.clone(), Raw).await {
            Ok(stream) => stream.into_inner().message().await,
            Err(status) => Err(status),
        };
        let got = match &answer {
            Ok(Some(_)) if !is_end => "OK".to_owned(),
            Ok(None) if is_end => "OK".to_owned(),
            Ok(_) => "OK with another number of messages".to_owned(),
            Err(status) => format!("{:?}: {}", status.code(), status.message()),
        };
        compared += 1;
        if got.trim_end() != want.trim_end() {
            wrong.push(format!("{path}\n  real: {want}\n  ours: {got}"));
        }
    }
    assert!(compared > 40, "{compared}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maintenance_answers_and_takes_a_config() {
    let (dir, double) = (tempfile::tempdir().unwrap(), Double::start().await);
    serve_talos(&double, "");
    let rack = rack(dir.path(), ONE, &double).await;
    let machine = rack.machine("node-a").unwrap();
    machine.turn_on(acctest::bmc::BootFlags::NONE);
    let channel = connected(machine, &insecure()).await;
    same_answers(channel.clone(), MAINTENANCE).await;

    let cluster = Cluster::new();
    let mut client = MachineServiceClient::new(channel);
    let mut apply = async |text: String| {
        let request = m::ApplyConfigurationRequest {
            data: text.into_bytes(),
            mode: m::apply_configuration_request::Mode::Auto.into(),
            ..Default::default()
        };
        client.apply_configuration(request).await
    };
    let no_disk = cluster.config("controlplane", "a", "wipe: false", &double);
    let refused = apply(no_disk).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused
            .message()
            .contains("either install disk or diskSelector should be defined"),
        "{refused}"
    );
    let good = cluster.config("controlplane", "node-a", "disk: /dev/nvme0n1", &double);
    let answer = apply(good).await.unwrap().into_inner();
    assert_eq!(
        answer.messages[0].mode_details,
        "Applied configuration without a reboot"
    );

    // The same machine, installed and started from its disk: mutual TLS.
    let admin = cluster.admin();
    double
        .wait(machine, "boot", |_| {
            (machine.status().seen.counts.talos_disk_boots == 1).then_some(())
        })
        .await;
    let mut client = MachineServiceClient::new(connected(machine, &admin).await);
    let version = client.version(()).await.unwrap().into_inner();
    assert_eq!(version.messages[0].version.as_ref().unwrap().tag, "v1.13.9");
    rack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_from_netboot_to_bootstrap() {
    let (dir, double) = (tempfile::tempdir().unwrap(), Double::start().await);
    let cluster = Cluster::new();
    serve_talos(
        &double,
        &format!(
            "talos.config=http://{}/config?m=${{net0/mac}} x.boot=nonce1",
            double.http
        ),
    );
    double.file(
        "/config",
        cluster.config(
            "controlplane",
            "node-a",
            "diskSelector: {type: nvme, size: '>= 100GB'}",
            &double,
        ),
    );
    let rack = rack(dir.path(), ONE, &double).await;
    let machine = rack.machine("node-a").unwrap();
    machine.turn_on(acctest::bmc::BootFlags::NONE);

    let installed = |seen: &rack_double::Seen| {
        let lines: Vec<String> = seen.events.iter().map(rack_double::event_line).collect();
        let start = lines.windows(3).position(|w| {
            w == [
                "SequenceEvent install START",
                "SequenceEvent install STOP",
                "SequenceEvent boot START",
            ]
        });
        start.map(|at| (at, lines))
    };
    let (_, lines) = double.wait(machine, "an installed boot", installed).await;
    let at = |line: &str| {
        lines
            .iter()
            .position(|l| l == line)
            .unwrap_or_else(|| panic!("{line} is missing:\n{}", lines.join("\n")))
    };
    assert_eq!(at("SequenceEvent initialize START"), 0);
    let order = [
        "PhaseEvent config START",
        "TaskEvent loadConfig START",
        "TaskEvent loadConfig STOP",
        "SequenceEvent initialize STOP",
        "SequenceEvent install START",
        "TaskEvent install START",
        "MachineStatusEvent INSTALLING ready: true",
        "TaskEvent install STOP",
        "MachineStatusEvent REBOOTING ready: true",
    ];
    assert!(
        order.windows(2).all(|pair| at(pair[0]) < at(pair[1])),
        "{}",
        lines.join("\n")
    );

    // Fetched once, with Go's headers and nothing else.
    let requests = double.seen.lock().unwrap().requests.clone();
    let fetches: Vec<_> = requests
        .iter()
        .filter(|r| r.starts_with("/config?"))
        .collect();
    assert_eq!(fetches.len(), 1);
    let mac = machine.plan.mac_text();
    assert_eq!(
        *fetches[0],
        format!(
            "/config?m={mac}\nhost: {}\nuser-agent: Go-http-client/1.1\naccept-encoding: gzip\nconnection: close",
            double.http
        )
    );
    // Both boots show their command line; only the netboot has the marker.
    let command_lines = |seen: &rack_double::Seen| {
        let lines: Vec<String> = seen
            .kernel
            .iter()
            .filter_map(|l| l["msg"].as_str())
            .filter(|l| l.starts_with("Command line:"))
            .map(str::to_owned)
            .collect();
        (lines.len() >= 2).then_some(lines)
    };
    let command_lines = double
        .wait(machine, "two command lines", command_lines)
        .await;
    assert!(
        command_lines[0].contains("x.boot=nonce1")
            && !command_lines.last().unwrap().contains("x.boot"),
        "{command_lines:?}"
    );

    let started = |seen: &rack_double::Seen| {
        let lines: Vec<String> = seen.events.iter().map(rack_double::event_line).collect();
        let last = "TaskEvent startAllServices START";
        lines.iter().any(|l| l == last).then_some(lines)
    };
    same_boot(&double.wait(machine, "the services", started).await);
    bootstrap_and_read(machine, &cluster, &double).await;
    same_answers(connected(machine, &cluster.admin()).await, ADMIN).await;
    counter_runs(&double);
    rack.stop().await;
}

/// Sequences, phases and tasks of the installed boot, in the order of the recording.
fn same_boot(lines: &[String]) {
    let steps = |lines: &mut dyn Iterator<Item = String>| -> Vec<String> {
        let is_step = |l: &String| {
            ["SequenceEvent ", "PhaseEvent ", "TaskEvent "]
                .iter()
                .any(|kind| l.starts_with(kind))
        };
        let mut steps: Vec<String> = lines.filter(is_step).collect();
        let last = steps
            .iter()
            .position(|l| l == "TaskEvent startAllServices START");
        steps.truncate(last.map_or(steps.len(), |at| at + 1));
        steps
    };
    let recorded = steps(&mut RECORDED_BOOT.lines().map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().skip(1).collect();
        words.join(" ")
    }));
    let start = lines
        .iter()
        .rposition(|l| l == "SequenceEvent initialize START")
        .unwrap();
    let ours = steps(&mut lines[start..].iter().cloned());
    assert_eq!(ours, recorded);
}

/// Bootstrap works once, the trap of a second call included; then the node is ready.
async fn bootstrap_and_read(
    machine: &acctest::rack::machine::Machine,
    cluster: &Cluster,
    double: &Double,
) {
    let channel = connected(machine, &cluster.admin()).await;
    let mut client = MachineServiceClient::new(channel.clone());
    let mut hanging = Request::new(m::EtcdMemberListRequest::default());
    hanging.set_timeout(Duration::from_millis(10));
    assert!(
        client.etcd_member_list(hanging).await.is_err(),
        "hangs to the deadline"
    );
    for _ in 0..2000 {
        match client.bootstrap(m::BootstrapRequest::default()).await {
            Ok(_) => break,
            Err(status) => {
                assert_eq!(status.message(), "bootstrap is not available yet");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    client
        .bootstrap(m::BootstrapRequest::default())
        .await
        .expect("a second call before etcd has data is accepted, alas");
    assert_eq!(machine.status().seen.counts.bootstraps, 2);
    let members = client
        .etcd_member_list(m::EtcdMemberListRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(members.messages[0].members[0].hostname, "node-a");
    let again = client
        .bootstrap(m::BootstrapRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        (again.code(), again.message()),
        (Code::AlreadyExists, "etcd data directory is not empty")
    );
    double
        .wait(machine, "readiness", |seen| {
            seen.events
                .iter()
                .map(rack_double::event_line)
                .find(|l| l == "MachineStatusEvent RUNNING ready: true")
        })
        .await;

    let mut state = cosi::state_client::StateClient::new(channel);
    let get = cosi::GetRequest {
        namespace: "runtime".to_owned(),
        r#type: "MachineStatuses.runtime.talos.dev".to_owned(),
        id: "machine".to_owned(),
        options: None,
    };
    let status = state
        .get(get.clone())
        .await
        .unwrap()
        .into_inner()
        .resource
        .unwrap();
    assert_eq!(
        status.spec.unwrap().yaml_spec,
        "stage: running\nstatus:\n    ready: true\n    unmetConditions: []\n"
    );
    let missing = state
        .get(cosi::GetRequest {
            id: "nosuchid".to_owned(),
            ..get
        })
        .await
        .unwrap_err();
    assert_eq!(
        missing.message(),
        "resource MachineStatuses.runtime.talos.dev(runtime/nosuchid@undefined) doesn't exist"
    );
    let watch = cosi::WatchRequest {
        namespace: "cluster".to_owned(),
        r#type: "Members.cluster.talos.dev".to_owned(),
        options: Some(cosi::WatchOptions {
            bootstrap_contents: true,
            ..Default::default()
        }),
        api_version: 1,
        ..Default::default()
    };
    let mut events = state.watch(watch).await.unwrap().into_inner();
    assert!(
        events.message().await.unwrap().unwrap().event.is_empty(),
        "the first message is empty"
    );
    let member = events.message().await.unwrap().unwrap().event.remove(0);
    assert!(
        member
            .resource
            .unwrap()
            .spec
            .unwrap()
            .yaml_spec
            .contains("machineType: controlplane")
    );
    assert_eq!(
        events.message().await.unwrap().unwrap().event[0].event_type(),
        cosi::EventType::Bootstrapped
    );

    let mut archive = client.kubeconfig(()).await.unwrap().into_inner();
    let mut packed = Vec::new();
    while let Some(chunk) = archive.message().await.unwrap() {
        packed.extend(chunk.bytes);
    }
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
    let entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.path().unwrap().to_str(), Some("kubeconfig"));
}

/// Ids: the same machine bytes in both boots, a counter that grows by one within a boot and jumps between them.
fn counter_runs(double: &Double) {
    let events = double.seen.lock().unwrap().events.clone();
    let machine: Vec<String> = events.iter().map(|e| e.id[7..11].to_owned()).collect();
    assert!(
        machine.windows(2).all(|pair| pair[0] == pair[1]),
        "{machine:?}"
    );
    let starts: Vec<usize> = events
        .iter()
        .enumerate()
        .filter(|(_, e)| rack_double::event_line(e) == "SequenceEvent initialize START")
        .map(|(n, _)| n)
        .collect();
    assert_eq!(starts.len(), 2, "one run per boot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_come_in() {
    let (dir, double) = (tempfile::tempdir().unwrap(), Double::start().await);
    let (cluster, other) = (Cluster::new(), Cluster::new());
    serve_talos(
        &double,
        &format!("talos.config=http://{}/config", double.http),
    );
    double.file(
        "/config",
        cluster.config("controlplane", "node-a", "disk: /dev/nvme0n1", &double),
    );
    let rack = rack(dir.path(), ONE, &double).await;
    let machine = rack.machine("node-a").unwrap();
    machine.turn_on(acctest::bmc::BootFlags::NONE);
    double
        .wait(machine, "boot", |_| {
            (machine.status().seen.counts.talos_disk_boots == 1).then_some(())
        })
        .await;
    let client_auth = rcgen::ExtendedKeyUsagePurpose::ClientAuth;
    connected(machine, &cluster.admin()).await;

    let mut reader = MachineServiceClient::new(
        connected(
            machine,
            &cluster.client(&["os:reader"], std::slice::from_ref(&client_auth)),
        )
        .await,
    );
    reader.version(()).await.unwrap();
    let refused = reader
        .reboot(m::RebootRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::PermissionDenied, "not authorized")
    );

    // TLS 1.3: a client learns at its first call that it is not wanted.
    let both = [
        client_auth.clone(),
        rcgen::ExtendedKeyUsagePurpose::ServerAuth,
    ];
    for tls in [
        cluster.client(&["os:admin"], &both),
        cluster.client(&["os:admin"], &[]),
        other_client(&cluster, &other),
    ] {
        let called = match channel(machine, tls).await {
            Ok(channel) => MachineServiceClient::new(channel)
                .version(())
                .await
                .map(drop)
                .map_err(|s| s.to_string()),
            Err(why) => Err(why),
        };
        assert!(called.is_err());
    }
    rack.stop().await;
}

/// Trusts the right CA and shows a certificate of another one.
fn other_client(right: &Cluster, other: &Cluster) -> rustls::ClientConfig {
    let mut config = right.admin();
    config.client_auth_cert_resolver = other.admin().client_auth_cert_resolver;
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_shut_until_a_control_plane_runs() {
    let (dir, double) = (tempfile::tempdir().unwrap(), Double::start().await);
    let cluster = Cluster::new();
    let script = |kind: &str| format!("talos.config=http://{}/{kind}", double.http);
    double.file(
        "/worker",
        cluster.config("worker", "w", "disk: /dev/nvme0n1", &double),
    );
    double.file(
        "/cp",
        cluster.config("controlplane", "c", "disk: /dev/nvme0n1", &double),
    );
    let rack = rack(dir.path(), "[[server]]\nname = \"n\"\ncount = 2\n", &double).await;
    let (worker, control_plane) = (rack.machine("n1").unwrap(), rack.machine("n2").unwrap());
    serve_talos(&double, &script("worker"));
    worker.turn_on(acctest::bmc::BootFlags::NONE);
    double
        .wait(worker, "kubelet waits", |seen| {
            seen.events
                .iter()
                .map(rack_double::event_line)
                .find(|l| l == "ServiceStateEvent kubelet PREPARING: Running pre state")
        })
        .await;
    double
        .wait(worker, "the worker waits", |_| {
            worker
                .status()
                .seen
                .detail
                .contains("apid not running")
                .then_some(())
        })
        .await;
    let shut = channel(worker, cluster.admin()).await.unwrap_err();
    assert!(shut.contains("refused"), "{shut}");

    serve_talos(&double, &script("cp"));
    control_plane.turn_on(acctest::bmc::BootFlags::NONE);
    let mut client = MachineServiceClient::new(connected(worker, &cluster.admin()).await);
    assert_eq!(
        client.hostname(()).await.unwrap().into_inner().messages[0].hostname,
        "w"
    );
    let refused = client.kubeconfig(()).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (
            Code::Unimplemented,
            "kubeconfig is only available on control plane nodes"
        )
    );
    let mut first = MachineServiceClient::new(connected(control_plane, &cluster.admin()).await);
    let boot_id = read(&mut first, "/proc/sys/kernel/random/boot_id").await;
    while first
        .bootstrap(m::BootstrapRequest::default())
        .await
        .is_err()
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    double
        .wait(worker, "the worker runs", |_| {
            (worker.status().seen.detail == "running").then_some(())
        })
        .await;
    double
        .wait(control_plane, "the control plane runs", |_| {
            (control_plane.status().seen.detail == "running").then_some(())
        })
        .await;

    // A reboot keeps etcd's data and changes the boot id.
    first.reboot(m::RebootRequest::default()).await.unwrap();
    double
        .wait(control_plane, "the restart", |_| {
            (control_plane.status().seen.counts.talos_disk_boots == 2).then_some(())
        })
        .await;
    let mut client = MachineServiceClient::new(connected(control_plane, &cluster.admin()).await);
    assert_ne!(
        read(&mut client, "/proc/sys/kernel/random/boot_id").await,
        boot_id
    );
    client
        .etcd_member_list(m::EtcdMemberListRequest::default())
        .await
        .unwrap();
    assert_eq!(control_plane.status().seen.counts.bootstraps, 1);

    // A reset of the whole disk gives it back.
    client.reset(m::ResetRequest::default()).await.unwrap();
    double
        .wait(control_plane, "off", |_| {
            (control_plane.status().power == "off").then_some(())
        })
        .await;
    assert!(
        content::look(&control_plane.plan.disks[0].path)
            .unwrap()
            .zero
    );
    rack.stop().await;
}

async fn read(client: &mut MachineServiceClient<Channel>, path: &str) -> Vec<u8> {
    let mut stream = client
        .read(m::ReadRequest {
            path: path.to_owned(),
        })
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap().unwrap().bytes
}
