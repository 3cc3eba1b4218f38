//! `/init` of the boot archive: makes a bare kernel into a machine that the agent can run on, runs it, and ends the machine.
//!
//! Without a good command line or a pinned CA it does nothing but power off: it was not started by bootd then.

use std::path::Path;
use std::time::{Duration, Instant};

use metal_agent::linux::{Linux, modules, net, say};
use metal_agent::sys::{self, Ending};
use metal_agent::{BootParameters, Outcome, Platform, VERSION, run};

fn main() {
    if std::process::id() != 1 {
        say("this program is /init of metal's boot archive and does nothing elsewhere");
        std::process::exit(2);
    }
    let outcome = match prepare() {
        Ok(boot) => run(&Linux::default(), &boot),
        Err(why) => {
            say(&format!("{why}; powering off in 10 s"));
            std::thread::sleep(Duration::from_secs(10));
            Outcome::PowerOff
        }
    };
    let ending = match outcome {
        Outcome::PowerOff | Outcome::Cut => Ending::PowerOff,
        Outcome::Reboot => Ending::Restart,
    };
    say(match ending {
        Ending::PowerOff => "powering off",
        Ending::Restart => "restarting",
    });
    if let Err(e) = sys::end(ending) {
        say(&format!("the kernel refuses to end: {e}"));
    }
    // PID 1 must not return: that would be a kernel panic.
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn prepare() -> Result<BootParameters, String> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        sys::mount(kind, target).map_err(|e| format!("{target} cannot be mounted: {e}"))?;
    }
    say(&format!("version {VERSION}"));
    let command_line =
        std::fs::read_to_string("/proc/cmdline").map_err(|e| format!("no command line: {e}"))?;
    let ca = std::fs::read_to_string("/metal/ca.pem")
        .map_err(|e| format!("no pinned CA at /metal/ca.pem: {e}"))?;
    let boot = BootParameters::parse(&command_line, ca, None).map_err(|e| e.to_string())?;
    modules::load_all(Path::new("/modules"));
    if !sys::random_is_ready() {
        // Neither DHCP nor TLS goes on without; a person at the console must see why.
        say(
            "waiting for the kernel's random numbers; a virtual machine needs RDRAND or virtio-rng",
        );
    }
    let _ = net::come_up(&boot.mac);
    settle();
    Ok(boot)
}

/// Drivers find disks a while after they were loaded: waits until the list has been the same for a second and a half.
fn settle() {
    const QUIET: Duration = Duration::from_millis(1500);
    let until = Instant::now() + Duration::from_secs(30);
    let names = || {
        Linux::default()
            .disks()
            .map(|disks| disks.into_iter().map(|d| d.device).collect::<Vec<_>>())
            .unwrap_or_default()
    };
    let mut last = names();
    let mut since = Instant::now();
    while since.elapsed() < QUIET && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
        let now = names();
        if now != last {
            last = now;
            since = Instant::now();
        }
    }
    say(&format!("{} disks", last.len()));
}
