//! `bootd`: `init` makes a site, `serve` runs it.
//!
//! The only place that exits. `serve` prints one line, `ready`, on standard output once everything is bound.

use std::error::Error;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use bootd::config::Config;
use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

/// The boot daemon.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes a new site: CA, server certificate, admin.bundle, a sample bootd.toml.
    Init {
        /// The IPv4 address that machines and clients reach this bootd at.
        #[arg(long)]
        advertise: Ipv4Addr,
        /// The state directory to make.
        #[arg(long, default_value = "/var/lib/bootd")]
        dir: PathBuf,
    },
    /// Runs the site until SIGTERM or SIGINT.
    Serve {
        /// The configuration.
        #[arg(long, default_value = "/var/lib/bootd/bootd.toml")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Verb::Init { advertise, dir } => bootd::api::init::run(&dir, advertise).map_err(Into::into),
        Verb::Serve { config } => serve(&config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(failure.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn serve(path: &std::path::Path) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("BOOTD_LOG")
                .unwrap_or_else(|_| "info".into()),
        )
        .init();
    let config = Config::read(path)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(stop_on_signal(stop.clone()));
        bootd::serve::run(config, stop, ready)
            .await
            .map_err(Into::into)
    })
}

async fn stop_on_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    stop.cancel();
}

fn ready() {
    let mut out = std::io::stdout();
    // Nobody may be listening any more; that is no reason to stop.
    let _ = writeln!(out, "ready").and_then(|()| out.flush());
}

/// The whole chain, once.
fn complain(failure: &dyn Error) {
    let mut text = failure.to_string();
    let mut source = failure.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    let _ = writeln!(std::io::stderr(), "error: {text}");
}
