//! What can go wrong on the way to a node.

use std::error::Error as _;
use std::net::SocketAddr;

use tonic::{Code, Status};

/// Why a call came to nothing. Texts are the node's own; they hold no secret of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No connection: off, booting, in the gap after a config, or a worker whose control plane does not run yet.
    #[error("{address} does not answer on its Talos API ({why})")]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// What the connection said.
        why: String,
    },
    /// Connected, but nothing came in time.
    #[error("{0} did not answer in time")]
    Deadline(SocketAddr),
    /// The node waits for a config, and refuses what only a configured node does.
    #[error("{0} is in maintenance mode: it has no config yet")]
    Maintenance(SocketAddr),
    /// The node's certificate comes from another authority than this cluster's.
    #[error("{0} shows a certificate of another cluster")]
    WrongCa(SocketAddr),
    /// The node does not know our certificate's authority, or the certificate's role lacks this right.
    #[error(
        "{0} does not authorize this client certificate: another cluster, or a role without this right"
    )]
    NotAuthorized(SocketAddr),
    /// It is not time for this yet; the node's words.
    #[error("the node says: {0}")]
    Precondition(String),
    /// It is done already; the node's words.
    #[error("the node says: {0}")]
    AlreadyExists(String),
    /// The node finds the request wrong, and always will.
    #[error("the node refuses the request: {0}")]
    Refused(String),
    /// The node's version lacks this, or this role does.
    #[error("the node does not know this call: {0}")]
    Unimplemented(String),
    /// No such resource.
    #[error("the node has no such resource: {0}")]
    NotFound(String),
    /// Any other failure of the node.
    #[error("the node failed: {0}")]
    Failed(String),
    /// An answer that cannot be understood.
    #[error("the node's answer is not usable: {0}")]
    Answer(&'static str),
    /// The certificate or key cannot be used.
    #[error("the client certificate cannot be used: {0}")]
    Certificate(&'static str),
}

impl ClientError {
    /// Whether trying again later can help without changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Deadline(_)
            | Self::Maintenance(_)
            | Self::Precondition(_)
            | Self::Failed(_) => true,
            Self::WrongCa(_)
            | Self::NotAuthorized(_)
            | Self::AlreadyExists(_)
            | Self::Refused(_)
            | Self::Unimplemented(_)
            | Self::NotFound(_)
            | Self::Answer(_)
            | Self::Certificate(_) => false,
        }
    }

    pub(super) fn from_status(address: SocketAddr, status: &Status) -> Self {
        let text = status.message().to_owned();
        if let Some(error) = from_transport(address, status) {
            return error;
        }
        match status.code() {
            Code::DeadlineExceeded => Self::Deadline(address),
            Code::PermissionDenied | Code::Unauthenticated => Self::NotAuthorized(address),
            Code::FailedPrecondition => Self::Precondition(text),
            Code::AlreadyExists => Self::AlreadyExists(text),
            Code::InvalidArgument | Code::OutOfRange => Self::Refused(text),
            Code::Unimplemented => Self::Unimplemented(text),
            Code::NotFound => Self::NotFound(text),
            Code::Unavailable | Code::Cancelled => Self::Unreachable { address, why: text },
            Code::Ok
            | Code::Unknown
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Internal
            | Code::DataLoss => Self::Failed(text),
        }
    }
}

/// The alerts with which a server refuses a client certificate.
const OUR_CERTIFICATE: [&str; 6] = [
    "UnknownCA",
    "BadCertificate",
    "CertificateRequired",
    "CertificateUnknown",
    "DecryptError",
    "AccessDenied",
];

/// What the connection itself says: TLS alerts and handshake failures hide below the status.
fn from_transport(address: SocketAddr, status: &Status) -> Option<ClientError> {
    let mut chain = Vec::new();
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(from_tls(address, tls));
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && let Some(tls) = io.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>())
        {
            return Some(from_tls(address, tls));
        }
        chain.push(error.to_string());
        source = error.source();
    }
    let why = chain.pop()?;
    // HTTP/2 keeps only the text of what ended its connection.
    let alert = why
        .split_once("received fatal alert: ")
        .map(|(_, name)| name);
    if alert.is_some_and(|name| OUR_CERTIFICATE.contains(&name)) {
        return Some(ClientError::NotAuthorized(address));
    }
    Some(ClientError::Unreachable { address, why })
}

pub(super) fn from_tls(address: SocketAddr, error: &rustls::Error) -> ClientError {
    use rustls::CertificateError;
    if let rustls::Error::InvalidCertificate(certificate) = error {
        let maintenance = matches!(certificate, CertificateError::Other(other)
            if other.to_string() == super::connect::MAINTENANCE);
        if maintenance {
            return ClientError::Maintenance(address);
        }
        let foreign = [
            CertificateError::UnknownIssuer,
            CertificateError::BadSignature,
        ];
        if foreign.contains(certificate) {
            return ClientError::WrongCa(address);
        }
    }
    let why = error.to_string();
    from_alert(address, &why).unwrap_or(ClientError::Unreachable { address, why })
}

/// The alert in an error's text, where it is about our certificate. HTTP/2 keeps only the text of what ended its
/// connection, so that the text is read for both.
fn from_alert(address: SocketAddr, text: &str) -> Option<ClientError> {
    let (_, alert) = text.split_once("received fatal alert: ")?;
    let ours = OUR_CERTIFICATE.contains(&alert);
    ours.then_some(ClientError::NotAuthorized(address))
}
