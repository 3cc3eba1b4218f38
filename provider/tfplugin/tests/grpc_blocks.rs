//! Nested blocks, and plans that change no more than they must, as a host sees them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "toy/host.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod host;
#[path = "toy/life.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod life;
mod toy;
#[path = "toy/value.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod value;

use host::Host;
use life::Known;
use metal_proto::tfplugin6 as pb;
use serde_json::{Value as Json, json};
use value::{UNKNOWN, set};

const RACK: &str = "toy_rack";

fn rack() -> Json {
    json!({
        "name": "r", "height": 2, "front": "door",
        "keep": "90m",
        "settings": "a: 1\nb: [x, z]\n",
        "nets": ["10.0.0.0/8", "2001:DB8::/32"],
        "stand": { "row": "x", "net": "2001:DB8:0::/48" },
        "shelf": [
            { "name": "top", "key_wo": "secret", "item": [{ "label": "a", "size": "1GiB" }, { "label": "b" }] },
            { "name": "bottom", "item": [] },
        ],
    })
}

#[tokio::test]
async fn blocks_are_declared() {
    let mut host = Host::start().await;
    let schemas = host
        .provider
        .get_provider_schema(pb::get_provider_schema::Request {})
        .await;
    let block = schemas.unwrap().into_inner().resource_schemas[RACK]
        .block
        .clone()
        .unwrap();
    let show = |blocks: &[pb::schema::NestedBlock]| {
        let one = |b: &pb::schema::NestedBlock| {
            let mode = pb::schema::nested_block::NestingMode::try_from(b.nesting).unwrap();
            format!("{} {mode:?} {}..{}", b.type_name, b.min_items, b.max_items)
        };
        blocks.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(
        show(&block.block_types),
        ["stand Single 1..1", "shelf List 1..3"]
    );
    assert!(!block.attributes.iter().any(|a| a.name == "shelf"));
    let shelf = block.block_types[1].block.clone().unwrap();
    assert_eq!(show(&shelf.block_types), ["item Set 0..3"]);
    let key = shelf
        .attributes
        .iter()
        .find(|a| a.name == "key_wo")
        .unwrap();
    assert!(key.write_only && key.sensitive);
}

#[tokio::test]
async fn everything_wrong_is_said_at_once() {
    let mut host = Host::start().await;
    assert_eq!(host.validate(RACK, &rack()).await, "");
    let wrong = json!({
        "name": "R1", "paint": "red", "keep": "-1h", "settings": "a: [", "nets": ["10.0.0.0"],
        "stand": { "row": "x", "net": "all" },
        "shelf": [
            { "name": "1", "depth": 5, "item": [{ "label": "" }, { "label": "a", "size": "10G" }] },
            { "name": "2", "item": [{ "label": "a" }, { "label": "a", "count": 2 }] },
            { "name": "3", "item": [{ "label": "a" }, { "label": "b" }, { "label": "c" }, { "label": "d" }] },
            { "name": "4", "item": [] },
        ],
    });
    insta::assert_snapshot!(host.validate(RACK, &wrong).await);
    let empty = json!({ "name": "r", "front": "a", "back": "b", "shelf": [] });
    insta::assert_snapshot!(host.validate(RACK, &empty).await, @r#"
    error: Conflicting attributes: At most one of `front`, `back` can be set. / Hint: remove all but one, for example `back` Some(AttributeName("back"))
    error: Too few blocks: Of `stand` blocks there must be at least 1, and there are 0. / Hint: add `stand` blocks Some(AttributeName("stand"))
    error: Too few blocks: Of `shelf` blocks there must be at least 1, and there are 0. / Hint: add `shelf` blocks Some(AttributeName("shelf"))
    "#);
    // What is not known yet may still come out right.
    let open = json!({ "name": UNKNOWN, "back": UNKNOWN, "stand": UNKNOWN, "shelf": UNKNOWN });
    assert_eq!(host.validate(RACK, &open).await, "");
}

#[tokio::test]
async fn blocks_are_planned_and_made() {
    let mut host = Host::start().await;
    let planned = host.plan(RACK, &Known::default(), &rack()).await;
    insta::assert_json_snapshot!(set(planned.state.clone()));
    let made = host.apply(RACK, &Known::default(), &planned, &rack()).await;
    assert_eq!(made.said, "");
    insta::assert_json_snapshot!(set(made.state.clone()));
    let again = host.plan(RACK, &made, &rack()).await;
    assert_eq!((&again.state, again.replace.len()), (&made.state, 0));
    // A shelf more is an update in place; what the others have, they keep.
    let mut more = rack();
    more["shelf"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "third" }));
    let planned = host.plan(RACK, &made, &more).await;
    let codes: Vec<_> = (0..3)
        .map(|i| planned.state["shelf"][i]["code"].clone())
        .collect();
    assert_eq!(codes, ["top-6", "bottom-0", UNKNOWN]);
    assert_eq!(planned.state["shelf"][2]["item"], json!([]));
    // Blocks whose number is not known yet.
    let mut open = rack();
    open["shelf"] = UNKNOWN.into();
    let planned = host.plan(RACK, &made, &open).await;
    assert_eq!(
        (&planned.state["shelf"], &*planned.said),
        (&UNKNOWN.into(), "")
    );
    // Within a block, too, a change replaces.
    let mut moved = rack();
    moved["stand"]["row"] = "y".into();
    let planned = host.plan(RACK, &made, &moved).await;
    assert_eq!(planned.replace, ["stand.row"]);
    assert_eq!(planned.state["stand"]["tag"], UNKNOWN);
}

