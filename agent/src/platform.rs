//! The machine as the agent sees it: what it can ask of the hardware.
//!
//! Implemented for real Linux hardware by `/init`, and by the simulated rack over sparse files. Everything that
//! decides (what is on a disk, what to erase, what to say to bootd) is on this side of the trait and runs unchanged on both.
//! Deliberately not here: power. [`crate::run`] returns what to do with it, and its caller does it.

use std::io;

use metal_proto::metal::v1::Hardware;

/// A machine. All calls may block; each is made from one thread at a time.
pub trait Platform {
    /// An open disk.
    type Disk: DiskHandle;

    /// Everything but the disks: `Hardware::disks` is left empty and ignored.
    fn hardware(&self) -> Hardware;

    /// The disks that are there now, in any order. Read anew for every report and every order.
    ///
    /// # Errors
    /// When the list itself cannot be read; a single bad disk is listed with what is known of it.
    fn disks(&self) -> io::Result<Vec<DiskFacts>>;

    /// Opens a disk that [`Platform::disks`] listed.
    ///
    /// # Errors
    /// [`Access::Exclusive`] fails if anything else uses the disk.
    fn open(&self, disk: &DiskFacts, access: Access) -> io::Result<Self::Disk>;

    /// False once the machine has lost its power: the agent stops within a fraction of a second and writes nothing more.
    /// Real hardware never says so.
    fn alive(&self) -> bool {
        true
    }

    /// A line for whoever watches the console. Holds no secret.
    fn log(&self, line: &str) {
        let _ = line;
    }
}

/// How a disk is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To look; never writes.
    Read,
    /// To erase; refused while anything else holds the disk.
    Exclusive,
}

/// What kind of disk it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskKind {
    /// NVMe namespace.
    Nvme,
    /// Does not rotate.
    Ssd,
    /// Rotates, or says so (virtio does).
    Hdd,
}

impl DiskKind {
    /// The word of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DiskKind::Nvme => "nvme",
            DiskKind::Ssd => "ssd",
            DiskKind::Hdd => "hdd",
        }
    }
}

/// A disk without its content. `serial` and `wwid` are trimmed of blanks; either may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFacts {
    /// `nvme0n1`: for people only, never an address.
    pub device: String,
    /// Serial number.
    pub serial: String,
    /// World-wide id.
    pub wwid: String,
    /// Stable path below `/sys/devices`.
    pub bus_path: String,
    /// Model.
    pub model: String,
    /// Kind.
    pub kind: DiskKind,
    /// Size in bytes.
    pub bytes: u64,
    /// Bytes per logical block: 512 or 4096.
    pub block_bytes: u32,
    /// Can be taken out.
    pub removable: bool,
    /// Refuses writes.
    pub readonly: bool,
    /// Who uses it now (a mount point, a RAID set); such a disk is never erased.
    pub held: Option<String>,
}

/// An open disk. Offsets and lengths are bytes. Whole ranges succeed or an error is returned.
pub trait DiskHandle {
    /// Size in bytes, as the open device says it.
    ///
    /// # Errors
    /// When the device does not answer.
    fn bytes(&mut self) -> io::Result<u64>;

    /// Fills `into` from `offset`.
    ///
    /// # Errors
    /// On a read error or past the end.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes all of `from` at `offset`.
    ///
    /// # Errors
    /// On a write error or past the end.
    fn write_at(&mut self, offset: u64, from: &[u8]) -> io::Result<()>;

    /// Makes a range read as zero (BLKZEROOUT). Multiple of the logical block.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] makes the agent write zeros instead; anything else fails the disk.
    fn zero(&mut self, offset: u64, bytes: u64) -> io::Result<()>;

    /// Tells the device that a range is unused (BLKDISCARD). A bonus: its answer is never trusted.
    ///
    /// # Errors
    /// Ignored by the agent.
    fn discard(&mut self, offset: u64, bytes: u64) -> io::Result<()>;

    /// Waits until everything written has reached the medium (fsync). The only place where a flush error shows.
    ///
    /// # Errors
    /// Fails the disk.
    fn sync(&mut self) -> io::Result<()>;

    /// Drops caches so that the next read comes from the device (BLKFLSBUF).
    ///
    /// # Errors
    /// Fails the disk: a read-back from the cache proves nothing.
    fn drop_cache(&mut self) -> io::Result<()>;
}
