//! The case format: one JSON object a line, turned into calls of this crate.
//!
//! An input that the format does not have is an error, never ignored. What a case's answer must equal is not here.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use serde::Deserialize;
use talos::config::{
    Cni, Endpoint, Input, InstallTarget, MachineConfig, RegistryTls, Role, Scheduling, Toggle,
};
use talos::patch::{Draft, PatchError, apply_to_text, check_patch};
use talos::schematic::Schematic;
use talos::secrets::{Bundle, ClientCertificate, StoredBundle, Talosconfig};
use talos::validate::{self, Locality, Rules, Strictness};
use talos::version::{Contract, Generator};

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) op: Op,
    pub(crate) generate: Option<Generate>,
    config: Option<String>,
    #[serde(default)]
    pub(crate) patches: Vec<String>,
    via: Option<Via>,
    comments: Option<Comments>,
    mode: Option<Mode>,
    #[serde(default)]
    local: bool,
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    value: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    context: String,
    #[serde(default)]
    endpoints: Vec<String>,
    bundle: Option<String>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Op {
    Encode,
    Validate,
    Redact,
    BundleFromConfig,
    Bundle,
    BundleValidate,
    Contract,
    Talosconfig,
    TalosconfigLoad,
    Schematic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Via {
    Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Comments {
    Docs,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Metal,
    Cloud,
    Container,
}

/// From what a config is generated.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Generate {
    #[serde(default)]
    contract: String,
    role: String,
    bundle: String,
    cluster: String,
    endpoint: String,
    #[serde(default)]
    kubernetes: String,
    #[serde(default)]
    options: Options,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    install_disk: String,
    install_image: String,
    dns_domain: Option<String>,
    install_extra_kernel_args: Vec<String>,
    additional_sans: Vec<String>,
    registry_insecure: Vec<String>,
    registry_mirrors: BTreeMap<String, Vec<String>>,
    registry_ca: BTreeMap<String, String>,
    sysctls: BTreeMap<String, String>,
    allow_scheduling_on_control_planes: bool,
    debug: bool,
    discovery: Option<bool>,
    kubespan: Option<bool>,
    host_dns_forward_kube_dns: Option<bool>,
    kubeprism_port: Option<u32>,
    local_api_server_port: Option<u32>,
    cni_url: String,
}

/// What the patches meet. The machinery patches what it generated without writing it before.
enum Source {
    Typed(Draft),
    Text(MachineConfig),
}

/// Bytes, or the text of an error.
pub(crate) type Answer = Result<String, String>;

/// Where the files of secrets come from, by their names.
pub(crate) type Bundles<'a> = &'a dyn Fn(&str) -> Result<String, String>;

impl Case {
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        serde_json::from_str(line).map_err(|e| e.to_string())
    }

    /// What this crate answers.
    pub(crate) fn answer(&self, generator: Generator, bundles: Bundles<'_>) -> Answer {
        match self.op {
            Op::Encode => Ok(self.patched(generator, bundles)?.into_exposed()),
            Op::Validate => self.verdict(generator, bundles),
            Op::Redact => self.redacted(generator, bundles),
            Op::BundleFromConfig => {
                let config = self.patched(generator, bundles)?;
                let bundle = Bundle::from_control_plane_config(config.expose());
                let bundle = bundle.map_err(|e| e.to_string())?;
                Ok(bundle.to_secrets_yaml().expose().to_owned())
            }
            Op::Bundle => {
                let bundle = StoredBundle::read(&self.text).map_err(|e| e.to_string())?;
                Ok(bundle.to_yaml().expose().to_owned())
            }
            Op::BundleValidate => {
                let bundle = StoredBundle::read(&self.text).map_err(|e| e.to_string())?;
                match bundle.faults().as_slice() {
                    [] => Ok(String::new()),
                    faults => Err(listed(faults)),
                }
            }
            Op::Contract => tag(&self.value),
            Op::Talosconfig => self.talosconfig(generator, bundles),
            Op::TalosconfigLoad => {
                let read = Talosconfig::read(generator, &self.text).map_err(|e| e.to_string())?;
                Ok(read.to_yaml(generator).expose().to_owned())
            }
            Op::Schematic => {
                let schematic = Schematic::read(&self.text).map_err(|e| e.to_string())?;
                Ok(format!("# {}\n{}", schematic.id(), schematic.to_yaml()))
            }
        }
    }

    /// Talos's tools read all patches before they apply the first one; so that is the order of errors here.
    fn check_patches(&self, generator: Generator) -> Result<(), String> {
        for patch in &self.patches {
            match check_patch(generator, patch) {
                Ok(()) | Err(PatchError::Empty(_)) => {}
                Err(error) => return Err(error.machinery_text()),
            }
        }
        Ok(())
    }

    /// The source with the patches applied.
    fn patched(&self, generator: Generator, bundles: Bundles<'_>) -> Result<MachineConfig, String> {
        if self.comments.is_some() {
            return Err("this crate writes configs without comments only".to_owned());
        }
        if self.via.is_none() {
            return Ok(self.draft(generator, bundles)?.write());
        }
        // Bytes are read after the patches, a typed config before them.
        let source = match self.source(generator, bundles)? {
            Source::Typed(draft) => draft.write(),
            Source::Text(text) => text,
        };
        self.check_patches(generator)?;
        apply_to_text(generator, &source, &self.patches).map_err(|e| e.machinery_text())
    }

    fn source(&self, generator: Generator, bundles: Bundles<'_>) -> Result<Source, String> {
        match (&self.generate, &self.config) {
            (Some(from), None) => from.draft(generator, bundles).map(Source::Typed),
            (None, Some(text)) => Ok(Source::Text(MachineConfig::new(text))),
            (None, None) | (Some(_), Some(_)) => {
                Err("a case has either generate or config".to_owned())
            }
        }
    }

    fn talosconfig(&self, generator: Generator, bundles: Bundles<'_>) -> Answer {
        let name = self.bundle.as_deref().unwrap_or_default();
        let bundle = Bundle::from_secrets_yaml(&bundles(name)?).map_err(|e| e.to_string())?;
        let client = ClientCertificate {
            ca: bundle.os.certificate.clone(),
            certificate: bundle.os.certificate,
            key: bundle.os.key,
        };
        let file = client.talosconfig(&self.context, &self.endpoints, &[]);
        let read = Talosconfig::read(generator, file.expose()).map_err(|e| e.to_string())?;
        Ok(read.to_yaml(generator).expose().to_owned())
    }

    fn redacted(&self, generator: Generator, bundles: Bundles<'_>) -> Answer {
        let mut draft = self.draft(generator, bundles)?;
        draft.redact(&self.value);
        Ok(draft.write().into_exposed())
    }

    /// The typed config with the patches applied.
    fn draft(&self, generator: Generator, bundles: Bundles<'_>) -> Result<Draft, String> {
        let theirs = |e: PatchError| e.machinery_text();
        let mut draft = match self.source(generator, bundles)? {
            Source::Typed(draft) => draft,
            Source::Text(text) => Draft::read(generator, &text).map_err(theirs)?,
        };
        self.check_patches(generator)?;
        for (index, patch) in self.patches.iter().enumerate() {
            draft.patch(index, patch).map_err(theirs)?;
        }
        Ok(draft)
    }

    fn verdict(&self, generator: Generator, bundles: Bundles<'_>) -> Answer {
        let draft = self.draft(generator, bundles)?;
        let report = draft.validate(Rules {
            mode: match self.mode {
                Some(Mode::Metal) | None => validate::Mode::Metal,
                Some(Mode::Cloud) => validate::Mode::Cloud,
                Some(Mode::Container) => validate::Mode::Container,
            },
            strictness: match self.strict {
                true => Strictness::Strict,
                false => Strictness::Lenient,
            },
            locality: match self.local {
                true => Locality::Local,
                false => Locality::Node,
            },
        });
        let warnings: Vec<&str> = report.warnings.iter().map(|w| w.reason.as_str()).collect();
        let error = report.machinery_error();
        let answer = serde_json::json!({"warnings": warnings, "error": error});
        Ok(format!("{answer:#}\n"))
    }
}

