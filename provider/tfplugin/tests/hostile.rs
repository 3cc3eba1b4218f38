//! The bodies of the fuzz targets on random bytes, random text of JSON's alphabet, and bytes that are almost right.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../fuzz/bodies.rs"]
mod bodies;

use proptest::prelude::*;

/// MessagePack's markers are more frequent than chance has them.
fn markers() -> impl Strategy<Value = u8> {
    prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![
            0x80, 0x81, 0x83, 0x90, 0x92, 0xa1, 0xc0, 0xc3, 0xc4, 0xc7, 0xcb, 0xcf, 0xd4, 0xd9,
            0xdc, 0xdd, 0xdf
        ]),
    ]
}

/// A whole JSON value of any shape.
fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Value, json};
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(|f| json!(f)),
        any::<i64>().prop_map(|i| json!(i)),
        "[a-c]{0,3}|number|dynamic".prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "a", "any", "disks", "size", "tags", "type", "value", "id", "name",
    ]);
    leaf.prop_recursive(5, 40, 4, move |inner| {
        let names = names.clone().prop_map(str::to_owned);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map(names, inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn with_first(first: u8, text: &str) -> Vec<u8> {
    let mut data = vec![first];
    data.extend_from_slice(text.as_bytes());
    data
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn msgpack(data in proptest::collection::vec(markers(), 0..80)) {
        bodies::msgpack(&data);
    }

    #[test]
    fn broken_text(first in 0u8..6, text in "[\\[\\]{}\":,a0-9.e-]{0,60}|\\PC{0,30}") {
        bodies::state(&with_first(first, &text));
        bodies::upgrade(&with_first(first, &text));
    }

    #[test]
    fn states(first in 0u8..6, value in json()) {
        bodies::state(&with_first(first, &value.to_string()));
        bodies::upgrade(&with_first(first, &value.to_string()));
    }
}

/// States that are deep, long, or of a version that nobody knows.
#[test]
fn monsters() {
    for first in 0..6 {
        for text in [
            "[".repeat(1 << 20),
            "{\"any\":".repeat(1 << 18),
            format!("{{\"id\":\"{}\"}}", "x".repeat(1 << 22)),
            "1e99999999999".to_owned(),
            format!("[{}1e99999]", "1e99999,".repeat(10_000)),
            "{\"type\":\"dynamic\",\"value\":".repeat(1 << 18),
        ] {
            bodies::state(&with_first(first, &text));
            bodies::upgrade(&with_first(first, &text));
        }
    }
}

/// Inputs that are worth keeping: of every kind, and what the fuzzer found.
#[test]
fn seeds() {
    type Body = fn(&[u8]);
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let bodies: [(&str, Body); 3] = [
        ("msgpack", bodies::msgpack),
        ("state", bodies::state),
        ("upgrade", bodies::upgrade),
    ];
    for (target, body) in bodies {
        let mut run = 0;
        for seed in std::fs::read_dir(seeds.join(target)).unwrap() {
            body(&std::fs::read(seed.unwrap().path()).unwrap());
            run += 1;
        }
        assert!(run > 0, "{target} has no seeds");
    }
}
