//! Calls beyond resources and data sources: functions, ephemeral resources, actions.

use metal_proto::tfplugin6 as pb;
use pb::invoke_action::event::Type as Event;

use super::link::{Link, answer, capabilities, message, object, refused};
use crate::codec::msgpack;
use crate::kit::steps::convert::conform;
use crate::kit::steps::schema::BlockSchema;
use crate::kit::steps::scope::Call;
use crate::path::Path;
use crate::value::{Object, Type, Value};

impl Link {
    /// The schema of an ephemeral resource.
    pub(super) fn ephemeral(&self, name: &str) -> Result<&BlockSchema, String> {
        let schema = self.schemas.ephemerals.get(name);
        schema.ok_or_else(|| {
            format!("Invalid ephemeral resource type: the provider has no ephemeral resource \"{name}\".")
        })
    }

    /// The schema of an action.
    pub(super) fn action(&self, name: &str) -> Result<&BlockSchema, String> {
        let schema = self.schemas.actions.get(name);
        schema.ok_or_else(|| format!("Invalid action type: the provider has no action \"{name}\"."))
    }

    /// The result of a function; unknown where an argument is not known that must be.
    pub(super) async fn call(&mut self, call: &Call) -> Result<Value, String> {
        let name = format!("provider::{}::{}", call.provider, call.function);
        let signature = self.schemas.functions.get(&call.function).cloned();
        let Some(signature) = signature.filter(|_| call.provider == self.name) else {
            return Err(format!(
                "Unknown provider function: the provider has no function \"{name}\"."
            ));
        };
        let parameters = signature.parameters_of(call.arguments.len())?;
        let invalid = |parameter: &str, why: &str| {
            format!(
                "Invalid function argument: Invalid value for \"{parameter}\" parameter: {why}."
            )
        };
        let mut arguments = Vec::new();
        for (value, p) in call.arguments.iter().zip(&parameters) {
            let value = conform(value.clone(), &p.ty, &Path::attribute(&p.name))
                .map_err(|why| invalid(&p.name, &why))?;
            if value.is_null() && !p.takes_null {
                return Err(invalid(&p.name, "argument must not be null"));
            }
            if value.is_unknown() && !p.takes_unknown {
                return Ok(Value::Unknown);
            }
            arguments.push(packed(&value, &p.ty)?);
        }
        let request = pb::call_function::Request {
            name: call.function.clone(),
            arguments,
        };
        let done = answer(self.client.call_function(request).await)?;
        if let Some(error) = done.error {
            let at = error
                .function_argument
                .and_then(|i| usize::try_from(i).ok());
            let parameter = at.and_then(|i| parameters.get(i));
            return Err(match parameter {
                Some(p) => invalid(&p.name, error.text.trim_end_matches('.')),
                None => format!(
                    "Error in function call: Call to function \"{name}\" failed: {}.",
                    error.text
                ),
            });
        }
        let result = done.result.unwrap_or_default();
        let value = msgpack::from_bytes(&result.msgpack, &signature.result)
            .map_err(|e| format!("\"{name}\" returned what does not fit its signature: {e}"))?;
        Ok(match value {
            Value::Dynamic(inner) => inner.1,
            value => value,
        })
    }

    /// Checks and opens; it stays open until [`Link::close`].
    pub(super) async fn open_ephemeral(
        &mut self,
        name: &str,
        config: &Object,
    ) -> Result<Object, String> {
        let ty = self.ephemeral(name)?.ty();
        self.validate_ephemeral(name, config).await?;
        let request = pb::open_ephemeral_resource::Request {
            type_name: name.to_owned(),
            config: message(Some(config), &ty)?,
            client_capabilities: capabilities(),
        };
        let done = answer(self.client.open_ephemeral_resource(request).await)?;
        refused(&done.diagnostics)?;
        self.opened.push((name.to_owned(), done.private));
        let result = object(done.result.as_ref(), &ty)?
            .ok_or("Provider produced invalid object: it is null")?;
        match Value::from(result.clone()).first_unknown() {
            Some(path) => Err(format!(
                "Provider produced invalid object: `{path}` is not known"
            )),
            None => Ok(result),
        }
    }

    pub(super) async fn validate_ephemeral(
        &mut self,
        name: &str,
        config: &Object,
    ) -> Result<(), String> {
        let request = pb::validate_ephemeral_resource_config::Request {
            type_name: name.to_owned(),
            config: message(Some(config), &self.ephemeral(name)?.ty())?,
        };
        let said = self
            .client
            .validate_ephemeral_resource_config(request)
            .await;
        refused(&answer(said)?.diagnostics)
    }

    /// Closes everything that is open, the last one first.
    pub(super) async fn close(&mut self) -> Result<(), String> {
        let mut wrong = Vec::new();
        while let Some((type_name, private)) = self.opened.pop() {
            let request = pb::close_ephemeral_resource::Request { type_name, private };
            let done = answer(self.client.close_ephemeral_resource(request).await);
            wrong.extend(done.and_then(|d| refused(&d.diagnostics)).err());
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("\n"))
        }
    }

    pub(super) async fn validate_action(
        &mut self,
        name: &str,
        config: &Object,
    ) -> Result<(), String> {
        let request = pb::validate_action_config::Request {
            action_type: name.to_owned(),
            config: message(Some(config), &self.action(name)?.ty())?,
        };
        refused(&answer(self.client.validate_action_config(request).await)?.diagnostics)
    }

    pub(super) async fn plan_action(&mut self, name: &str, config: &Object) -> Result<(), String> {
        let request = pb::plan_action::Request {
            action_type: name.to_owned(),
            config: message(Some(config), &self.action(name)?.ty())?,
            client_capabilities: capabilities(),
        };
        refused(&answer(self.client.plan_action(request).await)?.diagnostics)
    }

    /// Invokes an action to its end; what it says on the way is kept in `said`.
    pub(super) async fn invoke(&mut self, name: &str, config: &Object) -> Result<(), String> {
        let request = pb::invoke_action::Request {
            action_type: name.to_owned(),
            config: message(Some(config), &self.action(name)?.ty())?,
            client_capabilities: capabilities(),
        };
        let mut events = answer(self.client.invoke_action(request).await)?;
        let failed = |status: tonic::Status| format!("the action failed: {status}");
        while let Some(event) = events.message().await.map_err(failed)? {
            match event.r#type {
                Some(Event::Progress(progress)) => self.said.push(progress.message),
                Some(Event::Completed(end)) => {
                    let warnings = end.diagnostics.iter().map(|d| d.summary.clone());
                    self.said.extend(warnings);
                    return refused(&end.diagnostics);
                }
                None => {}
            }
        }
        Err("the action ended without saying so".to_owned())
    }
}

fn packed(value: &Value, ty: &Type) -> Result<pb::DynamicValue, String> {
    Ok(pb::DynamicValue {
        msgpack: msgpack::to_bytes(value, ty).map_err(|e| e.to_string())?,
        json: Vec::new(),
    })
}
