//! What a box is made of, as `metal_server` and `metal_server_claim` show it. What moves by itself (device names, contents) is not here.

use tfplugin::model;

model! {
    /// A disk.
    pub(crate) struct Disk {
        /// Serial number.
        pub(crate) serial: String = computed(),
        /// World-wide id.
        pub(crate) wwid: String = computed(),
        /// Stable path below /sys/devices.
        pub(crate) bus_path: String = computed(),
        /// Model.
        pub(crate) model: String = computed(),
        /// `nvme`, `ssd` or `hdd`.
        pub(crate) r#type: String = computed(),
        /// Size in bytes.
        pub(crate) size_bytes: u64 = computed(),
    }
}

model! {
    /// A network interface.
    pub(crate) struct Nic {
        /// Name in the agent's Linux.
        pub(crate) name: String = computed(),
        /// Ethernet address.
        pub(crate) mac: String = computed(),
        /// Linux driver.
        pub(crate) driver: String = computed(),
    }
}

model! {
    /// What the agent found in the box.
    pub(crate) struct Hardware {
        /// Manufacturer of the system.
        pub(crate) manufacturer: String = computed(),
        /// Product name of the system.
        pub(crate) product: String = computed(),
        /// Serial number of the system.
        pub(crate) serial: String = computed(),
        /// SMBIOS UUID of the system.
        pub(crate) uuid: String = computed(),
        /// `amd64` or `arm64`.
        pub(crate) arch: String = computed(),
        /// Model of the processors.
        pub(crate) cpu_model: String = computed(),
        /// Cores of all processors.
        pub(crate) cpu_cores: u32 = computed(),
        /// Threads of all processors.
        pub(crate) cpu_threads: u32 = computed(),
        /// Memory in bytes.
        pub(crate) memory_bytes: u64 = computed(),
        /// Disks.
        pub(crate) disks: Vec<Disk> = computed(),
        /// Network interfaces.
        pub(crate) nics: Vec<Nic> = computed(),
        /// Firmware version.
        pub(crate) firmware: String = computed(),
    }
}

model! {
    /// Where a box stands.
    pub(crate) struct Place {
        /// Row of the site.
        pub(crate) site_row: String = computed(),
        /// Rack.
        pub(crate) rack: String = computed(),
        /// Unit in the rack.
        pub(crate) unit: String = computed(),
    }
}
