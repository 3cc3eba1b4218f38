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

#[test]
fn a_control_plane_config_gives_its_bundle_back() {
    for (golden, file) in [
        (
            include_str!("../../tests/data/goldens/gen-1.13-controlplane.out"),
            FILE,
        ),
        (
            include_str!("../../tests/data/goldens/gen-1.6-controlplane.out"),
            include_str!("../../tests/data/bundles/v1.6.yaml"),
        ),
    ] {
        let bundle = Bundle::from_control_plane_config(golden).unwrap();
        assert_eq!(bundle.to_secrets_yaml().expose(), file);
    }
    let worker = include_str!("../../tests/data/goldens/gen-1.13-worker.out");
    assert_eq!(
        Bundle::from_control_plane_config(worker),
        Err(ImportError::Worker)
    );
}

#[test]
fn configs_that_lack_something_say_what() {
    let config = include_str!("../../tests/data/goldens/gen-1.13-controlplane.out");
    let check = |from: &str, to: &str, expected: &str| {
        let broken = config.replacen(from, to, 1);
        let error = Bundle::from_control_plane_config(&broken).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        "    aggregatorCA:",
        "    other:",
        "the config lacks cluster.aggregatorCA.crt",
    );
    check(
        "        key: LS0t",
        "        key: '!LS0t'\n        old: ",
        "line 9: machine.ca.key of the config is not usable: it is not base64 of PEM text",
    );
    check(
        "    secretboxEncryptionSecret:",
        "    other:",
        "the config lacks cluster.secretboxEncryptionSecret or cluster.aescbcEncryptionSecret",
    );
}

#[test]
fn talhelpers_file_is_read_where_it_is_not_encrypted() {
    let bundle = Bundle::from_talsecret(FILE).unwrap();
    assert_eq!(bundle.to_secrets_yaml().expose(), FILE);
    let encrypted = format!("{FILE}sops:\n    age: []\n");
    assert_eq!(
        Bundle::from_talsecret(&encrypted),
        Err(ImportError::Encrypted)
    );
}

/// An authority as other tools make them.
fn foreign(algorithm: &'static rcgen::SignatureAlgorithm, is_ca: bool) -> Authority {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2036, 1, 1);
    if is_ca {
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    Authority {
        certificate: parameters.self_signed(&key).unwrap().pem(),
        key: Secret::new(key.serialize_pem()),
    }
}

#[test]
fn a_kubernetes_pki_is_taken_over() {
    let ca = foreign(&rcgen::PKCS_ECDSA_P256_SHA256, true);
    let names = ["ca", "etcd/ca", "front-proxy-ca"];
    let mut files: std::collections::BTreeMap<String, String> = names
        .iter()
        .flat_map(|name| {
            [
                (format!("{name}.crt"), ca.certificate.clone()),
                (format!("{name}.key"), ca.key.expose().to_owned()),
            ]
        })
        .collect();
    let import = |files: &std::collections::BTreeMap<String, String>| {
        Bundle::from_kubernetes_pki(files, Generator::V1_13, now(), &mut counting())
    };
    assert_eq!(import(&files), Err(ImportError::File("sa.key")));
    files.insert("sa.key".into(), "no".into());
    assert_eq!(import(&files), Err(ImportError::NotPem("sa.key")));
    files.insert("sa.key".into(), ca.key.expose().to_owned());
    let bundle = import(&files).unwrap();
    assert_eq!(bundle.inspect(now()), []);
    assert_eq!(bundle.kubernetes, ca);
    // Its keys are in plain PKCS#8, and it signs all the same.
    assert!(
        bundle
            .admin_kubeconfig("lab", "https://10.0.0.10:6443", now(), &mut counting())
            .is_ok()
    );
    let file = bundle.to_secrets_yaml();
    assert_eq!(Bundle::from_secrets_yaml(file.expose()).unwrap(), bundle);
}

fn inspected(change: impl FnOnce(&mut Bundle)) -> String {
    let mut bundle = Bundle::from_secrets_yaml(FILE).unwrap();
    change(&mut bundle);
    let faults = bundle.inspect(now());
    let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
    all.join("\n")
}

#[test]
fn bundles_of_talos_are_in_order() {
    assert_eq!(inspected(|_| {}), "");
    assert_eq!(generated().inspect(now()), []);
    let old = Bundle::from_secrets_yaml(include_str!("../../tests/data/bundles/v1.6.yaml"));
    assert_eq!(old.unwrap().inspect(now()), []);
}

#[test]
fn what_cannot_run_a_cluster_is_named() {
    insta::assert_snapshot!(
        inspected(|b| b.etcd = foreign(&rcgen::PKCS_ECDSA_P384_SHA384, true)),
        @"certs.etcd.key: it must be an ECDSA key on P-256 or an RSA key of 2048 bits or more, and it is an ECDSA key on P-384"
    );
    insta::assert_snapshot!(
        inspected(|b| b.os = b.etcd.clone()),
        @"certs.os.key: it must be an Ed25519 key, and it is an ECDSA key on P-256"
    );
    insta::assert_snapshot!(
        inspected(|b| b.etcd.certificate = b.kubernetes.certificate.clone()),
        @"certs.etcd.crt: it is not the certificate of the key beside it"
    );
    insta::assert_snapshot!(
        inspected(|b| b.aggregator = foreign(&rcgen::PKCS_ECDSA_P256_SHA256, false)),
        @"certs.k8saggregator.crt: it is not the certificate of an authority"
    );
    insta::assert_snapshot!(
        inspected(|b| {
            b.service_account = Secret::new("");
            b.bootstrap_token = Secret::new("short");
            b.cluster_secret = Secret::new("AAAA");
            b.kubernetes.key = Secret::new("-----BEGIN X-----\n-----END X-----\n");
        }),
        @r"
    cluster.secret: it must be 32 bytes in base64
    secrets.bootstraptoken: it must be 6 and 16 lower-case letters and digits with a dot between them
    certs.k8s.key: it is not a private key in PEM
    certs.k8sserviceaccount.key: it is missing
    "
    );
    let late: Timestamp = "2099-01-01T00:00:00Z".parse().unwrap();
    let bundle = Bundle::from_secrets_yaml(FILE).unwrap();
    assert_eq!(bundle.inspect(late).len(), 4);
}

#[test]
fn an_rsa_authority_signs() {
    let rsa = key::rsa_4096().unwrap();
    let signer = SigningKey::from_pem(rsa.expose()).unwrap();
    let mut bundle = Bundle::from_secrets_yaml(FILE).unwrap();
    let name = Name {
        organizations: &["kubernetes"],
        common_name: None,
    };
    let validity = Validity {
        from: now(),
        until: later(now(), AUTHORITY_LIFETIME),
    };
    bundle.kubernetes = Authority {
        certificate: x509::authority(&signer, &name, &validity, [1; 16], [2; 20]),
        key: rsa,
    };
    assert_eq!(bundle.inspect(now()), []);
    let file = bundle
        .admin_kubeconfig("lab", "https://10.0.0.10:6443", now(), &mut counting())
        .unwrap();
    let root = crate::yaml::parse_documents(file.expose())
        .unwrap()
        .remove(0);
    let user = &root.at(&["users"]).unwrap().as_sequence().unwrap()[0];
    let encoded = user.text_at(&["user", "client-certificate-data"]).unwrap();
    let bytes = der(std::str::from_utf8(&STANDARD.decode(encoded).unwrap()).unwrap());
    let (_, parsed) = X509Certificate::from_der(&bytes).unwrap();
    let ca = der(&bundle.kubernetes.certificate);
    let (_, ca) = X509Certificate::from_der(&ca).unwrap();
    assert_eq!(parsed.issuer().as_raw(), ca.subject().as_raw());
    let public = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256,
        &*ca.public_key().subject_public_key.data,
    );
    let signed = parsed.tbs_certificate.as_ref();
    assert!(public.verify(signed, &parsed.signature_value.data).is_ok());
    assert_eq!(
        parsed.signature_algorithm.algorithm.to_string(),
        "1.2.840.113549.1.1.11"
    );
}

