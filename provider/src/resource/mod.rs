//! One file per resource: its attributes, its plan, and what apply does. They share the session and nothing else.

pub mod claim;
pub mod class;
pub mod cluster;
pub mod facts;
pub mod image;
pub mod node;
pub mod secrets;
pub mod server;

use std::sync::Arc;

use tfplugin::Resource;

use crate::client::Session;

/// Every resource.
pub(crate) fn all(session: &Arc<Session>) -> Vec<Arc<dyn Resource>> {
    vec![
        Arc::new(server::Server(session.clone())),
        Arc::new(class::Class(session.clone())),
        Arc::new(claim::Claim(session.clone())),
        Arc::new(image::Image(session.clone())),
        Arc::new(secrets::Secrets(session.clone())),
        Arc::new(node::Node(session.clone())),
        Arc::new(cluster::Cluster(session.clone())),
    ]
}
