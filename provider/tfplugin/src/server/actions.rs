//! Actions on the wire: one stream of events per invocation, which ends with the messages.

use std::pin::Pin;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use metal_proto::tfplugin6 as pb;
use pb::invoke_action::event;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::Instrument as _;

use super::{Service, managed, one, wire};
use crate::action::Progress;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::timeouts::Operation;
use crate::value::Object;

/// The events of one invocation.
pub(crate) type Events =
    Pin<Box<dyn Stream<Item = Result<pb::invoke_action::Event, Status>> + Send>>;

impl Service {
    fn action_config(
        &self,
        name: &str,
        config: Option<&pb::DynamicValue>,
    ) -> Result<Object, Diagnostic> {
        let ty = self.runtime.action(name)?.schema.ty();
        Ok(wire::read(config, &ty)?.unwrap_or_default())
    }

    pub(super) async fn validate_action(
        &self,
        m: pb::validate_action_config::Request,
    ) -> pb::validate_action_config::Response {
        let diagnostics = match self.action_config(&m.action_type, m.config.as_ref()) {
            Ok(config) => {
                wire::diagnostics(self.runtime.validate_action(&m.action_type, &config).await)
            }
            Err(why) => one(why),
        };
        pb::validate_action_config::Response { diagnostics }
    }

    pub(super) async fn planned_action(
        &self,
        m: pb::plan_action::Request,
    ) -> pb::plan_action::Response {
        let deferrals = managed::deferrals(m.client_capabilities.as_ref());
        if let Some(why) = self.runtime.waiting_action(&m.action_type, deferrals) {
            return pb::plan_action::Response {
                diagnostics: Vec::new(),
                deferred: Some(managed::deferred(why)),
            };
        }
        let diagnostics = match self.action_config(&m.action_type, m.config.as_ref()) {
            Ok(config) => {
                wire::diagnostics(self.runtime.plan_action(&m.action_type, &config).await)
            }
            Err(why) => one(why),
        };
        pb::plan_action::Response {
            diagnostics,
            deferred: None,
        }
    }

    /// Starts the action. Where the host drops the stream, the action is told to stop, and has the engine's second to end.
    pub(super) fn invoke(&self, m: pb::invoke_action::Request) -> Events {
        let config = match self.action_config(&m.action_type, m.config.as_ref()) {
            Ok(config) => config,
            Err(why) => return Box::pin(stream::iter([Ok(completed(why.into()))])),
        };
        let cx = self.runtime.context(Operation::Invoke);
        let abandoned = cx.token().clone().drop_guard();
        let (progress, lines) = Progress::channel();
        let runtime = Arc::clone(&self.runtime);
        let name = m.action_type;
        let work = async move { runtime.invoke_in(cx, &name, &config, progress).await };
        let work = tokio::spawn(work.in_current_span());
        let said = ReceiverStream::new(lines).map(progress_event);
        let end = stream::once(async move {
            // Until here the stream holds the guard: dropped earlier, it stops the action.
            let done = work.await;
            drop(abandoned);
            completed(done.unwrap_or_else(|_| lost()))
        });
        Box::pin(said.chain(end).map(Ok))
    }
}

/// The task itself broke, outside of the provider's code.
fn lost() -> Diagnostics {
    Diagnostic::provider_bug("The action's end was lost; what it did before stays done.").into()
}

fn progress_event(message: String) -> pb::invoke_action::Event {
    pb::invoke_action::Event {
        r#type: Some(event::Type::Progress(event::Progress { message })),
    }
}

fn completed(found: Diagnostics) -> pb::invoke_action::Event {
    pb::invoke_action::Event {
        r#type: Some(event::Type::Completed(event::Completed {
            diagnostics: wire::diagnostics(found),
        })),
    }
}
