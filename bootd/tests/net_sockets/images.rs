//! The image cache against an Image Factory on loopback that cuts, changes, redirects and lies.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bootd::images::{ImageCache, ImageError};

use super::fixture::image_settings;

/// A factory with one image.
pub(crate) struct Factory {
    pub(crate) url: String,
    state: Arc<Mutex<Shelf>>,
}

#[derive(Default)]
struct Shelf {
    files: BTreeMap<String, Vec<u8>>,
    /// Bytes of the next answers after which the connection breaks.
    cuts: Vec<usize>,
    redirect: Option<String>,
    requests: Vec<String>,
}

const KERNEL: &str = "kernel-amd64";
const INITRD: &str = "initramfs-amd64.xz";
const CMDLINE: &str = "cmdline-metal-amd64";

impl Factory {
    pub(crate) async fn start() -> Self {
        let files = BTreeMap::from([
            (KERNEL.to_owned(), vec![1; 300_000]),
            (
                INITRD.to_owned(),
                (0..2_000_000u32).map(|n| n.to_le_bytes()[1]).collect(),
            ),
            (
                CMDLINE.to_owned(),
                b"talos.platform=metal console=tty0\n".to_vec(),
            ),
        ]);
        let state = Arc::new(Mutex::new(Shelf {
            files,
            ..Shelf::default()
        }));
        let router = Router::new()
            .route("/image/{schematic}/{version}/{file}", get(serve))
            .route(
                "/schematics",
                post(async |body: String| {
                    format!(
                        "{{\"id\":\"{}\"}}",
                        "c".repeat(60) + &format!("{:04}", body.len())
                    )
                }),
            )
            .with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, state }
    }

    pub(crate) fn image(&self) -> String {
        format!("{}/v1.13.2/amd64", "a".repeat(64))
    }

    fn set(&self, change: impl FnOnce(&mut Shelf)) {
        change(&mut self.state.lock().unwrap());
    }

    fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}

async fn serve(
    State(state): State<Arc<Mutex<Shelf>>>,
    Path((_, _, file)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let mut shelf = state.lock().unwrap();
    let range = headers
        .get("range")
        .map_or("whole", |r| r.to_str().unwrap())
        .to_owned();
    shelf.requests.push(format!("{file} {range}"));
    if let Some(to) = &shelf.redirect {
        return (StatusCode::FOUND, [("location", to.clone())]).into_response();
    }
    let Some(content) = shelf.files.get(&file).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{}\"", content.iter().map(|b| u64::from(*b)).sum::<u64>());
    let matches = headers
        .get("if-range")
        .is_some_and(|t| t.to_str().unwrap() == tag);
    let start = match range
        .strip_prefix("bytes=")
        .and_then(|r| r.strip_suffix('-'))
    {
        Some(start) if matches => start.parse::<usize>().unwrap(),
        _ => 0,
    };
    let body = content[start..].to_vec();
    let length = body.len();
    let status = if start > 0 {
        StatusCode::PARTIAL_CONTENT
    } else {
        StatusCode::OK
    };
    let cut = if shelf.cuts.is_empty() {
        length
    } else {
        shelf.cuts.remove(0).min(length)
    };
    let mut chunks = vec![Ok(body[..cut].to_vec())];
    if cut < length {
        chunks.push(Err(io::Error::other("cut")));
    }
    let of = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
    (
        status,
        [
            ("etag", tag),
            ("content-range", of),
            ("content-length", length.to_string()),
        ],
        Body::from_stream(futures::stream::iter(chunks)),
    )
        .into_response()
}

fn open(dir: &tempfile::TempDir, factory: &Factory) -> Arc<ImageCache> {
    Arc::new(ImageCache::new(image_settings(dir, &factory.url)).unwrap())
}

/// The names of all files below a directory.
fn files(dir: &std::path::Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            names.extend(files(&entry.path()));
        } else {
            names.push(entry.file_name().into_string().unwrap());
        }
    }
    names.sort();
    names
}

