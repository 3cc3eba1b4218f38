//! One attribute: how it may be set, and what a plan does with it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::model::{FieldType, Name};
use crate::schema::{Rule, Shape, Validator};
use crate::value::{Type, Value};

/// Who sets an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// The configuration must.
    Required,
    /// The configuration may; null otherwise.
    Optional,
    /// Only the provider does.
    Computed,
    /// The configuration may; otherwise the provider does.
    OptionalComputed,
}

/// What a plan puts where the provider decides the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnUnknown {
    /// "Known after apply" whenever something declared changes.
    Recompute,
    /// What the state has; it never changes in place.
    KeepState,
}

/// Decides whether a change of a value replaces the resource: state, then plan.
pub(crate) type ReplaceIf = Arc<dyn Fn(&Value, &Value) -> bool + Send + Sync>;

/// Decides whether two different texts mean the same: state, then configuration.
pub(crate) type SameIf = Arc<dyn Fn(&Value, &Value) -> bool + Send + Sync>;

/// When a change of the attribute replaces the resource.
#[derive(Clone)]
pub(crate) enum Replace {
    Never,
    Always,
    If(ReplaceIf),
}

/// How many blocks there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Items {
    /// At least so many.
    pub min: u64,
    /// At most so many; none: no limit.
    pub max: Option<u64>,
}

/// An attribute of a schema, or a nested block.
#[derive(Clone)]
pub struct Attribute {
    name: Cow<'static, str>,
    shape: Shape,
    presence: Presence,
    description: String,
    pub(crate) sensitive: bool,
    pub(crate) write_only: bool,
    pub(crate) local: bool,
    pub(crate) deprecated: Option<String>,
    pub(crate) default: Option<Value>,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) replace: Replace,
    pub(crate) same_if: Option<SameIf>,
    pub(crate) validators: Vec<Validator>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) depends_on: Option<Vec<String>>,
    pub(crate) items: Option<Items>,
}

/// The configuration must set it.
#[must_use]
pub fn required() -> Attribute {
    Attribute::blank(Presence::Required)
}

/// The configuration may set it; it is null otherwise.
#[must_use]
pub fn optional() -> Attribute {
    Attribute::blank(Presence::Optional)
}

/// Only the provider sets it.
#[must_use]
pub fn computed() -> Attribute {
    Attribute::blank(Presence::Computed)
}

/// The configuration may set it; the provider does otherwise.
#[must_use]
pub fn optional_computed() -> Attribute {
    Attribute::blank(Presence::OptionalComputed)
}

/// A nested block, as older schemas have them: `disk { … }` where a nested attribute is `disk = { … }`. Its type is a model (one block),
/// a `Vec` or a [`SetOf`](crate::SetOf) models. Nested attributes say more (null, computed, maps): take those for new schemas.
#[must_use]
pub fn block() -> Attribute {
    Attribute {
        items: Some(Items::default()),
        ..Attribute::blank(Presence::Optional)
    }
}

impl Attribute {
    /// An attribute of a Rust type, from one of [`required`], [`optional`], [`computed`], [`optional_computed`].
    #[must_use]
    pub fn of<T: FieldType>(name: Name<T>, description: &str, spec: Self) -> Self {
        let mut spec = Self {
            name: Cow::Borrowed(name.name()),
            shape: T::shape(),
            ..spec
        };
        spec.validators.splice(0..0, T::validators());
        if spec.description.is_empty() {
            spec.description = joined(description);
        }
        spec
    }

    /// An attribute whose name or type is only known at run time.
    #[must_use]
    pub fn dynamic(name: impl Into<String>, shape: Shape, spec: Self) -> Self {
        Self {
            name: Cow::Owned(name.into()),
            shape,
            ..spec
        }
    }

    /// Its documentation, Markdown. [`model!`](crate::model!) takes it from the documentation comment.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// The host never prints it.
    #[must_use]
    pub fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// The provider sees it in the configuration only; it is in no plan and no state. Needs Terraform or OpenTofu 1.11:
    /// an older host is refused, at validate, when the configuration sets it.
    #[must_use]
    pub fn write_only(mut self) -> Self {
        self.write_only = true;
        self
    }

    /// It steers only the provider (`timeouts`, `on_destroy`): nothing outside the state knows it.
    /// A change leaves computed values known, and where nothing else changes the state is updated without calling the resource.
    #[must_use]
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// Says what to use instead.
    #[must_use]
    pub fn deprecated(mut self, instead: impl Into<String>) -> Self {
        self.deprecated = Some(instead.into());
        self
    }

    /// What an optional attribute is where the configuration leaves it out.
    #[must_use]
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// Where the provider decides the value, it stays what the state has: never "known after apply" in an update.
    #[must_use]
    pub fn use_state_for_unknown(mut self) -> Self {
        self.on_unknown = OnUnknown::KeepState;
        self
    }

    /// Where the provider decides the value, it is "known after apply" in an update only if one of these attributes, beside this one,
    /// changes. (Without this and [`Self::use_state_for_unknown`] it is in every update.)
    #[must_use]
    pub fn depends_on<const N: usize>(mut self, names: [&str; N]) -> Self {
        self.depends_on = Some(names.into_iter().map(str::to_owned).collect());
        self
    }

    /// At least so many blocks; one makes a single block required. For [`block`]s.
    #[must_use]
    pub fn min_items(mut self, min: u64) -> Self {
        self.items.get_or_insert_default().min = min;
        self
    }

    /// At most so many blocks. For [`block`]s.
    #[must_use]
    pub fn max_items(mut self, max: u64) -> Self {
        self.items.get_or_insert_default().max = Some(max);
        self
    }

