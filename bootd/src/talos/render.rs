//! A node's machine config, from what HCL states, the cluster's secrets and the machine that will run it. Pure.
//!
//! Promises: the install disk is one disk of this machine, written as a selector by serial or WWID, never as a device name; what the
//! install will destroy is read from the *merged* config, so that a patch that widens it is seen; every error names the argument.
//! Deliberately not here: the secrets' life, when a config is served, and whether its disks may be erased (the life cycle's check).

use std::net::SocketAddr;

use bootd_core::class::glob;
use bootd_core::lifecycle::hardware::{Content, Disk, Hardware};
use metal_proto::metal::v1::{
    ErrorDetail, InstallDisk, NodeConfig, Range, Remark, Role, WipeTarget, remark::Severity,
};
use talos::config::{
    self, Cni, DiskSelector, Endpoint, Input, InstallTarget, MachineConfig, Toggle,
};
use talos::disks::DiskMatch;
use talos::patch;
use talos::secrets::Bundle;
use talos::validate;
use talos::version::{Contract, Generator};

const GENERATOR: Generator = Generator::V1_13;

/// Where a node finds this bootd.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Our CA, for later fetches and pushes.
    pub ca_pem: &'a str,
    /// The event sink.
    pub events: SocketAddr,
    /// The kernel log sink.
    pub kernel_log: SocketAddr,
}

/// A rendered node.
#[derive(Debug)]
pub struct Rendered {
    /// The complete config; secret.
    pub config: MachineConfig,
    /// What its install will destroy.
    pub targets: Vec<WipeTarget>,
}

/// Renders a node for a machine.
pub fn render(
    node: &NodeConfig,
    bundle: &Bundle,
    contract: Contract,
    installer: &str,
    hardware: &Hardware,
    around: Surroundings<'_>,
) -> Result<Rendered, ErrorDetail> {
    let disk = install_disk(node.install_disk.as_ref(), hardware)?;
    let mut input = input(node, contract, installer)?;
    input.install.target = Some(InstallTarget::Selector(selector(disk)?));
    let generated = config::generate(&input, bundle).map_err(|e| {
        detail(
            "config-refused",
            "The machine config cannot be generated",
            &e.to_string(),
            "cluster",
        )
    })?;
    let own = own_patches(node);
    let cluster = node.cluster.as_ref().map_or(&[][..], |c| &c.patches);
    let mut config = generated;
    for (patches, attribute) in [
        (&own[..], "network"),
        (cluster, "cluster.patches"),
        (&node.patches[..], "patches"),
    ] {
        for (n, text) in patches.iter().enumerate() {
            config = patch::apply(GENERATOR, &config, std::slice::from_ref(text)).map_err(|e| {
                detail(
                    "patch-refused",
                    "A patch cannot be applied",
                    &e.to_string(),
                    &format!("{attribute}[{n}]"),
                )
            })?;
        }
    }
    config.append(&[
        config::event_sink(&around.events.to_string()),
        config::kernel_log("bootd", &format!("tcp://{}/", around.kernel_log)),
        config::trusted_roots("bootd", around.ca_pem),
    ]);
    if let Some(wrong) = first_violation(&config)? {
        return Err(detail(
            "config-invalid",
            "The machine config is not valid",
            &wrong,
            "patches",
        ));
    }
    let targets = wipe_targets(&config, hardware)?;
    Ok(Rendered { config, targets })
}

/// The first thing that Talos would refuse, with its path.
fn first_violation(config: &MachineConfig) -> Result<Option<String>, ErrorDetail> {
    let found = validate::validate(GENERATOR, config, validate::Mode::Metal).map_err(|e| {
        detail(
            "config-invalid",
            "The machine config is not valid",
            &e.to_string(),
            "patches",
        )
    })?;
    Ok(found
        .first()
        .map(|v| format!("{} (line {}): {}", v.path, v.line, v.reason)))
}

/// The disks of this machine that a merged config lets Talos overwrite. What cannot be decided here counts as overwritten.
fn wipe_targets(
    config: &MachineConfig,
    hardware: &Hardware,
) -> Result<Vec<WipeTarget>, ErrorDetail> {
    let named = talos::disks::wipe_targets(config).map_err(|e| {
        detail(
            "config-invalid",
            "The machine config is not valid",
            &e.to_string(),
            "patches",
        )
    })?;
    Ok(hardware
        .disks
        .iter()
        .filter(|d| !d.removable && named.iter().any(|n| means(&n.disks, d)))
        .map(target)
        .collect())
}

fn means(disks: &DiskMatch, disk: &Disk) -> bool {
    match disks {
        DiskMatch::Device(path) => {
            path.rsplit('/').next() == Some(&disk.device)
                || [&disk.serial, &disk.wwid]
                    .into_iter()
                    .any(|id| !id.is_empty() && path.contains(id.as_str()))
        }
        DiskMatch::Selector(pairs) => pairs.iter().all(|(key, value)| match key.as_str() {
            "serial" => glob(value, &disk.serial),
            "wwid" => glob(value, &disk.wwid),
            "model" => glob(value, &disk.model),
            "type" => *value == disk.kind,
            _ => true,
        }),
        // Without a disk of its own a volume goes to the system disk, which the install names.
        DiskMatch::Unnamed => false,
        DiskMatch::Expression(text) | DiskMatch::Members(text) => text.trim() != "system_disk",
    }
}

