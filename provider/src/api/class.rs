//! Server classes.

use std::collections::BTreeMap;

use metal_proto::metal::v1 as pb;
use tfplugin::Field;

use super::{named, range, range_text};
use crate::client::{CallError, Client};
use crate::fields::{entries, said, some, text, texts};
use crate::range::Counts;
use crate::resource::class::schema::{Class, DiskRule, Match};

pub(crate) async fn put_class(client: &Client, class: &Class) -> Result<(), CallError> {
    client.put_class(config(class)).await.map(|_| ())
}

/// The class as bootd has it; what means the same as in `prior` is left as written there.
pub(crate) async fn read_class(
    client: &Client,
    id: &str,
    prior: &Class,
) -> Result<Class, CallError> {
    let seen = client.read_class(named(id)).await?;
    let mut class = if seen == config(prior) {
        prior.clone()
    } else {
        declared(&seen)
    };
    class.id = id.into();
    Ok(class)
}

pub(crate) async fn delete_class(client: &Client, id: &str) -> Result<(), CallError> {
    client.delete_class(named(id)).await.map(|_| ())
}

fn config(class: &Class) -> pb::ClassConfig {
    let rules = class.r#match.known().cloned().unwrap_or_default();
    let labels = rules.labels.known().cloned().unwrap_or_default();
    let arch = rules.arch.known().map(|a| a.as_str().to_owned());
    pb::ClassConfig {
        name: text(&class.name),
        r#match: Some(pb::Match {
            cpu_cores: range(&rules.cpu_cores, Counts::Things),
            cpu_threads: range(&rules.cpu_threads, Counts::Things),
            memory_bytes: range(&rules.memory, Counts::Bytes),
            arch: arch.unwrap_or_default(),
            manufacturer: text(&rules.manufacturer),
            product: text(&rules.product),
            disks: rules
                .disks
                .known()
                .into_iter()
                .flatten()
                .map(disk_rule)
                .collect(),
            labels: labels.iter().map(|(k, v)| label_rule(k, v)).collect(),
        }),
        servers: texts(&class.servers),
    }
}

fn disk_rule(rule: &DiskRule) -> pb::DiskRule {
    let kind = rule.r#type.known().map(|t| t.as_str().to_owned());
    pb::DiskRule {
        r#type: kind.unwrap_or_default(),
        bytes: range(&rule.size, Counts::Bytes),
        model: text(&rule.model),
        count: range(&rule.count, Counts::Things),
    }
}

fn label_rule(key: &str, rule: &str) -> pb::LabelRule {
    let (negate, bare) = match rule.strip_prefix('!') {
        Some(bare) => (true, bare),
        None => (false, rule),
    };
    let any_of = match bare {
        "*" => Vec::new(),
        values => values.split('|').map(str::to_owned).collect(),
    };
    pb::LabelRule {
        key: key.to_owned(),
        any_of,
        negate,
    }
}

fn declared(c: &pb::ClassConfig) -> Class {
    let rules = c.r#match.clone().unwrap_or_default();
    let disk = |d: &pb::DiskRule| DiskRule {
        r#type: d.r#type.parse().ok().into(),
        size: range_text(d.bytes.as_ref(), Counts::Bytes),
        model: said(d.model.clone()),
        count: range_text(d.count.as_ref(), Counts::Things),
    };
    let label = |l: &pb::LabelRule| {
        let values = if l.any_of.is_empty() {
            "*".to_owned()
        } else {
            l.any_of.join("|")
        };
        (
            l.key.clone(),
            if l.negate {
                format!("!{values}")
            } else {
                values
            },
        )
    };
    let rules = Match {
        cpu_cores: range_text(rules.cpu_cores.as_ref(), Counts::Things),
        cpu_threads: range_text(rules.cpu_threads.as_ref(), Counts::Things),
        memory: range_text(rules.memory_bytes.as_ref(), Counts::Bytes),
        arch: rules.arch.parse().ok().into(),
        manufacturer: said(rules.manufacturer),
        product: said(rules.product),
        disks: some(rules.disks.iter().map(disk).collect()),
        labels: entries(rules.labels.iter().map(label).collect::<BTreeMap<_, _>>()),
    };
    Class {
        id: c.name.clone().into(),
        name: c.name.clone().into(),
        r#match: if rules == Match::default() {
            Field::Null
        } else {
            rules.into()
        },
        servers: some(c.servers.clone()),
    }
}
