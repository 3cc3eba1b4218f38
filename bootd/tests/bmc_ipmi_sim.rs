//! bootd's BMC driver against OpenIPMI's `ipmi_sim`, a BMC that is not ours: suite 3 only, keeps the boot device only.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bootd::bmc::{
    BmcError, BootDevice, CipherZero, Firmware, Fleet, Kept, PowerOutcome, PowerState, Privilege,
    Refusal, Secret, Settings, Suite, Target,
};
use tempfile::TempDir;
use tokio::process::{Child, Command};

const PASSWORD: &str = "s3cret-16-bytes!";
const GUID: &str = "a1234567-89ab-cdef-a123-456789ab3f70";

/// The hook that `ipmi_sim` calls for power and boot device. It keeps both in files and logs what was set.
const HOOK: &str = r#"#!/bin/sh
dir=$1
verb=$2
shift 2
if [ "$verb" = get ]; then
    for what in "$@"; do
        case $what in
            power) echo "power:$(cat "$dir/power")" ;;
            boot) echo "boot:$(cat "$dir/boot")" ;;
            *) exit 1 ;;
        esac
    done
elif [ "$verb" = set ]; then
    while [ $# -gt 1 ]; do
        echo "$1 $2" >> "$dir/log"
        case $1 in
            power | boot) echo "$2" > "$dir/$1" ;;
        esac
        shift 2
    done
else
    exit 1
fi
"#;

struct Sim {
    dir: TempDir,
    port: u16,
    fleet: Fleet,
    // Killed when dropped.
    _child: Child,
}

impl Sim {
    async fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let port = UdpSocket::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .unwrap()
            .port();
        write_config(dir.path(), port);
        let output = fs::File::create(dir.path().join("output")).unwrap();
        // -n: no console; with one, it exits as soon as its standard input is closed.
        let child = Command::new("ipmi_sim")
            .args(["-c", "lan.conf", "-f", "sim.emu", "-s", "state", "-n"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .kill_on_drop(true)
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) => {
                eprintln!(
                    "SKIPPED: ipmi_sim cannot be started: {error} (Debian package: openipmi)"
                );
                return None;
            }
        };
        let sim = Self {
            dir,
            port,
            fleet: Fleet::new(Settings::default()),
            _child: child,
        };
        sim.wait().await;
        Some(sim)
    }

    /// Until it listens; before that the port is closed, which the driver reports at once.
    async fn wait(&self) {
        let listening = async {
            while let Err(error) = self.fleet.power(&self.target("admin", PASSWORD)).await {
                assert!(matches!(error, BmcError::Unreachable { .. }), "{error}");
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), listening)
            .await
            .expect("ipmi_sim listens within 20 s");
    }

    fn target(&self, username: &str, password: &str) -> Target {
        Target {
            address: "127.0.0.1".to_owned(),
            port: self.port,
            username: username.to_owned(),
            password: Secret::new(password.to_owned()),
        }
    }

    /// What the hook was told to set since the last call.
    fn settings_seen(&self) -> Vec<String> {
        let path = self.dir.path().join("log");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        text.lines().map(str::to_owned).collect()
    }
}

fn write_config(dir: &Path, port: u16) {
    let file = |name: &str, text: &str| -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    fs::create_dir(dir.join("state")).unwrap();
    file("power", "0\n");
    file("boot", "none\n");
    let hook = file("hook.sh", HOOK);
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    file(
        "sim.emu",
        "mc_setbmc 0x20\n\
         mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n\
         mc_enable 0x20\n",
    );
    let (guid, hook, dir) = (GUID.replace('-', ""), hook.display(), dir.display());
    file(
        "lan.conf",
        &format!(
            "name \"sim\"\n\
             set_working_mc 0x20\n\
             startlan 1\n\
             addr 127.0.0.1 {port}\n\
             priv_limit admin\n\
             allowed_auths_admin md5\n\
             guid {guid}\n\
             endlan\n\
             chassis_control \"{hook} {dir}\"\n\
             user 1 false \"\" \"\" user 10 md5\n\
             user 2 true \"admin\" \"{PASSWORD}\" admin 10 md5\n\
             user 3 true \"viewer\" \"viewpass\" user 10 md5\n"
        ),
    );
}

#[tokio::test]
async fn the_driver_controls_a_foreign_bmc() {
    let Some(sim) = Sim::start().await else {
        return;
    };
    let (fleet, target) = (&sim.fleet, sim.target("admin", PASSWORD));
    assert_eq!(
        fleet.known_suite(&target),
        Some(Suite::Three),
        "it refuses 17, and 3 is tried by itself"
    );
    assert_eq!(fleet.power(&target).await.unwrap(), PowerState::Off);
    sim.settings_seen();

    let boot = fleet.boot_pxe_once(&target, Firmware::Uefi).await.unwrap();
    assert_eq!(
        (boot.device, boot.efi),
        (BootDevice::Pxe, Kept::No),
        "{:?}",
        boot.raw
    );
    assert_eq!(sim.settings_seen(), ["boot pxe"]);

    let on = fleet.power_on(&target).await.unwrap();
    assert_eq!(on, PowerOutcome::Changed);
    assert_eq!(
        fleet.power_on(&target).await.unwrap(),
        PowerOutcome::Already
    );
    assert_eq!(sim.settings_seen(), ["power 1"], "commanded once");

    let off = fleet.power_off(&target).await.unwrap();
    assert_eq!(off, PowerOutcome::Changed);
    assert_eq!(sim.settings_seen(), ["power 0"]);
    fleet.boot_disk_once(&target, Firmware::Bios).await.unwrap();
    assert_eq!(sim.settings_seen(), ["boot default"]);

    let guid = fleet.system_guid(&target).await.unwrap();
    assert!(guid.matches(GUID), "{guid:?}");
    let device = fleet.device_id(&target).await.unwrap();
    assert_eq!((device.device, device.product), (0, 0xf02));
    // Its suite 0 is open: any password, or none, is right there.
    let zero = fleet.probe_cipher_zero(&target).await.unwrap();
    assert_eq!(zero, CipherZero::Open);
    fleet.close().await;
}

#[tokio::test]
async fn refusals_of_a_foreign_bmc() {
    let Some(sim) = Sim::start().await else {
        return;
    };
    let check = async |user: &str, password: &str, why: Refusal| {
        let outcome = sim.fleet.power_on(&sim.target(user, password)).await;
        assert!(
            matches!(outcome, Err(BmcError::Refused { why: seen, .. }) if seen == why),
            "{user}: {outcome:?}"
        );
    };
    check("admin", "not this one", Refusal::WrongPassword).await;
    check("nobody", PASSWORD, Refusal::UnknownUser).await;

    // ipmi_sim opens sessions above a user's own limit, so only the session's level is left to refuse something.
    let viewers = Fleet::new(Settings {
        privilege: Privilege::User,
        ..Settings::default()
    });
    let viewer = sim.target("viewer", "viewpass");
    assert_eq!(viewers.power(&viewer).await.unwrap(), PowerState::Off);
    let error = viewers.power_on(&viewer).await.unwrap_err();
    assert!(
        matches!(error, BmcError::Completion { code: 0xd4, .. }),
        "{error:?}"
    );
    assert_eq!(sim.settings_seen(), Vec::<String>::new());
    viewers.close().await;
}
