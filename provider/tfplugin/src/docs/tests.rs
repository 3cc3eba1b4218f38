//! Pages of a provider that has everything, from the JSON that hosts print.

use super::*;
use crate::schema::{Attribute, Nesting, Shape, optional};
use crate::value::Type;

/// What no host prints.
fn meta() -> Schema {
    let attribute = |name: &str, shape| Attribute::dynamic(name, shape, optional());
    let team = vec![attribute("mail", Shape::Plain(Type::String)).describe("Who answers.")];
    Schema::new("Toys count their users.")
        .attribute(attribute("module", Shape::Plain(Type::String)).describe("Name of the module."))
        .attribute(attribute("team", Shape::Nested(Nesting::Single, team)))
}

const SCHEMA: &str = include_str!("everything.json");

fn made() -> Pages {
    let files = BTreeMap::from([
        ("examples/provider/provider.tf", "provider \"toy\" {}\n"),
        (
            "examples/resources/toy_thing/resource.tf",
            "resource \"toy_thing\" \"a\" {\n  name = \"a\"\n}\n",
        ),
        (
            "examples/resources/toy_thing/import.sh",
            "# The name.\nterraform import toy_thing.a a\n",
        ),
        (
            "examples/resources/toy_thing/import-by-string-id.tf",
            "import {\n  to = toy_thing.a\n  id = \"a\"\n}\n",
        ),
        (
            "examples/resources/toy_thing/import-by-identity.tf",
            "import {\n  to       = toy_thing.a\n  identity = { name = \"a\" }\n}\n",
        ),
        (
            "examples/functions/shout/function.tf",
            "output \"loud\" {\n  value = provider::toy::shout(\"a\")\n}\n",
        ),
        (
            "templates/guides/start.md",
            "---\npage_title: \"Start\"\nsubcategory: \"First steps\"\n---\n\nPut a toy on the floor.\n",
        ),
        (
            "templates/guides/broken.md",
            "---\ntitle: \"Broken\"\n---\n\nText.\n",
        ),
    ]);
    let meta = meta();
    let words = Words {
        provider: "toy",
        groups: &[("toy_", "Toys"), ("game_", "Games")],
        meta: Some(&meta),
    };
    let read = |file: &str| files.get(file).map(|t| (*t).to_owned());
    let guides = ["start.md", "broken.md", "gone.md"].map(str::to_owned);
    pages(SCHEMA, words, &guides, &read).unwrap()
}

fn page(path: &str) -> String {
    let made = made();
    made.pages
        .iter()
        .find(|p| p.path == path)
        .unwrap()
        .text
        .clone()
}

#[test]
fn every_kind_has_its_place() {
    let made = made();
    let paths: Vec<_> = made.pages.iter().map(|p| p.path.as_str()).collect();
    insta::assert_snapshot!(paths.join("\n"), @"
    docs/index.md
    docs/resources/thing.md
    docs/data-sources/things.md
    docs/ephemeral-resources/secret.md
    docs/list-resources/thing.md
    docs/actions/game_round.md
    docs/functions/shout.md
    docs/guides/start.md
    ");
    insta::assert_snapshot!(made.missing.join("\n"), @"
    examples/provider/provider_meta.tf
    examples/data-sources/toy_things/data-source.tf
    examples/ephemeral-resources/toy_secret/ephemeral-resource.tf
    examples/list-resources/toy_thing/list-resource.tf
    examples/actions/game_round/action.tf
    templates/guides/gone.md
    ");
    let wrong: Vec<_> = made
        .wrong
        .iter()
        .map(|(f, w)| format!("{f}: {w}"))
        .collect();
    insta::assert_snapshot!(wrong.join("\n"), @r#"templates/guides/broken.md: the front matter has "title: \"Broken\""; it holds page_title, subcategory and description"#);
}

#[test]
fn pages_have_their_form() {
    insta::assert_snapshot!("index", page("docs/index.md"));
    insta::assert_snapshot!(page("docs/guides/start.md"), @r#"
    ---
    page_title: "Start"
    subcategory: "First steps"
    description: |-
      Put a toy on the floor.
    ---

    Put a toy on the floor.
    "#);
    insta::assert_snapshot!("resource", page("docs/resources/thing.md"));
    insta::assert_snapshot!("function", page("docs/functions/shout.md"));
    insta::assert_snapshot!("action", page("docs/actions/game_round.md"));
}

#[test]
fn other_json_is_refused() {
    let words = Words {
        provider: "toy",
        groups: &[],
        meta: None,
    };
    let check = |text: &str| pages(text, words, &[], &|_| None).map(|_| ());
    assert_eq!(check("[]"), Err(NoSchema::NotASchema));
    assert_eq!(check("{"), Err(NoSchema::NotASchema));
    assert_eq!(
        check(r#"{"provider_schemas":{"x/y/other":{}}}"#),
        Err(NoSchema::NoProvider)
    );
}
