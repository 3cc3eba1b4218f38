//! Tests of the secrets room: facts of Talos, and what must never happen.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;

const FILE: &str = include_str!("../../tests/data/bundles/v1.13.yaml");

fn now() -> Timestamp {
    "2026-11-21T07:00:00Z".parse().unwrap()
}

/// A counter: enough to be different everywhere, and the same in each run.
fn counting() -> impl FnMut(&mut [u8]) {
    let mut next = 0_u64;
    move |bytes: &mut [u8]| {
        for byte in bytes {
            next += 1;
            *byte = sha2::Sha256::digest(next.to_be_bytes())[0];
        }
    }
}

/// Contract 1.6 has no RSA key, whose randomness is not ours.
fn generated() -> Bundle {
    let contract = Contract::parse("v1.6", Generator::V1_13).unwrap();
    Bundle::generate(Generator::V1_13, contract, now(), &mut counting()).unwrap()
}

fn der(pem_text: &str) -> Vec<u8> {
    pem::parse(pem_text).unwrap().into_contents()
}

#[test]
fn files_of_talos_are_read_and_written_byte_for_byte() {
    for file in [FILE, include_str!("../../tests/data/bundles/v1.6.yaml")] {
        let bundle = Bundle::from_secrets_yaml(file).unwrap();
        assert_eq!(bundle.to_secrets_yaml().expose(), file);
    }
}

#[test]
fn what_is_generated_survives_a_round_trip_and_depends_on_its_arguments_only() {
    let bundle = generated();
    let file = bundle.to_secrets_yaml();
    assert_eq!(Bundle::from_secrets_yaml(file.expose()).unwrap(), bundle);
    assert_eq!(generated(), bundle);
    assert_eq!(bundle.fingerprint().len(), 64);
    let (first, second) = bundle.machine_token.expose().split_once('.').unwrap();
    assert_eq!((first.len(), second.len()), (6, 16));
}

#[test]
fn keys_have_the_lengths_that_go_expects() {
    let bundle = generated();
    let check = |key: &Secret, label: &str, bytes: usize| {
        let parsed = pem::parse(key.expose()).unwrap();
        assert_eq!((parsed.tag(), parsed.contents().len()), (label, bytes));
    };
    check(&bundle.os.key, "ED25519 PRIVATE KEY", 48);
    check(&bundle.etcd.key, "EC PRIVATE KEY", 121);
    check(&bundle.service_account, "EC PRIVATE KEY", 121);
}

#[test]
fn the_service_account_key_is_pkcs1_from_contract_1_7_on() {
    let contract = Contract::parse("v1.13", Generator::V1_13).unwrap();
    let bundle = Bundle::generate(Generator::V1_13, contract, now(), &mut counting()).unwrap();
    let parsed = pem::parse(bundle.service_account.expose()).unwrap();
    assert_eq!(parsed.tag(), "RSA PRIVATE KEY");
    // PKCS#1: version 0, then the modulus of 4096 bits with a leading zero.
    let modulus = der::element(parsed.contents(), 1).unwrap();
    assert_eq!((modulus.len(), modulus[0]), (513, 0));
}

#[test]
fn authorities_say_what_talos_says() {
    let bundle = generated();
    for (authority, subject) in [
        (&bundle.os, "O=talos"),
        (&bundle.etcd, "O=etcd"),
        (&bundle.kubernetes, "O=kubernetes"),
        (&bundle.aggregator, ""),
    ] {
        let bytes = der(&authority.certificate);
        let (rest, parsed) = X509Certificate::from_der(&bytes).unwrap();
        assert!(rest.is_empty());
        assert_eq!(parsed.subject().to_string(), subject);
        assert!(parsed.is_ca());
        let usage = parsed.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.digital_signature() && usage.value.key_cert_sign());
        let purposes = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(purposes.server_auth && purposes.client_auth && !purposes.any);
        let lifetime = parsed.validity().not_after - parsed.validity().not_before;
        assert_eq!(lifetime.unwrap().whole_hours(), 87_600);
        let order: Vec<String> = parsed
            .extensions()
            .iter()
            .map(|e| e.oid.to_string())
            .collect();
        assert_eq!(order, ["2.5.29.15", "2.5.29.37", "2.5.29.19", "2.5.29.14"]);
    }
}

