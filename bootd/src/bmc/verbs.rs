//! What each verb is made of: read, write, read back.

use bootd_core::wire::ipmi::{
    self, BootDevice, BootFlags, BootOption, ChassisControl, ClearMask, Command, DeviceId,
    Firmware, MessageError, PowerState, SetProgress, SystemGuid,
};
use tokio::time::Instant;

use super::error::BmcError;
use super::lane::Lane;
use super::{BootReadBack, Kept, PowerOutcome, Target};

/// "Not possible in the present state": somebody else was faster.
const WRONG_STATE: u8 = 0xd5;

impl Lane {
    pub(super) async fn power(&mut self, target: &Target) -> Result<PowerState, BmcError> {
        let data = self.command(target, Command::ChassisStatus).await?;
        read(
            target,
            Command::ChassisStatus,
            &data,
            ipmi::parse_chassis_status,
        )
    }

    pub(super) async fn switch(
        &mut self,
        target: &Target,
        wanted: PowerState,
    ) -> Result<PowerOutcome, BmcError> {
        let control = match wanted {
            PowerState::On => ChassisControl::On,
            PowerState::Off => ChassisControl::Off,
        };
        self.steer(target, control, wanted).await
    }

    pub(super) async fn soft(&mut self, target: &Target) -> Result<PowerOutcome, BmcError> {
        self.steer(target, ChassisControl::Soft, PowerState::Off)
            .await
    }

    async fn steer(
        &mut self,
        target: &Target,
        control: ChassisControl,
        wanted: PowerState,
    ) -> Result<PowerOutcome, BmcError> {
        if self.power(target).await? == wanted {
            return Ok(PowerOutcome::Already);
        }
        let command = Command::ChassisControl(control);
        match self.command(target, command).await {
            Ok(_) => {}
            // It may have become so between our reading and writing; the reading below decides.
            Err(BmcError::Completion {
                code: WRONG_STATE, ..
            }) => {}
            Err(error) => return Err(error),
        }
        self.follow(target, command, wanted).await?;
        Ok(PowerOutcome::Changed)
    }

    /// Reads until the power state is the wanted one, for a bounded time.
    async fn follow(
        &mut self,
        target: &Target,
        command: Command,
        wanted: PowerState,
    ) -> Result<(), BmcError> {
        let start = Instant::now();
        loop {
            let seen = self.power(target).await?;
            if seen == wanted {
                return Ok(());
            }
            if start.elapsed() >= self.settings().follow_max {
                return Err(BmcError::PowerNotFollowing {
                    bmc: target.to_string(),
                    command: command.name(),
                    wanted,
                    seen,
                    waited: self.settings().follow_max,
                });
            }
            tokio::time::sleep(self.settings().follow_pause).await;
        }
    }

    pub(super) async fn cycle(&mut self, target: &Target) -> Result<PowerOutcome, BmcError> {
        if self.power(target).await? == PowerState::Off {
            return self.switch(target, PowerState::On).await;
        }
        let command = Command::ChassisControl(ChassisControl::Cycle);
        match self.command(target, command).await {
            Ok(_) => {
                self.follow(target, command, PowerState::On).await?;
                Ok(PowerOutcome::Changed)
            }
            Err(BmcError::Completion {
                code: WRONG_STATE, ..
            }) => self.start_though_on(target).await,
            Err(BmcError::Silent { .. }) => self.cycle_without_answer(target).await,
            Err(error) => Err(error),
        }
    }

    /// The BMC said "on" and then that a machine in this state cannot be cycled: it is off, or it lies about being on. Turning
    /// on, without reading first, is right in both cases.
    async fn start_though_on(&mut self, target: &Target) -> Result<PowerOutcome, BmcError> {
        let command = Command::ChassisControl(ChassisControl::On);
        self.command(target, command).await?;
        self.follow(target, command, PowerState::On).await?;
        Ok(PowerOutcome::Changed)
    }

    /// The cycle's reply was lost. Only "off" proves that it happened, and then turning on is a repetition that harms nothing.
    async fn cycle_without_answer(&mut self, target: &Target) -> Result<PowerOutcome, BmcError> {
        match self.power(target).await? {
            PowerState::On => Err(BmcError::CycleUncertain {
                bmc: target.to_string(),
            }),
            PowerState::Off => {
                self.switch(target, PowerState::On).await?;
                Ok(PowerOutcome::Changed)
            }
        }
    }

    pub(super) async fn boot(
        &mut self,
        target: &Target,
        device: BootDevice,
        firmware: Firmware,
    ) -> Result<BootReadBack, BmcError> {
        let in_progress = BootOption::Progress(SetProgress::InProgress);
        self.try_option(target, in_progress).await?;
        // BMCs forget the flags 60 s after they were set unless told otherwise.
        let keep = BootOption::ClearMask(ClearMask::KeepOverTimeout);
        self.try_option(target, keep).await?;
        let flags = BootFlags::once(device, firmware);
        let set = Command::SetBootOption(BootOption::Flags(flags));
        let done = self.command(target, set).await;
        let complete = BootOption::Progress(SetProgress::Complete);
        self.try_option(target, complete).await?;
        done?;
        self.boot_read_back(target, device, firmware).await
    }

    /// Sets an option that many BMCs do not know; their refusal does not matter.
    async fn try_option(&mut self, target: &Target, option: BootOption) -> Result<(), BmcError> {
        match self.command(target, Command::SetBootOption(option)).await {
            Ok(_) => Ok(()),
            Err(BmcError::Completion { command, code, .. }) => {
                tracing::debug!(bmc = %target, command, code, "boot option not taken");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn boot_read_back(
        &mut self,
        target: &Target,
        device: BootDevice,
        firmware: Firmware,
    ) -> Result<BootReadBack, BmcError> {
        let data = self.command(target, Command::BootFlags).await?;
        let raw = read(target, Command::BootFlags, &data, ipmi::parse_boot_flags)?;
        if raw.device() != device {
            return Err(BmcError::BootDeviceIgnored {
                bmc: target.to_string(),
                wanted: device,
                kept: raw.device(),
            });
        }
        let kept = |same| if same { Kept::Yes } else { Kept::No };
        Ok(BootReadBack {
            device,
            efi: kept(raw.firmware() == firmware),
            valid: kept(raw.is_valid()),
            raw,
        })
    }

    pub(super) async fn guid(&mut self, target: &Target) -> Result<SystemGuid, BmcError> {
        let data = self.command(target, Command::SystemGuid).await?;
        read(target, Command::SystemGuid, &data, SystemGuid::parse)
    }

    pub(super) async fn device_id(&mut self, target: &Target) -> Result<DeviceId, BmcError> {
        let data = self.command(target, Command::DeviceId).await?;
        read(target, Command::DeviceId, &data, DeviceId::parse)
    }
}

fn read<T>(
    target: &Target,
    command: Command,
    data: &[u8],
    parse: impl FnOnce(&[u8]) -> Result<T, MessageError>,
) -> Result<T, BmcError> {
    parse(data).map_err(|error| BmcError::Protocol {
        bmc: target.to_string(),
        asked: command.name(),
        what: match error {
            MessageError::Short { .. } => "the answer is too short",
            MessageError::Checksum | MessageError::NotForUs => "the answer is about something else",
        },
    })
}