#[tokio::test]
async fn fetched_once_and_found_again() {
    let factory = Factory::start().await;
    let dir = tempfile::tempdir().unwrap();
    let cache = open(&dir, &factory);
    let id = factory.image();
    assert_eq!(cache.cached(&id), None);
    // Callers at once, one of which gives up: one fetch.
    let gives_up = tokio::spawn({
        let (cache, id) = (Arc::clone(&cache), id.clone());
        async move { cache.ensure(&id).await }
    });
    let (a, b) = tokio::join!(cache.ensure(&id), async {
        gives_up.abort();
        cache.ensure(&id).await
    });
    let image = a.unwrap();
    assert_eq!(image, b.unwrap());
    assert_eq!(image.cmdline, "talos.platform=metal console=tty0");
    assert_eq!(
        (image.kernel.bytes, image.initrd.bytes),
        (300_000, 2_000_000)
    );
    assert_eq!(
        factory.requests(),
        [
            format!("{KERNEL} whole"),
            format!("{INITRD} whole"),
            format!("{CMDLINE} whole")
        ]
    );
    assert_eq!(
        files(dir.path()),
        ["cmdline", "initramfs.xz", "kernel", "pins.json"]
    );
    // Another run finds it without asking.
    let again = open(&dir, &factory);
    assert_eq!(again.cached(&id), Some(image.clone()));
    assert_eq!(again.file(&image.initrd.digest).unwrap().0, image.initrd);
    assert_eq!(again.ensure(&id).await.unwrap(), image);
    assert_eq!(factory.requests().len(), 3);
}

#[tokio::test]
async fn a_cut_transfer_goes_on_where_it_broke() {
    let factory = Factory::start().await;
    let dir = tempfile::tempdir().unwrap();
    // The kernel comes whole; the initramfs breaks twice.
    factory.set(|s| s.cuts = vec![usize::MAX, 700_000, 600_000]);
    let image = open(&dir, &factory).ensure(&factory.image()).await.unwrap();
    let requests = factory.requests();
    assert_eq!(requests.len(), 5, "{requests:?}");
    assert!(
        requests[2].starts_with(&format!("{INITRD} bytes=")),
        "{requests:?}"
    );
    let content = std::fs::read(&image.initrd.path).unwrap();
    assert_eq!(content, factory.state.lock().unwrap().files[INITRD]);
}

#[tokio::test]
async fn a_crash_in_the_middle_leaves_no_half_image() {
    let factory = Factory::start().await;
    let dir = tempfile::tempdir().unwrap();
    let id = factory.image();
    // Every attempt of this run breaks.
    factory.set(|s| s.cuts = vec![usize::MAX, 500_000, 100_000, 100_000, 100_000]);
    let error = open(&dir, &factory).ensure(&id).await.unwrap_err();
    assert!(matches!(error, ImageError::Transfer { .. }), "{error:?}");
    assert!(
        !files(dir.path())
            .iter()
            .any(|f| f == "initramfs.xz" || f == "pins.json")
    );
    // The next run has no image, and goes on with the part.
    let cache = open(&dir, &factory);
    assert_eq!(cache.cached(&id), None);
    let before = factory.requests().len();
    // What the part began with has changed in the meantime: it starts over, nothing is glued together.
    factory.set(|s| {
        s.files.insert(INITRD.into(), vec![9; 1_500_000]);
    });
    let image = cache.ensure(&id).await.unwrap();
    assert_eq!(
        std::fs::read(&image.initrd.path).unwrap(),
        vec![9; 1_500_000]
    );
    let requests = factory.requests();
    assert!(
        requests[before].starts_with(&format!("{INITRD} bytes=")),
        "{requests:?}"
    );
}

#[tokio::test]
async fn changed_content_is_an_error() {
    let factory = Factory::start().await;
    let dir = tempfile::tempdir().unwrap();
    let id = factory.image();
    let image = open(&dir, &factory).ensure(&id).await.unwrap();
    std::fs::remove_file(&image.kernel.path).unwrap();
    factory.set(|s| {
        s.files.insert(KERNEL.into(), vec![2; 300_000]);
    });
    let error = open(&dir, &factory).ensure(&id).await.unwrap_err();
    assert!(
        matches!(&error, ImageError::Changed { pinned, .. } if *pinned == image.kernel.digest),
        "{error}"
    );
    assert!(!image.kernel.path.exists(), "what changed is not kept");
    // The old content is welcome again.
    factory.set(|s| {
        s.files.insert(KERNEL.into(), vec![1; 300_000]);
    });
    assert_eq!(open(&dir, &factory).ensure(&id).await.unwrap(), image);
}

