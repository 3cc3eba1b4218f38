//! Reads configurations: blocks, literals, nested values, templates, references. Nothing else is guessed at: it is refused.

use std::collections::BTreeMap;

use hcl_edit::Ident;
use hcl_edit::expr::{Expression, ObjectKey, Traversal, TraversalOperator, UnaryOperator};
use hcl_edit::structure::{Block, Body};
use hcl_edit::template::{Element, Template};
use hcl_edit::visit::{Visit, visit_traversal};

use crate::value::{Object, Value};

/// A configuration of one module.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// The provider block's body.
    pub(super) provider: Body,
    /// Resources and data sources, by address.
    pub(super) blocks: BTreeMap<String, Declared>,
    variables: BTreeMap<String, Value>,
}

/// A resource or a data source.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    /// Which of the two.
    pub(super) kind: Kind,
    /// Its type.
    pub(super) type_name: String,
    /// What it holds.
    pub(super) body: Body,
    /// The addresses that it needs first.
    pub(super) needs: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Resource,
    DataSource,
}

/// What references resolve to.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Values of resources and data sources, by address.
    pub(super) values: BTreeMap<String, Value>,
    variables: BTreeMap<String, Value>,
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
        Ok(module)
    }

    /// A scope that knows the variables only.
    pub(super) fn scope(&self) -> Scope {
        Scope {
            values: BTreeMap::new(),
            variables: self.variables.clone(),
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
            ("resource", [type_name, name]) => {
                self.declare(Kind::Resource, type_name, name, &block.body)?;
            }
            ("data", [type_name, name]) => {
                self.declare(Kind::DataSource, type_name, name, &block.body)?;
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
        };
        let mut references = References::default();
        references.visit_body(body);
        let declared = Declared {
            kind,
            type_name: type_name.to_owned(),
            body: body.clone(),
            needs: references.0,
        };
        if self.blocks.insert(address.clone(), declared).is_some() {
            return Err(format!("{address} is declared twice"));
        }
        Ok(())
    }
}

impl Scope {
    /// The value of an expression, of the type that HCL alone gives it: the schema decides later.
    pub(super) fn evaluate(&self, expression: &Expression) -> Result<Value, String> {
        match expression {
            Expression::Null(_) => Ok(Value::Null),
            Expression::Bool(b) => Ok((*b.value()).into()),
            Expression::Number(n) => {
                // As it was written: an f64 would round it.
                let text = n
                    .as_repr()
                    .map_or_else(|| n.value().to_string(), |r| r.to_string());
                number(&text)
            }
            Expression::String(s) => Ok(s.as_str().into()),
            Expression::Array(elements) => {
                let all = elements.iter().map(|e| self.evaluate(e));
                Ok(Value::List(all.collect::<Result<_, _>>()?))
            }
            Expression::Object(fields) => {
                let all = fields
                    .iter()
                    .map(|(key, value)| Ok((self.key(key)?, self.evaluate(value.expr())?)));
                Ok(Value::Object(all.collect::<Result<_, String>>()?))
            }
            Expression::StringTemplate(template) => self.template(template),
            Expression::HeredocTemplate(heredoc) => {
                let mut heredoc = heredoc.clone();
                heredoc.dedent();
                self.template(&heredoc.template)
            }
            Expression::Parenthesis(inner) => self.evaluate(inner.inner()),
            Expression::UnaryOp(op) if *op.operator.value() == UnaryOperator::Neg => {
                let value = self.evaluate(&op.expr)?;
                match value.as_number() {
                    Some(n) => number(&format!("-{n}").replace("--", "")),
                    None => Err("only a number can be negated".to_owned()),
                }
            }
            Expression::Traversal(traversal) => self.traversal(traversal),
            Expression::Variable(_)
            | Expression::Conditional(_)
            | Expression::FuncCall(_)
            | Expression::UnaryOp(_)
            | Expression::BinaryOp(_)
            | Expression::ForExpr(_) => Err(format!(
                "`{}` is not read here; run this step on an engine",
                expression.to_string().trim()
            )),
        }
    }

