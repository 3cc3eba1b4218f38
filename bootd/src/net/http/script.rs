//! `GET /boot/script`: what iPXE runs next.
//!
//! Always an iPXE script with status 200, also for "no": a machine that may not boot from us leaves to its disk at once instead of
//! waiting for a time-out.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bootd_core::id::{Epoch, MachineId};
use bootd_core::lifecycle::facts::{Fact, ServedBoot};
use bootd_core::netboot::script;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Deserialize;

use super::{Peer, Web};
use crate::images::CachedImage;
use crate::net::{Asker, Desk, DeskError, Netboot, Note, Refusal};
use crate::talos::boot_args::{TalosBoot, command_line};

/// How long one request waits for an image that is being fetched.
const IMAGE_WAIT: Duration = Duration::from_secs(20);
/// How often a machine asks again for an image before it leaves to its disk.
const TRIES_MAX: u32 = 40;
/// Names under which the agent's and Talos's files are loaded.
const AGENT_KERNEL: &str = "agent-vmlinuz";
const AGENT_INITRD: &str = "agent.img";
const TALOS_KERNEL: &str = "talos-vmlinuz";
const TALOS_INITRD: &str = "talos.img";

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    mac: String,
    #[serde(default)]
    uuid: String,
    #[serde(default)]
    serial: String,
    #[serde(default, rename = "try")]
    tries: u32,
}

impl Asked {
    fn asker(&self, peer: Peer) -> Asker {
        let is_uuid = self.uuid.len() == 36
            && self
                .uuid
                .bytes()
                .all(|b| b.is_ascii_hexdigit() || b == b'-');
        let serial = self.serial.trim();
        let is_serial = !serial.is_empty()
            && serial.len() <= 64
            && serial.bytes().all(|b| (0x20..0x7f).contains(&b));
        Asker {
            mac: self.mac.parse().ok(),
            uuid: is_uuid.then(|| self.uuid.to_ascii_lowercase()),
            serial: is_serial.then(|| serial.to_owned()),
            from: Some(peer.ip),
        }
    }
}

pub(super) async fn handle<D: Desk>(
    State(web): State<Arc<Web<D>>>,
    peer: Peer,
    Query(asked): Query<Asked>,
) -> Response {
    let asker = asked.asker(peer);
    let text = match render(&web, peer, &asked, &asker).await {
        Ok(text) => text,
        Err(error) => {
            tracing::warn!(peer = %peer.ip, %error, "boot script not decided");
            script::exit("bootd cannot read its store now")
        }
    };
    (
        [
            (CONTENT_TYPE, "text/plain; charset=utf-8"),
            (CACHE_CONTROL, "no-store"),
        ],
        text,
    )
        .into_response()
}

async fn render<D: Desk>(
    web: &Web<D>,
    peer: Peer,
    asked: &Asked,
    asker: &Asker,
) -> Result<String, DeskError> {
    match web.desk.netboot(asker).await? {
        Netboot::Nothing(why) => {
            tracing::debug!(peer = %peer.ip, why, "boot script refused");
            Ok(script::exit("nothing for this machine here"))
        }
        Netboot::Local { machine, epoch } => {
            served(web, peer, &machine, epoch, ServedBoot::Local).await?;
            Ok(script::exit(&format!(
                "{machine}, epoch {epoch}: boots its own disk"
            )))
        }
        Netboot::Agent {
            machine,
            epoch,
            args,
        } => agent(web, peer, asker, machine, epoch, &args).await,
        Netboot::Talos {
            machine,
            epoch,
            image,
            nonce,
            args,
        } => {
            let want = Wanted {
                machine,
                epoch,
                image,
                nonce,
                args,
            };
            talos(web, peer, asked, &want).await
        }
    }
}

async fn agent<D: Desk>(
    web: &Web<D>,
    peer: Peer,
    asker: &Asker,
    machine: MachineId,
    epoch: Epoch,
    args: &[String],
) -> Result<String, DeskError> {
    let Some(agent) = &web.assets.agent else {
        let why = "the agent is wanted, but [agent] is not configured";
        return refuse(web, &machine, why.to_owned()).await;
    };
    let token = match web.desk.mint(&machine, epoch, peer.ip).await? {
        Ok(token) => token,
        Err(refusal) => return not_minted(web, peer, &machine, refusal).await,
    };
    let site = &web.site;
    let mut ours = vec![
        format!("initrd={AGENT_INITRD}"),
        "rdinit=/init".to_owned(),
        format!("metal.url=https://{}:{}", site.advertise, site.https_port),
        format!("metal.token={token}"),
    ];
    if let Some(mac) = asker.mac {
        ours.push(format!("metal.mac={mac}"));
    }
    let foreign: Vec<String> = agent.args.iter().chain(args).cloned().collect();
    let line = match script::command_line(&ours, &foreign) {
        Ok(line) => line,
        Err(error) => return refuse(web, &machine, error.to_string()).await,
    };
    served(web, peer, &machine, epoch, ServedBoot::Agent).await?;
    let http = site.http();
    Ok(script::boot(&script::Boot {
        title: &format!("{machine}, epoch {epoch}: agent"),
        kernel: &format!("{http}/asset/{}/{AGENT_KERNEL}", agent.kernel.digest),
        initrd: &format!("{http}/asset/{}/{AGENT_INITRD}", agent.initrd.digest),
        command_line: &line,
    }))
}

