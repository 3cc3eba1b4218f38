//! Messages on the wire; hostile bytes.

use proptest::prelude::*;

use super::*;

/// Frames a response as a BMC would.
pub(crate) fn response(to: Envelope, completion: u8, data: &[u8]) -> Vec<u8> {
    let head = [CONSOLE, (to.netfn | 1) << 2];
    let mut out = vec![head[0], head[1], checksum(&head)];
    out.extend([BMC, to.rq_seq << 2, to.cmd, completion]);
    out.extend(data);
    out.push(checksum(&out[3..]));
    out
}

fn check_command(command: Command, expected: &str) {
    let (netfn, cmd) = command.numbers();
    let envelope = Envelope {
        netfn,
        cmd,
        rq_seq: 5,
    };
    let hex: String = emit_request(envelope, &command.data())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(hex, expected, "{}", command.name());
}

#[test]
fn commands_on_the_wire() {
    check_command(Command::DeviceId, "2018c88114016a");
    check_command(Command::ChassisStatus, "2000e08114016a");
    check_command(
        Command::ChassisControl(ChassisControl::Cycle),
        "2000e08114020267",
    );
    check_command(
        Command::SetBootOption(BootOption::Flags(BootFlags::once(
            BootDevice::Pxe,
            Firmware::Uefi,
        ))),
        "2000e081140805a004000000ba",
    );
    check_command(
        Command::SetPrivilege(Privilege::Operator),
        "2018c881143b032d",
    );
    check_command(
        Command::CloseSession(0x0403_0201),
        "2018c881143c010203 0425".replace(' ', "").as_str(),
    );
}

#[test]
fn only_a_cycle_may_not_be_repeated() {
    assert_eq!(
        Command::ChassisControl(ChassisControl::Cycle).repeat(),
        Repeat::Never
    );
    assert_eq!(
        Command::ChassisControl(ChassisControl::On).repeat(),
        Repeat::Harmless
    );
}

#[test]
fn boot_flags_say_what_was_asked() {
    let flags = BootFlags::once(BootDevice::Pxe, Firmware::Uefi);
    assert_eq!(flags.0, [0xa0, 0x04, 0, 0, 0]);
    assert_eq!(flags.device(), BootDevice::Pxe);
    assert_eq!(flags.firmware(), Firmware::Uefi);
    assert!(flags.is_valid());
    let read = parse_boot_flags(&[1, 5, 0, 8, 0, 0, 0]).unwrap();
    assert_eq!(read.device(), BootDevice::Disk);
    assert!(!read.is_valid());
}

#[test]
fn guid_orders() {
    let spec: [u8; 16] = std::array::from_fn(|i| 15 - u8::try_from(i).unwrap());
    let guid = SystemGuid(spec);
    assert_eq!(guid.in_spec_order(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    assert!(guid.matches("00010203-0405-0607-0809-0A0B0C0D0E0F"));
    let smbios = SystemGuid([3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]);
    assert!(smbios.matches("00010203-0405-0607-0809-0a0b0c0d0e0f"));
    assert!(!smbios.matches("10010203-0405-0607-0809-0a0b0c0d0e0f"));
}

#[test]
fn device_id_in_its_short_legal_form() {
    let id = DeviceId::parse(&[0x20, 1, 2, 0x34, 2, 0xbf, 0xa2, 2, 0, 0x22, 1]).unwrap();
    assert_eq!(id.firmware, (2, 0x34));
    assert_eq!(id.ipmi, (2, 0));
    assert_eq!(id.manufacturer, 674);
    assert_eq!(id.product, 0x122);
}

proptest! {
    #[test]
    fn responses_survive_the_round_trip(netfn in 0u8..31, cmd: u8, rq_seq in 0u8..64, completion: u8, data in proptest::collection::vec(any::<u8>(), 0..64)) {
        let to = Envelope { netfn: netfn << 1, cmd, rq_seq };
        let parsed = parse_response(&response(to, completion, &data)).unwrap();
        prop_assert_eq!(parsed, Response { to, completion, data });
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(response) = parse_response(&bytes) {
            let _ = parse_channel_hint(&response);
        }
        let _ = parse_chassis_status(&bytes);
        let _ = parse_boot_flags(&bytes);
        let _ = SystemGuid::parse(&bytes);
        let _ = DeviceId::parse(&bytes);
    }

    #[test]
    fn a_flipped_bit_is_no_message(at in 0usize..9, bit in 0u8..8) {
        let mut bytes = response(Envelope { netfn: 6, cmd: 1, rq_seq: 9 }, 0, &[1]);
        bytes[at] ^= 1 << bit;
        prop_assert!(parse_response(&bytes).is_err());
    }
}
