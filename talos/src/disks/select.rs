//! The one disk of a machine on which Talos is installed.
//!
//! Promises: the same inventory, in any order, gives the same disk; the answer names it by what moves with it (serial
//! and WWID), never by a device name; each disk that was not taken has its reason. Never taken, whatever is asked: a
//! disk that is read-only or could not be read, that can be taken out, that is no whole disk, or that cannot be told
//! apart from another. Where such a nameless disk would come first, there is no answer: the words mean that disk, and
//! the next one may hold what nobody meant.

use std::fmt;

use super::pattern::{glob, like};
use super::size::{SizeRange, describe_size};
use crate::config::DiskSelector;

/// A disk as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name, which moves: for people only.
    pub device: String,
    /// The serial number; empty where there is none.
    pub serial: String,
    /// The World Wide Identifier; empty where there is none.
    pub wwid: String,
    /// The model.
    pub model: String,
    /// Where it is attached, as in `/sys/devices`.
    pub bus_path: String,
    /// Bytes.
    pub bytes: u64,
    /// What it is.
    pub kind: DiskKind,
    /// How it is attached.
    pub bus: Bus,
    /// Whether it can be written.
    pub access: Access,
    /// Whether it can be taken out.
    pub medium: Medium,
    /// The array of which it is a member (`md0`).
    pub array: Option<String>,
    /// Why it could not be read, where it could not.
    pub unreadable: Option<String>,
}

/// What a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskKind {
    /// On NVMe.
    Nvme,
    /// Without moving parts.
    Ssd,
    /// With moving parts.
    Hdd,
    /// A memory card or eMMC.
    Sd,
    /// Nobody said what it is.
    Unknown,
}

impl DiskKind {
    /// As `type` says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nvme => "nvme",
            Self::Ssd => "ssd",
            Self::Hdd => "hdd",
            Self::Sd => "sd",
            Self::Unknown => "not known",
        }
    }

    /// Reads a type.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Nvme, Self::Ssd, Self::Hdd, Self::Sd]
            .into_iter()
            .find(|k| k.as_str() == text)
    }
}

/// How a disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// By USB.
    Usb,
    /// Inside the machine.
    Internal,
    /// Nobody said where.
    Unknown,
}

/// Whether a disk can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It can.
    ReadWrite,
    /// It cannot.
    ReadOnly,
}

/// Whether a disk can be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// It stays.
    Fixed,
    /// It can be taken out.
    Removable,
}

/// What the disk must be. Serial, WWID and bus path are globs (`*`); the model is a pattern with `*` and `?` that
/// ignores case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What it is.
    pub kind: Option<DiskKind>,
    /// Its size.
    pub size: Option<SizeRange>,
    /// Its model.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its World Wide Identifier.
    pub wwid: Option<String>,
    /// Where it is attached.
    pub bus_path: Option<String>,
    /// Whether disks on USB may be taken.
    pub usb: Usb,
}

/// Whether disks on USB may be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usb {
    /// They may not.
    #[default]
    Refused,
    /// They may.
    Allowed,
}

/// Why a disk was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It cannot be written.
    ReadOnly,
    /// It can be taken out.
    Removable,
    /// It is on USB.
    Usb,
    /// It is empty: a reader without a card.
    NoMedium,
    /// It could not be read, and why.
    Unreadable(String),
    /// It is of another type.
    Kind(DiskKind),
    /// It has another size, in bytes.
    Size(u64),
    /// It has another model.
    Model(String),
    /// It has another serial number.
    Serial(String),
    /// It has another World Wide Identifier.
    Wwid(String),
    /// It is attached elsewhere.
    BusPath(String),
    /// It has neither serial nor WWID: it could be another disk after the next boot.
    Nameless,
    /// It shares its serial and WWID with this one.
    Twin(String),
    /// It fits, but this one comes first: the smallest, then by serial and WWID.
    Later(String),
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |text: &str| match text {
            "" => "not known".to_owned(),
            text => text.to_owned(),
        };
        match self {
            Self::ReadOnly => f.write_str("it is read-only"),
            Self::Removable => f.write_str("it can be taken out"),
            Self::Usb => f.write_str("it is on USB; usb = true would allow that"),
            Self::NoMedium => f.write_str("there is no medium in it"),
            Self::Unreadable(why) => write!(f, "it cannot be read ({why})"),
            Self::Kind(kind) => write!(f, "its type is {}", kind.as_str()),
            Self::Size(bytes) => write!(f, "its size is {}", describe_size(*bytes)),
            Self::Model(model) => write!(f, "its model is {}", or_none(model)),
            Self::Serial(serial) => write!(f, "its serial is {}", or_none(serial)),
            Self::Wwid(wwid) => write!(f, "its wwid is {}", or_none(wwid)),
            Self::BusPath(path) => write!(f, "its bus path is {}", or_none(path)),
            Self::Nameless => {
                f.write_str("it has neither serial nor wwid, so it has no stable name")
            }
            Self::Twin(other) => write!(f, "{other} has the same serial and wwid"),
            Self::Later(other) => write!(f, "it fits too, but {other} comes first"),
        }
    }
}

