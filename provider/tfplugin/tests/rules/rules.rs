//! The rules that Terraform holds a provider to, written down from what it enforces (and not from the engine): what a plan may be,
//! what a result may be after a plan, and the proposal that it makes by itself. Each returns every breach it finds.

use std::collections::BTreeMap;

use metal_proto::tfplugin6::schema::object::NestingMode;

use crate::host::{Attr, Step, Ty, Val};

/// May this be planned for this configuration on this state?
pub(crate) fn plan_breaches(
    attrs: &[Attr],
    prior: &Val,
    config: &Val,
    planned: &Val,
) -> Vec<String> {
    object_breaches(attrs, std::slice::from_ref(prior), config, planned)
}

/// Below a set, any of its elements in the state may have been what is at this place now.
fn object_breaches(attrs: &[Attr], priors: &[Val], config: &Val, planned: &Val) -> Vec<String> {
    // An element that is unknown as a whole has no attributes yet.
    if (config, planned) == (&Val::Unknown, &Val::Unknown) {
        return Vec::new();
    }
    let one = |a: &Attr| {
        let priors: Vec<_> = priors.iter().map(|p| p.attr(&a.name)).collect();
        let found = planned_attribute(a, &priors, &config.attr(&a.name), &planned.attr(&a.name));
        found
            .into_iter()
            .map(|b| format!("{}: {b}", a.name))
            .collect::<Vec<_>>()
    };
    attrs.iter().flat_map(one).collect()
}

fn planned_attribute(a: &Attr, priors: &[Val], config: &Val, planned: &Val) -> Vec<String> {
    if a.write_only {
        return breach(!planned.is_null(), || {
            "a write-only value is in the plan".into()
        });
    }
    // As configured, or the state's way of writing it, or the provider's decision.
    let accepted = planned == config
        || (priors.contains(planned) && !planned.is_null() && !config.is_null())
        || (config.is_null() && a.computed);
    if accepted {
        return Vec::new();
    }
    let Some((nesting, inner)) = &a.nested else {
        return vec![format!(
            "planned {planned:?} where {config:?} is configured"
        )];
    };
    let shown = || format!("planned {planned:?} where {config:?} is configured");
    let before = |step: &Step| {
        let at = std::slice::from_ref(step);
        let there = priors.iter().filter_map(|p| p.at(at));
        there.collect::<Vec<_>>()
    };
    match (config, planned) {
        (Val::Null | Val::Unknown, _) | (_, Val::Null | Val::Unknown) => vec![shown()],
        (Val::Object(_), Val::Object(_)) => object_breaches(inner, priors, config, planned),
        (Val::List(cs), Val::List(ns)) if cs.len() == ns.len() => (0..cs.len())
            .flat_map(|i| object_breaches(inner, &before(&Step::Index(i)), &cs[i], &ns[i]))
            .collect(),
        (Val::Map(cs), Val::Map(ns)) if cs.keys().eq(ns.keys()) => cs
            .keys()
            .flat_map(|k| object_breaches(inner, &before(&Step::Key(k.clone())), &cs[k], &ns[k]))
            .collect(),
        (Val::Set(cs), Val::Set(ns)) if *nesting == NestingMode::Set => {
            let known = config.wholly_known() && planned.wholly_known();
            let mut found = breach(known && cs.len() != ns.len(), || {
                format!(
                    "{} elements are planned where {} are configured",
                    ns.len(),
                    cs.len()
                )
            });
            // A value may keep the way that one in the state was written, in blocks, too. Hosts count the elements and leave the rest to
            // the provider; engines take such plans (the story `the_same_in_other_words`).
            let of_set = |p: &Val| match p {
                Val::Set(ps) => ps.clone(),
                _ => Vec::new(),
            };
            let states: Vec<_> = priors.iter().flat_map(of_set).collect();
            found.extend(uncorrelated(cs, ns, |c, n| {
                object_breaches(inner, &states, c, n).is_empty()
            }));
            found
        }
        _ => vec![shown()],
    }
}

