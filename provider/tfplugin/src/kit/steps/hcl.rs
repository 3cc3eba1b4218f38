//! Reads configurations: which blocks there are and what they need. Nothing else is guessed at: it is refused.

use std::collections::BTreeMap;

use hcl_edit::Ident;
use hcl_edit::expr::{Expression, Traversal, TraversalOperator};
use hcl_edit::structure::{Block, Body};
use hcl_edit::visit::{Visit, visit_traversal};

use super::lifecycle::{Trigger, triggers};
use super::scope::Scope;
use crate::value::{Object, Value};

/// A configuration of one module.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// The provider block's body.
    pub(super) provider: Body,
    /// Resources, data sources and ephemeral resources, by address.
    pub(super) blocks: BTreeMap<String, Declared>,
    /// Actions, by address; each holds its `config` block.
    pub(super) actions: BTreeMap<String, Declared>,
    /// Values of outputs, by name.
    pub(super) outputs: BTreeMap<String, Expression>,
    variables: BTreeMap<String, Value>,
}

/// A block with a type and a name.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    /// What it is.
    pub(super) kind: Kind,
    /// Its type.
    pub(super) type_name: String,
    /// What it holds for the provider.
    pub(super) body: Body,
    /// How often it is there.
    pub(super) repeat: Repeat,
    /// The actions that it triggers.
    pub(super) triggers: Vec<Trigger>,
    /// The addresses that it needs first.
    pub(super) needs: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Resource,
    DataSource,
    Ephemeral,
    Action,
}

/// How often a block is there.
#[derive(Clone, Debug)]
pub(super) enum Repeat {
    Once,
    Count(Expression),
    ForEach(Expression),
}

/// What a configuration has that only engines read.
pub(super) fn only_on_engines(what: &str) -> String {
    format!("`{what}` is not read here; run this step on an engine")
}

impl Module {
    /// Reads the text of a configuration.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let body: Body = text
            .parse()
            .map_err(|e| format!("the configuration is no HCL: {e}"))?;
        let mut module = Self::default();
        if let Some(stray) = body.attributes().next() {
            return Err(format!(
                "`{}` stands outside of every block",
                stray.key.as_str()
            ));
        }
        for block in body.blocks() {
            module.block(block)?;
        }
        module.needs_of_actions()?;
        Ok(module)
    }

    /// A scope that knows the variables only.
    pub(super) fn scope(&self) -> Scope {
        Scope::new(self.variables.clone())
    }

    /// The module without everything that it declares: what a destruction needs.
    pub(super) fn provider_only(self) -> Self {
        Self {
            provider: self.provider,
            variables: self.variables,
            ..Self::default()
        }
    }

    fn block(&mut self, block: &Block) -> Result<(), String> {
        let labels: Vec<_> = block.labels.iter().map(|l| l.as_str()).collect();
        match (block.ident.as_str(), labels.as_slice()) {
            ("terraform", []) => {}
            ("provider", [_]) => self.provider = block.body.clone(),
            ("variable", [name]) => {
                let default = block.body.get_attribute("default");
                let value = match default {
                    Some(default) => Scope::default().evaluate(&default.value)?,
                    None => return Err(format!("variable `{name}` has no default")),
                };
                self.variables.insert((*name).to_owned(), value);
            }
            ("output", [name]) => {
                let value = block.body.get_attribute("value");
                let value = value.ok_or_else(|| format!("output `{name}` has no value"))?;
                self.outputs.insert((*name).to_owned(), value.value.clone());
            }
            ("resource", [type_name, name]) => {
                self.declare(Kind::Resource, type_name, name, &block.body)?;
            }
            ("data", [type_name, name]) => {
                self.declare(Kind::DataSource, type_name, name, &block.body)?;
            }
            ("ephemeral", [type_name, name]) => {
                self.declare(Kind::Ephemeral, type_name, name, &block.body)?;
            }
            ("action", [type_name, name]) => {
                let config = action_config(&block.body)?;
                self.declare(Kind::Action, type_name, name, &config)?;
            }
            (other, _) => {
                return Err(format!(
                    "`{other}` blocks are not read here; run this step on an engine"
                ));
            }
        }
        Ok(())
    }

    fn declare(
        &mut self,
        kind: Kind,
        type_name: &str,
        name: &str,
        body: &Body,
    ) -> Result<(), String> {
        let address = match kind {
            Kind::Resource => format!("{type_name}.{name}"),
            Kind::DataSource => format!("data.{type_name}.{name}"),
            Kind::Ephemeral => format!("ephemeral.{type_name}.{name}"),
            Kind::Action => format!("action.{type_name}.{name}"),
        };
        let mut body = body.clone();
        let triggers = triggers(kind, body.remove_blocks("lifecycle"))
            .map_err(|why| format!("{address}: {why}"))?;
        let mut references = References::default();
        references.visit_body(&body);
        let repeat = match (
            body.remove_attribute("count"),
            body.remove_attribute("for_each"),
        ) {
            (None, None) => Repeat::Once,
            (Some(count), None) => Repeat::Count(count.value),
            (None, Some(each)) => Repeat::ForEach(each.value),
            (Some(_), Some(_)) => {
                return Err(format!(
                    "{address}: `count` and `for_each` exclude each other"
                ));
            }
        };
        let declared = Declared {
            kind,
            type_name: type_name.to_owned(),
            body,
            repeat,
            triggers,
            needs: references.0,
        };
        let all = match kind {
            Kind::Action => &mut self.actions,
            Kind::Resource | Kind::DataSource | Kind::Ephemeral => &mut self.blocks,
        };
        if all.insert(address.clone(), declared).is_some() {
            return Err(format!("{address} is declared twice"));
        }
        Ok(())
    }

    /// A resource comes after what the actions need that it triggers.
    fn needs_of_actions(&mut self) -> Result<(), String> {
        for (address, declared) in &mut self.blocks {
            for action in declared.triggers.iter().flat_map(|t| &t.actions) {
                let needed = self.actions.get(action);
                let needed = needed.ok_or_else(|| {
                    format!("{address}: nothing is declared as `{action}`, which it triggers")
                })?;
                let others = needed.needs.iter().filter(|n| *n != address);
                declared.needs.extend(others.cloned());
            }
        }
        Ok(())
    }
}

