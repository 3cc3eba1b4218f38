//! Small words between the wire and the core: names, times, phases, match rules.

use std::collections::BTreeMap;

use bootd_core::class::{DiskRule, LabelRule, Match, Range, Sense};
use bootd_core::id::Timestamp;
use bootd_core::lifecycle::{Failure, Phase};
use metal_proto::metal::v1 as pb;

use super::status::{ApiError, Story};

/// Longest name.
const NAME_MAX: usize = 63;

/// `[a-z0-9][a-z0-9-]{0,62}`.
pub(super) fn name(text: &str, attribute: &str) -> Result<(), ApiError> {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = text.starts_with(first)
        && text.len() <= NAME_MAX
        && text.chars().all(|c| first(c) || c == '-');
    if good {
        return Ok(());
    }
    Err(Story::new("bad-name", "Not a usable name")
        .detail(format!(
            "{text:?} must start with a lower-case letter or digit and hold only those and hyphens, at most {NAME_MAX}."
        ))
        .hint("choose another name.")
        .at(attribute)
        .invalid())
}

/// `CLUSTER/NODE`.
pub(super) fn slot<'a>(text: &'a str, attribute: &str) -> Result<(&'a str, &'a str), ApiError> {
    let (cluster, node) = text.split_once('/').ok_or_else(|| {
        Story::new("bad-name", "Not a usable name")
            .detail(format!("{text:?} must be CLUSTER/NODE."))
            .hint("write the cluster's name, a slash, and the node's name.")
            .at(attribute)
            .invalid()
    })?;
    name(cluster, attribute)?;
    name(node, attribute)?;
    Ok((cluster, node))
}

pub(super) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(at.0 / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(at.0 % 1000).unwrap_or(0) * 1_000_000,
    }
}

pub(super) fn phase(phase: &Phase) -> pb::Phase {
    match phase {
        Phase::Discovered => pb::Phase::Discovered,
        Phase::Inspecting => pb::Phase::Inspecting,
        Phase::Available => pb::Phase::Available,
        Phase::Installing(_) => pb::Phase::Installing,
        Phase::Running(_) => pb::Phase::Running,
        Phase::Wiping => pb::Phase::Wiping,
        Phase::Failed(_) => pb::Phase::Failed,
        Phase::Quarantined(_) => pb::Phase::Quarantined,
        Phase::Retired => pb::Phase::Retired,
    }
}

pub(super) fn failure(f: &Failure) -> pb::ErrorDetail {
    pb::ErrorDetail {
        reason: f.reason.clone(),
        summary: f.summary.clone(),
        detail: f.detail.clone(),
        hint: f.hint.clone(),
        attribute: String::new(),
    }
}

fn range(r: Option<pb::Range>) -> Range {
    r.map_or(Range::default(), |r| Range {
        min: r.min,
        max: r.max,
    })
}

pub(super) fn rules(m: &pb::Match) -> Match {
    Match {
        cpu_cores: range(m.cpu_cores),
        cpu_threads: range(m.cpu_threads),
        memory_bytes: range(m.memory_bytes),
        arch: m.arch.clone(),
        manufacturer: m.manufacturer.clone(),
        product: m.product.clone(),
        disks: m
            .disks
            .iter()
            .map(|d| DiskRule {
                kind: d.r#type.clone(),
                bytes: range(d.bytes),
                model: d.model.clone(),
                count: range(d.count),
            })
            .collect(),
        labels: m
            .labels
            .iter()
            .map(|l| LabelRule {
                key: l.key.clone(),
                any_of: l.any_of.clone(),
                sense: if l.negate {
                    Sense::MustNot
                } else {
                    Sense::Must
                },
            })
            .collect(),
    }
}

/// A range that no value can meet.
pub(super) fn impossible(m: &pb::Match) -> Option<&'static str> {
    let empty = |r: Option<pb::Range>| {
        r.is_some_and(|r| matches!((r.min, r.max), (Some(min), Some(max)) if min > max))
    };
    [
        ("match.cpu_cores", m.cpu_cores),
        ("match.cpu_threads", m.cpu_threads),
        ("match.memory", m.memory_bytes),
    ]
    .into_iter()
    .find(|(_, r)| empty(*r))
    .map(|(name, _)| name)
}

/// Labels in a fixed order.
pub(super) fn labels(map: &std::collections::HashMap<String, String>) -> BTreeMap<String, String> {
    map.clone().into_iter().collect()
}
