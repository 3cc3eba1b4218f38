//! The provider under test: any schema that the crate takes, and a resource that uses every freedom that a resource has.

use std::collections::BTreeMap;
use std::sync::Arc;

use tfplugin::schema::{
    Attribute, Nesting, Presence, Schema, Shape, block, computed, optional, optional_computed,
    required,
};
use tfplugin::{
    Change, Context, Diagnostic, Diagnostics, Failed, Number, Object, Path, Plan, Provider,
    Resource, Saved, Type, Value, async_trait,
};

use crate::choices::Choices;

/// Marks an attribute that has a default: such a one is not the resource's to decide.
const DEFAULTED: &str = "Has a default.";

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Where an attribute stands: it decides what a schema may say there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Block,
    Set,
    Computed,
}

/// A schema without mistakes.
pub(crate) fn schema(c: &mut Choices<'_>) -> Schema {
    attributes(c, 2, Within::Block, Holds::Everything)
        .into_iter()
        .fold(Schema::new("Generated."), Schema::attribute)
}

/// What stands in the same place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// The resource itself: attributes of every type, and blocks.
    Everything,
    /// A nested block: blocks, but nothing of a dynamic type.
    Blocks,
    /// A nested attribute: attributes, and nothing of a dynamic type.
    Attributes,
}

fn attributes(c: &mut Choices<'_>, depth: u32, within: Within, holds: Holds) -> Vec<Attribute> {
    let many = 1 + c.pick(NAMES.len());
    NAMES[..many]
        .iter()
        .map(|name| attribute(c, name, depth, within, holds))
        .collect()
}

fn attribute(
    c: &mut Choices<'_>,
    name: &str,
    depth: u32,
    within: Within,
    holds: Holds,
) -> Attribute {
    if holds != Holds::Attributes && depth > 0 && c.rarely(4) {
        let nesting = c.of(&[Nesting::Single, Nesting::List, Nesting::Set]);
        let below = if nesting == Nesting::Set {
            Within::Set
        } else {
            within
        };
        let inner = attributes(c, depth - 1, below, Holds::Blocks);
        return Attribute::dynamic(name, Shape::Nested(nesting, inner), block());
    }
    let all = [
        Presence::Optional,
        Presence::Required,
        Presence::Computed,
        Presence::OptionalComputed,
    ];
    let presence = match within {
        Within::Block => c.of(&all),
        Within::Set => c.of(&all[..2]),
        Within::Computed => Presence::Computed,
    };
    let spec = match presence {
        Presence::Optional => optional(),
        Presence::Required => required(),
        Presence::Computed => computed(),
        Presence::OptionalComputed => optional_computed(),
    };
    let shape = if depth > 0 && c.pick(5) >= 3 {
        let nesting = c.of(&[Nesting::Single, Nesting::List, Nesting::Map, Nesting::Set]);
        let below = match (presence, nesting) {
            (Presence::Computed, _) => Within::Computed,
            (_, Nesting::Set) => Within::Set,
            _ => within,
        };
        Shape::Nested(nesting, attributes(c, depth - 1, below, Holds::Attributes))
    } else {
        Shape::Plain(plain(c, holds))
    };
    modified(c, Attribute::dynamic(name, shape, spec), presence, within)
}

fn plain(c: &mut Choices<'_>, holds: Holds) -> Type {
    let point = || {
        Type::Object(BTreeMap::from([
            ("p".into(), Type::String),
            ("q".into(), Type::Number),
        ]))
    };
    let all = [
        Type::String,
        Type::Bool,
        Type::Number,
        Type::list(Type::String),
        Type::set(Type::Number),
        Type::set(Type::String),
        Type::map(Type::String),
        Type::list(point()),
        Type::set(point()),
        point(),
        Type::map(Type::list(Type::Number)),
        Type::Tuple(vec![Type::String, Type::Bool]),
        Type::Dynamic,
    ];
    // The host takes no dynamic type inside a collection, of objects neither.
    c.of(if holds == Holds::Everything {
        &all
    } else {
        &all[..12]
    })
}

fn modified(
    c: &mut Choices<'_>,
    mut a: Attribute,
    presence: Presence,
    within: Within,
) -> Attribute {
    let may_default = matches!(presence, Presence::Optional | Presence::OptionalComputed);
    if may_default && c.rarely(3) {
        let value = made(a.shape(), c, Depth::Declared);
        a = a.default(value).describe(DEFAULTED);
    }
    if a.is_computed() && c.pick(2) == 1 {
        a = a.use_state_for_unknown();
    }
    a = match c.pick(6) {
        4 => a.requires_replace(),
        // Whatever is open may turn out to replace.
        5 => a.requires_replace_if(|_, new| !new.is_wholly_known() || new.is_null()),
        _ => a,
    };
    if matches!(a.shape(), Shape::Plain(ty) if in_words(ty)) && c.rarely(3) {
        a = a.same_if(same_text);
    }
    match c.pick(8) {
        6 if !a.is_computed() && within == Within::Block => a.write_only(),
        7 => a.local(),
        _ => a,
    }
}

