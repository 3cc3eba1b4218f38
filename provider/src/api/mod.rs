//! Between the models of the resources and the messages of `metal.v1`: the only room besides the client that knows both.
//!
//! Promises: a configuration that means the same as what bootd has is kept as the user wrote it, so that a refresh never rewrites it.

mod claim;
mod class;
mod cluster;
mod image;
mod node;
mod secrets;
mod server;

pub(crate) use claim::*;
pub(crate) use class::*;
pub(crate) use cluster::*;
pub(crate) use image::*;
pub(crate) use node::*;
pub(crate) use secrets::*;
pub(crate) use server::*;

use std::fmt;

use metal_proto::metal::v1 as pb;
use tfplugin::{Diagnostic, Field, Severity};

use crate::client::{CallError, Client, Refusal};
use crate::diag;
use crate::fields::said;
use crate::range::{Counts, Span};
use crate::resource::hardware::{Disk, Hardware, Nic, Place};

fn named(name: &str) -> pb::Named {
    pb::Named {
        name: name.to_owned(),
    }
}

/// What one can wait for.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    ServerInspected(String),
    ClaimReleased(String),
    ImageCached(String),
    NodeInstalled(String),
    NodeRemoved(String),
    ClusterReady(String),
    ServerForgotten(String),
}

impl Subject {
    /// Is "does not exist" what is waited for?
    pub(crate) fn ends_by_going(&self) -> bool {
        matches!(
            self,
            Self::ClaimReleased(_) | Self::NodeRemoved(_) | Self::ServerForgotten(_)
        )
    }

    fn to_proto(&self) -> pb::WatchRequest {
        use pb::watch_request::Subject as S;
        let subject = match self.clone() {
            Self::ServerInspected(n) => S::ServerInspected(n),
            Self::ClaimReleased(n) => S::ClaimReleased(n),
            Self::ImageCached(n) => S::ImageCached(n),
            Self::NodeInstalled(n) => S::NodeInstalled(n),
            Self::NodeRemoved(n) => S::NodeRemoved(n),
            Self::ClusterReady(n) => S::ClusterReady(n),
            Self::ServerForgotten(n) => S::ServerForgotten(n),
        };
        pb::WatchRequest {
            subject: Some(subject),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name) = match self {
            Self::ServerInspected(n) => ("inspection of", n),
            Self::ClaimReleased(n) => ("release of", n),
            Self::ImageCached(n) => ("caching of", n),
            Self::NodeInstalled(n) => ("installation of", n),
            Self::NodeRemoved(n) => ("removal of", n),
            Self::ClusterReady(n) => ("readiness of", n),
            Self::ServerForgotten(n) => ("end of server", n),
        };
        write!(f, "{what} {name}")
    }
}

/// One message of a progress stream.
pub(crate) struct Step {
    pub(crate) stage: String,
    pub(crate) message: String,
    /// In the last one.
    pub(crate) outcome: Option<Result<(), Refusal>>,
    /// What bootd says besides, with the outcome.
    remarks: Vec<pb::Remark>,
}

impl Step {
    /// bootd's remarks as messages for the user.
    pub(crate) fn told(&self, what: &str, client: &Client) -> Vec<Diagnostic> {
        remarks(what, client, self.remarks.clone())
    }
}

/// A progress stream.
pub(crate) struct Progress(tonic::Streaming<pb::Progress>);

impl Progress {
    pub(crate) async fn open(client: &Client, subject: &Subject) -> Result<Self, CallError> {
        client.progress(subject.to_proto()).await.map(Self)
    }

    pub(crate) async fn next(&mut self, client: &Client) -> Result<Option<Step>, CallError> {
        let message = self.0.message().await.map_err(|s| client.error(&s))?;
        Ok(message.map(|m| Step {
            stage: m.stage,
            message: m.message,
            remarks: m.remarks,
            outcome: m.outcome.map(|o| match o {
                pb::progress::Outcome::Done(_) => Ok(()),
                pb::progress::Outcome::Failed(detail) => Err(detail.into()),
            }),
        }))
    }
}

fn remarks(what: &str, client: &Client, remarks: Vec<pb::Remark>) -> Vec<Diagnostic> {
    let one = |r: pb::Remark| {
        let severity = match r.severity() {
            pb::remark::Severity::Warning => Severity::Warning,
            pb::remark::Severity::Error | pb::remark::Severity::Unspecified => Severity::Error,
        };
        diag::remark(
            severity,
            what,
            &r.what.unwrap_or_default().into(),
            client.endpoint(),
        )
    };
    remarks.into_iter().map(one).collect()
}

fn range(field: &Field<String>, counts: Counts) -> Option<pb::Range> {
    // A text that is no range was refused by the validators.
    let span = Span::parse(field.known()?, counts).ok()?;
    Some(pb::Range {
        min: span.min,
        max: span.max,
    })
}

fn range_text(range: Option<&pb::Range>, counts: Counts) -> Field<String> {
    range
        .map(|r| {
            Span {
                min: r.min,
                max: r.max,
            }
            .written(counts)
        })
        .into()
}

fn hardware(hw: &pb::Hardware) -> Hardware {
    let disk = |d: &pb::Disk| Disk {
        serial: said(d.serial.clone()),
        wwid: said(d.wwid.clone()),
        bus_path: said(d.bus_path.clone()),
        model: said(d.model.clone()),
        r#type: said(d.r#type.clone()),
        size_bytes: d.bytes.into(),
    };
    let nic = |n: &pb::Nic| Nic {
        name: said(n.name.clone()),
        mac: said(n.mac.clone()),
        driver: said(n.driver.clone()),
    };
    Hardware {
        manufacturer: said(hw.manufacturer.clone()),
        product: said(hw.product.clone()),
        serial: said(hw.serial.clone()),
        uuid: said(hw.uuid.clone()),
        arch: said(hw.arch.clone()),
        cpu_model: said(hw.cpu_model.clone()),
        cpu_cores: hw.cpu_cores.into(),
        cpu_threads: hw.cpu_threads.into(),
        memory_bytes: hw.memory_bytes.into(),
        disks: hw.disks.iter().map(disk).collect::<Vec<_>>().into(),
        nics: hw.nics.iter().map(nic).collect::<Vec<_>>().into(),
        firmware: said(hw.firmware.clone()),
    }
}

fn place(location: Option<&pb::Location>) -> Field<Place> {
    let full = location.filter(|l| **l != pb::Location::default());
    full.map(|l| Place {
        site_row: said(l.site_row.clone()),
        rack: said(l.rack.clone()),
        unit: said(l.unit.clone()),
    })
    .into()
}
