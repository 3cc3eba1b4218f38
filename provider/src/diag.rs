//! Every message of this provider, one constructor each, so that a gallery shows them all and the same failure has the same words.
//!
//! Shape: summary of fixed words; what, which, why; one hint; the attribute at fault. Never a key, a password or a whole bundle.

use tfplugin::{Diagnostic, Operation, Path, Severity};

use crate::client::{BundleError, CallError, Older, Refusal};
use crate::provider::Block;
use crate::resource::cluster::schema::{Cluster, WaitFor};
use crate::resource::machine_config::schema::MachineConfig;
use crate::resource::secrets::schema::Secrets;
use crate::resource::server::schema::{Bmc, Server};
use crate::version::OURS;

/// No bundle anywhere.
pub(crate) fn no_bundle() -> Diagnostic {
    Diagnostic::error("bootd is not configured")
        .detail("This needs bootd, and neither the provider block nor the environment names a bundle.")
        .hint("set `bundle_file` in provider \"metal\", or METAL_BUNDLE_FILE; `bootd init` writes admin.bundle")
}

/// The bundle depends on something that does not exist yet.
pub(crate) fn bundle_unknown() -> Diagnostic {
    Diagnostic::error("bootd is not known yet")
        .detail("The provider block's bundle depends on a resource that is not applied yet, and this needs bootd at plan.")
        .hint("apply that resource first with -target, or pass the bundle as a variable")
}

/// The file cannot be read.
pub(crate) fn bundle_unreadable(file: &str, why: &std::io::Error) -> Diagnostic {
    Diagnostic::error("Bundle cannot be read")
        .detail(format!("{file}: {why}."))
        .hint("name the admin.bundle that `bootd init` wrote")
        .at(Block::bundle_file)
}

/// The text is no bundle.
pub(crate) fn bundle_invalid(from: &str, at: Option<Path>, why: BundleError) -> Diagnostic {
    let d = Diagnostic::error("Bundle cannot be used")
        .detail(format!("The bundle of {from} was refused: {why}."))
        .hint("use the admin.bundle that `bootd init` wrote, whole and unchanged");
    match at {
        Some(at) => d.at(at),
        None => d,
    }
}

/// No answer.
pub(crate) fn unreachable(what: &str, endpoint: &str, why: &str) -> Diagnostic {
    Diagnostic::error("bootd is not reachable")
        .detail(format!("{what}: no answer from {endpoint} ({why}). Nothing was concluded from that; the state is as it was."))
        .hint("look whether bootd runs and whether its port is open from here; then run the same command again")
}

/// An older bootd.
pub(crate) fn feature_missing(what: &str, endpoint: &str, why: &str) -> Diagnostic {
    Diagnostic::error("bootd lacks a feature")
        .detail(format!(
            "{what}: {endpoint} does not know this call ({why})."
        ))
        .hint("upgrade bootd to the provider's version or later")
}

/// A bootd that is too old or too new.
pub(crate) fn versions(endpoint: &str, bootd: &str, older: Older) -> Diagnostic {
    let bootd = match bootd {
        "" => "of an unknown version",
        version => version,
    };
    let (summary, hint) = match older {
        Older::Bootd => (
            "bootd is too old for this provider",
            "upgrade bootd to the provider's version or later",
        ),
        Older::Provider => (
            "bootd is too new for this provider",
            "upgrade the provider: raise its version in required_providers and run init -upgrade",
        ),
    };
    Diagnostic::error(summary)
        .detail(format!(
            "The provider is {OURS}; bootd {endpoint} is {bootd} and does not offer what this provider needs. Nothing was asked of it."
        ))
        .hint(hint)
}

/// A password that changed by itself is not noticed by anything but this.
pub(crate) fn password_not_sent(server: &str) -> Diagnostic {
    Diagnostic::warning("Changed password is not sent")
        .detail(format!("{server}: `bmc.password_wo` is not what was sent last, and `bmc.password_wo_version` is the same. bootd goes on with the old one."))
        .hint("raise password_wo_version to send it")
        .at(Path::from(Server::bmc).attr(Bmc::password_wo))
}

/// The last box.
pub(crate) fn pool_low(claim: &str, before: u32, after: u32, endpoint: &str) -> Diagnostic {
    Diagnostic::warning("The pool runs low")
        .detail(format!("{claim}: {before} fitting server(s) are free before this claim, {after} after it (bootd {endpoint})."))
}

