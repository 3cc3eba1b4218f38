//! What the fuzz targets do with a string of bytes. Each panics only if the SDK has a mistake.
//!
//! Used from two places: the targets beside this file, and the tests of `tfplugin`, which feed them random bytes.

#![allow(dead_code, reason = "each target uses one of them")]

use std::collections::BTreeMap;
use std::sync::Arc;

use metal_proto::tfplugin6 as pb;
use pb::provider_server::Provider as Protocol;
use tfplugin::in_process::{decode, decode_json, encode, service};
use tfplugin::schema::{Attribute, Nesting, Schema, Shape, computed, optional};
use tfplugin::{
    Change, Context, Diagnostic, Diagnostics, Failed, Object, Provider, Resource, Saved, Type,
    Value, async_trait,
};
use tonic::Request;

/// The first byte chooses the type, the rest is the value.
fn split(data: &[u8]) -> (Type, &[u8]) {
    let (first, rest) = data
        .split_first()
        .map_or((0, data), |(first, rest)| (*first, rest));
    let object = |fields: &[(&str, Type)]| {
        let fields = fields
            .iter()
            .map(|(name, ty)| ((*name).to_owned(), ty.clone()));
        Type::Object(fields.collect::<BTreeMap<_, _>>())
    };
    let disk = object(&[("size", Type::Number), ("tags", Type::set(Type::String))]);
    let all = [
        object(&[
            ("a", Type::Bool),
            ("any", Type::Dynamic),
            ("disks", Type::list(disk.clone())),
        ]),
        Type::Dynamic,
        Type::Number,
        Type::set(disk),
        Type::map(Type::Tuple(vec![Type::String, Type::Number])),
        Type::list(Type::list(Type::Bool)),
    ];
    (all[usize::from(first) % all.len()].clone(), rest)
}

/// A value that was read can be written, and reads as the same again.
fn round_trip(value: &Value, ty: &Type) {
    let bytes = encode(value, ty).expect("what was read fits its type");
    assert_eq!(decode(&bytes, ty).as_ref(), Ok(value));
}

/// Bytes from a host.
pub(crate) fn msgpack(data: &[u8]) {
    let (ty, bytes) = split(data);
    if let Ok(value) = decode(bytes, &ty) {
        round_trip(&value, &ty);
    }
}

/// The text of a state.
pub(crate) fn state(data: &[u8]) {
    let (ty, text) = split(data);
    if let Ok(value) = decode_json(text, &ty) {
        round_trip(&value, &ty);
    }
}

/// A stored state of some version, and the upgrade that a host asks for.
pub(crate) fn upgrade(data: &[u8]) {
    let (version, json) = data
        .split_first()
        .map_or((0, data), |(first, rest)| (i64::from(*first) - 2, rest));
    let request = pb::upgrade_resource_state::Request {
        type_name: "old_thing".to_owned(),
        version,
        raw_state: Some(pb::RawState {
            json: json.to_vec(),
            ..pb::RawState::default()
        }),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("threads are not needed");
    let answer = runtime.block_on(service(Old).upgrade_resource_state(Request::new(request)));
    let answer = answer.expect("failures are messages").into_inner();
    // A state, or the reason why not: never neither.
    assert!(answer.upgraded_state.is_some() || !answer.diagnostics.is_empty());
}

/// Words of the one panic that is part of the game.
const AUTHORS_PANIC: &str = "an author's mistake";

/// Lets the author's panic go on to the SDK, silently. libFuzzer's own hook, which is kept for all others, ends the process at any panic.
pub(crate) fn allow_authors_panic() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some(AUTHORS_PANIC) {
            others(info);
        }
    }));
}

/// A resource whose state has changed its shape twice.
struct Old;

#[async_trait]
impl Resource for Old {
    fn type_name(&self) -> &'static str {
        "old_thing"
    }

    fn schema(&self) -> Schema {
        let plain = |name: &str, ty| Attribute::dynamic(name, Shape::Plain(ty), optional());
        let disk = vec![plain("size", Type::Number), plain("any", Type::Dynamic)];
        Schema::new("A thing.")
            .version(2)
            .attribute(Attribute::dynamic(
                "id",
                Shape::Plain(Type::String),
                computed(),
            ))
            .attribute(plain("tags", Type::set(Type::String)))
            .attribute(Attribute::dynamic(
                "disks",
                Shape::Nested(Nesting::List, disk),
                optional(),
            ))
    }

    fn upgrade(
        &self,
        from: i64,
        mut state: serde_json::Value,
    ) -> Result<serde_json::Value, Diagnostic> {
        if from < 1 {
            // An author's code may panic, too; the SDK makes a message of it.
            assert!(state.is_object() || state.is_null(), "{AUTHORS_PANIC}");
            state["id"] = state["name"].take();
        }
        Ok(state)
    }

    async fn create(&self, _: &Context, change: &Change) -> Result<Saved, Failed> {
        Ok(change.planned_object().clone().into())
    }

    async fn read(&self, _: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        Ok(Some(state.clone().into()))
    }

    async fn delete(&self, _: &Context, _: &Object) -> Result<(), Failed> {
        Ok(())
    }
}

#[async_trait]
impl Provider for Old {
    fn schema(&self) -> Schema {
        Schema::new("Old.")
    }

    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        vec![Arc::new(Self)]
    }

    async fn configure(&self, _: &Context, _: &Object, _: &mut Diagnostics) {}
}
