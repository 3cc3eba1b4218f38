//! Pages of the toy, which has everything, without any host: from its declarations, an example of each kind, and a guide.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../examples/toy/main.rs"]
#[allow(dead_code, unreachable_pub, reason = "its main is for the example")]
mod toy_provider;

use serde_json::json;
use tfplugin::docs::{FOLDERS, Pages, Words, pages, printed_schemas};
use tfplugin::{Provider as _, Runtime};
use toy_provider::Toy;

/// A file for every path that the generator asks for.
fn read(file: &str) -> Option<String> {
    let guide = "# First steps\n\nPut a toy on the floor.\n";
    let text = match file.strip_prefix("templates/guides/") {
        Some(_) => guide.to_owned(),
        None => format!("# {file}\n"),
    };
    Some(text)
}

fn made() -> Pages {
    let printed = printed_schemas(&Runtime::new(Toy::default()));
    let schema = json!({ "provider_schemas": { "example.com/test/toy": printed } }).to_string();
    let meta = Toy::default().meta();
    let words = Words {
        provider: "toy",
        groups: &[("toy_", "Toys")],
        meta: meta.as_ref(),
    };
    pages(&schema, words, &["start.md".to_owned()], &read).unwrap()
}

#[test]
fn everything_of_the_toy_has_a_page() {
    let made = made();
    assert_eq!((made.missing.len(), made.wrong.len()), (0, 0));
    for folder in FOLDERS {
        let below = format!("docs/{folder}/");
        let found = made.pages.iter().any(|p| p.path.starts_with(&below));
        assert!(found, "no page in {below}");
    }
    for page in &made.pages {
        for key in ["page_title: \"", "subcategory: \"", "description: |-\n  "] {
            assert!(page.text.contains(key), "{} has no {key}", page.path);
        }
    }
}

#[test]
fn the_index_tells_of_the_provider_block_and_of_modules() {
    let made = made();
    let index = made.pages.iter().find(|p| p.path == "docs/index.md");
    insta::assert_snapshot!(index.unwrap().text);
}

#[test]
fn guides_get_what_they_lack() {
    let made = made();
    let guide = made.pages.iter().find(|p| p.path == "docs/guides/start.md");
    insta::assert_snapshot!(guide.unwrap().text, @r#"
    ---
    page_title: "First steps"
    subcategory: ""
    description: |-
      Put a toy on the floor.
    ---

    # First steps

    Put a toy on the floor.
    "#);
}
