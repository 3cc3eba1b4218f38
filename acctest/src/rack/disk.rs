//! A disk of the rack: a sparse file, with the machine's disk faults applied to every access.
//!
//! Deliberately not here: what is on it, see [`super::content`] and [`super::gpt`].

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, SeekFrom};

use super::fault::{Fault, Faults};

/// An open disk file.
#[derive(Debug)]
pub struct Disk {
    file: File,
    bytes: u64,
    faults: Arc<Faults>,
}

impl Disk {
    /// Makes the file if it is not there; content that is there stays.
    ///
    /// # Errors
    /// Of the file system.
    pub fn create(path: &Path, bytes: u64) -> io::Result<()> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        if file.metadata()?.len() != bytes {
            file.set_len(bytes)?;
        }
        Ok(())
    }

    /// Opens for reading and writing.
    ///
    /// # Errors
    /// Of the file system.
    pub fn open(path: &Path, faults: Arc<Faults>) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            file,
            bytes,
            faults,
        })
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Fills `into` from `offset`.
    ///
    /// # Errors
    /// Past the end; the fault `disk-unreadable`.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.wait();
        if self.faults.has(Fault::DiskUnreadable) {
            return Err(hardware_error("the medium cannot be read"));
        }
        self.file.read_exact_at(into, offset)
    }

    /// `bytes` bytes from `offset`.
    ///
    /// # Errors
    /// As [`Disk::read_at`].
    pub fn read(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; bytes];
        self.read_at(offset, &mut buffer)?;
        Ok(buffer)
    }

    /// Writes all of `from` at `offset`.
    ///
    /// # Errors
    /// Past the end; the fault `disk-write-error`.
    pub fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.may_write(offset, from.len() as u64)?;
        self.file.write_all_at(from, offset)
    }

    /// Makes a range read as zero; the file becomes sparse there.
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    pub fn zero(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.may_write(offset, bytes)?;
        self.punch(offset, bytes)
    }

    /// Discards a range. With the fault `lying-discard` nothing changes and success is reported.
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    pub fn discard(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.may_write(offset, bytes)?;
        if self.faults.has(Fault::LyingDiscard) {
            return Ok(());
        }
        self.punch(offset, bytes)
    }

    /// Waits until everything has reached the medium. The host's own page cache is the medium here.
    ///
    /// # Errors
    /// The fault `disk-write-error`.
    pub fn sync(&self) -> io::Result<()> {
        self.may_write(0, 0)
    }

    /// Offset of the first byte that is not zero.
    ///
    /// # Errors
    /// Of the file system; faults do not count, this is the rack's own eye.
    pub fn first_non_zero(path: &Path) -> io::Result<Option<u64>> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut at = 0;
        let mut buffer = vec![0; 1 << 16];
        while at < size {
            at = match rustix::fs::seek(&file, SeekFrom::Data(at)) {
                Ok(at) => at,
                Err(rustix::io::Errno::NXIO) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            };
            let n = file.read_at(&mut buffer, at)?;
            if n == 0 {
                return Ok(None);
            }
            if let Some(position) = buffer[..n].iter().position(|byte| *byte != 0) {
                return Ok(Some(at + position as u64));
            }
            at += n as u64;
        }
        Ok(None)
    }

    fn punch(&self, offset: u64, bytes: u64) -> io::Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        rustix::fs::fallocate(
            &self.file,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            offset,
            bytes,
        )?;
        Ok(())
    }

    fn may_write(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.wait();
        if self.faults.has(Fault::DiskWriteError) {
            return Err(hardware_error("the medium cannot be written"));
        }
        if offset.checked_add(bytes).is_none_or(|end| end > self.bytes) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "past the end of the disk",
            ));
        }
        Ok(())
    }

    fn wait(&self) {
        let delay = self.faults.delay(Fault::SlowDisk);
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
    }
}

fn hardware_error(what: &'static str) -> io::Error {
    // EIO, as a kernel says it.
    io::Error::other(format!("Input/output error: {what}"))
}

#[cfg(test)]
mod tests {
    use super::super::fault::{Fault, Order};
    use super::*;

    #[test]
    fn a_sparse_disk_and_its_faults() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disks/d.img");
        Disk::create(&path, 120_000_000_000).unwrap();
        assert_eq!(Disk::first_non_zero(&path).unwrap(), None);
        let faults = Arc::new(Faults::default());
        let disk = Disk::open(&path, Arc::clone(&faults)).unwrap();
        disk.write_at(99_000_000_001, b"data").unwrap();
        assert_eq!(Disk::first_non_zero(&path).unwrap(), Some(99_000_000_001));
        assert!(disk.write_at(120_000_000_000 - 1, b"xx").is_err());

        faults.apply(Order::Set(Fault::LyingDiscard, 1));
        disk.discard(0, disk.bytes()).unwrap();
        assert_eq!(disk.read(99_000_000_001, 4).unwrap(), b"data");
        faults.apply(Order::Clear);
        disk.discard(0, disk.bytes()).unwrap();
        assert_eq!(Disk::first_non_zero(&path).unwrap(), None);

        faults.apply(Order::Set(Fault::DiskWriteError, 1));
        assert!(disk.write_at(0, b"x").is_err());
        assert!(disk.zero(0, 4096).is_err());
        faults.apply(Order::Set(Fault::DiskUnreadable, 1));
        assert!(disk.read(0, 1).is_err());
    }
}