/// Several errors in one, as Go programs join them.
fn listed(all: &[String]) -> String {
    let head = match all.len() {
        1 => "1 error occurred:".to_owned(),
        n => format!("{n} errors occurred:"),
    };
    let items: String = all.iter().map(|e| format!("\t* {e}\n")).collect();
    format!("{head}\n{items}\n")
}

/// A contract as the machinery prints it, or what it says of a text that is none.
fn tag(version: &str) -> Answer {
    Contract::tag(version).map_err(|_| {
        let body = version.strip_prefix('v').unwrap_or(version);
        format!("error parsing version {:?}", format!("v{body}"))
    })
}

impl Generate {
    fn draft(&self, generator: Generator, bundles: Bundles<'_>) -> Result<Draft, String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        if !self.contract.is_empty() {
            tag(&self.contract)?;
        }
        let contract = Contract::parse_clamped(&self.contract, generator).map_err(|e| text(&e))?;
        let role = match self.role.as_str() {
            "controlplane" => Role::ControlPlane,
            "worker" | "join" | "" => Role::Worker,
            "init" => Role::Init,
            other => return Err(format!("invalid machine type: {other:?}")),
        };
        let endpoint = Endpoint::parse_any(&self.endpoint).map_err(|e| text(&e))?;
        let mut input = Input::new(contract, role, &self.cluster, endpoint, &self.kubernetes);
        input.generator = generator;
        if self.endpoint.parse::<Ipv6Addr>().is_ok() {
            input.pod_cidrs = vec!["fc00:db8:10::/56".to_owned()];
            input.service_cidrs = vec!["fc00:db8:20::/112".to_owned()];
        }
        self.options.set(&mut input);
        let bundle = Bundle::from_secrets_yaml(&bundles(&self.bundle)?).map_err(|e| text(&e))?;
        Draft::generate_unchecked(&input, &bundle).map_err(|e| text(&e))
    }
}

