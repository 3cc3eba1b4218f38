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

/// The Talos machine API: what we call on a node, and what a simulated node answers.
///
/// The modules lie as the packages do, so that paths between packages resolve.
pub mod talos {
    /// Node metadata and data chunks.
    pub mod common {
        tonic::include_proto!("common");
    }
    /// `MachineService`, `LifecycleService`, `ImageService` and the event messages.
    pub mod machine {
        tonic::include_proto!("machine");
    }
    /// `StorageService`.
    pub mod storage {
        tonic::include_proto!("storage");
    }
    /// `ClusterService`.
    pub mod cluster {
        tonic::include_proto!("cluster");
    }
    /// The resource state of a node.
    pub mod cosi {
        /// `State` and its resources.
        pub mod resource {
            tonic::include_proto!("cosi.resource");
        }
    }
    /// `EventSinkService`: served by bootd, called by nodes.
    pub mod events {
        tonic::include_proto!("events");
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
