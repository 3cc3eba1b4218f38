//! The protocol's `Provider` service: messages in, [`Runtime`] calls, messages out. No decision is made here.

mod actions;
mod ephemeral;
mod functions;
mod generate;
mod identity;
mod list;
mod managed;
mod metadata;
mod moving;
mod plugin;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use plugin::{Broker, Controller, Stdio};

use std::collections::BTreeMap;
use std::sync::Arc;

use metal_proto::tfplugin6 as pb;
use pb::provider_server::Provider as Protocol;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use crate::context::{AfterStop, Host};
use crate::diagnostics::{Diagnostic, Diagnostics, Severity};
use crate::engine::{self, WriteOnly};
use crate::lifecycle::Asked;
use crate::runtime::Runtime;
use crate::schema::Schema;
use crate::value::{Object, Type};

/// The service.
pub(crate) struct Service {
    runtime: Arc<Runtime>,
    after_stop: AfterStop,
    provider_type: Type,
    meta_type: Option<Type>,
    resource_types: BTreeMap<&'static str, Type>,
    identity_types: BTreeMap<&'static str, Type>,
    list_types: BTreeMap<&'static str, Type>,
    data_source_types: BTreeMap<&'static str, Type>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Service {
    pub(crate) fn new(runtime: Arc<Runtime>, after_stop: AfterStop) -> Self {
        Self {
            after_stop,
            provider_type: runtime.schema().ty(),
            meta_type: runtime.meta_schema().map(Schema::ty),
            resource_types: runtime
                .resource_schemas()
                .map(|(n, s)| (n, s.ty()))
                .collect(),
            identity_types: runtime
                .identity_schemas()
                .map(|(n, s)| (n, s.ty()))
                .collect(),
            list_types: runtime.list_schemas().map(|(n, s)| (n, s.ty())).collect(),
            data_source_types: runtime
                .data_source_schemas()
                .map(|(n, s)| (n, s.ty()))
                .collect(),
            runtime,
        }
    }

    fn resource_type(&self, name: &str) -> Result<&Type, Diagnostic> {
        self.runtime.resource_schema(name)?;
        Ok(&self.resource_types[name])
    }

    fn list_type(&self, name: &str) -> Result<&Type, Diagnostic> {
        self.runtime.list_schema(name)?;
        Ok(&self.list_types[name])
    }

    fn data_source_type(&self, name: &str) -> Result<&Type, Diagnostic> {
        self.runtime.data_source_schema(name)?;
        Ok(&self.data_source_types[name])
    }

    /// What the module says of itself, checked; nothing where neither it nor the provider knows of that.
    fn meta(&self, said: Option<&pb::DynamicValue>) -> Result<Object, Diagnostic> {
        let (Some(ty), Some(schema)) = (&self.meta_type, self.runtime.meta_schema()) else {
            return Ok(Object::default());
        };
        let Some(meta) = wire::read(said, ty)? else {
            return Ok(Object::default());
        };
        let mut found = Diagnostics::new();
        engine::validate(schema, &meta, WriteOnly::Refused, &mut found);
        let wrong = found.into_iter().find(|d| d.severity == Severity::Error);
        match wrong {
            // A path would be looked up in the resource's block.
            Some(why) => Err(Diagnostic {
                detail: format!("In the module's provider_meta block: {}", why.detail),
                path: None,
                ..why
            }),
            None => Ok(meta),
        }
    }

    async fn data(
        &self,
        m: &pb::read_data_source::Request,
    ) -> Result<pb::read_data_source::Response, Diagnostic> {
        let ty = self.data_source_type(&m.type_name)?;
        let config = wire::read(m.config.as_ref(), ty)?.unwrap_or_default();
        let asked = Asked {
            deferrals: managed::deferrals(m.client_capabilities.as_ref()),
            meta: self.meta(m.provider_meta.as_ref())?,
            ..Asked::default()
        };
        let done = self
            .runtime
            .read_data_source_for(&m.type_name, config, asked)
            .await;
        Ok(pb::read_data_source::Response {
            state: Some(wire::write(done.state, ty)?),
            diagnostics: wire::diagnostics(done.diagnostics),
            deferred: done.deferred.map(managed::deferred),
        })
    }
}

fn write_only(capabilities: Option<pb::ClientCapabilities>) -> WriteOnly {
    match capabilities {
        Some(pb::ClientCapabilities {
            write_only_attributes_allowed: true,
            ..
        }) => WriteOnly::Allowed,
        _ => WriteOnly::Refused,
    }
}

fn one(d: Diagnostic) -> Vec<pb::Diagnostic> {
    wire::diagnostics(d.into())
}

#[tonic::async_trait]
impl Protocol for Service {
    async fn get_metadata(
        &self,
        _: Request<pb::get_metadata::Request>,
    ) -> Answer<pb::get_metadata::Response> {
        Ok(Response::new(self.metadata()))
    }

    async fn get_provider_schema(
        &self,
        _: Request<pb::get_provider_schema::Request>,
    ) -> Answer<pb::get_provider_schema::Response> {
        Ok(Response::new(self.schemas()))
    }

