//! What a plan of a thousand unchanged resources costs the provider: its own CPU time and memory, whatever the engine needs.
//!
//! A real engine drives it. The provider's processes are looked at from outside while they live, a few hundred times per plan.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Failure;

const RESOURCES: u64 = 1_000;

/// Validate, upgrade state, read, plan.
const REQUESTS: u64 = 4;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(3);

/// Looks until new processes are searched for, which is dear.
const SEARCH: u32 = 8;

/// A provider and a thousand of its resources.
pub(crate) struct Subject<'a> {
    /// `NAMESPACE/NAME`.
    pub(crate) source: &'a str,
    pub(crate) binary: &'a Path,
    /// The blocks.
    pub(crate) hcl: &'a str,
}

/// What one plan took.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    /// Of all its processes, per resource and request.
    pub(crate) micros_per_request: u64,
    /// Of its largest process.
    pub(crate) peak_kib: u64,
}

/// Applies, then plans three times: the median.
pub(crate) fn measure(subject: &Subject<'_>) -> Result<Cost, Failure> {
    let home = tempfile::tempdir()?;
    prepare(home.path(), subject)?;
    engine(home.path(), &["init", "-input=false"])?;
    engine(
        home.path(),
        &["apply", "-auto-approve", "-input=false", "-parallelism=100"],
    )?;
    let mut costs = (0..3)
        .map(|_| plan(home.path()))
        .collect::<Result<Vec<_>, _>>()?;
    costs.sort_by_key(|c| c.micros_per_request);
    Ok(costs[1])
}

fn prepare(home: &Path, subject: &Subject<'_>) -> Result<(), Failure> {
    let name = subject.source.rsplit('/').next().unwrap_or_default();
    let arch = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let mirror = home.join("mirror");
    let folder = mirror.join(format!(
        "registry.terraform.io/{}/0.1.0/linux_{arch}",
        subject.source
    ));
    fs::create_dir_all(&folder)?;
    fs::copy(
        subject.binary,
        folder.join(format!("terraform-provider-{name}_v0.1.0")),
    )?;
    fs::write(
        home.join("terraform.rc"),
        format!("provider_installation {{\n  filesystem_mirror {{ path = {mirror:?} }}\n}}\n"),
    )?;
    fs::create_dir(home.join("things"))?;
    fs::write(
        home.join("main.tf"),
        format!(
            "terraform {{\n  required_providers {{\n    {name} = {{ source = \"{}\" }}\n  }}\n}}\n{}\n",
            subject.source, subject.hcl
        ),
    )?;
    Ok(())
}

fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("terraform");
    command
        .args(args)
        .current_dir(home)
        .env("TF_CLI_CONFIG_FILE", home.join("terraform.rc"))
        .env("CHECKPOINT_DISABLE", "1")
        .stdin(Stdio::null());
    command
}

fn engine(home: &Path, args: &[&str]) -> Result<(), Failure> {
    let done = command(home, args).output()?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!(
        "terraform {}: {}",
        args[0],
        String::from_utf8_lossy(&done.stderr)
    )
    .into())
}

fn plan(home: &Path) -> Result<Cost, Failure> {
    let mut engine = command(home, &["plan", "-detailed-exitcode", "-input=false"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut seen: BTreeMap<PathBuf, (u64, u64)> = BTreeMap::new();
    let mut looks = 0u32;
    let done = loop {
        if looks.is_multiple_of(SEARCH) {
            for process in children(engine.id()) {
                seen.entry(process).or_default();
            }
        }
        looks += 1;
        for (process, last) in &mut seen {
            if let Some((nanos, peak)) = look(process) {
                *last = (last.0.max(nanos), last.1.max(peak));
            }
        }
        if let Some(done) = engine.try_wait()? {
            break done;
        }
        std::thread::sleep(LOOK);
    };
    // 2 would be a plan with changes, and measure something else.
    if done.code() != Some(0) || seen.is_empty() {
        return Err(format!("the plan ended with {done}").into());
    }
    let nanos: u64 = seen.values().map(|(nanos, _)| nanos).sum();
    Ok(Cost {
        micros_per_request: nanos / 1_000 / (RESOURCES * REQUESTS),
        peak_kib: seen
            .values()
            .map(|(_, peak)| *peak)
            .max()
            .unwrap_or_default(),
    })
}

/// Processes that this one has started.
fn children(parent: u32) -> BTreeSet<PathBuf> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_child = |process: &PathBuf| {
        let Ok(status) = fs::read_to_string(process.join("stat")) else {
            return false;
        };
        // Behind the name, which may hold anything: state, then parent.
        let fields = status.rsplit(')').next().unwrap_or_default();
        fields.split_whitespace().nth(1) == Some(parent.to_string().as_str())
    };
    all.map(|entry| entry.path())
        .filter(|path| path.join("task").exists())
        .filter(is_child)
        .collect()
}

/// CPU time of all threads so far in nanoseconds, and the most memory in KiB.
fn look(process: &Path) -> Option<(u64, u64)> {
    let threads = fs::read_dir(process.join("task")).ok()?.flatten();
    let nanos = threads
        .filter_map(|t| fs::read_to_string(t.path().join("schedstat")).ok())
        .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    let status = fs::read_to_string(process.join("status")).ok()?;
    let peak = crate::status_kib(&status, "VmHWM")?;
    Some((nanos, peak))
}
