//! The policies that Talos gives to a new cluster's Kubernetes API.

use super::generate::Entries;
use crate::yaml::Node;

/// The admission plugin that enforces pod security: its name and its configuration.
pub(super) fn pod_security() -> [(&'static str, Node); 2] {
    let text = |t: &str| Node::text(t);
    let defaults = [
        ("audit", text("restricted")),
        ("audit-version", text("latest")),
        ("enforce", text("baseline")),
        ("enforce-version", text("latest")),
        ("warn", text("restricted")),
        ("warn-version", text("latest")),
    ];
    let exemptions = [
        ("namespaces", Node::texts(["kube-system"])),
        ("runtimeClasses", Node::list([])),
        ("usernames", Node::list([])),
    ];
    let configuration: Entries = vec![
        (
            "apiVersion",
            text("pod-security.admission.config.k8s.io/v1alpha1"),
        ),
        ("defaults", Node::map(defaults)),
        ("exemptions", Node::map(exemptions)),
        ("kind", text("PodSecurityConfiguration")),
    ];
    [
        ("name", text("PodSecurity")),
        ("configuration", Node::map(configuration)),
    ]
}

/// Who did what is logged, without the contents.
pub(super) fn audit_policy() -> Node {
    let metadata = Node::map([("level", Node::text("Metadata"))]);
    Node::map([
        ("apiVersion", Node::text("audit.k8s.io/v1")),
        ("kind", Node::text("Policy")),
        ("rules", Node::list([metadata])),
    ])
}

/// Nobody without a name gets in, but for the health checks.
pub(super) fn authentication() -> Node {
    let path = |path: &str| Node::map([("path", Node::text(path))]);
    let conditions = ["/livez", "/readyz", "/healthz"].map(path);
    let anonymous = Node::map([
        ("conditions", Node::list(conditions)),
        ("enabled", Node::boolean(true)),
    ]);
    Node::map([("anonymous", anonymous), ("jwt", Node::list([]))])
}
