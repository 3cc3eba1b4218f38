//! A machine of sparse files for the tests: disks with faults, and images written byte by byte.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use metal_agent::gpt::crc32;
use metal_agent::{Access, DiskFacts, DiskHandle, DiskKind, Platform};
use metal_proto::metal::v1::{Disk, Hardware};

pub const MIB: u64 = 1 << 20;

/// What a disk does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Zeroing reports success and changes nothing.
    ZeroLies,
    /// Discard reports success and fills with garbage what had been zero.
    DiscardSpoils,
    /// The device has no command for zeroing.
    ZeroUnsupported,
    /// A flush fails; everything else is clean.
    SyncFails,
    /// Reads fail from this byte on.
    ReadFails(u64),
    /// Somebody else holds it: it cannot be opened for writing.
    Busy,
}

/// A disk in a file.
#[derive(Debug, Clone)]
pub struct Drive {
    pub path: PathBuf,
    pub facts: DiskFacts,
    pub fault: Fault,
}

/// The machine. `power` counts down with every write; at zero the machine is off.
pub struct Machine {
    pub dir: tempfile::TempDir,
    pub drives: RefCell<Vec<Drive>>,
    pub power: Rc<Cell<u64>>,
    pub console: RefCell<Vec<String>>,
}

impl Machine {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            drives: RefCell::default(),
            power: Rc::new(Cell::new(u64::MAX)),
            console: RefCell::default(),
        }
    }

    /// Adds a disk and returns its file.
    pub fn drive(&self, serial: &str, mib: u64) -> PathBuf {
        let number = self.drives.borrow().len();
        let path = self.dir.path().join(format!("disk{number}.raw"));
        File::create(&path).unwrap().set_len(mib * MIB).unwrap();
        let facts = DiskFacts {
            device: format!("sim{number}"),
            serial: serial.to_owned(),
            wwid: String::new(),
            bus_path: format!("sim/{number}"),
            model: "Sparse".to_owned(),
            kind: DiskKind::Ssd,
            bytes: mib * MIB,
            block_bytes: 512,
            removable: false,
            readonly: false,
            held: None,
        };
        self.drives.borrow_mut().push(Drive {
            path: path.clone(),
            facts,
            fault: Fault::None,
        });
        path
    }

    pub fn change(&self, number: usize, change: impl FnOnce(&mut Drive)) {
        change(&mut self.drives.borrow_mut()[number]);
    }

    /// The disks as the agent reports them, by serial.
    pub fn report(&self) -> Vec<Disk> {
        metal_agent::report::inspect(self).disks
    }
}

impl Platform for Machine {
    type Disk = OpenDrive;

    fn hardware(&self) -> Hardware {
        Hardware {
            serial: "SIM".to_owned(),
            ..Hardware::default()
        }
    }

    fn disks(&self) -> io::Result<Vec<DiskFacts>> {
        Ok(self
            .drives
            .borrow()
            .iter()
            .map(|drive| drive.facts.clone())
            .collect())
    }

    fn open(&self, disk: &DiskFacts, access: Access) -> io::Result<OpenDrive> {
        let drives = self.drives.borrow();
        let drive = drives
            .iter()
            .find(|drive| drive.facts.device == disk.device)
            .unwrap();
        if access == Access::Exclusive && drive.fault == Fault::Busy {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::Exclusive)
            .open(&drive.path)?;
        Ok(OpenDrive {
            file,
            fault: drive.fault,
            power: Rc::clone(&self.power),
        })
    }

    fn alive(&self) -> bool {
        self.power.get() > 0
    }

    fn log(&self, line: &str) {
        self.console.borrow_mut().push(line.to_owned());
    }
}

pub struct OpenDrive {
    file: File,
    fault: Fault,
    power: Rc<Cell<u64>>,
}

impl OpenDrive {
    fn spend(&self) -> io::Result<()> {
        let left = self.power.get();
        if left == 0 {
            return Err(io::Error::other("power lost"));
        }
        self.power.set(left.saturating_sub(1));
        Ok(())
    }
}

impl DiskHandle for OpenDrive {
    fn bytes(&mut self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        if let Fault::ReadFails(from) = self.fault
            && offset + into.len() as u64 > from
        {
            return Err(io::Error::other("unreadable sector"));
        }
        self.file.read_exact_at(into, offset)
    }

    fn write_at(&mut self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.spend()?;
        assert!(
            offset + from.len() as u64 <= self.file.metadata()?.len(),
            "a write past the end"
        );
        self.file.write_all_at(from, offset)
    }

