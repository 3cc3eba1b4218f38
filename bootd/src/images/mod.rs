//! The image cache: kernel, initramfs and command line of a Talos image, fetched once from an Image Factory and pinned.
//!
//! Promises: an image is served whole or not at all (a manifest is written last, files appear by rename); what was fetched once is
//! pinned by digest, and a factory that later serves something else under the same name is an error; an interrupted fetch goes on
//! where it stopped; any number of callers cause one fetch; only addresses in `[egress] allow` are dialled.
//! Deliberately not here: which image a machine boots, and eviction (an operator may delete an image's directory; the pins stay).

mod fetch;
mod id;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, Shared};
use serde::{Deserialize, Serialize};

use self::fetch::Fetcher;
pub(crate) use self::fetch::hex;
pub use self::id::{ImageId, NotAnImage};
pub use crate::egress::{Network, NotANetwork};

/// Where images come from and where they are kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cache's own directory; made if absent.
    pub dir: PathBuf,
    /// Base URL of the Image Factory, such as `https://factory.talos.dev`; a trailing slash is fine.
    pub factory: String,
    /// Networks that may be dialled (`[egress] allow`); everything else is refused, names by their resolved address.
    pub egress: Vec<Network>,
    /// Largest file that is accepted.
    pub bytes_max: u64,
    /// Longest silence of the factory.
    pub idle: Duration,
}

/// A file on disk under its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedFile {
    /// SHA-256, lower-case hex.
    pub digest: String,
    /// Length.
    pub bytes: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// A whole image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedImage {
    /// Kernel.
    pub kernel: CachedFile,
    /// Initial RAM disk.
    pub initrd: CachedFile,
    /// The image's kernel arguments, on one line.
    pub cmdline: String,
}

/// Which part of an image a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Kernel.
    Kernel,
    /// Initial RAM disk.
    Initrd,
}

/// Why an image is not there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImageError {
    /// The id is no `SCHEMATIC/VERSION/ARCH`.
    #[error("image {id:?}: {why}")]
    Id {
        /// As given.
        id: String,
        /// What is wrong with it.
        #[source]
        why: NotAnImage,
    },
    /// The factory's URL cannot be used.
    #[error("image_factory {url:?} is not a usable http(s) URL")]
    Factory {
        /// As configured.
        url: String,
    },
    /// The address is not in the allow list.
    #[error(
        "{url} is outside [egress] allow: add the factory's network there, or use a local mirror"
    )]
    Egress {
        /// What would have been dialled.
        url: String,
    },
    /// The factory says no.
    #[error("{url} answered {status}: {hint}")]
    Status {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
        /// One next step.
        hint: &'static str,
    },
    /// No connection, or one that broke too often.
    #[error("{url} could not be fetched; what arrived is kept and the next try goes on there")]
    Transfer {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: Arc<reqwest::Error>,
    },
    /// The answer ends too early although the connection did not break.
    #[error(
        "{url} ended after {got} of {want} bytes; what arrived is kept and the next try goes on there"
    )]
    Short {
        /// What was asked for.
        url: String,
        /// Bytes there are.
        got: u64,
        /// Bytes that were announced.
        want: u64,
    },
    /// More than is accepted.
    #[error(
        "{url} is larger than {bytes_max} bytes, the largest file that the image cache accepts"
    )]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The limit.
        bytes_max: u64,
    },
    /// Not what it was.
    #[error(
        "{url} changed: it was {pinned} at first fetch and is {found} now. Nothing was replaced; if the change is wanted, remove {manifest:?}"
    )]
    Changed {
        /// What was asked for.
        url: String,
        /// The digest at first fetch.
        pinned: String,
        /// The digest now.
        found: String,
        /// The file that holds the pin.
        manifest: PathBuf,
    },
    /// The cache's disk is full.
    #[error("no space left for {path:?}: free some, the image cache needs about 150 MB per image")]
    DiskFull {
        /// The file that did not fit.
        path: PathBuf,
    },
    /// The cache's directory fails.
    #[error("the image cache cannot use {path:?}")]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A text from the factory that is not what it should be.
    #[error("{url} holds {what}")]
    Content {
        /// What was asked for.
        url: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The fetching task died.
    #[error("the fetch of image {id} ended without a result")]
    Lost {
        /// Which image.
        id: String,
    },
}

type Ensuring = Shared<BoxFuture<'static, Result<CachedImage, ImageError>>>;

