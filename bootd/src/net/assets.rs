//! What is served to everybody who asks: the iPXE binaries by name, the agent's kernel and initrd by digest.
//!
//! All of it is read once, at start: a file that changes under a running bootd is noticed at the next start and never served half
//! old, half new. No request names a path: names are looked up in tables.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::settings::{AgentFiles, StartError};
use crate::images::CachedFile;

/// Largest file in the assets directory.
const BOOT_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The tables.
#[derive(Debug)]
pub(crate) struct Assets {
    boot_files: BTreeMap<String, Bytes>,
    /// The agent, if one is configured.
    pub(crate) agent: Option<AgentAssets>,
}

/// The agent as it is served.
#[derive(Debug)]
pub(crate) struct AgentAssets {
    /// Kernel.
    pub(crate) kernel: CachedFile,
    /// Agent, modules and our CA in one.
    pub(crate) initrd: CachedFile,
    /// Kernel arguments of the configuration.
    pub(crate) args: Vec<String>,
}

impl Assets {
    /// Reads the assets directory and assembles the agent's files in `cache`.
    pub(crate) fn load(
        assets: &Path,
        cache: &Path,
        agent: Option<&AgentFiles>,
        ca_pem: &str,
    ) -> Result<Self, StartError> {
        let boot_files = read_boot_files(assets).map_err(|source| StartError::Asset {
            what: "the assets directory",
            path: assets.to_owned(),
            source,
        })?;
        std::fs::create_dir_all(cache).map_err(|source| StartError::Asset {
            what: "the directory of assembled assets",
            path: cache.to_owned(),
            source,
        })?;
        let agent = match agent {
            Some(files) => Some(AgentAssets {
                kernel: store(cache, "[agent] kernel", &[&files.kernel], None)?,
                initrd: {
                    let mut parts = vec![files.initrd.as_path()];
                    parts.extend(files.modules.as_deref());
                    store(cache, "[agent] initrd", &parts, Some(ca_pem))?
                },
                args: files.args.clone(),
            }),
            None => None,
        };
        let loaded = Self { boot_files, agent };
        loaded.forget_others(cache);
        Ok(loaded)
    }

    /// A boot file by its name.
    pub(crate) fn boot_file(&self, name: &str) -> Option<&Bytes> {
        self.boot_files.get(name)
    }

    /// Removes what earlier runs assembled from other files.
    fn forget_others(&self, cache: &Path) {
        let keep: Vec<&Path> = self
            .agent
            .iter()
            .flat_map(|agent| [agent.kernel.path.as_path(), agent.initrd.path.as_path()])
            .collect();
        let Ok(entries) = std::fs::read_dir(cache) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_ours = name.len() == 64
                && name
                    .to_str()
                    .is_some_and(|name| name.bytes().all(|b| b.is_ascii_hexdigit()));
            if is_ours && !keep.contains(&entry.path().as_path()) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

fn read_boot_files(dir: &Path) -> io::Result<BTreeMap<String, Bytes>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // Through links: distributions link `ipxe.efi` from elsewhere.
        let Ok(meta) = std::fs::metadata(entry.path()) else {
            continue;
        };
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let is_plain = name.len() <= 63
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            && !name.starts_with('.');
        if !meta.is_file() || !is_plain {
            continue;
        }
        if meta.len() > BOOT_FILE_BYTES_MAX {
            tracing::warn!(name, bytes = meta.len(), "asset is too large, not served");
            continue;
        }
        files.insert(name, Bytes::from(std::fs::read(entry.path())?));
    }
    Ok(files)
}

/// Concatenates `parts`, each padded to four bytes when there is more than one, adds a cpio with our CA if one is given, and keeps
/// the result under its digest. The kernel unpacks concatenated archives, compressed or not, as long as each begins aligned.
fn store(
    cache: &Path,
    what: &'static str,
    parts: &[&Path],
    ca_pem: Option<&str>,
) -> Result<CachedFile, StartError> {
    let failed = |path: &Path| {
        let path: PathBuf = path.to_owned();
        move |source| StartError::Asset { what, path, source }
    };
    let temp = cache.join("assembling.part");
    let mut out = Digesting {
        inner: std::fs::File::create(&temp).map_err(failed(&temp))?,
        hash: Sha256::new(),
        bytes: 0,
    };
    for part in parts {
        let mut file = std::fs::File::open(part).map_err(failed(part))?;
        if !file.metadata().map_err(failed(part))?.is_file() {
            return Err(failed(part)(io::Error::other("not a plain file")));
        }
        copy(&mut file, &mut out).map_err(failed(part))?;
        if ca_pem.is_some() {
            out.pad().map_err(failed(&temp))?;
        }
    }
    if let Some(pem) = ca_pem {
        let archive = ca_archive(pem).map_err(failed(&temp))?;
        out.write_all(&archive).map_err(failed(&temp))?;
        out.pad().map_err(failed(&temp))?;
    }
    out.inner.sync_all().map_err(failed(&temp))?;
    let digest = crate::images::hex(&out.hash.finalize());
    let path = cache.join(&digest);
    std::fs::rename(&temp, &path).map_err(failed(&path))?;
    Ok(CachedFile {
        digest,
        bytes: out.bytes,
        path,
    })
}

