//! Answers cases as Talos's own machinery would: one file for each, `ID.out` or `ID.err`.
//!
//! ```text
//! cargo run -p talos --example cases -- --generator 1.13|1.14 --bundles DIR CASES.jsonl OUTDIR
//! ```
//!
//! A case that asks for `comments` is answered with an error: the machinery's documentation is not copied here.

#[path = "../tests/cases/mod.rs"]
mod cases;

use std::path::PathBuf;
use std::process::ExitCode;

use cases::Case;
use talos::version::Generator;

const USAGE: &str = "usage: cases --generator 1.13|1.14 --bundles DIR CASES.jsonl OUTDIR";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(broken) => {
            eprintln!("{broken} lines are no cases");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all cases and counts the lines that are none.
fn run(arguments: Vec<String>) -> Result<usize, String> {
    let mut generator = None;
    let mut bundles = None;
    let mut paths = Vec::new();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--generator" => generator = rest.next(),
            "--bundles" => bundles = rest.next().map(PathBuf::from),
            _ => paths.push(PathBuf::from(argument)),
        }
    }
    let (Some(generator), Some(bundles), [cases, out]) = (generator, bundles, &paths[..]) else {
        return Err(USAGE.to_owned());
    };
    let generator: Generator = generator.parse().map_err(|e| format!("{e}; {USAGE}"))?;
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
    };
    let bundle = |name: &str| read(bundles.join(format!("{name}.yaml")));
    std::fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;
    let mut broken = 0;
    let cases = read(cases.clone())?;
    for (index, line) in cases.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let (id, answer) = match Case::parse(line) {
            Ok(case) => (case.id.clone(), case.answer(generator, &bundle)),
            Err(error) => {
                broken += 1;
                eprintln!("line {}: {error}", index + 1);
                (
                    id_of(line).unwrap_or(format!("line-{}", index + 1)),
                    Err(error),
                )
            }
        };
        let (name, content) = match answer {
            Ok(bytes) => (format!("{id}.out"), bytes),
            Err(error) => (format!("{id}.err"), error),
        };
        let path = out.join(name);
        std::fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(broken)
}

/// The id of a line that is otherwise no case.
fn id_of(line: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(line).ok()?;
    let id = json.get("id")?.as_str()?;
    (!id.contains(['/', '\\'])).then(|| id.to_owned())
}
