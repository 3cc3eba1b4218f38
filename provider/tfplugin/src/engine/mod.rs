//! The rules of Terraform as pure functions over schemas and values. No I/O, no provider code.
//!
//! [`propose`] and [`mark_unknown`] make a plan, [`replacements`] names what replaces, [`settle`] makes the state after apply,
//! [`validate`] checks a configuration, [`config_of`] makes one from a state. Where the host would refuse an answer, these do not give it.

mod blocks;
#[cfg(test)]
mod blocks_tests;
mod generate;
mod propose;
mod replace;
mod settle;
#[cfg(test)]
mod tests;
mod validate;
mod words;

pub(crate) use blocks::with_empty_blocks;
pub(crate) use generate::config_of;
pub(crate) use propose::{follow, mark_unknown, propose};
pub(crate) use replace::replacements;
pub(crate) use settle::{
    only_local_changes, partial, refreshed, settle, with_local_defaults, write_only_as_null,
};
pub(crate) use validate::{WriteOnly, validate};

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::plan::Plan;
use crate::schema::{Attribute, Schema};
use crate::value::{Object, Value};

/// Plans a creation (no prior state) or an update, before the resource looks at it.
pub(crate) fn plan(schema: &Arc<Schema>, prior: Option<Object>, config: Object) -> Plan {
    let proposed = propose(&schema.attributes, &config, prior.as_ref());
    let changes = prior
        .as_ref()
        .is_none_or(|p| declared_change(schema, p, &proposed));
    let mut planned = Value::Object(proposed);
    if changes {
        let empty = Object::new();
        let before = prior.as_ref().unwrap_or(&empty);
        planned = match prior {
            Some(_) => mark_unknown(schema, before, &Value::Object(config.clone()), planned),
            None => propose::mark_created(schema, &config, planned),
        };
    }
    Plan {
        schema: Arc::clone(schema),
        prior,
        config,
        planned,
        replace: BTreeSet::new(),
        touched: changes,
        settled: BTreeSet::new(),
        mistakes: Vec::new(),
    }
}

/// What the result of a data source must be: what is declared, defaults, and the rest is the provider's.
pub(crate) fn expected(schema: &Schema, config: &Object) -> Object {
    let proposed = Value::Object(propose(&schema.attributes, config, None));
    let expected = propose::mark_created(schema, config, proposed);
    expected.as_object().cloned().unwrap_or_default()
}

/// Other words for the same are no change outside.
fn declared_change(schema: &Schema, prior: &Object, proposed: &Object) -> bool {
    let same = |a: &Attribute| words::alike(a, prior.get(a.name()), proposed.get(a.name()));
    !schema.attributes.iter().all(|a| a.local || same(a))
}
