//! IPMI messages and the commands that bootd sends: LAN framing (IPMI v2.0 §13.8), chassis (§28), application (§20, §22).
//!
//! Promise: parsing never panics; a message whose checksums are wrong is no message. Deliberately not here: sessions and
//! integrity (`rmcp` frames them, `bmc` keeps them), SDR, SEL, FRU and users.

use std::fmt;

/// Slave address of the BMC.
const BMC: u8 = 0x20;
/// Software id of a remote console (§5.5).
const CONSOLE: u8 = 0x81;

const NETFN_CHASSIS: u8 = 0x00;
const NETFN_APP: u8 = 0x06;

/// Bytes that are no message of the kind that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Shorter than the shortest form.
    #[error("shorter than {want} bytes: {got}")]
    Short {
        /// Least length.
        want: usize,
        /// Length seen.
        got: usize,
    },
    /// A two's complement checksum does not fit.
    #[error("a checksum does not fit")]
    Checksum,
    /// Addressed to somebody else, or no response.
    #[error("not a response to this console")]
    NotForUs,
}

/// A request as it travels: who answers is always the BMC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// Network function of the request (even), 6 bits.
    pub netfn: u8,
    /// Command.
    pub cmd: u8,
    /// Requester's sequence number, 6 bits: pairs a response with its request.
    pub rq_seq: u8,
}

/// Frames a request to the BMC.
pub fn emit_request(envelope: Envelope, data: &[u8]) -> Vec<u8> {
    let head = [BMC, envelope.netfn << 2];
    let mut out = vec![head[0], head[1], checksum(&head)];
    out.extend([CONSOLE, (envelope.rq_seq & 0x3f) << 2, envelope.cmd]);
    out.extend(data);
    out.push(checksum(&out[3..]));
    out
}

/// A response, its envelope turned back to the request's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// What it answers.
    pub to: Envelope,
    /// Completion code (§5.2).
    pub completion: u8,
    /// Data after the completion code.
    pub data: Vec<u8>,
}

/// Reads a response to this console.
pub fn parse_response(bytes: &[u8]) -> Result<Response, MessageError> {
    let short = MessageError::Short {
        want: 8,
        got: bytes.len(),
    };
    let (head, rest) = bytes.split_first_chunk::<3>().ok_or(short)?;
    let (fixed, rest) = rest.split_first_chunk::<4>().ok_or(short)?;
    let (_, data) = rest.split_last().ok_or(short)?;
    if sum(head) != 0 || sum(&bytes[3..]) != 0 {
        return Err(MessageError::Checksum);
    }
    let netfn = head[1] >> 2;
    if head[0] != CONSOLE || netfn & 1 == 0 {
        return Err(MessageError::NotForUs);
    }
    Ok(Response {
        to: Envelope {
            netfn: netfn & !1,
            cmd: fixed[2],
            rq_seq: fixed[1] >> 2,
        },
        completion: fixed[3],
        data: data.to_vec(),
    })
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |a, b| a.wrapping_add(*b))
}

/// Two's complement checksum: the sum with it is zero (§13.8).
fn checksum(bytes: &[u8]) -> u8 {
    sum(bytes).wrapping_neg()
}

/// Whether a command may be sent again when its reply did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Twice is the same as once.
    Harmless,
    /// A lost reply may mean "done": look first.
    Never,
}

/// The commands that bootd sends inside a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Get Device ID (§20.1).
    DeviceId,
    /// Get System GUID (§22.14).
    SystemGuid,
    /// Get Chassis Status (§28.2).
    ChassisStatus,
    /// Chassis Control (§28.3).
    ChassisControl(ChassisControl),
    /// Set System Boot Options (§28.12) with this parameter.
    SetBootOption(BootOption),
    /// Get System Boot Options (§28.13), parameter 5.
    BootFlags,
    /// Set Session Privilege Level (§22.18).
    SetPrivilege(Privilege),
    /// Close Session (§22.19) with the BMC's session id.
    CloseSession(u32),
}

impl Command {
    /// Network function and command number.
    pub const fn numbers(self) -> (u8, u8) {
        match self {
            Self::DeviceId => (NETFN_APP, 0x01),
            Self::SystemGuid => (NETFN_APP, 0x37),
            Self::SetPrivilege(_) => (NETFN_APP, 0x3b),
            Self::CloseSession(_) => (NETFN_APP, 0x3c),
            Self::ChassisStatus => (NETFN_CHASSIS, 0x01),
            Self::ChassisControl(_) => (NETFN_CHASSIS, 0x02),
            Self::SetBootOption(_) => (NETFN_CHASSIS, 0x08),
            Self::BootFlags => (NETFN_CHASSIS, 0x09),
        }
    }

