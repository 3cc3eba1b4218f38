//! What `metal_server_class` may hold.

use std::collections::BTreeMap;

use tfplugin::schema::{Schema, Validator, validators};
use tfplugin::{Value, choices, model};

use crate::range::{Counts, Span};
use crate::resource::name;

choices! {
    /// A processor architecture.
    pub(crate) enum Arch {
        /// x86-64.
        Amd64 = "amd64",
        /// 64-bit ARM.
        Arm64 = "arm64",
    }
}

choices! {
    /// How a disk stores.
    pub(crate) enum DiskType {
        /// NVMe.
        Nvme = "nvme",
        /// Solid state on SATA or SAS.
        Ssd = "ssd",
        /// Spinning.
        Hdd = "hdd",
    }
}

model! {
    /// Disks that a server must have.
    pub(crate) struct DiskRule {
        /// Kind of disk; any where it is left out.
        pub(crate) r#type: DiskType = optional(),
        /// Size range, for example `">= 500GB"`.
        pub(crate) size: String = optional().validate(size()),
        /// Model, with `*` and `?`.
        pub(crate) model: String = optional().validate(validators::not_empty()),
        /// How many such disks; at least one where it is left out.
        pub(crate) count: String = optional().validate(number()),
    }
}

model! {
    /// Rules that a server of the class keeps, all of them. Ranges are `">= 16"`, `"8..32"`, `"< 4"`, `"8"`; sizes take `GB`, `GiB`, `TB`, ….
    pub(crate) struct Match {
        /// Cores of all processors.
        pub(crate) cpu_cores: String = optional().validate(number()),
        /// Threads of all processors.
        pub(crate) cpu_threads: String = optional().validate(number()),
        /// Memory, for example `"64GB..256GB"`.
        pub(crate) memory: String = optional().validate(size()),
        /// Architecture.
        pub(crate) arch: Arch = optional(),
        /// Manufacturer of the system, with `*` and `?`.
        pub(crate) manufacturer: String = optional().validate(validators::not_empty()),
        /// Product name of the system, with `*` and `?`.
        pub(crate) product: String = optional().validate(validators::not_empty()),
        /// Disk rules; a server keeps every one.
        pub(crate) disks: Vec<DiskRule> = optional(),
        /// Label rules: `"v"`, `"a|b"`, `"!v"`, or `"*"` for any value.
        pub(crate) labels: BTreeMap<String, String> = optional(),
    }
}

model! {
    /// Servers that are alike.
    pub(crate) struct Class {
        /// The class's name; known at plan.
        pub(crate) id: String = computed().use_state_for_unknown(),
        /// Name of the class.
        pub(crate) name: String = required().requires_replace().validate(name()),
        /// Rules that a server of the class keeps.
        pub(crate) r#match: Match = optional(),
        /// Ids of the servers that the class chooses from; every accepted server where it is left out. Set it where the servers are made in the
        /// same configuration: then claims wait for them.
        pub(crate) servers: Vec<String> = optional(),
    }
}

pub(super) fn schema() -> Schema {
    Schema::of::<Class>(
        "A class of servers: rules over hardware facts and labels.\n\n\
         **Time:** nothing is waited for. **Destroy:** the class is forgotten; it fails while a claim refers to it.",
    )
}

/// A range over a count.
fn number() -> Validator {
    spanned(
        Counts::Things,
        "a range such as `>= 16`, `8..32`, `< 4` or `8`",
    )
}

/// A range over a size; also what `install_disk.size` takes.
pub(crate) fn size() -> Validator {
    spanned(
        Counts::Bytes,
        "a size range such as `>= 64GB`, `64GB..256GB`, `< 2TB` or `512GiB`",
    )
}

fn spanned(counts: Counts, must_be: &'static str) -> Validator {
    Validator::new(must_be, move |v: &Value| {
        match v.as_str().map(|t| Span::parse(t, counts)) {
            Some(Err(why)) => Err(why.to_string()),
            Some(Ok(_)) | None => Ok(()),
        }
    })
}