#[test]
fn client_certificates_are_for_clients_only_with_all_roles_in_one_rdn() {
    let bundle = Bundle::from_secrets_yaml(FILE).unwrap();
    let roles = [Role::EtcdBackup, Role::Admin, Role::Reader];
    let client = bundle
        .client_certificate(&roles, Duration::from_hours(1), now(), &mut counting())
        .unwrap();
    let bytes = der(&client.certificate);
    let (_, parsed) = X509Certificate::from_der(&bytes).unwrap();
    let rdns: Vec<Vec<&str>> = parsed
        .subject()
        .iter_rdn()
        .map(|rdn| rdn.iter().map(|a| a.as_str().unwrap()).collect())
        .collect();
    assert_eq!(rdns, [["os:admin", "os:reader", "os:etcd:backup"]]);
    let purposes = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.client_auth && !purposes.server_auth && purposes.other.is_empty());
    let ca_bytes = der(&bundle.os.certificate);
    let (_, ca) = X509Certificate::from_der(&ca_bytes).unwrap();
    assert_eq!(parsed.issuer().as_raw(), ca.subject().as_raw());
    assert!(SigningKey::from_pem(client.key.expose()).is_some());
    assert_eq!(der(client.key.expose()).len(), 48);
    assert_eq!(
        parsed.validity().not_after.timestamp() - now().as_second(),
        3600
    );
}

#[test]
fn talosconfig_file() {
    let client = ClientCertificate {
        ca: "ca".into(),
        certificate: "crt".into(),
        key: Secret::new("key"),
    };
    let file = client.talosconfig("lab", &["10.0.0.1".into()], &[]);
    insta::assert_snapshot!(file.expose(), @r"
    context: lab
    contexts:
        lab:
            endpoints:
                - 10.0.0.1
            ca: Y2E=
            crt: Y3J0
            key: a2V5
    ");
}

#[test]
fn the_admin_kubeconfig_has_a_certificate_of_its_authority() {
    let bundle = Bundle::from_secrets_yaml(FILE).unwrap();
    let file = bundle
        .admin_kubeconfig("lab", "https://10.0.0.10:6443", now(), &mut counting())
        .unwrap();
    let root = crate::yaml::parse_documents(file.expose())
        .unwrap()
        .remove(0);
    assert_eq!(root.text_at(&["current-context"]), Some("admin@lab"));
    let user = &root.at(&["users"]).unwrap().as_sequence().unwrap()[0];
    let encoded = user.text_at(&["user", "client-certificate-data"]).unwrap();
    let bytes = der(std::str::from_utf8(&STANDARD.decode(encoded).unwrap()).unwrap());
    let (_, parsed) = X509Certificate::from_der(&bytes).unwrap();
    assert_eq!(parsed.subject().to_string(), "O=system:masters, CN=admin");
    let key = user.text_at(&["user", "client-key-data"]).unwrap();
    let key = String::from_utf8(STANDARD.decode(key).unwrap()).unwrap();
    assert_eq!(der(&key).len(), 121);
}

#[test]
fn broken_files_name_the_part_and_no_value() {
    let check = |from: &str, to: &str, part: &str| {
        let broken = FILE.replacen(from, to, 1);
        let error = Bundle::from_secrets_yaml(&broken).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(!error.contains("LS0t"), "{error}");
    };
    check("trustdinfo:", "other:", "trustdinfo.token");
    check("    os:", "    so:", "certs.os");
    check(
        "crt: LS0t",
        "crt: '!LS0t'\n        old: x",
        "certs.etcd.crt",
    );
    check(
        "secretboxencryptionsecret",
        "other",
        "secretboxencryptionsecret",
    );
    assert!(Bundle::from_secrets_yaml("").is_err());
    assert!(Bundle::from_secrets_yaml("a: [").is_err());
}

#[test]
fn debug_shows_no_secret() {
    let bundle = Bundle::from_secrets_yaml(FILE).unwrap();
    let shown = format!("{bundle:?}");
    for secret in bundle.secrets() {
        assert!(!shown.contains(secret.expose()));
    }
}
