//! One provider and one gRPC connection to it, both in this process: the calls of a host, with values in place of messages.

use std::io;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use metal_proto::tfplugin6 as pb;
use pb::attribute_path::step::Selector;
use pb::provider_client::ProviderClient;
use pb::provider_server::ProviderServer;
use tonic::Response;
use tonic::transport::{Channel, Endpoint, Server};

use crate::codec::msgpack;
use crate::context::AfterStop;
use crate::kit::steps::rules::{agrees, plan_is_valid};
use crate::kit::steps::schema::{BlockSchema, Schemas};
use crate::path::Path;
use crate::resource::Provider;
use crate::runtime::Runtime;
use crate::server::Service;
use crate::value::{Object, Type, Value};

/// How much of the connection may be in flight.
const PIPE_BYTES: usize = 1 << 20;

/// A provider that answers.
pub(super) struct Link {
    pub(super) client: ProviderClient<Channel>,
    pub(super) schemas: Schemas,
    /// Ephemeral resources that are open: type and private bytes.
    pub(super) opened: Vec<(String, Option<Vec<u8>>)>,
    /// The provider's local name, for its functions.
    pub(super) name: String,
    /// The progress of actions.
    pub(super) said: Vec<String>,
}

/// A planned creation or update.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) prior: Option<Object>,
    pub(super) prior_private: Vec<u8>,
    pub(super) config: Object,
    pub(super) planned: Object,
    private: Vec<u8>,
}

/// What an apply left: the state, its private bytes, and what was said where it failed.
pub(super) type Done = (Option<Object>, Vec<u8>, Option<String>);