/// A disk that was not taken, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected<'a> {
    /// The disk.
    pub disk: &'a Disk,
    /// Why.
    pub reason: Rejection,
}

/// The disk that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The disk.
    pub disk: &'a Disk,
    /// By what the config names it: serial and WWID, as globs without stars.
    pub selector: DiskSelector,
    /// All the others, in the order of the inventory.
    pub rejected: Vec<Rejected<'a>>,
}

/// Why no disk was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError<'a> {
    /// The machine has no disk.
    #[error("the machine has no disk at all")]
    Empty,
    /// No disk fits.
    #[error("no disk fits: {}", Reasons(.0))]
    NoneFits(Vec<Rejected<'a>>),
    /// Nothing was asked, and there is more than one answer.
    #[error("the install disk is not stated and several could be it: {}", Names(.0))]
    Ambiguous(Vec<&'a Disk>),
    /// The disk that comes first cannot be named.
    #[error("{} comes first, but {}", .0.disk, .0.reason)]
    Unstable(Rejected<'a>),
}

struct Reasons<'a>(&'a [Rejected<'a>]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rejected) in self.0.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(f, "{separator}{}: {}", rejected.disk, rejected.reason)?;
        }
        Ok(())
    }
}

struct Names<'a>(&'a [&'a Disk]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, disk) in self.0.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(f, "{separator}{disk}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = [&self.serial, &self.wwid, &self.device]
            .into_iter()
            .find(|n| !n.is_empty())
            .map_or("a disk without a name", String::as_str);
        write!(f, "{name} (")?;
        for part in [&self.device, &self.model] {
            if !part.is_empty() && part != name {
                write!(f, "{part}, ")?;
            }
        }
        write!(f, "{})", describe_size(self.bytes))
    }
}

/// Takes the smallest disk that fits, then by serial and WWID.
///
/// # Errors
/// No disk fits, nothing was asked and several could be it, or the first one cannot be named.
pub fn select<'a>(disks: &'a [Disk], wanted: &Wanted) -> Result<Choice<'a>, SelectError<'a>> {
    if disks.is_empty() {
        return Err(SelectError::Empty);
    }
    let verdicts: Vec<(&Disk, Option<Rejection>)> =
        disks.iter().map(|d| (d, misfit(d, wanted))).collect();
    let fits = verdicts.iter().filter(|(_, verdict)| verdict.is_none());
    let mut fitting: Vec<&Disk> = fits.map(|(disk, _)| *disk).collect();
    fitting.sort_by_key(|d| (d.bytes, &d.serial, &d.wwid));
    let unstated = Wanted {
        usb: wanted.usb,
        ..Wanted::default()
    };
    if *wanted == unstated && fitting.len() > 1 {
        return Err(SelectError::Ambiguous(fitting));
    }
    let Some(&disk) = fitting.first() else {
        let all = verdicts.into_iter();
        let rejected =
            all.filter_map(|(disk, verdict)| verdict.map(|reason| Rejected { disk, reason }));
        return Err(SelectError::NoneFits(rejected.collect()));
    };
    if let Some(reason) = unstable(disk, disks) {
        return Err(SelectError::Unstable(Rejected { disk, reason }));
    }
    let rejected = verdicts
        .into_iter()
        .filter(|(other, _)| !std::ptr::eq(*other, disk))
        .map(|(other, verdict)| Rejected {
            disk: other,
            reason: verdict
                .or_else(|| unstable(other, disks))
                .unwrap_or_else(|| Rejection::Later(disk.to_string())),
        })
        .collect();
    Ok(Choice {
        disk,
        selector: selector(disk),
        rejected,
    })
}