/// Is it text, or a collection of text? Such values have other words for the same.
fn in_words(ty: &Type) -> bool {
    match ty {
        Type::String => true,
        Type::List(e) | Type::Set(e) | Type::Map(e) => in_words(e),
        _ => false,
    }
}

/// Upper and lower case mean the same.
pub(crate) fn same_text(x: &Value, y: &Value) -> bool {
    match (x.as_str(), y.as_str()) {
        (Some(x), Some(y)) => x.eq_ignore_ascii_case(y),
        _ => false,
    }
}

/// Who makes a value decides what it may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// A default: its author leaves inner attributes out now and then.
    Declared,
    /// The provider's answer: it fills in everything, even what is write-only.
    Everything,
}

fn made(shape: &Shape, c: &mut Choices<'_>, depth: Depth) -> Value {
    let (nesting, inner) = match shape {
        Shape::Plain(ty) => return plain_value(ty, c),
        Shape::Nested(nesting, inner) => (nesting, inner),
    };
    let one = |c: &mut Choices<'_>| {
        let field = |a: &Attribute, c: &mut Choices<'_>| match depth {
            Depth::Declared if c.pick(2) == 0 => Value::Null,
            _ => made(a.shape(), c, depth),
        };
        let object: Object = inner
            .iter()
            .map(|a| (a.name().to_owned(), field(a, c)))
            .collect();
        Value::Object(object)
    };
    match nesting {
        Nesting::Single => one(c),
        Nesting::List => Value::List((0..c.pick(3)).map(|_| one(c)).collect()),
        Nesting::Set => Value::set((0..c.pick(3)).map(|_| one(c)).collect::<Vec<_>>()),
        Nesting::Map => Value::Map(
            (0..c.pick(3))
                .map(|i| (NAMES[i].to_owned(), one(c)))
                .collect(),
        ),
    }
}

fn plain_value(ty: &Type, c: &mut Choices<'_>) -> Value {
    let many = |e: &Type, c: &mut Choices<'_>| {
        (0..c.pick(3))
            .map(|_| plain_value(e, c))
            .collect::<Vec<_>>()
    };
    match ty {
        Type::Bool => (c.pick(2) == 1).into(),
        Type::Number => c
            .of(&["1", "0.1", "18446744073709551617", "-7"])
            .parse::<Number>()
            .unwrap()
            .into(),
        Type::String => c.of(&["x", "z", "decided"]).into(),
        Type::List(e) => Value::List(many(e, c)),
        Type::Set(e) => Value::set(many(e, c)),
        Type::Map(e) => Value::Map(
            (0..c.pick(3))
                .map(|i| (NAMES[i].to_owned(), plain_value(e, c)))
                .collect(),
        ),
        Type::Tuple(ts) => Value::List(ts.iter().map(|t| plain_value(t, c)).collect()),
        Type::Object(fs) => {
            let fields: Object = fs
                .iter()
                .map(|(k, t)| (k.clone(), plain_value(t, c)))
                .collect();
            fields.into()
        }
        Type::Dynamic => Value::Dynamic(Box::new((Type::String, "free".into()))),
    }
}

/// How this resource behaves. The same request gets the same answer, as the host demands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Habits {
    pub(crate) seed: u8,
    /// Knows values at plan that others know after apply.
    pub(crate) plans_early: bool,
    /// Plans "known after apply" again and again.
    pub(crate) reopens: bool,
    /// Makes an update of every plan.
    pub(crate) touches: bool,
    /// Wants to be replaced for this attribute.
    pub(crate) wants_replacement: Option<usize>,
    /// Leaves out what the plan says already.
    pub(crate) terse: bool,
    /// Fails, with what exists.
    pub(crate) fails: bool,
}

impl Habits {
    pub(crate) fn new(c: &mut Choices<'_>) -> Self {
        Self {
            seed: u8::try_from(c.pick(256)).unwrap(),
            plans_early: c.rarely(2),
            reopens: c.rarely(6),
            touches: c.rarely(6),
            wants_replacement: c.rarely(6).then(|| c.pick(4)),
            terse: c.rarely(3),
            fails: c.rarely(8),
        }
    }

    /// Bytes that depend on nothing but the place.
    fn bytes(&self, at: &Path) -> Vec<u8> {
        let text = at.to_string();
        let mut state = u64::from(self.seed) | 0xcbf2_9ce4_8422_2000;
        let mut mix = |b: u8| {
            state = (state ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
            (state >> 24) as u8
        };
        for b in text.bytes() {
            mix(b);
        }
        (0..48).map(mix).collect()
    }
}

pub(crate) struct Subject {
    pub(crate) schema: Schema,
    pub(crate) habits: Habits,
}

impl Subject {
    /// A value for everything that is open.
    fn decided(&self, all: &[Attribute], planned: &Object, at: &Path) -> Object {
        let one = |a: &Attribute| {
            let at = at.clone().attr(a.name());
            (
                a.name().to_owned(),
                self.decide(a, planned.get(a.name()), &at),
            )
        };
        all.iter().map(one).collect()
    }

