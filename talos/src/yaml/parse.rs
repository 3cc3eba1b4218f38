//! Text to trees. Aliases and `<<` are resolved here, so that nothing else has to know them.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::scalar::{Kind, Scalar, resolve};
use super::{Entry, Mapping, Node, Value};

/// Nesting above this is refused: no document of ours comes near it.
const DEPTH_MAX: usize = 100;
/// Aliases may multiply a text; the tree stops growing here.
const NODES_MAX: usize = 200_000;

/// The text is not YAML, or not the YAML that Talos takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    /// 1-based line.
    pub line: usize,
    /// What is wrong there. It may quote keys, never values.
    pub reason: String,
}

/// Reads every document of a text; comment-only and empty documents are left out.
///
/// # Errors
/// Broken syntax, a duplicate key, a key that is not a scalar, more nesting or aliases than any config has.
pub fn parse_documents(text: &str) -> Result<Vec<Node>, ParseError> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    let mut documents = Vec::new();
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|e| ParseError {
            line: e.marker().line(),
            reason: e.info().to_owned(),
        })?;
        let line = span.start.line();
        match event {
            Event::DocumentStart(_) => builder = Builder::default(),
            Event::DocumentEnd => {
                if let Some(root) = builder.root.take()
                    && !root.is_null()
                {
                    documents.push(root);
                }
            }
            Event::StreamEnd => break,
            Event::Nothing | Event::StreamStart => {}
            Event::Alias(id) => builder.alias(id, line)?,
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_deref().map(|t| format!("{}{}", t.handle, t.suffix));
                let scalar = scalar(&text, style, tag.as_deref());
                builder.value(line, Value::Scalar(scalar), anchor)?;
            }
            Event::SequenceStart(anchor, _) => {
                builder.open(line, Open::Sequence(Vec::new()), anchor)?;
            }
            Event::MappingStart(anchor, _) => {
                builder.open(line, Open::Mapping(Mapping::default(), None), anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => builder.close()?,
        }
    }
    Ok(documents)
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&str>) -> Scalar {
    let plain = matches!(style, ScalarStyle::Plain);
    let kind = match tag {
        Some("tag:yaml.org,2002:str" | "!") => Kind::Text,
        Some(_) => resolve(text),
        None if plain => resolve(text),
        None => Kind::Text,
    };
    Scalar::raw(kind, text)
}

enum Open {
    Sequence(Vec<Node>),
    /// Entries so far, and a key that waits for its value.
    Mapping(Mapping, Option<(usize, Key)>),
}

enum Key {
    Name(String),
    /// `<<`: the value's keys come in where they are absent.
    Merge,
}

#[derive(Default)]
struct Builder {
    stack: Vec<(usize, Open, usize)>,
    anchors: BTreeMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
}

impl Builder {
    fn open(&mut self, line: usize, open: Open, anchor: usize) -> Result<(), ParseError> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(error(
                line,
                format!("nested deeper than {DEPTH_MAX} levels"),
            ));
        }
        if let Some((_, Open::Mapping(_, key @ None), _)) = self.stack.last_mut() {
            let _ = key;
            return Err(error(line, "a key must be a single value"));
        }
        self.stack.push((line, open, anchor));
        Ok(())
    }

    fn close(&mut self) -> Result<(), ParseError> {
        let Some((line, open, anchor)) = self.stack.pop() else {
            return Ok(());
        };
        let value = match open {
            Open::Sequence(items) => Value::Sequence(items),
            Open::Mapping(mapping, _) => Value::Mapping(mapping),
        };
        self.value(line, value, anchor)
    }

    fn alias(&mut self, id: usize, line: usize) -> Result<(), ParseError> {
        let node = self
            .anchors
            .get(&id)
            .ok_or_else(|| error(line, "an alias without its anchor"))?
            .clone();
        self.nodes += count(&node);
        self.value(line, node.value, 0)
    }

    fn value(&mut self, line: usize, value: Value, anchor: usize) -> Result<(), ParseError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(error(line, "more values than a config can have"));
        }
        let node = Node { line, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some((_, Open::Sequence(items), _)) => items.push(node),
            Some((_, Open::Mapping(mapping, key), _)) => match key.take() {
                None => *key = Some((line, key_of(node)?)),
                Some((line, Key::Name(name))) => put(mapping, line, name, node)?,
                Some((line, Key::Merge)) => merge_into(mapping, line, &node)?,
            },
        }
        Ok(())
    }
}

fn key_of(node: Node) -> Result<Key, ParseError> {
    let line = node.line;
    match node.value {
        Value::Scalar(s) if s.kind == Kind::Text && s.text == "<<" => Ok(Key::Merge),
        Value::Scalar(s) => Ok(Key::Name(s.text)),
        Value::Sequence(_) | Value::Mapping(_) => Err(error(line, "a key must be a single value")),
    }
}

fn put(mapping: &mut Mapping, line: usize, key: String, value: Node) -> Result<(), ParseError> {
    if let Some(first) = mapping.entry(&key) {
        let reason = format!("the key {key:?} is already set at line {}", first.line);
        return Err(error(line, reason));
    }
    mapping.push(Entry { line, key, value });
    Ok(())
}

fn merge_into(mapping: &mut Mapping, line: usize, from: &Node) -> Result<(), ParseError> {
    match &from.value {
        Value::Mapping(source) => {
            for entry in source {
                if mapping.entry(&entry.key).is_none() {
                    mapping.push(entry.clone());
                }
            }
            Ok(())
        }
        Value::Sequence(items) => items
            .iter()
            .try_for_each(|item| merge_into(mapping, line, item)),
        Value::Scalar(_) => Err(error(line, "a merge key needs a mapping")),
    }
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 1,
        Value::Sequence(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Mapping(mapping) => 1 + mapping.iter().map(|e| count(&e.value)).sum::<usize>(),
    }
}

fn error(line: usize, reason: impl Into<String>) -> ParseError {
    ParseError {
        line,
        reason: reason.into(),
    }
}
