//! What `talos_secrets` may hold.

use tfplugin::model;
use tfplugin::schema::Schema;

use crate::resource::name;

model! {
    /// The secrets of a cluster.
    pub(crate) struct Secrets {
        /// The secrets' name; known at plan.
        pub(crate) id: String = computed().use_state_for_unknown(),
        /// Name of the secrets, and of the cluster unless it has one of its own.
        pub(crate) name: String = required().requires_replace().validate(name()),
        /// The Talos version that the cluster is born with: the contract of its configurations. It never changes; to upgrade, edit `metal_image`.
        pub(crate) talos_version: String = required(),
        /// Refuse deletion.
        pub(crate) deletion_protection: bool = optional().default(false),
        /// Fingerprint of the Talos API's authority.
        pub(crate) fingerprint: String = computed().use_state_for_unknown(),
        /// The contract, for example `v1.13`.
        pub(crate) contract: String = computed().use_state_for_unknown(),
        /// Revision of the renderer that the cluster keeps.
        pub(crate) render_rev: u32 = computed().use_state_for_unknown(),
    }
}

pub(super) fn schema() -> Schema {
    Schema::of::<Secrets>(
        "The secrets of a Talos cluster. bootd makes and keeps them, sealed; the state has a fingerprint only.\n\n\
         **Time:** nothing is waited for. **Destroy:** the secrets are kept for 30 days and can be brought back under the same name.",
    )
}
