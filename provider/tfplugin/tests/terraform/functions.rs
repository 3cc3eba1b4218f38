//! Functions in configurations.

use tfplugin::kit::Product;

use crate::matrix::{Feature, Story};
use crate::rig::{Rig, flat, thing};

pub(crate) const STORIES: &[Story] = &[
    Story::new("functions_compute", Feature::Functions, functions_compute)
        .without(functions_are_unknown),
    Story::new(
        "function_errors_name_their_argument",
        Feature::Functions,
        function_errors_name_their_argument,
    ),
    Story::new("crashes_are_shown", Feature::Functions, crashes_are_shown),
];

/// A panic that nothing guards ends the provider, and the engine shows it as it shows every provider's.
fn crashes_are_shown(rig: &Rig) {
    let call = "provider::toy::grow({ width = 1, height = 2 }, 7)";
    let crashed = flat(&rig.plan(&output("wrong", call)).failed());
    if rig.engine().product == Product::OpenTofu {
        // Keeps what the plugin said to itself (1.12.6).
        assert!(crashed.contains("rpc error"), "{crashed}");
        return;
    }
    assert!(crashed.contains("plugin crashed!"), "{crashed}");
    let said = "Stack trace from the terraform-provider-toy_v0.1.0 plugin: panic: assertion";
    assert!(crashed.contains(said), "{crashed}");
    assert!(crashed.contains("the toy breaks at seven"), "{crashed}");
    assert!(!crashed.contains("rust_begin_unwind"), "{crashed}");
}

fn output(name: &str, value: &str) -> String {
    format!("output \"{name}\" {{\n  value = {value}\n}}\n")
}

fn functions_compute(rig: &Rig) {
    let outputs = [
        ("joined", r#"provider::toy::join("-", "a", "b")"#),
        ("alone", "provider::toy::join(null)"),
        ("expanded", r#"provider::toy::join("+", ["x", "y"]...)"#),
        ("wrapped", r#"provider::toy::wrap({ a = [1, "x", null] })"#),
        ("kind", r#"provider::toy::describe(["x"])"#),
        // OpenTofu (1.12.6) does not call a function with a null that has no type.
        ("nothing", "provider::toy::describe(tostring(null))"),
        ("grown", "provider::toy::grow({ width = 1, height = 2 }, 3)"),
        ("version", "provider::toy::version()"),
        // Unknown in the plan, known after apply.
        (
            "later",
            r#"provider::toy::join("-", toy_thing.f.id, toy_thing.f.revision)"#,
        ),
    ];
    let outputs: String = outputs.map(|(name, value)| output(name, value)).concat();
    let planned = rig.plan(&format!("{outputs}{}", thing("f", ""))).ok();
    assert!(planned.contains("joined   = \"a-b\""), "{planned}");
    assert!(
        planned.contains("later    = (known after apply)"),
        "{planned}"
    );
    let _ = rig.run(&["apply", "-auto-approve", "-input=false"]).ok();
    let text = rig.run(&["output", "-json"]).ok();
    let said: serde_json::Value = serde_json::from_str(&text).unwrap();
    let value = |name: &str| said[name]["value"].clone();
    assert_eq!(value("joined"), "a-b");
    assert_eq!(value("alone"), "");
    assert_eq!(value("expanded"), "x+y");
    assert_eq!(
        value("wrapped"),
        serde_json::json!({ "note": null, "twice": [{ "a": [1, "x", null] }, { "a": [1, "x", null] }] })
    );
    assert_eq!(value("kind"), r#"["tuple",["string"]]"#);
    assert_eq!(value("nothing"), "null");
    assert_eq!(
        value("grown"),
        serde_json::json!({ "width": 4, "height": 2 })
    );
    assert_eq!(value("version"), 1);
    assert_eq!(value("later"), "f-1");
    rig.assert_plan_is_empty();
}

/// An engine without functions says so, and the provider works all the same.
fn functions_are_unknown(rig: &Rig) {
    rig.write(&output("joined", r#"provider::toy::join("-", "a")"#));
    let _ = rig.run(&["validate"]).failed();
    let _ = rig.apply(&thing("a", "")).ok();
    rig.assert_plan_is_empty();
}

fn function_errors_name_their_argument(rig: &Rig) {
    let check = |call: &str, said: &str| {
        let refused = flat(
            &rig.plan(&output("wrong", &format!("provider::toy::{call}")))
                .failed(),
        );
        assert!(refused.contains(said), "{call}: {refused}");
        assert!(!refused.contains("backtrace"), "{refused}");
    };
    check(
        r#"join("-", "ok", "forbidden")"#,
        r#"Invalid value for "parts" parameter: this word is forbidden."#,
    );
    check(
        "grow({ width = 1, height = 2 }, 50)",
        r#"Invalid value for "by" parameter: must be between 1 and 9: 50 is not."#,
    );
    check(
        "grow({ width = 1, height = 70000 }, 5)",
        r#"Invalid value for "area" parameter: it needs a width and a height that is a whole number."#,
    );
    check("grow(null, 5)", r#"Invalid value for "area" parameter: "#);
    check(
        r#"break("fail")"#,
        "Toy refuses: It was told to. Hint: tell it something else.",
    );
    check(
        r#"break("lie")"#,
        "the provider made a mistake: its result does not have the declared type",
    );
    check(
        r#"break("panic")"#,
        "The provider panicked in this operation",
    );
}
