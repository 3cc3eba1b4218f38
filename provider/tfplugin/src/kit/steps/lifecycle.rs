//! `lifecycle` blocks: which actions a resource triggers, and when. Everything else in them is for an engine.

use hcl_edit::expr::Expression;
use hcl_edit::structure::{Block, Body};

use super::Effect;
use super::hcl::{Kind, address, names, only_on_engines};

/// An `action_trigger` block.
#[derive(Clone, Debug)]
pub(super) struct Trigger {
    events: Vec<Event>,
    /// The addresses of its actions, in order.
    pub(super) actions: Vec<String>,
}

/// Before or after the work on the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    BeforeCreate,
    AfterCreate,
    BeforeUpdate,
    AfterUpdate,
}

impl Event {
    fn read(name: &str) -> Result<Self, String> {
        match name {
            "before_create" => Ok(Self::BeforeCreate),
            "after_create" => Ok(Self::AfterCreate),
            "before_update" => Ok(Self::BeforeUpdate),
            "after_update" => Ok(Self::AfterUpdate),
            other => Err(format!(
                "`{other}` is no event: before_create, after_create, before_update and after_update are"
            )),
        }
    }

    /// What is made in place of something deleted is created, too.
    fn is_of(self, effect: Effect, moment: Moment) -> bool {
        match (effect, moment) {
            (Effect::Create | Effect::Replace, Moment::Before) => self == Self::BeforeCreate,
            (Effect::Create | Effect::Replace, Moment::After) => self == Self::AfterCreate,
            (Effect::Update, Moment::Before) => self == Self::BeforeUpdate,
            (Effect::Update, Moment::After) => self == Self::AfterUpdate,
            (Effect::Nothing | Effect::Delete, _) => false,
        }
    }
}

impl Trigger {
    /// The actions for what happens to the resource.
    pub(super) fn invoked(&self, effect: Effect, moment: Moment) -> &[String] {
        let fires = self.events.iter().any(|e| e.is_of(effect, moment));
        if fires { &self.actions } else { &[] }
    }
}

/// The triggers of a block's `lifecycle` blocks.
pub(super) fn triggers(kind: Kind, blocks: Vec<Block>) -> Result<Vec<Trigger>, String> {
    let mut all = Vec::new();
    for block in blocks {
        if let Some(attribute) = block.body.attributes().next() {
            return Err(only_on_engines(attribute.key.as_str()));
        }
        for inner in block.body.blocks() {
            match (kind, inner.ident.as_str()) {
                (Kind::Resource, "action_trigger") => all.push(trigger(&inner.body)?),
                (_, other) => return Err(only_on_engines(other)),
            }
        }
    }
    Ok(all)
}

fn trigger(body: &Body) -> Result<Trigger, String> {
    let (mut events, mut actions) = (Vec::new(), Vec::new());
    for attribute in body.attributes() {
        let words = words(&attribute.value);
        match attribute.key.as_str() {
            "events" => {
                events = words?
                    .iter()
                    .map(|e| Event::read(e))
                    .collect::<Result<_, _>>()?;
            }
            "actions" => actions = words?,
            other => return Err(only_on_engines(other)),
        }
    }
    Ok(Trigger { events, actions })
}

/// A list of bare names and references.
fn words(list: &Expression) -> Result<Vec<String>, String> {
    let other = || Err(only_on_engines(list.to_string().trim()));
    let Expression::Array(elements) = list else {
        return other();
    };
    let mut all = Vec::new();
    for element in elements.iter() {
        match element {
            Expression::Variable(name) => all.push(name.as_str().to_owned()),
            Expression::Traversal(reference) => {
                let (root, names) = names(reference)?;
                let (address, of) = address(&root, &names);
                if of < reference.operators.len() {
                    return other();
                }
                all.push(address);
            }
            _ => return other(),
        }
    }
    Ok(all)
}
