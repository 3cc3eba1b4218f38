//! What file systems, volume managers and other owners of disks leave at fixed places.
//!
//! [`probe`] looks at every listed offset of an extent (a whole disk or a partition) and never writes. The list is the meaning of
//! "blank": a disk on which nothing of it is found, at no listed offset.

use std::io;

/// Reads from the extent; the offset is relative to its start and always inside it.
pub(crate) type ReadAt<'a> = dyn FnMut(u64, &mut [u8]) -> io::Result<()> + 'a;

/// A signature found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// Relative to the extent's start.
    pub(crate) offset: u64,
    /// Bytes around it that must go with it.
    pub(crate) bytes: u64,
    /// `ext4`, `xfs`, …
    pub(crate) name: &'static str,
}

/// The ends of an extent, read once; places between them are read when asked for.
pub(crate) struct Window<'a> {
    read: &'a mut ReadAt<'a>,
    bytes: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// How much of each end a window holds: every signature but the far copies lies in it.
pub(crate) const END: u64 = 1 << 20;

impl<'a> Window<'a> {
    pub(crate) fn open(read: &'a mut ReadAt<'a>, bytes: u64) -> io::Result<Self> {
        let end = usize::try_from(bytes.min(END)).map_err(io::Error::other)?;
        let mut head = vec![0; end];
        let mut tail = vec![0; end];
        read(0, &mut head)?;
        read(bytes - end as u64, &mut tail)?;
        Ok(Self {
            read,
            bytes,
            head,
            tail,
        })
    }

    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    pub(crate) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// `None` where the extent is too small to have that place.
    fn at(&mut self, offset: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(end) = offset
            .checked_add(length as u64)
            .filter(|end| *end <= self.bytes)
        else {
            return Ok(None);
        };
        let tail_from = self.bytes - self.tail.len() as u64;
        if end <= self.head.len() as u64 {
            let from = usize::try_from(offset).map_err(io::Error::other)?;
            return Ok(Some(self.head[from..from + length].to_vec()));
        }
        if offset >= tail_from {
            let from = usize::try_from(offset - tail_from).map_err(io::Error::other)?;
            return Ok(Some(self.tail[from..from + length].to_vec()));
        }
        let mut bytes = vec![0; length];
        (self.read)(offset, &mut bytes)?;
        Ok(Some(bytes))
    }

    fn holds(&mut self, offset: u64, magic: &[u8]) -> io::Result<bool> {
        Ok(self
            .at(offset, magic.len())?
            .is_some_and(|found| found == magic))
    }
}

/// Magics at one or more fixed offsets: name, magic, offsets of the magic.
const FIXED: &[(&str, &[u8], &[u64])] = &[
    ("xfs", b"XFSB", &[0]),
    // The first copy and its mirrors at 64 MiB and 256 GiB.
    (
        "btrfs",
        b"_BHRfS_M",
        &[0x1_0040, 0x400_0040, 0x40_0000_0040],
    ),
    ("vfat", b"FAT12   ", &[0x36]),
    ("vfat", b"FAT16   ", &[0x36]),
    ("vfat", b"FAT32   ", &[0x52]),
    ("exfat", b"EXFAT   ", &[3]),
    ("ntfs", b"NTFS    ", &[3]),
    ("lvm2", b"LABELONE", &[0, 512, 1024, 1536]),
    ("luks", b"LUKS\xba\xbe", &[0]),
    // LUKS2 keeps a second header behind the first; where, depends on the header's size.
    (
        "luks",
        b"SKUL\xba\xbe",
        &[
            0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000,
        ],
    ),
    // The last ten bytes of a page of 4, 8, 16, 32 or 64 KiB.
    (
        "swap",
        b"SWAPSPACE2",
        &[0xff6, 0x1ff6, 0x3ff6, 0x7ff6, 0xfff6],
    ),
    (
        "swap",
        b"SWAP-SPACE",
        &[0xff6, 0x1ff6, 0x3ff6, 0x7ff6, 0xfff6],
    ),
    ("ceph", b"bluestore block device\n", &[0]),
    (
        "bcache",
        b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81",
        &[0x1018],
    ),
    ("iso9660", b"CD001", &[0x8001]),
    ("mdraid", b"\xfc\x4e\x2b\xa9", &[0, 0x1000]),
];

/// All signatures of an extent, sorted by place.
pub(crate) fn probe(window: &mut Window<'_>) -> io::Result<Vec<Mark>> {
    let mut marks = Vec::new();
    for (name, magic, offsets) in FIXED {
        for offset in *offsets {
            if window.holds(*offset, magic)? {
                marks.push(Mark {
                    offset: *offset,
                    bytes: magic.len() as u64,
                    name,
                });
            }
        }
    }
    marks.extend(ext(window)?);
    marks.extend(mdraid_at_the_end(window)?);
    marks.extend(zfs(window)?);
    marks.extend(boot_record(window, &marks)?);
    marks.sort_unstable();
    Ok(marks)
}

/// ext2, ext3 or ext4 by the features of the superblock at 1024.
fn ext(window: &mut Window<'_>) -> io::Result<Option<Mark>> {
    let Some(block) = window.at(1024, 0x68)? else {
        return Ok(None);
    };
    if block[0x38..0x3a] != [0x53, 0xef] {
        return Ok(None);
    }
    let word =
        |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let (compatible, incompatible, read_only) = (word(0x5c), word(0x60), word(0x64));
    // Extents, 64 bit, flexible groups, huge files, group checksums, metadata checksums: nothing before ext4 has them.
    let name = if incompatible & 0x02c0 != 0 || read_only & 0x0478 != 0 {
        "ext4"
    } else if compatible & 0x4 != 0 {
        "ext3"
    } else {
        "ext2"
    };
    Ok(Some(Mark {
        offset: 1024,
        bytes: 1024,
        name,
    }))
}