    /// Request data.
    pub fn data(self) -> Vec<u8> {
        match self {
            Self::DeviceId | Self::SystemGuid | Self::ChassisStatus => Vec::new(),
            Self::ChassisControl(control) => vec![control.code()],
            Self::SetBootOption(option) => option.data(),
            Self::BootFlags => vec![PARAMETER_BOOT_FLAGS, 0, 0],
            Self::SetPrivilege(privilege) => vec![privilege.code()],
            Self::CloseSession(id) => id.to_le_bytes().to_vec(),
        }
    }

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DeviceId => "Get Device ID",
            Self::SystemGuid => "Get System GUID",
            Self::ChassisStatus => "Get Chassis Status",
            Self::ChassisControl(ChassisControl::Off) => "Chassis Control (power off)",
            Self::ChassisControl(ChassisControl::On) => "Chassis Control (power on)",
            Self::ChassisControl(ChassisControl::Cycle) => "Chassis Control (power cycle)",
            Self::ChassisControl(ChassisControl::Soft) => "Chassis Control (soft off)",
            Self::SetBootOption(BootOption::Progress(_)) => "Set Boot Options (set in progress)",
            Self::SetBootOption(BootOption::ClearMask(_)) => "Set Boot Options (clear mask)",
            Self::SetBootOption(BootOption::Flags(_)) => "Set Boot Options (boot flags)",
            Self::BootFlags => "Get Boot Options (boot flags)",
            Self::SetPrivilege(_) => "Set Session Privilege",
            Self::CloseSession(_) => "Close Session",
        }
    }

    /// Whether a retry may repeat it. Only a cycle is more than a wish for a state.
    pub const fn repeat(self) -> Repeat {
        match self {
            Self::ChassisControl(ChassisControl::Cycle) => Repeat::Never,
            Self::DeviceId
            | Self::SystemGuid
            | Self::ChassisStatus
            | Self::ChassisControl(
                ChassisControl::Off | ChassisControl::On | ChassisControl::Soft,
            )
            | Self::SetBootOption(_)
            | Self::BootFlags
            | Self::SetPrivilege(_)
            | Self::CloseSession(_) => Repeat::Harmless,
        }
    }
}

/// Privilege levels (§6.8) that bootd asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Privilege {
    /// May read.
    User,
    /// May switch power and set the boot device.
    Operator,
    /// May do everything, users included.
    Administrator,
}

impl Privilege {
    /// Its number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::User => 2,
            Self::Operator => 3,
            Self::Administrator => 4,
        }
    }
}

/// What Chassis Control is asked to do (§28.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChassisControl {
    /// Cut the power.
    Off,
    /// Turn it on.
    On,
    /// Cut it, wait at least a second, turn it on.
    Cycle,
    /// Ask the operating system to shut down.
    Soft,
}

impl ChassisControl {
    const fn code(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::On => 1,
            Self::Cycle => 2,
            Self::Soft => 5,
        }
    }
}

/// Whether the machine has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerState {
    /// Soft-off or off.
    Off,
    /// On.
    On,
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::On => "on",
        })
    }
}

/// Reads the answer to Get Chassis Status.
pub fn parse_chassis_status(data: &[u8]) -> Result<PowerState, MessageError> {
    match data {
        [state, _, _, ..] => Ok(if state & 1 == 1 {
            PowerState::On
        } else {
            PowerState::Off
        }),
        [] | [_] | [_, _] => Err(MessageError::Short {
            want: 3,
            got: data.len(),
        }),
    }
}

/// Which kind of firmware a boot override is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// EFI.
    Uefi,
    /// Legacy PC BIOS.
    Bios,
}

/// The boot device selector of parameter 5, data 2, bits 5:2 (table 28-14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootDevice {
    /// 0: the firmware's own order.
    NoOverride,
    /// 1: network.
    Pxe,
    /// 2: default disk.
    Disk,
    /// Anything else, by number.
    Other(u8),
}

impl BootDevice {
    const fn code(self) -> u8 {
        match self {
            Self::NoOverride => 0,
            Self::Pxe => 1,
            Self::Disk => 2,
            Self::Other(code) => code & 0x0f,
        }
    }

