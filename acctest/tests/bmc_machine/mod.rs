//! A machine for BMC tests that does what it is told at once.

use std::sync::Mutex;

use acctest::bmc::{BootFlags, Chassis, Control, Power};

/// Starts off; remembers what each start found in the BMC.
pub(crate) struct Obedient(Mutex<State>);

struct State {
    power: Power,
    starts: Vec<BootFlags>,
}

impl Obedient {
    /// Without power, never started.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State {
            power: Power::Off,
            starts: Vec::new(),
        }))
    }

    /// The boot flags of every start.
    pub(crate) fn starts(&self) -> Vec<BootFlags> {
        self.0.lock().unwrap().starts.clone()
    }
}

impl Chassis for Obedient {
    fn power(&self) -> Power {
        self.0.lock().unwrap().power
    }

    fn control(&self, control: Control, boot: BootFlags) {
        let mut state = self.0.lock().unwrap();
        state.power = match control {
            Control::On | Control::Cycle | Control::Reset => {
                state.starts.push(boot);
                Power::On
            }
            Control::Off | Control::Soft => Power::Off,
        };
    }
}
