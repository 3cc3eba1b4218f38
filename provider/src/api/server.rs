//! Servers.

use std::collections::{BTreeMap, HashMap};

use metal_proto::metal::v1 as pb;
use tfplugin::Field;

use super::{hardware, named, place};
use crate::client::{CallError, Client};
use crate::fields::{entries, said, some, text, texts};
use crate::ids::{self, KnownBy};
use crate::resource::server::schema::{Bmc, Idle, Location, OnDestroy, Protocol, Server};
use crate::resource::servers::{Listed, Servers};

/// States a server; the password is sealed at once by bootd.
pub(crate) async fn put_server(
    client: &Client,
    server: &Server,
    password: String,
) -> Result<(), CallError> {
    let config = Some(config(server));
    client
        .put_server(pb::PutServerRequest {
            config,
            bmc_password: password,
        })
        .await
        .map(|_| ())
}

/// The server as bootd has it; what means the same as in `prior` is left as written there.
pub(crate) async fn read_server(
    client: &Client,
    id: &str,
    prior: &Server,
) -> Result<Server, CallError> {
    let seen = client.read_server(named(id)).await?;
    let mut server = match &seen.config {
        Some(c) if *c == config(prior) => prior.clone(),
        // A server that nobody declares is not a resource.
        None => return Err(CallError::Gone),
        Some(c) => declared(c, prior),
    };
    server.id = id.into();
    server.hardware = seen
        .status
        .and_then(|s| s.hardware)
        .map(|h| hardware(&h))
        .into();
    Ok(server)
}

pub(crate) async fn delete_server(client: &Client, id: &str) -> Result<(), CallError> {
    client
        .delete_server(pb::DeleteServerRequest {
            name: id.to_owned(),
            force: false,
        })
        .await
        .map(|_| ())
}

/// Who holds a server: the claim's name, none where it is free.
pub(crate) async fn holder(client: &Client, id: &str) -> Result<Option<String>, CallError> {
    let status = client
        .read_server(named(id))
        .await?
        .status
        .unwrap_or_default();
    Ok((!status.claim.is_empty()).then_some(status.claim))
}

/// Finds a declared server by name, `mac:`, `uuid:`, `serial:`, `bmc:` or `address:`.
pub(crate) async fn find_server(client: &Client, id: &str) -> Result<String, CallError> {
    let Some((kind, value)) = KnownBy::split(id) else {
        return client.read_server(named(id)).await.map(|_| id.to_owned());
    };
    let all = client
        .list_servers(pb::ListServersRequest::default())
        .await?
        .servers;
    let fits = |s: &pb::Server| {
        let config = s.config.clone().unwrap_or_default();
        let status = s.status.clone().unwrap_or_default();
        match kind {
            KnownBy::Mac => ids::mac(value).is_some_and(|m| m == config.mac),
            KnownBy::Uuid => ids::uuid(value).is_some_and(|u| u == config.uuid),
            KnownBy::Serial => value == config.serial,
            KnownBy::Bmc => config.bmc.is_some_and(|b| b.address == value),
            KnownBy::Address => status.address == value,
        }
    };
    let found = all.into_iter().filter(|s| s.config.is_some()).find(fits);
    found
        .and_then(|s| s.config)
        .map(|c| c.name)
        .ok_or(CallError::Gone)
}

/// The servers that a filter lets through, in the order of their names.
pub(crate) async fn list_servers(
    client: &Client,
    filter: &Servers,
) -> Result<Vec<Listed>, CallError> {
    let filter = filter.filter.known().cloned().unwrap_or_default();
    let phases = filter.phases.known().cloned().unwrap_or_default();
    let request = pb::ListServersRequest {
        labels: filter
            .labels
            .known()
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .collect(),
        phases: phases.iter().map(|p| phase_from(p).into()).collect(),
    };
    let mut all: Vec<_> = client
        .list_servers(request)
        .await?
        .servers
        .iter()
        .map(listed)
        .collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(all)
}

fn listed(server: &pb::Server) -> Listed {
    let (config, status) = (
        server.config.clone(),
        server.status.clone().unwrap_or_default(),
    );
    let power = match status.power() {
        pb::Power::Unspecified => Field::Null,
        pb::Power::Off => "off".into(),
        pb::Power::On => "on".into(),
        pb::Power::Unreachable => "unreachable".into(),
    };
    Listed {
        id: said(status.id.clone()),
        declared: config.is_some().into(),
        accepted: config.as_ref().is_some_and(|c| c.accepted).into(),
        phase: phase_name(status.phase()).into(),
        reason: said(status.reason.clone()),
        claim: said(status.claim.clone()),
        dirty: status.dirty.into(),
        power,
        address: said(status.address.clone()),
        labels: config
            .as_ref()
            .map(|c| sorted(&c.labels))
            .unwrap_or_default()
            .into(),
        location: place(config.as_ref().and_then(|c| c.location.as_ref())),
        hardware: status.hardware.map(|h| hardware(&h)).into(),
    }
}