    fn zero(&mut self, offset: u64, bytes: u64) -> io::Result<()> {
        assert!(
            offset.is_multiple_of(512) && bytes.is_multiple_of(512),
            "whole blocks only"
        );
        match self.fault {
            Fault::ZeroUnsupported => return Err(io::ErrorKind::Unsupported.into()),
            Fault::ZeroLies => return Ok(()),
            Fault::None
            | Fault::DiscardSpoils
            | Fault::SyncFails
            | Fault::ReadFails(_)
            | Fault::Busy => {}
        }
        self.spend()?;
        assert!(
            offset + bytes <= self.file.metadata()?.len(),
            "zeroes past the end"
        );
        for at in (offset..offset + bytes).step_by(MIB as usize) {
            let length = MIB.min(offset + bytes - at) as usize;
            self.file.write_all_at(&vec![0; length], at)?;
        }
        Ok(())
    }

    fn discard(&mut self, offset: u64, _bytes: u64) -> io::Result<()> {
        if self.fault == Fault::DiscardSpoils {
            self.file.write_all_at(&[0x5a; 512], offset + 4096)?;
        }
        // A discard that reports success and does nothing: what the agent must expect of every device.
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.fault == Fault::SyncFails {
            return Err(io::Error::other("flush failed"));
        }
        Ok(())
    }

    fn drop_cache(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn write(path: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .write_all_at(bytes, offset)
        .unwrap();
}

pub fn read(path: &Path, offset: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    File::open(path)
        .unwrap()
        .read_exact_at(&mut bytes, offset)
        .unwrap();
    bytes
}

pub fn is_zero(path: &Path, offset: u64, length: u64) -> bool {
    read(path, offset, length) == vec![0; length as usize]
}

/// Fills a range with bytes that are nowhere zero and differ from place to place.
pub fn fill(path: &Path, offset: u64, length: u64) {
    let pattern: Vec<u8> = (1..=251).collect();
    let mut bytes = pattern.repeat(length as usize / pattern.len() + 1);
    bytes.truncate(length as usize);
    write(path, offset, &bytes);
}

/// Writes a GPT with both copies and a protective boot record: name, first MiB, MiB.
pub fn write_gpt(path: &Path, block: u64, partitions: &[(&str, u64, u64)]) {
    let bytes = std::fs::metadata(path).unwrap().len();
    let last = bytes / block - 1;
    let mut entries = vec![0; 128 * 128];
    for (n, (name, first, mib)) in partitions.iter().enumerate() {
        let entry = &mut entries[n * 128..(n + 1) * 128];
        entry[..16].copy_from_slice(&[0xaf; 16]);
        entry[16..32].copy_from_slice(&[n as u8 + 1; 16]);
        entry[32..40].copy_from_slice(&(first * MIB / block).to_le_bytes());
        entry[40..48].copy_from_slice(&((first + mib) * MIB / block - 1).to_le_bytes());
        for (to, unit) in entry[56..128].chunks_exact_mut(2).zip(name.encode_utf16()) {
            to.copy_from_slice(&unit.to_le_bytes());
        }
    }
    let table_blocks = entries.len() as u64 / block;
    let header = |at: u64, other: u64, table: u64| {
        let mut header = vec![0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..12].copy_from_slice(&0x0001_0000_u32.to_le_bytes());
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        header[24..32].copy_from_slice(&at.to_le_bytes());
        header[32..40].copy_from_slice(&other.to_le_bytes());
        header[40..48].copy_from_slice(&(2 + table_blocks).to_le_bytes());
        header[48..56].copy_from_slice(&(last - table_blocks - 1).to_le_bytes());
        header[56..72].copy_from_slice(&[7; 16]);
        header[72..80].copy_from_slice(&table.to_le_bytes());
        header[80..84].copy_from_slice(&128_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        header[88..92].copy_from_slice(&crc32(&entries).to_le_bytes());
        let sum = crc32(&header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header
    };
    let mut record = [0; 512];
    record[446..462].copy_from_slice(&[
        0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
    ]);
    record[510..].copy_from_slice(&[0x55, 0xaa]);
    write(path, 0, &record);
    write(path, block, &header(1, last, 2));
    write(path, 2 * block, &entries);
    write(path, (last - table_blocks) * block, &entries);
    write(path, last * block, &header(last, 1, last - table_blocks));
}

/// A disk as Talos leaves it, every partition full of data. Needs 64 MiB.
pub fn write_talos(path: &Path) -> Vec<(&'static str, u64, u64)> {
    let layout = vec![
        ("EFI", 1, 6),
        ("BIOS", 7, 1),
        ("BOOT", 8, 10),
        ("META", 18, 1),
        ("STATE", 19, 8),
        ("EPHEMERAL", 27, 30),
    ];
    write_gpt(path, 512, &layout);
    for (_, first, mib) in &layout {
        fill(path, first * MIB, mib * MIB);
    }
    layout
}
