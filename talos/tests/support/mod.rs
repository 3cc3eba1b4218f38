//! Reads the cases and turns them into calls of this crate. An input that no call has is a failure, never ignored.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use talos::config::{
    Cni, DiskSelector, Endpoint, Input, InstallTarget, MachineConfig, Registry, RegistryTls, Role,
    Scheduling, Toggle, generate,
};
use talos::patch::apply;
use talos::secrets::Bundle;
use talos::validate::{Mode, validate};
use talos::version::{Contract, Generator};
use talos::yaml::{self, Node, Style};

pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) op: String,
    json: Json,
}

pub(crate) type Answer = Result<String, String>;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Runs every case that `which` selects and shows the first difference of each that differs.
pub(crate) fn check_all(which: impl Fn(&Case) -> bool, answer: impl Fn(&Case) -> Answer) {
    let cases = std::fs::read_to_string(data().join("cases.jsonl")).unwrap();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for line in cases.lines() {
        let json: Json = serde_json::from_str(line).unwrap();
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        let case = Case {
            id: text("id"),
            op: text("op"),
            json,
        };
        if !which(&case) {
            continue;
        }
        seen += 1;
        let golden = |ending: &str| {
            let name = format!("goldens/{}.{ending}", case.id);
            std::fs::read_to_string(data().join(name)).ok()
        };
        let theirs = golden("out").map(|text| match case.op.as_str() {
            "validate" => verdict_of(&text).to_owned(),
            _ => text,
        });
        let difference = match (answer(&case), theirs) {
            (Ok(ours), Some(theirs)) => first_difference(&ours, &theirs),
            (Err(_), None) => None,
            (Ok(_), None) => Some(format!("not refused; theirs: {:?}", golden("err"))),
            (Err(ours), Some(_)) => Some(format!("refused: {ours}")),
        };
        if let Some(difference) = difference {
            wrong.push(format!("{}: {difference}", case.id));
        }
    }
    assert!(seen > 0, "no case was selected");
    assert!(
        wrong.is_empty(),
        "{} of {seen} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn verdict_of(golden: &str) -> &'static str {
    let json: Json = serde_json::from_str(golden).unwrap();
    match json["error"].as_str().unwrap() {
        "" => "accepted",
        _ => "refused",
    }
}

fn first_difference(ours: &str, theirs: &str) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let mut pairs = ours.lines().zip(theirs.lines()).enumerate();
    let at = pairs.find(|(_, (a, b))| a != b).map(|(i, _)| i);
    let at = at.unwrap_or_else(|| ours.lines().count().min(theirs.lines().count()));
    let show = |text: &str| {
        let start = at.saturating_sub(1);
        text.lines()
            .skip(start)
            .take(4)
            .collect::<Vec<_>>()
            .join("\n      ")
    };
    Some(format!(
        "line {}\n ours {}\n theirs {}",
        at + 1,
        show(ours),
        show(theirs)
    ))
}

impl Case {
    pub(crate) fn encode(&self) -> Answer {
        let (input, bundle) = self.input()?;
        let config = generate(&input, &bundle).map_err(|e| e.to_string())?;
        let patches = self.json["patches"].as_array();
        let patches: Vec<&str> = patches
            .into_iter()
            .flatten()
            .map(|p| p.as_str().unwrap())
            .collect();
        apply(Generator::V1_13, &config, &patches)
            .map(|c| c.into_exposed())
            .map_err(|e| e.to_string())
    }

    /// The same as the case's patch does, by typed inputs.
    pub(crate) fn encode_typed(&self) -> Answer {
        let (mut input, bundle) = self.input()?;
        match self.id.as_str() {
            "typed-selector" => {
                let some = |t: &str| Some(t.to_owned());
                input.install.target = Some(InstallTarget::Selector(DiskSelector {
                    size: some(">= 100GB"),
                    model: some("X"),
                    serial: some("S1*"),
                    wwid: some("eui.00"),
                    kind: some("nvme"),
                    bus_path: some("/pci0000:00/*"),
                    ..DiskSelector::default()
                }));
            }
            "typed-kube-proxy-off" => input.kube_proxy = Toggle::Disabled,
            "typed-cidrs" => {
                input.pod_cidrs = vec!["10.1.0.0/16".into()];
                input.service_cidrs = vec!["10.2.0.0/16".into(), "fd00::/112".into()];
            }
            "typed-hostname" | "typed-hostname-old" => input.hostname = Some("w-0".into()),
            other => panic!("no typed input for {other}"),
        }
        generate(&input, &bundle)
            .map(|c| c.into_exposed())
            .map_err(|e| e.to_string())
    }

