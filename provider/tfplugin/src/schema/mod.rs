//! Schemas: what a block may hold, and what a plan does with each attribute.
//!
//! Attributes, nested attributes, and the older nested blocks for providers that mirror old schemas.

mod attribute;
mod check;
mod rule;
pub mod same;
pub mod validators;

pub(crate) use attribute::joined;
pub use attribute::{
    Attribute, Items, Presence, block, computed, optional, optional_computed, required,
};
pub(crate) use attribute::{OnUnknown, Replace, SameIf};
pub use check::SchemaMistake;
pub(crate) use check::{RESERVED_NAME, contains_dynamic, is_name};
pub use rule::Rule;
pub use validators::Validator;

use std::collections::BTreeMap;

use crate::model::Model;
use crate::path::{Path, Step};
use crate::value::Type;

/// How the objects of a nested attribute are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nesting {
    /// One object.
    Single,
    /// A list of objects.
    List,
    /// A set of objects.
    Set,
    /// A map of objects.
    Map,
}

/// The type of an attribute.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A value without rules inside.
    Plain(Type),
    /// Objects whose attributes have rules of their own.
    Nested(Nesting, Vec<Attribute>),
}

impl Shape {
    /// The type of the values.
    #[must_use]
    pub fn ty(&self) -> Type {
        match self {
            Self::Plain(ty) => ty.clone(),
            Self::Nested(nesting, attributes) => {
                let object = object_type(attributes);
                match nesting {
                    Nesting::Single => object,
                    Nesting::List => Type::list(object),
                    Nesting::Set => Type::set(object),
                    Nesting::Map => Type::map(object),
                }
            }
        }
    }

    /// Many of this. The protocol nests objects one level per attribute, so a list of lists of objects is a plain type.
    pub(crate) fn many(self, nesting: Nesting) -> Self {
        match (self, nesting) {
            (Self::Nested(Nesting::Single, attributes), _) => Self::Nested(nesting, attributes),
            (one, Nesting::Set) => Self::Plain(Type::set(one.ty())),
            (one, Nesting::Map) => Self::Plain(Type::map(one.ty())),
            (one, Nesting::List | Nesting::Single) => Self::Plain(Type::list(one.ty())),
        }
    }
}

pub(crate) fn object_type(attributes: &[Attribute]) -> Type {
    Type::Object(
        attributes
            .iter()
            .map(|a| (a.name().to_owned(), a.shape().ty()))
            .collect::<BTreeMap<_, _>>(),
    )
}

/// The schema of a provider, a resource or a data source.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    pub(crate) version: i64,
    pub(crate) description: String,
    pub(crate) deprecated: Option<String>,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) rules: Vec<Rule>,
}

impl Schema {
    /// No attributes, version 0.
    #[must_use]
    pub fn new(description: impl Into<String>) -> Self {
        Self {
            description: description.into(),
            ..Self::default()
        }
    }

    /// The attributes of a model, version 0. The description is Markdown.
    #[must_use]
    pub fn of<M: Model>(description: impl Into<String>) -> Self {
        Self {
            attributes: M::attributes(),
            ..Self::new(description)
        }
    }

    /// The version of the stored state's shape; see [`Resource::upgrade`](crate::Resource::upgrade).
    #[must_use]
    pub fn version(mut self, version: i64) -> Self {
        self.version = version;
        self
    }

    /// Adds an attribute.
    #[must_use]
    pub fn attribute(mut self, attribute: Attribute) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// Adds a rule between attributes.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Says what to use instead of this block. The host shows a warning.
    #[must_use]
    pub fn deprecated(mut self, instead: impl Into<String>) -> Self {
        self.deprecated = Some(instead.into());
        self
    }

    /// Every attribute, as declared.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The type of a whole block.
    #[must_use]
    pub fn ty(&self) -> Type {
        object_type(&self.attributes)
    }

    /// The attribute that `path` leads to, or that holds the plain value it leads into.
    #[must_use]
    pub fn attribute_at(&self, path: &Path) -> Option<&Attribute> {
        let mut attributes = self.attributes.as_slice();
        let mut found = None;
        for step in path.steps() {
            let Step::Attribute(name) = step else {
                continue;
            };
            let Some(attribute) = attributes.iter().find(|a| a.name() == name) else {
                // Inside a plain object there are names, but no attributes of the schema.
                return if attributes.is_empty() { found } else { None };
            };
            attributes = match attribute.shape() {
                Shape::Nested(_, inner) => inner,
                Shape::Plain(_) => &[],
            };
            found = Some(attribute);
        }
        found
    }
}
