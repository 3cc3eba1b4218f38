//! Nested blocks, and plans that change no more than they must.

use std::fs;

use crate::matrix::{Feature, Story};
use crate::rig::{Rig, flat};

pub(crate) const STORIES: &[Story] = &[
    Story::new("racks_have_blocks", Feature::Resources, racks_have_blocks),
    Story::new(
        "the_same_in_other_words",
        Feature::Resources,
        the_same_in_other_words,
    ),
    Story::new(
        "blocks_are_checked",
        Feature::Validation,
        blocks_are_checked,
    ),
    Story::new(
        "keys_stay_out_of_blocks",
        Feature::WriteOnly,
        keys_stay_out_of_blocks,
    )
    .without(keys_are_refused),
];

fn rack(body: &str) -> String {
    format!("resource \"toy_rack\" \"r\" {{\n  name = \"r\"\n  front = \"door\"\n{body}\n}}\n")
}

const STAND: &str = "  stand {\n    row = \"x\"\n    net = \"2001:DB8::/32\"\n  }\n";
const SHELVES: &str = r#"  shelf {
    name = "top"
    item {
      label = "b"
      size  = "1GiB"
    }
    item { label = "a" }
  }
  shelf {
    name  = "bottom"
    depth = 60
  }
"#;

fn racks_have_blocks(rig: &Rig) {
    let all = format!("{STAND}{SHELVES}");
    let made = rig.apply(&rack(&all)).ok();
    assert!(made.contains("+ shelf {"), "{made}");
    rig.assert_plan_is_empty();
    // Only the height's followers are unknown.
    let higher = flat(&rig.apply(&rack(&format!("  height = 2\n{all}"))).ok());
    assert!(
        higher.contains("~ room = 2 -> (known after apply)"),
        "{higher}"
    );
    assert!(
        higher.contains("~ label = \"room for 2\" -> (known after apply)"),
        "{higher}"
    );
    let kept = flat(
        &rig.apply(&rack(&format!("  height = 2\n  keep = \"1h\"\n{all}")))
            .ok(),
    );
    assert!(
        kept.contains("~ writes = 2 -> (known after apply)"),
        "{kept}"
    );
    assert!(!kept.contains("~ room"), "{kept}");
    // A block more, and one whose number is known at apply only.
    let third = format!(
        "  height = 2\n  keep = \"1h\"\n{all}  dynamic \"shelf\" {{\n    for_each = toset([terraform_data.n.id])\n    content {{\n      name = \"third\"\n    }}\n  }}\n"
    );
    let later = format!("resource \"terraform_data\" \"n\" {{\n}}\n{}", rack(&third));
    let _ = rig.apply(&later).ok();
    rig.assert_plan_is_empty();
    // It never shrinks in place.
    let planned = rig.plan(&rack(&all)).ok();
    assert!(
        flat(&planned).contains("~ height = 2 -> 1 # forces replacement"),
        "{planned}"
    );
    let _ = rig.run(&["destroy", "-auto-approve", "-input=false"]).ok();
    assert_eq!(rig.things(), [""; 0]);
}

fn the_same_in_other_words(rig: &Rig) {
    let body = |keep: &str, settings: &str, nets: &str, size: &str| {
        format!(
            "  keep = {keep:?}\n  settings = {settings:?}\n  nets = {nets}\n{STAND}{}",
            SHELVES.replace("1GiB", size)
        )
    };
    let first = body(
        "90m",
        "a: 1\nb: [x, z]\n",
        r#"["10.0.0.0/8", "2001:DB8::/32"]"#,
        "1GiB",
    );
    let _ = rig.apply(&rack(&first)).ok();
    rig.assert_plan_is_empty();
    let other = body(
        "1h30m",
        "b:\n- \"x\"\n- z\na: 1 # one\n",
        r#"["2001:DB8::/32", "10.0.0.0/8"]"#,
        "1024MiB",
    );
    let other = other.replace("net = \"2001:DB8::/32\"", "net = \"2001:db8:0::/32\"");
    rig.write(&rack(&other));
    rig.assert_plan_is_empty();
    rig.write(&rack(&other.replace("1024MiB", "2GiB")));
    rig.assert_plan_has_changes();
    // A plain collection is planned as it is configured; the provider has nothing to do with it.
    let nets = other.replace("2001:DB8::/32", "2001:db8::/32");
    let planned = flat(&rig.apply(&rack(&nets)).ok());
    assert!(planned.contains("0 added, 1 changed"), "{planned}");
    assert!(!planned.contains("writes"), "{planned}");
    rig.assert_plan_is_empty();
}

fn blocks_are_checked(rig: &Rig) {
    let refused = |body: &str| {
        rig.write(&rack(body));
        flat(&rig.run(&["validate"]).failed())
    };
    let none = refused(SHELVES);
    assert!(none.contains("stand"), "{none}");
    let four = refused(&format!(
        "{STAND}{}",
        "  shelf {\n    name = \"s\"\n  }\n".repeat(4)
    ));
    assert!(four.contains("shelf"), "{four}");
    let wrong = refused(&format!(
        "  paint = \"red\"\n  back = \"wall\"\n{STAND}  shelf {{\n    name = \"s\"\n    depth = 5\n    item {{ label = \"\" }}\n    item {{\n      label = \"x\"\n      size = \"10G\"\n    }}\n  }}\n"
    ));
    for said in [
        "At most one of `front`, `back` can be set.",
        "`shelf[0].depth` must be between 10 and 90: 5 is not.",
        "`shelf[0].item.label` must be 1 to 12 characters long: it has 0.",
        "the unit is unknown",
    ] {
        assert!(wrong.contains(said), "{said}: {wrong}");
    }
}

fn with_key(key: &str) -> String {
    let shelf = SHELVES.replace(
        "name = \"top\"",
        &format!("name = \"top\"\n    key_wo = {key:?}"),
    );
    rack(&format!("{STAND}{shelf}"))
}

fn keys_stay_out_of_blocks(rig: &Rig) {
    let seen = rig.apply(&with_key("open-sesame")).ok();
    rig.assert_plan_is_empty();
    let state = fs::read_to_string(rig.path("work/terraform.tfstate")).unwrap();
    assert!(state.contains("top-11"), "the key came through: {state}");
    assert!(!(seen + &state).contains("open-sesame"));
}

/// A host that would store the key is told so, at its place; without a key it makes racks as any other.
fn keys_are_refused(rig: &Rig) {
    rig.write(&with_key("open-sesame"));
    let refused = flat(&rig.run(&["validate"]).failed());
    assert!(
        refused.contains("`shelf[0].key_wo` is write-only, and this host would store it."),
        "{refused}"
    );
    let _ = rig.apply(&rack(&format!("{STAND}{SHELVES}"))).ok();
    rig.assert_plan_is_empty();
}
