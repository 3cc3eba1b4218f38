//! Registries, extensions' services, sinks and trusted authorities.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Source, items, text, texts, toggle};
use crate::layer::{ExtensionService, KernelLog, Layer, RegistryArgs, RegistryAuth, TrustedRoots};
use crate::secrets::Secret;
use crate::yaml::Node;

fn registry<'l>(layer: &'l mut Layer, host: &str) -> &'l mut RegistryArgs {
    layer.node.registries.entry(host.to_owned()).or_default()
}

/// The hosts of a part of `machine.registries`.
fn legacy_registries<'a>(
    source: &Source<'a>,
    key: &str,
) -> impl Iterator<Item = (&'a str, &'a Node)> {
    let hosts = source.main(&["machine", "registries", key]);
    let entries = hosts.and_then(Node::as_mapping).into_iter().flatten();
    entries.map(|e| (e.key.as_str(), &e.value))
}

pub(super) fn registry_mirrors(source: &Source<'_>, layer: &mut Layer) {
    for (host, node) in legacy_registries(source, "mirrors") {
        let registry = registry(layer, host);
        registry.endpoints = texts(node.at(&["endpoints"]));
        registry.override_path = toggle(node, &["overridePath"]);
        registry.skip_fallback = toggle(node, &["skipFallback"]);
    }
    for (host, node) in source.all("RegistryMirrorConfig") {
        let registry = registry(layer, host);
        let endpoints = items(node.at(&["endpoints"]));
        let urls = endpoints.iter().filter_map(|e| text(e, &["url"]));
        registry.endpoints = urls.collect();
        let first = endpoints.first();
        registry.override_path = first.and_then(|e| toggle(e, &["overridePath"]));
        registry.skip_fallback = toggle(node, &["skipFallback"]);
    }
}

pub(super) fn registry_checks(source: &Source<'_>, layer: &mut Layer) {
    for (host, node) in legacy_registries(source, "config") {
        let ca = node.text_at(&["tls", "ca"]);
        let bytes = ca.and_then(|ca| STANDARD.decode(ca).ok());
        let ca = bytes.and_then(|b| String::from_utf8(b).ok());
        let skip = toggle(node, &["tls", "insecureSkipVerify"]);
        let registry = registry(layer, host);
        registry.ca = ca.filter(|ca| !ca.is_empty());
        registry.danger_skip_tls_verify = skip;
    }
    for (host, node) in source.all("RegistryTLSConfig") {
        let registry = registry(layer, host);
        registry.ca = text(node, &["ca"]);
        registry.danger_skip_tls_verify = toggle(node, &["insecureSkipVerify"]);
    }
}

pub(super) fn registry_credentials(source: &Source<'_>, layer: &mut Layer) {
    for (host, node) in legacy_registries(source, "config") {
        if let Some(auth) = node.at(&["auth"]) {
            registry(layer, host).auth = registry_auth(auth);
        }
    }
    for (host, node) in source.all("RegistryAuthConfig") {
        registry(layer, host).auth = registry_auth(node);
    }
}

fn registry_auth(node: &Node) -> RegistryAuth {
    let secret = |key| text(node, &[key]).map(Secret::new);
    RegistryAuth {
        username: text(node, &["username"]),
        password: secret("password"),
        auth: secret("auth"),
        identity_token: secret("identityToken"),
    }
}

pub(super) fn extension_services(source: &Source<'_>, layer: &mut Layer) {
    let services = source.all("ExtensionServiceConfig").map(|(name, node)| {
        let files = items(node.at(&["configFiles"])).iter().filter_map(|file| {
            let content = file.text_at(&["content"]).unwrap_or_default();
            Some((text(file, &["mountPath"])?, Secret::new(content)))
        });
        ExtensionService {
            name: name.to_owned(),
            files: files.collect(),
            environment: texts(node.at(&["environment"]))
                .into_iter()
                .map(Secret::new)
                .collect(),
        }
    });
    layer.node.extension_services = services.collect();
}

pub(super) fn sinks(source: &Source<'_>, layer: &mut Layer) {
    let sink = source.one("EventSinkConfig");
    layer.node.event_sink = sink.and_then(|d| text(d, &["endpoint"]));
    let logs = source.all("KmsgLogConfig").map(|(name, node)| KernelLog {
        name: name.to_owned(),
        url: text(node, &["url"]).unwrap_or_default(),
    });
    layer.node.kernel_logs = logs.collect();
}

pub(super) fn trusted_roots(source: &Source<'_>, layer: &mut Layer) {
    let roots = source.all("TrustedRootsConfig");
    let roots = roots.map(|(name, node)| TrustedRoots {
        name: name.to_owned(),
        certificates: text(node, &["certificates"]).unwrap_or_default(),
    });
    layer.node.trusted_roots = roots.collect();
}
