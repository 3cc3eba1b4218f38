//! Containers that Talos itself runs (1.14).

use super::found::{Scope, items};
use super::go::quoted;
use crate::schema::parse_size;
use crate::yaml::Node;

pub(super) fn check(scope: &mut Scope<'_>) {
    let name = scope.text(&["name"]);
    name_error(name)
        .into_iter()
        .for_each(|error| scope.error(&["name"], error));
    let image = scope.text(&["image"]);
    if image.is_empty() {
        scope.error(&["image"], "image is required");
    } else if !image.contains("@sha256:") {
        let reason = format!(
            "container {name}: image {image} is not digest-pinned, the running image may change on restart",
            name = quoted(name),
            image = quoted(image)
        );
        scope.warn(&["image"], reason);
    }
    for (index, item) in scope.items(&["environment"]).iter().enumerate() {
        let text = item.as_text().unwrap_or_default();
        if !text.contains('=') {
            let reason = format!(
                "environment[{index}]: {text} must be in KEY=value form",
                text = quoted(text)
            );
            scope.error_at(item, format!("environment.{index}"), reason);
        }
    }
    mounts(scope);
    security(scope);
    let mode = scope.text(&["network", "mode"]);
    if !matches!(mode, "" | "none" | "host") {
        let reason = format!(
            "unsupported network mode {mode}, expected none or host",
            mode = quoted(mode)
        );
        scope.error(&["network", "mode"], reason);
    }
    limits(scope);
    depends_on(scope, name);
    for key in ["uid", "gid"] {
        let path = ["runAs", key];
        if let Some(id) = scope.number(&path).filter(|n| *n < 0) {
            scope.error(&path, format!("runAs.{key} must be non-negative, got {id}"));
        }
    }
}

fn name_error(name: &str) -> Option<String> {
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() {
        Some("name is required".into())
    } else if name.len() > 63 {
        Some(format!(
            "name {name} must be 63 characters or fewer",
            name = quoted(name)
        ))
    } else {
        (!name.bytes().all(valid)).then(|| {
            format!(
                "name {name}: name can only contain lowercase ASCII letters, digits and hyphens",
                name = quoted(name)
            )
        })
    }
}

fn path_error(what: &str, path: &str) -> Option<String> {
    if path.is_empty() {
        return Some(format!("{what} is required"));
    }
    (!path.starts_with('/')).then(|| {
        format!(
            "{what} {path} must be an absolute path",
            path = quoted(path)
        )
    })
}

const OPTIONS: [&str; 8] = [
    "ro", "rw", "noexec", "nosuid", "nodev", "noatime", "rbind", "rshared",
];

fn option_errors(mount: &Node) -> Vec<String> {
    let options: Vec<&str> = items(mount, &["options"])
        .iter()
        .map(|o| o.as_text().unwrap_or_default())
        .collect();
    let unknown = options.iter().filter(|o| !OPTIONS.contains(o));
    let mut errors: Vec<String> = unknown
        .map(|o| format!("unsupported mount option {o}", o = quoted(o)))
        .collect();
    if options.contains(&"ro") && options.contains(&"rw") {
        errors.push("mount options ro and rw are mutually exclusive".into());
    }
    errors
}

fn mounts(scope: &mut Scope<'_>) {
    let mut destinations = Vec::new();
    for (index, mount) in scope.items(&["mounts"]).iter().enumerate() {
        let at = format!("mounts.{index}");
        let kinds = ["userVolume", "tmpfs", "hostPath"];
        let set: Vec<(&str, &Node)> = kinds
            .iter()
            .filter_map(|k| Some((*k, mount.at(&[k]).filter(|n| !n.is_null())?)))
            .collect();
        let [(kind, inner)] = set.as_slice() else {
            let reason = format!(
                "mounts[{index}]: exactly one of userVolume, tmpfs or hostPath must be set"
            );
            scope.error_at(mount, at, reason);
            continue;
        };
        let text = |key: &str| inner.text_at(&[key]).unwrap_or_default();
        let mut errors: Vec<String> = Vec::new();
        if *kind == "userVolume" && text("name").is_empty() {
            errors.push("userVolume.name is required".into());
        }
        if *kind == "hostPath" {
            errors.extend(path_error("hostPath.source", text("source")));
        }
        let destination = text("destination");
        errors.extend(path_error(&format!("{kind}.destination"), destination));
        errors.extend(option_errors(inner));
        if !errors.is_empty() {
            let reason = format!("mounts[{index}]: {}", errors.join("\n"));
            scope.error_at(mount, at, reason);
            continue;
        }
        if destinations.contains(&destination) {
            let reason = format!(
                "mounts[{index}]: duplicate destination {destination}",
                destination = quoted(destination)
            );
            scope.error_at(mount, at, reason);
        }
        destinations.push(destination);
    }
}