/// The cache. Shared behind an `Arc`.
#[derive(Debug)]
pub struct ImageCache {
    dir: PathBuf,
    fetcher: Fetcher,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    images: BTreeMap<String, CachedImage>,
    ensuring: BTreeMap<String, Ensuring>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("images", &self.images.keys())
            .field("ensuring", &self.ensuring.keys())
            .finish()
    }
}

/// What was fetched first, beside the files. Written last, kept for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    kernel: Pin,
    initrd: Pin,
    cmdline: Pin,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    sha256: String,
    bytes: u64,
}

const KERNEL: &str = "kernel";
const INITRD: &str = "initramfs.xz";
const CMDLINE: &str = "cmdline";
const MANIFEST: &str = "pins.json";

impl ImageCache {
    /// Opens the cache and finds what it holds. Blocks on the disk for as long as listing takes.
    pub fn new(settings: Settings) -> Result<Self, ImageError> {
        std::fs::create_dir_all(&settings.dir).map_err(|e| disk(&settings.dir, e))?;
        let fetcher = Fetcher::new(&settings)?;
        let mut images = BTreeMap::new();
        for id in stored_ids(&settings.dir).map_err(|e| disk(&settings.dir, e))? {
            if let Some(image) = load(&id.dir(&settings.dir))? {
                images.insert(id.to_string(), image);
            }
        }
        Ok(Self {
            dir: settings.dir,
            fetcher,
            state: Mutex::new(State {
                images,
                ensuring: BTreeMap::new(),
            }),
        })
    }

    /// The image if it is there, whole. Never dials.
    pub fn cached(&self, id: &str) -> Option<CachedImage> {
        self.state().images.get(id).cloned()
    }

    /// The file with this digest and what it is, from any image.
    pub fn file(&self, digest: &str) -> Option<(CachedFile, Part)> {
        self.state().images.values().find_map(|image| {
            if image.kernel.digest == digest {
                Some((image.kernel.clone(), Part::Kernel))
            } else if image.initrd.digest == digest {
                Some((image.initrd.clone(), Part::Initrd))
            } else {
                None
            }
        })
    }

    /// Fetches the image unless it is there. Concurrent calls for one image share one fetch, which goes on if a caller gives up.
    pub async fn ensure(self: &Arc<Self>, id: &str) -> Result<CachedImage, ImageError> {
        if let Some(image) = self.cached(id) {
            return Ok(image);
        }
        let image_id: ImageId = id.parse().map_err(|why| ImageError::Id {
            id: id.chars().take(200).collect(),
            why,
        })?;
        let ensuring = {
            let mut state = self.state();
            match state.ensuring.get(id) {
                Some(running) => running.clone(),
                None => {
                    let running = Arc::clone(self).spawn_fetch(image_id);
                    state.ensuring.insert(id.to_owned(), running.clone());
                    running
                }
            }
        };
        ensuring.await
    }

    /// Registers a schematic with the factory and returns its id. Idempotent: the id is the digest of its content.
    pub async fn register(&self, schematic_yaml: &str) -> Result<String, ImageError> {
        self.fetcher.register(schematic_yaml).await
    }

    fn spawn_fetch(self: Arc<Self>, id: ImageId) -> Ensuring {
        let name = id.to_string();
        let task = tokio::spawn(async move {
            let result = self.fetch(&id).await;
            let mut state = self.state();
            state.ensuring.remove(&id.to_string());
            if let Ok(image) = &result {
                state.images.insert(id.to_string(), image.clone());
            }
            result
        });
        async move {
            task.await
                .unwrap_or_else(|_| Err(ImageError::Lost { id: name }))
        }
        .boxed()
        .shared()
    }

