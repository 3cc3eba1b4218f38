//! The admin's kubeconfig, made from the config's Kubernetes CA, as a tar.gz with one file `kubeconfig`.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use tonic::Status;

use crate::talosnode::config::Config;

/// Makes it.
///
/// # Errors
/// The config has no usable Kubernetes CA.
pub(super) fn archive(config: &Config) -> Result<Vec<u8>, Status> {
    let text = kubeconfig(config)?;
    let packed = (|| {
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        builder.append_data(&mut header, "kubeconfig", text.as_bytes())?;
        builder.into_inner()?.finish()
    })();
    packed.map_err(|error| Status::internal(error.to_string()))
}

fn kubeconfig(config: &Config) -> Result<String, Status> {
    let broken = |error: rcgen::Error| Status::internal(format!("kubernetes CA: {error}"));
    let ca = config
        .kubernetes_ca()
        .filter(|ca| !ca.key.is_empty())
        .ok_or_else(|| Status::internal("the config has no kubernetes CA"))?;
    let ca_key = KeyPair::from_pem(&ca.key).map_err(broken)?;
    let issuer = Issuer::from_ca_cert_pem(&ca.certificate, ca_key).map_err(broken)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(broken)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    params.distinguished_name.push(DnType::CommonName, "admin");
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let now = SystemTime::now();
    params.not_before = (now - Duration::from_secs(10)).into();
    params.not_after = (now + Duration::from_secs(365 * 24 * 3600)).into();
    let certificate = params.signed_by(&key, &issuer).map_err(broken)?;
    let (name, server) = (config.cluster_name(), config.endpoint());
    Ok(format!(
        "apiVersion: v1\nkind: Config\nclusters:\n    - name: {name}\n      cluster:\n        server: {server}\n        \
         certificate-authority-data: {}\nusers:\n    - name: admin@{name}\n      user:\n        client-certificate-data: {}\n        \
         client-key-data: {}\ncontexts:\n    - context:\n        cluster: {name}\n        namespace: default\n        user: admin@{name}\n      \
         name: admin@{name}\ncurrent-context: admin@{name}\n",
        STANDARD.encode(&ca.certificate),
        STANDARD.encode(certificate.pem()),
        STANDARD.encode(key.serialize_pem()),
    ))
}
