//! Writes `docs/` in the registry's layout: the words of [`tfplugin::docs`] for this provider, and the files around it.
//!
//! Usage: `terraform providers schema -json | provider-docs ROOT [OUT]`. Reads examples and guides below ROOT, writes `docs/` below OUT
//! (ROOT where it is left out), and removes pages of what is gone. Nothing is written by hand there: guides are in `templates/guides`.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use terraform_provider_metal::{Environment, Metal};
use tfplugin::Provider as _;
use tfplugin::docs::{FOLDERS, Pages, Words, pages};

const WORDS: Words<'_> = Words {
    provider: "metal",
    groups: &[("talos_", "Talos"), ("metal_", "Servers")],
    meta: None,
};

fn main() -> ExitCode {
    // Nobody to tell if standard error is gone.
    match run() {
        Ok(missing) => {
            for file in missing {
                let _ = writeln!(io::stderr(), "provider-docs: no example: write {file}");
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            let _ = writeln!(io::stderr(), "provider-docs: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let mut args = env::args().skip(1);
    let root = args
        .next()
        .ok_or("name the directory that holds examples and docs")?;
    let out = args.next().unwrap_or_else(|| root.clone());
    let (root, out) = (Path::new(&root), Path::new(&out));
    let mut schema = String::new();
    io::stdin().read_to_string(&mut schema)?;
    let read = |file: &str| fs::read_to_string(root.join(file)).ok();
    let meta = Metal::new(Environment::default()).meta();
    let words = Words {
        meta: meta.as_ref(),
        ..WORDS
    };
    let made = pages(
        &schema,
        words,
        &markdown(&root.join("templates/guides")),
        &read,
    )?;
    if let Some((file, why)) = made.wrong.first() {
        return Err(format!("{file}: {why}").into());
    }
    write(out, &made)?;
    Ok(made.missing)
}

fn write(out: &Path, made: &Pages) -> io::Result<()> {
    for folder in FOLDERS {
        let folder = format!("docs/{folder}");
        for file in markdown(&out.join(&folder)) {
            let path = format!("{folder}/{file}");
            if made.pages.iter().all(|page| page.path != path) {
                fs::remove_file(out.join(path))?;
            }
        }
    }
    for page in &made.pages {
        let path = out.join(&page.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, &page.text)?;
    }
    Ok(())
}

/// Names of the Markdown files in a folder, sorted; none where it does not exist.
fn markdown(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|e| e.file_name().into_string().ok())
        .filter(|name| {
            Path::new(name)
                .extension()
                .is_some_and(|e| e.eq_ignore_ascii_case("md"))
        })
        .collect();
    names.sort();
    names
}
