//! YAML documents as JSON values: enough for machine configs and schematics. Anchors are expanded, duplicate keys are errors.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Most nodes that a text may have once its aliases are expanded.
const NODES_MAX: usize = 100_000;
/// Deepest nesting.
const DEPTH_MAX: usize = 64;

/// The documents of a text; empty ones are left out.
///
/// # Errors
/// What is wrong and where.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    let mut loader = Loader {
        parser: Parser::new_from_str(text),
        anchors: std::collections::BTreeMap::new(),
        nodes: 0,
    };
    let mut documents = Vec::new();
    loop {
        match loader.next()? {
            (Event::StreamEnd, _) => return Ok(documents),
            (Event::DocumentStart(_), _) => {
                let (event, line) = loader.next()?;
                let value = loader.node(event, line, 0)?;
                if !value.is_null() {
                    documents.push(value);
                }
            }
            _ => {}
        }
    }
}

struct Loader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: std::collections::BTreeMap<usize, Value>,
    nodes: usize,
}

impl<'a> Loader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), String> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => Err(format!(
                "yaml: line {}: {}",
                error.marker().line(),
                error.info()
            )),
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Value, String> {
        self.nodes += 1;
        if self.nodes > NODES_MAX || depth > DEPTH_MAX {
            return Err(format!("yaml: line {line}: too large or too deep"));
        }
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, _) => (anchor, scalar(&text, style)),
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, line) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    items.push(self.node(event, line, depth + 1)?);
                }
                (anchor, Value::Array(items))
            }
            Event::MappingStart(anchor, _) => (anchor, Value::Object(self.mapping(depth)?)),
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().unwrap_or_default();
                self.nodes += count(&value);
                return Ok(value);
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Ok(Value::Null),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn mapping(&mut self, depth: usize) -> Result<Map<String, Value>, String> {
        let mut map = Map::new();
        loop {
            let (event, line) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(map);
            }
            let key = match self.node(event, line, depth + 1)? {
                Value::String(text) => text,
                Value::Null => "null".to_owned(),
                other
                @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                    other.to_string()
                }
            };
            let (event, line) = self.next()?;
            let value = self.node(event, line, depth + 1)?;
            if map.insert(key.clone(), value).is_some() {
                return Err(format!(
                    "yaml: line {line}: mapping key {key:?} already defined"
                ));
            }
        }
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(count).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => text
            .parse::<i64>()
            .map(Value::from)
            .unwrap_or_else(|_| Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn configs() {
        let text = "version: v1alpha1\nmachine:\n  type: worker\n  sysctls: {a: \"1\", b: 2}\n  list: [&x y, *x]\n---\n---\nkind: K\n";
        assert_eq!(
            documents(text).unwrap(),
            [
                json!({"version": "v1alpha1", "machine": {"type": "worker", "sysctls": {"a": "1", "b": 2}, "list": ["y", "y"]}}),
                json!({"kind": "K"})
            ]
        );
        assert!(
            documents("a: 1\na: 2\n")
                .unwrap_err()
                .contains("already defined")
        );
        assert!(documents("a: [").is_err());
        assert_eq!(documents("").unwrap(), Vec::<Value>::new());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z:&*\\[\\]{} \n-]{0,60}|\\PC*") {
            let _ = documents(&text);
        }
    }
}
