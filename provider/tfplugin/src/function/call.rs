//! One call: arguments counted and checked, the author's code guarded, the result checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Call, Function, FunctionError, Parameter, Signature, Takes};
use crate::codec::msgpack;
use crate::guard;
use crate::path::{Path, Step};
use crate::runtime::Runtime;
use crate::timeouts::Operation;
use crate::value::{Object, Type, Value};

/// A function and its signature.
pub(crate) struct Declared {
    pub(crate) code: Arc<dyn Function>,
    pub(crate) signature: Signature,
}

impl Runtime {
    /// Names and signatures of the functions.
    pub fn signatures(&self) -> impl Iterator<Item = (&'static str, &Signature)> {
        let all = self.families().functions.iter();
        all.map(|(name, declared)| (*name, &declared.signature))
    }

    /// Calls a function.
    ///
    /// # Errors
    /// The message, and the place of the argument at fault.
    pub async fn call(&self, name: &str, arguments: Vec<Value>) -> Result<Value, FunctionError> {
        let declared = self.function(name)?;
        let signature = &declared.signature;
        let done = self.call_checked(declared, arguments).await;
        done.map_err(|error| error.settled(signature))
    }

    pub(crate) fn signature_for(
        &self,
        name: &str,
        arguments: usize,
    ) -> Result<&Signature, FunctionError> {
        let signature = &self.function(name)?.signature;
        signature.miscounted(arguments).map_or(Ok(signature), Err)
    }

    async fn call_checked(
        &self,
        declared: &Declared,
        arguments: Vec<Value>,
    ) -> Result<Value, FunctionError> {
        let signature = &declared.signature;
        if let Some(miscounted) = signature.miscounted(arguments.len()) {
            return Err(miscounted);
        }
        let takes = |i: usize| {
            signature
                .parameter_at(i)
                .map(Parameter::takes)
                .unwrap_or_default()
        };
        let numbered = || arguments.iter().enumerate();
        if let Some((i, _)) = numbered().find(|(i, v)| v.is_null() && takes(*i) == Takes::Known) {
            return Err(FunctionError::new("it must not be null").at_argument(i));
        }
        if numbered().any(|(i, v)| takes(i) != Takes::Unknown && !v.is_wholly_known()) {
            return Ok(Value::Unknown);
        }
        let all_known = arguments.iter().all(Value::is_wholly_known);
        let call = Call {
            arguments: named(signature, arguments),
        };
        check(signature, &call)?;
        let cx = self.context(Operation::Call);
        let result = guard::run(&cx, declared.code.call(&cx, &call)).await??;
        let result = if *signature.returns() == Type::Dynamic {
            with_type(result)
        } else {
            result
        };
        if all_known && !result.is_wholly_known() {
            return Err(mistake(
                "its result is unknown although every argument is known",
            ));
        }
        match msgpack::to_bytes(&result, signature.returns()) {
            Ok(_) => Ok(result),
            Err(misfit) => Err(mistake(&format!(
                "its result does not have the declared type: {misfit}"
            ))),
        }
    }

    fn function(&self, name: &str) -> Result<&Declared, FunctionError> {
        self.families().functions.get(name).ok_or_else(|| {
            FunctionError::new(format!(
                "this provider has no function `{name}`; run terraform init -upgrade, or look at the spelling"
            ))
        })
    }
}

/// Arguments by parameter; all further ones are a list.
fn named(signature: &Signature, arguments: Vec<Value>) -> Object {
    let mut rest = arguments.into_iter();
    let mut object = Object::new();
    for p in signature.parameters() {
        let value = if p.is_variadic() {
            Value::List(rest.by_ref().collect())
        } else {
            rest.next().unwrap_or_default()
        };
        object.put(p.name(), value);
    }
    object
}

/// Runs the parameters' rules; all that are broken are told, the first place is named.
fn check(signature: &Signature, call: &Call) -> Result<(), FunctionError> {
    let mut told: Vec<(usize, String)> = Vec::new();
    for (i, p) in signature.parameters().iter().enumerate() {
        let mut broken = Vec::new();
        for validator in p.validators() {
            validator.check(call.value(p.name()), &Path::root(), &mut broken);
        }
        for one in broken {
            let place = match one.path.steps().first() {
                Some(Step::Index(element)) if p.is_variadic() => {
                    i + usize::try_from(*element).unwrap_or(0)
                }
                _ => i,
            };
            told.push((place, format!("must be {}: {}", one.must_be, one.why)));
        }
    }
    let Some((first, _)) = told.first() else {
        return Ok(());
    };
    let first = *first;
    let texts = told.into_iter().map(|(place, text)| {
        if place == first {
            text
        } else {
            format!("argument {} {text}", place + 1)
        }
    });
    Err(FunctionError::new(texts.collect::<Vec<_>>().join("; ")).at_argument(first))
}

fn mistake(what: &str) -> FunctionError {
    FunctionError::new(format!(
        "the provider made a mistake: {what}. Report it to the provider's developers"
    ))
}

/// A value for a dynamic place: with its type, as HCL would write it.
fn with_type(value: Value) -> Value {
    if matches!(value, Value::Dynamic(_) | Value::Null | Value::Unknown) {
        return value;
    }
    let (ty, value) = typed(value);
    Value::Dynamic(Box::new((ty, value)))
}

/// Lists of any values are tuples and maps of any values are objects, as in HCL.
fn typed(value: Value) -> (Type, Value) {
    match value {
        Value::Bool(_) => (Type::Bool, value),
        Value::Number(_) => (Type::Number, value),
        Value::String(_) => (Type::String, value),
        Value::List(es) | Value::Set(es) => {
            let (types, values) = es.into_iter().map(typed).unzip();
            (Type::Tuple(types), Value::List(values))
        }
        Value::Map(es) => object_of(es),
        Value::Object(es) => object_of(es),
        Value::Dynamic(inner) => *inner,
        Value::Null | Value::Unknown => (Type::Dynamic, value),
    }
}

fn object_of(fields: impl IntoIterator<Item = (String, Value)>) -> (Type, Value) {
    let mut types = BTreeMap::new();
    let mut object = Object::new();
    for (name, value) in fields {
        let (ty, value) = typed(value);
        types.insert(name.clone(), ty);
        object.put(name, value);
    }
    (Type::Object(types), Value::Object(object))
}
