//! Scripts, assets, configs and the agent's calls over real HTTP and HTTPS.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bootd::net::Refusal;
use metal_proto::metal::v1::agent_order::What;
use metal_proto::metal::v1::{AgentOrder, AgentReport, AgentResult};
use prost::Message as _;
use reqwest::{Client, StatusCode};
use sha2::{Digest as _, Sha256};

use super::fixture::{Kernel, NO_FACTORY, Site, Store, TOKEN, local, power_off, talos};
use super::images::Factory;

const SCRIPT: &str =
    "/boot/script?mac=52:54:00:77:00:02&uuid=00112233-4455-6677-8899-AABBCCDDEEFF&serial=S1";

/// The script with everything that differs between runs replaced.
async fn script(site: &Site) -> String {
    let response = site.client().get(site.http(SCRIPT)).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let text = response.text().await.unwrap();
    let bound = &site.bound;
    let mut out = Vec::new();
    for line in text.lines() {
        let words = line.split(' ').map(|word| {
            let parts = word.split('/').map(|part| match part.len() {
                64 => "DIGEST".to_owned(),
                _ => part.to_owned(),
            });
            let word = parts.collect::<Vec<_>>().join("/");
            match word.split_once("early=") {
                Some((key, _)) => format!("{key}early=EARLY"),
                None => word
                    .replace(&bound.https.port().to_string(), "HTTPS")
                    .replace(&bound.http.port().to_string(), "HTTP")
                    .replace(&bound.events.port().to_string(), "EVENTS")
                    .replace(&bound.kernel_log.port().to_string(), "LOG"),
            }
        });
        out.push(words.collect::<Vec<_>>().join(" "));
    }
    out.join("\n")
}

