//! Configurations of blocks: their values, what must not be stored, and how often a block is there.

use std::collections::BTreeMap;

use hcl_edit::expr::Expression;
use hcl_edit::structure::Body;

use super::link::Link;
use crate::kit::steps::hcl::{Declared, Repeat};
use crate::kit::steps::schema::BlockSchema;
use crate::kit::steps::scope::Scope;
use crate::value::{Object, Value};

/// Evaluates until no function is left to call.
pub(super) async fn with_calls<T>(link: &mut Link, scope: &Scope, evaluate: impl Fn() -> T) -> T {
    loop {
        let value = evaluate();
        let wanted = scope.take_wanted();
        if wanted.is_empty() {
            return value;
        }
        for call in wanted {
            let answer = link.call(&call).await;
            scope.answer(call, answer);
        }
    }
}

/// The value of something that is stored: nothing ephemeral can be in it.
pub(super) async fn public_value(
    link: &mut Link,
    scope: &Scope,
    expression: &Expression,
) -> Result<Value, String> {
    let value = with_calls(link, scope, || scope.evaluate(expression)).await?;
    let Some(public) = scope.public() else {
        return Ok(value);
    };
    if with_calls(link, &public, || public.evaluate(expression)).await? == value {
        return Ok(value);
    }
    Err(
        "Invalid use of ephemeral value: this is stored, and ephemeral values must not be"
            .to_owned(),
    )
}

/// The configuration of something that is stored: ephemeral values are in write-only attributes, if anywhere.
pub(super) async fn configured(
    link: &mut Link,
    schema: &BlockSchema,
    body: &Body,
    scope: &Scope,
) -> Result<Object, Vec<String>> {
    let config = with_calls(link, scope, || schema.configuration(body, scope)).await?;
    let Some(public) = scope.public() else {
        return Ok(config);
    };
    let stored = with_calls(link, &public, || schema.configuration(body, &public)).await?;
    let leaks = schema.leaks(&config, &stored);
    if leaks.is_empty() {
        Ok(config)
    } else {
        Err(leaks)
    }
}

/// One of a block's objects.
pub(super) struct Instance {
    /// `toy_thing.a`, `toy_thing.a[0]`, `toy_thing.a["k"]`.
    pub(super) address: String,
    pub(super) scope: Scope,
    /// Of `for_each`.
    key: Option<String>,
}

/// The instances of a block, in order.
pub(super) async fn instances(
    link: &mut Link,
    address: &str,
    declared: &Declared,
    scope: &Scope,
) -> Result<Vec<Instance>, String> {
    let keyed = |key: &str, what: Value| Instance {
        address: format!("{address}[{key:?}]"),
        scope: scope.of_instance("each", Object::new().with("key", key).with("value", what)),
        key: Some(key.to_owned()),
    };
    match &declared.repeat {
        Repeat::Once => Ok(vec![Instance {
            address: address.to_owned(),
            scope: scope.clone(),
            key: None,
        }]),
        Repeat::Count(count) => {
            let many = match public_value(link, scope, count).await? {
                Value::Unknown => return Err(later("count")),
                value => value.as_number().and_then(crate::Number::to_i64),
            };
            let many = many.filter(|n| *n >= 0).ok_or_else(|| {
                "Invalid count argument: the \"count\" value must be a whole number and not negative".to_owned()
            })?;
            let one = |i: i64| Instance {
                address: format!("{address}[{i}]"),
                scope: scope.of_instance("count", Object::new().with("index", i)),
                key: None,
            };
            Ok((0..many).map(one).collect())
        }
        Repeat::ForEach(each) => match public_value(link, scope, each).await? {
            Value::Unknown => Err(later("for_each")),
            Value::Object(fields) => Ok(fields.into_iter().map(|(k, v)| keyed(&k, v)).collect()),
            Value::Map(elements) => Ok(elements.into_iter().map(|(k, v)| keyed(&k, v)).collect()),
            Value::Set(elements) => elements
                .into_iter()
                .map(|e| match e.as_str() {
                    Some(key) => Ok(keyed(key, key.into())),
                    None if e.is_unknown() => Err(later("for_each")),
                    None => Err(wrong_keys()),
                })
                .collect(),
            _ => Err(wrong_keys()),
        },
    }
}

fn later(argument: &str) -> String {
    format!(
        "Invalid {argument} argument: the \"{argument}\" value depends on resource attributes that cannot be determined until apply"
    )
}

fn wrong_keys() -> String {
    "Invalid for_each argument: the \"for_each\" value must be a map, or a set of strings"
        .to_owned()
}

/// What a reference to the block means: the value, a list of them, or a map.
pub(super) fn collected(repeat: &Repeat, instances: &[Instance], values: Vec<Value>) -> Value {
    match repeat {
        Repeat::Once => values.into_iter().next().unwrap_or_default(),
        Repeat::Count(_) => Value::List(values),
        Repeat::ForEach(_) => {
            let keys = instances.iter().filter_map(|i| i.key.clone());
            Value::Map(keys.zip(values).collect::<BTreeMap<_, _>>())
        }
    }
}
