//! Trees to text, in the block style of the YAML library that the generator uses: four spaces, lists indented below
//! their key, literal blocks for texts of several lines, never folded.

use super::scalar::{Form, double_quoted, form, single_quoted};
use super::{Kind, Mapping, Node, Scalar, Value};

/// Whose habits the output follows. The generators differ in how they quote what YAML 1.1 read as something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Talos machinery 1.13: such texts are double-quoted.
    V1_13,
    /// Talos machinery 1.14: such texts are single-quoted.
    V1_14,
}

const INDENT: usize = 4;
/// What a control plane's config needs. A text that grows to it by doubling is copied ten times.
const USUAL_LENGTH: usize = 16 << 10;
/// Spaces to take indentation from.
const SPACES: &str = "                                ";
/// A key that is longer than this is written with `?`.
const SIMPLE_KEY_MAX: usize = 128;

/// What the library counts as the end of a line.
const LINE_ENDS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// One document, without a separator.
pub fn emit(node: &Node, style: Style) -> String {
    let mut out = Emitter::new(style);
    out.node(node, 0, Place::Root);
    out.out.push('\n');
    out.out
}

/// Several documents, joined by separators.
pub fn emit_documents<'a>(documents: impl IntoIterator<Item = &'a Node>, style: Style) -> String {
    let mut out = Emitter::new(style);
    for (index, document) in documents.into_iter().enumerate() {
        if index > 0 {
            out.out.push_str("---\n");
        }
        out.node(document, 0, Place::Root);
        out.out.push('\n');
    }
    out.out
}

/// A document with the flow collections that its source had, for messages that repeat it.
pub(crate) fn emit_as_written(node: &Node, style: Style) -> String {
    let mut out = Emitter::new(style);
    out.layout = Layout::AsWritten;
    out.node(node, 0, Place::Root);
    out.out.push('\n');
    out.out
}

/// A document in the layout that a round trip through JSON leaves: keys sorted, two spaces, lists as deep as their key.
pub(crate) fn emit_json_layout(node: &Node) -> String {
    let mut sorted = node.clone();
    sort_keys(&mut sorted);
    let mut out = Emitter::new(Style::V1_13);
    out.layout = Layout::Json;
    out.node(&sorted, 0, Place::Root);
    out.out.push('\n');
    out.out
}

/// Makes of a tree what a round trip through JSON leaves: every mapping in block style, its keys sorted.
pub(crate) fn sort_keys(node: &mut Node) {
    node.flow = false;
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::Sequence(items) => items.iter_mut().for_each(sort_keys),
        Value::Mapping(mapping) => {
            mapping.sort_natural();
            mapping.iter_mut().for_each(|e| sort_keys(&mut e.value));
        }
    }
}

/// What the lines look like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Four spaces, always in block style.
    Talos,
    /// Four spaces; flow collections stay flow collections.
    AsWritten,
    /// Two spaces; lists are not indented.
    Json,
}

/// Where a value stands, which decides where its first line goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    /// After `key:`.
    MapValue,
    /// After `- `, and after `? ` or `: `.
    Item,
}

struct Emitter {
    out: String,
    style: Style,
    layout: Layout,
}

impl Emitter {
    fn new(style: Style) -> Self {
        Self {
            out: String::with_capacity(USUAL_LENGTH),
            style,
            layout: Layout::Talos,
        }
    }

    /// `indent` is the indentation of the structure that holds this value.
    fn node(&mut self, node: &Node, indent: usize, place: Place) {
        match &node.value {
            Value::Scalar(scalar) => {
                if place == Place::MapValue {
                    self.out.push(' ');
                }
                self.scalar(scalar, self.deeper(indent, place));
            }
            Value::Sequence(items) if items.is_empty() => self.flow("[]", place),
            Value::Mapping(mapping) if mapping.is_empty() => self.flow("{}", place),
            _ if node.flow && self.layout == Layout::AsWritten => {
                let mut text = String::new();
                self.one_line(node, &mut text);
                self.flow(&text, place);
            }
            Value::Sequence(items) => {
                let deeper = match (self.layout, place) {
                    (Layout::Json, Place::MapValue) => indent,
                    _ => self.deeper(indent, place),
                };
                self.sequence(items, deeper, place);
            }
            Value::Mapping(mapping) => self.mapping(mapping, self.deeper(indent, place), place),
        }
    }

    fn deeper(&self, indent: usize, place: Place) -> usize {
        match (self.layout, place) {
            (Layout::Json, Place::MapValue) => indent + 2,
            _ => deeper(indent, place),
        }
    }

