//! What the node's API answers: who may call what, then the services.
//!
//! The table has every method that a real node has. Those that nothing of ours needs answer as a real node does to an empty request.

mod kubeconfig;
mod machine;
mod state;
mod storage;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use metal_proto::talos::cosi::resource::state_server::StateServer;
use metal_proto::talos::machine::machine_service_server::MachineServiceServer;
use metal_proto::talos::storage::storage_service_server::StorageServiceServer;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::ServiceExt;

use super::apid::Mode;
use super::node::Node;

/// Who is connected.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Through which door.
    pub mode: Mode,
    /// Roles of the certificate; a reader in maintenance.
    pub roles: Vec<String>,
}

impl Caller {
    fn has(&self, wanted: &[&str]) -> bool {
        self.roles
            .iter()
            .any(|role| wanted.contains(&role.as_str()))
    }
}

/// The services over one node, for one caller.
#[derive(Debug, Clone)]
pub struct Api {
    node: Arc<Node>,
    caller: Caller,
}

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Any role.
    Reader,
    /// `os:operator` or `os:admin`.
    Operator,
    /// `os:admin`.
    Admin,
    /// `os:admin`, and anybody in maintenance.
    Maintenance,
}

/// How a method is answered.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// By a service.
    Served,
    /// OK with one empty message per node.
    Empty,
    /// A stream that ends at once.
    End,
    /// An error.
    Refused(Code, &'static str),
}

use Answer::{Empty, End, Refused, Served};
use Needs::{Admin, Maintenance, Operator, Reader};

const NOT_SIMULATED: Answer = Refused(Code::Unimplemented, "not simulated by the rack");
const NO_NAMESPACE: Answer = Refused(Code::InvalidArgument, "namespace can't be empty");
const NO_CONTAINERD: Answer = Refused(
    Code::InvalidArgument,
    "invalid containerd namespace NS_UNKNOWN",
);
const NO_IMAGES: Answer = Refused(Code::InvalidArgument, "invalid namespace NS_UNKNOWN");

#[rustfmt::skip]
const METHODS: &[(&str, &str, Needs, Answer)] = &[
    ("cluster.ClusterService", "HealthCheck", Reader, Refused(Code::Unimplemented, "cluster health check is only available on control plane nodes")),
    ("cosi.resource.State", "Get", Reader, Served),
    ("cosi.resource.State", "List", Reader, Served),
    ("cosi.resource.State", "Watch", Reader, Served),
    ("cosi.resource.State", "Create", Admin, NOT_SIMULATED),
    ("cosi.resource.State", "Update", Admin, NOT_SIMULATED),
    ("cosi.resource.State", "Destroy", Admin, NOT_SIMULATED),
    ("inspect.InspectService", "ControllerRuntimeDependencies", Reader, Empty),
    ("machine.DebugService", "ContainerRun", Admin, Refused(Code::InvalidArgument, "expected debug container spec")),
    ("machine.ImageService", "Import", Admin, Refused(Code::InvalidArgument, "containerd instance is required")),
    ("machine.ImageService", "List", Reader, NO_CONTAINERD),
    ("machine.ImageService", "Pull", Admin, NO_CONTAINERD),
    ("machine.ImageService", "Remove", Admin, NOT_SIMULATED),
    ("machine.ImageService", "Verify", Reader, Refused(Code::InvalidArgument, "image reference is invalid: could not parse reference: ")),
    ("machine.LifecycleService", "Install", Admin, NOT_SIMULATED),
    ("machine.LifecycleService", "Upgrade", Admin, NOT_SIMULATED),
    ("machine.MachineService", "ApplyConfiguration", Maintenance, Served),
    ("machine.MachineService", "Bootstrap", Admin, Served),
    ("machine.MachineService", "CPUFreqStats", Reader, Empty),
    ("machine.MachineService", "CPUInfo", Reader, Empty),
    ("machine.MachineService", "Containers", Reader, NO_NAMESPACE),
    ("machine.MachineService", "Copy", Admin, Refused(Code::Unknown, "path is not absolute .")),
    ("machine.MachineService", "DiskStats", Reader, Empty),
    ("machine.MachineService", "DiskUsage", Reader, End),
    ("machine.MachineService", "Dmesg", Reader, Served),
    ("machine.MachineService", "EtcdAlarmDisarm", Operator, Empty),
    ("machine.MachineService", "EtcdAlarmList", Reader, Served),
    ("machine.MachineService", "EtcdDefragment", Operator, Empty),
    ("machine.MachineService", "EtcdDowngradeCancel", Admin, NOT_SIMULATED),
    ("machine.MachineService", "EtcdDowngradeEnable", Admin, NOT_SIMULATED),
    ("machine.MachineService", "EtcdDowngradeValidate", Admin, Refused(Code::InvalidArgument, "version is required for etcd downgrade")),
    ("machine.MachineService", "EtcdForfeitLeadership", Admin, Served),
    ("machine.MachineService", "EtcdLeaveCluster", Admin, Served),
    ("machine.MachineService", "EtcdMemberList", Reader, Served),
    ("machine.MachineService", "EtcdRecover", Admin, NOT_SIMULATED),
    ("machine.MachineService", "EtcdRemoveMemberByID", Admin, Served),
    ("machine.MachineService", "EtcdSnapshot", Operator, Served),
    ("machine.MachineService", "EtcdStatus", Reader, Served),
    ("machine.MachineService", "Events", Reader, Served),
    ("machine.MachineService", "GenerateClientConfiguration", Admin, Refused(Code::InvalidArgument, "crt_ttl should be positive")),
    ("machine.MachineService", "Hostname", Reader, Served),
    ("machine.MachineService", "ImageList", Reader, NO_IMAGES),
    ("machine.MachineService", "ImagePull", Admin, NO_IMAGES),
    ("machine.MachineService", "Kubeconfig", Admin, Served),
    ("machine.MachineService", "List", Reader, Served),
    ("machine.MachineService", "LoadAvg", Reader, Empty),
    ("machine.MachineService", "Logs", Reader, NO_NAMESPACE),
    ("machine.MachineService", "LogsContainers", Reader, Served),
    ("machine.MachineService", "Memory", Reader, Empty),
    ("machine.MachineService", "MetaDelete", Admin, NOT_SIMULATED),
    ("machine.MachineService", "MetaWrite", Admin, NOT_SIMULATED),
    ("machine.MachineService", "Mounts", Reader, Empty),
    ("machine.MachineService", "Netstat", Reader, Empty),
    ("machine.MachineService", "NetworkDeviceStats", Reader, Empty),
    ("machine.MachineService", "PacketCapture", Operator, Refused(Code::NotFound, "interface \"\" not found")),
    ("machine.MachineService", "Processes", Reader, Empty),
    ("machine.MachineService", "Read", Admin, Served),
    ("machine.MachineService", "Reboot", Operator, Served),
    ("machine.MachineService", "Reset", Admin, Served),
    ("machine.MachineService", "Restart", Operator, NOT_SIMULATED),
    ("machine.MachineService", "Rollback", Admin, NOT_SIMULATED),
    ("machine.MachineService", "ServiceList", Reader, Served),
    ("machine.MachineService", "ServiceRestart", Operator, NOT_SIMULATED),
    ("machine.MachineService", "ServiceStart", Operator, NOT_SIMULATED),
    ("machine.MachineService", "ServiceStop", Operator, NOT_SIMULATED),
    ("machine.MachineService", "Shutdown", Operator, Served),
    ("machine.MachineService", "Stats", Reader, NO_NAMESPACE),
    ("machine.MachineService", "SystemStat", Reader, Empty),
    ("machine.MachineService", "Upgrade", Admin, NOT_SIMULATED),
    ("machine.MachineService", "Version", Reader, Served),
    ("storage.StorageService", "BlockDeviceWipe", Maintenance, Empty),
    ("storage.StorageService", "Disks", Reader, Served),
    ("time.TimeService", "Time", Reader, Empty),
    ("time.TimeService", "TimeCheck", Reader, Refused(Code::InvalidArgument, "ntp server is required")),
];