/// Write-only values anywhere in a value of this attribute.
pub(crate) fn write_only_values(a: &Attr, value: &Val) -> Vec<String> {
    if a.write_only {
        return breach(!value.is_null(), || {
            format!("{}: a write-only value is told", a.name)
        });
    }
    let Some((_, inner)) = &a.nested else {
        return Vec::new();
    };
    let of_object = |o: &Val| {
        let each = |i: &Attr| write_only_values(i, &o.attr(&i.name));
        if matches!(o, Val::Object(_)) {
            inner.iter().flat_map(each).collect()
        } else {
            Vec::new()
        }
    };
    match value {
        Val::List(es) | Val::Set(es) => es.iter().flat_map(of_object).collect(),
        Val::Map(es) => es.values().flat_map(of_object).collect(),
        single => of_object(single),
    }
}

/// Lists and sets of blocks that are null.
fn null_blocks(a: &Attr, value: &Val) -> Vec<String> {
    let Some((nesting, inner)) = &a.nested else {
        return Vec::new();
    };
    let many = *nesting != NestingMode::Single;
    let mut found = breach(a.block && many && value.is_null(), || {
        format!("{}: blocks are null", a.name)
    });
    let objects: Vec<&Val> = match value {
        Val::List(es) | Val::Set(es) => es.iter().collect(),
        Val::Map(es) => es.values().collect(),
        single => vec![single],
    };
    for object in objects.iter().filter(|o| matches!(o, Val::Object(_))) {
        found.extend(
            inner
                .iter()
                .flat_map(|i| null_blocks(i, &object.attr(&i.name))),
        );
    }
    found
}

/// What a state may never hold.
pub(crate) fn state_breaches(attrs: &[Attr], state: &Val) -> Vec<String> {
    let mut found = breach(!state.wholly_known(), || {
        "something is unknown in the state".into()
    });
    for a in attrs {
        found.extend(write_only_values(a, &state.attr(&a.name)));
        if !state.is_null() {
            found.extend(null_blocks(a, &state.attr(&a.name)));
        }
    }
    found
}

/// May this follow a plan: as the state after apply, or as the plan made again at apply?
pub(crate) fn result_breaches(planned: &Val, actual: &Val, ty: &Ty) -> Vec<String> {
    match (planned, actual) {
        (Val::Unknown, _) => return Vec::new(),
        (Val::Dynamic(p), Val::Dynamic(a)) if p.0 == a.0 => {
            return result_breaches(&p.1, &a.1, &p.0);
        }
        (Val::Null, actual) => {
            return breach(!actual.is_null(), || format!("was null, is {actual:?}"));
        }
        (_, Val::Null) => return vec![format!("was {planned:?}, is null")],
        (_, Val::Unknown) => return vec![format!("was {planned:?}, is unknown")],
        _ => {}
    }
    let below =
        |at: String, found: Vec<String>| found.into_iter().map(move |b| format!("{at}.{b}"));
    match (planned, actual, ty) {
        (Val::Object(ps), Val::Object(fields), Ty::Object(types)) => ps
            .iter()
            .flat_map(|(k, p)| below(k.clone(), result_breaches(p, &fields[k], &types[k])))
            .collect(),
        (Val::List(ps), Val::List(es), Ty::List(e)) if ps.len() == es.len() => (0..ps.len())
            .flat_map(|i| below(i.to_string(), result_breaches(&ps[i], &es[i], e)))
            .collect(),
        (Val::List(ps), Val::List(es), Ty::Tuple(types)) if ps.len() == es.len() => (0..ps.len())
            .flat_map(|i| below(i.to_string(), result_breaches(&ps[i], &es[i], &types[i])))
            .collect(),
        (Val::Map(ps), Val::Map(es), Ty::Map(e)) if ps.keys().eq(es.keys()) => ps
            .keys()
            .flat_map(|k| below(k.clone(), result_breaches(&ps[k], &es[k], e)))
            .collect(),
        (Val::Set(ps), Val::Set(es), Ty::Set(e)) => {
            let known = planned.wholly_known() && actual.wholly_known();
            let mut found = breach(known && ps.len() != es.len(), || {
                "the set's length changed".into()
            });
            found.extend(uncorrelated(ps, es, |p, a| {
                result_breaches(p, a, e).is_empty()
            }));
            found
        }
        _ => breach(planned != actual, || {
            format!("was {planned:?}, is {actual:?}")
        }),
    }
}

