//! What the firmware says about the machine: the SMBIOS tables (DMTF DSP0134) as `/sys/firmware/dmi/tables/DMI` gives them.
//!
//! Promise: [`Facts::parse`] never panics and reads no further than the table. Values that vendors leave as placeholders are empty:
//! they would make two machines look like one.

/// What was found; empty or zero where the firmware says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// System manufacturer (type 1).
    pub manufacturer: String,
    /// Product name (type 1).
    pub product: String,
    /// System serial number (type 1).
    pub serial: String,
    /// System UUID, lower case (type 1).
    pub uuid: String,
    /// Firmware vendor and version (type 0).
    pub firmware: String,
    /// Processor version (first type 4).
    pub cpu: String,
    /// Installed memory (sum of type 17).
    pub memory_bytes: u64,
}

/// Byte order of the UUID's first three fields (DSP0134 §7.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UuidOrder {
    /// Since version 2.6.
    Mixed,
    /// Before.
    BigEndian,
}

impl UuidOrder {
    /// From the entry point structure; an unreadable one is taken as current.
    #[must_use]
    pub fn of_entry_point(bytes: &[u8]) -> Self {
        let version = if bytes.starts_with(b"_SM3_") {
            bytes.get(7..9)
        } else {
            bytes.get(6..8)
        };
        match version {
            Some([2, minor]) if bytes.starts_with(b"_SM_") && *minor < 6 => Self::BigEndian,
            _ => Self::Mixed,
        }
    }
}

impl Facts {
    /// Reads a table.
    #[must_use]
    pub fn parse(table: &[u8], order: UuidOrder) -> Self {
        let mut facts = Self::default();
        let mut rest = table;
        while let Some((structure, next)) = Structure::split(rest) {
            facts.add(&structure, order);
            if structure.kind() == 127 {
                break;
            }
            rest = next;
        }
        facts
    }

    fn add(&mut self, structure: &Structure<'_>, order: UuidOrder) {
        match structure.kind() {
            0 => {
                self.firmware = [structure.text(4), structure.text(5)]
                    .join(" ")
                    .trim()
                    .to_owned()
            }
            1 => {
                self.manufacturer = structure.text(4);
                self.product = structure.text(5);
                self.serial = structure.text(7);
                self.uuid = structure
                    .area
                    .get(8..24)
                    .map(|raw| uuid(raw, order))
                    .unwrap_or_default();
            }
            4 if self.cpu.is_empty() => self.cpu = structure.text(0x10),
            17 => self.memory_bytes = self.memory_bytes.saturating_add(structure.memory_bytes()),
            _ => {}
        }
    }
}

struct Structure<'a> {
    /// The formatted area, header included; at least four bytes.
    area: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Structure<'a> {
    fn split(table: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let length = usize::from(*table.get(1)?);
        let area = table.get(..length).filter(|area| area.len() >= 4)?;
        let after = &table[length..];
        let end = after.windows(2).position(|pair| pair == [0, 0])?;
        let structure = Self {
            area,
            strings: &after[..end],
        };
        Some((structure, &after[end + 2..]))
    }

    fn kind(&self) -> u8 {
        self.area[0]
    }

    /// The string that the byte at `at` names, without placeholders.
    fn text(&self, at: usize) -> String {
        let number = usize::from(self.area.get(at).copied().unwrap_or(0));
        if number == 0 {
            return String::new();
        }
        let raw = self
            .strings
            .split(|byte| *byte == 0)
            .nth(number - 1)
            .unwrap_or_default();
        let text = String::from_utf8_lossy(raw).trim().to_owned();
        if is_placeholder(&text) {
            String::new()
        } else {
            text
        }
    }

    /// Type 17: size in MiB or KiB, or the extended size in MiB (DSP0134 §7.18.5).
    fn memory_bytes(&self) -> u64 {
        let word = |at: usize| {
            self.area
                .get(at..at + 2)
                .map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
        };
        match word(0x0c) {
            0 | 0xffff => 0,
            0x7fff => (u64::from(word(0x1c)) | u64::from(word(0x1e) & 0x7fff) << 16) << 20,
            kib if kib & 0x8000 != 0 => u64::from(kib & 0x7fff) << 10,
            mib => u64::from(mib) << 20,
        }
    }
}

