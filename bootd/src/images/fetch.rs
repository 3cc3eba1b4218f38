//! One file from the factory to the disk: resumed by range, bounded, renamed into place when whole.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{ImageError, ImageId, Pin, Settings, disk};
use crate::egress::{Egress, NotAllowed};

/// How often one fetch goes on after a broken transfer.
const ATTEMPTS: u32 = 4;
/// Largest answer to a schematic.
const SCHEMATIC_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Fetcher {
    client: Client,
    egress: Egress,
    factory: Url,
    bytes_max: u64,
}

/// Outcome of one transfer.
enum Transfer {
    /// All bytes are in the part file.
    Whole,
    /// The server no longer has what the part file began with.
    StartOver,
}

impl Fetcher {
    pub(super) fn new(settings: &Settings) -> Result<Self, ImageError> {
        let refuse = || ImageError::Factory {
            url: settings.factory.clone(),
        };
        let base = format!("{}/", settings.factory.trim_end_matches('/'));
        let factory = Url::parse(&base).map_err(|_| refuse())?;
        if !matches!(factory.scheme(), "http" | "https") || factory.host_str().is_none() {
            return Err(refuse());
        }
        let egress = Egress::from(settings.egress.clone());
        let client = egress.client(settings.idle).map_err(|_| refuse())?;
        Ok(Self {
            client,
            egress,
            factory,
            bytes_max: settings.bytes_max,
        })
    }

    pub(super) fn image_url(&self, id: &ImageId, file: &str) -> Result<Url, ImageError> {
        self.url(&format!("{}/{file}", id.url_path()))
    }

    fn url(&self, path: &str) -> Result<Url, ImageError> {
        let url = self.factory.join(path).map_err(|_| ImageError::Factory {
            url: self.factory.to_string(),
        })?;
        if self.egress.allows_url(&url) {
            Ok(url)
        } else {
            Err(ImageError::Egress {
                url: url.to_string(),
            })
        }
    }

    /// Makes `path` hold what `url` serves, unless it is there already.
    pub(super) async fn file(&self, url: &Url, path: &Path) -> Result<Pin, ImageError> {
        if !tokio::fs::try_exists(path).await.unwrap_or(false) {
            let part = Part::beside(path);
            self.fill(url, &part).await?;
            let file = tokio::fs::File::open(&part.data)
                .await
                .map_err(|e| disk(&part.data, e))?;
            file.sync_all().await.map_err(|e| disk(&part.data, e))?;
            tokio::fs::rename(&part.data, path)
                .await
                .map_err(|e| disk(path, e))?;
            let _ = tokio::fs::remove_file(&part.validator).await;
        }
        digest(path).await.map_err(|e| disk(path, e))
    }

    async fn fill(&self, url: &Url, part: &Part) -> Result<(), ImageError> {
        let mut attempt = 1;
        loop {
            match self.transfer(url, part).await {
                Ok(Transfer::Whole) => return Ok(()),
                Ok(Transfer::StartOver) => part.discard().await,
                Err(ImageError::DiskFull { path }) => {
                    // A half file would keep the disk full.
                    part.discard().await;
                    return Err(ImageError::DiskFull { path });
                }
                Err(error @ (ImageError::Transfer { .. } | ImageError::Short { .. }))
                    if attempt < ATTEMPTS =>
                {
                    tracing::info!(%url, attempt, %error, "fetch broke off, going on");
                }
                Err(error) => return Err(error),
            }
            attempt += 1;
            if attempt > ATTEMPTS {
                return Err(ImageError::Content {
                    url: url.to_string(),
                    what: "something else with every request",
                });
            }
            tokio::time::sleep(Duration::from_millis(200 * u64::from(attempt))).await;
        }
    }

