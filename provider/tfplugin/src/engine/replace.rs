//! Which changes replace the resource.

use std::collections::BTreeSet;

use crate::engine::words;
use crate::path::Path;
use crate::schema::{Attribute, Nesting, Replace, Shape};
use crate::value::{Object, Value};

/// The attributes whose declared change replaces the resource. A value that the provider decides is no reason by itself.
pub(crate) fn replacements(
    attributes: &[Attribute],
    config: &Object,
    prior: &Object,
    planned: &Object,
) -> BTreeSet<Path> {
    let mut found = BTreeSet::new();
    objects(
        attributes,
        &Path::root(),
        [config, prior, planned],
        &mut found,
    );
    found
}

fn objects(
    attributes: &[Attribute],
    at: &Path,
    [config, prior, planned]: [&Object; 3],
    found: &mut BTreeSet<Path>,
) {
    for a in attributes {
        let of = |o: &'_ Object| o.get(a.name()).clone();
        attribute(
            a,
            at.clone().attr(a.name()),
            &[of(config), of(prior), of(planned)],
            found,
        );
    }
}

fn attribute(a: &Attribute, path: Path, values: &[Value; 3], found: &mut BTreeSet<Path>) {
    let [config, prior, planned] = values;
    let decided = config.is_null() && a.is_computed() && a.default.is_none();
    if decided || a.write_only || words::alike(a, prior, planned) {
        return;
    }
    let replaces = match &a.replace {
        Replace::Never => false,
        Replace::Always => true,
        Replace::If(replaces) => replaces(prior, planned),
    };
    if replaces {
        found.insert(path);
        return;
    }
    let Shape::Nested(nesting, inner) = a.shape() else {
        return;
    };
    if planned.is_unknown() {
        open_object(inner, path, found);
        return;
    }
    match nesting {
        Nesting::Single => nested(inner, &path, values, found),
        Nesting::List => {
            let longest = prior.elements().len().max(planned.elements().len());
            for (at, i) in (0..longest).zip(0u64..) {
                let of = |v: &Value| v.elements().get(at).cloned().unwrap_or_default();
                nested(
                    inner,
                    &path.clone().index(i),
                    &[of(config), of(prior), of(planned)],
                    found,
                );
            }
        }
        Nesting::Map => {
            let keys = |v: &Value| {
                if let Value::Map(m) = v {
                    m.keys().cloned().collect()
                } else {
                    BTreeSet::new()
                }
            };
            for key in keys(prior).union(&keys(planned)) {
                let step = Path::root().key(key);
                let of = |v: &Value| v.at_path(&step).clone();
                nested(
                    inner,
                    &path.clone().key(key),
                    &[of(config), of(prior), of(planned)],
                    found,
                );
            }
        }
        // An element of a set has no path: a change of one is a change of the set.
        Nesting::Set => {
            if inner.iter().any(may_replace) {
                found.insert(path);
            }
        }
    }
}

/// An object that is not there has null attributes.
fn nested(inner: &[Attribute], at: &Path, values: &[Value; 3], found: &mut BTreeSet<Path>) {
    if values[2].is_unknown() {
        open_object(inner, at.clone(), found);
        return;
    }
    let empty = Object::new();
    let [config, prior, planned] = values.each_ref().map(|v| v.as_object().unwrap_or(&empty));
    objects(inner, at, [config, prior, planned], found);
}

/// An object that is unknown may turn out to hold a reason, and the plan that is made again at apply can no longer become a replacement.
fn open_object(inner: &[Attribute], at: Path, found: &mut BTreeSet<Path>) {
    if inner.iter().any(may_replace) {
        found.insert(at);
    }
}

fn may_replace(a: &Attribute) -> bool {
    !a.write_only && (!matches!(a.replace, Replace::Never) || a.nested().iter().any(may_replace))
}
