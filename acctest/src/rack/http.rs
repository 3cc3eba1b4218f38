//! An HTTP/1.1 client that binds a machine's own source address and sends exactly the headers that its user would: iPXE, or Talos's
//! Go client.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::fault::Fault;
use super::wire::Cable;

/// Largest body that is read.
pub const BODY_BYTES_MAX: usize = 1 << 30;
const HEAD_BYTES_MAX: usize = 64 << 10;
const REDIRECTS_MAX: u32 = 5;

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not a URL that this client reads.
    #[error("{0:?} is not an http or https URL")]
    Url(String),
    /// Only literal addresses and localhost are looked up.
    #[error("cannot resolve {0:?}: the rack has no name server")]
    Name(String),
    /// https without any root.
    #[error("{0:?} needs TLS, which this client does not speak")]
    NoTls(String),
    /// The connection failed.
    #[error("{url}: {what}")]
    Connection {
        /// URL without its query, which may hold a token.
        url: String,
        /// What failed, with the system's words.
        what: String,
    },
    /// Not HTTP.
    #[error("{url}: the answer is not HTTP: {what}")]
    Answer {
        /// URL without its query.
        url: String,
        /// Why.
        what: &'static str,
    },
}

/// A URL in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// `https`.
    pub tls: bool,
    /// Host as written, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query, at least `/`.
    pub target: String,
}

impl Url {
    /// Reads an absolute http or https URL.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, HttpError> {
        let bad = || HttpError::Url(without_query(text).to_owned());
        let (tls, rest) = if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else {
            (true, text.strip_prefix("https://").ok_or_else(bad)?)
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(at);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && !port.contains(']') => {
                (host, port.parse().map_err(|_| bad())?)
            }
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains('@') {
            return Err(bad());
        }
        let target = match target.chars().next() {
            None => "/".to_owned(),
            Some('?') => format!("/{target}"),
            Some(_) => target.to_owned(),
        };
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            target,
        })
    }

    /// `reference` as seen from here.
    pub fn join(&self, reference: &str) -> String {
        if reference.contains("://") {
            return reference.to_owned();
        }
        let scheme = if self.tls { "https" } else { "http" };
        let root = format!("{scheme}://{}", self.authority());
        if reference.starts_with('/') {
            return format!("{root}{reference}");
        }
        let path = self.target.split('?').next().unwrap_or("/");
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        format!("{root}{dir}/{reference}")
    }

    /// Host and port as the `Host` header has them.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    fn shown(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!(
            "{scheme}://{}{}",
            self.authority(),
            without_query(&self.target)
        )
    }
}

/// A URL that can be shown: queries may hold tokens.
pub fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

/// Who asks.
#[derive(Clone)]
pub struct Client<'a> {
    /// The machine's network card.
    pub cable: &'a Cable,
    /// Header lines after `Host`, each `Name: value`.
    pub headers: &'a [&'static str],
    /// Roots for https; `None` refuses https.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Header lines as they came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body, decoded from chunks.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

impl Client<'_> {
    /// Fetches a URL, following redirects.
    ///
    /// # Errors
    /// See [`HttpError`]. A status that is no success is no error here.
    pub async fn get(&self, url: &str) -> Result<Answer, HttpError> {
        let mut url = url.to_owned();
        for _ in 0..REDIRECTS_MAX {
            let at = Url::parse(&url)?;
            let answer = self.once(&at).await?;
            match (answer.status, answer.header("location")) {
                (301 | 302 | 303 | 307 | 308, Some(to)) => url = at.join(to),
                _ => return Ok(answer),
            }
        }
        Err(HttpError::Answer {
            url: without_query(&url).to_owned(),
            what: "too many redirects",
        })
    }

    async fn once(&self, url: &Url) -> Result<Answer, HttpError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| HttpError::Connection {
            url: url.shown(),
            what: format!("{what}: {error}"),
        };
        let stream = self
            .connect(url)
            .await?
            .map_err(|error| failed("connect", &error))?;
        if !url.tls {
            return self.talk(stream, url).await;
        }
        let Some(config) = &self.tls else {
            return Err(HttpError::NoTls(url.shown()));
        };
        let name = ServerName::try_from(url.host.clone())
            .map_err(|_| HttpError::Name(url.host.clone()))?;
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(config))
            .connect(name, stream)
            .await
            .map_err(|error| failed("tls", &error))?;
        self.talk(stream, url).await
    }

    async fn connect(&self, url: &Url) -> Result<io::Result<TcpStream>, HttpError> {
        let ip: IpAddr = match url.host.as_str() {
            "localhost" => IpAddr::from([127, 0, 0, 1]),
            host => host
                .parse()
                .map_err(|_| HttpError::Name(url.host.clone()))?,
        };
        Ok(connect_from(self.cable, SocketAddr::new(ip, url.port)).await)
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        url: &Url,
    ) -> Result<Answer, HttpError> {
        let failed = |error: io::Error| HttpError::Connection {
            url: url.shown(),
            what: error.to_string(),
        };
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\n",
            url.target,
            url.authority()
        );
        for header in self.headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            let more = stream.read_buf(&mut bytes).await.map_err(failed)?;
            if more == 0 || bytes.len() > HEAD_BYTES_MAX {
                return Err(HttpError::Answer {
                    url: url.shown(),
                    what: "it ends inside its head",
                });
            }
        };
        if self.cable.faults.has(Fault::HttpStall) {
            std::future::pending::<()>().await;
        }
        let body = bytes.split_off(head + 4);
        let (status, headers) = parse_head(&bytes[..head]).ok_or_else(|| HttpError::Answer {
            url: url.shown(),
            what: "its head cannot be read",
        })?;
        let mut answer = Answer {
            status,
            headers,
            body,
        };
        read_body(&mut stream, &mut answer).await.map_err(failed)?;
        Ok(answer)
    }
}

