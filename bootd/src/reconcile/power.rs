//! What the reconciler asks of a power button, and who it asks.

use std::error::Error;

use bootd_core::bmc::{Verdict, judge, readings};
use bootd_core::id::MachineId;
use bootd_core::lifecycle::{Outcome, PowerState};
use metal_proto::metal::v1::BmcProtocol;

use crate::bmc::{self, BmcError, Firmware, Fleet, RMCP_PORT, SystemGuid, Target};
use crate::store::{Kind, Record, Store, StoreError};

/// Why a BMC did not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Asking again will not help.
    Refused(String),
    /// Asking again may help.
    Silent(String),
}

impl Trouble {
    /// In words.
    pub fn text(&self) -> &str {
        match self {
            Self::Refused(why) | Self::Silent(why) => why,
        }
    }
}

impl From<Trouble> for Outcome {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(why) => Self::Refused(why),
            Trouble::Silent(why) => Self::Silent(why),
        }
    }
}

/// A power button. Every verb is idempotent.
pub trait PowerControl: Send + Sync + 'static {
    /// What the BMC says of the system that it controls; `None` where it does not tell.
    fn guid(
        &self,
        target: &Target,
    ) -> impl Future<Output = Result<Option<SystemGuid>, Trouble>> + Send;
    /// Reads the power.
    fn read(&self, target: &Target) -> impl Future<Output = Result<PowerState, Trouble>> + Send;
    /// Makes the next start a network boot; `arch` is DHCP option 93 of the last one, 0 for BIOS.
    fn boot_pxe(
        &self,
        target: &Target,
        arch: Option<u16>,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// Turns on.
    fn on(&self, target: &Target) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// Turns off.
    fn off(&self, target: &Target) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// Turns off and on.
    fn cycle(&self, target: &Target) -> impl Future<Output = Result<(), Trouble>> + Send;
}

impl PowerControl for Fleet {
    async fn guid(&self, target: &Target) -> Result<Option<SystemGuid>, Trouble> {
        match self.system_guid(target).await {
            Ok(guid) => Ok(Some(guid)),
            // A BMC that does not know the command, or answers it with too little, tells nothing.
            Err(BmcError::Completion { .. } | BmcError::Protocol { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn read(&self, target: &Target) -> Result<PowerState, Trouble> {
        Ok(match self.power(target).await? {
            bmc::PowerState::On => PowerState::On,
            bmc::PowerState::Off => PowerState::Off,
        })
    }

    async fn boot_pxe(&self, target: &Target, arch: Option<u16>) -> Result<(), Trouble> {
        let firmware = match arch {
            Some(0) => Firmware::Bios,
            Some(_) | None => Firmware::Uefi,
        };
        match self.boot_pxe_once(target, firmware).await {
            // Firmware that boots from the network first needs no override; the ladder finds out.
            Ok(_) | Err(BmcError::BootDeviceIgnored { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn on(&self, target: &Target) -> Result<(), Trouble> {
        Ok(self.power_on(target).await.map(|_| ())?)
    }

    async fn off(&self, target: &Target) -> Result<(), Trouble> {
        Ok(self.power_off(target).await.map(|_| ())?)
    }

    async fn cycle(&self, target: &Target) -> Result<(), Trouble> {
        match self.power_cycle(target).await {
            // It may have happened: evidence tells, and the ladder's next rung if there is none.
            Ok(_) | Err(BmcError::CycleUncertain { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<BmcError> for Trouble {
    fn from(error: BmcError) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            text.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        match error {
            BmcError::Refused { .. }
            | BmcError::SuiteNotOffered { .. }
            | BmcError::NoIpmi20 { .. }
            | BmcError::Credentials { .. } => Self::Refused(text),
            BmcError::Silent { .. }
            | BmcError::Completion { .. }
            | BmcError::Unreachable { .. }
            | BmcError::Protocol { .. }
            | BmcError::NoSlot { .. }
            | BmcError::PowerNotFollowing { .. }
            | BmcError::CycleUncertain { .. }
            | BmcError::BootDeviceIgnored { .. }
            | BmcError::QueueFull { .. }
            | BmcError::Stopped { .. } => Self::Silent(text),
        }
    }
}

/// Is this BMC the machine's? The inner error is for people: nothing may be powered then.
pub(super) async fn bind(
    store: &Store,
    record: &Record,
    target: &Target,
    guid: Option<SystemGuid>,
) -> Result<Result<(), String>, StoreError> {
    let id = &record.machine.id;
    let own = record
        .smbios_uuid()
        .or_else(|| record.identity.uuid.clone());
    let other = match guid {
        Some(guid) => store.other_with_uuid(&readings(guid), id).await?,
        None => None,
    };
    let said = guid.map(SystemGuid::in_spec_order).unwrap_or_default();
    Ok(
        match judge(guid, own.as_deref(), other, record.bmc.as_ref()) {
            Verdict::Mute | Verdict::Same => Ok(()),
            Verdict::Bind(bound) => {
                store.record_binding(id, Some(bound)).await?;
                Ok(())
            }
            Verdict::Other(other) => Err(format!(
                "the BMC {target} of {id} controls {other}: its GUID {said} is the SMBIOS UUID of {other}"
            )),
            Verdict::Changed(was) => Err(format!(
                "the BMC {target} of {id} is another one than before, or its board is: its GUID is {said}, and was {}",
                was.guid
            )),
        },
    )
}

/// Where a machine's BMC is and who we are to it, or why that is not known.
pub(super) async fn target(
    store: &Store,
    id: &MachineId,
) -> Result<Result<Target, String>, StoreError> {
    let Some(server) = store.server(&id.0).await? else {
        return Ok(Err(format!(
            "{id} was never declared: its BMC is not known"
        )));
    };
    let bmc = server.config.bmc.unwrap_or_default();
    if bmc.protocol() != BmcProtocol::Ipmi {
        return Ok(Err(format!("{id} has no BMC that speaks IPMI")));
    }
    let (username, password) = if bmc.credentials.is_empty() {
        (bmc.username.clone(), server.bmc_password)
    } else {
        match store.doc(Kind::Credential, &bmc.credentials).await? {
            Some(doc) => (
                String::from_utf8_lossy(&doc.config).into_owned(),
                doc.sealed.map(|s| {
                    bootd_core::secret::Secret::new(
                        String::from_utf8_lossy(s.expose()).into_owned(),
                    )
                }),
            ),
            None => {
                return Ok(Err(format!(
                    "the BMC credentials {:?} of {id} are not stored: `metalctl credentials set {}`",
                    bmc.credentials, bmc.credentials
                )));
            }
        }
    };
    let Some(password) = password else {
        return Ok(Err(format!("the BMC of {id} has no password stored")));
    };
    Ok(Ok(Target {
        address: bmc.address,
        port: match u16::try_from(bmc.port) {
            Ok(0) | Err(_) => RMCP_PORT,
            Ok(port) => port,
        },
        username,
        password,
    }))
}
