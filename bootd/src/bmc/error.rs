//! Why a BMC did not do what it was asked: one type, words for the person who reads the error at night.
//!
//! Promise: no variant can hold a password, and `Display` never repeats its source.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bootd_core::bmc::Suite;
use bootd_core::wire::ipmi::{BootDevice, PowerState};

/// A verb of [`super::Fleet`] failed. `bmc` is `address:port` everywhere.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BmcError {
    /// The BMC answered and did not let this user in.
    #[error("BMC {bmc} refused the login of user {user:?}: {why}")]
    Refused {
        /// Where.
        bmc: String,
        /// Who.
        user: String,
        /// What was wrong.
        why: Refusal,
    },
    /// No answer, or none any more.
    #[error("BMC {bmc} did not answer {asked} within {waited:?}; {last_answer}")]
    Silent {
        /// Where.
        bmc: String,
        /// The message that stayed without an answer.
        asked: &'static str,
        /// How long we waited, retries included.
        waited: Duration,
        /// The newest thing that it did answer.
        last_answer: LastAnswer,
    },
    /// The BMC offers none of the cipher suites that we speak to it.
    #[error(
        "BMC {bmc} does not offer cipher suite {}; bootd speaks 17 and 3 only, and never goes back to 3 once 17 has worked",
        suites(tried)
    )]
    SuiteNotOffered {
        /// Where.
        bmc: String,
        /// What was tried, in order.
        tried: Vec<Suite>,
    },
    /// Open Session stays without an answer, and the channel says that it has no IPMI v2.0 sessions. The hint is not authenticated.
    #[error(
        "BMC {bmc} does not answer Open Session and says that it offers IPMI 1.5 sessions only, which bootd never speaks"
    )]
    NoIpmi20 {
        /// Where.
        bmc: String,
    },
    /// A command was refused with a completion code.
    #[error("BMC {bmc} refused {command}: {what} (completion code {code:#04x})")]
    Completion {
        /// Where.
        bmc: String,
        /// Which command.
        command: &'static str,
        /// IPMI v2.0 table 5-2, or the command's own codes from 0x80 on.
        code: u8,
        /// The code in words.
        what: &'static str,
    },
    /// Nothing can be sent there: no such name, no route, or nobody listens on the port.
    #[error("BMC {bmc} cannot be reached")]
    Unreachable {
        /// Where.
        bmc: String,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The BMC answers, but not as the specification says.
    #[error("BMC {bmc} answered {asked} wrongly: {what}")]
    Protocol {
        /// Where.
        bmc: String,
        /// The message that it answered.
        asked: &'static str,
        /// What was wrong with it.
        what: &'static str,
    },
    /// The BMC has no session to spare.
    #[error(
        "BMC {bmc} has no free session slot; sessions left open by others end after about a minute of idleness"
    )]
    NoSlot {
        /// Where.
        bmc: String,
    },
    /// The power state did not follow the command.
    #[error(
        "BMC {bmc} accepted {command}, but {waited:?} later the power state was still {seen}, not {wanted}"
    )]
    PowerNotFollowing {
        /// Where.
        bmc: String,
        /// Which command.
        command: &'static str,
        /// What was asked for.
        wanted: PowerState,
        /// What was read last.
        seen: PowerState,
        /// How long we looked.
        waited: Duration,
    },
    /// The reply to a power cycle was lost and the state does not tell whether it happened.
    #[error(
        "BMC {bmc} did not answer the power cycle, and says now that the machine is on: it may or may not have been cycled; it is not repeated without other evidence"
    )]
    CycleUncertain {
        /// Where.
        bmc: String,
    },
    /// The boot device was accepted and is not there when read back.
    #[error(
        "BMC {bmc} accepted boot device {wanted}, but reads back {kept}: it ignores the boot override"
    )]
    BootDeviceIgnored {
        /// Where.
        bmc: String,
        /// What was set.
        wanted: BootDevice,
        /// What is there.
        kept: BootDevice,
    },
    /// The credentials cannot be sent at all.
    #[error("the credentials of BMC {bmc} cannot be used: {what}")]
    Credentials {
        /// Where.
        bmc: String,
        /// What is wrong with them; never the password itself.
        what: &'static str,
    },
    /// Too many requests wait for this BMC already.
    #[error("too many requests wait for BMC {bmc} already")]
    QueueFull {
        /// Where.
        bmc: String,
    },
    /// bootd is stopping.
    #[error("the request to BMC {bmc} was dropped because bootd is stopping")]
    Stopped {
        /// Where.
        bmc: String,
    },
}

