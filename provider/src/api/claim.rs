//! Claims.

use metal_proto::metal::v1 as pb;
use tfplugin::{Diagnostic, Field};

use super::{hardware, named, place, remarks};
use crate::client::{CallError, Client};
use crate::fields::{said, some, text, texts};
use crate::memory::Memory;
use crate::resource::claim::schema::{Claim, Method, OnWipeFailure, SpreadBy, Wipe, WipeScope};
use crate::resource::hardware::{Hardware, Place};

/// A box that is held softly for a claim.
pub(crate) struct Picked {
    pub(crate) server_id: String,
    pub(crate) hardware: Field<Hardware>,
    pub(crate) location: Field<Place>,
    pub(crate) fit: Field<String>,
    /// Fitting servers that are free before and after.
    pub(crate) free: (u32, u32),
}

/// Which box a claim would get, and bootd's remarks.
pub(crate) async fn plan_claim(
    client: &Client,
    what: &str,
    claim: &Claim,
) -> Result<(Option<Picked>, Vec<Diagnostic>), CallError> {
    let answer = client
        .plan_claim(pb::PlanClaimRequest {
            config: Some(config(claim)),
        })
        .await?;
    let told = remarks(what, client, answer.remarks);
    let picked = (!answer.server_id.is_empty()).then(|| Picked {
        server_id: answer.server_id,
        hardware: answer.hardware.map(|h| hardware(&h)).into(),
        location: place(answer.location.as_ref()),
        fit: said(answer.fit),
        free: (answer.free_before, answer.free_after),
    });
    Ok((picked, told))
}

/// Takes a box; the one that was planned, where one was.
pub(crate) async fn put_claim(
    client: &Client,
    claim: &Claim,
    expected: String,
) -> Result<Claim, CallError> {
    let request = pb::PutClaimRequest {
        config: Some(config(claim)),
        expected_server_id: expected,
    };
    Ok(seen(&client.put_claim(request).await?))
}

/// The claim as bootd has it; what means the same as in `prior` is left as written there.
pub(crate) async fn read_claim(client: &Client, prior: &Claim) -> Result<Claim, CallError> {
    let answer = client.read_claim(named(&text(&prior.name))).await?;
    // A claim that is being released is as good as gone only once its wipe has ended: deletion is what waits for it.
    let stated = answer.config.clone().unwrap_or_default();
    let held = seen(&answer);
    let by_class = |c: &Claim| {
        let mut c = c.clone();
        if !text(&c.server_class_id).is_empty() {
            c.server_id = Field::Null;
        }
        c
    };
    let mut claim = if stated == config(&by_class(prior)) {
        prior.clone()
    } else {
        declared(&stated)
    };
    let same_box = claim.server_id == held.server_id && prior.server_id == held.server_id;
    claim.id = claim.name.clone();
    claim.server_id = held.server_id;
    claim.generation = held.generation;
    // Details of the same box are kept as they were, so that states do not churn.
    let old = |keep: bool| same_box && keep;
    claim.hardware = if old(prior.hardware.is_known()) {
        prior.hardware.clone()
    } else {
        held.hardware
    };
    claim.location = if old(prior.hardware.is_known()) {
        prior.location.clone()
    } else {
        held.location
    };
    claim.fit = if old(prior.fit.is_known()) {
        prior.fit.clone()
    } else {
        held.fit
    };
    Ok(claim)
}

pub(crate) async fn release_claim(client: &Client, name: &str) -> Result<(), CallError> {
    client.release_claim(named(name)).await.map(|_| ())
}

/// Tells the nodes of this plan who holds the box.
pub(crate) fn remember_claim(memory: &Memory, server: &str, claim: &Claim) {
    memory.claim(server, config(claim));
}

fn seen(claim: &pb::Claim) -> Claim {
    Claim {
        server_id: said(claim.server_id.clone()),
        generation: claim.generation.into(),
        hardware: claim.hardware.as_ref().map(hardware).into(),
        location: place(claim.location.as_ref()),
        fit: said(claim.fit.clone()),
        ..Claim::default()
    }
}

fn config(claim: &Claim) -> pb::ClaimConfig {
    let on_wipe_failure = match claim.on_wipe_failure.known() {
        Some(OnWipeFailure::Fail) => pb::OnWipeFailure::Fail,
        Some(OnWipeFailure::Quarantine) | None => pb::OnWipeFailure::Quarantine,
    };
    // The box that was taken from a class is an answer, not a statement.
    let by_class = claim.server_class_id.is_known();
    pb::ClaimConfig {
        name: text(&claim.name),
        server_class_id: text(&claim.server_class_id),
        server_id: if by_class {
            String::new()
        } else {
            text(&claim.server_id)
        },
        spread_by: claim
            .spread_by
            .known()
            .map(|s| s.as_str().to_owned())
            .unwrap_or_default(),
        avoid: texts(&claim.avoid),
        wipe: claim.wipe.known().map(wipe),
        allow_wipe: texts(&claim.allow_wipe),
        on_wipe_failure: on_wipe_failure.into(),
    }
}

fn wipe(wipe: &Wipe) -> pb::Wipe {
    use pb::wipe_disks::Which;
    let method = match wipe.method.known() {
        Some(Method::None) => pb::WipeMethod::None,
        Some(Method::Full) => pb::WipeMethod::Full,
        Some(Method::Quick) | None => pb::WipeMethod::Quick,
    };
    let which = match (wipe.disks.known(), wipe.selected.known()) {
        (Some(WipeScope::All), _) => Some(Which::All(true)),
        (Some(WipeScope::Written), _) => Some(Which::Written(true)),
        (None, Some(serials)) => Some(Which::Selected(pb::SerialList {
            serials: serials.clone(),
        })),
        (None, None) => None,
    };
    pb::Wipe {
        method: method.into(),
        disks: which.map(|which| pb::WipeDisks { which: Some(which) }),
    }
}

fn declared(c: &pb::ClaimConfig) -> Claim {
    use pb::wipe_disks::Which;
    let wipe = c.wipe.as_ref().map(|w| {
        let (disks, selected) = match w.disks.as_ref().and_then(|d| d.which.clone()) {
            Some(Which::All(_)) => (Some(WipeScope::All), None),
            Some(Which::Written(_)) => (Some(WipeScope::Written), None),
            Some(Which::Selected(list)) => (None, Some(list.serials)),
            None => (None, None),
        };
        let method = match w.method() {
            pb::WipeMethod::None => Method::None,
            pb::WipeMethod::Full => Method::Full,
            pb::WipeMethod::Quick | pb::WipeMethod::Unspecified => Method::Quick,
        };
        Wipe {
            method: method.into(),
            disks: disks.into(),
            selected: selected.into(),
        }
    });
    let on_wipe_failure = match c.on_wipe_failure() {
        pb::OnWipeFailure::Fail => OnWipeFailure::Fail,
        pb::OnWipeFailure::Quarantine | pb::OnWipeFailure::Unspecified => OnWipeFailure::Quarantine,
    };
    Claim {
        name: c.name.clone().into(),
        server_class_id: said(c.server_class_id.clone()),
        server_id: said(c.server_id.clone()),
        spread_by: c.spread_by.parse::<SpreadBy>().ok().into(),
        avoid: some(c.avoid.clone()),
        wipe: wipe.into(),
        allow_wipe: some(c.allow_wipe.clone()),
        on_wipe_failure: on_wipe_failure.into(),
        ..Claim::default()
    }
}