    async fn validate_provider_config(
        &self,
        request: Request<pb::validate_provider_config::Request>,
    ) -> Answer<pb::validate_provider_config::Response> {
        let diagnostics = match wire::read(request.get_ref().config.as_ref(), &self.provider_type) {
            Ok(config) => wire::diagnostics(
                self.runtime
                    .validate_provider(&config.unwrap_or_default())
                    .await,
            ),
            Err(why) => one(why),
        };
        Ok(Response::new(pb::validate_provider_config::Response {
            diagnostics,
        }))
    }

    async fn validate_resource_config(
        &self,
        request: Request<pb::validate_resource_config::Request>,
    ) -> Answer<pb::validate_resource_config::Response> {
        let m = request.into_inner();
        let config = self
            .resource_type(&m.type_name)
            .and_then(|ty| wire::read(m.config.as_ref(), ty));
        let host = write_only(m.client_capabilities);
        let span = tracing::debug_span!("validate", tf_resource_type = m.type_name);
        let diagnostics = match config {
            Ok(config) => {
                let config = config.unwrap_or_default();
                let checked = self
                    .runtime
                    .validate_resource_for(&m.type_name, &config, host);
                wire::diagnostics(checked.instrument(span).await)
            }
            Err(why) => one(why),
        };
        Ok(Response::new(pb::validate_resource_config::Response {
            diagnostics,
        }))
    }

    async fn validate_data_resource_config(
        &self,
        request: Request<pb::validate_data_resource_config::Request>,
    ) -> Answer<pb::validate_data_resource_config::Response> {
        let m = request.into_inner();
        let config = self
            .data_source_type(&m.type_name)
            .and_then(|ty| wire::read(m.config.as_ref(), ty));
        let diagnostics = match config {
            Ok(config) => wire::diagnostics(
                self.runtime
                    .validate_data_source(&m.type_name, &config.unwrap_or_default())
                    .await,
            ),
            Err(why) => one(why),
        };
        Ok(Response::new(pb::validate_data_resource_config::Response {
            diagnostics,
        }))
    }

    async fn upgrade_resource_state(
        &self,
        request: Request<pb::upgrade_resource_state::Request>,
    ) -> Answer<pb::upgrade_resource_state::Response> {
        Ok(Response::new(self.upgrade(request.into_inner()).await))
    }

    async fn configure_provider(
        &self,
        request: Request<pb::configure_provider::Request>,
    ) -> Answer<pb::configure_provider::Response> {
        let m = request.into_inner();
        let deferrals = managed::deferrals(m.client_capabilities.as_ref());
        let diagnostics = match wire::read(m.config.as_ref(), &self.provider_type) {
            Ok(config) => {
                let host = Host {
                    terraform_version: m.terraform_version,
                };
                wire::diagnostics(
                    self.runtime
                        .configure_for(host, &config.unwrap_or_default(), deferrals)
                        .await,
                )
            }
            Err(why) => one(why),
        };
        Ok(Response::new(pb::configure_provider::Response {
            diagnostics,
        }))
    }

    async fn read_resource(
        &self,
        request: Request<pb::read_resource::Request>,
    ) -> Answer<pb::read_resource::Response> {
        let m = request.into_inner();
        let span = tracing::debug_span!("read", tf_resource_type = m.type_name);
        let before = pb::read_resource::Response {
            new_state: m.current_state.clone(),
            private: m.private.clone(),
            new_identity: m.current_identity.clone(),
            ..Default::default()
        };
        let done = self.read(m).instrument(span).await;
        Ok(Response::new(done.unwrap_or_else(|why| {
            pb::read_resource::Response {
                diagnostics: one(why),
                ..before
            }
        })))
    }

    async fn plan_resource_change(
        &self,
        request: Request<pb::plan_resource_change::Request>,
    ) -> Answer<pb::plan_resource_change::Response> {
        let m = request.into_inner();
        let span = tracing::debug_span!("plan", tf_resource_type = m.type_name);
        let done = self.plan(m).instrument(span).await;
        Ok(Response::new(done.unwrap_or_else(|why| {
            pb::plan_resource_change::Response {
                diagnostics: one(why),
                ..Default::default()
            }
        })))
    }

    async fn apply_resource_change(
        &self,
        request: Request<pb::apply_resource_change::Request>,
    ) -> Answer<pb::apply_resource_change::Response> {
        let m = request.into_inner();
        let span = tracing::debug_span!("apply", tf_resource_type = m.type_name);
        let before = pb::apply_resource_change::Response {
            new_state: m.prior_state.clone(),
            private: m.planned_private.clone(),
            new_identity: m.planned_identity.clone(),
            ..Default::default()
        };
        let done = self.apply(m).instrument(span).await;
        Ok(Response::new(done.unwrap_or_else(|why| {
            pb::apply_resource_change::Response {
                diagnostics: one(why),
                ..before
            }
        })))
    }

    async fn import_resource_state(
        &self,
        request: Request<pb::import_resource_state::Request>,
    ) -> Answer<pb::import_resource_state::Response> {
        let done = self.import(request.into_inner()).await;
        Ok(Response::new(done.unwrap_or_else(|why| {
            pb::import_resource_state::Response {
                diagnostics: one(why),
                ..Default::default()
            }
        })))
    }

