//! A bootd that goes away for some seconds in the middle of an apply is waited for.

use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::fake::Install;
use crate::rig::Rig;
use crate::{HEAD, NODE};

/// Long enough that several tries are refused.
const AWAY: Duration = Duration::from_secs(3);

#[test]
fn an_apply_outlives_a_bootd_that_restarts() {
    let Some(mut rig) = Rig::new(&format!("{HEAD}{NODE}")) else {
        return;
    };
    rig.bootd.world(|w| w.install = Install::Stalls);
    let mut apply = rig
        .command(&["apply", "-auto-approve", "-input=false"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(120);
    // First while something is stated (the server comes before everything else), then while a node is waited for.
    for until in ["put server b1", "put node lab/a"] {
        while !rig.bootd.world(|w| w.calls.iter().any(|c| c == until)) {
            assert!(
                Instant::now() < patience && apply.try_wait().unwrap().is_none(),
                "{until} never came"
            );
            std::thread::yield_now();
        }
        rig.bootd.down();
        let back = Instant::now() + AWAY;
        while Instant::now() < back {
            assert!(apply.try_wait().unwrap().is_none(), "it gave up");
            std::thread::park_timeout(Duration::from_millis(50));
        }
        rig.bootd.world(|w| {
            if until == "put node lab/a" {
                w.install = Install::Works;
            }
        });
        rig.bootd.up();
    }
    let status = apply.wait().unwrap();
    let mut text = String::new();
    for mut pipe in [
        Box::new(apply.stdout.take().unwrap()) as Box<dyn std::io::Read>,
        Box::new(apply.stderr.take().unwrap()),
    ] {
        pipe.read_to_string(&mut text).unwrap();
    }
    assert_eq!(status.code(), Some(0), "{text}");
    rig.assert_plan_is_empty();
    let claims = rig.bootd.world(|w| w.claims.len());
    assert_eq!(claims, 1);
}
