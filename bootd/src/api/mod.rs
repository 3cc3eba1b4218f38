//! The API: metal.v1 over mTLS. Handlers set goals and read; they never name a phase and never touch a BMC.
//!
//! Every rpc checks the caller's role first. Errors go through [`status`], the only table to gRPC codes.

mod authz;
mod changes;
mod claims;
mod clusters;
mod images;
mod nodes;
mod servers;
mod status;
pub mod tls;
mod watch;
mod words;

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;

use bootd_core::id::MachineId;
use futures::Stream;
use metal_proto::metal::v1 as pb;
use metal_proto::metal::v1::metal_server::{Metal, MetalServer};
use tonic::{Request, Response, Status};

use self::authz::{Need, allow};
pub use self::claims::Holds;
pub use self::status::{ApiError, Story};
use crate::images::ImageCache;
use crate::store::Store;
use crate::talos::Jobs;

/// The API's state. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Api {
    store: Store,
    images: Arc<ImageCache>,
    jobs: Arc<Jobs>,
    holds: Arc<Holds>,
    listeners: Arc<Vec<pb::Listener>>,
}

type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Api {
    /// Over a store.
    pub fn new(
        store: Store,
        images: Arc<ImageCache>,
        jobs: Arc<Jobs>,
        listeners: Vec<pb::Listener>,
    ) -> Self {
        Self {
            store,
            images,
            jobs,
            holds: Arc::default(),
            listeners: Arc::new(listeners),
        }
    }

    /// The gRPC service.
    pub fn service(self) -> MetalServer<Self> {
        MetalServer::new(self).max_decoding_message_size(16 << 20)
    }
}

fn answer<T>(result: Result<T, ApiError>) -> Answer<T> {
    Ok(Response::new(result?))
}