    async fn get_resource_identity_schemas(
        &self,
        _: Request<pb::get_resource_identity_schemas::Request>,
    ) -> Answer<pb::get_resource_identity_schemas::Response> {
        Ok(Response::new(self.identity_schemas()))
    }

    async fn upgrade_resource_identity(
        &self,
        request: Request<pb::upgrade_resource_identity::Request>,
    ) -> Answer<pb::upgrade_resource_identity::Response> {
        Ok(Response::new(
            self.upgrade_identity(request.into_inner()).await,
        ))
    }

    async fn move_resource_state(
        &self,
        request: Request<pb::move_resource_state::Request>,
    ) -> Answer<pb::move_resource_state::Response> {
        let done = self.moved(request.into_inner()).await;
        Ok(Response::new(done.unwrap_or_else(|why| {
            pb::move_resource_state::Response {
                diagnostics: one(why),
                ..Default::default()
            }
        })))
    }

    async fn generate_resource_config(
        &self,
        request: Request<pb::generate_resource_config::Request>,
    ) -> Answer<pb::generate_resource_config::Response> {
        let done = self.generated(request.get_ref());
        Ok(Response::new(done.unwrap_or_else(|why| {
            pb::generate_resource_config::Response {
                diagnostics: one(why),
                ..Default::default()
            }
        })))
    }

    async fn validate_list_resource_config(
        &self,
        request: Request<pb::validate_list_resource_config::Request>,
    ) -> Answer<pb::validate_list_resource_config::Response> {
        let diagnostics = self.validate_list(request.get_ref()).await;
        Ok(Response::new(pb::validate_list_resource_config::Response {
            diagnostics,
        }))
    }

    async fn list_resource(
        &self,
        request: Request<pb::list_resource::Request>,
    ) -> Answer<list::Events> {
        Ok(Response::new(self.list(request.into_inner())))
    }

    async fn read_data_source(
        &self,
        request: Request<pb::read_data_source::Request>,
    ) -> Answer<pb::read_data_source::Response> {
        let span = tracing::debug_span!("data", tf_data_source_type = request.get_ref().type_name);
        let done = self.data(request.get_ref()).instrument(span).await;
        Ok(Response::new(done.unwrap_or_else(|why| {
            pb::read_data_source::Response {
                diagnostics: one(why),
                ..Default::default()
            }
        })))
    }

    async fn stop_provider(
        &self,
        _: Request<pb::stop_provider::Request>,
    ) -> Answer<pb::stop_provider::Response> {
        tracing::info!("the host asks to stop");
        self.runtime.stop_switch().stop(self.after_stop);
        Ok(Response::new(pb::stop_provider::Response {
            error: String::new(),
        }))
    }

    async fn get_functions(
        &self,
        _: Request<pb::get_functions::Request>,
    ) -> Answer<pb::get_functions::Response> {
        Ok(Response::new(pb::get_functions::Response {
            functions: self.functions(),
            diagnostics: wire::diagnostics(self.mistakes()),
        }))
    }

    async fn call_function(
        &self,
        request: Request<pb::call_function::Request>,
    ) -> Answer<pb::call_function::Response> {
        Ok(Response::new(self.call(request.into_inner()).await))
    }

    async fn validate_ephemeral_resource_config(
        &self,
        request: Request<pb::validate_ephemeral_resource_config::Request>,
    ) -> Answer<pb::validate_ephemeral_resource_config::Response> {
        let m = request.into_inner();
        Ok(Response::new(self.validate_ephemeral(m).await))
    }

    async fn open_ephemeral_resource(
        &self,
        request: Request<pb::open_ephemeral_resource::Request>,
    ) -> Answer<pb::open_ephemeral_resource::Response> {
        Ok(Response::new(self.open(request.into_inner()).await))
    }

    async fn renew_ephemeral_resource(
        &self,
        request: Request<pb::renew_ephemeral_resource::Request>,
    ) -> Answer<pb::renew_ephemeral_resource::Response> {
        Ok(Response::new(self.renew(request.into_inner()).await))
    }

    async fn close_ephemeral_resource(
        &self,
        request: Request<pb::close_ephemeral_resource::Request>,
    ) -> Answer<pb::close_ephemeral_resource::Response> {
        Ok(Response::new(self.close(request.into_inner()).await))
    }

    async fn validate_action_config(
        &self,
        request: Request<pb::validate_action_config::Request>,
    ) -> Answer<pb::validate_action_config::Response> {
        let m = request.into_inner();
        Ok(Response::new(self.validate_action(m).await))
    }

    async fn plan_action(
        &self,
        request: Request<pb::plan_action::Request>,
    ) -> Answer<pb::plan_action::Response> {
        let m = request.into_inner();
        Ok(Response::new(self.planned_action(m).await))
    }

    async fn invoke_action(
        &self,
        request: Request<pb::invoke_action::Request>,
    ) -> Answer<actions::Events> {
        Ok(Response::new(self.invoke(request.into_inner())))
    }
}