#[tokio::test]
async fn refusals() {
    let factory = Factory::start().await;
    let dir = tempfile::tempdir().unwrap();
    let id = factory.image();
    let check = async |change: &dyn Fn(&mut bootd::images::Settings), want: &str| {
        let mut settings = image_settings(&dir, &factory.url);
        change(&mut settings);
        let error = match ImageCache::new(settings) {
            Ok(cache) => Arc::new(cache).ensure(&id).await.unwrap_err(),
            Err(error) => error,
        };
        let text = error
            .to_string()
            .replace(&factory.url, "FACTORY")
            .replace(&"a".repeat(64), "A");
        assert_eq!(text, want);
    };
    check(
        &|s| s.egress = vec!["10.0.0.0/8".parse().unwrap()],
        "FACTORY/image/A/v1.13.2/kernel-amd64 is outside [egress] allow: add the factory's network there, or use a local mirror",
    )
    .await;
    // A name is judged by its address.
    let port = factory.url.rsplit(':').next().unwrap().to_owned();
    check(
        &|s| {
            s.egress = vec!["10.0.0.0/8".parse().unwrap()];
            s.factory = format!("http://localhost:{port}/");
        },
        &format!("http://localhost:{port}/image/A/v1.13.2/kernel-amd64 is outside [egress] allow: add the factory's network there, or use a local mirror"),
    )
    .await;
    check(
        &|s| s.bytes_max = 1000,
        "FACTORY/image/A/v1.13.2/kernel-amd64 is larger than 1000 bytes, the largest file that the image cache accepts",
    )
    .await;
    check(
        &|s| s.factory = "ftp://x".into(),
        "image_factory \"ftp://x\" is not a usable http(s) URL",
    )
    .await;
    factory.set(|s| s.redirect = Some("http://127.0.0.9/elsewhere".into()));
    check(
        &|_| (),
        "FACTORY/image/A/v1.13.2/kernel-amd64 answered 302: it sends us to another host, which the image cache does not follow; use a factory or mirror that serves its files itself",
    )
    .await;
    factory.set(|s| {
        s.redirect = None;
        s.files
            .insert(CMDLINE.into(), b"<html>\nlog in\n</html>".to_vec());
    });
    check(
        &|_| (),
        "FACTORY/image/A/v1.13.2/cmdline-metal-amd64 holds no kernel command line",
    )
    .await;
    factory.set(|s| {
        s.files.remove(CMDLINE);
    });
    check(
        &|_| (),
        "FACTORY/image/A/v1.13.2/cmdline-metal-amd64 answered 404: the factory does not have it; check schematic, version and architecture",
    )
    .await;
}

#[tokio::test]
async fn schematics_are_registered() {
    let factory = Factory::start().await;
    let dir = tempfile::tempdir().unwrap();
    let id = open(&dir, &factory)
        .register("customization: {}\n")
        .await
        .unwrap();
    assert_eq!(id, "c".repeat(60) + "0018");
}

#[tokio::test]
async fn a_full_disk_is_named() {
    let factory = Factory::start().await;
    let dir = tempfile::tempdir().unwrap();
    let cache = open(&dir, &factory);
    let full = std::path::Path::new("/dev/full");
    if !full.exists() {
        eprintln!("SKIPPED: no /dev/full here");
        return;
    }
    // The kernel's part file is a device without space.
    let image = dir
        .path()
        .join("images")
        .join("a".repeat(64))
        .join("v1.13.2/amd64");
    std::fs::create_dir_all(&image).unwrap();
    std::os::unix::fs::symlink(full, image.join("kernel.part")).unwrap();
    let error = cache.ensure(&factory.image()).await.unwrap_err();
    assert!(matches!(error, ImageError::DiskFull { .. }), "{error:?}");
    assert!(
        error.to_string().contains("kernel.part\": free some"),
        "{error}"
    );
    assert!(
        !files(&image).iter().any(|f| f.starts_with("kernel")),
        "{:?}",
        files(&image)
    );
}
