//! Documentation pages in the registry's layout, from `terraform providers schema -json` (or [`printed_schemas`], which needs no host)
//! and a folder of examples.
//!
//! Pure: JSON and a reader of examples in, pages out. What is written comes from descriptions and examples, so that a page cannot say
//! something else than the schema. The input is the host's own output: a page about a function, an ephemeral resource, an action or a
//! list resource appears as soon as the host knows of it. Deliberately not here: a template language, HTML, where files lie.
//!
//! | page | example |
//! |---|---|
//! | `docs/index.md` | `examples/provider/provider.tf`, and `provider_meta.tf` where the provider has such a block |
//! | `docs/resources/NAME.md` | `examples/resources/TYPE/resource.tf`, `import.sh`, `import-by-string-id.tf`, `import-by-identity.tf` |
//! | `docs/data-sources/NAME.md` | `examples/data-sources/TYPE/data-source.tf` |
//! | `docs/ephemeral-resources/NAME.md` | `examples/ephemeral-resources/TYPE/ephemeral-resource.tf` |
//! | `docs/list-resources/NAME.md` | `examples/list-resources/TYPE/list-resource.tf` |
//! | `docs/actions/NAME.md` | `examples/actions/TYPE/action.tf` |
//! | `docs/functions/NAME.md` | `examples/functions/NAME/function.tf` |
//! | `docs/guides/NAME.md` | `templates/guides/NAME.md`, copied; its front matter is checked and made whole |
//!
//! `NAME` is the type without the provider's own prefix; a type with another prefix keeps it, as the registry expects.

mod block;
mod functions;
mod guide;
mod page;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::schema::Schema;

pub use crate::printed::printed_schemas;
pub use guide::GuideMistake;

/// What the schema does not say about a provider.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// The provider's name, the prefix of its own types: `metal`.
    pub provider: &'a str,
    /// Headings of the registry's sidebar: the first prefix that a type starts with decides. No match, no heading.
    pub groups: &'a [(&'a str, &'a str)],
    /// What [`Provider::meta`](crate::Provider::meta) says: no host prints it.
    pub meta: Option<&'a Schema>,
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Below the repository's root, with slashes: `docs/resources/server.md`.
    pub path: String,
    /// Markdown with front matter.
    pub text: String,
}

/// What was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// Every page, by kind and name.
    pub pages: Vec<Page>,
    /// Examples that a page should have and that are not there. A provider's test asserts that there is none.
    pub missing: Vec<String>,
    /// Guides that are no pages, and why. There is no page of these; the caller stops, or a test does.
    pub wrong: Vec<(String, GuideMistake)>,
}

/// The folders below `docs/` that belong to the generator: a page in them that it does not make is stale. Guides are written below
/// `templates/guides`.
pub const FOLDERS: [&str; 7] = [
    "resources",
    "data-sources",
    "ephemeral-resources",
    "list-resources",
    "actions",
    "functions",
    "guides",
];

/// Why there are no pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSchema {
    /// The text is something else.
    #[error("this is not what `terraform providers schema -json` prints")]
    NotASchema,
    /// It knows no provider, or none of that name.
    #[error("the schema has no provider of that name")]
    NoProvider,
}

/// What a page is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Provider,
    Resource,
    DataSource,
    Ephemeral,
    List,
    Action,
}

impl Kind {
    /// All but the provider.
    const TYPES: [Self; 5] = [
        Self::Resource,
        Self::DataSource,
        Self::Ephemeral,
        Self::List,
        Self::Action,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Provider => "Provider",
            Self::Resource => "Resource",
            Self::DataSource => "Data Source",
            Self::Ephemeral => "Ephemeral Resource",
            Self::List => "List Resource",
            Self::Action => "Action",
        }
    }

    /// The folder below `docs/` and `examples/`.
    const fn folder(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Resource => FOLDERS[0],
            Self::DataSource => FOLDERS[1],
            Self::Ephemeral => FOLDERS[2],
            Self::List => FOLDERS[3],
            Self::Action => FOLDERS[4],
        }
    }

    /// Where the host's JSON has them.
    const fn key(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Resource => "resource_schemas",
            Self::DataSource => "data_source_schemas",
            Self::Ephemeral => "ephemeral_resource_schemas",
            Self::List => "list_resource_schemas",
            Self::Action => "action_schemas",
        }
    }

    fn example(self, name: &str) -> String {
        let file = match self {
            Self::Provider => return "examples/provider/provider.tf".to_owned(),
            Self::Resource => "resource.tf",
            Self::DataSource => "data-source.tf",
            Self::Ephemeral => "ephemeral-resource.tf",
            Self::List => "list-resource.tf",
            Self::Action => "action.tf",
        };
        format!("examples/{}/{name}/{file}", self.folder())
    }
}

/// Makes every page of the provider whose address ends in the name of `words`.
///
/// `read` gives the text of a file below the repository's root, or none. `guides` are the names of the files in `templates/guides`.
///
/// # Errors
/// [`NoSchema`] where `schema` is not the host's JSON or has no such provider.
pub fn pages(
    schema: &str,
    words: Words<'_>,
    guides: &[String],
    read: &dyn Fn(&str) -> Option<String>,
) -> Result<Pages, NoSchema> {
    let json: Json = serde_json::from_str(schema).map_err(|_| NoSchema::NotASchema)?;
    let all = json["provider_schemas"]
        .as_object()
        .ok_or(NoSchema::NotASchema)?;
    let ours = |(address, _): &(&String, &Json)| address.rsplit('/').next() == Some(words.provider);
    let (_, provider) = all.iter().find(ours).ok_or(NoSchema::NoProvider)?;
    let mut made = Pages::default();
    let mut writer = page::Writer {
        words,
        read,
        missing: &mut made.missing,
    };
    made.pages.push(Page {
        path: "docs/index.md".to_owned(),
        text: writer.block(
            Kind::Provider,
            words.provider,
            &provider["provider"]["block"],
            None,
        ),
    });
    for kind in Kind::TYPES {
        for (name, schema) in sorted(&provider[kind.key()]) {
            let identity = match kind {
                Kind::Resource => provider["resource_identity_schemas"].get(name),
                Kind::Provider | Kind::DataSource | Kind::Ephemeral | Kind::List | Kind::Action => {
                    None
                }
            };
            made.pages.push(Page {
                path: format!("docs/{}/{}.md", kind.folder(), file_name(words, name)),
                text: writer.block(kind, name, &schema["block"], identity),
            });
        }
    }
    for (name, function) in sorted(&provider["functions"]) {
        made.pages.push(Page {
            path: format!("docs/{}/{name}.md", FOLDERS[5]),
            text: writer.function(name, function),
        });
    }
    for guide in guides {
        let file = format!("templates/guides/{guide}");
        match read(&file).map(|text| guide::page(&text)) {
            None => made.missing.push(file),
            Some(Err(why)) => made.wrong.push((file, why)),
            Some(Ok(text)) => made.pages.push(Page {
                path: format!("docs/{}/{guide}", FOLDERS[6]),
                text,
            }),
        }
    }
    Ok(made)
}

fn file_name<'a>(words: Words<'_>, name: &'a str) -> &'a str {
    name.strip_prefix(words.provider)
        .and_then(|rest| rest.strip_prefix('_'))
        .unwrap_or(name)
}

/// The members of a JSON object by name; none of anything else.
fn sorted(json: &Json) -> BTreeMap<&str, &Json> {
    let members = json.as_object().into_iter().flatten();
    members.map(|(k, v)| (k.as_str(), v)).collect()
}