    fn key(&self, key: &ObjectKey) -> Result<String, String> {
        match key {
            ObjectKey::Ident(name) => Ok(name.as_str().to_owned()),
            ObjectKey::Expression(Expression::Variable(name)) => Ok(name.as_str().to_owned()),
            ObjectKey::Expression(e) => text(&self.evaluate(e)?)?
                .ok_or_else(|| "the key of an object must be known".to_owned()),
        }
    }

    fn template(&self, template: &Template) -> Result<Value, String> {
        let mut whole = Some(String::new());
        for element in template.iter() {
            let part = match element {
                Element::Literal(literal) => Some(literal.value().clone()),
                Element::Interpolation(i) => text(&self.evaluate(&i.expr)?)?,
                Element::Directive(_) => {
                    return Err("%{ … } is not read here; run this step on an engine".to_owned());
                }
            };
            whole = whole.zip(part).map(|(whole, part)| whole + &part);
        }
        Ok(whole.map_or(Value::Unknown, Value::from))
    }

    fn traversal(&self, traversal: &Traversal) -> Result<Value, String> {
        let (root, names) = names(traversal)?;
        let (address, rest) = address(&root, &names);
        let value = match (root.as_str(), names.first()) {
            ("var", Some(name)) => self.variables.get(name),
            _ => self.values.get(&address),
        };
        let mut here = value
            .cloned()
            .ok_or_else(|| format!("nothing is declared as `{address}`"))?;
        for operator in traversal.operators.iter().skip(rest) {
            let step = match operator.value() {
                TraversalOperator::GetAttr(name) => name.as_str().to_owned(),
                TraversalOperator::Index(e) => text(&self.evaluate(e)?)?.unwrap_or_default(),
                TraversalOperator::LegacyIndex(i) => i.value().to_string(),
                TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => {
                    return Err("`*` is not read here; run this step on an engine".to_owned());
                }
            };
            here = inside(&here, &step)
                .ok_or_else(|| format!("there is no `{step}` in `{address}`"))?;
        }
        Ok(here)
    }
}

fn inside(value: &Value, step: &str) -> Option<Value> {
    match value {
        Value::Unknown => Some(Value::Unknown),
        Value::Object(fields) => {
            let found = fields.iter().find(|(name, _)| *name == step);
            found.map(|(_, value)| value.clone())
        }
        Value::Map(elements) => elements.get(step).cloned(),
        Value::List(elements) => elements.get(step.parse::<usize>().ok()?).cloned(),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Set(_)
        | Value::Dynamic(_) => None,
    }
}

/// A value as text; none where it is unknown.
pub(super) fn text(value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Unknown => Ok(None),
        Value::String(s) => Ok(Some(s.clone())),
        Value::Number(n) => Ok(Some(n.to_string())),
        Value::Bool(b) => Ok(Some(b.to_string())),
        Value::Null
        | Value::List(_)
        | Value::Set(_)
        | Value::Map(_)
        | Value::Object(_)
        | Value::Dynamic(_) => Err("only text, numbers and bools can be part of a text".to_owned()),
    }
}

fn number(text: &str) -> Result<Value, String> {
    let number = text.trim().parse().map(Value::Number);
    number.map_err(|_| format!("`{text}` is no number"))
}

/// The names at the beginning of a reference.
fn names(traversal: &Traversal) -> Result<(String, Vec<String>), String> {
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
fn address(root: &str, names: &[String]) -> (String, usize) {
    let of = if root == "data" { 2 } else { 1 }.min(names.len());
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
        if ["count", "for_each", "lifecycle", "provisioner"].contains(&name) {
            return Err(format!(
                "`{name}` is not read here; run this step on an engine"
            ));
        }
        if !["depends_on", "provider"].contains(&name) {
            object.put(name, scope.evaluate(&attribute.value)?);
        }
    }
    let mut blocks: BTreeMap<String, Vec<Body>> = BTreeMap::new();
    for block in body.blocks() {
        let name = block.ident.as_str().to_owned();
        blocks.entry(name).or_default().push(block.body.clone());
    }
    Ok((object, blocks))
}
