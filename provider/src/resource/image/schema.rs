//! What `metal_image` may hold.

use tfplugin::schema::Schema;
use tfplugin::{Timeouts, model};

pub(crate) use crate::resource::class::schema::Arch;
use crate::resource::name;

model! {
    /// A Talos image.
    pub(crate) struct Image {
        /// `SCHEMATIC/VERSION/ARCH`; known at plan.
        pub(crate) id: String = computed(),
        /// A name for people.
        pub(crate) name: String = optional().validate(name()),
        /// Talos version, for example `v1.13.9`. Editing it upgrades the nodes that use the image.
        pub(crate) talos_version: String = required(),
        /// System extensions, for example `siderolabs/qemu-guest-agent`. The order counts.
        pub(crate) extensions: Vec<String> = optional(),
        /// More kernel arguments. The order counts.
        pub(crate) kernel_args: Vec<String> = optional(),
        /// Processor architecture.
        pub(crate) arch: Arch = optional().default("amd64"),
        /// The id of the schematic; known at plan.
        pub(crate) schematic_id: String = computed(),
        /// The installer image that nodes use.
        pub(crate) installer: String = computed(),
        /// How long each operation may take. Default: 20m.
        pub(crate) timeouts: Timeouts = optional().local(),
    }
}

pub(super) fn schema() -> Schema {
    Schema::of::<Image>(
        "What a node boots and runs: a Talos version with extensions and kernel arguments, from an Image Factory.\n\n\
         **Time:** waits until bootd has fetched and checked the boot files (minutes, once per image). \
         **Destroy:** the reference is dropped; running nodes are not touched.",
    )
}
