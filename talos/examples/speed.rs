//! Measures the budgets of this crate on this machine, beside Talos's own machinery where its oracle is given.
//!
//! ```text
//! cargo run --release -p talos --example speed -- BUNDLES [ORACLE]
//! ```
#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use talos::config::{Endpoint, Input, InstallTarget, Role, generate};
use talos::patch::{Draft, check_patch};
use talos::secrets::Bundle;
use talos::validate::{Mode, Rules};
use talos::version::{Contract, Generator};

/// Any error: the program only ever prints it.
type Failure = Box<dyn std::error::Error>;

const GENERATOR: Generator = Generator::V1_13;

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

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let bundles = arguments.next().ok_or("usage: speed BUNDLES [ORACLE]")?;
    let oracle = arguments.next();
    let secrets = std::fs::read_to_string(Path::new(&bundles).join("v1.13.yaml"))?;
    let bundle = Bundle::from_secrets_yaml(&secrets)?;
    let input = input()?;
    let theirs = match oracle {
        Some(oracle) => theirs(&oracle, &bundles)?,
        None => (None, None),
    };
    println!(
        "{:<48} {:>10} {:>10} {:>10}",
        "what", "budget", "measured", "Go"
    );
    let alone = median(|| {
        generate(&input, &bundle)?;
        Ok(())
    })?;
    row("generate alone", 0.05, alone, theirs.0);
    let all = median(|| {
        let bundle = Bundle::from_secrets_yaml(&secrets)?;
        let mut draft = Draft::generate(&input, &bundle)?;
        draft.patch(0, PATCH)?;
        let report = draft.validate(Rules::of(Mode::Metal));
        if !report.errors.is_empty() {
            return Err(format!("{:?}", report.errors).into());
        }
        std::hint::black_box(draft.write());
        Ok(())
    })?;
    row(
        "secrets file to patched, validated bytes",
        0.1,
        all,
        theirs.1,
    );
    let read = median(|| {
        Bundle::from_secrets_yaml(&secrets)?;
        Ok(())
    })?;
    row("of this: reading the secrets file", f64::NAN, read, None);
    let long = long_patch();
    let checked = median(|| Ok(check_patch(GENERATOR, &long)?))?;
    row("checking a patch of 2,000 lines", 5.0, checked, None);
    Ok(())
}

fn input() -> Result<Input, Failure> {
    let contract = Contract::parse("v1.11", GENERATOR)?;
    let endpoint = Endpoint::parse("https://10.0.0.10:6443")?;
    let mut input = Input::new(contract, Role::ControlPlane, "demo", endpoint, "1.34.1");
    input.install.target = Some(InstallTarget::Device("/dev/sda".into()));
    input.install.image = Some("ghcr.io/siderolabs/installer:v1.11.6".into());
    Ok(input)
}

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

/// Milliseconds of one run: the median of as many as fit into a second.
fn median(mut run: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut times = Vec::new();
    let from = Instant::now();
    while from.elapsed() < Duration::from_secs(1) || times.len() < 11 {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2].as_secs_f64() * 1e3)
}

fn row(what: &str, budget: f64, measured: f64, theirs: Option<f64>) {
    let budget = match budget.is_nan() {
        true => String::new(),
        false => format!("≤ {budget} ms"),
    };
    let theirs = theirs.map(|t| format!("{t:.3} ms ({:.1}×)", t / measured));
    let theirs = theirs.unwrap_or_default();
    println!("{what:<48} {budget:>10} {measured:>7.3} ms {theirs:>10}");
}

/// The oracle's own medians: generating alone, and everything.
fn theirs(oracle: &str, bundles: &str) -> Result<(Option<f64>, Option<f64>), Failure> {
    let out = Command::new(oracle)
        .args(["bench", bundles, "1"])
        .output()?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned().into());
    }
    let text = String::from_utf8(out.stdout)?;
    let line = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim().parse::<f64>().ok().map(|ns| ns / 1e6)
    };
    Ok((line("generate "), line("all ")))
}
