//! Data sources.

pub mod servers;

use std::sync::Arc;

use tfplugin::DataSource;

use crate::client::Session;

/// Every data source.
pub(crate) fn all(session: &Arc<Session>) -> Vec<Arc<dyn DataSource>> {
    vec![Arc::new(servers::Servers(session.clone()))]
}