/// A TCP connection from the machine's own address.
///
/// # Errors
/// Of the socket.
pub async fn connect_from(cable: &Cable, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((cable.address, 0)))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn parse_head(head: &[u8]) -> Option<(u16, Vec<(String, String)>)> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let first = lines.next()?;
    if !first.starts_with("HTTP/1.") {
        return None;
    }
    let status = first.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .map(|line| {
            line.split_once(':')
                .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()))
        })
        .collect::<Option<_>>()?;
    Some((status, headers))
}

async fn read_body<S: AsyncRead + Unpin>(stream: &mut S, answer: &mut Answer) -> io::Result<()> {
    let early = || io::Error::new(io::ErrorKind::UnexpectedEof, "closed before the body's end");
    if matches!(answer.status, 204 | 304) {
        answer.body.clear();
        return Ok(());
    }
    if answer
        .header("transfer-encoding")
        .is_some_and(|v| v.eq_ignore_ascii_case("chunked"))
    {
        let mut raw = std::mem::take(&mut answer.body);
        loop {
            if let Some(body) = dechunk(&raw)? {
                answer.body = body;
                return Ok(());
            }
            if stream.read_buf(&mut raw).await? == 0 {
                return Err(early());
            }
            too_large(raw.len())?;
        }
    }
    let length: Option<usize> = answer.header("content-length").and_then(|v| v.parse().ok());
    if let Some(length) = length {
        too_large(length)?;
        answer
            .body
            .reserve(length.saturating_sub(answer.body.len()));
    }
    while length.is_none_or(|length| answer.body.len() < length) {
        if stream.read_buf(&mut answer.body).await? == 0 {
            return if length.is_none() {
                Ok(())
            } else {
                Err(early())
            };
        }
        too_large(answer.body.len())?;
    }
    answer.body.truncate(length.unwrap_or(usize::MAX));
    Ok(())
}

fn too_large(bytes: usize) -> io::Result<()> {
    if bytes > BODY_BYTES_MAX {
        return Err(io::Error::other("the body is too large"));
    }
    Ok(())
}

/// The whole body, or `None` while chunks are missing.
fn dechunk(mut raw: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(at) = raw.windows(2).position(|w| w == b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&raw[..at])
            .ok()
            .and_then(|line| usize::from_str_radix(line.split(';').next()?.trim(), 16).ok())
            .ok_or_else(|| io::Error::other("a chunk without a size"))?;
        too_large(size)?;
        raw = &raw[at + 2..];
        if size == 0 {
            return Ok(Some(body));
        }
        let Some(chunk) = raw.get(..size + 2) else {
            return Ok(None);
        };
        body.extend(&chunk[..size]);
        raw = &raw[size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let url = Url::parse("http://127.0.0.1:8081/boot/script?mac=52:54&x=y").unwrap();
        assert_eq!(url.authority(), "127.0.0.1:8081");
        assert_eq!(url.target, "/boot/script?mac=52:54&x=y");
        assert_eq!(url.join("asset/a"), "http://127.0.0.1:8081/boot/asset/a");
        assert_eq!(url.join("/a"), "http://127.0.0.1:8081/a");
        assert_eq!(Url::parse("https://[::1]").unwrap().authority(), "[::1]");
        assert_eq!(Url::parse("http://h?x").unwrap().target, "/?x");
        for bad in ["tftp://x/y", "http://", "http://u@h/", "http://h:x/"] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn chunks() {
        assert_eq!(
            dechunk(b"3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n")
                .unwrap()
                .unwrap(),
            b"abcde"
        );
        assert!(dechunk(b"3\r\nab").unwrap().is_none());
        assert!(dechunk(b"zz\r\n").is_err());
    }
}
