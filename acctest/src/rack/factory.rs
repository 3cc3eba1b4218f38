//! The rack's own Image Factory: schematics and boot assets over HTTP, small and the same every time.
//!
//! What it serves is not Talos: the kernel says which version, schematic and architecture it stands for, and the simulated
//! firmware starts a [`crate::talosnode`] for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::plan::hex;
use crate::talosnode::yaml;

/// Versions that it has.
pub const VERSIONS: &[&str] = &["v1.11.6", "v1.12.4", "v1.13.8", "v1.13.9", "v1.14.0-rc.1"];
/// The id of `customization: {}`.
pub const VANILLA: &str = "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba";

const MARK: &str = "rack: simulated Talos";

/// What a kernel or initramfs of this factory stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    /// `kernel` or `initramfs`.
    pub what: String,
    /// `v1.13.9`.
    pub version: String,
    /// Schematic id.
    pub schematic: String,
    /// `amd64`.
    pub arch: String,
}

impl Stands {
    /// The asset's bytes.
    pub fn emit(&self) -> Vec<u8> {
        let head = if self.what == "kernel" { "MZ" } else { "" };
        let mut body = format!(
            "{head}\n{MARK} {} {} {} {}\n",
            self.what, self.version, self.schematic, self.arch
        )
        .into_bytes();
        // Some bulk, so that ranges and resumed downloads mean something.
        while body.len() < 256 << 10 {
            let digest: [u8; 32] = Sha256::digest(&body[body.len().saturating_sub(64)..]).into();
            body.extend(digest);
        }
        body
    }

    /// Reads what an image stands for; `None` if this factory did not make it.
    pub fn read(image: &[u8]) -> Option<Self> {
        let head = &image[..image.len().min(512)];
        let at = head
            .windows(MARK.len())
            .position(|w| w == MARK.as_bytes())?;
        let line = head[at + MARK.len()..].split(|b| *b == b'\n').next()?;
        let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        let mut word = || words.next().map(str::to_owned);
        Some(Self {
            what: word()?,
            version: word()?,
            schematic: word()?,
            arch: word()?,
        })
    }
}

/// Registered schematics: id to their kernel arguments.
#[derive(Debug, Default)]
pub struct Factory(Mutex<BTreeMap<String, Vec<String>>>);

impl Factory {
    /// The HTTP surface.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/schematics", post(register))
            .route("/versions", get(versions))
            .route("/image/{id}/{version}/{file}", get(image))
            .with_state(self)
    }
}

async fn versions() -> Json<&'static [&'static str]> {
    Json(VERSIONS)
}

async fn register(State(factory): State<Arc<Factory>>, body: String) -> Response {
    match canonical(&body) {
        Ok((text, arguments)) => {
            let id = hex(&<[u8; 32]>::from(Sha256::digest(text.as_bytes())));
            factory
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(id.clone(), arguments);
            (StatusCode::CREATED, Json(json!({ "id": id }))).into_response()
        }
        Err(why) => (StatusCode::BAD_REQUEST, why).into_response(),
    }
}

async fn image(
    State(factory): State<Arc<Factory>>,
    Path((id, version, file)): Path<(String, String, String)>,
) -> Response {
    let arguments = factory
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&id)
        .cloned()
        .or_else(|| (id == VANILLA).then(Vec::new));
    let Some(arguments) = arguments else {
        return (
            StatusCode::NOT_FOUND,
            format!("schematic not found: {id}\n"),
        )
            .into_response();
    };
    if !VERSIONS.contains(&version.as_str()) {
        return (
            StatusCode::NOT_FOUND,
            format!("no such version: {version}\n"),
        )
            .into_response();
    }
    let stands = |what: &str, arch: &str| {
        Stands {
            what: what.to_owned(),
            version: version.clone(),
            schematic: id.clone(),
            arch: arch.to_owned(),
        }
        .emit()
        .into_response()
    };
    match file.as_str() {
        "kernel-amd64" => stands("kernel", "amd64"),
        "initramfs-amd64.xz" => stands("initramfs", "amd64"),
        "cmdline-metal-amd64" => {
            let mut line = "talos.platform=metal console=tty0 init_on_alloc=1 slab_nomerge pti=on consoleblank=0 \
                nvme_core.io_timeout=4294967295 printk.devkmsg=on selinux=1"
                .to_owned();
            for argument in arguments {
                line.push(' ');
                line.push_str(&argument);
            }
            line.into_response()
        }
        _ => (StatusCode::NOT_FOUND, "no such asset\n").into_response(),
    }
}

