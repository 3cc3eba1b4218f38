//! `providers schema -json`: what the toy declares is what the engine prints.

use serde_json::Value as Json;
use tfplugin::Runtime;
use tfplugin::kit::{Product, printed_schemas};

use crate::matrix::{Feature, Story};
use crate::rig::Rig;
use crate::toy_provider::Toy;

pub(crate) const STORIES: &[Story] = &[Story::new(
    "schemas_are_printed_as_declared",
    Feature::SchemaOutput,
    schemas_are_printed_as_declared,
)];

fn schemas_are_printed_as_declared(rig: &Rig) {
    let outcome = rig.run(&["providers", "schema", "-json"]);
    let _ = outcome.ok();
    let all: Json = serde_json::from_str(&outcome.stdout).unwrap();
    let printed = &all["provider_schemas"]["example.com/test/toy"];
    let mut declared = printed_schemas(&Runtime::new(Toy::default()));
    without_what_is_missing(&mut declared, rig);
    assert_eq!(differences(&declared, printed, "toy"), [""; 0]);
}

/// Takes out of the declaration what the engine has no words for.
fn without_what_is_missing(declared: &mut Json, rig: &Rig) {
    let engine = rig.engine();
    for (family, feature) in [
        ("functions", Feature::Functions),
        ("ephemeral_resource_schemas", Feature::Ephemeral),
        ("resource_identity_schemas", Feature::Identity),
        ("list_resource_schemas", Feature::ListResources),
        ("action_schemas", Feature::Actions),
    ] {
        if !feature.is_in(engine) {
            declared.as_object_mut().unwrap().remove(family);
        }
    }
    if !Feature::WriteOnly.is_in(engine) {
        remove_everywhere(declared, "write_only");
    }
    if engine.product == Product::OpenTofu {
        remove_everywhere(declared, "deprecation_message");
    }
}

fn remove_everywhere(json: &mut Json, key: &str) {
    if let Json::Object(fields) = json {
        fields.remove(key);
        for (_, field) in fields {
            remove_everywhere(field, key);
        }
    }
}

/// Every place where the two differ, with both sides.
fn differences(declared: &Json, printed: &Json, at: &str) -> Vec<String> {
    let (Json::Object(left), Json::Object(right)) = (declared, printed) else {
        return if declared == printed {
            vec![]
        } else {
            vec![format!("{at}: declared {declared}, printed {printed}")]
        };
    };
    let mut keys: Vec<_> = left.keys().chain(right.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .flat_map(|key| {
            let side = |json: &serde_json::Map<String, Json>| json.get(key).cloned();
            let below = format!("{at}.{key}");
            differences(
                &side(left).unwrap_or_default(),
                &side(right).unwrap_or_default(),
                &below,
            )
        })
        .collect()
}
