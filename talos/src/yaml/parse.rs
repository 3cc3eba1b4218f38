//! Text to trees. Aliases and `<<` are resolved here, so that nothing else has to know them.
//!
//! Whatever the text: time and memory stay in proportion to its length, and the stack does not grow with its nesting
//! beyond a fixed depth.

use std::collections::{BTreeMap, HashMap};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::scalar::{Kind, Scalar, resolve};
use super::strict::{self, Inside, Watch};
use super::{Entry, Mapping, Node, Value};

/// Larger texts are refused before they are read. The API of a node takes 32 MiB; no config comes near this.
const TEXT_MAX: usize = 16 << 20;
/// Nesting above this is refused: no document of ours comes near it.
const DEPTH_MAX: usize = 100;
/// Every value of a text counts, and every copy that an anchor makes.
const NODES_MAX: usize = 500_000;
/// Bytes that anchors and aliases may add to a text.
const COPIES_MAX: usize = 16 << 20;
/// Mappings with more keys than this get an index for finding duplicates.
const INDEXED_FROM: usize = 16;

/// The text is not YAML, or not the YAML that Talos takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct ParseError {
    /// 1-based line.
    pub line: usize,
    /// 1-based column, counted in characters.
    pub column: usize,
    /// What is wrong there. It may quote keys, never values.
    pub reason: String,
}

/// Reads every document of a text; comment-only and empty documents are left out.
///
/// # Errors
/// Broken syntax, a duplicate key, a key that is not a scalar, more nesting, aliases or bytes than any config has.
pub fn parse_documents(text: &str) -> Result<Vec<Node>, ParseError> {
    within_bounds(text.len())?;
    let all = match super::plain::parse(text) {
        Some(documents) => documents,
        None => whole(text)?,
    };
    Ok(all.into_iter().filter(|root| !root.is_null()).collect())
}

/// Whether a text of so many bytes is read at all.
pub(crate) fn within_bounds(bytes: usize) -> Result<(), ParseError> {
    match bytes <= TEXT_MAX {
        true => Ok(()),
        false => {
            let reason = format!("more than {} MiB of YAML", TEXT_MAX >> 20);
            Err(error((1, 1), reason))
        }
    }
}

/// Reads bytes that should be a text.
///
/// # Errors
/// Not UTF-8, with the place of the first wrong byte, or anything that [`parse_documents`] refuses.
pub fn parse_bytes(bytes: &[u8]) -> Result<Vec<Node>, ParseError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse_documents(text),
        Err(error) => {
            let valid = &bytes[..error.valid_up_to()];
            let before = valid.iter().rev().take_while(|b| **b != b'\n');
            Err(ParseError {
                line: valid.iter().filter(|b| **b == b'\n').count() + 1,
                column: before.filter(|b| (**b & 0xc0) != 0x80).count() + 1,
                reason: "a byte that is no UTF-8".to_owned(),
            })
        }
    }
}

/// The documents that end before the place where a text is broken.
pub(crate) fn leading_documents(text: &str) -> Vec<Node> {
    let mut documents = Vec::new();
    if within_bounds(text.len()).is_ok() {
        // Why it breaks is what the caller knows already.
        let _broken = read(text, &mut documents).is_err();
    }
    documents.retain(|root| !root.is_null());
    documents
}

/// Every document, also those that hold nothing, by the parser that knows all of YAML.
pub(super) fn whole(text: &str) -> Result<Vec<Node>, ParseError> {
    let mut documents = Vec::new();
    read(text, &mut documents)?;
    Ok(documents)
}

