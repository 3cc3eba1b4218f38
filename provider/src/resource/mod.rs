//! One room per resource: `schema` says what HCL may hold, the room itself plans and applies. No protobuf here; that is [`crate::api`].

pub(crate) mod claim;
pub(crate) mod class;
pub(crate) mod cluster;
pub(crate) mod facts;
pub(crate) mod hardware;
pub(crate) mod image;
pub(crate) mod machine_config;
pub(crate) mod secrets;
pub(crate) mod server;
pub(crate) mod servers;

use tfplugin::schema::{Validator, validators};

use crate::ids;

/// `[a-z0-9][a-z0-9-]{0,62}`.
pub(crate) fn name() -> Validator {
    validators::slug(ids::NAME_LENGTH_MAX)
}

/// `CLUSTER/NODE`.
pub(crate) fn slot() -> Validator {
    validators::text(
        "of the form `CLUSTER/NODE`, both of lower-case letters, digits and hyphens",
        |t| ids::split_slot(t).map(|_| ()),
    )
}