/// What names a disk wherever it is plugged in.
fn selector(disk: &Disk) -> DiskSelector {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    DiskSelector {
        serial: some(&disk.serial),
        wwid: some(&disk.wwid),
        ..DiskSelector::default()
    }
}

fn misfit(disk: &Disk, wanted: &Wanted) -> Option<Rejection> {
    let differs = |pattern: &Option<String>, text: &str| {
        pattern.as_ref().is_some_and(|pattern| !glob(pattern, text))
    };
    if disk.access == Access::ReadOnly {
        Some(Rejection::ReadOnly)
    } else if disk.bytes == 0 {
        Some(Rejection::NoMedium)
    } else if let Some(why) = &disk.unreadable {
        Some(Rejection::Unreadable(why.clone()))
    } else if disk.bus == Bus::Usb && wanted.usb == Usb::Refused {
        Some(Rejection::Usb)
    } else if disk.medium == Medium::Removable && wanted.usb == Usb::Refused {
        Some(Rejection::Removable)
    } else if differs(&wanted.serial, &disk.serial) {
        Some(Rejection::Serial(disk.serial.clone()))
    } else if differs(&wanted.wwid, &disk.wwid) {
        Some(Rejection::Wwid(disk.wwid.clone()))
    } else if wanted.kind.is_some_and(|kind| kind != disk.kind) {
        Some(Rejection::Kind(disk.kind))
    } else if wanted.size.is_some_and(|size| !size.holds(disk.bytes)) {
        Some(Rejection::Size(disk.bytes))
    } else if wanted.model.as_ref().is_some_and(|m| !like(m, &disk.model)) {
        Some(Rejection::Model(disk.model.clone()))
    } else if differs(&wanted.bus_path, &disk.bus_path) {
        Some(Rejection::BusPath(disk.bus_path.clone()))
    } else {
        None
    }
}

