//! What `metal_server_claim` may hold.

use tfplugin::schema::{Rule, Schema, validators};
use tfplugin::{Timeouts, choices, model};

use crate::resource::hardware::{Hardware, Place};
use crate::resource::slot;

choices! {
    /// How a disk is erased when the claim ends.
    pub(crate) enum Method {
        /// Not at all.
        None = "none",
        /// Known structures and both ends of every partition, read back.
        Quick = "quick",
        /// Every byte.
        Full = "full",
    }
}

choices! {
    /// Which disks a wipe covers.
    pub(crate) enum WipeScope {
        /// Every disk of the box.
        All = "all",
        /// What this claim's install wrote.
        Written = "written",
    }
}

choices! {
    /// What spreads claims.
    pub(crate) enum SpreadBy {
        /// Racks.
        Rack = "rack",
    }
}

choices! {
    /// What follows a wipe that failed.
    pub(crate) enum OnWipeFailure {
        /// The box waits for a person; the claim is gone, with a warning.
        Quarantine = "quarantine",
        /// The deletion fails and may be repeated.
        Fail = "fail",
    }
}

model! {
    /// The wipe that ends the claim.
    pub(crate) struct Wipe {
        /// How.
        pub(crate) method: Method = optional().default("quick"),
        /// Which disks: `"all"`, or `"written"` for what this claim's install wrote. Exclusive with `selected`.
        pub(crate) disks: WipeScope = optional(),
        /// Serial numbers or WWIDs of the disks; no other disk is touched. Exclusive with `disks`.
        pub(crate) selected: Vec<String> = optional().validate(validators::not_empty()),
    }
}

model! {
    /// A slot of a cluster, filled with a box.
    pub(crate) struct Claim {
        /// The claim's name; known at plan.
        pub(crate) id: String = computed().use_state_for_unknown(),
        /// `CLUSTER/NODE`. The same name gets the same box again where possible.
        pub(crate) name: String = required().requires_replace().validate(slot()),
        /// Take any free box of this class.
        pub(crate) server_class_id: String = optional(),
        /// Take this box; otherwise the box that was taken. Known at plan: bootd holds it softly until apply.
        pub(crate) server_id: String = optional_computed().use_state_for_unknown().requires_replace(),
        /// Keep claims of this cluster and role apart: `rack`.
        pub(crate) spread_by: SpreadBy = optional(),
        /// Ids of servers that are not taken.
        pub(crate) avoid: Vec<String> = optional(),
        /// The wipe that ends the claim. Required where the box held foreign data when it was claimed.
        pub(crate) wipe: Wipe = optional().rule(Rule::at_most_one_of([Wipe::disks.name(), Wipe::selected.name()])),
        /// Serial numbers or WWIDs of disks with foreign data that may be erased.
        pub(crate) allow_wipe: Vec<String> = optional(),
        /// What follows a wipe that failed: `quarantine` ends the claim with a warning and keeps the box out of the pool until a person
        /// looked; `fail` fails the deletion, which may be repeated.
        pub(crate) on_wipe_failure: OnWipeFailure = optional().default("quarantine"),
        /// Grows each time this name is claimed.
        pub(crate) generation: u64 = computed().use_state_for_unknown(),
        /// What the box is made of.
        pub(crate) hardware: Hardware = computed().use_state_for_unknown(),
        /// Where the box stands.
        pub(crate) location: Place = computed().use_state_for_unknown(),
        /// How the box was picked, for example `best of 3 free`.
        pub(crate) fit: String = computed().use_state_for_unknown(),
        /// How long each operation may take. Default: create 5m, delete 30m.
        pub(crate) timeouts: Timeouts = optional().local(),
    }
}

pub(super) fn schema() -> Schema {
    Schema::of::<Claim>(
        "A sticky, named slot of a cluster, filled with a server. The only resource whose deletion wipes.\n\n\
         **Time:** seconds; nothing is booted. The box is known at plan, and held softly until apply. \
         **Destroy:** wipes as `wipe` says, reads back, and gives the box back to the pool (minutes to hours, by method and size); \
         a wipe that fails ends as `on_wipe_failure` says.",
    )
    .rule(Rule::exactly_one_of([Claim::server_class_id.name(), Claim::server_id.name()]))
}
