//! The line to bootd: HTTPS that trusts our CA and nothing else, one request per connection, messages of `metal.v1`.
//!
//! Waiting is done in short slices, so that a machine that loses its power stops within a quarter of a second.
//! Retrying is not here but in [`crate::session`].

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use socket2::{Domain, Protocol, Socket, Type};

use crate::http::{Answer, AnswerError, Input, Parsed, request_head};
use crate::parameters::BootParameters;

/// How long one blocking call may last before power and deadline are looked at again.
const SLICE: Duration = Duration::from_millis(200);
const CONNECT: Duration = Duration::from_secs(10);

/// What went wrong between us and bootd.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TalkError {
    /// 401: the token is not good (any more).
    #[error("bootd refuses this boot's token")]
    Unauthorized,
    /// Any other status that is not 200.
    #[error("bootd answered with status {0}")]
    Status(u16),
    /// Not HTTP, or too much of it.
    #[error("bootd's answer cannot be read")]
    Answer(#[from] AnswerError),
    /// Not a message of ours.
    #[error("bootd's answer is no message of the agent protocol")]
    Message(#[from] prost::DecodeError),
    /// Network or TLS.
    #[error("no connection to bootd")]
    Io(#[from] io::Error),
    /// No whole answer in time.
    #[error("bootd did not answer in time")]
    Late,
    /// The machine lost its power.
    #[error("power lost")]
    Cut,
}

/// Why the line cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    /// The pinned CA is no certificate.
    #[error("the pinned CA of the boot archive holds no usable certificate")]
    Ca,
    /// TLS set-up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// The line to one bootd.
pub(crate) struct Line<'a> {
    parameters: &'a BootParameters,
    tls: Arc<ClientConfig>,
}

/// A request of the protocol.
pub(crate) enum Request<'a> {
    Post(&'a str, Vec<u8>),
    Get(String),
}

impl<'a> Line<'a> {
    /// Pins the CA.
    pub(crate) fn new(parameters: &'a BootParameters) -> Result<Self, LineError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(parameters.ca_pem.as_bytes()) {
            let certificate = certificate.map_err(|_| LineError::Ca)?;
            roots.add(certificate).map_err(|_| LineError::Ca)?;
        }
        if roots.is_empty() {
            return Err(LineError::Ca);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            parameters,
            tls: Arc::new(tls),
        })
    }

    /// One request, one answer, decoded. `alive` is asked several times a second.
    pub(crate) fn ask<M: Message + Default>(
        &self,
        request: &Request<'_>,
        patience: Duration,
        alive: &dyn Fn() -> bool,
    ) -> Result<M, TalkError> {
        let answer = self.exchange(
            request,
            Wait {
                until: Instant::now() + patience,
                alive,
            },
        )?;
        match answer.status {
            200 => Ok(M::decode(answer.body.as_slice())?),
            401 => Err(TalkError::Unauthorized),
            status => Err(TalkError::Status(status)),
        }
    }

    fn exchange(&self, request: &Request<'_>, wait: Wait<'_>) -> Result<Answer, TalkError> {
        wait.check()?;
        let socket = self.connect()?;
        let name = ServerName::from(self.parameters.server.ip());
        let tls = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        let mut stream = rustls::StreamOwned::new(tls, socket);
        let host = self.parameters.server.to_string();
        let (head, body) = match request {
            Request::Post(path, body) => {
                let head = request_head("POST", path, &host, &self.parameters.token, body.len());
                (head, body.as_slice())
            }
            Request::Get(path) => (
                request_head("GET", path, &host, &self.parameters.token, 0),
                [].as_slice(),
            ),
        };
        for part in [head.as_bytes(), body] {
            send(&mut stream, part, &wait)?;
        }
        receive(&mut stream, &wait)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let server = self.parameters.server;
        let socket = Socket::new(
            Domain::for_address(server),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        if let Some(source) = self.parameters.bind {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect_timeout(&server.into(), CONNECT)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SLICE))?;
        stream.set_write_timeout(Some(SLICE))?;
        Ok(stream)
    }
}

type Stream = rustls::StreamOwned<ClientConnection, TcpStream>;

#[derive(Clone, Copy)]
struct Wait<'a> {
    until: Instant,
    alive: &'a dyn Fn() -> bool,
}

impl Wait<'_> {
    fn check(&self) -> Result<(), TalkError> {
        if !(self.alive)() {
            return Err(TalkError::Cut);
        }
        if Instant::now() >= self.until {
            return Err(TalkError::Late);
        }
        Ok(())
    }
}

fn send(stream: &mut Stream, mut bytes: &[u8], wait: &Wait<'_>) -> Result<(), TalkError> {
    while !bytes.is_empty() {
        wait.check()?;
        match stream.write(bytes) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            Ok(n) => bytes = &bytes[n..],
            Err(e) if is_slice_over(&e) => {}
            Err(e) => return Err(e.into()),
        }
    }
    loop {
        wait.check()?;
        match stream.flush() {
            Ok(()) => return Ok(()),
            Err(e) if is_slice_over(&e) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn receive(stream: &mut Stream, wait: &Wait<'_>) -> Result<Answer, TalkError> {
    let mut received = Vec::new();
    let mut chunk = vec![0; 16 << 10];
    loop {
        wait.check()?;
        let input = match stream.read(&mut chunk) {
            Ok(0) => Input::Closed,
            Ok(n) => {
                received.extend_from_slice(&chunk[..n]);
                Input::Open
            }
            Err(e) if is_slice_over(&e) => continue,
            // Many servers close without the TLS farewell; a whole answer by length or chunks is whole all the same.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                return match Answer::parse(&received, Input::Open)? {
                    Parsed::Whole(answer) => Ok(answer),
                    Parsed::More => Err(AnswerError::Truncated.into()),
                };
            }
            Err(e) => return Err(e.into()),
        };
        if let Parsed::Whole(answer) = Answer::parse(&received, input)? {
            return Ok(answer);
        }
    }
}

fn is_slice_over(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
