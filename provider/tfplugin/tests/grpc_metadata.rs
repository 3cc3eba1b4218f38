//! What the toy says it has and can.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "toy/host.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod host;
mod toy;

use host::Host;
use metal_proto::tfplugin6 as pb;
use prost::Message as _;

#[tokio::test]
async fn metadata_and_schemas_name_the_same() {
    let mut host = Host::unconfigured().await;
    let metadata = host
        .provider
        .get_metadata(pb::get_metadata::Request {})
        .await;
    let metadata = metadata.unwrap().into_inner();
    let schemas = host
        .provider
        .get_provider_schema(pb::get_provider_schema::Request {})
        .await;
    let schemas = schemas.unwrap().into_inner();
    assert_eq!(
        (&metadata.diagnostics, &schemas.diagnostics),
        (&vec![], &vec![])
    );
    assert_eq!(metadata.server_capabilities, schemas.server_capabilities);

    fn check<T>(mut named: Vec<String>, schemas: &std::collections::HashMap<String, T>) {
        let mut known: Vec<_> = schemas.keys().cloned().collect();
        known.sort();
        named.sort();
        assert_eq!(named, known);
        assert!(!named.is_empty());
    }
    check(
        metadata
            .resources
            .into_iter()
            .map(|m| m.type_name)
            .collect(),
        &schemas.resource_schemas,
    );
    check(
        metadata
            .data_sources
            .into_iter()
            .map(|m| m.type_name)
            .collect(),
        &schemas.data_source_schemas,
    );
    check(
        metadata.functions.into_iter().map(|m| m.name).collect(),
        &schemas.functions,
    );
    check(
        metadata
            .ephemeral_resources
            .into_iter()
            .map(|m| m.type_name)
            .collect(),
        &schemas.ephemeral_resource_schemas,
    );
    check(
        metadata.actions.into_iter().map(|m| m.type_name).collect(),
        &schemas.action_schemas,
    );

    // Nothing in an action is computed, also where it has a default.
    let action = schemas.action_schemas["toy_stamp"].schema.clone().unwrap();
    assert!(action.block.unwrap().attributes.iter().all(|a| !a.computed));
}

/// The numbers of the protocol's fields, written by hand: prost writes and reads with the same file.
#[tokio::test]
async fn fields_have_the_protocols_numbers() {
    let mut host = Host::unconfigured().await;
    let metadata = host
        .provider
        .get_metadata(pb::get_metadata::Request {})
        .await;
    let bytes = metadata.unwrap().into_inner().encode_to_vec();
    // capabilities 1, data sources 3, resources 4, functions 5, ephemeral resources 6, actions 9.
    let fields = top_level_fields(&bytes);
    for number in [1, 3, 4, 5, 6, 9] {
        assert!(fields.contains(&number), "{fields:?}");
    }
    let schemas = host
        .provider
        .get_provider_schema(pb::get_provider_schema::Request {})
        .await;
    let bytes = schemas.unwrap().into_inner().encode_to_vec();
    // provider 1, resources 2, data sources 3, capabilities 6, functions 7, ephemeral resources 8, actions 11.
    let fields = top_level_fields(&bytes);
    for number in [1, 2, 3, 6, 7, 8, 11] {
        assert!(fields.contains(&number), "{fields:?}");
    }
}

/// Numbers of the length-delimited fields of a message.
fn top_level_fields(mut bytes: &[u8]) -> Vec<u64> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = prost::encoding::decode_varint(&mut bytes).unwrap();
        assert_eq!(
            tag & 7,
            2,
            "every field of these messages is length-delimited"
        );
        let length = prost::encoding::decode_varint(&mut bytes).unwrap();
        bytes = &bytes[usize::try_from(length).unwrap()..];
        found.push(tag >> 3);
    }
    found
}

/// An rpc of a newer protocol is unknown, not a crash; hosts take it for "this plugin is older".
#[tokio::test]
async fn a_newer_host_is_answered() {
    let mut host = Host::unconfigured().await;
    let mut grpc = tonic::client::Grpc::new(host.channel.clone());
    grpc.ready().await.unwrap();
    let codec =
        tonic_prost::ProstCodec::<pb::stop_provider::Request, pb::stop_provider::Response>::default(
        );
    let path = http::uri::PathAndQuery::from_static("/tfplugin6.Provider/ReadStateBytes");
    let refused = grpc
        .unary(
            tonic::Request::new(pb::stop_provider::Request {}),
            path,
            codec,
        )
        .await
        .unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    assert!(
        host.provider
            .get_metadata(pb::get_metadata::Request {})
            .await
            .is_ok()
    );
}