fn phase_name(phase: pb::Phase) -> String {
    phase
        .as_str_name()
        .trim_start_matches("PHASE_")
        .to_ascii_lowercase()
}

fn phase_from(word: &str) -> pb::Phase {
    pb::Phase::from_str_name(&format!("PHASE_{}", word.to_ascii_uppercase())).unwrap_or_default()
}

fn sorted(labels: &HashMap<String, String>) -> BTreeMap<String, String> {
    labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn config(server: &Server) -> pb::ServerConfig {
    let bmc = server.bmc.known().map(|b| pb::Bmc {
        address: text(&b.address),
        protocol: match b.protocol.known() {
            Some(Protocol::Manual) => pb::BmcProtocol::Manual,
            Some(Protocol::Ipmi) | None => pb::BmcProtocol::Ipmi,
        }
        .into(),
        port: b.port.known().copied().unwrap_or_default().into(),
        credentials: text(&b.credentials),
        username: text(&b.username),
    });
    let location = server.location.known().map(|l| pb::Location {
        site_row: text(&l.site_row),
        rack: text(&l.rack),
        unit: text(&l.unit),
    });
    let idle = match server.idle.known() {
        None => pb::Idle::Unspecified,
        Some(Idle::Off) => pb::Idle::Off,
        Some(Idle::Hold) => pb::Idle::Hold,
    };
    let on_destroy = match server.on_destroy.known() {
        Some(OnDestroy::PowerOff) => pb::OnDestroy::PowerOff,
        Some(OnDestroy::Release) | None => pb::OnDestroy::Release,
    };
    pb::ServerConfig {
        name: text(&server.name),
        mac: ids::mac(&text(&server.mac)).unwrap_or_default(),
        uuid: ids::uuid(&text(&server.uuid)).unwrap_or_default(),
        serial: text(&server.serial),
        bmc,
        accepted: server.accepted.known().copied().unwrap_or_default(),
        labels: server
            .labels
            .known()
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .collect(),
        location,
        boot_args: texts(&server.boot_args),
        idle: idle.into(),
        inspect: server.inspect.known().copied().unwrap_or(true),
        on_destroy: on_destroy.into(),
    }
}

fn declared(c: &pb::ServerConfig, prior: &Server) -> Server {
    let version = prior
        .bmc
        .known()
        .map(|b| b.password_wo_version.clone())
        .unwrap_or_default();
    let bmc = c.bmc.as_ref().map(|b| Bmc {
        address: said(b.address.clone()),
        protocol: match b.protocol() {
            pb::BmcProtocol::Manual => Protocol::Manual,
            pb::BmcProtocol::Ipmi | pb::BmcProtocol::Unspecified => Protocol::Ipmi,
        }
        .into(),
        port: u16::try_from(b.port).ok().filter(|p| *p != 0).into(),
        credentials: said(b.credentials.clone()),
        username: said(b.username.clone()),
        password_wo: Field::Null,
        password_wo_version: version,
    });
    let location = c.location.as_ref().map(|l| Location {
        site_row: said(l.site_row.clone()),
        rack: said(l.rack.clone()),
        unit: said(l.unit.clone()),
    });
    let idle = match c.idle() {
        pb::Idle::Unspecified => None,
        pb::Idle::Off => Some(Idle::Off),
        pb::Idle::Hold => Some(Idle::Hold),
    };
    let on_destroy = match c.on_destroy() {
        pb::OnDestroy::PowerOff => OnDestroy::PowerOff,
        pb::OnDestroy::Release | pb::OnDestroy::Unspecified => OnDestroy::Release,
    };
    Server {
        id: c.name.clone().into(),
        name: c.name.clone().into(),
        mac: said(c.mac.clone()),
        uuid: said(c.uuid.clone()),
        serial: said(c.serial.clone()),
        bmc: bmc.into(),
        accepted: c.accepted.into(),
        labels: entries(sorted(&c.labels)),
        location: location.into(),
        boot_args: some(c.boot_args.clone()),
        idle: idle.into(),
        inspect: c.inspect.into(),
        on_destroy: on_destroy.into(),
        ..Server::default()
    }
}
