//! Resources of a node's state, read from the YAML that the server always gives.

use metal_proto::talos::cosi::resource::state_client::StateClient;
use metal_proto::talos::cosi::resource::{GetRequest, ListRequest, Resource};
use tokio_stream::StreamExt as _;
use tonic::Request;

use super::{Client, ClientError, MESSAGE_MAX};
use crate::yaml::{Node, parse_documents};

/// What a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Starting.
    Booting,
    /// Writing its system disk.
    Installing,
    /// Waiting for a config.
    Maintenance,
    /// Up.
    Running,
    /// Going down, to come back.
    Rebooting,
    /// Going down.
    ShuttingDown,
    /// Erasing.
    Resetting,
    /// Changing its version.
    Upgrading,
    /// A word that is not known here.
    Unknown,
}

/// A machine's own view of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineStatus {
    /// What it does. `rebooting`, `resetting` and `installing` report ready too: read both.
    pub stage: Stage,
    /// Whether nothing is missing.
    pub ready: bool,
    /// What is missing: names and the node's reasons.
    pub unmet: Vec<(String, String)>,
}

impl MachineStatus {
    /// Up, with nothing missing.
    pub fn is_running_and_ready(&self) -> bool {
        self.stage == Stage::Running && self.ready
    }
}

/// A member of the cluster as discovery knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its host name.
    pub hostname: String,
    /// `controlplane` or `worker`.
    pub machine_type: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Its operating system, like `Talos (v1.13.9)`.
    pub operating_system: String,
}

/// A cluster's members.
pub type Cluster = Vec<Member>;

impl Client {
    /// The machine's stage and readiness.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn machine_status(&self) -> Result<MachineStatus, ClientError> {
        let request = GetRequest {
            namespace: "runtime".to_owned(),
            r#type: "MachineStatuses.runtime.talos.dev".to_owned(),
            id: "machine".to_owned(),
            options: None,
        };
        let mut state = self.state();
        let answer = self.within(state.get(Request::new(request))).await?;
        let spec = spec(answer.resource)?;
        let unmet = spec.at(&["status", "unmetConditions"]);
        let unmet = unmet.and_then(Node::as_sequence).unwrap_or_default().iter();
        Ok(MachineStatus {
            stage: stage(spec.text_at(&["stage"]).unwrap_or_default()),
            ready: spec.text_at(&["status", "ready"]) == Some("true"),
            unmet: unmet
                .map(|condition| {
                    let text = |key| condition.text_at(&[key]).unwrap_or_default().to_owned();
                    (text("name"), text("reason"))
                })
                .collect(),
        })
    }

    /// The members that the node knows by discovery.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn members(&self) -> Result<Cluster, ClientError> {
        let request = ListRequest {
            namespace: "cluster".to_owned(),
            r#type: "Members.cluster.talos.dev".to_owned(),
            options: None,
        };
        let mut state = self.state();
        let stream = self.within(state.list(Request::new(request))).await?;
        let collect = async {
            let mut stream = stream;
            let mut members = Vec::new();
            while let Some(next) = stream.next().await {
                let next = next.map_err(|s| ClientError::from_status(self.address, &s))?;
                members.push(member(&spec(next.resource)?));
            }
            Ok(members)
        };
        tokio::time::timeout(self.deadline, collect)
            .await
            .map_err(|_| ClientError::Deadline(self.address))?
    }

    fn state(&self) -> StateClient<tonic::transport::Channel> {
        StateClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_MAX)
    }
}

fn spec(resource: Option<Resource>) -> Result<Node, ClientError> {
    let broken = ClientError::Answer("a resource without a spec in YAML");
    let yaml = resource
        .and_then(|r| r.spec)
        .ok_or_else(|| broken.clone())?
        .yaml_spec;
    let documents = parse_documents(&yaml).map_err(|_| broken.clone())?;
    documents.into_iter().next().ok_or(broken)
}

fn member(spec: &Node) -> Member {
    let text = |key| spec.text_at(&[key]).unwrap_or_default().to_owned();
    let addresses = spec.at(&["addresses"]).and_then(Node::as_sequence);
    let addresses = addresses.unwrap_or_default().iter();
    Member {
        hostname: text("hostname"),
        machine_type: text("machineType"),
        addresses: addresses
            .filter_map(|a| a.as_text().map(str::to_owned))
            .collect(),
        operating_system: text("operatingSystem"),
    }
}

fn stage(word: &str) -> Stage {
    match word.to_ascii_lowercase().replace([' ', '_'], "").as_str() {
        "booting" => Stage::Booting,
        "installing" => Stage::Installing,
        "maintenance" => Stage::Maintenance,
        "running" => Stage::Running,
        "rebooting" => Stage::Rebooting,
        "shuttingdown" => Stage::ShuttingDown,
        "resetting" => Stage::Resetting,
        "upgrading" => Stage::Upgrading,
        _ => Stage::Unknown,
    }
}
