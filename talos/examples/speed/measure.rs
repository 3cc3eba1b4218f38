//! How long the paths of this crate take that have a budget. `scripts/bench` reads this file too: there is one way to
//! measure.
//!
//! Everything is measured as a caller meets it: files are read from the disk and parsed each time, nothing is kept
//! between two runs but the crate's own tables. Ours and Talos's machinery take turns, and the best round of each
//! counts: whatever else runs on the machine only makes a round slower.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use talos::config::{Endpoint, Input, InstallTarget, Role, generate};
use talos::patch::{Draft, check_patch};
use talos::secrets::{Bundle, system_entropy};
use talos::validate::{Mode, Rules};
use talos::version::{Contract, Generator};

/// Any error: the programs only ever print it.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

const GENERATOR: Generator = Generator::V1_13;

/// Turns of ours and theirs.
const ROUNDS: usize = 5;
/// What each measurement of a round gets.
const TURN: Duration = Duration::from_millis(400);
/// Bundles that are made; each has an RSA key, whose time is a matter of luck.
const BUNDLES: usize = 5;

/// The patch of the oracle's own measurement.
const PATCH: &str = "machine:
  network:
    hostname: node-1
    nameservers: [1.1.1.1, 9.9.9.9]
    interfaces:
      - interface: eth0
        addresses: [10.0.0.11/24]
        mtu: 9000
        routes:
          - network: 0.0.0.0/0
            gateway: 10.0.0.1
  sysctls:
    net.core.somaxconn: \"65535\"
  kubelet:
    extraArgs:
      rotate-server-certificates: \"true\"
cluster:
  network:
    podSubnets: [10.32.0.0/14]
    serviceSubnets: [10.100.0.0/16]
";

/// Milliseconds of one run each.
pub(crate) struct Speed {
    /// Typed inputs and a bundle to a control plane's config.
    pub(crate) generate: f64,
    /// Secrets file to a patched, validated and written config of a control plane.
    pub(crate) whole: f64,
    /// Of it: reading the secrets file.
    pub(crate) secrets: f64,
    /// Checking a patch of 2,000 lines.
    pub(crate) long_patch: f64,
    /// A new bundle, the median of a few.
    pub(crate) bundle: f64,
    /// Of it: everything but its RSA key.
    pub(crate) bundle_rest: f64,
    /// The same by Talos's machinery, or why there is nothing to compare with.
    pub(crate) machinery: Result<Machinery, String>,
}

/// What the oracle has measured, in milliseconds.
pub(crate) struct Machinery {
    pub(crate) generate: f64,
    pub(crate) whole: f64,
}

/// Measures. The oracle is the program of `acctest/oracle`, where there is one.
///
/// # Errors
/// Bundles that cannot be read; anything that goes wrong in a measured path.
pub(crate) fn measure(bundles: &Path, oracle: Option<&Path>) -> Result<Speed, Failure> {
    let file = bundles.join("v1.13.yaml");
    let bundle = read(&file)?;
    let input = input()?;
    let patch = long_patch();
    let mut out = Speed {
        generate: f64::INFINITY,
        whole: f64::INFINITY,
        secrets: f64::INFINITY,
        long_patch: f64::INFINITY,
        bundle: 0.0,
        bundle_rest: 0.0,
        machinery: Ok(Machinery {
            generate: f64::INFINITY,
            whole: f64::INFINITY,
        }),
    };
    for _ in 0..ROUNDS {
        best(&mut out.generate, || {
            std::hint::black_box(generate(&input, &bundle)?);
            Ok(())
        })?;
        best(&mut out.whole, || whole(&file, &input))?;
        best(&mut out.secrets, || {
            std::hint::black_box(read(&file)?);
            Ok(())
        })?;
        best(&mut out.long_patch, || Ok(check_patch(GENERATOR, &patch)?))?;
        if let Ok(best) = &mut out.machinery {
            match theirs(oracle, bundles) {
                Ok(round) => {
                    best.generate = best.generate.min(round.generate);
                    best.whole = best.whole.min(round.whole);
                }
                Err(why) => out.machinery = Err(why),
            }
        }
    }
    (out.bundle, out.bundle_rest) = new_bundles()?;
    Ok(out)
}