impl Link {
    /// Serves the provider and asks for its schemas.
    pub(super) async fn open(provider: impl Provider, name: &str) -> Result<Self, String> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let service = Service::new(Arc::new(Runtime::new(provider)), AfterStop::StayStopped);
        let service = ProviderServer::new(service)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        let peers = tokio_stream::once(Ok::<_, io::Error>(far));
        // Ends with the connection.
        tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(peers),
        );
        let mut near = Some(near);
        let connector = tower::service_fn(move |_| {
            let stream = near.take();
            async move {
                let stream = stream.ok_or(io::ErrorKind::NotConnected);
                stream.map(TokioIo::new).map_err(io::Error::from)
            }
        });
        let channel = Endpoint::from_static("http://provider")
            .connect_with_connector(connector)
            .await
            .map_err(|e| format!("the provider does not answer: {e}"))?;
        let mut client = ProviderClient::new(channel)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        let request = pb::get_provider_schema::Request {};
        let all = answer(client.get_provider_schema(request).await)?;
        refused(&all.diagnostics)?;
        let schemas = Schemas::read(&all)?;
        Ok(Self {
            client,
            schemas,
            opened: Vec::new(),
            name: name.to_owned(),
            said: Vec::new(),
        })
    }

    /// The schema of a resource.
    pub(super) fn resource(&self, name: &str) -> Result<&BlockSchema, String> {
        let schema = self.schemas.resources.get(name);
        schema.ok_or_else(|| {
            format!("Invalid resource type: the provider has no resource \"{name}\".")
        })
    }

    /// The schema of a data source.
    pub(super) fn data_source(&self, name: &str) -> Result<&BlockSchema, String> {
        let schema = self.schemas.data_sources.get(name);
        schema.ok_or_else(|| {
            format!("Invalid data source: the provider has no data source \"{name}\".")
        })
    }

    pub(super) async fn configure(&mut self, config: &Object) -> Result<(), String> {
        let config = message(Some(config), &self.schemas.provider.ty())?;
        let request = pb::validate_provider_config::Request {
            config: config.clone(),
        };
        let checked = answer(self.client.validate_provider_config(request).await)?;
        refused(&checked.diagnostics)?;
        let request = pb::configure_provider::Request {
            terraform_version: "1.11.0".to_owned(),
            config,
            client_capabilities: capabilities(),
        };
        let done = answer(self.client.configure_provider(request).await)?;
        refused(&done.diagnostics)
    }

    pub(super) async fn validate(&mut self, name: &str, config: &Object) -> Result<(), String> {
        let request = pb::validate_resource_config::Request {
            type_name: name.to_owned(),
            config: message(Some(config), &self.resource(name)?.ty())?,
            client_capabilities: capabilities(),
        };
        refused(&answer(self.client.validate_resource_config(request).await)?.diagnostics)
    }

    pub(super) async fn validate_data(
        &mut self,
        name: &str,
        config: &Object,
    ) -> Result<(), String> {
        let request = pb::validate_data_resource_config::Request {
            type_name: name.to_owned(),
            config: message(Some(config), &self.data_source(name)?.ty())?,
        };
        refused(&answer(self.client.validate_data_resource_config(request).await)?.diagnostics)
    }

    /// A stored state in today's shape.
    pub(super) async fn upgrade(
        &mut self,
        name: &str,
        version: i64,
        json: &str,
    ) -> Result<Option<Object>, String> {
        let raw_state = pb::RawState {
            json: json.as_bytes().to_vec(),
            ..Default::default()
        };
        let request = pb::upgrade_resource_state::Request {
            type_name: name.to_owned(),
            version,
            raw_state: Some(raw_state),
        };
        let done = answer(self.client.upgrade_resource_state(request).await)?;
        refused(&done.diagnostics)?;
        object(done.upgraded_state.as_ref(), &self.resource(name)?.ty())
    }

    /// The state and private bytes now; none where it is gone.
    pub(super) async fn read(
        &mut self,
        name: &str,
        state: Option<Object>,
        private: Vec<u8>,
    ) -> Result<Option<(Object, Vec<u8>)>, String> {
        let ty = self.resource(name)?.ty();
        let request = pb::read_resource::Request {
            type_name: name.to_owned(),
            current_state: message(state.as_ref(), &ty)?,
            private,
            client_capabilities: capabilities(),
            ..Default::default()
        };
        let done = answer(self.client.read_resource(request).await)?;
        refused(&done.diagnostics)?;
        let now = object(done.new_state.as_ref(), &ty)?;
        Ok(now.map(|now| (now, done.private)))
    }

    /// A plan that upholds a host's rules, and whether it is a replacement.
    pub(super) async fn plan(
        &mut self,
        name: &str,
        prior: Option<&Object>,
        config: &Object,
        private: Vec<u8>,
    ) -> Result<(Change, bool), String> {
        let schema = self.resource(name)?.clone();
        let ty = schema.ty();
        let request = pb::plan_resource_change::Request {
            type_name: name.to_owned(),
            prior_state: message(prior, &ty)?,
            proposed_new_state: message(Some(&proposed(&schema, prior, config)), &ty)?,
            config: message(Some(config), &ty)?,
            prior_private: private.clone(),
            client_capabilities: capabilities(),
            ..Default::default()
        };
        let done = answer(self.client.plan_resource_change(request).await)?;
        refused(&done.diagnostics)?;
        let planned = object(done.planned_state.as_ref(), &ty)?
            .ok_or("Provider produced invalid plan: a planned state of null")?;
        plan_is_valid(&schema.attributes, config, prior, &planned)?;
        let replaces = prior.is_some_and(|prior| {
            let (before, after) = (prior.clone().into(), planned.clone().into());
            differ(&done.requires_replace, &before, &after)
        });
        let change = Change {
            prior: prior.cloned(),
            prior_private: private,
            config: config.clone(),
            planned,
            private: done.planned_private,
        };
        Ok((change, replaces))
    }

    /// Asks whether a state may be deleted; the private bytes for the deletion.
    pub(super) async fn plan_delete(
        &mut self,
        name: &str,
        state: &Object,
        private: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        let ty = self.resource(name)?.ty();
        let request = pb::plan_resource_change::Request {
            type_name: name.to_owned(),
            prior_state: message(Some(state), &ty)?,
            proposed_new_state: message(None, &ty)?,
            config: message(None, &ty)?,
            prior_private: private,
            client_capabilities: capabilities(),
            ..Default::default()
        };
        let done = answer(self.client.plan_resource_change(request).await)?;
        refused(&done.diagnostics)?;
        Ok(done.planned_private)
    }

    /// Creates or updates, and checks what came of it against the plan.
    pub(super) async fn apply(&mut self, name: &str, change: &Change) -> Result<Done, String> {
        let ty = self.resource(name)?.ty();
        let request = pb::apply_resource_change::Request {
            type_name: name.to_owned(),
            prior_state: message(change.prior.as_ref(), &ty)?,
            planned_state: message(Some(&change.planned), &ty)?,
            config: message(Some(&change.config), &ty)?,
            planned_private: change.private.clone(),
            ..Default::default()
        };
        let done = answer(self.client.apply_resource_change(request).await)?;
        let state = object(done.new_state.as_ref(), &ty)?;
        let mut failed = refused(&done.diagnostics).err();
        if let (Some(state), None) = (&state, &failed) {
            failed = inconsistent(&change.planned.clone().into(), &state.clone().into());
        }
        Ok((state, done.private, failed))
    }

    /// Deletes; what is left where that failed.
    pub(super) async fn delete(
        &mut self,
        name: &str,
        state: &Object,
        private: Vec<u8>,
    ) -> Result<Done, String> {
        let ty = self.resource(name)?.ty();
        let request = pb::apply_resource_change::Request {
            type_name: name.to_owned(),
            prior_state: message(Some(state), &ty)?,
            planned_state: message(None, &ty)?,
            config: message(None, &ty)?,
            planned_private: private,
            ..Default::default()
        };
        let done = answer(self.client.apply_resource_change(request).await)?;
        let left = object(done.new_state.as_ref(), &ty)?;
        Ok((left, done.private, refused(&done.diagnostics).err()))
    }

    /// The first state of something that exists.
    pub(super) async fn import(
        &mut self,
        name: &str,
        id: &str,
    ) -> Result<(Object, Vec<u8>), String> {
        let ty = self.resource(name)?.ty();
        let request = pb::import_resource_state::Request {
            type_name: name.to_owned(),
            id: id.to_owned(),
            client_capabilities: capabilities(),
            ..Default::default()
        };
        let done = answer(self.client.import_resource_state(request).await)?;
        refused(&done.diagnostics)?;
        let found = done.imported_resources.into_iter().next();
        let found = found.ok_or("Provider returned no resource")?;
        let state = object(found.state.as_ref(), &ty)?.ok_or("Provider returned no state")?;
        Ok((state, found.private))
    }

    pub(super) async fn look_up(&mut self, name: &str, config: &Object) -> Result<Object, String> {
        let ty = self.data_source(name)?.ty();
        let request = pb::read_data_source::Request {
            provider_meta: None,
            type_name: name.to_owned(),
            config: message(Some(config), &ty)?,
            client_capabilities: capabilities(),
        };
        let done = answer(self.client.read_data_source(request).await)?;
        refused(&done.diagnostics)?;
        object(done.state.as_ref(), &ty)?.ok_or_else(|| "Provider returned no data".to_owned())
    }
}