#[tokio::test]
async fn the_same_in_other_words_is_no_change() {
    let mut host = Host::start().await;
    let made = host.make(RACK, &Known::default(), &rack()).await;
    let mut other = rack();
    other["keep"] = "1h30m".into();
    other["settings"] = "# order and quotes\nb:\n  - \"x\"\n  - 'z'\na: 1.0\n".into();
    other["stand"]["net"] = "2001:db8::/48".into();
    other["shelf"][0]["item"] =
        json!([{ "label": "b" }, { "label": "a", "size": "1024MiB", "count": 1 }]);
    let planned = host.plan(RACK, &made, &other).await;
    assert_eq!(planned.state, made.state);
    // Beside one that changes, too.
    other["shelf"][0]["item"] = json!([{ "label": "c" }, { "label": "a", "size": "1024MiB" }]);
    let planned = host.plan(RACK, &made, &other).await;
    let items = json!([{ "label": "a", "count": 1, "size": "1GiB" }, { "label": "c", "count": 1 }]);
    assert_eq!(set(planned.state["shelf"][0]["item"].clone()), items);
    assert_eq!(planned.state["keep"], "90m");
    // What a set says in two ways, it says twice.
    other["shelf"][0]["item"] =
        json!([{ "label": "a", "size": "1GiB" }, { "label": "a", "size": "1024MiB" }]);
    let said = host.validate(RACK, &other).await;
    assert!(said.contains("Elements mean the same"), "{said}");
}

/// Hosts take a plain collection as a whole, so it is planned as it is configured; nothing comes of that but other words in the state.
#[tokio::test]
async fn other_words_in_a_collection_stay_in_the_state() {
    let mut host = Host::start().await;
    let made = host.make(RACK, &Known::default(), &rack()).await;
    let mut other = rack();
    other["nets"] = json!(["10.0.0.0/8", "2001:db8::/32"]);
    let planned = host.plan(RACK, &made, &other).await;
    let mut expected = made.state.clone();
    expected["nets"] = other["nets"].clone();
    assert_eq!(planned.state, expected);
    assert!(planned.replace.is_empty());
    let applied = host.apply(RACK, &made, &planned, &other).await;
    assert_eq!((applied.state, &*applied.said), (expected, ""));
}

#[tokio::test]
async fn only_what_depends_on_a_change_is_unknown() {
    let mut host = Host::start().await;
    let made = host.make(RACK, &Known::default(), &rack()).await;
    let mut check = async |change: &str, value: Json| {
        let mut config = rack();
        config[change] = value;
        let planned = host.plan(RACK, &made, &config).await;
        let open = ["room", "label", "writes"].map(|a| planned.state[a] == UNKNOWN);
        (open, planned.replace)
    };
    // The room follows from the height, the label from the room, and the writes from everything.
    assert_eq!(
        check("height", json!(3)).await,
        ([true, true, true], vec![])
    );
    assert_eq!(
        check("keep", json!("2h")).await,
        ([false, false, true], vec![])
    );
    assert_eq!(
        check("keep", json!("1h30m")).await,
        ([false, false, false], vec![])
    );
    // It never shrinks.
    let shrunk = check("height", json!(1)).await;
    assert_eq!(shrunk, ([true, true, true], vec!["height".to_owned()]));
}
