//! The archive in which a node hands out a kubeconfig: one file of that name, as tar.gz.

use std::io::Read as _;

use super::ClientError;
use crate::secrets::Secret;

/// What the archive's own blocks may add.
const FRAME: u64 = 64 << 10;

pub(super) fn unpack(archive: &[u8], bytes_max: usize) -> Result<Secret, ClientError> {
    let broken = ClientError::Answer("the kubeconfig is not in an archive of its own");
    let limit = bytes_max as u64;
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive).take(limit + FRAME));
    let entries = tar.entries().map_err(|_| broken.clone())?;
    for entry in entries {
        let entry = entry.map_err(|_| broken.clone())?;
        if entry.path_bytes().as_ref() != b"kubeconfig" {
            continue;
        }
        let mut text = String::new();
        entry
            .take(limit)
            .read_to_string(&mut text)
            .map_err(|_| broken.clone())?;
        return Ok(Secret::new(text));
    }
    Err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(name: &str, text: &str) -> Vec<u8> {
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(encoder);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn the_file_of_that_name_and_nothing_else() {
        let good = archive("kubeconfig", "apiVersion: v1\n");
        assert_eq!(unpack(&good, 100).unwrap().expose(), "apiVersion: v1\n");
        for bad in [archive("other", "x"), b"no archive".to_vec(), Vec::new()] {
            assert!(matches!(unpack(&bad, 100), Err(ClientError::Answer(_))));
        }
    }
}