/// The `config` block of an action; one that takes nothing may leave it out.
fn action_config(body: &Body) -> Result<Body, String> {
    if let Some(attribute) = body.attributes().find(|a| a.key.as_str() != "provider") {
        return Err(only_on_engines(attribute.key.as_str()));
    }
    let mut blocks = body.blocks();
    match (blocks.next(), blocks.next()) {
        (None, _) => Ok(Body::new()),
        (Some(config), None) if config.ident.as_str() == "config" => Ok(config.body.clone()),
        (Some(other), _) => Err(format!(
            "an action has one `config` block and nothing else, not `{}`",
            other.ident.as_str()
        )),
    }
}

/// The names at the beginning of a reference.
pub(super) fn names(traversal: &Traversal) -> Result<(String, Vec<String>), String> {
    let Expression::Variable(root) = &traversal.expr else {
        return Err("only references can be looked into".to_owned());
    };
    let attribute = |op: &TraversalOperator| match op {
        TraversalOperator::GetAttr(name) => Some(Ident::as_str(name).to_owned()),
        TraversalOperator::Index(_)
        | TraversalOperator::LegacyIndex(_)
        | TraversalOperator::AttrSplat(_)
        | TraversalOperator::FullSplat(_) => None,
    };
    let names = traversal.operators.iter();
    let names = names.map_while(|op| attribute(op.value())).collect();
    Ok((root.as_str().to_owned(), names))
}

/// The address that a reference starts with, and how many of its operators that takes.
pub(super) fn address(root: &str, names: &[String]) -> (String, usize) {
    let of = match root {
        "data" | "ephemeral" | "action" => 2,
        "each" | "count" => 0,
        _ => 1,
    }
    .min(names.len());
    let mut parts = vec![root.to_owned()];
    parts.extend(names[..of].iter().cloned());
    (parts.join("."), of)
}

/// Collects the addresses that a body refers to.
#[derive(Default)]
struct References(Vec<String>);

impl Visit for References {
    fn visit_traversal(&mut self, traversal: &Traversal) {
        if let Ok((root, names)) = names(traversal)
            && root != "var"
        {
            self.0.push(address(&root, &names).0);
        }
        visit_traversal(self, traversal);
    }
}

/// The attributes of a body as an object, and its nested blocks by name.
pub(super) fn contents(
    body: &Body,
    scope: &Scope,
) -> Result<(Object, BTreeMap<String, Vec<Body>>), String> {
    let mut object = Object::new();
    for attribute in body.attributes() {
        let name = attribute.key.as_str();
        if !["depends_on", "provider"].contains(&name) {
            object.put(name, scope.evaluate(&attribute.value)?);
        }
    }
    let mut blocks: BTreeMap<String, Vec<Body>> = BTreeMap::new();
    for block in body.blocks() {
        let name = block.ident.as_str().to_owned();
        if ["dynamic", "provisioner", "connection"].contains(&&*name) {
            return Err(only_on_engines(&name));
        }
        blocks.entry(name).or_default().push(block.body.clone());
    }
    Ok((object, blocks))
}