/// Whether the config could not name exactly this disk.
fn unstable(disk: &Disk, disks: &[Disk]) -> Option<Rejection> {
    // A star in a serial would be a glob.
    let usable = |text: &str| !text.is_empty() && !text.contains('*');
    if !usable(&disk.serial) && !usable(&disk.wwid) {
        return Some(Rejection::Nameless);
    }
    // Another disk that the same selector would take: what this one lacks, the other may have.
    let takes = |name: &str, other: &str| name.is_empty() || glob(name, other);
    let twin = disks.iter().find(|other| {
        !std::ptr::eq(*other, disk)
            && takes(&disk.serial, &other.serial)
            && takes(&disk.wwid, &other.wwid)
    });
    twin.map(|other| Rejection::Twin(other.device.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(device: &str, serial: &str, bytes: u64) -> Disk {
        Disk {
            device: device.into(),
            serial: serial.into(),
            wwid: if serial.is_empty() {
                String::new()
            } else {
                format!("eui.{serial}")
            },
            model: "PM9A3".into(),
            bus_path: "/pci0000:00/0000:00:01.0/nvme".into(),
            bytes,
            kind: DiskKind::Nvme,
            bus: Bus::Internal,
            access: Access::ReadWrite,
            medium: Medium::Fixed,
            array: None,
            unreadable: None,
        }
    }

    const GB: u64 = 1_000_000_000;

    fn inventory() -> Vec<Disk> {
        let read_only = Disk {
            access: Access::ReadOnly,
            ..disk("sr0", "R1", 4 * GB)
        };
        let stick = Disk {
            bus: Bus::Usb,
            medium: Medium::Removable,
            kind: DiskKind::Ssd,
            ..disk("sdb", "U1", 32 * GB)
        };
        vec![
            disk("nvme1n1", "S2", 960 * GB),
            read_only,
            stick,
            disk("nvme0n1", "S1", 480 * GB),
            disk("vda", "", 2000 * GB),
            disk("nvme2n1", "S0", 480 * GB),
        ]
    }

    fn wanted(change: impl FnOnce(&mut Wanted)) -> Wanted {
        let mut wanted = Wanted::default();
        change(&mut wanted);
        wanted
    }

    #[test]
    fn the_smallest_that_fits_with_a_reason_for_each_other() {
        let disks = inventory();
        let wanted = wanted(|w| w.size = SizeRange::parse(">= 100GB"));
        let choice = select(&disks, &wanted).unwrap();
        assert_eq!(choice.disk.device, "nvme2n1");
        assert_eq!(choice.selector.serial.as_deref(), Some("S0"));
        assert_eq!(choice.selector.wwid.as_deref(), Some("eui.S0"));
        let reasons: Vec<String> = choice
            .rejected
            .iter()
            .map(|r| format!("{}: {}", r.disk.device, r.reason))
            .collect();
        insta::assert_snapshot!(reasons.join("\n"), @r"
        nvme1n1: it fits too, but S0 (nvme2n1, PM9A3, 480 GB) comes first
        sr0: it is read-only
        sdb: it is on USB; usb = true would allow that
        nvme0n1: it fits too, but S0 (nvme2n1, PM9A3, 480 GB) comes first
        vda: it has neither serial nor wwid, so it has no stable name
        ");
    }

    #[test]
    fn what_does_not_decide_is_an_error() {
        let disks = inventory();
        let error = select(&disks, &Wanted::default()).unwrap_err();
        assert!(matches!(error, SelectError::Ambiguous(ref all) if all.len() == 4));
        assert_eq!(select(&[], &Wanted::default()), Err(SelectError::Empty));
        let hdd = wanted(|w| w.kind = Some(DiskKind::Hdd));
        let error = select(&disks, &hdd).unwrap_err().to_string();
        assert!(
            error.contains("S2 (nvme1n1, PM9A3, 960 GB): its type is nvme"),
            "{error}"
        );
    }

    #[test]
    fn a_disk_that_cannot_be_named_is_never_passed_over() {
        let all = || wanted(|w| w.size = SizeRange::parse(">= 1GB"));
        let check = |disks: &[Disk], expected: &str| {
            let error = select(disks, &all()).unwrap_err();
            assert!(matches!(error, SelectError::Unstable(_)), "{error}");
            assert_eq!(error.to_string(), expected);
        };
        let nameless = [disk("vda", "", GB), disk("sdb", "S1", 2 * GB)];
        check(
            &nameless,
            "vda (PM9A3, 1 GB) comes first, but it has neither serial nor wwid, so it has no stable name",
        );
        let twins = [disk("sda", "X", GB), disk("sdb", "X", GB)];
        let same = "X (sda, PM9A3, 1 GB) comes first, but sdb has the same serial and wwid";
        check(&twins, same);
        // The selector of the first one, a serial alone, would take the other one too.
        let bare = Disk {
            wwid: String::new(),
            ..disk("sda", "X", GB)
        };
        check(&[bare.clone(), disk("sdb", "X", 2 * GB)], same);
        let other_way = [disk("sda", "X", GB), bare];
        assert_eq!(
            select(&other_way, &wanted(|w| w.wwid = Some("eui.X".into())))
                .unwrap()
                .disk
                .wwid,
            "eui.X"
        );
    }

    #[test]
    fn a_disk_that_cannot_be_read_is_never_taken() {
        let dead = Disk {
            unreadable: Some("I/O error".into()),
            ..disk("sda", "S1", GB)
        };
        let error = select(&[dead], &Wanted::default()).unwrap_err().to_string();
        assert!(error.contains("it cannot be read (I/O error)"), "{error}");
    }

    #[test]
    fn usb_only_where_it_is_asked_for() {
        let disks = inventory();
        let stick = wanted(|w| {
            w.serial = Some("U*".into());
            w.usb = Usb::Allowed;
        });
        assert_eq!(select(&disks, &stick).unwrap().disk.device, "sdb");
    }

    proptest::proptest! {
        #[test]
        fn the_order_of_the_inventory_does_not_matter(seed in proptest::collection::vec((0_u64..5, 0_u8..3), 0..7), turn in 0_usize..7) {
            let disks: Vec<Disk> = seed
                .iter()
                .enumerate()
                .map(|(n, (size, serial))| disk(&format!("sd{n}"), &format!("S{serial}"), size * GB))
                .collect();
            let mut turned = disks.clone();
            if !turned.is_empty() {
                turned.rotate_left(turn % disks.len());
            }
            let wanted = wanted(|w| w.size = SizeRange::parse(">= 1GB"));
            let name = |all: &[Disk]| select(all, &wanted).ok().map(|c| c.disk.device.clone());
            proptest::prop_assert_eq!(name(&disks), name(&turned));
        }
    }
}
