//! PXE's words inside DHCP (RFC 4578, PXE 2.1, UEFI 2.10 §24): who boots, on what firmware.
//!
//! Option 93 decides about the firmware. Option 60 only tells a boot client from any other one: its `:Arch:` part is missing in
//! half of the iPXE builds, so nothing here reads it.

/// What a client is, from DHCP options 60, 77, 93 and 175.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// A firmware's own network stack that fetches a boot file by TFTP.
    Firmware(Firmware),
    /// UEFI HTTP boot: wants a URL.
    HttpBoot(Firmware),
    /// iPXE, in ROM or chained: wants a script.
    Ipxe,
}

/// The firmware families that we have boot files for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Firmware {
    /// PC BIOS.
    Bios,
    /// UEFI on x86-64.
    X64,
    /// UEFI on 64-bit ARM.
    Arm64,
}

/// The option 93 number of a client, with its meaning (IANA "Processor Architecture Types").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arch(pub u16);

impl Arch {
    /// The firmware behind the number; `None` for those that we cannot boot (32-bit UEFI, Itanium, …).
    pub fn firmware(self) -> Option<Firmware> {
        match self.0 {
            0 => Some(Firmware::Bios),
            7 | 9 | 16 => Some(Firmware::X64),
            11 | 19 => Some(Firmware::Arm64),
            _ => None,
        }
    }

    /// True for the numbers that UEFI HTTP boot uses.
    pub fn is_http(self) -> bool {
        matches!(self.0, 15 | 16 | 18 | 19)
    }
}

/// First part of option 60 of a PXE client; also what we answer.
pub const PXE_CLIENT: &[u8] = b"PXEClient";
/// First part of option 60 of a UEFI HTTP boot client; also what we answer.
pub const HTTP_CLIENT: &[u8] = b"HTTPClient";

/// Option 43 of an offer to a plain PXE ROM: `PXE_DISCOVERY_CONTROL` = 8, "no discovery, boot the file that you were told".
/// Without it EDK2 believes in a BINL server and asks port 4011.
pub const SKIP_DISCOVERY: &[u8] = &[6, 1, 8, 255];

/// Option 43 of an answer on port 4011: as [`SKIP_DISCOVERY`], with the client's boot item (sub-option 71) returned to it.
pub fn boot_server_options(asked: &[u8]) -> Vec<u8> {
    let mut answer = vec![6, 1, 8];
    if let Some(item) = sub_option(asked, 71).filter(|item| item.len() == 4) {
        answer.extend([71, 4]);
        answer.extend(item);
    }
    answer.push(255);
    answer
}

/// True if option 77 says iPXE: bare as all builds write it, or with the length byte of RFC 3004.
pub fn is_ipxe(user_class: &[u8]) -> bool {
    user_class == b"iPXE" || user_class == b"\x04iPXE"
}

/// The SMBIOS UUID in option 97, lower case with hyphens: type 0, then 16 bytes whose first three fields are little-endian.
///
/// Real ROMs leave the option out or empty, or send all zeros or all ones: no UUID then.
pub fn uuid(identifier: &[u8]) -> Option<String> {
    let [0, bytes @ ..] = identifier else {
        return None;
    };
    let b: &[u8; 16] = bytes.try_into().ok()?;
    if b.iter().all(|x| *x == 0) || b.iter().all(|x| *x == 0xff) {
        return None;
    }
    let hex = |bytes: &mut dyn Iterator<Item = &u8>| -> String {
        bytes.map(|x| format!("{x:02x}")).collect()
    };
    Some(format!(
        "{}-{}-{}-{}-{}",
        hex(&mut b[0..4].iter().rev()),
        hex(&mut b[4..6].iter().rev()),
        hex(&mut b[6..8].iter().rev()),
        hex(&mut b[8..10].iter()),
        hex(&mut b[10..16].iter()),
    ))
}

fn sub_option(mut bytes: &[u8], wanted: u8) -> Option<&[u8]> {
    while let [code, rest @ ..] = bytes {
        match (*code, rest) {
            (0, _) => bytes = rest,
            (255, _) => return None,
            (code, [len, rest @ ..]) => {
                let value = rest.get(..usize::from(*len))?;
                if code == wanted {
                    return Some(value);
                }
                bytes = rest.get(usize::from(*len)..)?;
            }
            (_, []) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        let check = |bytes: &[u8], want: Option<&str>| {
            assert_eq!(uuid(bytes).as_deref(), want, "{bytes:02x?}");
        };
        let mut id = vec![0];
        id.extend(0x00u8..0x10);
        check(&id, Some("03020100-0504-0706-0809-0a0b0c0d0e0f"));
        check(&[], None);
        check(&[0; 17], None);
        check(&id[..16], None);
        id[0] = 1;
        check(&id, None);
        let mut ones = vec![0];
        ones.extend([0xff; 16]);
        check(&ones, None);
    }

    #[test]
    fn the_boot_item_comes_back() {
        assert_eq!(boot_server_options(&[]), SKIP_DISCOVERY);
        let asked = [0, 5, 1, 9, 71, 4, 0, 2, 0, 0, 255, 71];
        assert_eq!(
            boot_server_options(&asked),
            [6, 1, 8, 71, 4, 0, 2, 0, 0, 255]
        );
        assert_eq!(boot_server_options(&[71, 200, 1]), SKIP_DISCOVERY);
        assert_eq!(boot_server_options(&[71]), SKIP_DISCOVERY);
    }

    #[test]
    fn user_classes() {
        assert!(is_ipxe(b"iPXE"));
        assert!(is_ipxe(b"\x04iPXE"));
        assert!(!is_ipxe(b"gPXE"));
        assert!(!is_ipxe(b""));
    }
}
