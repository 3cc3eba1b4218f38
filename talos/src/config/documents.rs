//! The small documents that stand beside the main one, and partial configs.

use crate::yaml::{Node, Style, emit};

/// A document of a kind.
pub(super) fn document<'a>(kind: &str, entries: impl IntoIterator<Item = (&'a str, Node)>) -> Node {
    let head = [
        ("apiVersion", Node::text("v1alpha1")),
        ("kind", Node::text(kind)),
    ];
    Node::map(head.into_iter().chain(entries))
}

/// `HostnameConfig`: a fixed name, or one that Talos derives from the machine's identity.
pub fn hostname_document(hostname: Option<&str>) -> Node {
    match hostname {
        Some(name) => document(
            "HostnameConfig",
            [("auto", Node::text("off")), ("hostname", Node::text(name))],
        ),
        None => document("HostnameConfig", [("auto", Node::text("stable"))]),
    }
}

/// `EventSinkConfig`: where the node pushes its events. Use an address: a host name costs 20 s of every boot.
pub fn event_sink(endpoint: &str) -> String {
    text(&document(
        "EventSinkConfig",
        [("endpoint", Node::text(endpoint))],
    ))
}

/// `KmsgLogConfig`: where the node sends its kernel log (`tcp://HOST:PORT` or `udp://…`).
pub fn kernel_log(name: &str, url: &str) -> String {
    text(&document(
        "KmsgLogConfig",
        [("name", Node::text(name)), ("url", Node::text(url))],
    ))
}

/// `TrustedRootsConfig`: CAs (PEM text) that the node trusts besides its own.
pub fn trusted_roots(name: &str, certificates: &str) -> String {
    text(&document(
        "TrustedRootsConfig",
        [
            ("name", Node::text(name)),
            ("certificates", Node::text(certificates)),
        ],
    ))
}

/// A partial config: the node takes it and waits in maintenance mode with its API up.
pub fn unassigned(hostname: &str) -> String {
    text(&hostname_document(Some(hostname)))
}

fn text(document: &Node) -> String {
    emit(document, Style::V1_13)
}

/// What the kernel argument `talos.config.early` carries: a partial config that is read before the network.
///
/// The argument's value is `base64(zstd(yaml))` with padding; compressing is the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlyConfig {
    yaml: String,
}

/// The whole kernel command line may have this many bytes on x86.
const COMMAND_LINE_MAX: usize = 2048;

impl EarlyConfig {
    /// A config of these documents.
    pub fn new(documents: &[String]) -> Self {
        Self {
            yaml: documents.join("---\n"),
        }
    }

    /// The YAML to compress.
    pub fn yaml(&self) -> &str {
        &self.yaml
    }

    /// The kernel argument, from the compressed YAML; nothing where it would not fit into any command line.
    pub fn kernel_argument(&self, zstd: &[u8]) -> Option<String> {
        use base64::Engine as _;
        let value = base64::engine::general_purpose::STANDARD.encode(zstd);
        let argument = format!("talos.config.early={value}");
        (argument.len() < COMMAND_LINE_MAX).then_some(argument)
    }
}