    const fn from_code(code: u8) -> Self {
        match code & 0x0f {
            0 => Self::NoOverride,
            1 => Self::Pxe,
            2 => Self::Disk,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for BootDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOverride => f.write_str("none"),
            Self::Pxe => f.write_str("PXE"),
            Self::Disk => f.write_str("disk"),
            Self::Other(5) => f.write_str("CD/DVD"),
            Self::Other(6) => f.write_str("BIOS setup"),
            Self::Other(code) => write!(f, "device {code}"),
        }
    }
}

const PARAMETER_SET_IN_PROGRESS: u8 = 0;
const PARAMETER_CLEAR_MASK: u8 = 3;
const PARAMETER_BOOT_FLAGS: u8 = 5;

/// The five bytes of boot option parameter 5 (table 28-14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BootFlags(pub [u8; 5]);

impl BootFlags {
    const VALID: u8 = 0x80;
    const EFI: u8 = 0x20;

    /// The next start only, from this device.
    pub const fn once(device: BootDevice, firmware: Firmware) -> Self {
        let efi = match firmware {
            Firmware::Uefi => Self::EFI,
            Firmware::Bios => 0,
        };
        Self([Self::VALID | efi, device.code() << 2, 0, 0, 0])
    }

    /// The device selector.
    pub const fn device(self) -> BootDevice {
        BootDevice::from_code(self.0[1] >> 2)
    }

    /// For which kind of firmware.
    pub const fn firmware(self) -> Firmware {
        if self.0[0] & Self::EFI == 0 {
            Firmware::Bios
        } else {
            Firmware::Uefi
        }
    }

    /// True if the BMC says that the flags are valid.
    pub const fn is_valid(self) -> bool {
        self.0[0] & Self::VALID != 0
    }
}

/// What of the boot options is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootOption {
    /// Parameter 0; many BMCs do not know it.
    Progress(SetProgress),
    /// Parameter 3: reasons for which the BMC must *not* clear the flags by itself.
    ClearMask(ClearMask),
    /// Parameter 5.
    Flags(BootFlags),
}

/// Values of parameter 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetProgress {
    /// 0: done.
    Complete,
    /// 1: a change begins.
    InProgress,
}

/// Values of parameter 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClearMask {
    /// Keep the flags although no Chassis Control came within 60 s.
    KeepOverTimeout,
}

impl BootOption {
    fn data(self) -> Vec<u8> {
        match self {
            Self::Progress(SetProgress::Complete) => vec![PARAMETER_SET_IN_PROGRESS, 0],
            Self::Progress(SetProgress::InProgress) => vec![PARAMETER_SET_IN_PROGRESS, 1],
            Self::ClearMask(ClearMask::KeepOverTimeout) => vec![PARAMETER_CLEAR_MASK, 0x08],
            Self::Flags(flags) => {
                let mut data = vec![PARAMETER_BOOT_FLAGS];
                data.extend(flags.0);
                data
            }
        }
    }
}

/// Reads the answer to Get Boot Options, parameter 5: version, parameter, five bytes.
pub fn parse_boot_flags(data: &[u8]) -> Result<BootFlags, MessageError> {
    let short = MessageError::Short {
        want: 7,
        got: data.len(),
    };
    let ([_version, parameter], rest) = data.split_first_chunk::<2>().ok_or(short)?;
    let flags = rest.first_chunk::<5>().ok_or(short)?;
    if parameter & 0x7f == PARAMETER_BOOT_FLAGS {
        Ok(BootFlags(*flags))
    } else {
        Err(MessageError::NotForUs)
    }
}

/// A system's id as its BMC reports it. The specification sends the least significant byte first (§20.8); many BMCs send the
/// SMBIOS or the text order instead, so a comparison has to try all three.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SystemGuid(pub [u8; 16]);

impl SystemGuid {
    /// Reads the answer to Get System GUID.
    pub fn parse(data: &[u8]) -> Result<Self, MessageError> {
        data.first_chunk()
            .map(|b| Self(*b))
            .ok_or(MessageError::Short {
                want: 16,
                got: data.len(),
            })
    }

    /// UUID text if the BMC follows the specification: lower case with hyphens.
    pub fn in_spec_order(self) -> String {
        let mut bytes = self.0;
        bytes.reverse();
        hyphenated(bytes)
    }