/// The path of a node's config, from one file to the other.
fn whole(secrets: &Path, input: &Input) -> Result<(), Failure> {
    let bundle = read(secrets)?;
    let mut draft = Draft::generate(input, &bundle)?;
    draft.patch(0, PATCH)?;
    let report = draft.validate(Rules::of(Mode::Metal));
    if !report.errors.is_empty() {
        return Err(format!("{:?}", report.errors).into());
    }
    std::hint::black_box(draft.write());
    Ok(())
}

fn read(secrets: &Path) -> Result<Bundle, Failure> {
    let text = std::fs::read_to_string(secrets)?;
    Ok(Bundle::from_secrets_yaml(&text)?)
}

fn input() -> Result<Input, Failure> {
    let contract = Contract::parse("v1.11", GENERATOR)?;
    let endpoint = Endpoint::parse("https://10.0.0.10:6443")?;
    let mut input = Input::new(contract, Role::ControlPlane, "demo", endpoint, "1.34.1");
    input.install.target = Some(InstallTarget::Device("/dev/sda".into()));
    input.install.image = Some("ghcr.io/siderolabs/installer:v1.11.6".into());
    Ok(input)
}

/// 2,002 lines.
fn long_patch() -> String {
    let mut patch = "machine:\n  sysctls:\n".to_owned();
    for n in 0..1000 {
        patch.push_str(&format!("    net.example.key{n}: \"{n}\"\n"));
    }
    patch.push_str("  files:\n");
    for n in 0..200 {
        patch.push_str(&format!(
            "    - path: /var/a{n}\n      permissions: 0o644\n      op: create\n      content: |\n        line\n"
        ));
    }
    patch
}

/// A new bundle, and one whose service account has no RSA key: contracts before 1.7, all else being equal.
fn new_bundles() -> Result<(f64, f64), Failure> {
    let now = SystemTime::now().try_into()?;
    let bundle = |contract: &str| -> Result<(), Failure> {
        let contract = Contract::parse(contract, GENERATOR)?;
        let bundle = Bundle::generate(GENERATOR, contract, now, &mut system_entropy)?;
        std::hint::black_box(bundle);
        Ok(())
    };
    let mut rest = f64::INFINITY;
    best(&mut rest, || bundle("v1.6"))?;
    let mut times = Vec::new();
    for _ in 0..BUNDLES {
        times.push(time(&mut || bundle("v1.13"))?);
    }
    Ok((median(&mut times), rest))
}

/// Lowers to the median of one more round.
fn best(so_far: &mut f64, mut run: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    let mut times = Vec::new();
    let from = Instant::now();
    while from.elapsed() < TURN || times.len() < 11 {
        times.push(time(&mut run)?);
    }
    *so_far = so_far.min(median(&mut times));
    Ok(())
}

fn time(run: &mut impl FnMut() -> Result<(), Failure>) -> Result<Duration, Failure> {
    let from = Instant::now();
    run()?;
    Ok(from.elapsed())
}

/// In milliseconds.
fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// The oracle's own medians of a turn.
fn theirs(oracle: Option<&Path>, bundles: &Path) -> Result<Machinery, String> {
    let oracle = oracle.ok_or("its oracle is not built; scripts/bench builds it where Go is")?;
    let out = Command::new(oracle)
        .arg("bench")
        .arg(bundles)
        .arg(TURN.as_secs_f64().to_string())
        .output()
        .map_err(|error| format!("its oracle does not start: {error}"))?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).trim().to_owned());
    }
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let line = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim().parse::<f64>().ok().map(|ns| ns / 1e6)
    };
    let both = line("generate ").zip(line("all "));
    let (generate, whole) = both.ok_or_else(|| format!("its oracle answers {text:?}"))?;
    Ok(Machinery { generate, whole })
}
