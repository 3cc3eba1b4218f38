//! The machine as its BMC sees it.

/// Whether the machine has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It has none.
    Off,
    /// It runs.
    On,
}

/// What the BMC does to the machine. Only what changes something arrives: no start of a machine that is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Turn it on.
    On,
    /// Cut the power.
    Off,
    /// Cut the power and turn it on again.
    Cycle,
    /// Press reset.
    Reset,
    /// Press the button shortly: the operating system should shut down.
    Soft,
}

/// A machine behind a BMC. Called from the BMC's task: must return at once and must not block.
pub trait Chassis: Send + Sync + 'static {
    /// Whether it really has power now.
    fn power(&self) -> Power;

    /// Carries out `control`. `boot` is what the firmware of a start finds in the BMC ([`BootFlags::NONE`] where nothing starts);
    /// flags for one boot are used up by then.
    fn control(&self, control: Control, boot: BootFlags);
}

/// The five bytes of boot option parameter 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BootFlags(pub [u8; 5]);

impl BootFlags {
    /// No override.
    pub const NONE: Self = Self([0; 5]);

    /// Whether the override counts at all.
    pub const fn is_valid(self) -> bool {
        self.0[0] & 0x80 != 0
    }

    /// Whether it outlives one start.
    pub const fn is_persistent(self) -> bool {
        self.0[0] & 0x40 != 0
    }

    /// Whether it is for EFI.
    pub const fn is_efi(self) -> bool {
        self.0[0] & 0x20 != 0
    }

    /// The device selector: 1 network, 2 disk, 5 CD, 6 setup.
    pub const fn device(self) -> u8 {
        (self.0[1] >> 2) & 0x0f
    }

    /// Whether a start that found these flags should ask the network first.
    pub const fn asks_network(self) -> bool {
        self.device() == 1
    }
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Privilege {
    /// Look.
    User,
    /// Switch power, set the boot device.
    Operator,
    /// All.
    Administrator,
}

impl Privilege {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::User => 2,
            Self::Operator => 3,
            Self::Administrator => 4,
        }
    }
}

/// One who may log in.
#[derive(Debug, Clone)]
pub struct User {
    /// At most 16 bytes.
    pub name: String,
    /// At most 20 bytes.
    pub password: String,
    /// The most that this user may do.
    pub privilege: Privilege,
}

/// Cipher suites that the BMC can offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// SHA-1 and AES.
    Three,
    /// SHA-256 and AES.
    Seventeen,
}