/// A Talos netboot as the desk wants it.
struct Wanted {
    machine: MachineId,
    epoch: Epoch,
    image: String,
    nonce: String,
    args: Vec<String>,
}

async fn talos<D: Desk>(
    web: &Web<D>,
    peer: Peer,
    asked: &Asked,
    want: &Wanted,
) -> Result<String, DeskError> {
    let (machine, epoch) = (&want.machine, want.epoch);
    let image = match tokio::time::timeout(IMAGE_WAIT, web.images.ensure(&want.image)).await {
        Ok(Ok(image)) => image,
        Ok(Err(error)) => {
            let why = format!("image {} is not there: {}", want.image, chain(&error));
            return refuse(web, machine, why).await;
        }
        Err(_) if asked.tries < TRIES_MAX => return Ok(ask_again(web, asked)),
        Err(_) => {
            let why = format!("image {} is still being fetched", want.image);
            return refuse(web, machine, why).await;
        }
    };
    let token = match web.desk.mint(machine, epoch, peer.ip).await? {
        Ok(token) => token,
        Err(refusal) => return not_minted(web, peer, machine, refusal).await,
    };
    let line = match command_line(&talos_boot(web, want, &image, &token)) {
        Ok(line) => line,
        Err(error) => {
            let why = format!("image {}: {error}", want.image);
            return refuse(web, machine, why).await;
        }
    };
    served(web, peer, machine, epoch, ServedBoot::Talos).await?;
    let http = web.site.http();
    Ok(script::boot(&script::Boot {
        title: &format!("{machine}, epoch {epoch}: Talos"),
        kernel: &format!("{http}/asset/{}/{TALOS_KERNEL}", image.kernel.digest),
        initrd: &format!("{http}/asset/{}/{TALOS_INITRD}", image.initrd.digest),
        command_line: &line,
    }))
}

fn talos_boot<'a, D>(
    web: &'a Web<D>,
    want: &'a Wanted,
    image: &'a CachedImage,
    token: &'a str,
) -> TalosBoot<'a> {
    let site = &web.site;
    TalosBoot {
        image: &image.cmdline,
        version: want.image.split('/').nth(1).unwrap_or_default(),
        initrd_name: TALOS_INITRD,
        token,
        nonce: &want.nonce,
        ca_pem: &site.ca_pem,
        advertise: site.advertise.into(),
        http_port: site.http_port,
        https_port: site.https_port,
        events_port: site.events_port,
        kernel_log_port: site.kernel_log_port,
        extra: &want.args,
    }
}

fn ask_again<D>(web: &Web<D>, asked: &Asked) -> String {
    let url = format!(
        "{}/boot/script?mac={}&uuid={}&serial={}&try={}",
        web.site.http(),
        encoded(&asked.mac),
        encoded(&asked.uuid),
        encoded(&asked.serial),
        asked.tries + 1
    );
    script::ask_again("the image is being fetched", &url, 5)
}

/// Percent-encodes everything that is not unreserved or a colon.
fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~:".contains(&b) {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

/// Before the script leaves: a kernel that is asked for has its script on record.
async fn served<D: Desk>(
    web: &Web<D>,
    peer: Peer,
    machine: &MachineId,
    epoch: Epoch,
    what: ServedBoot,
) -> Result<(), DeskError> {
    let fact = Fact::ScriptServed {
        what,
        from: peer.ip,
    };
    web.desk.fact(machine, epoch, fact).await
}

async fn not_minted<D: Desk>(
    web: &Web<D>,
    peer: Peer,
    machine: &MachineId,
    refusal: Refusal,
) -> Result<String, DeskError> {
    let why = format!("{} asked for the boot script: {refusal}", peer.ip);
    refuse(web, machine, why).await
}

/// Says why in the timeline and in the script, which leaves to the disk.
async fn refuse<D: Desk>(
    web: &Web<D>,
    machine: &MachineId,
    why: String,
) -> Result<String, DeskError> {
    let script = script::exit(&format!("{machine}: {why}"));
    tracing::warn!(%machine, why, "boot script refused");
    let note = Note {
        source: "http",
        text: format!("boot script refused: {why}"),
        alarm: true,
    };
    web.desk.note(machine, note).await?;
    Ok(script)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