    /// UUID text if the BMC sends the SMBIOS table's bytes (first three fields little-endian).
    pub fn in_smbios_order(self) -> String {
        let mut bytes = self.0;
        bytes[0..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        hyphenated(bytes)
    }

    /// UUID text if the BMC sends the bytes as they are written.
    pub fn in_text_order(self) -> String {
        hyphenated(self.0)
    }

    /// True if `uuid` (any case, with hyphens) is this id in one of the three orders.
    pub fn matches(self, uuid: &str) -> bool {
        let uuid = uuid.to_ascii_lowercase();
        [
            self.in_spec_order(),
            self.in_smbios_order(),
            self.in_text_order(),
        ]
        .contains(&uuid)
    }
}

impl fmt::Debug for SystemGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SystemGuid({})", self.in_spec_order())
    }
}

fn hyphenated(bytes: [u8; 16]) -> String {
    use fmt::Write as _;

    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    text
}

/// Answer to Get Device ID (§20.1); some BMCs leave the last four bytes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceId {
    /// Device id and revision.
    pub device: u8,
    /// Firmware, major and minor (the minor is BCD).
    pub firmware: (u8, u8),
    /// IPMI version, major and minor.
    pub ipmi: (u8, u8),
    /// IANA enterprise number of the maker.
    pub manufacturer: u32,
    /// The maker's product number.
    pub product: u16,
}

impl DeviceId {
    /// Reads the 11-byte and the 15-byte form.
    pub fn parse(data: &[u8]) -> Result<Self, MessageError> {
        let fixed = data.first_chunk::<11>().ok_or(MessageError::Short {
            want: 11,
            got: data.len(),
        })?;
        Ok(Self {
            device: fixed[0],
            firmware: (fixed[2] & 0x7f, fixed[3]),
            ipmi: (fixed[4] & 0x0f, fixed[4] >> 4),
            manufacturer: u32::from_le_bytes([fixed[6], fixed[7], fixed[8] & 0x0f, 0]),
            product: u16::from_le_bytes([fixed[9], fixed[10]]),
        })
    }
}

/// What Get Channel Authentication Capabilities (§22.13) says. It is not authenticated: a hint for error texts only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelHint {
    /// IPMI v2.0 sessions are offered.
    Offers20,
    /// They are not.
    Only15,
}

/// The sessionless question that [`ChannelHint`] answers: this channel, extended data, OPERATOR.
pub fn emit_channel_question(rq_seq: u8) -> Vec<u8> {
    emit_request(
        Envelope {
            netfn: NETFN_APP,
            cmd: 0x38,
            rq_seq,
        },
        &[0x8e, Privilege::Operator.code()],
    )
}

/// Reads its answer.
pub fn parse_channel_hint(response: &Response) -> Result<ChannelHint, MessageError> {
    if (response.to.netfn, response.to.cmd) != (NETFN_APP, 0x38) {
        return Err(MessageError::NotForUs);
    }
    let [_channel, types, _status, extended] =
        *response
            .data
            .first_chunk::<4>()
            .ok_or(MessageError::Short {
                want: 4,
                got: response.data.len(),
            })?;
    Ok(if types & 0x80 != 0 && extended & 0x02 != 0 {
        ChannelHint::Offers20
    } else {
        ChannelHint::Only15
    })
}

/// Completion codes in words (table 5-2); codes from 0x80 on belong to the command.
pub const fn completion_text(command: Command, code: u8) -> &'static str {
    match (command, code) {
        (_, 0x00) => "done",
        (Command::SetPrivilege(_), 0x80) => "the user does not have this privilege",
        (Command::SetPrivilege(_), 0x81) => "the channel or user limit forbids this privilege",
        (Command::SetBootOption(_) | Command::BootFlags, 0x80) => "parameter not supported",
        (Command::SetBootOption(_), 0x81) => "another change is in progress",
        (Command::SetBootOption(_), 0x82) => "the parameter is read-only",
        (_, 0xc0) => "the BMC is busy",
        (_, 0xc1) => "the BMC does not know this command",
        (_, 0xc2) => "invalid for this logical unit",
        (_, 0xc3) => "time-out inside the BMC",
        (_, 0xc4) => "the BMC is out of space",
        (_, 0xc7) => "wrong request length",
        (_, 0xc9) => "a parameter is out of range",
        (_, 0xcb) => "the sensor or record is not there",
        (_, 0xcc) => "a field of the request is invalid",
        (_, 0xce) => "no answer could be given",
        (_, 0xd2) => "the firmware of the BMC is being updated",
        (_, 0xd3) => "the destination is not available",
        (_, 0xd4) => "insufficient privilege",
        (_, 0xd5) => "not possible in the present state",
        (_, 0xd6) => "disabled in the BMC",
        (_, 0xff) => "unspecified error",
        (_, 0x01..=0xfe) => "a code of this maker",
    }
}

#[cfg(test)]
pub(crate) mod tests;