fn is_placeholder(text: &str) -> bool {
    const WORDS: [&str; 9] = [
        "not specified",
        "none",
        "unknown",
        "default string",
        "to be filled by o.e.m.",
        "system serial number",
        "system product name",
        "system manufacturer",
        "0123456789",
    ];
    let lower = text.to_ascii_lowercase();
    WORDS.contains(&lower.as_str())
        || (!text.is_empty() && text.bytes().all(|b| b == b'0' || b == b'.' || b == b'-'))
}

fn uuid(raw: &[u8], order: UuidOrder) -> String {
    if raw.iter().all(|b| *b == 0) || raw.iter().all(|b| *b == 0xff) {
        return String::new();
    }
    const AS_WRITTEN: [usize; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    const FIELDS_SWAPPED: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let places = match order {
        UuidOrder::Mixed => FIELDS_SWAPPED,
        UuidOrder::BigEndian => AS_WRITTEN,
    };
    let mut text = String::with_capacity(36);
    for (n, place) in places.into_iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{:02x}", raw[place]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn structure(kind: u8, body: &[u8], strings: &[&str]) -> Vec<u8> {
        let mut bytes = vec![kind, body.len() as u8 + 4, 0, 1];
        bytes.extend_from_slice(body);
        for text in strings {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
        bytes.extend_from_slice(if strings.is_empty() { &[0, 0] } else { &[0] });
        bytes
    }

    fn machine() -> Vec<u8> {
        let mut system = vec![1, 2, 0, 3];
        system.extend(0..16);
        let mut module = vec![0; 0x1c];
        module[8..10].copy_from_slice(&512_u16.to_le_bytes());
        let mut large = vec![0; 0x1c];
        large[8..10].copy_from_slice(&0x7fff_u16.to_le_bytes());
        large[0x18..0x1c].copy_from_slice(&0x0001_0000_u32.to_le_bytes());
        let mut cpu = vec![0; 0x10];
        cpu[0x0c] = 1;
        [
            structure(0, &[1, 2], &["EDK II", "2022.11"]),
            structure(1, &system, &["Acme ", "RackVM", "RACK0001"]),
            structure(4, &cpu, &["Fast 9000"]),
            structure(17, &module, &[]),
            structure(17, &large, &[]),
            structure(127, &[], &[]),
            structure(1, &system, &["after", "the", "end"]),
        ]
        .concat()
    }

    #[test]
    fn reads_a_machine() {
        insta::assert_debug_snapshot!(Facts::parse(&machine(), UuidOrder::Mixed), @r#"
        Facts {
            manufacturer: "Acme",
            product: "RackVM",
            serial: "RACK0001",
            uuid: "03020100-0504-0706-0809-0a0b0c0d0e0f",
            firmware: "EDK II 2022.11",
            cpu: "Fast 9000",
            memory_bytes: 69256347648,
        }
        "#);
        let old = Facts::parse(&machine(), UuidOrder::of_entry_point(b"_SM_xx\x02\x05"));
        assert_eq!(old.uuid, "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(
            UuidOrder::of_entry_point(b"_SM3_xx\x03\x02"),
            UuidOrder::Mixed
        );
    }

    #[test]
    fn placeholders_identify_nobody() {
        let table = structure(1, &[1, 1, 0, 1], &["Not Specified"]);
        assert_eq!(Facts::parse(&table, UuidOrder::Mixed), Facts::default());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..200) {
            let _ = Facts::parse(&bytes, UuidOrder::Mixed);
            let _ = UuidOrder::of_entry_point(&bytes);
            let mut real = machine();
            for (place, byte) in bytes.iter().enumerate().take(20) {
                let at = (cut + place * 7) % real.len();
                real[at] = *byte;
            }
            real.truncate(cut);
            let _ = Facts::parse(&real, UuidOrder::BigEndian);
        }
    }
}