/// What an update needs is gone.
pub(crate) fn gone(what: &str) -> Diagnostic {
    Diagnostic::error("Gone from bootd")
        .detail(format!("{what} does not exist in bootd any more."))
        .hint("run terraform apply again: the refresh sees it and plans a new one")
}

/// bootd's own words.
pub(crate) fn refused(what: &str, refusal: &Refusal) -> Diagnostic {
    told(Severity::Error, what, refusal)
}

/// A remark of a plan. Warnings name the endpoint.
pub(crate) fn remark(
    severity: Severity,
    what: &str,
    refusal: &Refusal,
    endpoint: &str,
) -> Diagnostic {
    let mut d = told(severity, what, refusal);
    if severity == Severity::Warning {
        d.detail = format!("{} (bootd {endpoint})", d.detail);
    }
    d
}

fn told(severity: Severity, what: &str, refusal: &Refusal) -> Diagnostic {
    let mut d = match severity {
        Severity::Error => Diagnostic::error(&*refusal.summary),
        Severity::Warning => Diagnostic::warning(&*refusal.summary),
    };
    let detail = if refusal.detail.is_empty() {
        &refusal.reason
    } else {
        &refusal.detail
    };
    d.detail = format!("{what}: {detail}");
    if !refusal.hint.is_empty() {
        d = d.hint(&*refusal.hint);
    }
    match attribute_path(&refusal.attribute) {
        Some(path) => d.at(path),
        None => d,
    }
}

/// A call that has no answer, by kind.
pub(crate) fn call(what: &str, error: &CallError) -> Diagnostic {
    match error {
        CallError::Gone => gone(what),
        CallError::Refused(refusal) => refused(what, refusal),
        CallError::Missing { endpoint, why } => feature_missing(what, endpoint, why),
        CallError::Versions {
            endpoint,
            bootd,
            older,
        } => versions(endpoint, bootd, *older),
        CallError::Unreachable { endpoint, why } => unreachable(what, endpoint, why),
    }
}

/// Ctrl-C.
pub(crate) fn stopped(what: &str, stage: &str, endpoint: &str) -> Diagnostic {
    Diagnostic::error("Stopped waiting")
        .detail(format!("{what}: the host asked to stop. Last seen: {stage}. bootd {endpoint} goes on with it, and nothing is lost."))
        .hint("run terraform apply again: it continues where bootd is then")
}

/// The operation's time is over.
pub(crate) fn late(what: &str, stage: &str, endpoint: &str, operation: Operation) -> Diagnostic {
    Diagnostic::error("Not done in time")
        .detail(format!("{what}: the time of this {} is over. Last seen: {stage}. bootd {endpoint} goes on with it.", operation.as_str()))
        .hint(format!("run terraform apply again to continue, or raise timeouts.{}; `metalctl watch` shows what happens", operation.as_str()))
}