    fn decide(&self, a: &Attribute, planned: &Value, at: &Path) -> Value {
        let bytes = self.habits.bytes(at);
        let mut c = Choices::new(&bytes);
        match (planned, a.shape()) {
            // Null is a fine answer to "known after apply".
            (Value::Unknown, _) if c.rarely(4) => Value::Null,
            (Value::Unknown, shape) => made(shape, &mut c, Depth::Everything),
            (Value::Object(o), Shape::Nested(_, inner)) => self.decided(inner, o, at).into(),
            (Value::List(es), Shape::Nested(..)) => {
                let each = (0u64..).zip(es);
                Value::List(
                    each.map(|(i, e)| self.decide(a, e, &at.clone().index(i)))
                        .collect(),
                )
            }
            (Value::Map(es), Shape::Nested(..)) => {
                let each =
                    |(k, e): (&String, &Value)| (k.clone(), self.decide(a, e, &at.clone().key(k)));
                Value::Map(es.iter().map(each).collect())
            }
            (known, Shape::Plain(_))
                if self.habits.terse && known.is_wholly_known() && c.rarely(3) =>
            {
                Value::Null
            }
            (known, _) => known.clone(),
        }
    }

    fn make(&self, change: &Change) -> Result<Saved, Failed> {
        let state = self.decided(
            self.schema.attributes(),
            change.planned_object(),
            &Path::root(),
        );
        if self.habits.fails {
            return Err(Failed::with_state(state, Diagnostic::error("Told to fail")));
        }
        Ok(state.into())
    }
}

/// Places that the provider decides: computed and not configured, in objects that are there.
fn open(
    all: &[Attribute],
    config: &Object,
    planned: &Object,
    at: &Path,
    found: &mut Vec<(Path, Attribute)>,
) {
    for a in all {
        let at = at.clone().attr(a.name());
        let (c, p) = (config.get(a.name()), planned.get(a.name()));
        if c.is_null() && a.is_computed() {
            if !a.description().starts_with(DEFAULTED) {
                found.push((at, a.clone()));
            }
        } else if let Shape::Nested(_, inner) = a.shape() {
            let mut object = |at: Path, c: &Value, p: &Value| {
                if let (Value::Object(c), Value::Object(p)) = (c, p) {
                    open(inner, c, p, &at, found);
                }
            };
            match (c, p) {
                (Value::Object(_), _) => object(at, c, p),
                (Value::List(cs), Value::List(ps)) => {
                    for (i, (c, p)) in (0u64..).zip(cs.iter().zip(ps)) {
                        object(at.clone().index(i), c, p);
                    }
                }
                (Value::Map(cs), Value::Map(ps)) => {
                    for (k, c) in cs {
                        object(at.clone().key(k), c, &ps[k]);
                    }
                }
                _ => {}
            }
        }
    }
}

#[async_trait]
impl Resource for Subject {
    fn type_name(&self) -> &'static str {
        "any_thing"
    }

    fn schema(&self) -> Schema {
        self.schema.clone()
    }

    async fn plan(&self, _: &Context, plan: &mut Plan, _: &mut Diagnostics) {
        let habits = &self.habits;
        if habits.touches {
            plan.touch();
        }
        let mut places = Vec::new();
        let (config, planned) = (plan.config_object().clone(), plan.planned_object().clone());
        open(
            self.schema.attributes(),
            &config,
            &planned,
            &Path::root(),
            &mut places,
        );
        for (at, a) in places {
            let bytes = habits.bytes(&at);
            let mut c = Choices::new(&bytes[8..]);
            if habits.plans_early && c.pick(3) == 0 {
                plan.set(at, made(a.shape(), &mut c, Depth::Everything));
            } else if habits.reopens && c.pick(3) == 0 {
                plan.set_unknown(at);
            }
        }
        if let Some(a) = habits
            .wants_replacement
            .and_then(|i| self.schema.attributes().get(i))
        {
            plan.require_replace(a.name());
        }
    }

    async fn create(&self, _: &Context, change: &Change) -> Result<Saved, Failed> {
        self.make(change)
    }

    async fn update(&self, _: &Context, change: &Change) -> Result<Saved, Failed> {
        self.make(change)
    }

    async fn read(&self, _: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        Ok(Some(state.clone().into()))
    }

    async fn delete(&self, _: &Context, _: &Object) -> Result<(), Failed> {
        Ok(())
    }

    async fn import(&self, _: &Context, _: &str) -> Result<Saved, Failed> {
        let nothing = Object::new();
        Ok(self
            .decided(self.schema.attributes(), &nothing, &Path::root())
            .into())
    }
}

pub(crate) struct Any(pub(crate) Arc<Subject>);

#[async_trait]
impl Provider for Any {
    fn schema(&self) -> Schema {
        Schema::new("Any.")
    }

    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        vec![Arc::<Subject>::clone(&self.0)]
    }

    async fn configure(&self, _: &Context, _: &Object, _: &mut Diagnostics) {}
}