/// Version 0.9 stands 64 to 128 KiB before the end, version 1.0 about 8 KiB before it; both rounded down.
fn mdraid_at_the_end(window: &mut Window<'_>) -> io::Result<Vec<Mark>> {
    let bytes = window.bytes;
    let mut marks = Vec::new();
    let old = (bytes & !0xffff).checked_sub(0x1_0000);
    let new = (bytes / 512)
        .checked_sub(16)
        .map(|sector| (sector & !7) * 512);
    for (offset, magics) in [
        (old, [b"\xfc\x4e\x2b\xa9", b"\xa9\x2b\x4e\xfc"].as_slice()),
        (new, [b"\xfc\x4e\x2b\xa9"].as_slice()),
    ] {
        let Some(offset) = offset else { continue };
        for magic in magics {
            if window.holds(offset, *magic)? {
                marks.push(Mark {
                    offset,
                    bytes: 4096,
                    name: "mdraid",
                });
            }
        }
    }
    Ok(marks)
}

/// Four labels of 256 KiB, two at each end; each holds 128 KiB of uberblocks in steps of at least 1 KiB.
fn zfs(window: &mut Window<'_>) -> io::Result<Vec<Mark>> {
    const LABEL: u64 = 256 << 10;
    const RING: u64 = 128 << 10;
    let end = window.bytes & !(LABEL - 1);
    let labels = [
        Some(0),
        Some(LABEL),
        end.checked_sub(2 * LABEL),
        end.checked_sub(LABEL),
    ];
    let mut marks = Vec::new();
    for label in labels.into_iter().flatten() {
        let Some(ring) = window.at(label + RING, RING as usize)? else {
            continue;
        };
        let found = ring.chunks_exact(1024).any(|block| {
            block[..8] == 0x00ba_b10c_u64.to_le_bytes()
                || block[..8] == 0x00ba_b10c_u64.to_be_bytes()
        });
        if found {
            marks.push(Mark {
                offset: label,
                bytes: LABEL,
                name: "zfs",
            });
        }
    }
    Ok(marks)
}

/// A boot record that is not a file system's own first sector. A protective one counts: it is not nothing.
fn boot_record(window: &mut Window<'_>, marks: &[Mark]) -> io::Result<Option<Mark>> {
    let owned = marks
        .iter()
        .any(|mark| mark.offset < 512 && matches!(mark.name, "vfat" | "exfat" | "ntfs"));
    let found = !owned && window.holds(510, &[0x55, 0xaa])?;
    Ok(found.then_some(Mark {
        offset: 0,
        bytes: 512,
        name: "mbr",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(bytes: u64, writes: &[(u64, &[u8])]) -> Vec<(u64, &'static str)> {
        let mut read = |offset: u64, into: &mut [u8]| {
            into.fill(0);
            for (at, data) in writes {
                for (i, byte) in data.iter().enumerate() {
                    let place = at + i as u64;
                    if place >= offset && place < offset + into.len() as u64 {
                        into[(place - offset) as usize] = *byte;
                    }
                }
            }
            Ok(())
        };
        let mut window = Window::open(&mut read, bytes).unwrap();
        probe(&mut window)
            .unwrap()
            .into_iter()
            .map(|mark| (mark.offset, mark.name))
            .collect()
    }

    const GIB: u64 = 1 << 30;

    #[test]
    fn every_listed_magic_is_found_at_every_listed_offset() {
        for (name, magic, offsets) in FIXED {
            for offset in *offsets {
                assert_eq!(
                    check(600 * GIB, &[(*offset, magic)]),
                    [(*offset, *name)],
                    "{name} at {offset:#x}"
                );
            }
        }
    }

    #[test]
    fn signatures_that_need_a_second_look() {
        assert_eq!(check(GIB, &[]), []);
        assert_eq!(check(GIB, &[(1080, b"\x53\xef")]), [(1024, "ext2")]);
        assert_eq!(
            check(GIB, &[(1080, b"\x53\xef"), (1024 + 0x5c, b"\x04")]),
            [(1024, "ext3")]
        );
        assert_eq!(
            check(GIB, &[(1080, b"\x53\xef"), (1024 + 0x60, b"\x40")]),
            [(1024, "ext4")]
        );
        let raid = b"\xfc\x4e\x2b\xa9";
        assert_eq!(
            check(GIB + 512, &[(GIB - 65536, raid)]),
            [(GIB - 65536, "mdraid")]
        );
        assert_eq!(
            check(GIB + 512, &[(GIB - 8192, raid)]),
            [(GIB - 8192, "mdraid")]
        );
        let uberblock = 0x00ba_b10c_u64.to_le_bytes();
        assert_eq!(
            check(GIB + 512, &[(GIB - 100 * 1024, &uberblock)]),
            [(GIB - (256 << 10), "zfs")]
        );
        assert_eq!(check(GIB, &[(510, b"\x55\xaa")]), [(0, "mbr")]);
        assert_eq!(
            check(GIB, &[(510, b"\x55\xaa"), (0x52, b"FAT32   ")]),
            [(0x52, "vfat")]
        );
        assert_eq!(
            check(GIB, &[(0x400_0000 - 1, b"x_BHRfS_M")]),
            [],
            "one byte off is nothing"
        );
    }

    proptest! {
        #[test]
        fn never_panics_on_tiny_extents(bytes in 0_u64..5000, data in prop::collection::vec(any::<u8>(), 0..5000)) {
            let _ = check(bytes, &[(0, &data)]);
        }
    }
}
