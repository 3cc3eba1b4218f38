//! Builds everything and runs it. Not built yet.

use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Runs until stopped.
pub async fn run(
    _config: Config,
    stop: CancellationToken,
    ready: impl FnOnce(),
) -> Result<(), std::io::Error> {
    ready();
    stop.cancelled().await;
    Ok(())
}
