//! go-plugin's services: a broker without side connections, standard streams that never carry anything, the shutdown.

use std::pin::Pin;

use metal_proto::plugin as pb;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

type Silence<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A stream that stays open and silent until the process ends.
fn silence<T: Send + 'static>(end: &CancellationToken) -> Silence<T> {
    let end = end.clone();
    Box::pin(futures::stream::once(async move {
        end.cancelled().await;
        Err(Status::unavailable("the plugin is shutting down"))
    }))
}

/// Side connections; none is offered.
pub(crate) struct Broker(pub(crate) CancellationToken);

#[tonic::async_trait]
impl pb::grpc_broker_server::GrpcBroker for Broker {
    async fn start_stream(
        &self,
        _: Request<Streaming<pb::ConnInfo>>,
    ) -> Result<Response<Silence<pb::ConnInfo>>, Status> {
        Ok(Response::new(silence(&self.0)))
    }
}

/// Standard streams; the log goes to the real standard error.
pub(crate) struct Stdio(pub(crate) CancellationToken);

#[tonic::async_trait]
impl pb::grpc_stdio_server::GrpcStdio for Stdio {
    async fn stream_stdio(
        &self,
        _: Request<()>,
    ) -> Result<Response<Silence<pb::StdioData>>, Status> {
        Ok(Response::new(silence(&self.0)))
    }
}

/// The end of the process.
pub(crate) struct Controller(pub(crate) CancellationToken);

#[tonic::async_trait]
impl pb::grpc_controller_server::GrpcController for Controller {
    async fn shutdown(&self, _: Request<pb::Empty>) -> Result<Response<pb::Empty>, Status> {
        self.0.cancel();
        Ok(Response::new(pb::Empty {}))
    }
}