fn security(scope: &mut Scope<'_>) {
    let profile = scope.text(&["security", "profile"]);
    if !matches!(profile, "" | "restricted" | "privileged") {
        let reason = format!(
            "unsupported security profile {profile}, expected restricted or privileged",
            profile = quoted(profile)
        );
        scope.error(&["security", "profile"], reason);
    }
    let added = scope.items(&["security", "capabilities", "add"]);
    let dropped = scope.items(&["security", "capabilities", "drop"]);
    for (field, all) in [("add", added), ("drop", dropped)] {
        for item in all {
            let capability = item.as_text().unwrap_or_default();
            let error = match (field, capability) {
                ("add", "ALL") => Some(
                    "capabilities.add does not accept ALL, use profile: privileged instead".into(),
                ),
                (_, "ALL") => None,
                _ => capability_error(&format!("capabilities.{field}"), capability),
            };
            if let Some(error) = error {
                scope.error_at(item, format!("security.capabilities.{field}"), error);
            }
        }
    }
    for item in added {
        let capability = item.as_text().unwrap_or_default();
        if dropped.iter().any(|d| d.as_text() == Some(capability)) {
            let reason = format!(
                "capability {capability} appears in both add and drop",
                capability = quoted(capability)
            );
            scope.error_at(item, "security.capabilities.add".into(), reason);
        }
    }
}

fn capability_error(field: &str, capability: &str) -> Option<String> {
    if capability.is_empty() {
        return Some(format!("{field}: capability name must not be empty"));
    }
    let wrong = if capability.starts_with("CAP_") {
        "must be given without the CAP_ prefix"
    } else if capability.to_uppercase() != capability {
        "must be upper case"
    } else if !capability
        .bytes()
        .all(|b| b.is_ascii_uppercase() || b == b'_')
    {
        "may only contain upper case letters and underscores"
    } else {
        return None;
    };
    Some(format!(
        "{field}: capability {capability} {wrong}",
        capability = quoted(capability)
    ))
}

fn limits(scope: &mut Scope<'_>) {
    let memory = ["resources", "limits", "memory"];
    let text = scope.text(&memory);
    if !text.is_empty() && parse_size(text).is_none() {
        let reason = format!(
            "limits.memory {text} is not a valid size: invalid syntax",
            text = quoted(text)
        );
        scope.error(&memory, reason);
    }
    let cpu = ["resources", "limits", "cpu"];
    let text = scope.text(&cpu);
    if text.is_empty() {
        return;
    }
    let reason = match text.strip_suffix('m').map(str::parse::<u64>) {
        None => format!(
            "limits.cpu {text} must be expressed in millicores, e.g. 1500m",
            text = quoted(text)
        ),
        Some(Err(_)) => {
            let digits = text.trim_end_matches('m');
            format!(
                "limits.cpu {text} is not a valid millicore quantity: strconv.ParseUint: parsing {digits}: invalid syntax",
                text = quoted(text),
                digits = quoted(digits)
            )
        }
        Some(Ok(0)) => format!(
            "limits.cpu {text} must be greater than zero",
            text = quoted(text)
        ),
        Some(Ok(_)) => return,
    };
    scope.error(&cpu, reason);
}

const CONDITIONS: [&str; 4] = ["addresses", "connectivity", "hostname", "etcfiles"];

fn depends_on(scope: &mut Scope<'_>, own: &str) {
    for item in scope.items(&["dependsOn", "paths"]) {
        if let Some(error) = path_error("dependsOn.paths entry", item.as_text().unwrap_or_default())
        {
            scope.error_at(item, "dependsOn.paths".into(), error);
        }
    }
    for item in scope.items(&["dependsOn", "networks"]) {
        let text = item.as_text().unwrap_or_default();
        if !CONDITIONS.contains(&text) {
            let reason = format!(
                "unsupported dependsOn.networks condition {text}",
                text = quoted(text)
            );
            scope.error_at(item, "dependsOn.networks".into(), reason);
        }
    }
    for item in scope.items(&["dependsOn", "containers"]) {
        let reason = match item.as_text().unwrap_or_default() {
            "" => "dependsOn.containers entry must not be empty".to_owned(),
            name if name == own => {
                format!("container {own} cannot depend on itself", own = quoted(own))
            }
            _ => continue,
        };
        scope.error_at(item, "dependsOn.containers".into(), reason);
    }
}
