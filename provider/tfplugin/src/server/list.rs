//! List resources: one event per found resource, as a stream.

use std::pin::Pin;

use metal_proto::tfplugin6 as pb;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::list::{ListEvent, Want};
use crate::server::{Service, identity, one, wire};
use crate::value::Type;

/// What a list answers with.
pub(crate) type Events =
    Pin<Box<dyn Stream<Item = Result<pb::list_resource::Event, Status>> + Send + 'static>>;

impl Service {
    pub(super) async fn validate_list(
        &self,
        m: &pb::validate_list_resource_config::Request,
    ) -> Vec<pb::Diagnostic> {
        let config = self
            .list_type(&m.type_name)
            .and_then(|ty| wire::read(m.config.as_ref(), ty));
        match config {
            Ok(config) => {
                let config = config.unwrap_or_default();
                wire::diagnostics(self.runtime.validate_list(&m.type_name, &config).await)
            }
            Err(why) => one(why),
        }
    }

    pub(super) fn list(&self, m: pb::list_resource::Request) -> Events {
        match self.begun(&m) {
            Ok(events) => events,
            Err(why) => Box::pin(tokio_stream::once(Ok(said(why)))),
        }
    }

    fn begun(&self, m: &pb::list_resource::Request) -> Result<Events, Diagnostic> {
        let name = &m.type_name;
        let config = wire::read(m.config.as_ref(), self.list_type(name)?)?.unwrap_or_default();
        let want = match m.include_resource_object {
            true => Want::Resources,
            false => Want::Identities,
        };
        // Hosts always ask for some; zero is one that does not say.
        let limit = u64::try_from(m.limit).ok().filter(|l| *l > 0);
        let ty = self.resource_type(name)?.clone();
        let identity_ty = self.identity_types.get(name.as_str()).cloned();
        let events = self.runtime.list(name, &config, want, limit);
        Ok(Box::pin(ReceiverStream::new(events).map(move |found| {
            let sent = event(found, &ty, identity_ty.as_ref());
            Ok(sent.unwrap_or_else(said))
        })))
    }
}

fn event(
    found: ListEvent,
    ty: &Type,
    identity_ty: Option<&Type>,
) -> Result<pb::list_resource::Event, Diagnostic> {
    let resource_object = match found.resource {
        None => None,
        object => Some(wire::write(object, ty)?),
    };
    Ok(pb::list_resource::Event {
        identity: identity::write(found.identity, identity_ty)?,
        display_name: found.display_name,
        resource_object,
        diagnostic: wire::diagnostics(found.diagnostics),
    })
}

fn said(why: Diagnostic) -> pb::list_resource::Event {
    pb::list_resource::Event {
        diagnostic: wire::diagnostics(Diagnostics::from(why)),
        ..Default::default()
    }
}