#[test]
fn client_certificates_that_make_no_sense_are_refused() {
    let bundle = Bundle::from_secrets_yaml(FILE).unwrap();
    let ask = |roles: &[Role], hours: u64| {
        let lifetime = Duration::from_hours(hours);
        let made = bundle.client_certificate(roles, lifetime, now(), &mut counting());
        made.map(|_| ())
    };
    assert_eq!(ask(&[], 1), Err(ClientError::NoRoles));
    assert_eq!(ask(&[Role::Admin], 0), Err(ClientError::NoLifetime));
    let error = ask(&[Role::Admin], 24 * 365 * 20).unwrap_err();
    assert!(matches!(error, ClientError::Outlives { what: "OS", .. }));
    assert_eq!(ask(&[Role::Admin, Role::Admin], 1), Ok(()));
    for role in ["os:admin", "reader", "os:etcd:backup", "meta:writer"] {
        let parsed = Role::parse(role).unwrap();
        assert!(parsed.as_str().ends_with(role));
    }
    assert_eq!(Role::parse("os:root"), None);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_an_import_panic(text in "(?s).{0,200}", line in 0_usize..30) {
        let _ = (Bundle::from_talsecret(&text), Bundle::from_control_plane_config(&text));
        let config = include_str!("../../tests/data/goldens/gen-1.13-controlplane.out");
        let mut lines: Vec<&str> = config.lines().collect();
        lines[line] = &text;
        let _ = Bundle::from_control_plane_config(&lines.join("\n"));
        let mut bundle = Bundle::from_secrets_yaml(FILE).unwrap();
        bundle.etcd.key = Secret::new(text.clone());
        bundle.os.certificate.clone_from(&text);
        let _ = bundle.inspect(now());
    }

    #[test]
    fn no_der_makes_a_key_panic(bytes: Vec<u8>, label in 0_usize..4) {
        let labels = ["EC PRIVATE KEY", "RSA PRIVATE KEY", "PRIVATE KEY", "ED25519 PRIVATE KEY"];
        let text = key::encode_pem(labels[label], bytes);
        let _ = (key::KeyKind::of(&text), SigningKey::from_pem(&text));
    }
}
