//! Functions on the wire.

use std::collections::HashMap;

use metal_proto::tfplugin6 as pb;

use super::Service;
use crate::codec::{json, msgpack};
use crate::function::{FunctionError, Parameter, Signature};
use crate::value::{Type, Value};

impl Service {
    pub(super) fn functions(&self) -> HashMap<String, pb::Function> {
        let all = self.runtime.signatures();
        all.map(|(name, signature)| (name.to_owned(), function(signature)))
            .collect()
    }

    pub(super) async fn call(&self, m: pb::call_function::Request) -> pb::call_function::Response {
        match self.result(&m).await {
            Ok(result) => pb::call_function::Response {
                result: Some(result),
                error: None,
            },
            Err(error) => pb::call_function::Response {
                result: None,
                error: Some(pb::FunctionError {
                    text: error.text().to_owned(),
                    function_argument: error.argument().and_then(|i| i64::try_from(i).ok()),
                }),
            },
        }
    }

    async fn result(
        &self,
        m: &pb::call_function::Request,
    ) -> Result<pb::DynamicValue, FunctionError> {
        let signature = self.runtime.signature_for(&m.name, m.arguments.len())?;
        let typed = m.arguments.iter().enumerate().map(|(i, argument)| {
            let ty = signature
                .parameter_at(i)
                .map_or(&Type::Dynamic, Parameter::ty);
            argument_of(argument, ty).map_err(|error| error.at_argument(i))
        });
        let arguments = typed.collect::<Result<Vec<_>, _>>()?;
        let result = self.runtime.call(&m.name, arguments).await?;
        let msgpack = msgpack::to_bytes(&result, signature.returns())
            .map_err(|error| FunctionError::new(format!("its result cannot be sent: {error}")))?;
        Ok(pb::DynamicValue {
            msgpack,
            json: Vec::new(),
        })
    }
}

fn argument_of(value: &pb::DynamicValue, ty: &Type) -> Result<Value, FunctionError> {
    let read = match (value.msgpack.as_slice(), value.json.as_slice()) {
        // OpenTofu (1.12.6) sends nothing for null.
        ([], []) => return Ok(Value::Null),
        ([], text) => json::from_bytes(text, ty),
        (bytes, _) => msgpack::from_bytes(bytes, ty),
    };
    read.map_err(|error| {
        FunctionError::new(format!(
            "the host sent a value that does not fit the parameter: {error}; run terraform init again"
        ))
    })
}

fn function(signature: &Signature) -> pb::Function {
    let (mut parameters, mut variadic_parameter) = (Vec::new(), None);
    for p in signature.parameters() {
        if p.is_variadic() {
            variadic_parameter = Some(parameter(p));
        } else {
            parameters.push(parameter(p));
        }
    }
    pb::Function {
        parameters,
        variadic_parameter,
        r#return: Some(pb::function::Return {
            r#type: expression(signature.returns()),
        }),
        summary: signature.summary().to_owned(),
        description: signature.description().to_owned(),
        description_kind: pb::StringKind::Markdown.into(),
        deprecation_message: signature.deprecation().unwrap_or_default().to_owned(),
    }
}

fn parameter(p: &Parameter) -> pb::function::Parameter {
    use crate::function::Takes;
    pb::function::Parameter {
        name: p.name().to_owned(),
        r#type: expression(p.ty()),
        allow_null_value: p.takes() != Takes::Known,
        allow_unknown_values: p.takes() == Takes::Unknown,
        description: p.description(),
        description_kind: pb::StringKind::Markdown.into(),
    }
}

fn expression(ty: &Type) -> Vec<u8> {
    ty.to_json().to_string().into_bytes()
}
