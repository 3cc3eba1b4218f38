//! The boot daemon: `bootd init` makes a site, `bootd serve` runs it.
#![expect(
    clippy::print_stdout,
    reason = "`ready` on stdout is what scripts wait for"
)]

use std::error::Error;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use bootd::config::Config;
use bootd::{authority, serve};
use clap::{Parser, Subcommand};

/// The boot daemon of one site.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes the CA, the server's certificate, the sealing key and admin.bundle.
    Init {
        /// The address that machines and clients reach bootd at.
        #[arg(long)]
        advertise: String,
        /// The state directory.
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
    /// Serves until it is told to stop.
    Serve {
        /// The configuration.
        #[arg(long, default_value = "bootd.toml")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Init { advertise, dir } => {
            authority::init(&dir, &advertise).map_err(|e| Box::new(e) as Box<dyn Error>)
        }
        Verb::Serve { config } => run(&config),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn run(path: &std::path::Path) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("BOOTD_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .init();
    let config = Config::read(path)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let site = serve::start(config).await?;
        println!("ready");
        std::io::stdout().flush()?;
        site.until_stopped().await?;
        Ok(())
    })
}

/// The error and its causes, once.
fn complain(error: &dyn Error) {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    let _ = writeln!(std::io::stderr(), "{text}");
}
