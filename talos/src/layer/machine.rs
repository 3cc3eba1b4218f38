//! The machine's own arguments: kernel, files, services, registries, sinks and trusted authorities.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::args::{ExtensionService, Node, RegistryArgs, RegistryAuth};
use super::draft::Draft;
use super::links::on;
use crate::yaml::{Node as Yaml, Scalar};

/// The first contract whose registries are documents.
const REGISTRY_DOCUMENTS: u16 = 12;

type Entries = Vec<(&'static str, Yaml)>;

pub(super) fn render(node: &Node, draft: &mut Draft) {
    kernel(node, draft);
    files(node, draft);
    for (host, registry) in &node.registries {
        registry_faults(host, registry, draft);
        if draft.since(REGISTRY_DOCUMENTS) {
            registry_documents(host, registry, draft);
        } else {
            legacy_registry(host, registry, draft);
        }
    }
    for service in &node.extension_services {
        extension_service(service, draft);
    }
    sinks(node, draft);
}

fn kernel(node: &Node, draft: &mut Draft) {
    if !node.sysfs.is_empty() {
        let values = texts(&node.sysfs);
        if draft.since(14) {
            draft.set_in("SysfsConfig", &["params"], values);
        } else {
            draft.set(&["machine", "sysfs"], values);
        }
    }
    for (index, module) in node.kernel_modules.iter().enumerate() {
        if module.name.is_empty() {
            draft.invalid(format!("kernel_modules[{index}].name"), "it is empty");
        }
        let parameters = Yaml::texts(&module.parameters);
        if draft.since(14) {
            let entries = [("parameters", parameters)];
            let entries = entries
                .into_iter()
                .filter(|_| !module.parameters.is_empty());
            draft.named("KernelModuleConfig", &module.name, entries.collect());
        } else {
            let mut out: Entries = vec![("name", Yaml::text(&module.name))];
            if !module.parameters.is_empty() {
                out.push(("parameters", parameters));
            }
            draft.push(&["machine", "kernel", "modules"], Yaml::map(out));
        }
    }
    if !node.udev_rules.is_empty() {
        let rules = Yaml::texts(&node.udev_rules);
        if draft.since(14) {
            draft.set_in("UdevRulesConfig", &["rules"], rules);
        } else {
            draft.set(&["machine", "udev", "rules"], rules);
        }
    }
    if !node.environment.is_empty() {
        let variables = texts(&node.environment);
        if draft.since(13) {
            draft.set_in("EnvironmentConfig", &["variables"], variables);
        } else {
            draft.set(&["machine", "env"], variables);
        }
    }
}

fn files(node: &Node, draft: &mut Draft) {
    for (index, file) in node.files.iter().enumerate() {
        let at = format!("files[{index}]");
        if !file.path.starts_with('/') {
            draft.invalid(format!("{at}.path"), "it must be an absolute path");
        }
        if file.permissions > 0o7777 {
            draft.invalid(
                format!("{at}.permissions"),
                "they are 0 to 0o7777; write them in octal",
            );
        }
        let mode = Scalar::raw(crate::yaml::Kind::Int, format!("0o{:o}", file.permissions));
        let entry = Yaml::map([
            ("content", Yaml::text(file.content.expose())),
            ("permissions", Yaml::new(crate::yaml::Value::Scalar(mode))),
            ("path", Yaml::text(&file.path)),
            ("op", Yaml::text(file.operation.as_str())),
        ]);
        draft.push(&["machine", "files"], entry);
    }
}

fn registry_faults(host: &str, registry: &RegistryArgs, draft: &mut Draft) {
    let at = format!("registries[{host:?}]");
    if registry.skip_fallback.is_some() {
        draft.needs(9, format!("{at}.skip_fallback"), "leave it out");
    }
    let mirrored = !registry.endpoints.is_empty();
    if !mirrored && (registry.override_path.is_some() || registry.skip_fallback.is_some()) {
        draft.invalid(
            format!("{at}.endpoints"),
            "override_path and skip_fallback say something about mirrors; state endpoints",
        );
    }
    for (index, url) in registry.endpoints.iter().enumerate() {
        if !url.starts_with("https://") && !url.starts_with("http://") {
            draft.invalid(
                format!("{at}.endpoints[{index}]"),
                "it must be a URL with http or https",
            );
        }
    }
    if registry.ca.as_ref().is_some_and(|ca| !is_certificates(ca)) {
        draft.invalid(format!("{at}.ca"), "it is not a certificate in PEM");
    }
}

fn legacy_registry(host: &str, registry: &RegistryArgs, draft: &mut Draft) {
    if !registry.endpoints.is_empty() {
        let mut out: Entries = vec![("endpoints", Yaml::texts(&registry.endpoints))];
        if let Some(toggle) = registry.override_path {
            out.push(("overridePath", on(toggle)));
        }
        if let Some(toggle) = registry.skip_fallback {
            out.push(("skipFallback", on(toggle)));
        }
        let path = ["machine", "registries", "mirrors", host];
        draft.set(&path, Yaml::map(out));
    }
    let mut tls: Entries = Vec::new();
    if let Some(ca) = &registry.ca {
        tls.push(("ca", Yaml::text(STANDARD.encode(ca))));
    }
    if let Some(toggle) = registry.danger_skip_tls_verify {
        tls.push(("insecureSkipVerify", on(toggle)));
    }
    if !tls.is_empty() {
        let path = ["machine", "registries", "config", host, "tls"];
        draft.set(&path, Yaml::map(tls));
    }
    let auth = auth(&registry.auth);
    if !auth.is_empty() {
        let path = ["machine", "registries", "config", host, "auth"];
        draft.set(&path, Yaml::map(auth));
    }
}

fn registry_documents(host: &str, registry: &RegistryArgs, draft: &mut Draft) {
    if !registry.endpoints.is_empty() {
        let endpoints = registry.endpoints.iter().map(|url| {
            let mut out: Entries = vec![("url", Yaml::text(url))];
            if let Some(toggle) = registry.override_path {
                out.push(("overridePath", on(toggle)));
            }
            Yaml::map(out)
        });
        let mut out = vec![("endpoints", Yaml::list(endpoints))];
        if let Some(toggle) = registry.skip_fallback {
            out.push(("skipFallback", on(toggle)));
        }
        draft.named("RegistryMirrorConfig", host, out);
    }
    let mut tls: Entries = Vec::new();
    if let Some(ca) = &registry.ca {
        tls.push(("ca", Yaml::text(ca)));
    }
    if let Some(toggle) = registry.danger_skip_tls_verify {
        tls.push(("insecureSkipVerify", on(toggle)));
    }
    if !tls.is_empty() {
        draft.named("RegistryTLSConfig", host, tls);
    }
    let auth = auth(&registry.auth);
    if !auth.is_empty() {
        draft.named("RegistryAuthConfig", host, auth);
    }
}

fn auth(auth: &RegistryAuth) -> Entries {
    let secrets = [
        ("password", &auth.password),
        ("auth", &auth.auth),
        ("identityToken", &auth.identity_token),
    ];
    let name = auth.username.iter().map(|n| ("username", Yaml::text(n)));
    let secrets = secrets.into_iter().filter_map(|(key, secret)| {
        let secret = secret.as_ref()?;
        Some((key, Yaml::text(secret.expose())))
    });
    name.chain(secrets).collect()
}

fn extension_service(service: &ExtensionService, draft: &mut Draft) {
    let at = format!("extension_services[{:?}]", service.name);
    if !draft.needs(7, at.as_str(), "write the file with files") {
        return;
    }
    if service.name.is_empty() || (service.files.is_empty() && service.environment.is_empty()) {
        draft.invalid(at, "it needs a name, and files or environment");
    }
    let files = service.files.iter().map(|(path, content)| {
        Yaml::map([
            ("content", Yaml::text(content.expose())),
            ("mountPath", Yaml::text(path)),
        ])
    });
    let mut out: Entries = Vec::new();
    if !service.files.is_empty() {
        out.push(("configFiles", Yaml::list(files)));
    }
    if !service.environment.is_empty() {
        let variables = service.environment.iter().map(|v| v.expose());
        out.push(("environment", Yaml::texts(variables)));
    }
    draft.named("ExtensionServiceConfig", &service.name, out);
}

fn sinks(node: &Node, draft: &mut Draft) {
    if let Some(endpoint) = &node.event_sink {
        if !endpoint.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0)
        }) {
            draft.invalid("event_sink", "it must be HOST:PORT, without a scheme");
        }
        draft.set_in("EventSinkConfig", &["endpoint"], Yaml::text(endpoint));
    }
    for (index, log) in node.kernel_logs.iter().enumerate() {
        if !log.url.starts_with("tcp://") && !log.url.starts_with("udp://") {
            draft.invalid(
                format!("kernel_logs[{index}].url"),
                "it must be tcp://HOST:PORT/ or udp://HOST:PORT/",
            );
        }
        let url = Yaml::text(&log.url);
        draft.named("KmsgLogConfig", &log.name, vec![("url", url)]);
    }
    for roots in &node.trusted_roots {
        let at = format!("trusted_roots[{:?}]", roots.name);
        if !draft.needs(
            8,
            at.as_str(),
            "append to /etc/ssl/certs/ca-certificates with files",
        ) {
            continue;
        }
        if !is_certificates(&roots.certificates) {
            draft.invalid(at, "it holds no certificate in PEM");
        }
        let certificates = Yaml::text(&roots.certificates);
        draft.named(
            "TrustedRootsConfig",
            &roots.name,
            vec![("certificates", certificates)],
        );
    }
}

/// One or more certificates in PEM, and nothing else in PEM.
fn is_certificates(text: &str) -> bool {
    let Ok(all) = pem::parse_many(text) else {
        return false;
    };
    !all.is_empty()
        && all.iter().all(|pem| {
            pem.tag() == "CERTIFICATE" && X509Certificate::from_der(pem.contents()).is_ok()
        })
}

pub(super) fn texts(values: &BTreeMap<String, String>) -> Yaml {
    Yaml::map(values.iter().map(|(k, v)| (k.as_str(), Yaml::text(v))))
}
