//! What bootd remembers of secrets, nodes and clusters, and what it makes of a cluster's secrets.

use std::time::Duration;

use bootd_core::id::Timestamp;
use metal_proto::metal::v1 as pb;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use talos::schematic::{Arch, Image, Schematic};
use talos::secrets::{Bundle, ClientCertificate, KubernetesUser, Role, Secret, system_entropy};
use talos::version::{Contract, Generator, TalosVersion, VersionError};

use crate::store::{Doc, Kind, Store, StoreError};

/// The registry that installer references name.
const REGISTRY: &str = "factory.talos.dev";

/// The newest generator that this bootd has: it reads every contract.
const NEWEST: Generator = Generator::V1_14;

/// What a cluster's configs are written by and for, for all its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pins {
    /// Whose output: `render_rev` of the secrets.
    pub generator: Generator,
    /// Which layout: the version that the cluster was born with.
    pub contract: Contract,
}

impl Pins {
    /// Of a cluster that is born with this contract.
    pub const fn of(contract: Contract) -> Self {
        Self {
            generator: Generator::of(contract),
            contract,
        }
    }

    /// As they were stored. `None` for a revision that only a newer bootd has.
    pub fn stored(contract: Contract, state: &SecretsState) -> Option<Self> {
        Some(Self {
            generator: Generator::from_render_rev(state.render_rev)?,
            contract,
        })
    }
}

/// Of `talos_secrets`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretsState {
    /// `v1.13`.
    pub contract: String,
    /// Revision of our rendering that the cluster was made with, and keeps.
    pub render_rev: u32,
    /// Of the OS CA; no secret.
    pub fingerprint: String,
    /// Soft delete.
    pub deleted_at: Option<Timestamp>,
}

/// Of `talos_machine_config`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeState {
    /// Deleted before it ever joined: a new create goes on where it was.
    pub unbound: bool,
    /// The box that it was rendered for, with its claim's generation.
    pub made_for: String,
    /// What the install destroys, as rendered first.
    pub targets: Vec<Target>,
    /// The config changed after the install and was not handed over yet.
    pub to_apply: bool,
    /// To leave its cluster.
    pub leaving: bool,
    /// What it said it runs.
    pub version: String,
}

/// A wipe target, stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    disk: String,
    serial: String,
    wwid: String,
    bytes: u64,
    model: String,
    content: String,
    fingerprint: String,
}

impl From<&pb::WipeTarget> for Target {
    fn from(t: &pb::WipeTarget) -> Self {
        Self {
            disk: t.disk.clone(),
            serial: t.serial.clone(),
            wwid: t.wwid.clone(),
            bytes: t.bytes,
            model: t.model.clone(),
            content: t.content.clone(),
            fingerprint: t.fingerprint.clone(),
        }
    }
}

impl From<&Target> for pb::WipeTarget {
    fn from(t: &Target) -> Self {
        Self {
            disk: t.disk.clone(),
            serial: t.serial.clone(),
            wwid: t.wwid.clone(),
            bytes: t.bytes,
            model: t.model.clone(),
            content: t.content.clone(),
            fingerprint: t.fingerprint.clone(),
        }
    }
}

/// How far etcd's one bootstrap came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bootstrap {
    /// Not begun.
    #[default]
    Never,
    /// About to be called, or called: recorded before the call.
    Intended {
        /// On which node.
        node: String,
    },
    /// Accepted.
    Done {
        /// When.
        at: Timestamp,
    },
}

/// Of `talos_cluster`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterState {
    /// etcd.
    pub bootstrap: Bootstrap,
    /// The level that was asked for is reached.
    pub ready: bool,
    /// Newest line for people.
    pub line: String,
    /// When it was asked for last: its deadline runs from there.
    pub asked_at: Option<Timestamp>,
}

/// Reads a document's status; an absent or older one reads as its default.
pub fn status<T: Default + for<'a> Deserialize<'a>>(doc: &Doc) -> T {
    serde_json::from_str(&doc.status).unwrap_or_default()
}

/// Writes a document's status.
pub fn set_status<T: Serialize>(doc: &mut Doc, status: &T) {
    doc.status = serde_json::to_string(status).unwrap_or_default();
}

/// A cluster's secrets: the words, the state and the bundle. `None` if there are none, or they were deleted.
pub async fn secrets(
    store: &Store,
    id: &str,
) -> Result<Option<(pb::SecretsConfig, SecretsState, Bundle)>, StoreError> {
    let Some(doc) = store.doc(Kind::Secrets, id).await? else {
        return Ok(None);
    };
    let state: SecretsState = status(&doc);
    if state.deleted_at.is_some() {
        return Ok(None);
    }
    let damaged = || StoreError::Damaged("docs");
    let config = pb::SecretsConfig::decode(doc.config.as_slice()).map_err(|_| damaged())?;
    let sealed = doc.sealed.ok_or_else(damaged)?;
    let text = std::str::from_utf8(sealed.expose()).map_err(|_| damaged())?;
    let bundle = Bundle::from_secrets_yaml(text).map_err(|_| damaged())?;
    Ok(Some((config, state, bundle)))
}

/// The contract of a Talos version.
pub fn contract(version: &str) -> Result<Contract, VersionError> {
    Contract::parse(version, NEWEST)
}

/// The Talos version of an image id, `SCHEMATIC/VERSION/ARCH`.
pub fn version_of(image_id: &str) -> Option<TalosVersion> {
    image_id.split('/').nth(1)?.parse().ok()
}

/// The image that a config means.
pub fn image(config: &pb::ImageConfig) -> Result<(Image, Schematic), String> {
    let schematic = Schematic {
        kernel_args: config.kernel_args.clone(),
        extensions: config.extensions.clone(),
        ..Schematic::default()
    };
    let arch = match config.arch.as_str() {
        "" | "amd64" => Arch::Amd64,
        "arm64" => Arch::Arm64,
        other => return Err(format!("arch {other:?} is neither amd64 nor arm64")),
    };
    let image = Image {
        schematic: schematic.id(),
        version: config
            .talos_version
            .parse()
            .map_err(|e: VersionError| e.to_string())?,
        arch,
    };
    Ok((image, schematic))
}

/// The installer reference of an image.
pub fn installer(image: &Image) -> String {
    image.installer(REGISTRY)
}

/// The installer reference of an image id, `SCHEMATIC/VERSION/ARCH`.
pub fn installer_of(id: &str) -> Option<String> {
    let mut parts = id.split('/');
    let (schematic, version, arch) = (parts.next()?, parts.next()?, parts.next()?);
    let well = schematic.len() == 64 && !arch.is_empty() && parts.next().is_none();
    well.then(|| format!("{REGISTRY}/metal-installer/{schematic}:{version}"))
}

/// An admin kubeconfig that is good for `ttl`.
pub fn kubernetes_access(
    bundle: &Bundle,
    cluster: &str,
    endpoint: &str,
    ttl: Duration,
) -> Result<Secret, talos::secrets::ClientError> {
    let admin = KubernetesUser {
        name: "admin",
        groups: &["system:masters"],
        lifetime: ttl,
    };
    bundle.kubeconfig(
        cluster,
        endpoint,
        &admin,
        jiff::Timestamp::now(),
        &mut system_entropy,
    )
}

/// A client certificate for the nodes of a cluster.
pub fn talos_access(
    bundle: &Bundle,
    roles: &[Role],
    ttl: Duration,
) -> Result<ClientCertificate, talos::secrets::ClientError> {
    bundle.client_certificate(roles, ttl, jiff::Timestamp::now(), &mut system_entropy)
}