/// A current host without deferral.
pub(super) fn capabilities() -> Option<pb::ClientCapabilities> {
    Some(pb::ClientCapabilities {
        deferral_allowed: false,
        write_only_attributes_allowed: true,
    })
}

/// What a host proposes: the configuration, and the prior value where the provider decides.
fn proposed(schema: &BlockSchema, prior: Option<&Object>, config: &Object) -> Object {
    let mut proposal = config.clone();
    for a in &schema.attributes {
        if a.computed && config.get(&a.name).is_null() {
            let old = prior.map_or(&Value::Null, |p| p.get(&a.name));
            proposal.put(&a.name, old.clone());
        }
    }
    proposal
}

fn inconsistent(planned: &Value, now: &Value) -> Option<String> {
    if let Some(path) = now.first_unknown() {
        return Some(format!(
            "Provider returned invalid result object after apply: `{path}` is not known"
        ));
    }
    let why = agrees(planned, now, &Path::root()).err()?;
    Some(format!(
        "Provider produced inconsistent result after apply: {why}"
    ))
}

/// Does the value at one of these paths change?
fn differ(paths: &[pb::AttributePath], before: &Value, after: &Value) -> bool {
    paths.iter().any(|path| {
        let path = way(path);
        before.at_path(&path) != after.at_path(&path)
    })
}

fn way(path: &pb::AttributePath) -> Path {
    let steps = path.steps.iter().filter_map(|s| s.selector.as_ref());
    steps.fold(Path::root(), |path, step| match step {
        Selector::AttributeName(name) => path.attr(name),
        Selector::ElementKeyString(key) => path.key(key),
        Selector::ElementKeyInt(i) => path.index(u64::try_from(*i).unwrap_or(u64::MAX)),
    })
}

pub(super) fn answer<T>(answer: Result<Response<T>, tonic::Status>) -> Result<T, String> {
    answer
        .map(Response::into_inner)
        .map_err(|status| format!("the call failed: {status}"))
}

/// The errors among the messages, as a person reads them.
pub(super) fn refused(said: &[pb::Diagnostic]) -> Result<(), String> {
    let errors = said
        .iter()
        .filter(|d| d.severity() == pb::diagnostic::Severity::Error)
        .map(|d| match &d.attribute {
            Some(at) => format!("Error: {}: {} (at `{}`)", d.summary, d.detail, way(at)),
            None => format!("Error: {}: {}", d.summary, d.detail),
        });
    let errors: Vec<_> = errors.collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors.join("\n"))
    }
}

pub(super) fn message(
    object: Option<&Object>,
    ty: &Type,
) -> Result<Option<pb::DynamicValue>, String> {
    let value = object.cloned().map_or(Value::Null, Value::Object);
    let msgpack = msgpack::to_bytes(&value, ty).map_err(|e| e.to_string())?;
    Ok(Some(pb::DynamicValue {
        msgpack,
        json: Vec::new(),
    }))
}

pub(super) fn object(
    message: Option<&pb::DynamicValue>,
    ty: &Type,
) -> Result<Option<Object>, String> {
    let Some(message) = message else {
        return Ok(None);
    };
    match msgpack::from_bytes(&message.msgpack, ty) {
        Ok(Value::Object(object)) => Ok(Some(object)),
        Ok(Value::Null) => Ok(None),
        Ok(other) => Err(format!("the provider sent {other:?} for an object")),
        Err(e) => Err(format!(
            "the provider sent what does not fit its schema: {e}"
        )),
    }
}