/// A label rule that cannot be read.
pub(crate) fn bad_label_rule(path: Path, text: &str) -> Diagnostic {
    Diagnostic::error("Invalid label rule")
        .detail(format!("`{path}` is {text:?}, which names no value."))
        .hint(r#"write "v", "a|b", "!v", or "*" for any value"#)
        .at(path)
}

/// A patch that cannot be used.
pub(crate) fn bad_patch(path: Path, why: &str) -> Diagnostic {
    Diagnostic::error("Invalid patch")
        .detail(format!("`{path}`: {why}."))
        .hint("a patch is Talos configuration in YAML: a part of the v1alpha1 document, or whole documents with apiVersion and kind")
        .at(path)
}

/// An endpoint that is no https URL.
pub(crate) fn bad_endpoint(path: Path, why: &str) -> Diagnostic {
    Diagnostic::error("Invalid cluster endpoint")
        .detail(format!("`{path}`: {why}"))
        .hint("write it like \"https://10.0.0.10:6443\"")
        .at(path)
}

/// A version that is none.
pub(crate) fn bad_version(path: Path, why: &str, example: &str) -> Diagnostic {
    Diagnostic::error("Invalid version")
        .detail(format!("`{path}`: {why}."))
        .hint(format!("write it like {example:?}"))
        .at(path)
}

/// Kernel arguments that could smuggle something in.
pub(crate) fn bad_kernel_arg(path: Path, text: &str, why: &str) -> Diagnostic {
    Diagnostic::error("Kernel argument refused")
        .detail(format!("`{path}` is {text:?}: {why}."))
        .hint("leave it out; bootd sets what the boot needs")
        .at(path)
}

/// The birth contract never changes.
pub(crate) fn secrets_version_change(name: &str, from: &str, to: &str) -> Diagnostic {
    Diagnostic::error("The birth version of secrets never changes")
        .detail(format!("talos_secrets {name:?} was made for Talos {from}; the configuration says {to}. This argument is the contract of the cluster's birth, not what runs."))
        .hint(format!("to upgrade Talos edit metal_image and leave talos_version here at {from:?}"))
        .at(Secrets::talos_version)
}

/// Deletion protection.
pub(crate) fn protected(what: &str) -> Diagnostic {
    Diagnostic::error("Deletion is protected")
        .detail(format!(
            "{what} has deletion_protection = true, and this plan deletes it."
        ))
        .hint("set deletion_protection = false, apply, and then delete it")
}

/// A node without a box of its own.
pub(crate) fn needs_claim(node: &str, server: &str) -> Diagnostic {
    Diagnostic::error("Server has no claim")
        .detail(format!("{node} is to run on server {server:?}, which no claim holds, neither in bootd nor in this plan. Only a claimed server is installed."))
        .hint(format!("add a metal_server_claim {{ server_id = {server:?} }} and set server_id here to that claim's server_id"))
        .at(MachineConfig::server_id)
}

/// Two nodes, one box.
pub(crate) fn two_nodes(server: &str, node: &str, other: &str) -> Diagnostic {
    Diagnostic::error("Two nodes on one server")
        .detail(format!("{node} and {other} both name server {server:?}."))
        .hint("give each node a metal_server_claim of its own and use that claim's server_id")
        .at(MachineConfig::server_id)
}

/// No box, and the plan may yet bring some.
pub(crate) fn box_known_later(claim: &str, class: &str, endpoint: &str) -> Diagnostic {
    Diagnostic::warning("Server not known yet")
        .detail(format!("{claim}: the box from class {class:?} is known after the new servers are inspected (bootd {endpoint})."))
}

/// No box.
pub(crate) fn no_box(claim: &str, endpoint: &str) -> Diagnostic {
    Diagnostic::error("No server for the claim")
        .detail(format!("{claim}: bootd {endpoint} picked none and did not say why."))
        .hint("see `metalctl servers`; if this plan also adds servers, set `servers` of the class to their ids")
}

/// An immutable part of the cluster.
pub(crate) fn immutable(path: Path, why: &str) -> Diagnostic {
    Diagnostic::error("This never changes in a cluster")
        .detail(format!(
            "`{path}` differs from what the cluster was made with. {why}"
        ))
        .hint("put the old value back, or make a new cluster")
        .at(path)
}

/// Even number of control planes.
pub(crate) fn even_control_planes(count: usize) -> Diagnostic {
    Diagnostic::error("Even number of control planes")
        .detail(format!("The cluster has {count} control planes. An even number tolerates no more failures than one less, and loses its quorum more often."))
        .hint("use 1, 3 or 5, or set allow_even = true")
        .at(Cluster::nodes)
}

/// No control plane at all.
pub(crate) fn no_control_plane() -> Diagnostic {
    Diagnostic::error("No control plane")
        .detail("No node of the cluster has role = \"controlplane\", so that nothing can run etcd.")
        .hint("give one, three or five nodes the role controlplane")
        .at(Cluster::nodes)
}

/// The same node, name or box twice.
pub(crate) fn duplicate_node(path: Path, what: &str, value: &str, other: &str) -> Diagnostic {
    Diagnostic::error("Duplicate node")
        .detail(format!(
            "`{path}` has the {what} {value:?}, which nodes[{other:?}] has, too."
        ))
        .hint("every node has its own name and its own server")
        .at(path)
}

/// A node of another cluster.
pub(crate) fn foreign_node(path: Path, node: &str, cluster: &str) -> Diagnostic {
    Diagnostic::error("Node of another cluster")
        .detail(format!(
            "`{path}` is node {node:?}, and the cluster is {cluster:?}."
        ))
        .hint("use the same `cluster` object in talos_machine_config and talos_cluster: a local")
        .at(path)
}

/// A level that does not exist yet.
pub(crate) fn wait_level_later(level: &str) -> Diagnostic {
    Diagnostic::error("Level not available yet")
        .detail(format!(
            "wait_for.kubernetes = {level:?} comes with a later version of this provider."
        ))
        .hint("use \"none\" or \"talos\" now")
        .at(Path::from(Cluster::wait_for).attr(WaitFor::kubernetes))
}

/// Two ways to log in.
pub(crate) fn login_twice() -> Diagnostic {
    Diagnostic::error("Two logins for one BMC")
        .detail("`bmc` sets both `credentials` and `username`.")
        .hint("keep `credentials` (`metalctl credentials set NAME`) and remove `username` and `password_wo`")
        .at(Path::from(Server::bmc).attr(Bmc::username))
}

/// A dotted path, as bootd writes it: `install_disk.serial`, `patches[0]`, `nodes["a"]`.
pub(crate) fn attribute_path(text: &str) -> Option<Path> {
    let mut path = Path::root();
    let mut rest = text;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(inside) = rest.strip_prefix('[') {
            let (key, after) = inside.split_once(']')?;
            path = match key.parse() {
                Ok(index) => path.index(index),
                Err(_) => path.key(key.trim_matches('"')),
            };
            rest = after;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            path = path.attr(&rest[..end]);
            rest = &rest[end..];
        }
    }
    (!path.steps().is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootds_paths_become_ours() {
        let path = |t| attribute_path(t).map(|p| p.to_string());
        assert_eq!(
            path("install_disk.serial").as_deref(),
            Some("install_disk.serial")
        );
        assert_eq!(path("patches[0]").as_deref(), Some("patches[0]"));
        assert_eq!(
            path(r#"nodes["cp-0"].id"#).as_deref(),
            Some(r#"nodes["cp-0"].id"#)
        );
        for bad in ["", "..", "a[", "[x"] {
            assert_eq!(path(bad), None, "{bad}");
        }
    }

    #[test]
    fn gallery() {
        let at = Path::attribute;
        let e = "https://10.0.0.5:7443";
        let said = Refusal {
            reason: "stalled-dhcp".into(),
            summary: "Machine never asked for an address".into(),
            detail: "b1 was powered on 3 times; last seen: nothing.".into(),
            hint: "look at its boot order".into(),
            attribute: "install_disk.serial".into(),
        };
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let all = [
            no_bundle(),
            bundle_unknown(),
            bundle_unreadable("admin.bundle", &missing),
            bundle_invalid("METAL_BUNDLE", None, BundleError::Shape),
            bundle_invalid("`bundle`", Some(at("bundle")), BundleError::Certificates),
            unreachable("server b1", e, "connection refused"),
            feature_missing("server b1", e, "unknown service"),
            versions(e, "0.0.9", Older::Bootd),
            versions(e, "2.0.0", Older::Provider),
            password_not_sent("server b1"),
            pool_low("claim lab/cp-0", 1, 0, e),
            gone("server b1"),
            refused("node lab/cp-0", &said),
            remark(Severity::Warning, "node lab/cp-0", &said, e),
            stopped("node lab/cp-0", "installing: waiting for DHCP", e),
            late(
                "node lab/cp-0",
                "installing: waiting for DHCP",
                e,
                Operation::Create,
            ),
            bad_label_rule(at("match").attr("labels").key("rack"), "a||b"),
            bad_patch(at("patches").index(0), "line 2: no such key"),
            bad_endpoint(at("cluster").attr("endpoint"), "no https"),
            bad_version(at("talos_version"), "\"1.x\" is not a version", "v1.13.9"),
            bad_kernel_arg(
                at("kernel_args").index(0),
                "talos.config=x",
                "the boot owns it",
            ),
            secrets_version_change("lab", "v1.13.9", "v1.14.0"),
            protected("talos_secrets \"lab\""),
            needs_claim("node lab/cp-0", "b1"),
            two_nodes("b1", "lab/cp-0", "lab/cp-1"),
            box_known_later("claim lab/cp-0", "any", e),
            no_box("claim lab/cp-0", e),
            immutable(
                at("cluster").attr("pod_cidrs"),
                "Every pod has an address out of it.",
            ),
            even_control_planes(2),
            no_control_plane(),
            duplicate_node(at("nodes").key("b"), "server", "b1", "a"),
            foreign_node(at("nodes").key("b"), "x/b", "lab"),
            wait_level_later("api"),
            login_twice(),
        ];
        let text: Vec<_> = all.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n\n----\n\n"));
    }
}
