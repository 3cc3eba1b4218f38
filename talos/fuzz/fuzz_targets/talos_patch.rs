//! Any text as a patch, on a config of one document and of several; what comes out is a config again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use talos::config::MachineConfig;
use talos::patch::apply;
use talos::validate::{Mode, validate};
use talos::version::Generator;

const SINGLE: &str = "machine:\n    type: worker\n    sysctls:\n        x: y\ncluster: {}\n";
const SEVERAL: &str = include_str!("../../tests/data/goldens/gen-1.13-controlplane.out");

fuzz_target!(|text: &str| {
    for generator in Generator::ALL {
        for base in [SINGLE, SEVERAL] {
            if let Ok(patched) = apply(generator, &MachineConfig::new(base), &[text]) {
                let _ = validate(generator, &patched, Mode::Metal);
            }
        }
    }
});
