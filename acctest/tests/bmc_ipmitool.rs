//! `ipmitool` and FreeIPMI (foreign peers) control the simulated BMC with cipher suites 17 and 3.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bmc_machine;

use std::process::{Output, Stdio};
use std::sync::Arc;

use acctest::bmc::{Bmc, BmcConfig, BmcFaults, BootFlags, Control, Privilege, Suite, User, serve};
use bmc_machine::Obedient;
use tokio::process::Command;

const PASSWORD: &str = "s3cret-16-bytes!";

struct Bench {
    bmc: Bmc,
    machine: Arc<Obedient>,
    suite: &'static str,
}

impl Bench {
    /// A BMC with one suite only, so that `ipmitool -C` cannot mean another one.
    async fn start(suite: Suite) -> Option<Self> {
        if Command::new("ipmitool")
            .arg("-V")
            .stdout(Stdio::null())
            .status()
            .await
            .is_err()
        {
            eprintln!("SKIPPED: ipmitool is not installed (Debian package: ipmitool)");
            return None;
        }
        let machine = Arc::new(Obedient::new());
        let mut config = BmcConfig::new("admin", PASSWORD);
        config.suites = vec![suite];
        config.uuid = "00010203-0405-0607-0809-0a0b0c0d0e0f".to_owned();
        config.users.push(User {
            name: "viewer".to_owned(),
            password: "viewpass".to_owned(),
            privilege: Privilege::User,
        });
        let bmc = serve(config, machine.clone()).await.unwrap();
        let suite = match suite {
            Suite::Three => "3",
            Suite::Seventeen => "17",
        };
        Some(Self {
            bmc,
            machine,
            suite,
        })
    }

    async fn raw(&self, user: &str, password: &str, words: &str) -> Output {
        Command::new("ipmitool")
            .args([
                "-I",
                "lanplus",
                "-H",
                "127.0.0.1",
                "-E",
                "-N",
                "1",
                "-R",
                "2",
            ])
            .args(["-C", self.suite, "-U", user])
            .args(["-p", &self.bmc.address().port().to_string()])
            .args(words.split(' '))
            .env("IPMI_PASSWORD", password)
            .output()
            .await
            .unwrap()
    }

    /// Runs as administrator, expects success, returns its standard output.
    async fn run(&self, words: &str) -> String {
        let output = self.raw("admin", PASSWORD, words).await;
        assert!(output.status.success(), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

async fn check_story(suite: Suite) {
    let Some(bench) = Bench::start(suite).await else {
        return;
    };
    let status = bench.run("chassis status").await;
    assert!(status.contains("System Power         : off"), "{status}");

    let pxe = bench.run("chassis bootdev pxe options=efiboot").await;
    assert!(pxe.contains("Set Boot Device to pxe"), "{pxe}");
    assert_eq!(bench.bmc.boot_flags(), BootFlags([0xa0, 4, 0, 0, 0]));
    let read = bench.run("chassis bootparam get 5").await;
    assert!(read.contains("Boot parameter data: a004000000"), "{read}");
    assert!(read.contains("BIOS EFI boot"), "{read}");

    bench.run("chassis power on").await;
    assert_eq!(
        bench.run("chassis power status").await.trim(),
        "Chassis Power is on"
    );
    assert_eq!(bench.machine.starts(), [BootFlags([0xa0, 4, 0, 0, 0])]);
    assert_eq!(bench.bmc.boot_flags(), BootFlags::NONE, "once means once");

    bench.run("chassis power cycle").await;
    bench.run("chassis power off").await;
    assert_eq!(
        bench.bmc.controls(),
        [Control::On, Control::Cycle, Control::Off]
    );
    assert_eq!(bench.machine.starts().len(), 2);

    let info = bench.run("mc info").await;
    assert!(info.contains("IPMI Version              : 2.0"), "{info}");
    let guid = bench.run("mc guid ipmi").await;
    assert!(
        guid.contains("00010203-0405-0607-0809-0a0b0c0d0e0f"),
        "{guid}"
    );
    assert_eq!(bench.bmc.open_sessions(), 0, "ipmitool closes its sessions");
}

#[tokio::test]
async fn ipmitool_controls_it_with_suite_17() {
    check_story(Suite::Seventeen).await;
}

#[tokio::test]
async fn ipmitool_controls_it_with_suite_3() {
    check_story(Suite::Three).await;
}

/// FreeIPMI shares no code with ipmitool.
#[tokio::test]
async fn freeipmi_controls_it_with_both_suites() {
    for (suite, number) in [(Suite::Seventeen, "17"), (Suite::Three, "3")] {
        let machine = Arc::new(Obedient::new());
        let mut config = BmcConfig::new("admin", PASSWORD);
        config.suites = vec![suite];
        let bmc = serve(config, machine.clone()).await.unwrap();
        let host = bmc.address().to_string();
        for (verb, answer) in [("--stat", "off"), ("--on", "ok"), ("--stat", "on")] {
            let output = Command::new("ipmipower")
                .args(["-D", "LAN_2_0", "-I", number, "-h", &host])
                .args(["-u", "admin", "-p", PASSWORD, verb])
                .output()
                .await;
            let Ok(output) = output else {
                eprintln!("SKIPPED: ipmipower is not installed (Debian package: freeipmi-tools)");
                return;
            };
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let ip = bmc.address().ip();
            assert_eq!(text.trim(), format!("{ip}: {answer}"), "{output:?}");
        }
        assert_eq!(machine.starts(), [BootFlags::NONE]);
    }
}

#[tokio::test]
async fn refusals_are_those_of_a_real_bmc() {
    let Some(bench) = Bench::start(Suite::Seventeen).await else {
        return;
    };
    let wrong = bench.raw("admin", "not the password", "mc info").await;
    assert!(!wrong.status.success(), "{wrong:?}");
    assert_eq!(bench.bmc.counters().logins, 0);

    let off = bench.raw("admin", PASSWORD, "chassis power cycle").await;
    let text = String::from_utf8_lossy(&off.stderr).into_owned();
    assert!(!off.status.success(), "{text}");
    assert!(
        text.contains("Command not supported in present state"),
        "{text}"
    );

    let forbidden = bench
        .raw("viewer", "viewpass", "-L USER chassis power on")
        .await;
    let text = String::from_utf8_lossy(&forbidden.stderr).into_owned();
    assert!(text.contains("Insufficient privilege level"), "{text}");
    assert_eq!(bench.bmc.controls(), []);

    let unknown = bench.raw("admin", PASSWORD, "sel info").await;
    let text = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(text.contains("Invalid command"), "{text}");
}

#[tokio::test]
async fn a_suite_that_is_not_offered_is_refused() {
    let Some(mut bench) = Bench::start(Suite::Three).await else {
        return;
    };
    for suite in ["17", "0", "1"] {
        bench.suite = suite;
        let refused = bench.raw("admin", PASSWORD, "mc info").await;
        assert!(!refused.status.success(), "suite {suite}: {refused:?}");
    }
    assert_eq!(bench.bmc.counters().logins, 0);
}

#[tokio::test]
async fn a_bmc_that_keeps_the_device_only() {
    let Some(bench) = Bench::start(Suite::Seventeen).await else {
        return;
    };
    bench.bmc.set_faults(BmcFaults {
        keep_device_only: true,
        ..BmcFaults::default()
    });
    bench.run("chassis bootdev pxe options=efiboot").await;
    assert_eq!(bench.bmc.boot_flags(), BootFlags([0, 4, 0, 0, 0]));
    bench.run("chassis power on").await;
    assert!(bench.machine.starts()[0].asks_network());
}