fn read(text: &str, documents: &mut Vec<Node>) -> Result<(), ParseError> {
    strict::characters(text)?;
    let mut watch = Watch::new(text);
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|e| {
            let at = (e.marker().line(), e.marker().col() + 1);
            error(at, e.info().to_owned())
        })?;
        let at = (span.start.line(), span.start.col() + 1);
        watch.see(&event, &span, builder.place())?;
        match event {
            Event::DocumentStart(_) => builder = Builder::with_budget_of(&builder),
            Event::DocumentEnd => documents.extend(builder.root.take()),
            Event::StreamEnd => break,
            Event::Nothing | Event::StreamStart => {}
            Event::Alias(id) => builder.alias(id, at)?,
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_deref().map(|t| format!("{}{}", t.handle, t.suffix));
                if builder.waits_for_key()
                    && matches!(style, ScalarStyle::Plain)
                    && tag.is_none()
                    && text == "<<"
                {
                    builder.merge_key(at);
                    continue;
                }
                let scalar = scalar(&text, style, tag.as_deref());
                builder.value(Node::at_place(at.0, at.1, Value::Scalar(scalar)), anchor)?;
            }
            Event::SequenceStart(anchor, _) => {
                builder.open(at, Open::Sequence(Vec::new()), anchor, is_flow(&span))?;
            }
            Event::MappingStart(anchor, _) => {
                builder.open(at, Open::Mapping(Pairs::default()), anchor, is_flow(&span))?;
            }
            Event::SequenceEnd | Event::MappingEnd => builder.close()?,
        }
    }
    watch.end()?;
    Ok(())
}

/// Flow collections begin with a character of their own; block ones with their first element.
pub(super) fn is_flow(span: &Span) -> bool {
    span.end.index() > span.start.index()
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

pub(super) type At = (usize, usize);

enum Open {
    Sequence(Vec<Node>),
    Mapping(Pairs),
}

/// A structure whose end has not come.
struct Frame {
    at: At,
    open: Open,
    anchor: usize,
    flow: bool,
}

#[derive(Default)]
struct Pairs {
    entries: Mapping,
    /// Lines of the keys, once there are many.
    lines: HashMap<String, usize>,
    /// A key that waits for its value.
    key: Option<(At, Key)>,
    /// Values of `<<`: they give the keys that are absent in the end.
    merges: Vec<Node>,
}

enum Key {
    Name(String),
    /// `<<`: the value's keys come in where they are absent.
    Merge,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    anchors: BTreeMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
    copied: usize,
}

impl Builder {
    /// A new document shares the text's budget.
    fn with_budget_of(other: &Self) -> Self {
        Self {
            nodes: other.nodes,
            copied: other.copied,
            ..Self::default()
        }
    }

    fn open(&mut self, at: At, open: Open, anchor: usize, flow: bool) -> Result<(), ParseError> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(error(at, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        if self.waits_for_key() {
            return Err(error(at, "a key must be a single value"));
        }
        self.stack.push(Frame {
            at,
            open,
            anchor,
            flow,
        });
        Ok(())
    }

    fn waits_for_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { open: Open::Mapping(pairs), .. }) if pairs.key.is_none())
    }

    fn place(&self) -> strict::Place {
        let block = self.stack.iter().rev().find(|frame| !frame.flow);
        let in_flow = self.stack.last().is_some_and(|frame| frame.flow);
        strict::Place {
            indent: block.map_or(0, |frame| frame.at.1),
            inside: match (in_flow, self.waits_for_key()) {
                (false, _) => Inside::Block,
                (true, false) => Inside::Flow,
                (true, true) => Inside::FlowKey,
            },
        }
    }

    fn merge_key(&mut self, at: At) {
        if let Some(Frame {
            open: Open::Mapping(pairs),
            ..
        }) = self.stack.last_mut()
        {
            pairs.key = Some((at, Key::Merge));
        }
    }

    fn close(&mut self) -> Result<(), ParseError> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let value = match frame.open {
            Open::Sequence(items) => Value::Sequence(items),
            Open::Mapping(mut pairs) => {
                let merges = std::mem::take(&mut pairs.merges);
                for source in merges {
                    pairs.merge(source)?;
                }
                Value::Mapping(pairs.entries)
            }
        };
        let mut node = Node::at_place(frame.at.0, frame.at.1, value);
        node.flow = frame.flow;
        self.value(node, frame.anchor)
    }

    fn alias(&mut self, id: usize, at: At) -> Result<(), ParseError> {
        let missing = || error(at, "an alias without its anchor");
        let size = extent(self.anchors.get(&id).ok_or_else(missing)?);
        self.spend(size, at)?;
        let mut node = self.anchors.get(&id).cloned().ok_or_else(missing)?;
        (node.line, node.column) = at;
        self.value(node, 0)
    }

    /// Counts a copy before it is made.
    fn spend(&mut self, (nodes, bytes): (usize, usize), at: At) -> Result<(), ParseError> {
        self.nodes += nodes;
        self.copied += bytes;
        if self.nodes > NODES_MAX || self.copied > COPIES_MAX {
            return Err(error(at, "aliases make more of it than a config can be"));
        }
        Ok(())
    }

    fn value(&mut self, node: Node, anchor: usize) -> Result<(), ParseError> {
        let at = (node.line, node.column);
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(error(at, "more values than a config can have"));
        }
        if anchor != 0 {
            self.spend(extent(&node), at)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut().map(|frame| &mut frame.open) {
            None => self.root = Some(node),
            Some(Open::Sequence(items)) => items.push(node),
            Some(Open::Mapping(pairs)) => match pairs.key.take() {
                None => pairs.key = Some((at, key_of(node)?)),
                Some((at, Key::Name(name))) => pairs.put(at, name, node)?,
                Some((_, Key::Merge)) => pairs.merges.push(node),
            },
        }
        Ok(())
    }
}

