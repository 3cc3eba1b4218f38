//! Hardware between the wire and the core.

use bootd_core::lifecycle::{Disk, Hardware, Nic};
use metal_proto::metal::v1 as pb;

/// From a report.
pub fn hardware_from_proto(h: pb::Hardware) -> Hardware {
    Hardware {
        manufacturer: h.manufacturer,
        product: h.product,
        serial: h.serial,
        uuid: h.uuid,
        arch: h.arch,
        cpu_model: h.cpu_model,
        cpu_cores: h.cpu_cores,
        cpu_threads: h.cpu_threads,
        memory_bytes: h.memory_bytes,
        disks: h.disks.into_iter().map(disk_from_proto).collect(),
        nics: h
            .nics
            .into_iter()
            .map(|n| Nic {
                name: n.name,
                mac: n.mac,
                driver: n.driver,
                speed_mbps: n.speed_mbps,
            })
            .collect(),
        firmware: h.firmware,
    }
}

fn disk_from_proto(d: pb::Disk) -> Disk {
    Disk {
        device: d.device,
        serial: d.serial,
        wwid: d.wwid,
        bus_path: d.bus_path,
        model: d.model,
        kind: d.r#type,
        bytes: d.bytes,
        signatures: d.signatures,
        blank: d.blank,
        fingerprint: d.fingerprint,
        removable: d.removable,
        readonly: d.readonly,
        unreadable: d.unreadable,
    }
}

/// For an answer.
pub fn hardware_to_proto(h: &Hardware) -> pb::Hardware {
    pb::Hardware {
        manufacturer: h.manufacturer.clone(),
        product: h.product.clone(),
        serial: h.serial.clone(),
        uuid: h.uuid.clone(),
        arch: h.arch.clone(),
        cpu_model: h.cpu_model.clone(),
        cpu_cores: h.cpu_cores,
        cpu_threads: h.cpu_threads,
        memory_bytes: h.memory_bytes,
        disks: h.disks.iter().map(disk_to_proto).collect(),
        nics: h
            .nics
            .iter()
            .map(|n| pb::Nic {
                name: n.name.clone(),
                mac: n.mac.clone(),
                driver: n.driver.clone(),
                speed_mbps: n.speed_mbps,
            })
            .collect(),
        firmware: h.firmware.clone(),
    }
}

/// For an answer.
pub fn disk_to_proto(d: &Disk) -> pb::Disk {
    pb::Disk {
        device: d.device.clone(),
        serial: d.serial.clone(),
        wwid: d.wwid.clone(),
        bus_path: d.bus_path.clone(),
        model: d.model.clone(),
        r#type: d.kind.clone(),
        bytes: d.bytes,
        signatures: d.signatures.clone(),
        blank: d.blank,
        fingerprint: d.fingerprint.clone(),
        removable: d.removable,
        readonly: d.readonly,
        unreadable: d.unreadable.clone(),
    }
}