/// A schematic as the factory writes it before it hashes it, and its kernel arguments. The keys that the factory knows, in its
/// order; an unknown key is an error.
fn canonical(body: &str) -> Result<(String, Vec<String>), String> {
    let document = yaml::documents(body)?.into_iter().next().ok_or("EOF")?;
    known(&document, "", &["overlay", "customization"])?;
    let mut text = String::new();
    if let Some(overlay) = document.get("overlay") {
        known(overlay, "overlay.", &["image", "name"])?;
        let part = |key: &str| overlay.get(key).and_then(Value::as_str).unwrap_or("");
        text += &format!(
            "overlay:\n    image: {}\n    name: {}\n",
            part("image"),
            part("name")
        );
    }
    let empty = json!({});
    let custom = document
        .get("customization")
        .filter(|value| !value.is_null())
        .unwrap_or(&empty);
    known(
        custom,
        "customization.",
        &["extraKernelArgs", "systemExtensions"],
    )?;
    let list = |value: Option<&Value>| -> Vec<String> {
        let items = value.and_then(Value::as_array).into_iter().flatten();
        items
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect()
    };
    let arguments = list(custom.get("extraKernelArgs"));
    let extensions = match custom.get("systemExtensions") {
        Some(extensions) => {
            known(
                extensions,
                "customization.systemExtensions.",
                &["officialExtensions"],
            )?;
            list(extensions.get("officialExtensions"))
        }
        None => Vec::new(),
    };
    if arguments.is_empty() && extensions.is_empty() {
        text += "customization: {}\n";
        return Ok((text, arguments));
    }
    text += "customization:\n";
    if !arguments.is_empty() {
        text += "    extraKernelArgs:\n";
        arguments
            .iter()
            .for_each(|a| text += &format!("        - {a}\n"));
    }
    if !extensions.is_empty() {
        text += "    systemExtensions:\n        officialExtensions:\n";
        extensions
            .iter()
            .for_each(|e| text += &format!("            - {e}\n"));
    }
    Ok((text, arguments))
}

fn known(value: &Value, path: &str, keys: &[&str]) -> Result<(), String> {
    let Some(object) = value.as_object() else {
        return Err(format!("{path}: not a mapping"));
    };
    for key in object.keys() {
        if !keys.contains(&key.as_str()) {
            return Err(format!("unknown field {path}{key}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(body: &str) -> Result<String, String> {
        let (text, _) = canonical(body)?;
        Ok(hex(&<[u8; 32]>::from(Sha256::digest(text.as_bytes()))))
    }

    #[test]
    fn ids_are_the_public_factorys() {
        assert_eq!(id("customization: {}").unwrap(), VANILLA);
        let guest = "customization:\n  systemExtensions:\n    officialExtensions: [siderolabs/qemu-guest-agent]\n";
        let guest = id(guest).unwrap();
        assert!(
            guest.starts_with("ce4c980550dd") && guest.ends_with("7515"),
            "{guest}"
        );
        assert_eq!(
            id("customisation: {}"),
            Err("unknown field customisation".to_owned())
        );
    }

    #[test]
    fn an_asset_says_what_it_stands_for() {
        let kernel = Stands {
            what: "kernel".to_owned(),
            version: "v1.13.9".to_owned(),
            schematic: VANILLA.to_owned(),
            arch: "amd64".to_owned(),
        };
        assert_eq!(Stands::read(&kernel.emit()), Some(kernel));
        assert_eq!(Stands::read(b"MZ a Debian kernel"), None);
    }
}