/// Serves one connection until it ends.
///
/// # Errors
/// Of HTTP/2.
pub async fn serve<S>(node: Arc<Node>, caller: Caller, stream: S) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let api = Api { node, caller };
    let routes = Routes::new(MachineServiceServer::new(api.clone()))
        .add_service(StorageServiceServer::new(api.clone()))
        .add_service(StateServer::new(api.clone()));
    let service = service_fn(move |request: Request<Incoming>| {
        let (api, routes) = (api.clone(), routes.clone());
        async move { Ok::<_, Infallible>(gate(&api, routes, request).await) }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn gate(api: &Api, routes: Routes, request: Request<Incoming>) -> Response<Body> {
    match admit(api, request.uri().path()) {
        Err(status) => status.into_http(),
        Ok(Refused(code, text)) => Status::new(code, text).into_http(),
        // `messages`, field 1, with one empty element.
        Ok(Empty) => frames(vec![Bytes::from_static(&[0x0a, 0x00])]),
        Ok(End) => frames(Vec::new()),
        Ok(Served) => match routes.oneshot(request.map(Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
    }
}

fn admit(api: &Api, path: &str) -> Result<Answer, Status> {
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (service, method) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    if METHODS.iter().all(|(known, ..)| *known != service) {
        return Err(Status::unimplemented(format!("unknown service {service}")));
    }
    let found = METHODS
        .iter()
        .find(|(s, m, ..)| *s == service && *m == method);
    let Some((_, _, needs, answer)) = found else {
        return Err(Status::unimplemented(format!(
            "unknown method {method} for service {service}"
        )));
    };
    let may = match needs {
        Reader => api.caller.has(&["os:reader", "os:operator", "os:admin"]),
        Operator => api.caller.has(&["os:operator", "os:admin"]),
        Admin => api.caller.has(&["os:admin"]),
        Maintenance => api.caller.has(&["os:admin"]) || api.caller.mode == Mode::Maintenance,
    };
    if may {
        Ok(*answer)
    } else {
        Err(Status::permission_denied("not authorized"))
    }
}

/// An answer with these messages and status OK.
fn frames(messages: Vec<Bytes>) -> Response<Body> {
    let mut parts: Vec<Result<Frame<Bytes>, Infallible>> = Vec::new();
    for message in messages {
        let mut frame = BytesMut::with_capacity(5 + message.len());
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).unwrap_or(0));
        frame.put(message);
        parts.push(Ok(Frame::data(frame.freeze())));
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    parts.push(Ok(Frame::trailers(trailers)));
    let mut response = Response::new(Body::new(StreamBody::new(futures::stream::iter(parts))));
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}