    async fn fetch(&self, id: &ImageId) -> Result<CachedImage, ImageError> {
        let dir = id.dir(&self.dir);
        std::fs::create_dir_all(&dir).map_err(|e| disk(&dir, e))?;
        let pins = read_manifest(&dir)?;
        let mut found = Vec::new();
        for (remote, local, pin) in [
            (id.kernel_file(), KERNEL, pins.as_ref().map(|p| &p.kernel)),
            (id.initrd_file(), INITRD, pins.as_ref().map(|p| &p.initrd)),
            (
                id.cmdline_file(),
                CMDLINE,
                pins.as_ref().map(|p| &p.cmdline),
            ),
        ] {
            let path = dir.join(local);
            let url = self.fetcher.image_url(id, &remote)?;
            let fetched = self.fetcher.file(&url, &path).await?;
            if let Some(pin) = pin
                && pin.sha256 != fetched.sha256
            {
                let _ = std::fs::remove_file(&path);
                return Err(ImageError::Changed {
                    url: url.to_string(),
                    pinned: pin.sha256.clone(),
                    found: fetched.sha256,
                    manifest: dir.join(MANIFEST),
                });
            }
            found.push(fetched);
        }
        let [kernel, initrd, cmdline]: [Pin; 3] = found
            .try_into()
            .expect("one pin per file of the list above");
        let url = self.fetcher.image_url(id, &id.cmdline_file())?;
        check_cmdline(&dir.join(CMDLINE), url.as_str())?;
        if pins.is_none() {
            let manifest = Manifest {
                kernel,
                initrd,
                cmdline,
            };
            write_manifest(&dir, &manifest)?;
        }
        load(&dir)?.ok_or_else(|| ImageError::Lost { id: id.to_string() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The image in a directory, if every file is there with its pinned length.
fn load(dir: &Path) -> Result<Option<CachedImage>, ImageError> {
    let Some(manifest) = read_manifest(dir)? else {
        return Ok(None);
    };
    let file = |name: &str, pin: &Pin| {
        let path = dir.join(name);
        let is_whole = std::fs::metadata(&path).is_ok_and(|meta| meta.len() == pin.bytes);
        is_whole.then(|| CachedFile {
            digest: pin.sha256.clone(),
            bytes: pin.bytes,
            path,
        })
    };
    let (Some(kernel), Some(initrd), Some(cmdline)) = (
        file(KERNEL, &manifest.kernel),
        file(INITRD, &manifest.initrd),
        file(CMDLINE, &manifest.cmdline),
    ) else {
        return Ok(None);
    };
    let cmdline = std::fs::read_to_string(&cmdline.path).map_err(|e| disk(&cmdline.path, e))?;
    Ok(Some(CachedImage {
        kernel,
        initrd,
        cmdline: cmdline.trim().to_owned(),
    }))
}

fn check_cmdline(path: &Path, url: &str) -> Result<(), ImageError> {
    let refuse = |what| {
        // An answer that is no command line (a login page, say) must not be pinned.
        let _ = std::fs::remove_file(path);
        Err(ImageError::Content {
            url: url.to_owned(),
            what,
        })
    };
    let bytes = std::fs::read(path).map_err(|e| disk(path, e))?;
    if bytes.len() > 4096 {
        return refuse("more than a kernel command line");
    }
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return refuse("no text");
    };
    if text.trim().is_empty() || text.trim().contains(['\n', '\0']) {
        return refuse("no kernel command line");
    }
    Ok(())
}

fn read_manifest(dir: &Path) -> Result<Option<Manifest>, ImageError> {
    let path = dir.join(MANIFEST);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| disk(&path, e.into())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(disk(&path, e)),
    }
}

fn write_manifest(dir: &Path, manifest: &Manifest) -> Result<(), ImageError> {
    let path = dir.join(MANIFEST);
    let text = serde_json::to_vec_pretty(manifest).map_err(|e| disk(&path, e.into()))?;
    let temp = dir.join("pins.json.part");
    std::fs::write(&temp, text)
        .and_then(|()| std::fs::File::open(&temp)?.sync_all())
        .and_then(|()| std::fs::rename(&temp, &path))
        .map_err(|e| disk(&path, e))
}

/// Every `SCHEMATIC/VERSION/ARCH` directory; what has another name is somebody else's.
fn stored_ids(dir: &Path) -> io::Result<Vec<ImageId>> {
    let mut ids = Vec::new();
    for schematic in subdirectories(dir)? {
        for version in subdirectories(&dir.join(&schematic))? {
            for arch in subdirectories(&dir.join(&schematic).join(&version))? {
                if let Ok(id) = format!("{schematic}/{version}/{arch}").parse() {
                    ids.push(id);
                }
            }
        }
    }
    Ok(ids)
}

fn subdirectories(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

fn disk(path: &Path, source: io::Error) -> ImageError {
    if source.kind() == io::ErrorKind::StorageFull {
        ImageError::DiskFull {
            path: path.to_owned(),
        }
    } else {
        ImageError::Disk {
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }
}
