//! `talos.config=`: how the node expands its variables, asks for it, and how long it waits in between (`talos-node.md` §1).

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use super::config::Config;
use super::node::Node;
use super::{events, tls};
use crate::rack::agent;
use crate::rack::fault::Fault;
use crate::rack::http::Client;

/// What Go's client sends, and nothing that names the node.
const HEADERS: &[&str] = &[
    "User-Agent: Go-http-client/1.1",
    "Accept-Encoding: gzip",
    "Connection: close",
];
const ATTEMPT: Duration = Duration::from_secs(180);
const UNPACKED_MAX: u64 = 4 << 20;

/// How the last attempt went wrong decides how long the node waits.
enum Next {
    /// The downloader's own loop: exponential, no cap.
    Http,
    /// The controller starts again.
    Controller,
}

/// Asks until it has a config, complete or partial. The API port is closed all that time.
pub async fn config(node: &Node, url: &str, roots: &str) -> Config {
    let url = expand(url, &variables(node));
    let url = if node.machine.faults.has(Fault::WrongToken) {
        with_wrong_token(&url)
    } else {
        url
    };
    let (mut http, mut controller) = (0_u32, 0_u32);
    loop {
        node.machine.stage("talos", "fetching its config");
        let next = match attempt(node, &url, roots).await {
            Ok(config) => return config,
            Err((next, why)) => {
                let shown = crate::rack::http::without_query(&url);
                node.say(&format!("failed to fetch config from {shown}: {why}"));
                node.machine
                    .stage("talos", &format!("waiting for its config: {why}"));
                next
            }
        };
        let wait = match next {
            Next::Http => {
                http += 1;
                // 1, 3, 7, 15 … as measured, with jitter below.
                Duration::from_secs((1 << http.min(12)) - 1)
            }
            Next::Controller => {
                http = 0;
                controller += 1;
                Duration::from_millis((700 << controller.min(5)).min(18_000))
            }
        };
        let jitter = Duration::from_millis(u64::from(node.machine.random() % 500));
        tokio::time::sleep(node.machine.pace(wait + jitter)).await;
    }
}

async fn attempt(node: &Node, url: &str, roots: &str) -> Result<Config, (Next, String)> {
    let cable = node.machine.cable();
    let tls = tls::client(roots).map_err(|error| (Next::Http, error.to_string()))?;
    let client = Client {
        cable: &cable,
        headers: HEADERS,
        tls: Some(Arc::new(tls)),
    };
    let answer = tokio::time::timeout(ATTEMPT, client.get(url))
        .await
        .map_err(|_| (Next::Http, "timeout".to_owned()))?
        .map_err(|error| (Next::Http, error.to_string()))?;
    match answer.status {
        200 => {}
        204 => return Err((Next::Controller, "config not found".to_owned())),
        status => return Err((Next::Http, format!("HTTP {status}"))),
    }
    let body = if answer.header("content-encoding") == Some("gzip")
        || answer.body.starts_with(&[0x1f, 0x8b])
    {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(answer.body.as_slice())
            .take(UNPACKED_MAX)
            .read_to_end(&mut plain)
            .map_err(|error| (Next::Controller, error.to_string()))?;
        plain
    } else {
        answer.body
    };
    let config = Config::read(&body).map_err(|why| (Next::Controller, why))?;
    if let Err(why) = config.validate(&node.machine.plan.disks) {
        let text = format!("failed to runtime validate config acquired via platform metal: {why}");
        node.events.emit(events::config_load_error(&text));
        return Err((Next::Controller, text));
    }
    Ok(config)
}

fn variables(node: &Node) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("uuid", node.machine.uuid()),
        ("mac", node.machine.plan.mac_text()),
        ("serial", node.machine.plan.serial.clone()),
        ("hostname", node.machine.plan.name.clone()),
    ])
}

/// Variables count in query values only, each a whole value; with at least one the query is encoded anew, sorted by key.
fn expand(url: &str, variables: &BTreeMap<&str, String>) -> String {
    let Some((path, query)) = url.split_once('?') else {
        return escape_braces(url);
    };
    let mut found = false;
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = value.strip_prefix("${").and_then(|v| v.strip_suffix('}'));
        let value = match name.map(|name| (name, variables.get(name.to_ascii_lowercase().as_str())))
        {
            Some((_, Some(value))) => {
                found = true;
                value.clone()
            }
            _ => value.to_owned(),
        };
        pairs.push((key.to_owned(), value));
    }
    if !found {
        return escape_braces(url);
    }
    pairs.sort();
    let query: Vec<String> = pairs
        .iter()
        .map(|(k, v)| format!("{}={}", encode(k), encode(v)))
        .collect();
    format!("{}?{}", escape_braces(path), query.join("&"))
}

fn escape_braces(text: &str) -> String {
    text.replace('{', "%7B").replace('}', "%7D")
}

/// Go's `url.QueryEscape` of a value that may be escaped already.
fn encode(value: &str) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'%' => {
                out.push(char::from(byte))
            }
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn with_wrong_token(url: &str) -> String {
    let Some(at) = url.find("token=") else {
        return url.to_owned();
    };
    let start = at + "token=".len();
    let end = url[start..].find('&').map_or(url.len(), |n| start + n);
    format!(
        "{}{}{}",
        &url[..start],
        agent::wrong(&url[start..end]),
        &url[end..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, want: &str) {
        let variables = BTreeMap::from([
            ("uuid", "u-1".to_owned()),
            ("mac", "52:54:00:77:00:02".to_owned()),
        ]);
        assert_eq!(expand(url, &variables), want);
    }

    #[test]
    fn expansion_as_seen_on_a_real_node() {
        check(
            "http://h/c?z=1&m=${mac}&u=${uuid}",
            "http://h/c?m=52%3A54%3A00%3A77%3A00%3A02&u=u-1&z=1",
        );
        check(
            "http://h/c?m=52:54:00:77:00:02&un=",
            "http://h/c?m=52:54:00:77:00:02&un=",
        );
        check("http://h/${uuid}/c?a=b", "http://h/$%7Buuid%7D/c?a=b");
        check("http://h/c", "http://h/c");
    }

    #[test]
    fn another_token() {
        assert_eq!(
            with_wrong_token("https://h/c?token=ab1&x=2"),
            "https://h/c?token=ab0&x=2"
        );
        assert_eq!(
            with_wrong_token("https://h/c?token=ab0"),
            "https://h/c?token=ab1"
        );
    }
}
