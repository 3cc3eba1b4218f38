//! What the BMC does with a command, once it is authentic.

use std::collections::BTreeMap;

use super::wire::Request;
use super::{BmcFaults, BootFlags, Control, Power, Privilege, Suite};

/// Completion codes (IPMI v2.0 table 5-2).
mod code {
    pub(super) const OK: u8 = 0x00;
    pub(super) const NO_PARAMETER: u8 = 0x80;
    pub(super) const PRIVILEGE_USER_LIMIT: u8 = 0x80;
    pub(super) const PRIVILEGE_SESSION_LIMIT: u8 = 0x81;
    pub(super) const NO_SUCH_SESSION: u8 = 0x87;
    pub(super) const UNKNOWN_COMMAND: u8 = 0xc1;
    pub(super) const LENGTH: u8 = 0xc7;
    pub(super) const FIELD: u8 = 0xcc;
    pub(super) const PRIVILEGE: u8 = 0xd4;
    pub(super) const STATE: u8 = 0xd5;
}

const CHASSIS: u8 = 0x00;
const APP: u8 = 0x06;

/// What outlives sessions.
pub(super) struct Memory {
    pub(super) flags: BootFlags,
    /// Boot option parameters but the flags.
    options: BTreeMap<u8, Vec<u8>>,
    pub(super) guid: [u8; 16],
    pub(super) suites: Vec<Suite>,
}

/// The session that a command came in.
pub(super) struct Caller {
    pub(super) session: u32,
    /// Present privilege level.
    pub(super) level: u8,
    /// What the session asked for at its start.
    pub(super) asked_max: u8,
    pub(super) user_max: Privilege,
}

/// An answer, and what is to be done besides.
pub(super) struct Done {
    pub(super) completion: u8,
    pub(super) data: Vec<u8>,
    pub(super) effect: Effect,
}

pub(super) enum Effect {
    None,
    Level(u8),
    Close,
    /// Accepted; passed on to the machine.
    Control(Control, BootFlags),
    /// Accepted; the machine is in that state already, or the BMC only pretends.
    NoControl(Control),
}

fn just(completion: u8) -> Done {
    Done {
        completion,
        data: Vec::new(),
        effect: Effect::None,
    }
}

fn data(data: impl Into<Vec<u8>>) -> Done {
    Done {
        completion: code::OK,
        data: data.into(),
        effect: Effect::None,
    }
}

fn effect(effect: Effect) -> Done {
    Done {
        completion: code::OK,
        data: Vec::new(),
        effect,
    }
}

impl Memory {
    pub(super) fn new(uuid: &str, suites: Vec<Suite>) -> Self {
        Self {
            flags: BootFlags::NONE,
            options: BTreeMap::from([(0, vec![0]), (3, vec![0]), (4, vec![0, 0])]),
            guid: guid_bytes(uuid),
            suites,
        }
    }

    /// Commands that need no session; `None` for all others.
    pub(super) fn sessionless(&self, request: &Request<'_>, faults: &BmcFaults) -> Option<Done> {
        match (request.netfn, request.cmd) {
            (APP, 0x37) => Some(data(self.guid)),
            (APP, 0x38) => Some(channel_capabilities(request.data, faults)),
            (APP, 0x54) => Some(self.cipher_suites(request.data)),
            _ => None,
        }
    }

    pub(super) fn in_session(
        &mut self,
        request: &Request<'_>,
        caller: &Caller,
        power: Power,
        faults: &BmcFaults,
    ) -> Done {
        if caller.level < least_privilege(request).code() {
            return just(code::PRIVILEGE);
        }
        match (request.netfn, request.cmd, request.data) {
            (APP, 0x01, []) => data([0x20, 1, 2, 0x10, 2, 0x82, 0, 0, 0, 1, 0, 0, 0, 0, 0]),
            (APP, 0x3b, [level]) => set_privilege(*level, caller),
            (APP, 0x3c, [a, b, c, d]) => {
                if u32::from_le_bytes([*a, *b, *c, *d]) == caller.session {
                    effect(Effect::Close)
                } else {
                    just(code::NO_SUCH_SESSION)
                }
            }
            (CHASSIS, 0x00, []) => data([0, 0x20, 0x20, 0x20, 0x20]),
            (CHASSIS, 0x01, []) => chassis_status(faults.power_lie.unwrap_or(power)),
            (CHASSIS, 0x02, [control]) => self.control(*control, power, faults),
            (CHASSIS, 0x08, [selector, value @ ..]) => self.set_option(*selector, value, faults),
            (CHASSIS, 0x09, [selector, _, _]) => self.option(*selector),
            (APP, 0x01 | 0x3b | 0x3c, _) | (CHASSIS, 0x00 | 0x01 | 0x02 | 0x08 | 0x09, _) => {
                just(code::LENGTH)
            }
            _ => self
                .sessionless(request, faults)
                .unwrap_or_else(|| just(code::UNKNOWN_COMMAND)),
        }
    }

