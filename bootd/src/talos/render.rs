//! A node's machine config, from what HCL states, the cluster's secrets and the machine that will run it. Pure.
//!
//! Promises: a thin caller of `talos`. The arguments go to [`talos::layer`] ([`super::arguments`]), the disks to [`talos::disks`]
//! ([`super::disks`]), the patches of the cluster and then of the node to [`talos::patch`], and the result to [`talos::validate`];
//! all by the generator and the contract that the cluster's secrets pin ([`Pins`]), so that a newer bootd renders the same text.
//! What the install will destroy is read from the *merged* config, so that a patch that widens it is seen. Every error names the
//! argument and, in a patch, the line; all that can be found are found at once. Our own documents (event sink, kernel log, CA) come
//! last: a patch cannot take them away.
//! Deliberately not here: the secrets' life, when a config is served, and whether its disks may be erased (the life cycle's check).

use std::net::SocketAddr;

use super::arguments;
use super::disks;
use super::refusal::{Refused, refusal};
use super::state::{Pins, version_of};
use bootd_core::lifecycle::hardware::Hardware;
use metal_proto::metal::v1::{ErrorDetail, NodeConfig, WipeTarget};
use talos::config::{self, Install, InstallTarget, MachineConfig};
use talos::layer::{LayerError, Peers};
use talos::patch::{Draft, PatchError, Source};
use talos::secrets::Bundle;
use talos::validate::{Mode, Rules, Violation};

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

/// So many broken rules are told at once.
const VIOLATIONS: usize = 16;

/// Renders a node for a machine.
pub fn render(
    node: &NodeConfig,
    bundle: &Bundle,
    pins: Pins,
    installer: &str,
    hardware: &Hardware,
    around: Surroundings<'_>,
) -> Result<Rendered, Refused> {
    let selector = disks::install_disk(node.install_disk.as_ref(), hardware).map_err(one)?;
    let install = Install {
        target: Some(InstallTarget::Selector(selector)),
        image: Some(installer.to_owned()),
        ..Install::default()
    };
    let layer = arguments::layer(node, install).map_err(one)?;
    let stated = layer
        .render(pins.generator, pins.contract, bundle, &Peers::default())
        .map_err(|e| unrendered(&e))?;
    let mut config = patched(&stated, node, pins)?;
    config.append(&ours(&node.image_id, around));
    let whole = Draft::read(pins.generator, &config).map_err(|e| one(invalid(&e.to_string())))?;
    let found = whole.validate(Rules::of(Mode::Metal)).errors;
    if let Some(first) = found.first() {
        return Err(one(invalid(&first.to_string())));
    }
    let targets =
        disks::overwritten(&config, hardware).map_err(|e| one(invalid(&e.to_string())))?;
    Ok(Rendered { config, targets })
}

/// The patches of the cluster, then of the node; the result is checked, so that a mistake is found in the patch that made it.
fn patched(
    stated: &MachineConfig,
    node: &NodeConfig,
    pins: Pins,
) -> Result<MachineConfig, Refused> {
    let shared = node.cluster.as_ref().map_or(&[][..], |c| &c.patches);
    let of = |list: &'static str, patches: &[String]| -> Vec<(String, String)> {
        let numbered = patches.iter().enumerate();
        numbered
            .map(|(n, text)| (format!("{list}[{n}]"), text.clone()))
            .collect()
    };
    let mut all = of("cluster.patches", shared);
    all.extend(of("patches", &node.patches));
    let mut draft =
        Draft::read(pins.generator, stated).map_err(|e| one(invalid(&e.to_string())))?;
    for (index, (attribute, text)) in all.iter().enumerate() {
        draft.patch(index, text).map_err(|e| {
            let source = Source::Patch(index).to_string();
            let why = e.to_string().replacen(&source, attribute, 1);
            one(refused_patch(&why, &e, attribute))
        })?;
    }
    let found = draft.validate(Rules::of(Mode::Metal)).errors;
    if found.is_empty() {
        return Ok(draft.write());
    }
    let told = found.iter().take(VIOLATIONS);
    Err(told.map(|v| violation(v, &all)).collect())
}

/// What every node gets from us.
fn ours(image_id: &str, around: Surroundings<'_>) -> Vec<String> {
    let mut out = vec![
        config::event_sink(&around.events.to_string()),
        config::kernel_log("bootd", &format!("tcp://{}/", around.kernel_log)),
    ];
    // A Talos that does not know a document refuses the config: this one is there since 1.8.
    let too_old = version_of(image_id).is_some_and(|v| v.numbers() < (1, 8, 0));
    if !too_old {
        out.push(config::trusted_roots("bootd", around.ca_pem));
    }
    out
}

fn one(error: ErrorDetail) -> Refused {
    vec![error]
}

fn unrendered(error: &LayerError) -> Refused {
    match error {
        LayerError::Arguments(faults) => faults
            .iter()
            .map(|fault| {
                refusal(
                    "config-refused",
                    "The machine config cannot be generated",
                    &fault.to_string(),
                    &arguments::attribute(fault),
                )
            })
            .collect(),
        LayerError::Generate(_) | LayerError::Patch(_) => one(refusal(
            "config-refused",
            "The machine config cannot be generated",
            &error.to_string(),
            "cluster",
        )),
    }
}

fn refused_patch(why: &str, error: &PatchError, attribute: &str) -> ErrorDetail {
    let hint = if matches!(error, PatchError::Json(_)) {
        "write it as a strategic merge patch, or use typed arguments"
    } else {
        "correct the patch; paths and documents are those of Talos's own configuration"
    };
    ErrorDetail {
        hint: hint.into(),
        ..refusal("patch-refused", "A patch cannot be applied", why, attribute)
    }
}

fn violation(found: &Violation, patches: &[(String, String)]) -> ErrorDetail {
    let (at, place) = match found.source {
        Source::Patch(index) => match patches.get(index) {
            Some((attribute, _)) if found.line > 0 => (
                attribute.as_str(),
                format!(
                    "{attribute}, line {}, column {}: ",
                    found.line, found.column
                ),
            ),
            Some((attribute, _)) => (attribute.as_str(), String::new()),
            None => ("patches", String::new()),
        },
        Source::Config => ("patches", String::new()),
    };
    let subject = [found.document.as_str(), found.path.as_str()]
        .into_iter()
        .filter(|t| !t.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    ErrorDetail {
        hint: found.hint.clone().unwrap_or_default(),
        ..refusal(
            "config-invalid",
            "The machine config is not valid",
            &format!("{place}{subject}: {}", found.reason),
            at,
        )
    }
}

fn invalid(why: &str) -> ErrorDetail {
    refusal(
        "config-invalid",
        "The machine config is not valid",
        why,
        "patches",
    )
}

#[cfg(test)]
mod tests;
