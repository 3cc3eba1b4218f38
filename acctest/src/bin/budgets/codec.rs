//! How fast the provider SDK reads and writes values, on one object of about 1 MiB.

use std::collections::BTreeMap;
use std::time::Instant;

use tfplugin::in_process::{decode, decode_json, encode};
use tfplugin::{Object, Type, Value};

/// Passes over the object; the fastest counts, since whatever else runs on the machine only makes them slower.
const PASSES: usize = 60;

/// Megabytes per second of each direction.
pub(crate) struct Speed {
    /// MessagePack to values.
    pub(crate) read: f64,
    /// Values to MessagePack.
    pub(crate) write: f64,
    /// A state's JSON to values.
    pub(crate) state: f64,
    /// Size of the MessagePack.
    pub(crate) bytes: usize,
}

/// Measures.
pub(crate) fn measure() -> Result<Speed, String> {
    let ty = object_type();
    let value = object();
    let bytes = encode(&value, &ty)?;
    let text = json(&value).to_string();
    if decode_json(text.as_bytes(), &ty)? != value || decode(&bytes, &ty)? != value {
        return Err("the object did not come back as it was".to_owned());
    }
    Ok(Speed {
        read: fastest(bytes.len(), || decode(&bytes, &ty).is_ok()),
        write: fastest(bytes.len(), || encode(&value, &ty).is_ok()),
        state: fastest(text.len(), || decode_json(text.as_bytes(), &ty).is_ok()),
        bytes: bytes.len(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a size of megabytes fits")]
fn fastest(bytes: usize, pass: impl Fn() -> bool) -> f64 {
    let one = || {
        let from = Instant::now();
        std::hint::black_box(pass());
        from.elapsed()
    };
    let best = (0..PASSES).map(|_| one()).min().unwrap_or_default();
    bytes as f64 / best.as_secs_f64() / 1e6
}

/// Machines with disks and labels, and a text per machine as a rendered configuration is one.
fn object_type() -> Type {
    let object = |fields: &[(&str, Type)]| {
        let fields = fields.iter().map(|(k, t)| ((*k).to_owned(), t.clone()));
        Type::Object(fields.collect())
    };
    let disk = object(&[
        ("serial", Type::String),
        ("size_bytes", Type::Number),
        ("wiped", Type::Bool),
    ]);
    let machine = object(&[
        ("id", Type::String),
        ("config", Type::String),
        ("disks", Type::list(disk)),
        ("labels", Type::map(Type::String)),
        ("memory_bytes", Type::Number),
    ]);
    object(&[("machines", Type::list(machine))])
}

fn object() -> Value {
    let disk = |n: u64| {
        let disk = Object::new()
            .with("serial", format!("S4EWNX0R{n:08}"))
            .with("size_bytes", n * 512_110_190_592)
            .with("wiped", n.is_multiple_of(2));
        Value::Object(disk)
    };
    let machine = |n: u64| {
        let labels = ["rack", "row", "unit"].map(|k| (k.to_owned(), format!("{k}-{n}").into()));
        let machine = Object::new()
            .with("id", format!("machine-{n:04}"))
            .with(
                "config",
                "machine:\n  type: worker\n  install:\n    disk: /dev/disk/by-id\n".repeat(24),
            )
            .with(
                "disks",
                Value::List((0..4).map(|d| disk(n * 4 + d)).collect()),
            )
            .with("labels", Value::Map(BTreeMap::from(labels)))
            .with("memory_bytes", n << 30);
        Value::Object(machine)
    };
    Object::new()
        .with("machines", Value::List((0..500).map(machine).collect()))
        .into()
}

fn json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Bool(b) => Json::from(*b),
        Value::Number(n) => n.to_u64().map_or(Json::Null, Json::from),
        Value::String(s) => Json::from(s.as_str()),
        Value::List(es) | Value::Set(es) => es.iter().map(json).collect(),
        Value::Map(es) => Json::Object(es.iter().map(|(k, v)| (k.clone(), json(v))).collect()),
        Value::Object(o) => Json::Object(o.iter().map(|(k, v)| (k.clone(), json(v))).collect()),
        Value::Null | Value::Unknown | Value::Dynamic(_) => Json::Null,
    }
}