/// What a plan says about the disks that an install will destroy.
pub fn remarks(targets: &[WipeTarget], hardware: &Hardware, allow_wipe: &[String]) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for target in targets {
        let Some(disk) = hardware.disks.iter().find(|d| is(d, target)) else {
            continue;
        };
        let allowed = allow_wipe
            .iter()
            .any(|name| *name == disk.serial || *name == disk.wwid);
        if disk.content() == Content::Foreign && !allowed {
            let name = stable_name(disk);
            remarks.push(Remark {
                severity: Severity::Error.into(),
                what: Some(ErrorDetail {
                    reason: "foreign-data".into(),
                    summary: "The install disk holds data".into(),
                    detail: format!(
                        "Disk {name} ({}, {}) holds {}. The install would destroy it, and the claim's allow_wipe does not name it.",
                        disk.device,
                        size(disk.bytes),
                        disk.contents()
                    ),
                    hint: format!("to erase it, set allow_wipe = [\"{name}\"] on the metal_server_claim; else choose another install_disk"),
                    attribute: "install_disk".into(),
                }),
            });
        }
    }
    remarks
}

/// The one disk of a machine that the arguments mean: the smallest that fits, then by serial, so that a second look finds the same.
fn install_disk<'a>(
    wanted: Option<&InstallDisk>,
    hardware: &'a Hardware,
) -> Result<&'a Disk, ErrorDetail> {
    let any = InstallDisk::default();
    let wanted = wanted.unwrap_or(&any);
    let mut fitting: Vec<&Disk> = hardware
        .disks
        .iter()
        .filter(|d| misfit(d, wanted).is_none())
        .collect();
    fitting.sort_by(|a, b| (a.bytes, &a.serial, &a.wwid).cmp(&(b.bytes, &b.serial, &b.wwid)));
    if *wanted == any && fitting.len() > 1 {
        let names: Vec<String> = fitting.iter().map(|d| describe(d)).collect();
        return Err(ErrorDetail {
            reason: "install-disk-ambiguous".into(),
            summary: "The install disk is not stated".into(),
            detail: format!(
                "The machine has {} disks that could be it: {}.",
                names.len(),
                names.join("; ")
            ),
            hint: "set install_disk = { serial = \"…\" } or another selector".into(),
            attribute: "install_disk".into(),
        });
    }
    fitting.first().copied().ok_or_else(|| {
        let why: Vec<String> = hardware
            .disks
            .iter()
            .map(|d| format!("{}: {}", describe(d), misfit(d, wanted).unwrap_or_default()))
            .collect();
        let seen = if why.is_empty() {
            "it has no disk at all".to_owned()
        } else {
            why.join("; ")
        };
        ErrorDetail {
            reason: "no-install-disk".into(),
            summary: "No disk fits install_disk".into(),
            detail: format!("No disk of the machine is what install_disk asks for: {seen}."),
            hint: "change the selector, or choose another server".into(),
            attribute: "install_disk".into(),
        }
    })
}

/// Why a disk is not what the arguments mean; `None` if it is.
fn misfit(disk: &Disk, wanted: &InstallDisk) -> Option<String> {
    let range = |r: &Range| {
        r.min.is_none_or(|min| disk.bytes >= min) && r.max.is_none_or(|max| disk.bytes <= max)
    };
    if disk.removable {
        Some("it can be taken out".into())
    } else if disk.readonly {
        Some("it is read-only".into())
    } else if !disk.unreadable.is_empty() {
        Some(format!("it cannot be read ({})", disk.unreadable))
    } else if !wanted.serial.is_empty() && wanted.serial != disk.serial {
        Some("another serial".into())
    } else if !wanted.wwid.is_empty() && wanted.wwid != disk.wwid {
        Some("another WWID".into())
    } else if !wanted.r#type.is_empty() && wanted.r#type != disk.kind {
        Some(format!("its type is {}", disk.kind))
    } else if !wanted.bytes.as_ref().is_none_or(range) {
        Some(format!("its size is {}", size(disk.bytes)))
    } else if !wanted.model.is_empty() && !glob(&wanted.model, &disk.model) {
        Some(format!("its model is {}", disk.model))
    } else {
        None
    }
}

/// By serial and WWID: what of them the disk has. A disk with neither would have to be named by its place, which moves.
fn selector(disk: &Disk) -> Result<DiskSelector, ErrorDetail> {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let selector = DiskSelector {
        serial: some(&disk.serial),
        wwid: some(&disk.wwid),
        ..DiskSelector::default()
    };
    if selector == DiskSelector::default() {
        return Err(ErrorDetail {
            reason: "unstable-disk".into(),
            summary: "The install disk has no stable name".into(),
            detail: format!(
                "Disk {} ({}) reports neither serial nor WWID: it could be another one after the next boot.",
                disk.device,
                size(disk.bytes)
            ),
            hint: "choose a disk that has one".into(),
            attribute: "install_disk".into(),
        });
    }
    Ok(selector)
}

