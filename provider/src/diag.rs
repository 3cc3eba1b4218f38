//! Every message that this provider makes, as named constructors. bootd's own errors arrive as `ErrorDetail` and pass through
//! [`from_detail`]; everything else that a user can read is here, and in one snapshot.

use metal_proto::metal::v1::remark::Severity;
use metal_proto::metal::v1::{ErrorDetail, Remark};
use tfplugin::{Diagnostic, Path};

/// The bundle is missing.
pub fn no_bundle() -> Diagnostic {
    Diagnostic::error("No bundle for bootd")
        .detail("Neither `bundle_file` nor `bundle` is set, and neither METAL_BUNDLE_FILE nor METAL_BUNDLE is in the environment.")
        .hint("set bundle_file to the admin.bundle that `bootd init` wrote")
}

/// The bundle's file cannot be read.
pub fn bundle_unreadable(path: &str, why: &str) -> Diagnostic {
    Diagnostic::error("The bundle cannot be read")
        .detail(format!("{path}: {why}."))
        .hint("check the path and its permissions")
}

/// The bundle is no bundle.
pub fn bundle_malformed(why: &str) -> Diagnostic {
    Diagnostic::error("The bundle cannot be used")
        .detail(format!("It is not what `bootd init` writes: {why}."))
        .hint("take a fresh admin.bundle from bootd's state directory")
}

/// Nobody answers.
pub fn unreachable(endpoint: &str, why: &str) -> Diagnostic {
    Diagnostic::error("bootd does not answer")
        .detail(format!("{endpoint}: {why}. Nothing is known of its machines until it answers; nothing was changed."))
        .hint("check that bootd runs and that this host reaches it, then run the same command again")
}

/// A failed call without an `ErrorDetail`.
pub fn call_failed(endpoint: &str, why: &str) -> Diagnostic {
    Diagnostic::error("bootd refused").detail(format!("{endpoint}: {why}."))
}

/// What bootd said.
pub fn from_detail(what: &ErrorDetail) -> Diagnostic {
    fill(Diagnostic::error(what.summary.clone()), what)
}

/// A remark of a plan. Warnings name the endpoint: a plan may talk to several sites.
pub fn from_remark(remark: &Remark, endpoint: &str) -> Diagnostic {
    let what = remark.what.clone().unwrap_or_default();
    match remark.severity() {
        Severity::Warning => {
            let told = ErrorDetail {
                detail: format!("{} (bootd at {endpoint})", what.detail),
                ..what.clone()
            };
            fill(Diagnostic::warning(what.summary.clone()), &told)
        }
        Severity::Error | Severity::Unspecified => from_detail(&what),
    }
}

fn fill(diagnostic: Diagnostic, what: &ErrorDetail) -> Diagnostic {
    let mut diagnostic = diagnostic.detail(what.detail.clone());
    if !what.hint.is_empty() {
        diagnostic = diagnostic.hint(what.hint.clone());
    }
    match path(&what.attribute) {
        Some(path) => diagnostic.at(path),
        None => diagnostic,
    }
}

/// `install_disk.serial`, `patches[0]`.
fn path(text: &str) -> Option<Path> {
    let mut path: Option<Path> = None;
    for part in text.split('.').filter(|p| !p.is_empty()) {
        let (name, index) = part.split_once('[').unwrap_or((part, ""));
        let mut next = match path {
            Some(path) => path.attr(name),
            None => Path::attribute(name),
        };
        if let Ok(index) = index.trim_end_matches(']').parse() {
            next = next.index(index);
        }
        path = Some(next);
    }
    path
}

/// Interrupted while bootd goes on.
pub fn goes_on(interruption: Diagnostic, what: &str, stage: &str) -> Diagnostic {
    let detail = format!(
        "{} {what} goes on in bootd; last seen: {stage}.",
        interruption.detail
    );
    Diagnostic { detail, ..interruption }.hint("run the same command again: it continues where bootd is by then; `metalctl watch` shows it meanwhile")
}

/// The birth contract cannot be raised.
pub fn contract_is_birth(old: &str, new: &str) -> Diagnostic {
    Diagnostic::error("A cluster keeps the contract that it was born with")
        .detail(format!("`talos_version` is {old} and cannot become {new}: the secrets and every config were made for it."))
        .hint("to upgrade Talos, edit talos_version of metal_image")
}

