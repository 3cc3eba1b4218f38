//! As much of HTTP/1.1 (RFC 9112) as one client with one peer needs: a request's head, and a reader of answers.
//!
//! [`Answer::parse`] is pure, never panics and is called again with more bytes until it has a whole answer.
//! Deliberately not here: redirects, keep-alive, compression. The agent follows nobody.

/// No answer of bootd is larger.
pub(crate) const MAX_ANSWER: usize = 1 << 20;
const MAX_HEAD: usize = 16 << 10;

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// What [`Answer::parse`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parsed {
    Whole(Answer),
    /// Read on.
    More,
}

/// Why the bytes are no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("it does not speak HTTP/1.1")]
    NotHttp,
    #[error("its answer is larger than the agent accepts")]
    TooLarge,
    #[error("its answer ends early")]
    Truncated,
}

/// Whether the peer may still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Open,
    Closed,
}

/// The head of a request. The values come from [`crate::BootParameters`], which admits no control characters.
pub(crate) fn request_head(
    method: &str,
    path: &str,
    host: &str,
    token: &str,
    body: usize,
) -> String {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
         Accept: application/x-protobuf\r\nConnection: close\r\n"
    );
    if method == "POST" {
        head.push_str("Content-Type: application/x-protobuf\r\n");
        head.push_str(&format!("Content-Length: {body}\r\n"));
    }
    head.push_str("\r\n");
    head
}

/// How the body ends (RFC 9112 §6.3).
#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl Answer {
    /// Reads an answer from all bytes received so far.
    pub(crate) fn parse(bytes: &[u8], input: Input) -> Result<Parsed, AnswerError> {
        let Some(end) = find(bytes, b"\r\n\r\n") else {
            return match input {
                _ if bytes.len() > MAX_HEAD => Err(AnswerError::TooLarge),
                Input::Open => Ok(Parsed::More),
                Input::Closed => Err(AnswerError::Truncated),
            };
        };
        let head = str::from_utf8(&bytes[..end]).map_err(|_| AnswerError::NotHttp)?;
        let (status, framing) = read_head(head)?;
        let rest = &bytes[end + 4..];
        let body = match framing {
            Framing::Length(length) if length > MAX_ANSWER => return Err(AnswerError::TooLarge),
            Framing::Length(length) => rest.get(..length).map(<[u8]>::to_vec),
            Framing::Chunked => unchunk(rest)?,
            Framing::UntilClose if rest.len() > MAX_ANSWER => return Err(AnswerError::TooLarge),
            Framing::UntilClose => (input == Input::Closed).then(|| rest.to_vec()),
        };
        match (body, input) {
            (Some(body), _) => Ok(Parsed::Whole(Answer { status, body })),
            (None, Input::Open) => Ok(Parsed::More),
            (None, Input::Closed) => Err(AnswerError::Truncated),
        }
    }
}

fn read_head(head: &str) -> Result<(u16, Framing), AnswerError> {
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap_or_default();
    let status = start
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| start.strip_prefix("HTTP/1.0 "))
        .and_then(|rest| rest.get(..3)?.parse::<u16>().ok())
        .filter(|status| (200..600).contains(status))
        .ok_or(AnswerError::NotHttp)?;
    let mut framing = if status == 204 || status == 304 {
        Framing::Length(0)
    } else {
        Framing::UntilClose
    };
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(AnswerError::NotHttp)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") && !matches!(framing, Framing::Chunked) {
            framing = Framing::Length(value.parse().map_err(|_| AnswerError::NotHttp)?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(AnswerError::NotHttp);
            }
            framing = Framing::Chunked;
        }
    }
    Ok((status, framing))
}

/// `None`: not whole yet.
fn unchunk(mut rest: &[u8]) -> Result<Option<Vec<u8>>, AnswerError> {
    let mut body = Vec::new();
    loop {
        let Some(line) = find(rest, b"\r\n") else {
            return if rest.len() > MAX_HEAD {
                Err(AnswerError::NotHttp)
            } else {
                Ok(None)
            };
        };
        let size = str::from_utf8(&rest[..line]).map_err(|_| AnswerError::NotHttp)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| AnswerError::NotHttp)?;
        if size > MAX_ANSWER || body.len() + size > MAX_ANSWER {
            return Err(AnswerError::TooLarge);
        }
        let data = &rest[line + 2..];
        if size == 0 {
            // Trailers, if any, end with an empty line; bootd sends none, and nothing of them would be used.
            return Ok(
                (data.starts_with(b"\r\n") || find(data, b"\r\n\r\n").is_some()).then_some(body),
            );
        }
        if data.len() < size + 2 {
            return Ok(None);
        }
        if &data[size..size + 2] != b"\r\n" {
            return Err(AnswerError::NotHttp);
        }
        body.extend_from_slice(&data[..size]);
        rest = &data[size + 2..];
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, input: Input) -> Result<Option<(u16, String)>, AnswerError> {
        Answer::parse(text.as_bytes(), input).map(|parsed| match parsed {
            Parsed::Whole(a) => Some((a.status, String::from_utf8(a.body).unwrap())),
            Parsed::More => None,
        })
    }

    #[test]
    fn the_three_framings() {
        use Input::{Closed, Open};
        let whole = |status, body: &str| Ok(Some((status, body.to_owned())));
        assert_eq!(
            check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", Open),
            whole(200, "abc")
        );
        assert_eq!(
            check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", Open),
            Ok(None)
        );
        assert_eq!(
            check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", Closed),
            Err(AnswerError::Truncated)
        );
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n";
        assert_eq!(check(chunked, Open), whole(200, "abc"));
        assert_eq!(check(&chunked[..chunked.len() - 2], Open), Ok(None));
        assert_eq!(check("HTTP/1.1 401 No\r\n\r\n", Open), Ok(None));
        assert_eq!(check("HTTP/1.1 401 No\r\n\r\nx", Closed), whole(401, "x"));
        assert_eq!(check("HTTP/1.1 204 No\r\n\r\n", Open), whole(204, ""));
        assert_eq!(check("SSH-2.0-x\r\n\r\n", Open), Err(AnswerError::NotHttp));
        assert_eq!(
            check("HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n", Open),
            Err(AnswerError::TooLarge)
        );
    }

    #[test]
    fn the_request() {
        insta::assert_snapshot!(request_head("POST", "/agent/report", "10.0.0.1:8443", "tok", 12).replace("\r\n", "\n"), @r"
        POST /agent/report HTTP/1.1
        Host: 10.0.0.1:8443
        Authorization: Bearer tok
        Accept: application/x-protobuf
        Connection: close
        Content-Type: application/x-protobuf
        Content-Length: 12
        ");
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), text in "(HTTP/1.1 200 x\r\n)?(transfer-encoding: chunked\r\n)?\r\n[0-9a-f\r\n]{0,40}") {
            for input in [Input::Open, Input::Closed] {
                let _ = Answer::parse(&bytes, input);
                let _ = Answer::parse(text.as_bytes(), input);
            }
        }
    }
}
