//! Protocol definitions of our own writing, and the code generated from them; nothing else.
//!
//! [`metal::v1`] is our API; the plugin protocol and the Talos machine API hold only the messages that we use.
//! Field numbers are facts of those protocols; every word in the `.proto` files is ours.
#![allow(
    missing_docs,
    rust_2018_idioms,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    clippy::large_futures
)]

/// Our API.
pub mod metal {
    /// Version 1: bootd to provider, metalctl and agent.
    pub mod v1 {
        tonic::include_proto!("metal.v1");
    }
}

/// Terraform plugin protocol 6.
pub mod tfplugin6 {
    tonic::include_proto!("tfplugin6");
}

/// go-plugin's own services: broker, standard streams, shutdown.
pub mod plugin {
    tonic::include_proto!("plugin");
}
