//! Everything that can be made wrong with a machine, by name.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// A fault. [`Fault::ALL`] has the words for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The network card asks nobody.
    NoDhcp,
    /// A download stops for ever.
    TftpStall,
    /// A download stops for ever.
    HttpStall,
    /// Shows another token than it was given.
    WrongToken,
    /// The BMC refuses every login.
    BmcRefusesLogin,
    /// The BMC says nothing.
    BmcSilent,
    /// The BMC says "on" whatever is true.
    BmcLiesOn,
    /// The BMC accepts power commands and does nothing.
    BmcIgnoresPower,
    /// The BMC keeps only the device of its boot flags.
    BmcKeepsDeviceOnly,
    /// The BMC's answers come so many milliseconds later.
    BmcSlow,
    /// The firmware boots as it likes.
    IgnoresBootOverride,
    /// The SMBIOS UUID is that of the rack's first server.
    DuplicateUuid,
    /// Every Nth DHCP or TFTP packet is lost.
    Drop,
    /// Every Nth DHCP or TFTP packet arrives twice.
    Duplicate,
    /// Writes fail.
    DiskWriteError,
    /// Reads fail.
    DiskUnreadable,
    /// A discard reports success and changes nothing.
    LyingDiscard,
    /// Every access to a disk takes so many milliseconds longer.
    SlowDisk,
    /// Talos's installer never ends.
    NeverInstalls,
}

/// Whether a fault takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Number,
}

impl Fault {
    /// Every fault: name, and what it does.
    pub const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (
            Self::NoDhcp,
            "no-dhcp",
            "the machine never asks for an address",
        ),
        (
            Self::TftpStall,
            "tftp-stall",
            "the machine stops in the middle of a TFTP transfer",
        ),
        (
            Self::HttpStall,
            "http-stall",
            "the machine stops in the middle of an HTTP download",
        ),
        (
            Self::WrongToken,
            "wrong-token",
            "the machine asks with another boot token than it was given",
        ),
        (
            Self::BmcRefusesLogin,
            "bmc-refuses-login",
            "the BMC refuses every login",
        ),
        (
            Self::BmcSilent,
            "bmc-silent",
            "the BMC does not answer at all",
        ),
        (
            Self::BmcLiesOn,
            "bmc-lies-on",
            "the BMC reports power on whatever is true",
        ),
        (
            Self::BmcIgnoresPower,
            "bmc-ignores-power",
            "the BMC accepts power commands and does nothing",
        ),
        (
            Self::BmcKeepsDeviceOnly,
            "bmc-keeps-device-only",
            "the BMC forgets the flags beside the boot device",
        ),
        (
            Self::BmcSlow,
            "bmc-slow",
            "=MS: the BMC answers so much later",
        ),
        (
            Self::IgnoresBootOverride,
            "ignores-boot-override",
            "the firmware ignores the BMC's boot device",
        ),
        (
            Self::DuplicateUuid,
            "duplicate-uuid",
            "the machine has the SMBIOS UUID of the rack's first server",
        ),
        (
            Self::Drop,
            "drop",
            "=N: every Nth DHCP or TFTP packet of the machine is lost",
        ),
        (
            Self::Duplicate,
            "duplicate",
            "=N: every Nth DHCP or TFTP packet of the machine is sent twice",
        ),
        (
            Self::DiskWriteError,
            "disk-write-error",
            "writes to the machine's disks fail",
        ),
        (
            Self::DiskUnreadable,
            "disk-unreadable",
            "the machine's disks cannot be read",
        ),
        (
            Self::LyingDiscard,
            "lying-discard",
            "a discard reports success and changes nothing",
        ),
        (
            Self::SlowDisk,
            "slow-disk",
            "=MS: every access to a disk takes so much longer",
        ),
        (
            Self::NeverInstalls,
            "never-installs",
            "Talos's installer never ends",
        ),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(fault, ..)| *fault == self)
            .map_or("", |(_, name, _)| name)
    }

    fn takes(self) -> Takes {
        if matches!(
            self,
            Self::Drop | Self::Duplicate | Self::SlowDisk | Self::BmcSlow
        ) {
            Takes::Number
        } else {
            Takes::Nothing
        }
    }
}

/// What `rack fault` was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Make it wrong. The number is 1 where the fault takes none.
    Set(Fault, u64),
    /// All is well again.
    Clear,
}

/// Reads `KIND`, `KIND=N` or `clear`.
///
/// # Errors
/// For a person, with the next step.
pub fn parse(text: &str) -> Result<Order, String> {
    if text == "clear" {
        return Ok(Order::Clear);
    }
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let Some((fault, ..)) = Fault::ALL.iter().find(|(_, known, _)| *known == name) else {
        return Err(format!(
            "there is no fault {name:?}; `rack fault --list` prints them"
        ));
    };
    match (fault.takes(), value) {
        (Takes::Nothing, None) => Ok(Order::Set(*fault, 1)),
        (Takes::Nothing, Some(_)) => Err(format!("the fault {name} takes no value")),
        (Takes::Number, value) => match value.and_then(|v| v.parse().ok()) {
            Some(number) if number > 0 => Ok(Order::Set(*fault, number)),
            _ => Err(format!("the fault {name} needs a number: {name}=2")),
        },
    }
}

/// The faults of one machine now.
#[derive(Debug, Default)]
pub struct Faults(Mutex<BTreeMap<Fault, u64>>);

impl Faults {
    /// Carries out an order.
    pub fn apply(&self, order: Order) {
        let mut faults = self.lock();
        match order {
            Order::Set(fault, value) => {
                faults.insert(fault, value);
            }
            Order::Clear => faults.clear(),
        }
    }

    /// Whether `fault` is set.
    pub fn has(&self, fault: Fault) -> bool {
        self.lock().contains_key(&fault)
    }

    /// The number of a fault that takes one.
    pub fn number(&self, fault: Fault) -> Option<u64> {
        self.lock().get(&fault).copied()
    }

    /// A fault that takes milliseconds, as a duration; zero if it is not set.
    pub fn delay(&self, fault: Fault) -> Duration {
        Duration::from_millis(self.number(fault).unwrap_or(0))
    }

    /// As `rack status` shows them.
    pub fn list(&self) -> Vec<String> {
        self.lock()
            .iter()
            .map(|(fault, value)| match fault.takes() {
                Takes::Nothing => fault.name().to_owned(),
                Takes::Number => format!("{}={value}", fault.name()),
            })
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Fault, u64>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(parse("no-dhcp"), Ok(Order::Set(Fault::NoDhcp, 1)));
        assert_eq!(parse("drop=3"), Ok(Order::Set(Fault::Drop, 3)));
        assert_eq!(parse("clear"), Ok(Order::Clear));
        for bad in ["drop", "drop=0", "drop=x", "no-dhcp=1", "gremlins"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let faults = Faults::default();
        faults.apply(Order::Set(Fault::Drop, 3));
        faults.apply(Order::Set(Fault::NoDhcp, 1));
        assert_eq!(faults.list(), ["no-dhcp", "drop=3"]);
        faults.apply(Order::Clear);
        assert!(faults.list().is_empty());
    }
}