/// Elements of two sets that no element of the other one may stem from.
fn uncorrelated(planned: &[Val], actual: &[Val], fits: impl Fn(&Val, &Val) -> bool) -> Vec<String> {
    let lost = planned
        .iter()
        .filter(|p| !actual.iter().any(|a| fits(p, a)));
    let strange = actual
        .iter()
        .filter(|a| !planned.iter().any(|p| fits(p, a)));
    let mut found: Vec<_> = lost
        .map(|p| format!("nothing stems from set element {p:?}"))
        .collect();
    found.extend(strange.map(|a| format!("set element {a:?} stems from nothing")));
    found
}

/// The paths that make it a replacement in the host's eyes; or paths that lead nowhere, which it refuses.
pub(crate) fn replacing(
    paths: &[Vec<Step>],
    prior: &Val,
    planned: &Val,
) -> Result<Vec<Vec<Step>>, String> {
    let mut effective = Vec::new();
    for path in paths {
        match (prior.at(path), planned.at(path)) {
            (None, None) => return Err(format!("replaced because of {path:?}, which is nowhere")),
            (before, after) => {
                let (before, after) = (before.unwrap_or(Val::Null), after.unwrap_or(Val::Null));
                if before != after || !after.wholly_known() {
                    effective.push(path.clone());
                }
            }
        }
    }
    Ok(effective)
}

/// The host's proposal: the configuration, with the state's values where the provider decides.
pub(crate) fn proposal(attrs: &[Attr], prior: &Val, config: &Val) -> Val {
    let one = |a: &Attr| {
        let (before, configured) = (prior.attr(&a.name), config.attr(&a.name));
        let value = match &a.nested {
            _ if a.computed && configured.is_null() => {
                // A value that only a configuration can have made goes with it.
                let declared = a.optional && a.nested.is_some() && only_declared(a, &before);
                if declared { Val::Null } else { before }
            }
            Some((_, inner)) => proposed_nested(inner, &before, &configured),
            None => configured,
        };
        (a.name.clone(), value)
    };
    Val::Object(attrs.iter().map(one).collect())
}

/// Does a nested value hold something that no provider may decide?
fn only_declared(a: &Attr, value: &Val) -> bool {
    let Some((_, inner)) = &a.nested else {
        return !a.computed && !value.is_null();
    };
    let of_object = |o: &Val| inner.iter().any(|i| only_declared(i, &o.attr(&i.name)));
    match value {
        Val::Null => false,
        Val::List(es) | Val::Set(es) => es.iter().any(of_object),
        Val::Map(es) => es.values().any(of_object),
        single => of_object(single),
    }
}

fn proposed_nested(inner: &[Attr], prior: &Val, config: &Val) -> Val {
    let before = |step: Step| prior.at(&[step]).unwrap_or(Val::Null);
    match config {
        Val::Object(_) => proposal(inner, prior, config),
        Val::List(cs) => Val::List(
            cs.iter()
                .enumerate()
                .map(|(i, c)| proposed_element(inner, &before(Step::Index(i)), c))
                .collect(),
        ),
        Val::Map(cs) => {
            let each = |(k, c): (&String, &Val)| {
                (
                    k.clone(),
                    proposed_element(inner, &before(Step::Key(k.clone())), c),
                )
            };
            Val::Map(cs.iter().map(each).collect::<BTreeMap<_, _>>())
        }
        Val::Set(cs) => {
            let mut left: Vec<_> = if let Val::Set(ps) = prior {
                ps.clone()
            } else {
                Vec::new()
            };
            let mut each = |c: &Val| {
                let from = left.iter().position(|p| stems(inner, c, p));
                let before = from.map_or(Val::Null, |i| left.remove(i));
                proposed_element(inner, &before, c)
            };
            Val::set(cs.iter().map(&mut each).collect())
        }
        other => other.clone(),
    }
}

fn proposed_element(inner: &[Attr], prior: &Val, config: &Val) -> Val {
    if matches!(config, Val::Object(_)) {
        proposal(inner, prior, config)
    } else {
        config.clone()
    }
}

/// Could the state's element have come from this configured one?
fn stems(inner: &[Attr], config: &Val, prior: &Val) -> bool {
    let fits = |a: &Attr| {
        let (c, p) = (config.attr(&a.name), prior.attr(&a.name));
        c == p || (a.computed && c.is_null())
    };
    inner.iter().all(fits)
}

fn breach(is: bool, what: impl FnOnce() -> String) -> Vec<String> {
    if is { vec![what()] } else { Vec::new() }
}