#[tonic::async_trait]
impl Metal for Api {
    async fn site(&self, request: Request<pb::SiteRequest>) -> Answer<pb::SiteResponse> {
        allow(&request, Need::Greet)?;
        Ok(Response::new(pb::SiteResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            features: vec!["v1".to_owned()],
            listeners: self.listeners.as_ref().clone(),
        }))
    }

    async fn put_server(&self, request: Request<pb::PutServerRequest>) -> Answer<pb::Server> {
        allow(&request, Need::Write)?;
        answer(self.put_server(request.into_inner()).await)
    }

    async fn read_server(&self, request: Request<pb::Named>) -> Answer<pb::Server> {
        allow(&request, Need::Read)?;
        answer(self.read_server(&request.get_ref().name).await)
    }

    async fn list_servers(
        &self,
        request: Request<pb::ListServersRequest>,
    ) -> Answer<pb::ListServersResponse> {
        allow(&request, Need::Read)?;
        answer(self.list_servers(request.get_ref()).await)
    }

    async fn delete_server(&self, request: Request<pb::DeleteServerRequest>) -> Answer<pb::Empty> {
        allow(&request, Need::Write)?;
        answer(self.delete_server(request.get_ref()).await)
    }

    async fn retry_server(&self, request: Request<pb::RetryServerRequest>) -> Answer<pb::Server> {
        allow(&request, Need::Write)?;
        answer(self.retry_server(request.get_ref()).await)
    }

    async fn timeline(
        &self,
        request: Request<pb::TimelineRequest>,
    ) -> Answer<Streamed<pb::TimelineEvent>> {
        allow(&request, Need::Read)?;
        answer(self.timeline(request.into_inner()).await)
    }

    async fn open_registration(
        &self,
        request: Request<pb::OpenRegistrationRequest>,
    ) -> Answer<pb::OpenRegistrationResponse> {
        allow(&request, Need::Write)?;
        answer(self.open_registration(request.get_ref()))
    }

    async fn set_credentials(
        &self,
        request: Request<pb::SetCredentialsRequest>,
    ) -> Answer<pb::Empty> {
        allow(&request, Need::Write)?;
        answer(self.set_credentials(request.into_inner()).await)
    }

    async fn put_class(&self, request: Request<pb::ClassConfig>) -> Answer<pb::ClassConfig> {
        allow(&request, Need::Write)?;
        answer(self.put_class(request.into_inner()).await)
    }

    async fn read_class(&self, request: Request<pb::Named>) -> Answer<pb::ClassConfig> {
        allow(&request, Need::Read)?;
        answer(self.read_class(&request.get_ref().name).await)
    }

    async fn delete_class(&self, request: Request<pb::Named>) -> Answer<pb::Empty> {
        allow(&request, Need::Write)?;
        answer(self.delete_class(&request.get_ref().name).await)
    }

    async fn plan_claim(
        &self,
        request: Request<pb::PlanClaimRequest>,
    ) -> Answer<pb::PlanClaimResponse> {
        allow(&request, Need::Read)?;
        answer(self.plan_claim(request.into_inner()).await)
    }

    async fn put_claim(&self, request: Request<pb::PutClaimRequest>) -> Answer<pb::Claim> {
        allow(&request, Need::Write)?;
        answer(self.put_claim(request.into_inner()).await)
    }

    async fn read_claim(&self, request: Request<pb::Named>) -> Answer<pb::Claim> {
        allow(&request, Need::Read)?;
        answer(self.read_claim(&request.get_ref().name).await)
    }

    async fn release_claim(&self, request: Request<pb::Named>) -> Answer<pb::Empty> {
        allow(&request, Need::Write)?;
        answer(self.release_claim(&request.get_ref().name).await)
    }

    async fn put_image(&self, request: Request<pb::ImageConfig>) -> Answer<pb::Image> {
        allow(&request, Need::Write)?;
        answer(self.put_image(request.into_inner()).await)
    }

    async fn read_image(&self, request: Request<pb::Named>) -> Answer<pb::Image> {
        allow(&request, Need::Read)?;
        answer(self.read_image(&request.get_ref().name).await)
    }

    async fn delete_image(&self, request: Request<pb::Named>) -> Answer<pb::Empty> {
        allow(&request, Need::Write)?;
        answer(self.delete_image(&request.get_ref().name).await)
    }

    async fn put_secrets(&self, request: Request<pb::SecretsConfig>) -> Answer<pb::Secrets> {
        allow(&request, Need::Write)?;
        answer(self.put_secrets(request.into_inner()).await)
    }

    async fn read_secrets(&self, request: Request<pb::Named>) -> Answer<pb::Secrets> {
        allow(&request, Need::Read)?;
        answer(self.read_secrets(&request.get_ref().name).await)
    }

    async fn delete_secrets(&self, request: Request<pb::Named>) -> Answer<pb::Empty> {
        allow(&request, Need::Write)?;
        answer(self.delete_secrets(&request.get_ref().name).await)
    }

    async fn plan_node(
        &self,
        request: Request<pb::PlanNodeRequest>,
    ) -> Answer<pb::PlanNodeResponse> {
        allow(&request, Need::Read)?;
        answer(self.plan_node(request.into_inner()).await)
    }

    async fn put_node(&self, request: Request<pb::PutNodeRequest>) -> Answer<pb::Node> {
        allow(&request, Need::Write)?;
        answer(self.put_node(request.into_inner()).await)
    }

    async fn read_node(&self, request: Request<pb::Named>) -> Answer<pb::Node> {
        allow(&request, Need::Read)?;
        answer(self.read_node(&request.get_ref().name).await)
    }

    async fn delete_node(&self, request: Request<pb::Named>) -> Answer<pb::Empty> {
        allow(&request, Need::Write)?;
        answer(self.delete_node(&request.get_ref().name).await)
    }

    async fn put_cluster(&self, request: Request<pb::ClusterConfig>) -> Answer<pb::Cluster> {
        allow(&request, Need::Write)?;
        answer(self.put_cluster(request.into_inner()).await)
    }

    async fn read_cluster(&self, request: Request<pb::Named>) -> Answer<pb::Cluster> {
        allow(&request, Need::Read)?;
        answer(self.read_cluster(&request.get_ref().name).await)
    }

    async fn delete_cluster(&self, request: Request<pb::Named>) -> Answer<pb::Empty> {
        allow(&request, Need::Write)?;
        answer(self.delete_cluster(&request.get_ref().name).await)
    }

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Answer<Streamed<pb::Progress>> {
        allow(&request, Need::Read)?;
        answer(self.watch(request.into_inner()))
    }

    async fn kubeconfig(
        &self,
        request: Request<pb::CredentialRequest>,
    ) -> Answer<pb::CredentialResponse> {
        allow(&request, Need::Credentials)?;
        answer(self.kubeconfig(request.into_inner()).await)
    }

    async fn talosconfig(
        &self,
        request: Request<pb::CredentialRequest>,
    ) -> Answer<pb::CredentialResponse> {
        allow(&request, Need::Credentials)?;
        answer(self.talosconfig(request.into_inner()).await)
    }
}

fn machine(name: &str) -> MachineId {
    MachineId(name.to_owned())
}
