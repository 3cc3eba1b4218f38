//! The initial RAM disk as a kernel unpacks it: concatenated newc cpio archives, plain, gzip or zstd, with zero padding between.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};

/// Most bytes that are unpacked of all archives.
const UNPACKED_BYTES_MAX: u64 = 2 << 30;
/// Files up to this size are kept; of larger ones only the name counts.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// The root file system in RAM: paths without a leading slash. Content of large files is not kept.
pub type Root = BTreeMap<String, Entry>;

/// A file in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Mode with type bits.
    pub mode: u32,
    /// Content of small files.
    pub content: Vec<u8>,
    /// Size of the content.
    pub bytes: usize,
}

/// Why the kernel would panic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitrdError {
    /// A compression that the simulated kernel was not built with.
    #[error("initrd: unknown or unsupported format at byte {0}")]
    Format(usize),
    /// Broken content.
    #[error("initrd: {0}")]
    Broken(String),
}

/// Unpacks. Later archives win.
///
/// # Errors
/// See [`InitrdError`].
pub fn unpack(image: &[u8]) -> Result<Root, InitrdError> {
    let mut root = Root::new();
    let mut rest = image;
    let mut budget = UNPACKED_BYTES_MAX;
    loop {
        let padding = rest.iter().take_while(|byte| **byte == 0).count();
        rest = &rest[padding..];
        if rest.is_empty() {
            return Ok(root);
        }
        rest = match rest {
            [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] => archive(rest, &mut root)?,
            [0x1f, 0x8b, ..] => {
                let mut decoder = flate2::bufread::GzDecoder::new(rest);
                unpack_part(&mut decoder, &mut budget, &mut root)?;
                decoder.into_inner()
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(rest)
                    .map_err(broken)?
                    .single_frame();
                unpack_part(&mut decoder, &mut budget, &mut root)?;
                decoder.finish()
            }
            _ => return Err(InitrdError::Format(image.len() - rest.len())),
        };
    }
}

fn unpack_part(
    decoder: &mut dyn Read,
    budget: &mut u64,
    root: &mut Root,
) -> Result<(), InitrdError> {
    let mut plain = Vec::new();
    let mut limited = decoder.take(*budget);
    limited.read_to_end(&mut plain).map_err(broken)?;
    *budget = limited.limit();
    if *budget == 0 {
        return Err(InitrdError::Broken("unpacks to too much".to_owned()));
    }
    let mut inner = plain.as_slice();
    loop {
        let padding = inner.iter().take_while(|byte| **byte == 0).count();
        inner.consume(padding);
        if inner.is_empty() {
            return Ok(());
        }
        inner = archive(inner, root)?;
    }
}

/// One newc archive; what follows its trailer is returned.
fn archive<'a>(image: &'a [u8], root: &mut Root) -> Result<&'a [u8], InitrdError> {
    let short = || InitrdError::Broken("a cpio archive ends early".to_owned());
    let mut at = 0;
    loop {
        let header = image.get(at..at + 110).ok_or_else(short)?;
        if !header.starts_with(b"07070") {
            return Err(InitrdError::Broken(format!("no cpio header at byte {at}")));
        }
        let field = |n: usize| {
            std::str::from_utf8(&header[6 + 8 * n..14 + 8 * n])
                .ok()
                .and_then(|text| u32::from_str_radix(text, 16).ok())
                .ok_or_else(|| InitrdError::Broken("a cpio header is not hexadecimal".to_owned()))
        };
        let (mode, bytes, name_bytes) = (field(1)?, field(6)? as usize, field(11)? as usize);
        let name = image
            .get(at + 110..at + 110 + name_bytes)
            .ok_or_else(short)?;
        let name = String::from_utf8_lossy(name)
            .trim_end_matches('\0')
            .trim_start_matches("./")
            .trim_start_matches('/')
            .to_owned();
        let start = (at + 110 + name_bytes).next_multiple_of(4);
        let content = image.get(start..start + bytes).ok_or_else(short)?;
        at = (start + bytes).next_multiple_of(4).min(image.len());
        if name == "TRAILER!!!" {
            return Ok(&image[at..]);
        }
        let kept = if bytes <= KEPT_BYTES_MAX {
            content
        } else {
            &[]
        };
        root.insert(
            name,
            Entry {
                mode,
                content: kept.to_vec(),
                bytes,
            },
        );
    }
}

fn broken(error: std::io::Error) -> InitrdError {
    InitrdError::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn archive_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, content) in files {
            let mut writer = cpio::NewcBuilder::new(name)
                .mode(0o100_755)
                .write(&mut out, u32::try_from(content.len()).unwrap());
            writer.write_all(content).unwrap();
            writer.finish().unwrap();
        }
        cpio::newc::trailer(&mut out).unwrap();
        out
    }

    #[test]
    fn concatenated_and_compressed() {
        let mut image = archive_of(&[("init", b"agent"), ("metal/ca.pem", b"old")]);
        image.extend([0; 6]);
        image.extend(zstd::encode_all(archive_of(&[("a", b"1")]).as_slice(), 1).unwrap());
        image.extend([0; 4]);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&archive_of(&[("metal/ca.pem", b"new")]))
            .unwrap();
        image.extend(gz.finish().unwrap());
        let root = unpack(&image).unwrap();
        assert_eq!(root["init"].content, b"agent");
        assert_eq!(
            root["metal/ca.pem"].content, b"new",
            "the later archive wins"
        );
        assert_eq!(root["a"].bytes, 1);
        assert_eq!(unpack(b"\xfd7zXZ\0"), Err(InitrdError::Format(0)));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = unpack(&bytes);
            let mut image = archive_of(&[("init", b"x")]);
            image.truncate(110);
            image.extend(bytes);
            let _ = unpack(&image);
        }
    }
}
