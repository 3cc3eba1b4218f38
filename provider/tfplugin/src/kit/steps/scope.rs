//! What expressions mean: literals, nested values, templates, references, and calls of the provider's functions.
//!
//! Evaluation waits for nothing. A call that has no answer yet is noted, and whoever evaluates makes it and evaluates again.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hcl_edit::Decorated;
use hcl_edit::expr::{
    Expression, FuncCall, ObjectKey, Traversal, TraversalOperator, UnaryOperator,
};
use hcl_edit::template::{Element, Template};

use super::hcl::{address, names, only_on_engines};
use crate::value::{Object, Value};

/// What references and calls resolve to.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// Values of resources, data sources and ephemeral resources, by address.
    pub(super) values: BTreeMap<String, Value>,
    variables: BTreeMap<String, Value>,
    /// `count` or `each` of one instance of a block.
    instance: BTreeMap<&'static str, Object>,
    /// Shared with every copy: the same call has one answer.
    calls: Arc<Mutex<Calls>>,
}

/// A call of a provider's function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    /// The provider's local name.
    pub(super) provider: String,
    pub(super) function: String,
    pub(super) arguments: Vec<Value>,
}

#[derive(Debug, Default)]
struct Calls {
    wanted: BTreeSet<Call>,
    answers: BTreeMap<Call, Result<Value, String>>,
}

impl Scope {
    pub(super) fn new(variables: BTreeMap<String, Value>) -> Self {
        Self {
            variables,
            ..Self::default()
        }
    }

    /// The scope of one instance, where `name` is `count` or `each`.
    pub(super) fn of_instance(&self, name: &'static str, what: Object) -> Self {
        let mut scope = self.clone();
        scope.instance.insert(name, what);
        scope
    }

    /// The same without what must not be stored. None where there is nothing of the kind.
    pub(super) fn public(&self) -> Option<Self> {
        let mut scope = self.clone();
        let mut secret = false;
        for (address, value) in &mut scope.values {
            if address.starts_with("ephemeral.") {
                *value = Value::Unknown;
                secret = true;
            }
        }
        secret.then_some(scope)
    }

    /// The calls that evaluations wait for; they are not told again.
    pub(super) fn take_wanted(&self) -> BTreeSet<Call> {
        mem::take(&mut self.calls().wanted)
    }

    /// Gives the result of a call, or what was said against it.
    pub(super) fn answer(&self, call: Call, answer: Result<Value, String>) {
        self.calls().answers.insert(call, answer);
    }

    /// Nothing panics while it is held, and its parts are good by themselves.
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
            Expression::FuncCall(call) => self.call(call),
            Expression::Variable(_)
            | Expression::Conditional(_)
            | Expression::UnaryOp(_)
            | Expression::BinaryOp(_)
            | Expression::ForExpr(_) => Err(only_on_engines(expression.to_string().trim())),
        }
    }

    fn call(&self, call: &FuncCall) -> Result<Value, String> {
        let arguments = call.args.iter().map(|a| self.evaluate(a));
        let mut arguments: Vec<_> = arguments.collect::<Result<_, _>>()?;
        if call.args.expand_final() {
            match arguments.pop() {
                Some(Value::Unknown) => return Ok(Value::Unknown),
                Some(Value::List(es) | Value::Set(es)) => arguments.extend(es),
                _ => return Err("only a list or a set can be expanded with `...`".to_owned()),
            }
        }
        let namespace: Vec<_> = call.name.namespace.iter().map(|n| n.as_str()).collect();
        match (namespace.as_slice(), call.name.name.as_str()) {
            (["provider", provider], function) => self.answered(Call {
                provider: (*provider).to_owned(),
                function: function.to_owned(),
                arguments,
            }),
            // What `for_each` needs of a list.
            ([], "toset") if arguments.len() == 1 => match arguments.remove(0) {
                Value::List(es) | Value::Set(es) => Ok(Value::set(es)),
                Value::Unknown => Ok(Value::Unknown),
                _ => Err("only a list can be made a set".to_owned()),
            },
            (_, name) => Err(only_on_engines(&format!("{name}(…)"))),
        }
    }

    fn answered(&self, call: Call) -> Result<Value, String> {
        let mut calls = self.calls();
        if let Some(answer) = calls.answers.get(&call) {
            return answer.clone();
        }
        let waits = format!("`{}` was not called", call.function);
        calls.wanted.insert(call);
        Err(waits)
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
                Element::Directive(_) => return Err(only_on_engines("%{ … }")),
            };
            whole = whole.zip(part).map(|(whole, part)| whole + &part);
        }
        Ok(whole.map_or(Value::Unknown, Value::from))
    }

    fn traversal(&self, traversal: &Traversal) -> Result<Value, String> {
        if let Expression::FuncCall(_) | Expression::Parenthesis(_) = &traversal.expr {
            let value = self.evaluate(&traversal.expr)?;
            return self.into_value(value, &traversal.operators, "it");
        }
        let (root, names) = names(traversal)?;
        let (address, rest) = address(&root, &names);
        let value = match (root.as_str(), names.first()) {
            ("var", Some(name)) => self.variables.get(name).cloned(),
            ("count" | "each", _) => self.instance.get(&*root).cloned().map(Value::Object),
            _ => self.values.get(&address).cloned(),
        };
        let value = value.ok_or_else(|| format!("nothing is declared as `{address}`"))?;
        self.into_value(value, &traversal.operators[rest..], &address)
    }

    /// Follows a reference into a value.
    fn into_value(
        &self,
        value: Value,
        operators: &[Decorated<TraversalOperator>],
        name: &str,
    ) -> Result<Value, String> {
        let mut here = value;
        for (i, operator) in operators.iter().enumerate() {
            let step = match operator.value() {
                TraversalOperator::GetAttr(name) => name.as_str().to_owned(),
                TraversalOperator::Index(e) => match text(&self.evaluate(e)?)? {
                    Some(step) => step,
                    None => return Ok(Value::Unknown),
                },
                TraversalOperator::LegacyIndex(i) => i.value().to_string(),
                TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => {
                    let rest = &operators[i + 1..];
                    let each = |e: &Value| self.into_value(e.clone(), rest, name);
                    return match &here {
                        Value::Unknown => Ok(Value::Unknown),
                        Value::List(es) | Value::Set(es) => es
                            .iter()
                            .map(each)
                            .collect::<Result<_, _>>()
                            .map(Value::List),
                        _ => Err(format!("`*` needs a list, and `{name}` has none there")),
                    };
                }
            };
            here =
                inside(&here, &step).ok_or_else(|| format!("there is no `{step}` in `{name}`"))?;
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