    async fn transfer(&self, url: &Url, part: &Part) -> Result<Transfer, ImageError> {
        let (have, validator) = part.state().await;
        let mut request = self.client.get(url.clone());
        if have > 0 {
            request = request
                .header(RANGE, format!("bytes={have}-"))
                .header(IF_RANGE, validator);
        }
        let response = request.send().await.map_err(|e| broken(url, e))?;
        let start = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if have > 0 && range_start(&response) == Some(have) => have,
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT if have > 0 => {
                return Ok(Transfer::StartOver);
            }
            status => return Err(refused(url, status)),
        };
        let total = response.content_length().map(|rest| start + rest);
        if total.is_some_and(|total| total > self.bytes_max) {
            return Err(self.too_large(url));
        }
        part.note_validator(response.headers()).await?;
        let mut file = tokio::fs::OpenOptions::new()
            .create(true)
            .append(start > 0)
            .write(true)
            .truncate(start == 0)
            .open(&part.data)
            .await
            .map_err(|e| disk(&part.data, e))?;
        let outcome = self.copy(url, response, &mut file, start).await;
        file.flush().await.map_err(|e| disk(&part.data, e))?;
        let got = outcome?.map_err(|e| disk(&part.data, e))?;
        match total {
            Some(want) if got < want => Err(ImageError::Short {
                url: url.to_string(),
                got,
                want,
            }),
            _ => Ok(Transfer::Whole),
        }
    }

    async fn copy(
        &self,
        url: &Url,
        mut response: Response,
        file: &mut tokio::fs::File,
        start: u64,
    ) -> Result<io::Result<u64>, ImageError> {
        let mut got = start;
        while let Some(chunk) = response.chunk().await.map_err(|e| broken(url, e))? {
            got += chunk.len() as u64;
            if got > self.bytes_max {
                return Err(self.too_large(url));
            }
            if let Err(error) = file.write_all(&chunk).await {
                return Ok(Err(error));
            }
        }
        Ok(Ok(got))
    }

    pub(super) async fn register(&self, yaml: &str) -> Result<String, ImageError> {
        #[derive(Deserialize)]
        struct Registered {
            id: String,
        }
        let url = self.url("schematics")?;
        let mut response = self
            .client
            .post(url.clone())
            .body(yaml.to_owned())
            .send()
            .await
            .map_err(|e| broken(&url, e))?;
        if !response.status().is_success() {
            return Err(refused(&url, response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| broken(&url, e))? {
            body.extend_from_slice(&chunk);
            if body.len() > SCHEMATIC_BYTES_MAX {
                return Err(self.too_large(&url));
            }
        }
        let registered: Registered =
            serde_json::from_slice(&body).map_err(|_| ImageError::Content {
                url: url.to_string(),
                what: "no schematic id",
            })?;
        Ok(registered.id)
    }

    fn too_large(&self, url: &Url) -> ImageError {
        ImageError::TooLarge {
            url: url.to_string(),
            bytes_max: self.bytes_max,
        }
    }
}

/// A file that is not whole yet, and the validator (RFC 9110 §8.8) of what it began with.
struct Part {
    data: PathBuf,
    validator: PathBuf,
}

impl Part {
    fn beside(path: &Path) -> Self {
        Self {
            data: path.with_added_extension("part"),
            validator: path.with_added_extension("part.etag"),
        }
    }

    /// How much there is to build on: nothing without a validator, because the rest might be of another file.
    async fn state(&self) -> (u64, String) {
        let validator = tokio::fs::read_to_string(&self.validator).await;
        let data = tokio::fs::metadata(&self.data).await;
        match (validator, data) {
            (Ok(validator), Ok(data)) if !validator.is_empty() => (data.len(), validator),
            _ => (0, String::new()),
        }
    }

    async fn note_validator(&self, headers: &HeaderMap) -> Result<(), ImageError> {
        let strong = headers
            .get(ETAG)
            .filter(|tag| !tag.as_bytes().starts_with(b"W/"));
        let validator = strong
            .or_else(|| headers.get(LAST_MODIFIED))
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        tokio::fs::write(&self.validator, validator)
            .await
            .map_err(|e| disk(&self.validator, e))
    }

    async fn discard(&self) {
        let _ = tokio::fs::remove_file(&self.data).await;
        let _ = tokio::fs::remove_file(&self.validator).await;
    }
}

/// First byte of a `Content-Range: bytes A-B/C`.
fn range_start(response: &Response) -> Option<u64> {
    let value = response.headers().get("content-range")?.to_str().ok()?;
    let range = value.strip_prefix("bytes ")?;
    range.split('-').next()?.trim().parse().ok()
}

fn broken(url: &Url, source: reqwest::Error) -> ImageError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&source);
    while let Some(error) = cause {
        if error.is::<NotAllowed>() {
            return ImageError::Egress {
                url: url.to_string(),
            };
        }
        cause = error.source();
    }
    ImageError::Transfer {
        url: url.to_string(),
        source: Arc::new(source.without_url()),
    }
}

fn refused(url: &Url, status: StatusCode) -> ImageError {
    let hint = match status.as_u16() {
        300..=399 => {
            "it sends us to another host, which the image cache does not follow; use a factory or mirror that serves its files itself"
        }
        404 | 400 => "the factory does not have it; check schematic, version and architecture",
        401 | 403 => "the factory wants credentials; use a mirror that needs none",
        _ => "try again, and look at the factory's own log",
    };
    ImageError::Status {
        url: url.to_string(),
        status: status.as_u16(),
        hint,
    }
}

async fn digest(path: &Path) -> io::Result<Pin> {
    let mut file = tokio::fs::File::open(path).await?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        let n = file.read(&mut buffer).await?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        bytes += n as u64;
    }
    Ok(Pin {
        sha256: hex(&hash.finalize()),
        bytes,
    })
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