    /// A flow collection on one line.
    fn one_line(&self, node: &Node, out: &mut String) {
        match &node.value {
            Value::Scalar(scalar) if scalar.kind == Kind::Text => {
                out.push_str(&self.in_flow(&scalar.text));
            }
            Value::Scalar(scalar) => out.push_str(&scalar.text),
            Value::Sequence(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    self.one_line(item, out);
                }
                out.push(']');
            }
            Value::Mapping(mapping) => {
                out.push('{');
                for (index, entry) in mapping.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    out.push_str(&self.in_flow(&entry.key));
                    out.push_str(": ");
                    self.one_line(&entry.value, out);
                }
                out.push('}');
            }
        }
    }

    /// A text inside a flow collection, where more than elsewhere would end it.
    fn in_flow(&self, text: &str) -> String {
        let plain = form(text, self.style) == Form::Plain;
        match plain && text.contains([',', '?', '[', ']', '{', '}', ':']) {
            true => single_quoted(text),
            false => super::quote_key(text, self.style),
        }
    }

    fn flow(&mut self, text: &str, place: Place) {
        if place == Place::MapValue {
            self.out.push(' ');
        }
        self.out.push_str(text);
    }

    fn sequence(&mut self, items: &[Node], indent: usize, place: Place) {
        for (index, item) in items.iter().enumerate() {
            self.line(indent, index, place);
            self.out.push_str("- ");
            self.node(item, indent, Place::Item);
        }
    }

    fn mapping(&mut self, mapping: &Mapping, indent: usize, place: Place) {
        for (index, entry) in mapping.iter().enumerate() {
            self.line(indent, index, place);
            let form = form(&entry.key, self.style);
            // A key with a line end needs quotes, so that only few keys are searched for one.
            let ends_line = form != Form::Plain && entry.key.contains(LINE_ENDS);
            if entry.key.len() > SIMPLE_KEY_MAX || ends_line {
                self.out.push_str("? ");
                self.text(&entry.key, form, deeper(indent, Place::MapValue));
                self.out.push('\n');
                self.pad(indent);
                self.out.push(':');
                self.explicit_value(&entry.value, indent);
            } else {
                self.text(&entry.key, form, indent);
                self.out.push(':');
                self.node(&entry.value, indent, Place::MapValue);
            }
        }
    }

    /// The value after `:` of an explicit key: a structure starts on the same line.
    fn explicit_value(&mut self, value: &Node, indent: usize) {
        self.out.push(' ');
        let inner = deeper(indent, Place::MapValue);
        match &value.value {
            Value::Scalar(scalar) => self.scalar(scalar, inner),
            Value::Sequence(items) if items.is_empty() => self.flow("[]", Place::Item),
            Value::Mapping(mapping) if mapping.is_empty() => self.flow("{}", Place::Item),
            Value::Sequence(items) => {
                self.pad(inner - indent - 2);
                self.sequence(items, inner, Place::Item);
            }
            Value::Mapping(mapping) => {
                self.pad(inner - indent - 2);
                self.mapping(mapping, inner, Place::Item);
            }
        }
    }

    /// Starts the line of an element; the first one of a nested structure goes where the cursor already is.
    fn line(&mut self, indent: usize, index: usize, place: Place) {
        if index > 0 || place == Place::MapValue {
            self.out.push('\n');
            self.pad(indent);
        }
    }

    fn pad(&mut self, mut indent: usize) {
        while let Some(deeper) = indent.checked_sub(SPACES.len()) {
            self.out.push_str(SPACES);
            indent = deeper;
        }
        self.out.push_str(&SPACES[..indent]);
    }

    /// `indent` is where the lines of a literal block go.
    fn scalar(&mut self, scalar: &Scalar, indent: usize) {
        match scalar.kind {
            Kind::Text => {
                let mut form = form(&scalar.text, self.style);
                // The library that writes JSON as YAML is an older one, to which a tab is a special character.
                let older = self.layout == Layout::Json && scalar.text.contains('\t');
                if form == Form::Literal && older {
                    form = Form::Double;
                }
                self.text(&scalar.text, form, indent);
            }
            Kind::Null => self.out.push_str("null"),
            Kind::Bool | Kind::Int | Kind::Float | Kind::Timestamp => {
                self.out.push_str(&scalar.text);
            }
        }
    }

    fn text(&mut self, text: &str, form: Form, indent: usize) {
        match form {
            Form::Plain => self.out.push_str(text),
            Form::Single => {
                for c in single_quoted(text).chars() {
                    self.out.push(c);
                    // The library takes them for line ends, and indents what follows.
                    if matches!(c, '\u{2028}' | '\u{2029}') {
                        self.pad(indent);
                    }
                }
            }
            Form::Double => self.out.push_str(&double_quoted(text)),
            Form::Literal => self.literal(text, indent),
        }
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.out.push('|');
        if text.starts_with(' ') {
            self.out.push_str(&INDENT.to_string());
        }
        let body = match text.strip_suffix('\n') {
            None => {
                self.out.push('-');
                text
            }
            Some(body) if body.ends_with('\n') => {
                self.out.push('+');
                body
            }
            Some(body) => body,
        };
        for line in body.split('\n') {
            self.out.push('\n');
            if !line.is_empty() {
                self.pad(indent);
                self.out.push_str(line);
            }
        }
    }
}

/// The indentation inside a value: the next multiple of four, or two more inside a list item.
fn deeper(indent: usize, place: Place) -> usize {
    match place {
        Place::Root => 0,
        Place::Item => indent + 2,
        Place::MapValue => INDENT * ((indent + INDENT) / INDENT),
    }
}
