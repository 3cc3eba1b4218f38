//! Boot archives: newc cpio, packed and read. Several may stand one behind the other, each plain or zstd, as the kernel reads them.
//!
//! The packer makes two: the agent itself, and the kernel's modules in load order. bootd appends a third with the pinned CA.
//! [`read_file`] is for whoever boots without a kernel (the simulated rack).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use cpio::newc::{Builder, ModeFileType, Reader, trailer};

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// An archive that unpacks to more is not one of ours.
const MAX_UNPACKED: u64 = 1 << 30;

/// What an archive may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// A directory.
    Directory,
    /// A file and its permission bits.
    File(Vec<u8>, u32),
    /// A character device: major and minor number.
    CharacterDevice(u32, u32),
}

/// Packs members by path, parents first (paths sort that way); no leading slash.
///
/// # Errors
/// When a file is larger than the format can say.
pub fn pack(members: &BTreeMap<String, Member>) -> io::Result<Vec<u8>> {
    let mut archive = Vec::new();
    for (path, ino) in members.iter().zip(1..) {
        let (path, member) = path;
        let builder = Builder::new(path).ino(ino).nlink(1);
        let (builder, content): (_, &[u8]) = match member {
            Member::Directory => (
                builder
                    .mode(0o755)
                    .set_mode_file_type(ModeFileType::Directory),
                &[],
            ),
            Member::File(content, mode) => (
                builder
                    .mode(*mode)
                    .set_mode_file_type(ModeFileType::Regular),
                content,
            ),
            Member::CharacterDevice(major, minor) => {
                let device = builder.mode(0o600).rdev_major(*major).rdev_minor(*minor);
                (device.set_mode_file_type(ModeFileType::Char), &[])
            }
        };
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        let mut writer = builder.write(archive, length);
        writer.write_all(content)?;
        archive = writer.finish()?;
    }
    trailer(archive)
}

/// The archive of the agent: `/init`, the directories that it mounts on, and the console that the kernel opens for it.
///
/// # Errors
/// As [`pack`].
pub fn pack_agent(init: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut members = BTreeMap::new();
    for directory in ["dev", "metal", "modules", "proc", "sys"] {
        members.insert(directory.to_owned(), Member::Directory);
    }
    members.insert("dev/console".to_owned(), Member::CharacterDevice(5, 1));
    members.insert("init".to_owned(), Member::File(init, 0o755));
    pack(&members)
}

/// The archive of modules, given in load order.
///
/// # Errors
/// As [`pack`].
pub fn pack_modules(modules: Vec<(String, Vec<u8>)>) -> io::Result<Vec<u8>> {
    let mut members = BTreeMap::from([("modules".to_owned(), Member::Directory)]);
    let mut order = String::new();
    for (name, content) in modules {
        order.push_str(&name);
        order.push('\n');
        members.insert(format!("modules/{name}"), Member::File(content, 0o644));
    }
    members.insert(
        "modules/order".to_owned(),
        Member::File(order.into_bytes(), 0o644),
    );
    pack(&members)
}

/// Compresses an archive as the kernel's RD_ZSTD reads it.
///
/// # Errors
/// When the compressor fails.
pub fn compress(archive: &[u8], level: i32) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(archive, level)
}

/// The last file of that path in all archives, as the kernel would leave it; `None` if there is none.
///
/// # Errors
/// On anything that is neither newc cpio nor zstd nor padding.
pub fn read_file(archives: &[u8], path: &str) -> io::Result<Option<Vec<u8>>> {
    let mut found = None;
    let mut rest = archives;
    while let Some(first) = rest.first() {
        if *first == 0 {
            rest = &rest[1..];
        } else if rest.starts_with(&ZSTD_MAGIC) {
            let length = zstd::zstd_safe::find_frame_compressed_size(rest)
                .map_err(|_| invalid("a damaged zstd frame"))?;
            let mut unpacked = Vec::new();
            zstd::stream::read::Decoder::new(&rest[..length])?
                .take(MAX_UNPACKED)
                .read_to_end(&mut unpacked)?;
            found = read_file(&unpacked, path)?.or(found);
            rest = &rest[length..];
        } else {
            let reader = Reader::new(rest)?;
            if reader.entry().is_trailer() {
                rest = reader.finish()?;
            } else {
                let (content, next) = content_if(reader, path)?;
                found = content.or(found);
                rest = next;
            }
        }
    }
    Ok(found)
}

fn content_if<'a>(
    mut reader: Reader<&'a [u8]>,
    path: &str,
) -> io::Result<(Option<Vec<u8>>, &'a [u8])> {
    let name = reader.entry().name();
    let name = name
        .strip_prefix("./")
        .unwrap_or(name)
        .trim_start_matches('/');
    if name != path {
        return Ok((None, reader.finish()?));
    }
    let mut content = Vec::new();
    reader.read_to_end(&mut content)?;
    Ok((Some(content), reader.finish()?))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Why a load order cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No such module.
    #[error("there is no module {0} (built in, compressed, or of another kernel?)")]
    Missing(String),
    /// Modules need each other in a circle.
    #[error("module {0} needs itself")]
    Circle(String),
}

