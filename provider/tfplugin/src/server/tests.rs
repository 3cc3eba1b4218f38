//! Whatever a host sends to functions, ephemeral resources and actions, the answer is a message of the protocol.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use futures::StreamExt as _;
use metal_proto::tfplugin6 as pb;
use proptest::prelude::*;

use super::Service;
use crate::context::AfterStop;
use crate::{
    Action, Call, Context, Diagnostics, EphemeralResource, Field, Function, FunctionError, Number,
    Object, Opened, Plain, Progress, Provider, Resource, Runtime, Schema, SetOf, Signature, Value,
    async_trait, model, parameters,
};

model! {
    struct Inner {
        on: bool = required(),
        sizes: Vec<u8> = optional(),
    }
}

model! {
    struct Block {
        name: String = required(),
        inner: BTreeMap<String, Inner> = optional(),
        set: SetOf<Inner> = optional(),
        number: Number = optional().default(3),
    }
}

parameters! {
    struct Everything {
        text: Option<String> = parameter(),
        object: Plain<Inner> = parameter(),
        any: Field<Value> = parameter(),
        numbers: Vec<Option<u16>> = variadic(),
    }
}

struct Toy;

#[async_trait]
impl Function for Toy {
    fn name(&self) -> &'static str {
        "everything"
    }

    fn signature(&self) -> Signature {
        Signature::of::<Everything, Value>("Takes everything.")
    }

    async fn call(&self, _: &Context, call: &Call) -> Result<Value, FunctionError> {
        let all: Everything = call.arguments()?;
        Ok(all.any.into())
    }
}

#[async_trait]
impl EphemeralResource for Toy {
    fn type_name(&self) -> &'static str {
        "toy"
    }

    fn schema(&self) -> Schema {
        Schema::of::<Block>("A toy.")
    }

    async fn open(
        &self,
        _: &Context,
        config: &Object,
        _: SystemTime,
    ) -> Result<Opened, Diagnostics> {
        Ok(Opened::new(config.model::<Block>()))
    }
}

#[async_trait]
impl Action for Toy {
    fn type_name(&self) -> &'static str {
        "toy"
    }

    fn schema(&self) -> Schema {
        Schema::of::<Block>("A toy.")
    }

    async fn invoke(
        &self,
        _: &Context,
        config: &Object,
        progress: &Progress,
    ) -> Result<Diagnostics, Diagnostics> {
        let block: Block = config.model();
        progress.say(format!("{}", block.name.is_known())).await;
        Ok(Diagnostics::new())
    }
}

#[async_trait]
impl Provider for Toy {
    fn schema(&self) -> Schema {
        Schema::new("Toys.")
    }

    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        Vec::new()
    }

    fn functions(&self) -> Vec<Arc<dyn Function>> {
        vec![Arc::new(Toy)]
    }

    fn ephemerals(&self) -> Vec<Arc<dyn EphemeralResource>> {
        vec![Arc::new(Toy)]
    }

    fn actions(&self) -> Vec<Arc<dyn Action>> {
        vec![Arc::new(Toy)]
    }

    async fn configure(&self, _: &Context, _: &Object, _: &mut Diagnostics) {}
}

fn service() -> Service {
    let runtime = Runtime::new(Toy);
    assert_eq!(runtime.mistakes(), [""; 0]);
    Service::new(Arc::new(runtime), AfterStop::Resume)
}

/// Bytes that are nothing, and bytes that begin like something.
fn hostile() -> impl Strategy<Value = pb::DynamicValue> {
    let begun = prop_oneof![
        Just(&b""[..]),
        Just(&b"\x81\xa4name"[..]),
        Just(&b"\x82\xa4name\xa1x\xa5inner\x81\xa1k"[..]),
        Just(&b"\x91\x82\xa2on\xc3\xa5sizes"[..]),
        Just(&b"\x92\xc4\x08\"string\""[..]),
        Just(&b"\x92\xc4\x11[\"list\",\"number\"]\xdd"[..]),
    ];
    let bytes = proptest::collection::vec(any::<u8>(), 0..24);
    let text = "[\\[\\]{}\",:a-z0-9.e-]{0,24}";
    prop_oneof![
        4 => (begun, bytes).prop_map(|(begun, rest)| pb::DynamicValue {
            msgpack: [begun, &rest].concat(),
            json: Vec::new(),
        }),
        1 => text.prop_map(|text| pb::DynamicValue {
            msgpack: Vec::new(),
            json: text.into_bytes(),
        }),
    ]
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    built.unwrap().block_on(work)
}

proptest! {
    #[test]
    fn calls_are_answered(arguments in proptest::collection::vec(hostile(), 0..6), known in any::<bool>()) {
        let name = if known { "everything" } else { "nothing" }.to_owned();
        let count = arguments.len();
        let answer = block_on(service().call(pb::call_function::Request { name, arguments }));
        prop_assert!(answer.result.is_some() != answer.error.is_some(), "{:?}", answer);
        let at = answer.error.and_then(|e| e.function_argument);
        prop_assert!(at.is_none_or(|i| usize::try_from(i).unwrap() < count));
    }

    #[test]
    fn openings_are_answered(config in proptest::option::of(hostile()), private in any::<Vec<u8>>()) {
        let service = service();
        let type_name = || "toy".to_owned();
        block_on(async {
            let request = pb::validate_ephemeral_resource_config::Request { type_name: type_name(), config: config.clone() };
            service.validate_ephemeral(request).await;
            let request = pb::open_ephemeral_resource::Request { type_name: type_name(), config, client_capabilities: None };
            let opened = service.open(request).await;
            assert!(opened.result.is_some() || !opened.diagnostics.is_empty());
            let request = pb::renew_ephemeral_resource::Request { type_name: type_name(), private: Some(private.clone()) };
            service.renew(request).await;
            let request = pb::close_ephemeral_resource::Request { type_name: type_name(), private: Some(private) };
            service.close(request).await;
        });
    }

    #[test]
    fn invocations_are_answered(config in proptest::option::of(hostile())) {
        let service = service();
        let action_type = || "toy".to_owned();
        block_on(async {
            let request = pb::validate_action_config::Request { action_type: action_type(), config: config.clone() };
            service.validate_action(request).await;
            let request = pb::plan_action::Request { action_type: action_type(), config: config.clone(), client_capabilities: None };
            service.planned_action(request).await;
            let request = pb::invoke_action::Request { action_type: action_type(), config, client_capabilities: None };
            let events: Vec<_> = service.invoke(request).collect().await;
            let last = events.into_iter().next_back().unwrap().unwrap();
            assert!(matches!(last.r#type, Some(pb::invoke_action::event::Type::Completed(_))));
        });
    }
}

/// What bytes do get through: a good call is answered with its value.
#[test]
fn a_good_call_gets_through() {
    let value = |bytes: &[u8]| pb::DynamicValue {
        msgpack: bytes.to_vec(),
        json: Vec::new(),
    };
    let arguments = vec![
        value(&[0xc0]),
        value(&[
            0x82, 0xa2, b'o', b'n', 0xc3, 0xa5, b's', b'i', b'z', b'e', b's', 0xc0,
        ]),
        value(b"\x92\xc4\x06\"bool\"\xc3"),
        value(&[0xc0]),
        value(&[7]),
    ];
    let name = "everything".to_owned();
    let answer = block_on(service().call(pb::call_function::Request { name, arguments }));
    assert_eq!(answer.error, None);
    assert_eq!(answer.result.unwrap().msgpack, b"\x92\xc4\x06\"bool\"\xc3");
}