/// Two nodes, one box.
pub fn server_twice(server: &str, other: &str) -> Diagnostic {
    Diagnostic::error("Two nodes want one server")
        .detail(format!(
            "Server {server} is the server of node {other} in this plan, too."
        ))
        .hint("give each node a metal_server_claim of its own")
}

/// The endpoint is no endpoint.
pub fn bad_endpoint(why: &str) -> Diagnostic {
    Diagnostic::error("The endpoint cannot be used")
        .detail(format!("{why}."))
        .hint("write it as https://ADDRESS:6443")
}

/// A patch that no config could take.
pub fn bad_patch(why: &str) -> Diagnostic {
    Diagnostic::error("The patch cannot be read").detail(format!("{why}."))
}

/// A level that is not built.
pub fn wait_not_yet(level: &str) -> Diagnostic {
    Diagnostic::error("This level of wait_for.kubernetes comes later")
        .detail(format!("`{level}` needs a client of the Kubernetes API, which this version has not. It has `none` and `talos`."))
        .hint("use wait_for = { kubernetes = \"talos\" } and let what follows wait for Kubernetes")
}

/// An even number of control planes.
pub fn even_control_planes(count: usize) -> Diagnostic {
    Diagnostic::error("Even number of control planes")
        .detail(format!(
            "{count} control planes tolerate no more failures than {} do: etcd needs a majority.",
            count.saturating_sub(1)
        ))
        .hint("use 1, 3 or 5, or set allow_even = true while you move from one to the other")
}

/// No control plane at all.
pub fn no_control_plane() -> Diagnostic {
    Diagnostic::error("No control plane")
        .detail("None of `nodes` has the role controlplane; nothing could be bootstrapped.")
}

/// The same node under two keys.
pub fn node_twice(id: &str) -> Diagnostic {
    Diagnostic::error("One node twice").detail(format!("{id} stands under two keys of `nodes`."))
}

/// Protected.
pub fn protected(what: &str) -> Diagnostic {
    Diagnostic::error("Protected from deletion")
        .detail(format!("{what} has deletion_protection = true."))
        .hint("set it to false, apply, then destroy")
}

/// A version text that is none.
pub fn bad_version(why: &str) -> Diagnostic {
    Diagnostic::error("The version cannot be used")
        .detail(format!("{why}."))
        .hint("write it as v1.13.9")
}

/// Import of something that bootd does not know.
pub fn import_missing(what: &str, id: &str) -> Diagnostic {
    Diagnostic::error("Nothing to import").detail(format!("bootd knows no {what} `{id}`."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gallery() {
        let detail = ErrorDetail {
            reason: "stalled".into(),
            summary: "Machine did not finish installing".into(),
            detail: "b1 stalled.".into(),
            hint: "look at the switch".into(),
            attribute: "cluster.patches[0]".into(),
        };
        let remark = Remark {
            severity: Severity::Warning.into(),
            what: Some(detail.clone()),
        };
        let all = [
            no_bundle(),
            bundle_unreadable("admin.bundle", "no such file"),
            bundle_malformed("missing field `ca`"),
            unreachable("https://10.0.0.5:7443", "connection refused"),
            call_failed("https://10.0.0.5:7443", "it is not implemented"),
            from_detail(&detail),
            from_remark(&remark, "https://10.0.0.5:7443"),
            goes_on(
                Diagnostic::error("Operation cancelled").detail("Stopped."),
                "The install of lab/cp-0",
                "installing: waiting for DHCP",
            ),
            contract_is_birth("v1.13.9", "v1.14.0"),
            server_twice("b1", "lab/cp-0"),
            bad_endpoint("`10.0.0.10` is no URL"),
            bad_patch("line 2: bad indentation"),
            wait_not_yet("api"),
            even_control_planes(2),
            no_control_plane(),
            node_twice("lab/cp-0"),
            protected("talos_secrets lab"),
            bad_version("`1` is no version"),
            import_missing("server", "mac:02:00:00:00:00:01"),
        ];
        let text: Vec<String> = all.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n----\n"));
    }
}