/// The names of the wanted modules and of all that they need, what is needed first. `depends` gives a module's direct needs.
/// Names are compared as the kernel does: `-` is `_`.
///
/// # Errors
/// See [`OrderError`].
pub fn load_order(
    wanted: &[String],
    depends: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<String>, OrderError> {
    let mut order = Vec::new();
    for name in wanted {
        visit(
            &module_name(name),
            depends,
            &mut BTreeSet::new(),
            &mut order,
        )?;
    }
    Ok(order)
}

fn visit(
    name: &str,
    depends: &BTreeMap<String, Vec<String>>,
    open: &mut BTreeSet<String>,
    order: &mut Vec<String>,
) -> Result<(), OrderError> {
    if order.iter().any(|done| done == name) {
        return Ok(());
    }
    if !open.insert(name.to_owned()) {
        return Err(OrderError::Circle(name.to_owned()));
    }
    let needs = depends
        .get(name)
        .ok_or_else(|| OrderError::Missing(name.to_owned()))?;
    for need in needs {
        visit(&module_name(need), depends, open, order)?;
    }
    order.push(name.to_owned());
    Ok(())
}

/// A module's name as the kernel writes it.
#[must_use]
pub fn module_name(text: &str) -> String {
    text.replace('-', "_")
}

/// What a `.ko` file says it needs: the `depends=` of its `.modinfo`, which is there even where `modules.dep` is not.
#[must_use]
pub fn depends_of(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = &module[at + KEY.len()..];
    let value = &value[..value.iter().position(|b| *b == 0).unwrap_or(0)];
    String::from_utf8_lossy(value)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(module_name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_packed_is_read_again_behind_other_archives() {
        let agent = compress(&pack_agent(b"ELF".to_vec()).unwrap(), 3).unwrap();
        let modules = pack_modules(vec![
            ("virtio.ko".into(), b"V".to_vec()),
            ("sd_mod.ko".into(), b"S".to_vec()),
        ])
        .unwrap();
        let mut all = agent;
        all.resize(all.len().next_multiple_of(4), 0);
        all.extend(compress(&modules, 3).unwrap());
        all.resize(all.len().next_multiple_of(4), 0);
        all.extend(
            pack(&BTreeMap::from([(
                "metal/ca.pem".to_owned(),
                Member::File(b"PEM".to_vec(), 0o644),
            )]))
            .unwrap(),
        );
        assert_eq!(
            read_file(&all, "init").unwrap().as_deref(),
            Some(b"ELF".as_slice())
        );
        assert_eq!(
            read_file(&all, "metal/ca.pem").unwrap().as_deref(),
            Some(b"PEM".as_slice())
        );
        assert_eq!(
            read_file(&all, "modules/order").unwrap().as_deref(),
            Some(b"virtio.ko\nsd_mod.ko\n".as_slice())
        );
        assert_eq!(read_file(&all, "nothing").unwrap(), None);
    }

    #[test]
    fn needs_come_first_and_once() {
        let depends = |pairs: &[(&str, &[&str])]| {
            pairs
                .iter()
                .map(|(name, needs)| {
                    (
                        (*name).to_owned(),
                        needs.iter().map(|n| (*n).to_owned()).collect(),
                    )
                })
                .collect::<BTreeMap<_, _>>()
        };
        let tree = depends(&[
            ("ahci", &["libahci", "libata"]),
            ("libahci", &["libata"]),
            ("libata", &["scsi-mod"]),
            ("scsi_mod", &[]),
        ]);
        assert_eq!(
            load_order(&["ahci".into(), "scsi-mod".into()], &tree).unwrap(),
            ["scsi_mod", "libata", "libahci", "ahci"]
        );
        assert_eq!(
            load_order(&["nvme".into()], &tree),
            Err(OrderError::Missing("nvme".into()))
        );
        let circle = depends(&[("a", &["b"]), ("b", &["a"])]);
        assert_eq!(
            load_order(&["a".into()], &circle),
            Err(OrderError::Circle("a".into()))
        );
        assert_eq!(
            depends_of(b"x\0depends=crc-t10dif,scsi_mod\0y"),
            ["crc_t10dif", "scsi_mod"]
        );
        assert!(depends_of(b"x\0depends=\0y").is_empty());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0_usize..200) {
            let _ = depends_of(&bytes);
            let _ = read_file(&bytes, "init");
            let mut real = pack_agent(b"ELF".to_vec()).unwrap();
            for (n, byte) in bytes.iter().take(4).enumerate() {
                let place = (at + n * 50) % real.len();
                real[place] = *byte;
            }
            let _ = read_file(&real, "init");
        }
    }
}
