//! What `terraform providers schema -json` prints of a provider, made from its declarations without any host.
//!
//! A test compares it with what an engine prints: then every flag, type and description has come through. The rules are stated a second
//! time here, on purpose not shared with the code that writes the protocol's messages. The documentation reads it where no host prints.

use serde_json::{Map, Value as Json, json};

use crate::function::{Parameter, Signature, Takes};
use crate::identity::IdentitySchema;
use crate::runtime::Runtime;
use crate::schema::{Attribute, Items, Nesting, Presence, Schema, Shape};

/// Where a block stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A provider or an action: nothing is computed, so a default makes an attribute merely optional.
    Input,
    /// A resource, a data source, an ephemeral resource.
    Stored,
    /// Inside an attribute that is all output.
    Output,
}

/// The entry of `provider_schemas` that a current Terraform prints for this provider.
#[must_use]
pub fn printed_schemas(provider: &Runtime) -> Json {
    let stored = |(name, schema): (&'static str, &Schema)| (name, versioned(schema, Place::Stored));
    let mut all = Map::new();
    all.insert(
        "provider".to_owned(),
        versioned(provider.schema(), Place::Input),
    );
    let mut family = |name: &str, entries: Map<String, Json>| {
        if !entries.is_empty() {
            all.insert(name.to_owned(), entries.into());
        }
    };
    family(
        "resource_schemas",
        named(provider.resource_schemas().map(stored)),
    );
    family(
        "data_source_schemas",
        named(provider.data_source_schemas().map(stored)),
    );
    family(
        "ephemeral_resource_schemas",
        named(provider.ephemeral_schemas().map(stored)),
    );
    family(
        "resource_identity_schemas",
        named(
            provider
                .identity_schemas()
                .map(|(name, schema)| (name, identity(schema))),
        ),
    );
    family(
        "list_resource_schemas",
        named(
            provider
                .list_schemas()
                .map(|(name, schema)| (name, versioned(schema, Place::Input))),
        ),
    );
    family(
        "action_schemas",
        named(
            provider
                .action_schemas()
                .map(|(name, schema)| (name, json!({ "block": block(schema, Place::Input) }))),
        ),
    );
    family(
        "functions",
        named(provider.signatures().map(|(name, s)| (name, function(s)))),
    );
    all.into()
}

/// The block of a module's `provider_meta`, which no host prints.
pub(crate) fn printed_meta(schema: &Schema) -> Json {
    block(schema, Place::Input)
}

fn named(entries: impl Iterator<Item = (&'static str, Json)>) -> Map<String, Json> {
    entries
        .map(|(name, entry)| (name.to_owned(), entry))
        .collect()
}

fn versioned(schema: &Schema, place: Place) -> Json {
    json!({ "version": schema.version, "block": block(schema, place) })
}

fn block(schema: &Schema, place: Place) -> Json {
    let mut printed = Printed::default();
    printed.attributes(schema.attributes(), place);
    let description = match &schema.deprecated {
        Some(instead) => format!("{}\n\n**Deprecated:** {instead}", schema.description),
        None => schema.description.clone(),
    };
    printed.described(&description);
    printed.flag("deprecated", schema.deprecated.is_some());
    printed.0.into()
}

/// A nested block.
fn nested_block(a: &Attribute, items: Items, place: Place) -> Json {
    let mut inside = Printed::default();
    inside.attributes(a.nested(), place);
    inside.described(&a.description());
    inside.flag("deprecated", a.deprecated.is_some());
    let mut printed = Printed::default();
    let nesting = match a.shape() {
        Shape::Nested(nesting, _) => *nesting,
        Shape::Plain(_) => Nesting::Single,
    };
    printed.set("nesting_mode", mode(nesting));
    printed.set("block", inside.0);
    let max = match nesting {
        Nesting::Single => items.min,
        Nesting::List | Nesting::Set | Nesting::Map => items.max.unwrap_or(0),
    };
    for (key, number) in [("min_items", items.min), ("max_items", max)] {
        if number > 0 {
            printed.set(key, number);
        }
    }
    printed.0.into()
}

fn mode(nesting: Nesting) -> &'static str {
    match nesting {
        Nesting::Single => "single",
        Nesting::List => "list",
        Nesting::Set => "set",
        Nesting::Map => "map",
    }
}

fn identity(schema: &IdentitySchema) -> Json {
    let attribute = |a: &Attribute| {
        let mut printed = Printed::default();
        printed.set("type", a.shape().ty().to_json());
        printed.text("description", &a.description());
        printed.flag("required_for_import", a.presence() == Presence::Required);
        printed.flag("optional_for_import", a.presence() == Presence::Optional);
        (a.name().to_owned(), printed.0.into())
    };
    let attributes: Map<String, Json> = schema.attributes().iter().map(attribute).collect();
    json!({ "version": schema.stored_version(), "attributes": attributes })
}

fn attribute(a: &Attribute, place: Place) -> Json {
    let presence = match (a.presence(), place) {
        (_, Place::Output) => Presence::Computed,
        (Presence::OptionalComputed, Place::Input) => Presence::Optional,
        (presence, _) => presence,
    };
    let mut printed = Printed::default();
    match a.shape() {
        Shape::Plain(ty) => printed.set("type", ty.to_json()),
        Shape::Nested(nesting, inner) => {
            let inside = if presence == Presence::Computed {
                Place::Output
            } else {
                place
            };
            let mut nested = Printed::default();
            nested.attributes(inner, inside);
            nested.set("nesting_mode", mode(*nesting));
            printed.set("nested_type", nested.0);
        }
    }
    printed.described(&a.description());
    printed.flag("required", presence == Presence::Required);
    printed.flag(
        "optional",
        matches!(presence, Presence::Optional | Presence::OptionalComputed),
    );
    printed.flag(
        "computed",
        matches!(presence, Presence::Computed | Presence::OptionalComputed),
    );
    printed.flag("sensitive", a.sensitive);
    printed.flag("deprecated", a.deprecated.is_some());
    printed.flag("write_only", a.write_only);
    printed.0.into()
}

fn function(signature: &Signature) -> Json {
    let mut printed = Printed::default();
    printed.set("summary", signature.summary());
    printed.text("description", signature.description());
    printed.text(
        "deprecation_message",
        signature.deprecation().unwrap_or_default(),
    );
    printed.set("return_type", signature.returns().to_json());
    let (rest, ones): (Vec<_>, Vec<_>) =
        signature.parameters().iter().partition(|p| p.is_variadic());
    if !ones.is_empty() {
        let ones: Vec<_> = ones.into_iter().map(parameter).collect();
        printed.set("parameters", ones);
    }
    if let Some(p) = rest.first() {
        printed.set("variadic_parameter", parameter(p));
    }
    printed.0.into()
}

fn parameter(p: &Parameter) -> Json {
    let mut printed = Printed::default();
    printed.set("name", p.name());
    printed.text("description", &p.description());
    printed.flag("is_nullable", p.takes() != Takes::Known);
    printed.set("type", p.ty().to_json());
    printed.0.into()
}

/// An object that leaves out what is empty or false, as engines do.
#[derive(Default)]
struct Printed(Map<String, Json>);

impl Printed {
    fn set(&mut self, key: &str, value: impl Into<Json>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn flag(&mut self, key: &str, set: bool) {
        if set {
            self.set(key, true);
        }
    }

    fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.set(key, text);
        }
    }

    fn described(&mut self, description: &str) {
        self.text("description", description);
        self.set("description_kind", "markdown");
    }

    fn attributes(&mut self, attributes: &[Attribute], place: Place) {
        let (mut plain, mut blocks) = (Map::new(), Map::new());
        for a in attributes {
            let name = a.name().to_owned();
            match a.items() {
                Some(items) => blocks.insert(name, nested_block(a, items, place)),
                None => plain.insert(name, attribute(a, place)),
            };
        }
        for (key, all) in [("attributes", plain), ("block_types", blocks)] {
            if !all.is_empty() {
                self.set(key, all);
            }
        }
    }
}