    /// Whether the config is refused, in the words that both sides share.
    pub(crate) fn verdict(&self) -> Answer {
        let config = MachineConfig::new(self.encode()?);
        let mode = match self.json["mode"].as_str().unwrap() {
            "metal" => Mode::Metal,
            "cloud" => Mode::Cloud,
            other => panic!("mode {other}"),
        };
        let found = validate(Generator::V1_13, &config, mode).map_err(|e| e.to_string())?;
        Ok(if found.is_empty() {
            "accepted"
        } else {
            "refused"
        }
        .to_owned())
    }

    pub(crate) fn yaml(&self) -> Answer {
        let value: Json = serde_json::from_str(self.json["text"].as_str().unwrap()).unwrap();
        Ok(yaml::emit(&node(&value), Style::V1_13))
    }

    fn input(&self) -> Result<(Input, Bundle), String> {
        let from = self.json["generate"].as_object().unwrap();
        let text = |key: &str| from[key].as_str().unwrap();
        let contract =
            Contract::parse(text("contract"), Generator::V1_13).map_err(|e| e.to_string())?;
        let role = match text("role") {
            "controlplane" => Role::ControlPlane,
            "worker" => Role::Worker,
            other => panic!("role {other}"),
        };
        let endpoint = Endpoint::parse(text("endpoint")).map_err(|e| e.to_string())?;
        let mut input = Input::new(
            contract,
            role,
            text("cluster"),
            endpoint,
            text("kubernetes"),
        );
        for (key, value) in from["options"].as_object().unwrap() {
            set_option(&mut input, key, value);
        }
        let path = data().join(format!("bundles/{}.yaml", text("bundle")));
        let bundle = Bundle::from_secrets_yaml(&std::fs::read_to_string(path).unwrap());
        Ok((input, bundle.map_err(|e| e.to_string())?))
    }
}

fn set_option(input: &mut Input, key: &str, value: &Json) {
    let text = || value.as_str().unwrap().to_owned();
    let toggle = || match value.as_bool().unwrap() {
        true => Toggle::Enabled,
        false => Toggle::Disabled,
    };
    match key {
        "install_disk" => input.install.target = Some(InstallTarget::Device(text())),
        "install_image" => input.install.image = Some(text()),
        "dns_domain" => input.dns_domain = text(),
        "additional_sans" => input.cert_sans = texts(value),
        "registry_mirrors" => {
            for (host, endpoints) in value.as_object().unwrap() {
                input.registries.entry(host.clone()).or_default().endpoints =
                    Some(texts(endpoints));
            }
        }
        "registry_ca" => {
            for (host, ca) in value.as_object().unwrap() {
                let tls = RegistryTls::Ca(ca.as_str().unwrap().to_owned());
                input.registries.entry(host.clone()).or_default().tls = Some(tls);
            }
        }
        "registry_insecure" => {
            for host in texts(value) {
                let registry: &mut Registry = input.registries.entry(host).or_default();
                registry.tls = Some(RegistryTls::DangerSkipVerify);
            }
        }
        "sysctls" => {
            for (key, value) in value.as_object().unwrap() {
                let value = value.as_str().unwrap().to_owned();
                input.sysctls.insert(key.clone(), value);
            }
        }
        "allow_scheduling_on_control_planes" => input.scheduling = Scheduling::ControlPlanesToo,
        "discovery" => input.discovery = toggle(),
        "kubespan" => input.kubespan = Some(toggle()),
        "cni_url" => input.cni = Cni::Custom(vec![text()]),
        "cni" if value == "none" => input.cni = Cni::None,
        other => panic!("no input for the option {other}"),
    }
}

fn texts(value: &Json) -> Vec<String> {
    let items = value.as_array().unwrap().iter();
    items.map(|v| v.as_str().unwrap().to_owned()).collect()
}

fn node(value: &Json) -> Node {
    match value {
        Json::Null => Node::null(),
        Json::Bool(b) => Node::boolean(*b),
        Json::Number(n) => match n.as_i64() {
            Some(n) => Node::integer(n),
            None => yaml::parse_documents(
                &format!("{:e}", n.as_f64().unwrap())
                    .replace("1e21", "1e+21")
                    .replace("1.5e0", "1.5"),
            )
            .unwrap()
            .remove(0),
        },
        Json::String(s) => Node::text(s),
        Json::Array(items) => Node::list(items.iter().map(node)),
        Json::Object(map) => {
            let mut all = Node::map(map.iter().map(|(k, v)| (k.as_str(), node(v))));
            all.as_mapping_mut().unwrap().sort_natural();
            all
        }
    }
}