impl BmcError {
    /// One next step for the person who reads the error.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Refused { why, .. } => match why {
                Refusal::WrongPassword => {
                    "check the password; many BMCs keep 16 bytes of it only, and some disable a user after wrong logins"
                }
                Refusal::UnknownUser => "check the user name and that the user is enabled for LAN",
                Refusal::Privilege => {
                    "the user needs at least the OPERATOR privilege on the LAN channel"
                }
                Refusal::Other { .. } => "look into the BMC's own log",
            },
            Self::Silent { .. } => {
                "check address, VLAN and that IPMI over LAN is enabled in the BMC"
            }
            Self::SuiteNotOffered { .. } => "enable cipher suite 17 (or 3) in the BMC",
            Self::NoIpmi20 { .. } => "enable IPMI 2.0 (RMCP+) over LAN in the BMC",
            Self::Completion { code: 0xd4, .. } => {
                "give the user at least the OPERATOR privilege on the LAN channel"
            }
            Self::Completion { .. } | Self::Protocol { .. } => {
                "try the same with ipmitool; if that works, report the BMC's model and this message"
            }
            Self::Unreachable { .. } => {
                "check the address and port, and the route to the BMC network"
            }
            Self::NoSlot { .. } => "close other tools' sessions or wait a minute",
            Self::PowerNotFollowing { .. } | Self::CycleUncertain { .. } => {
                "look at the machine's console, or press the button"
            }
            Self::BootDeviceIgnored { .. } => "put network boot first in the firmware's boot order",
            Self::Credentials { .. } => {
                "set user names of at most 16 and passwords of at most 20 bytes"
            }
            Self::QueueFull { .. } => "wait until the BMC has answered the requests before",
            Self::Stopped { .. } => "ask again when bootd runs",
        }
    }

    /// Stable machine-readable name, kebab-case.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "bmc-refused-login",
            Self::Silent { .. } => "bmc-silent",
            Self::SuiteNotOffered { .. } => "bmc-suite-not-offered",
            Self::NoIpmi20 { .. } => "bmc-no-ipmi-2",
            Self::Completion { .. } => "bmc-refused-command",
            Self::Unreachable { .. } => "bmc-unreachable",
            Self::Protocol { .. } => "bmc-protocol",
            Self::NoSlot { .. } => "bmc-no-session",
            Self::PowerNotFollowing { .. } => "bmc-power-not-following",
            Self::CycleUncertain { .. } => "bmc-cycle-uncertain",
            Self::BootDeviceIgnored { .. } => "bmc-boot-device-ignored",
            Self::Credentials { .. } => "bmc-credentials-unusable",
            Self::QueueFull { .. } => "bmc-queue-full",
            Self::Stopped { .. } => "bmc-stopped",
        }
    }
}

/// What was wrong with a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The BMC's proof, or ours, does not fit the password that we have.
    WrongPassword,
    /// No such user, or not enabled.
    UnknownUser,
    /// The user exists and may not have the privilege that we need.
    Privilege,
    /// Another RMCP+ status (IPMI v2.0 table 13-15).
    Other {
        /// The status.
        status: u8,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongPassword => f.write_str("wrong password"),
            Self::UnknownUser => f.write_str("it knows no such user (or has it disabled)"),
            Self::Privilege => f.write_str("the user may not have the privilege that bootd needs"),
            Self::Other { status } => write!(f, "RMCP+ status {status:#04x}"),
        }
    }
}

/// The newest thing that a BMC answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastAnswer {
    /// Nothing since bootd started to talk to it.
    Never,
    /// This.
    Heard {
        /// The message that it answered.
        what: &'static str,
        /// How long ago.
        ago: Duration,
    },
}

impl fmt::Display for LastAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("it has not answered anything yet"),
            Self::Heard { what, ago } => {
                write!(
                    f,
                    "its last answer was to {what}, {:.1} s ago",
                    ago.as_secs_f64()
                )
            }
        }
    }
}

fn suites(tried: &[Suite]) -> String {
    let names: Vec<String> = tried.iter().map(ToString::to_string).collect();
    names.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sentence that a person can read, with its next step.
    #[test]
    fn gallery() {
        let bmc = || "10.0.8.14:623".to_owned();
        let refused = |why| BmcError::Refused {
            bmc: bmc(),
            user: "metal".to_owned(),
            why,
        };
        let silent = |last_answer| BmcError::Silent {
            bmc: bmc(),
            asked: "Open Session",
            waited: Duration::from_millis(9200),
            last_answer,
        };
        let errors = [
            refused(Refusal::WrongPassword),
            refused(Refusal::UnknownUser),
            refused(Refusal::Privilege),
            refused(Refusal::Other { status: 0x12 }),
            silent(LastAnswer::Never),
            silent(LastAnswer::Heard {
                what: "Get Chassis Status",
                ago: Duration::from_millis(61_340),
            }),
            BmcError::SuiteNotOffered {
                bmc: bmc(),
                tried: vec![Suite::Seventeen, Suite::Three],
            },
            BmcError::NoIpmi20 { bmc: bmc() },
            BmcError::Completion {
                bmc: bmc(),
                command: "Chassis Control (power on)",
                code: 0xd4,
                what: "insufficient privilege",
            },
            BmcError::Unreachable {
                bmc: bmc(),
                source: Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused)),
            },
            BmcError::Protocol {
                bmc: bmc(),
                asked: "Get Chassis Status",
                what: "the answer is too short",
            },
            BmcError::NoSlot { bmc: bmc() },
            BmcError::PowerNotFollowing {
                bmc: bmc(),
                command: "Chassis Control (power on)",
                wanted: PowerState::On,
                seen: PowerState::Off,
                waited: Duration::from_secs(30),
            },
            BmcError::CycleUncertain { bmc: bmc() },
            BmcError::BootDeviceIgnored {
                bmc: bmc(),
                wanted: BootDevice::Pxe,
                kept: BootDevice::NoOverride,
            },
            BmcError::Credentials {
                bmc: bmc(),
                what: "the password has more than 20 bytes",
            },
            BmcError::QueueFull { bmc: bmc() },
            BmcError::Stopped { bmc: bmc() },
        ];
        let text: Vec<String> = errors
            .iter()
            .map(|e| format!("{}\n  {e}\n  hint: {}", e.reason(), e.hint()))
            .collect();
        insta::assert_snapshot!(text.join("\n"));
    }
}