impl Options {
    fn set(&self, input: &mut Input) {
        let toggle = |on: bool| match on {
            true => Toggle::Enabled,
            false => Toggle::Disabled,
        };
        let filled = |text: &String| Some(text.clone()).filter(|t| !t.is_empty());
        input.install.target = filled(&self.install_disk).map(InstallTarget::Device);
        input.install.image = filled(&self.install_image);
        input.install.extra_kernel_args = self.install_extra_kernel_args.clone();
        if let Some(domain) = &self.dns_domain {
            input.dns_domain = domain.clone();
        }
        input.cert_sans = self.additional_sans.clone();
        for (host, endpoints) in &self.registry_mirrors {
            input.registries.entry(host.clone()).or_default().endpoints = Some(endpoints.clone());
        }
        for (host, ca) in &self.registry_ca {
            let registry = input.registries.entry(host.clone()).or_default();
            registry.tls = Some(RegistryTls::Ca(ca.clone()));
        }
        for host in &self.registry_insecure {
            let registry = input.registries.entry(host.clone()).or_default();
            registry.tls = Some(match registry.tls.take() {
                Some(RegistryTls::Ca(pem) | RegistryTls::DangerSkipVerifyWithCa(pem)) => {
                    RegistryTls::DangerSkipVerifyWithCa(pem)
                }
                Some(RegistryTls::DangerSkipVerify) | None => RegistryTls::DangerSkipVerify,
            });
        }
        input.sysctls = self.sysctls.clone();
        if self.allow_scheduling_on_control_planes {
            input.scheduling = Scheduling::ControlPlanesToo;
        }
        input.debug = toggle(self.debug);
        input.discovery = toggle(self.discovery.unwrap_or(true));
        input.kubespan = self.kubespan.map(toggle);
        input.host_dns_forward = toggle(self.host_dns_forward_kube_dns == Some(true));
        if let Some(port) = self.kubeprism_port {
            input.kube_prism_port = Some(port).filter(|p| *p > 0);
        }
        input.local_api_server_port = self.local_api_server_port.filter(|p| *p > 0);
        if let Some(url) = filled(&self.cni_url) {
            input.cni = Cni::Custom(vec![url]);
        }
    }
}