    /// A declared change replaces the resource.
    #[must_use]
    pub fn requires_replace(mut self) -> Self {
        self.replace = Replace::Always;
        self
    }

    /// A declared change replaces the resource where `replaces(state, plan)`; the plan's value may be unknown.
    #[must_use]
    pub fn requires_replace_if(
        mut self,
        replaces: impl Fn(&Value, &Value) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.replace = Replace::If(Arc::new(replaces));
        self
    }

    /// Where `same(state, configuration)`, the plan keeps the state's way of writing the value. For known values only; see
    /// [`same`](crate::schema::same). In a set of objects, the words come from any element of the state.
    ///
    /// A plain collection, where every element must be the same as its partner, is planned as it is configured, since hosts take it as a
    /// whole only. Other words in it are a change of the state alone: nothing follows from it, replaces, or reaches the resource.
    /// States keep their words in collections, too, where the resource answers in its own.
    #[must_use]
    pub fn same_if(
        mut self,
        same: impl Fn(&Value, &Value) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.same_if = Some(Arc::new(same));
        self
    }

    /// A rule for the value, checked at `terraform validate`; see [`validators`](crate::schema::validators).
    #[must_use]
    pub fn validate(mut self, validator: Validator) -> Self {
        self.validators.push(validator);
        self
    }

    /// A rule between the attributes of a nested object.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// How many blocks there may be; none where it is an attribute.
    #[must_use]
    pub fn items(&self) -> Option<Items> {
        self.items
    }

    /// As HCL writes it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its type.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Who sets it. An optional attribute with a default is the provider's to set, too.
    #[must_use]
    pub fn presence(&self) -> Presence {
        match (self.presence, &self.default) {
            (Presence::Optional, Some(_)) => Presence::OptionalComputed,
            (presence, _) => presence,
        }
    }

    /// May the provider set it?
    #[must_use]
    pub fn is_computed(&self) -> bool {
        matches!(
            self.presence(),
            Presence::Computed | Presence::OptionalComputed
        )
    }

    /// May the configuration set it?
    #[must_use]
    pub fn is_configurable(&self) -> bool {
        self.presence() != Presence::Computed
    }

    /// The whole documentation: description, choices, default, replacement, what to use instead.
    #[must_use]
    pub fn description(&self) -> String {
        let mut text = self.description.clone();
        let mut add = |sentence: String| {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&sentence);
        };
        for validator in self.validators.iter().filter_map(Validator::documented) {
            add(format!("Must be {validator}."));
        }
        if let Some(default) = self.default.as_ref().and_then(plain_text) {
            add(format!("Default: `{default}`."));
        }
        if matches!(self.replace, Replace::Always) {
            add("Changing this replaces the resource.".to_owned());
        }
        if self.write_only {
            add(
                "Write-only: never stored in plan or state; needs Terraform or OpenTofu 1.11."
                    .to_owned(),
            );
        }
        if let Some(instead) = &self.deprecated {
            add(format!("**Deprecated:** {instead}"));
        }
        text
    }

    /// May a change of it replace the resource?
    pub(crate) fn replaces(&self) -> bool {
        !matches!(self.replace, Replace::Never)
    }

    pub(crate) fn nested(&self) -> &[Self] {
        match &self.shape {
            Shape::Nested(_, attributes) => attributes,
            Shape::Plain(_) => &[],
        }
    }

    fn blank(presence: Presence) -> Self {
        Self {
            name: Cow::Borrowed(""),
            shape: Shape::Plain(Type::Dynamic),
            presence,
            description: String::new(),
            sensitive: false,
            write_only: false,
            local: false,
            deprecated: None,
            default: None,
            on_unknown: OnUnknown::Recompute,
            replace: Replace::Never,
            same_if: None,
            validators: Vec::new(),
            rules: Vec::new(),
            depends_on: None,
            items: None,
        }
    }
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attribute")
            .field("name", &self.name)
            .field("shape", &self.shape)
            .field("presence", &self.presence())
            .field("default", &self.default)
            .finish_non_exhaustive()
    }
}

/// Lines of a documentation comment as one paragraph, empty lines kept as breaks.
pub(crate) fn joined(comment: &str) -> String {
    let lines = comment.lines().map(str::trim);
    let mut text = String::new();
    for line in lines {
        match (line.is_empty(), text.is_empty() || text.ends_with("\n\n")) {
            (true, true) => {}
            (true, false) => text.push_str("\n\n"),
            (false, true) => text.push_str(line),
            (false, false) => {
                text.push(' ');
                text.push_str(line);
            }
        }
    }
    text.trim_end().to_owned()
}

fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::Bool(b) => Some(b.to_string()),
        Value::Number(n) => Some(n.to_string()),
        Value::String(s) => Some(s.clone()),
        Value::List(es) | Value::Set(es) if es.is_empty() => Some("[]".to_owned()),
        Value::Map(es) if es.is_empty() => Some("{}".to_owned()),
        Value::Null
        | Value::Unknown
        | Value::List(_)
        | Value::Set(_)
        | Value::Map(_)
        | Value::Object(_)
        | Value::Dynamic(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::validators;

    #[test]
    fn documentation_tells_the_rules() {
        let spec = optional()
            .default("off")
            .validate(validators::one_of(&["off", "hold"]))
            .requires_replace();
        let attribute = Attribute::of(
            Name::<String>::new("idle"),
            " What a free\n server does.\n",
            spec,
        );
        insta::assert_snapshot!(attribute.description(), @"What a free server does. Must be one of `off`, `hold`. Default: `off`. Changing this replaces the resource.");
        assert_eq!(attribute.presence(), Presence::OptionalComputed);
    }
}