fn copy(from: &mut std::fs::File, to: &mut impl io::Write) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let n = from.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..n])?;
    }
}

/// A cpio with `metal/ca.pem`: what the agent pins.
fn ca_archive(pem: &str) -> io::Result<Vec<u8>> {
    const DIRECTORY: u32 = 0o040_755;
    const FILE: u32 = 0o100_644;
    let length = u32::try_from(pem.len()).map_err(io::Error::other)?;
    let directory = cpio::NewcBuilder::new("metal")
        .ino(1)
        .mode(DIRECTORY)
        .nlink(2);
    let archive = directory.write(Vec::new(), 0).finish()?;
    let mut file = cpio::NewcBuilder::new("metal/ca.pem")
        .ino(2)
        .mode(FILE)
        .nlink(1)
        .write(archive, length);
    file.write_all(pem.as_bytes())?;
    cpio::newc::trailer(file.finish()?)
}

struct Digesting {
    inner: std::fs::File,
    hash: Sha256,
    bytes: u64,
}

impl Digesting {
    fn pad(&mut self) -> io::Result<()> {
        let missing = (4 - self.bytes % 4) % 4;
        let zeros = [0; 3];
        self.write_all(&zeros[..usize::try_from(missing).map_err(io::Error::other)?])
    }
}

impl io::Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_initrd_holds_every_part_aligned() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("assets/sub")).unwrap();
        std::fs::write(at("assets/snponly.efi"), b"snp").unwrap();
        std::fs::write(at("assets/.hidden"), b"x").unwrap();
        std::fs::write(at("kernel"), b"kernel").unwrap();
        std::fs::write(at("initrd"), b"agent").unwrap();
        std::fs::write(at("modules"), b"modules").unwrap();
        std::fs::create_dir_all(at("cache")).unwrap();
        std::fs::write(at("cache").join("0".repeat(64)), b"old").unwrap();
        let files = AgentFiles {
            kernel: at("kernel"),
            initrd: at("initrd"),
            modules: Some(at("modules")),
            args: vec![],
        };
        let assets = Assets::load(&at("assets"), &at("cache"), Some(&files), "CA PEM\n").unwrap();
        assert_eq!(
            assets.boot_files.keys().collect::<Vec<_>>(),
            ["snponly.efi"]
        );
        let agent = assets.agent.unwrap();
        assert_eq!(std::fs::read(&agent.kernel.path).unwrap(), b"kernel");
        let initrd = std::fs::read(&agent.initrd.path).unwrap();
        assert_eq!(initrd.len() as u64, agent.initrd.bytes);
        assert_eq!(
            crate::images::hex(&Sha256::digest(&initrd)),
            agent.initrd.digest
        );
        assert_eq!(&initrd[..16], b"agent\0\0\0modules\0");
        let reader = cpio::NewcReader::new(&initrd[16..]).unwrap();
        assert_eq!(reader.entry().name(), "metal");
        let mut reader = cpio::NewcReader::new(reader.finish().unwrap()).unwrap();
        assert_eq!(reader.entry().name(), "metal/ca.pem");
        let mut pem = String::new();
        reader.read_to_string(&mut pem).unwrap();
        assert_eq!(pem, "CA PEM\n");
        assert_eq!(std::fs::read_dir(at("cache")).unwrap().count(), 2);
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let files = AgentFiles {
            kernel: dir.path().join("no-kernel"),
            initrd: dir.path().join("no-initrd"),
            modules: None,
            args: vec![],
        };
        let error = Assets::load(dir.path(), &dir.path().join("c"), Some(&files), "").unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("[agent] kernel \"") && text.contains("no-kernel"),
            "{text}"
        );
    }
}
