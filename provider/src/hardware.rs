//! Hardware as states show it: what identifies a box and its parts, not what moves.

use metal_proto::metal::v1 as api;
use tfplugin::model;

model! {
    /// What the agent found in a server.
    pub struct Hardware {
        /// Manufacturer.
        pub manufacturer: String = computed(),
        /// Product name.
        pub product: String = computed(),
        /// Serial number of the server.
        pub serial: String = computed(),
        /// SMBIOS UUID.
        pub uuid: String = computed(),
        /// `amd64` or `arm64`.
        pub arch: String = computed(),
        /// CPU model.
        pub cpu_model: String = computed(),
        /// Physical cores.
        pub cpu_cores: u32 = computed(),
        /// Hardware threads.
        pub cpu_threads: u32 = computed(),
        /// Main memory in bytes.
        pub memory_bytes: u64 = computed(),
        /// Disks.
        pub disks: Vec<Disk> = computed(),
        /// Network interfaces.
        pub nics: Vec<Nic> = computed(),
    }
}

model! {
    /// A disk.
    pub struct Disk {
        /// Serial number.
        pub serial: String = computed(),
        /// World-wide id.
        pub wwid: String = computed(),
        /// Model.
        pub model: String = computed(),
        /// `nvme`, `ssd` or `hdd`.
        pub r#type: String = computed(),
        /// Size in bytes.
        pub bytes: u64 = computed(),
    }
}

model! {
    /// A network interface.
    pub struct Nic {
        /// Kernel's name.
        pub name: String = computed(),
        /// Ethernet address.
        pub mac: String = computed(),
        /// Kernel driver.
        pub driver: String = computed(),
    }
}

impl From<api::Hardware> for Hardware {
    fn from(h: api::Hardware) -> Self {
        let mut disks: Vec<api::Disk> = h.disks;
        disks.sort_by(|a, b| (&a.serial, &a.wwid).cmp(&(&b.serial, &b.wwid)));
        let mut nics: Vec<api::Nic> = h.nics;
        nics.sort_by(|a, b| a.mac.cmp(&b.mac));
        Self {
            manufacturer: h.manufacturer.into(),
            product: h.product.into(),
            serial: h.serial.into(),
            uuid: h.uuid.into(),
            arch: h.arch.into(),
            cpu_model: h.cpu_model.into(),
            cpu_cores: h.cpu_cores.into(),
            cpu_threads: h.cpu_threads.into(),
            memory_bytes: h.memory_bytes.into(),
            disks: disks.into_iter().map(Disk::from).collect::<Vec<_>>().into(),
            nics: nics.into_iter().map(Nic::from).collect::<Vec<_>>().into(),
        }
    }
}

impl From<api::Disk> for Disk {
    fn from(d: api::Disk) -> Self {
        Self {
            serial: d.serial.into(),
            wwid: d.wwid.into(),
            model: d.model.into(),
            r#type: d.r#type.into(),
            bytes: d.bytes.into(),
        }
    }
}

impl From<api::Nic> for Nic {
    fn from(n: api::Nic) -> Self {
        Self {
            name: n.name.into(),
            mac: n.mac.into(),
            driver: n.driver.into(),
        }
    }
}
