//! The protocol's `Provider` service: messages in, [`Runtime`] calls, messages out. No decision is made here.

mod actions;
mod ephemeral;
mod functions;
mod metadata;
mod plugin;
mod wire;

pub(crate) use plugin::{Broker, Controller, Stdio};

use std::collections::BTreeMap;
use std::sync::Arc;

use metal_proto::tfplugin6 as pb;
use pb::provider_server::Provider as Protocol;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use crate::codec::json;
use crate::context::{AfterStop, Host};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::engine::WriteOnly;
use crate::runtime::{Applied, Runtime};
use crate::value::{Object, Type, Value};

/// The service.
pub(crate) struct Service {
    runtime: Arc<Runtime>,
    after_stop: AfterStop,
    provider_type: Type,
    resource_types: BTreeMap<&'static str, Type>,
    data_source_types: BTreeMap<&'static str, Type>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Service {
    pub(crate) fn new(runtime: Arc<Runtime>, after_stop: AfterStop) -> Self {
        Self {
            after_stop,
            provider_type: runtime.schema().ty(),
            resource_types: runtime
                .resource_schemas()
                .map(|(n, s)| (n, s.ty()))
                .collect(),
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

    fn data_source_type(&self, name: &str) -> Result<&Type, Diagnostic> {
        self.runtime.data_source_schema(name)?;
        Ok(&self.data_source_types[name])
    }

    async fn plan(
        &self,
        m: pb::plan_resource_change::Request,
    ) -> Result<pb::plan_resource_change::Response, Diagnostic> {
        let ty = self.resource_type(&m.type_name)?;
        let prior = wire::read(m.prior_state.as_ref(), ty)?;
        // A proposal of null is a deletion; otherwise the engine makes its own from configuration and state.
        let proposed = wire::read(m.proposed_new_state.as_ref(), ty)?;
        let config = match proposed {
            None => None,
            Some(_) => Some(wire::read(m.config.as_ref(), ty)?.unwrap_or_default()),
        };
        let planned = self
            .runtime
            .plan(&m.type_name, prior, config, &m.prior_private)
            .await;
        Ok(pb::plan_resource_change::Response {
            planned_state: Some(wire::write(planned.state, ty)?),
            requires_replace: planned.replace.iter().map(wire::path).collect(),
            planned_private: planned.private,
            diagnostics: wire::diagnostics(planned.diagnostics),
        })
    }

    async fn apply(
        &self,
        m: pb::apply_resource_change::Request,
    ) -> Result<pb::apply_resource_change::Response, Diagnostic> {
        let ty = self.resource_type(&m.type_name)?;
        let prior = wire::read(m.prior_state.as_ref(), ty)?;
        let planned = wire::read(m.planned_state.as_ref(), ty)?;
        let config = wire::read(m.config.as_ref(), ty)?;
        let done = self
            .runtime
            .apply(&m.type_name, prior, planned, config, &m.planned_private)
            .await;
        let (state, diagnostics) = written(done.state, ty, done.diagnostics);
        Ok(pb::apply_resource_change::Response {
            new_state: state,
            private: done.private,
            diagnostics: wire::diagnostics(diagnostics),
        })
    }

    async fn read(
        &self,
        m: pb::read_resource::Request,
    ) -> Result<pb::read_resource::Response, Diagnostic> {
        let ty = self.resource_type(&m.type_name)?;
        let Some(state) = wire::read(m.current_state.as_ref(), ty)? else {
            return Ok(pb::read_resource::Response {
                new_state: m.current_state,
                ..Default::default()
            });
        };
        let done = self.runtime.read(&m.type_name, state, &m.private).await;
        Ok(pb::read_resource::Response {
            new_state: Some(wire::write(done.state, ty)?),
            private: done.private,
            diagnostics: wire::diagnostics(done.diagnostics),
        })
    }

    async fn import(
        &self,
        m: &pb::import_resource_state::Request,
    ) -> Result<pb::import_resource_state::Response, Diagnostic> {
        let ty = self.resource_type(&m.type_name)?;
        let Applied {
            state,
            private,
            diagnostics,
        } = self.runtime.import(&m.type_name, &m.id).await;
        let mut imported_resources = Vec::new();
        if let Some(state) = state {
            imported_resources.push(pb::import_resource_state::ImportedResource {
                type_name: m.type_name.clone(),
                state: Some(wire::write(Some(state), ty)?),
                private,
            });
        }
        Ok(pb::import_resource_state::Response {
            imported_resources,
            diagnostics: wire::diagnostics(diagnostics),
        })
    }

    fn upgrade(
        &self,
        m: pb::upgrade_resource_state::Request,
    ) -> Result<pb::DynamicValue, Diagnostic> {
        let ty = self.resource_type(&m.type_name)?;
        let raw = m.raw_state.unwrap_or_default();
        if raw.json.is_empty() {
            return Err(Diagnostic::error("State is too old")
                .detail(format!(
                    "The state of `{}` is in the form of Terraform 0.11.",
                    m.type_name
                ))
                .hint("apply once with Terraform 0.12 or later"));
        }
        let text = self.runtime.upgrade(&m.type_name, m.version, raw.json)?;
        match json::from_bytes(&text, ty) {
            Ok(Value::Object(state)) => wire::write(Some(state), ty),
            Ok(_) => wire::write(None, ty),
            Err(error) => Err(Diagnostic::error("State cannot be read")
                .detail(format!("The stored state of `{}` does not fit its schema: {error}.", m.type_name))
                .hint("restore the state from a backup, or remove the resource from the state and import it again")),
        }
    }

    async fn data(
        &self,
        m: &pb::read_data_source::Request,
    ) -> Result<pb::read_data_source::Response, Diagnostic> {
        let ty = self.data_source_type(&m.type_name)?;
        let config = wire::read(m.config.as_ref(), ty)?.unwrap_or_default();
        let done = self.runtime.read_data_source(&m.type_name, config).await;
        Ok(pb::read_data_source::Response {
            state: Some(wire::write(done.state, ty)?),
            diagnostics: wire::diagnostics(done.diagnostics),
        })
    }
}

/// What exists must reach the state even if some value of it cannot be written.
fn written(
    state: Option<Object>,
    ty: &Type,
    mut diagnostics: Diagnostics,
) -> (Option<pb::DynamicValue>, Diagnostics) {
    match wire::write(state.clone(), ty) {
        Ok(value) => (Some(value), diagnostics),
        Err(mistake) => {
            diagnostics.push(mistake);
            (state.map(|s| wire::write_what_fits(s, ty)), diagnostics)
        }
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
        let response = match self.upgrade(request.into_inner()) {
            Ok(state) => pb::upgrade_resource_state::Response {
                upgraded_state: Some(state),
                diagnostics: Vec::new(),
            },
            Err(why) => pb::upgrade_resource_state::Response {
                upgraded_state: None,
                diagnostics: one(why),
            },
        };
        Ok(Response::new(response))
    }

    async fn configure_provider(
        &self,
        request: Request<pb::configure_provider::Request>,
    ) -> Answer<pb::configure_provider::Response> {
        let m = request.into_inner();
        let diagnostics = match wire::read(m.config.as_ref(), &self.provider_type) {
            Ok(config) => {
                let host = Host {
                    terraform_version: m.terraform_version,
                };
                wire::diagnostics(
                    self.runtime
                        .configure(host, &config.unwrap_or_default())
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
        let (span, before, private) = (
            tracing::debug_span!("read", tf_resource_type = m.type_name),
            m.current_state.clone(),
            m.private.clone(),
        );
        let done = self.read(m).instrument(span).await;
        Ok(Response::new(done.unwrap_or_else(|why| {
            pb::read_resource::Response {
                new_state: before,
                private,
                diagnostics: one(why),
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
        let (before, private) = (m.prior_state.clone(), m.planned_private.clone());
        let done = self.apply(m).instrument(span).await;
        Ok(Response::new(done.unwrap_or_else(|why| {
            pb::apply_resource_change::Response {
                new_state: before,
                private,
                diagnostics: one(why),
            }
        })))
    }

    async fn import_resource_state(
        &self,
        request: Request<pb::import_resource_state::Request>,
    ) -> Answer<pb::import_resource_state::Response> {
        let done = self.import(request.get_ref()).await;
        Ok(Response::new(done.unwrap_or_else(|why| {
            pb::import_resource_state::Response {
                imported_resources: Vec::new(),
                diagnostics: one(why),
            }
        })))
    }

    async fn read_data_source(
        &self,
        request: Request<pb::read_data_source::Request>,
    ) -> Answer<pb::read_data_source::Response> {
        let span = tracing::debug_span!("data", tf_data_source_type = request.get_ref().type_name);
        let done = self.data(request.get_ref()).instrument(span).await;
        Ok(Response::new(done.unwrap_or_else(|why| {
            pb::read_data_source::Response {
                state: None,
                diagnostics: one(why),
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
