//! The real machine: sysfs, block devices and the network of a Linux kernel without any user space but ours.
//!
//! Called from `/init` only. [`disks`] and [`hardware`] read trees that tests lay out as files; [`net`] and [`modules`] act.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use metal_proto::metal::v1::Hardware;

use crate::platform::{Access, DiskFacts, DiskHandle, Platform};
use crate::sys;

pub mod disks;
pub mod hardware;
pub mod modules;
pub mod net;

/// A running Linux machine.
#[derive(Debug, Clone)]
pub struct Linux {
    root: PathBuf,
}

impl Default for Linux {
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
        }
    }
}

impl Platform for Linux {
    type Disk = BlockDevice;

    fn hardware(&self) -> Hardware {
        hardware::read(&self.root)
    }

    fn disks(&self) -> io::Result<Vec<DiskFacts>> {
        disks::list(&self.root)
    }

    fn open(&self, disk: &DiskFacts, access: Access) -> io::Result<BlockDevice> {
        let path = self.root.join("dev").join(&disk.device);
        let mut options = OpenOptions::new();
        options.read(true);
        if access == Access::Exclusive {
            // On a block device O_EXCL fails while a file system, RAID set or another exclusive opener holds it.
            options.write(true).custom_flags(libc::O_EXCL);
        }
        let file = options.open(path)?;
        if access == Access::Exclusive && sys::is_read_only(&file)? {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(BlockDevice { file })
    }

    fn log(&self, line: &str) {
        say(line);
    }
}

/// A line on the console.
pub fn say(line: &str) {
    eprintln!("metal-agent: {line}");
}

/// An open block device.
#[derive(Debug)]
pub struct BlockDevice {
    file: File,
}

impl DiskHandle for BlockDevice {
    fn bytes(&mut self) -> io::Result<u64> {
        sys::block_bytes(&self.file)
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    fn write_at(&mut self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.file.write_all_at(from, offset)
    }

    fn zero(&mut self, offset: u64, bytes: u64) -> io::Result<()> {
        sys::zero_range(&self.file, offset, bytes)
    }

    fn discard(&mut self, offset: u64, bytes: u64) -> io::Result<()> {
        sys::discard_range(&self.file, offset, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn drop_cache(&mut self) -> io::Result<()> {
        sys::flush_buffers(&self.file)
    }
}

/// A sysfs attribute, trimmed of blanks and NULs; empty if it is absent.
pub(crate) fn attribute(path: &Path) -> String {
    std::fs::read(path)
        .map(|raw| {
            String::from_utf8_lossy(&raw)
                .trim_matches(|c: char| c.is_whitespace() || c == '\0')
                .to_owned()
        })
        .unwrap_or_default()
}