impl Pairs {
    fn line_of(&mut self, key: &str) -> Option<usize> {
        if self.entries.len() < INDEXED_FROM {
            return self.entries.entry(key).map(|e| e.line);
        }
        if self.lines.is_empty() {
            let known = self.entries.iter().map(|e| (e.key.clone(), e.line));
            self.lines = known.collect();
        }
        self.lines.get(key).copied()
    }

    fn push(&mut self, entry: Entry) {
        if !self.lines.is_empty() {
            self.lines.insert(entry.key.clone(), entry.line);
        }
        self.entries.push(entry);
    }

    fn put(&mut self, (line, column): At, key: String, value: Node) -> Result<(), ParseError> {
        if let Some(first) = self.line_of(&key) {
            return Err(duplicate((line, column), &key, first));
        }
        self.push(Entry {
            line,
            column,
            key,
            value,
        });
        Ok(())
    }

    fn merge(&mut self, from: Node) -> Result<(), ParseError> {
        match from.value {
            Value::Mapping(source) => {
                for entry in source {
                    if self.line_of(&entry.key).is_none() {
                        self.push(entry);
                    }
                }
                Ok(())
            }
            Value::Sequence(items) => items.into_iter().try_for_each(|item| self.merge(item)),
            Value::Scalar(_) => Err(error(
                (from.line, from.column),
                "a merge key needs a mapping",
            )),
        }
    }
}

fn key_of(node: Node) -> Result<Key, ParseError> {
    let at = (node.line, node.column);
    match node.value {
        Value::Scalar(s) => Ok(Key::Name(s.text)),
        Value::Sequence(_) | Value::Mapping(_) => Err(error(at, "a key must be a single value")),
    }
}

/// How many values a tree has, and how many bytes of text.
fn extent(node: &Node) -> (usize, usize) {
    let sum = |a: (usize, usize), b: (usize, usize)| (a.0 + b.0, a.1 + b.1);
    match &node.value {
        Value::Scalar(scalar) => (1, scalar.text.len()),
        Value::Sequence(items) => items.iter().map(extent).fold((1, 0), sum),
        Value::Mapping(mapping) => mapping
            .iter()
            .map(|e| sum((0, e.key.len()), extent(&e.value)))
            .fold((1, 0), sum),
    }
}

pub(super) fn duplicate(at: At, key: &str, first: usize) -> ParseError {
    let shown: String = key.chars().take(80).collect();
    error(
        at,
        format!("the key {shown:?} is already set at line {first}"),
    )
}

pub(super) fn error((line, column): At, reason: impl Into<String>) -> ParseError {
    ParseError {
        line,
        column,
        reason: reason.into(),
    }
}
