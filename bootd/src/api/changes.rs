//! What a statement about a node does to it, and which of that this bootd does not carry out.
//!
//! Promises: the class is [`talos::diff`]'s, between the config that the node has and the one that it would get; the same words are
//! no change, whatever rendered them. Pure. Deliberately not here: rendering, and the disks that an install destroys.

use bootd_core::lifecycle::Phase;
use metal_proto::metal::v1 as pb;
use prost::Message as _;
use talos::config::MachineConfig;
use talos::diff::{ChangeClass, Diff, diff};
use talos::secrets::Bundle;
use talos::version::{Generator, TalosVersion};

use super::status::{ApiError, Story};
use crate::store::{Doc, Record, StoreError};
use crate::talos::{NodeState, status, version_of};

/// So many places are named in an error.
const PLACES: usize = 5;

/// What a statement does to a node.
#[derive(Debug)]
pub(super) struct Effect {
    /// The class, as a plan says it.
    pub(super) change: pb::Change,
    /// Keys of the config that make it so, without values.
    places: Vec<String>,
    /// The argument that makes it so, as far as that is clear.
    attribute: &'static str,
}

impl Effect {
    fn of(change: pb::Change) -> Self {
        Self {
            change,
            places: Vec::new(),
            attribute: "",
        }
    }
}

/// Compares what a node has with what it would get. A node that was unbound and comes back to the same box (`here`) goes on where it
/// was: that is no install.
pub(super) fn consequence(
    before: Option<&Doc>,
    config: &pb::NodeConfig,
    here: &str,
    rendered: &MachineConfig,
    generator: Generator,
    bundle: &Bundle,
) -> Result<Effect, ApiError> {
    let Some(doc) = before else {
        return Ok(Effect::of(pb::Change::Install));
    };
    let state: NodeState = status(doc);
    if doc.machine.is_none() && state.made_for != here {
        return Ok(Effect::of(pb::Change::Install));
    }
    let damaged = || ApiError::Store(StoreError::Damaged("docs"));
    let old = pb::NodeConfig::decode(doc.config.as_slice()).map_err(|_| damaged())?;
    if old == *config {
        return Ok(Effect::of(pb::Change::None));
    }
    if old.server_id != config.server_id {
        return Ok(Effect {
            attribute: "server_id",
            ..Effect::of(pb::Change::Reinstall)
        });
    }
    let text = doc.sealed.as_ref().ok_or_else(damaged)?;
    let text = std::str::from_utf8(text.expose()).map_err(|_| damaged())?;
    let talos = running(&state, &old);
    let found = diff(
        generator,
        &MachineConfig::new(text),
        rendered,
        &talos,
        bundle,
    )
    .map_err(|_| damaged())?;
    Ok(weighed(&found, &old, config))
}

/// What it said it runs, or was installed with. Older versions reboot for more, so that is what an unknown one is taken for.
fn running(state: &NodeState, old: &pb::NodeConfig) -> TalosVersion {
    let said = state.version.parse().ok();
    said.or_else(|| version_of(&old.image_id))
        .unwrap_or_else(|| "v1.6.0".parse().expect("it is a version"))
}

/// Another image is an upgrade also where the config names the same installer.
fn weighed(found: &Diff, old: &pb::NodeConfig, new: &pb::NodeConfig) -> Effect {
    let other_image = old.image_id != new.image_id;
    let class = if other_image {
        found.class().max(ChangeClass::Upgrade)
    } else {
        found.class()
    };
    let decisive = || found.changes.iter().filter(|c| c.class == class);
    let installs_elsewhere = decisive().any(|c| {
        let path: Vec<&str> = c.path.iter().map(String::as_str).collect();
        c.document == "UnattendedInstallConfig" || path.starts_with(&["machine", "install"])
    });
    let attribute = match class {
        ChangeClass::Reinstall if installs_elsewhere => "install_disk",
        ChangeClass::Upgrade if other_image => "image_id",
        ChangeClass::None
        | ChangeClass::Apply
        | ChangeClass::Reboot
        | ChangeClass::Upgrade
        | ChangeClass::Reinstall => "patches",
    };
    let place = |c: &talos::diff::Change| format!("{} {}", c.document, c.path.join("."));
    Effect {
        change: match class {
            ChangeClass::None => pb::Change::None,
            ChangeClass::Apply => pb::Change::Apply,
            ChangeClass::Reboot => pb::Change::Reboot,
            ChangeClass::Upgrade => pb::Change::Upgrade,
            ChangeClass::Reinstall => pb::Change::Reinstall,
        },
        places: decisive().take(PLACES).map(place).collect(),
        attribute,
    }
}

/// Is an install still ahead? Once something was written, the claim's own content is on the disks.
pub(super) fn installs(record: &Record) -> bool {
    record.machine.written.is_empty() && !matches!(record.machine.phase, Phase::Running(_))
}

impl Effect {
    /// Changes that this bootd does not carry out: refused at plan, and before an apply has changed anything.
    pub(super) fn beyond(&self, id: &str, record: &Record) -> Option<Story> {
        let running = matches!(record.machine.phase, Phase::Running(_));
        match self.change {
            pb::Change::Upgrade if running => Some(self.upgrade(id, record)),
            // Nothing may be installed to a disk that the first disk check has not seen as a target.
            pb::Change::Reinstall if !installs(record) => Some(self.reinstall(id, record)),
            pb::Change::Unspecified
            | pb::Change::None
            | pb::Change::Apply
            | pb::Change::Reboot
            | pb::Change::Upgrade
            | pb::Change::Reinstall
            | pb::Change::Install => None,
        }
    }

    fn upgrade(&self, id: &str, record: &Record) -> Story {
        let box_id = &record.machine.id;
        let (what, back) = match self.attribute {
            "image_id" => (
                "another image_id would upgrade it".to_owned(),
                "put the image's old talos_version back",
            ),
            _ => (
                format!("{} takes effect with an upgrade only", self.places()),
                "take the change back",
            ),
        };
        Story::new("upgrade-not-available", "Talos upgrades are not carried out yet")
            .detail(format!(
                "{id} runs on {box_id}, and {what}. This bootd does not upgrade nodes; nothing was changed."
            ))
            .hint(format!("{back}, or replace the node with its claim: terraform apply -replace='metal_server_claim…'"))
            .at(self.attribute)
    }

    fn reinstall(&self, id: &str, record: &Record) -> Story {
        let box_id = &record.machine.id;
        let replace =
            "or replace the node with its claim: terraform apply -replace='metal_server_claim…'";
        let story = if self.attribute == "install_disk" {
            Story::new("reinstall-not-available", "The install disk cannot be changed any more")
                .detail(format!(
                    "{id} was written to {box_id} already, and install_disk now means another disk, which would install it again. This bootd does not; nothing was changed."
                ))
                .hint(format!("put the old install_disk back, or name the old disk by its serial; {replace}"))
        } else {
            Story::new("reinstall-not-available", "The change needs a new installation")
                .detail(format!(
                    "{id} was written to {box_id} already, and {} contradicts what is on its disks. This bootd does not install nodes again; nothing was changed.",
                    self.places()
                ))
                .hint(format!("take the change back, {replace}"))
        };
        story.at(self.attribute)
    }

    fn places(&self) -> String {
        match self.places.as_slice() {
            [] => "the change".to_owned(),
            places => places.join(", "),
        }
    }
}

#[cfg(test)]
mod tests;