fn input(node: &NodeConfig, contract: Contract, installer: &str) -> Result<Input, ErrorDetail> {
    let facts = node.cluster.clone().unwrap_or_default();
    let role = match node.role() {
        Role::Controlplane => config::Role::ControlPlane,
        Role::Worker => config::Role::Worker,
        Role::Unspecified => {
            return Err(detail(
                "bad-role",
                "The role is missing",
                "A node is a controlplane or a worker.",
                "role",
            ));
        }
    };
    let endpoint = Endpoint::parse(&facts.endpoint).map_err(|e| {
        detail(
            "bad-endpoint",
            "The endpoint cannot be used",
            &e.to_string(),
            "cluster.endpoint",
        )
    })?;
    let mut input = Input::new(
        contract,
        role,
        &facts.name,
        endpoint,
        &facts.kubernetes_version,
    );
    input.hostname = Some(if node.hostname.is_empty() {
        node.name.clone()
    } else {
        node.hostname.clone()
    });
    input.install.image = Some(installer.to_owned());
    if !facts.dns_domain.is_empty() {
        input.dns_domain = facts.dns_domain;
    }
    if !facts.pod_cidrs.is_empty() {
        input.pod_cidrs = facts.pod_cidrs;
    }
    if !facts.service_cidrs.is_empty() {
        input.service_cidrs = facts.service_cidrs;
    }
    input.cert_sans = facts.cert_sans;
    input.cni = match facts.cni.as_str() {
        "" | "flannel" => Cni::Flannel,
        "none" => Cni::None,
        other => {
            return Err(detail(
                "bad-cni",
                "The CNI is not known",
                &format!("`{other}` is neither flannel nor none."),
                "cluster.cni",
            ));
        }
    };
    if facts.kube_proxy == Some(false) {
        input.kube_proxy = Toggle::Disabled;
    }
    Ok(input)
}

/// What typed arguments say that generation has no input for, as patches of our own.
fn own_patches(node: &NodeConfig) -> Vec<String> {
    let mut patches = Vec::new();
    let network = node.network.clone().unwrap_or_default();
    if !network.nameservers.is_empty() {
        patches.push(format!(
            "machine:\n  network:\n    nameservers: {}\n",
            flow(&network.nameservers)
        ));
    }
    if !network.vip.is_empty() && node.role() == Role::Controlplane {
        patches.push(format!(
            "machine:\n  network:\n    interfaces:\n      - deviceSelector:\n          physical: true\n        dhcp: true\n        vip:\n          ip: {}\n",
            quoted(&network.vip)
        ));
    }
    if !network.time_servers.is_empty() {
        patches.push(format!(
            "machine:\n  time:\n    servers: {}\n",
            flow(&network.time_servers)
        ));
    }
    if !node.labels.is_empty() {
        let mut labels: Vec<_> = node.labels.iter().collect();
        labels.sort();
        let lines: String = labels
            .iter()
            .map(|(k, v)| format!("    {}: {}\n", quoted(k), quoted(v)))
            .collect();
        patches.push(format!("machine:\n  nodeLabels:\n{lines}"));
    }
    patches
}

fn flow(items: &[String]) -> String {
    format!(
        "[{}]",
        items
            .iter()
            .map(|i| quoted(i))
            .collect::<Vec<_>>()
            .join(", ")
    )
}

/// A YAML double-quoted scalar: JSON's string syntax is a subset of it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn is(disk: &Disk, target: &WipeTarget) -> bool {
    (!target.serial.is_empty() && target.serial == disk.serial)
        || (!target.wwid.is_empty() && target.wwid == disk.wwid)
}

fn target(disk: &Disk) -> WipeTarget {
    WipeTarget {
        disk: disk.device.clone(),
        serial: disk.serial.clone(),
        wwid: disk.wwid.clone(),
        bytes: disk.bytes,
        model: disk.model.clone(),
        content: disk.contents(),
        fingerprint: disk.fingerprint.clone(),
    }
}

fn stable_name(disk: &Disk) -> &str {
    if disk.serial.is_empty() {
        &disk.wwid
    } else {
        &disk.serial
    }
}

fn describe(disk: &Disk) -> String {
    let name = stable_name(disk);
    format!(
        "{} {} ({} {})",
        disk.device,
        if name.is_empty() {
            "without serial"
        } else {
            name
        },
        disk.kind,
        size(disk.bytes)
    )
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        1_000_000_000..10_000_000_000_000 => format!("{} GB", bytes / 1_000_000_000),
        _ => format!("{} TB", bytes / 1_000_000_000_000),
    }
}

fn detail(reason: &str, summary: &str, detail: &str, attribute: &str) -> ErrorDetail {
    ErrorDetail {
        reason: reason.into(),
        summary: summary.into(),
        detail: detail.into(),
        hint: String::new(),
        attribute: attribute.into(),
    }
}