    fn control(&mut self, control: u8, power: Power, faults: &BmcFaults) -> Done {
        let control = match (control, power) {
            (0, _) => Control::Off,
            (1, _) => Control::On,
            (2, Power::On) => Control::Cycle,
            (3, Power::On) => Control::Reset,
            (5, Power::On) => Control::Soft,
            (2 | 3 | 5, Power::Off) => return just(code::STATE),
            _ => return just(code::FIELD),
        };
        let in_vain = matches!(
            (control, power),
            (Control::On, Power::On) | (Control::Off, Power::Off)
        );
        if in_vain || faults.ignore_control {
            return effect(Effect::NoControl(control));
        }
        let boot = match control {
            Control::On | Control::Cycle | Control::Reset => self.use_flags(faults),
            Control::Off | Control::Soft => BootFlags::NONE,
        };
        effect(Effect::Control(control, boot))
    }

    /// What the firmware of a start finds. Flags for one boot are used up.
    pub(super) fn use_flags(&mut self, faults: &BmcFaults) -> BootFlags {
        let flags = self.flags;
        if !flags.is_persistent() {
            self.flags = BootFlags::NONE;
        }
        if flags.is_valid() || faults.keep_device_only {
            flags
        } else {
            BootFlags::NONE
        }
    }

    fn set_option(&mut self, selector: u8, value: &[u8], faults: &BmcFaults) -> Done {
        match (selector & 0x7f, value) {
            // Like OpenIPMI's simulator, which knows no "set in progress".
            (0, [_]) if faults.keep_device_only => return just(code::FIELD),
            (0 | 3, [_]) | (4, [_, _]) => {
                self.options.insert(selector & 0x7f, value.to_vec());
            }
            (5, [first, second, rest @ ..]) if rest.len() == 3 => {
                self.flags = if faults.ignore_boot_device {
                    BootFlags::NONE
                } else if faults.keep_device_only {
                    BootFlags([0, second & 0x3c, 0, 0, 0])
                } else {
                    BootFlags([*first, *second, rest[0], rest[1], rest[2]])
                };
            }
            (0 | 3 | 4 | 5, []) => {} // only the lock bit
            (0 | 3 | 4 | 5, _) => return just(code::LENGTH),
            _ => return just(code::NO_PARAMETER),
        }
        just(code::OK)
    }

    fn option(&self, selector: u8) -> Done {
        let selector = selector & 0x7f;
        let value = match selector {
            5 => Some(&self.flags.0[..]),
            other => self.options.get(&other).map(Vec::as_slice),
        };
        match value {
            Some(value) => data([&[1, selector], value].concat()),
            None => just(code::NO_PARAMETER),
        }
    }

    /// Get Channel Cipher Suites (§22.15): records in pieces of 16 bytes.
    fn cipher_suites(&self, request: &[u8]) -> Done {
        let [_channel, _payload, index] = *request else {
            return just(code::LENGTH);
        };
        let records: Vec<u8> = self
            .suites
            .iter()
            .flat_map(|suite| {
                let (id, [auth, integrity, confidentiality]) = suite.numbers();
                [0xc0, id, auth, 0x40 | integrity, 0x80 | confidentiality]
            })
            .collect();
        let piece = records.chunks(16).nth(usize::from(index & 0x3f));
        data([&[1], piece.unwrap_or_default()].concat())
    }
}

fn least_privilege(request: &Request<'_>) -> Privilege {
    match (request.netfn, request.cmd) {
        (CHASSIS, 0x02 | 0x08 | 0x09) => Privilege::Operator,
        _ => Privilege::User,
    }
}

fn chassis_status(power: Power) -> Done {
    data(match power {
        Power::On => [1, 0, 0, 0],
        Power::Off => [0, 0, 0, 0],
    })
}

fn set_privilege(level: u8, caller: &Caller) -> Done {
    let wanted = match level & 0x0f {
        0 => caller.level,
        level @ 2..=4 => level,
        _ => return just(code::FIELD),
    };
    if wanted > caller.user_max.code() {
        return just(code::PRIVILEGE_USER_LIMIT);
    }
    if wanted > caller.asked_max {
        return just(code::PRIVILEGE_SESSION_LIMIT);
    }
    Done {
        data: vec![wanted],
        ..effect(Effect::Level(wanted))
    }
}

/// Get Channel Authentication Capabilities (§22.13): RMCP+ only, user names needed.
fn channel_capabilities(request: &[u8], faults: &BmcFaults) -> Done {
    match request {
        [_, _] if faults.only_ipmi15 => data([1, 0x04, 0x04, 0, 0, 0, 0, 0]),
        [channel, _] if channel & 0x80 != 0 => data([1, 0x80, 0x04, 0x02, 0, 0, 0, 0]),
        [_, _] => data([1, 0, 0x04, 0, 0, 0, 0, 0]),
        _ => just(code::LENGTH),
    }
}

/// The UUID's bytes, least significant first (§20.8).
fn guid_bytes(uuid: &str) -> [u8; 16] {
    let digits = uuid.replace('-', "");
    match u128::from_str_radix(&digits, 16) {
        Ok(number) if digits.len() == 32 => number.to_le_bytes(),
        _ => [0; 16],
    }
}