#[tokio::test]
async fn scripts() {
    let factory = Factory::start().await;
    let site = Site::with_factory(&factory.url).await;
    insta::assert_snapshot!("agent", script(&site).await);
    let asked = site.desk.told("asked").await;
    insta::assert_snapshot!(asked, @r#"asked Asker { mac: Some(52:54:00:77:00:02), uuid: Some("00112233-4455-6677-8899-aabbccddeeff"), serial: Some("S1"), from: Some(127.0.0.1) }"#);
    site.desk
        .told("fact r1-u1/7 ScriptServed { what: Agent, from: 127.0.0.1 }")
        .await;

    site.desk.set(|s| s.netboot = talos(&factory.image()));
    insta::assert_snapshot!("talos", script(&site).await);
    site.desk
        .told("fact r1-u1/7 ScriptServed { what: Talos, from: 127.0.0.1 }")
        .await;

    site.desk.set(|s| s.netboot = local());
    insta::assert_snapshot!(script(&site).await, @r"
    #!ipxe
    # r1-u1, epoch 7: boots its own disk
    exit 1
    ");
    site.desk
        .told("fact r1-u1/7 ScriptServed { what: Local, from: 127.0.0.1 }")
        .await;
    site.stop().await;
}

#[tokio::test]
async fn refusals_say_why_and_leave_to_the_disk() {
    let factory = Factory::start().await;
    let site = Site::with_factory(&factory.url).await;
    site.desk.set(|s| s.mint = Err(Refusal::SecondRequester));
    insta::assert_snapshot!(script(&site).await, @r"
    #!ipxe
    # r1-u1: 127.0.0.1 asked for the boot script: another address already holds this boot's token
    exit 1
    ");
    let note = site.desk.told("ALARM").await;
    insta::assert_snapshot!(note, @"note r1-u1 http ALARM: boot script refused: 127.0.0.1 asked for the boot script: another address already holds this boot's token");
    // The store is down: the disk, never an installer.
    site.desk.set(|s| s.store = Store::Down);
    insta::assert_snapshot!(script(&site).await, @r"
    #!ipxe
    # bootd cannot read its store now
    exit 1
    ");
    site.desk.set(|s| {
        s.store = Store::Up;
        s.mint = Ok(());
        s.netboot = talos("nonsense");
    });
    insta::assert_snapshot!(script(&site).await, @r#"
    #!ipxe
    # r1-u1: image nonsense is not there: image "nonsense": want SCHEMATIC/VERSION/ARCH: want SCHEMATIC/VERSION/ARCH
    exit 1
    "#);
    assert!(!site.desk.all().iter().any(|t| t.contains("ScriptServed")));
    assert!(!site.desk.all().iter().any(|t| t.contains(TOKEN)));
    site.stop().await;
}

/// URLs of kernel and initrd in the agent's script.
async fn agent_urls(site: &Site) -> (String, String) {
    let text = site
        .client()
        .get(site.http(SCRIPT))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let url = |command: &str| {
        let line = text.lines().find(|l| l.starts_with(command)).unwrap();
        line.split(' ').nth(1).unwrap().to_owned()
    };
    (url("kernel "), url("initrd "))
}

#[tokio::test]
async fn the_agents_initrd() {
    let site = Site::start().await;
    let (_, initrd) = agent_urls(&site).await;
    let client = site.client();
    let body = client
        .get(&initrd)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let digest = initrd.split('/').nth(4).unwrap();
    let found: String = Sha256::digest(&body)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(found, digest);
    // Agent (padded), modules (padded), then an archive with our CA.
    assert_eq!(&body[500_000..500_005], [0xbb, 0, 0, 0, 0xcc]);
    assert_eq!(&body[504_008..504_014], b"070701");
    let text = String::from_utf8_lossy(&body[504_008..]);
    assert!(text.contains(&site.ca_pem), "the agent pins our CA");
    site.desk
        .told("fact r1-u1/7 InitrdServed { what: Agent }")
        .await;
    site.stop().await;
}

#[tokio::test]
async fn parts_of_an_asset() {
    let site = Site::start().await;
    let (kernel, _) = agent_urls(&site).await;
    let client = site.client();
    let check = async |range: &str, want: (u16, usize, &str)| {
        let response = client
            .get(&kernel)
            .header("range", range)
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        let of = response
            .headers()
            .get("content-range")
            .map(|v| v.to_str().unwrap().to_owned());
        let length = response.bytes().await.unwrap().len();
        assert_eq!(
            (status, length, of.as_deref().unwrap_or("")),
            want,
            "{range}"
        );
    };
    check("bytes=0-9", (206, 10, "bytes 0-9/1000000")).await;
    check("bytes=999990-", (206, 10, "bytes 999990-999999/1000000")).await;
    check("bytes=-7", (206, 7, "bytes 999993-999999/1000000")).await;
    check("bytes=5-99999999", (206, 999_995, "bytes 5-999999/1000000")).await;
    check("bytes=1000000-", (416, 0, "bytes */1000000")).await;
    check("bytes=-0", (416, 0, "bytes */1000000")).await;
    check("bytes=0-1,5-6", (200, 1_000_000, "")).await;
    site.desk
        .told("fact r1-u1/7 KernelServed { what: Agent }")
        .await;
    let served = site
        .desk
        .all()
        .iter()
        .filter(|t| t.contains("KernelServed"))
        .count();
    assert_eq!(served, 1, "a part is not the whole");

    for path in [
        "/asset/00/x",
        "/asset/../../etc/passwd",
        "/ipxe/..%2fkernel",
        "/ipxe/none",
    ] {
        let response = client.get(site.http(path)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let boot_file = client
        .get(site.http("/ipxe/snponly.efi"))
        .send()
        .await
        .unwrap();
    assert_eq!(boot_file.bytes().await.unwrap().len(), 174_001);
    site.desk
        .told("BootFileServed { name: \"snponly.efi\" }")
        .await;
    site.stop().await;
}

#[tokio::test]
async fn a_transfer_that_breaks_off_is_no_fact() {
    // More than the buffers of both ends hold.
    let site = Site::with(NO_FACTORY, Kernel::Zeros(64 << 20), Ipv4Addr::LOCALHOST).await;
    let desk = Arc::clone(&site.desk);
    let (kernel, initrd) = agent_urls(&site).await;
    let mut response = site.client().get(&kernel).send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    drop(response);
    site.client()
        .get(&initrd)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    site.stop().await;
    let all = desk.all();
    assert!(all.iter().any(|t| t.contains("InitrdServed")), "{all:#?}");
    assert!(!all.iter().any(|t| t.contains("KernelServed")), "{all:#?}");
}

#[tokio::test]
async fn configs_wait_for_their_time() {
    let site = Site::start().await;
    let client = site.client();
    let url = site.https(&format!("/configdata?token={TOKEN}"));
    let refused = client
        .get(site.https("/configdata?token=guess"))
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);

    // Held while it is not ready, and answered the moment it is.
    let waiting = tokio::spawn(get(client.clone(), url.clone()));
    site.desk.told("looked for the config").await;
    site.desk
        .set(|s| s.config = Some(b"version: v1alpha1\n".to_vec()));
    let (status, kind, body) = waiting.await.unwrap();
    assert_eq!(
        (status, kind.as_str(), body.as_str()),
        (200, "application/yaml", "version: v1alpha1\n")
    );
    site.desk
        .told("fact r1-u1/7 ConfigServed { from: 127.0.0.1 }")
        .await;

    // A token that dies while its holder waits.
    site.desk.set(|s| {
        s.config = None;
        s.told.clear();
    });
    let waiting = tokio::spawn(get(client.clone(), url.clone()));
    site.desk.told("looked for the config").await;
    site.desk.set(|s| s.redeem = Err(Refusal::BadToken));
    assert_eq!(waiting.await.unwrap().0, 403);

    // Never ready: 503 after the hold.
    site.desk.set(|s| {
        s.redeem = Ok(());
        s.told.clear();
    });
    let began = tokio::time::Instant::now();
    let waiting = tokio::spawn(get(client.clone(), url.clone()));
    site.desk.told("looked for the config").await;
    tokio::time::pause();
    let (status, _, body) = waiting.await.unwrap();
    let held = began.elapsed();
    tokio::time::resume();
    assert_eq!((status, body.as_str()), (503, "the config is not ready\n"));
    assert!(
        held >= Duration::from_secs(59) && held < Duration::from_secs(62),
        "{held:?}"
    );

    site.desk.set(|s| s.store = Store::Down);
    assert_eq!(get(client, url).await.0, 503);
    site.stop().await;
}

async fn get(client: Client, url: String) -> (u16, String, String) {
    let response = client.get(url).send().await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    (status, kind, response.text().await.unwrap())
}

#[tokio::test]
async fn the_agents_calls() {
    let site = Site::start().await;
    let client = site.client();
    let report = AgentReport {
        mac: "52:54:00:77:00:02".into(),
        ..AgentReport::default()
    };
    let post = async |url: String, token: &str, body: Vec<u8>| {
        let request = client.post(url).bearer_auth(token).body(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.bytes().await.unwrap())
    };
    let body = report.encode_to_vec();
    let (status, order) = post(site.https("/agent/report"), TOKEN, body.clone()).await;
    assert_eq!(
        (status, AgentOrder::decode(order).unwrap()),
        (200, power_off(1))
    );
    site.desk
        .told("report of r1-u1 from 127.0.0.1: 52:54:00:77:00:02")
        .await;
    let result = AgentResult {
        order: 4,
        ..AgentResult::default()
    };
    let (status, order) = post(site.https("/agent/result"), TOKEN, result.encode_to_vec()).await;
    assert_eq!(
        (status, AgentOrder::decode(order).unwrap()),
        (200, power_off(5))
    );

    assert_eq!(
        post(site.https("/agent/report"), "guess", body.clone())
            .await
            .0,
        401
    );
    assert_eq!(post(site.http("/agent/report"), TOKEN, body).await.0, 403);
    assert_eq!(
        post(site.https("/agent/report"), TOKEN, vec![0xff; 9])
            .await
            .0,
        400
    );
    let big = vec![0; 1024 * 1024 + 1];
    assert_eq!(post(site.https("/agent/report"), TOKEN, big).await.0, 413);
    assert!(!site.desk.all().iter().any(|t| t.contains(TOKEN)));
    site.stop().await;
}

#[tokio::test]
async fn orders_are_waited_for() {
    let site = Site::start().await;
    let ask = async |after: u64| {
        let request = site
            .client()
            .get(site.https(&format!("/agent/order?after={after}")));
        let response = request.bearer_auth(TOKEN).send().await.unwrap();
        AgentOrder::decode(response.bytes().await.unwrap()).unwrap()
    };
    let told = async {
        site.desk.told("looked for an order after 3").await;
        site.desk.set(|s| s.order = Some(power_off(4)));
    };
    let (order, ()) = tokio::join!(ask(3), told);
    assert_eq!(order, power_off(4));
    // Nothing new: `wait`, with the number that was shown.
    let pause = async {
        site.desk.told("looked for an order after 4").await;
        tokio::time::pause();
    };
    let (order, ()) = tokio::join!(ask(4), pause);
    tokio::time::resume();
    assert_eq!(order.number, 4);
    assert!(matches!(order.what, Some(What::Wait(_))));
    site.stop().await;
}

#[tokio::test]
async fn a_hostile_client_gets_an_end() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let site = Site::start().await;
    let mut stream = tokio::net::TcpStream::connect(site.bound.http)
        .await
        .unwrap();
    let head = format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Either an error status or a closed connection, but an end.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    site.stop().await;
}
