//! JSON 6902 patches, with the semantics of the library that Talos uses: it is laxer and stricter than the RFC.
//!
//! The first segment of a path is ignored; negative indices count from the end; `replace` of a missing key adds it;
//! `add` without a value adds null; `remove` of a missing key and anything below a missing parent fail.

use super::read::Patch;
use super::{PatchError, Source};
use crate::config::MachineConfig;
use crate::version::Generator;
use crate::yaml::{Kind, Node, Value, emit_json_layout, integer, parse_documents};

/// One operation of a patch.
pub(super) struct Operation {
    line: usize,
    kind: Option<String>,
    path: Option<String>,
    from: Option<String>,
    value: Option<Node>,
}

/// U+0085.
const NEXT_LINE: char = '\u{85}';

const ABSENT: &str = "missing value";
/// The origin of values whose text is kept as the patch spells it, until the patch has been applied.
const ESCAPED: u32 = u32::MAX;

/// Reads the operations of a patch that is a list.
pub(super) fn operations(
    root: &Node,
    text: &str,
    source_name: Source,
) -> Result<Vec<Operation>, PatchError> {
    let items = root.as_sequence().unwrap_or_default();
    let escapes = keeps_escapes(text);
    let read = items.iter().enumerate().map(|(operation, item)| {
        let mapping = item.as_mapping().ok_or_else(|| PatchError::Operation {
            source_name,
            line: item.line,
            operation,
            theirs: "an operation must be a mapping with op and path".to_owned(),
        })?;
        // Only a text is a text there.
        let text = |key: &str| {
            let scalar = mapping.value(key)?.as_scalar()?;
            (scalar.kind == Kind::Text).then(|| scalar.text.clone())
        };
        Ok(Operation {
            line: item.line,
            kind: text("op"),
            path: text("path"),
            from: text("from"),
            value: mapping
                .value("value")
                .filter(|v| !v.is_null())
                .map(|value| {
                    let mut value = value.clone();
                    if escapes {
                        value.stamp(ESCAPED);
                    }
                    value
                }),
        })
    });
    read.collect()
}

/// Whether a patch is a JSON patch.
pub(super) fn is_json(
    generator: Generator,
    text: &str,
    source: Source,
) -> Result<bool, PatchError> {
    Ok(match Patch::read(generator, text, source)? {
        Patch::Empty | Patch::Json(_) => true,
        Patch::Strategic(_) => false,
    })
}

/// Applies a patch to a text of one document, and writes it as JSON leaves it: keys sorted, two spaces.
pub(super) fn apply_to_text(
    generator: Generator,
    config: &MachineConfig,
    text: &str,
    source: Source,
) -> Result<MachineConfig, PatchError> {
    let mut trees = parse_documents(config.expose()).map_err(|error| PatchError::Syntax {
        source_name: Source::Config,
        error,
    })?;
    let [tree] = trees.as_mut_slice() else {
        return Err(PatchError::Json(source));
    };
    let operations = Patch::read(generator, text, source)?.operations();
    apply(tree, &operations, source)?;
    Ok(MachineConfig::new(emit_json_layout(tree)))
}

/// Applies all operations in order. The result is read again as JSON, by a library that takes fewer characters.
pub(super) fn apply(
    tree: &mut Node,
    operations: &[Operation],
    source_name: Source,
) -> Result<(), PatchError> {
    for (index, operation) in operations.iter().enumerate() {
        operation
            .apply(tree)
            .map_err(|reason| PatchError::Operation {
                source_name,
                line: operation.line,
                operation: index,
                theirs: format!(
                    "failure applying rfc6902 patches to talos machine config: {reason}"
                ),
            })?;
    }
    match unprintable(tree) {
        None => {
            through_json(tree);
            Ok(())
        }
        Some((mut keys, character)) => {
            keys.reverse();
            Err(PatchError::Unprintable {
                source_name,
                path: keys.join("."),
                code: u32::from(character),
            })
        }
    }
}

/// The first character that JSON leaves as it is and YAML 1.1 does not take, and the keys up from it.
fn unprintable(tree: &Node) -> Option<(Vec<String>, char)> {
    if tree.origin == ESCAPED {
        return None;
    }
    let in_text = |text: &str| text.chars().find(|c| is_unprintable(*c));
    let below = |key: &dyn ToString, node: &Node| {
        unprintable(node).map(|(mut keys, character)| {
            keys.push(key.to_string());
            (keys, character)
        })
    };
    match &tree.value {
        Value::Scalar(scalar) => in_text(&scalar.text).map(|c| (Vec::new(), c)),
        Value::Sequence(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(index, item)| below(&index, item))
        }
        Value::Mapping(mapping) => mapping.iter().find_map(|e| match in_text(&e.key) {
            Some(character) => Some((vec![e.key.clone()], character)),
            None => below(&e.key, &e.value),
        }),
    }
}

fn is_unprintable(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}')
}

/// Whether the values of a patch reach the result as they are spelled, and all with escapes where these are needed:
/// those of a patch in JSON do, those of one in YAML are written anew.
fn keeps_escapes(text: &str) -> bool {
    text.contains("\\u") && !text.contains(is_unprintable) && is_written_as_json(text)
}

/// Whether a text that is YAML is JSON, too: no text of it stands without double quotes.
fn is_written_as_json(text: &str) -> bool {
    let mut bare = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '"' {
            bare.push(c);
            continue;
        }
        loop {
            match rest.next() {
                None => return false,
                Some('"') => break,
                Some('\\') => drop(rest.next()),
                Some(_) => {}
            }
        }
    }
    let mut words = bare.split(|c: char| c.is_ascii_whitespace() || "[]{}:,".contains(c));
    words.all(|w| matches!(w, "" | "true" | "false" | "null") || w.parse::<f64>().is_ok())
}

/// What the way through JSON and back leaves of scalars: numbers are decimal, old words for true and false are these, and
/// the one line break that JSON has in texts as it is (U+0085) is folded as YAML folds lines.
fn through_json(node: &mut Node) {
    let escaped = node.origin == ESCAPED;
    if escaped {
        node.origin = 0;
    }
    match &mut node.value {
        Value::Sequence(items) => items.iter_mut().for_each(through_json),
        Value::Mapping(mapping) => mapping.iter_mut().for_each(|e| through_json(&mut e.value)),
        Value::Scalar(scalar) => match scalar.kind {
            Kind::Int => {
                if let Some(number) = integer(&scalar.text) {
                    scalar.text = number.to_string();
                }
            }
            Kind::Bool => match scalar.text.to_ascii_lowercase().as_str() {
                "y" | "yes" | "on" => scalar.text = "true".to_owned(),
                "n" | "no" | "off" => scalar.text = "false".to_owned(),
                _ => {}
            },
            Kind::Text if !escaped && scalar.text.contains(NEXT_LINE) => {
                scalar.text = folded(&scalar.text);
            }
            Kind::Text | Kind::Null | Kind::Float | Kind::Timestamp => {}
        },
    }
}

/// Lines become one: a single break is a space, of more all but one stay, and spaces beside them go.
fn folded(text: &str) -> String {
    let mut lines = text.split(NEXT_LINE).peekable();
    let first = lines.next().unwrap_or_default();
    let mut out = first.trim_end_matches(' ').to_owned();
    let mut breaks = 0;
    while let Some(line) = lines.next() {
        breaks += 1;
        let line = line.trim_start_matches(' ');
        let last = lines.peek().is_none();
        let line = if last {
            line
        } else {
            line.trim_end_matches(' ')
        };
        if line.is_empty() && !last {
            continue;
        }
        match breaks {
            1 => out.push(' '),
            more => out.extend(std::iter::repeat_n('\n', more - 1)),
        }
        breaks = 0;
        out.push_str(line);
    }
    out
}

impl Operation {
    fn apply(&self, tree: &mut Node) -> Result<(), String> {
        match self.kind.as_deref() {
            Some("add") => self.add(tree),
            Some("remove") => self.remove(tree),
            Some("replace") => self.replace(tree),
            Some("move") => self.relocate(tree),
            Some("copy") => self.copy(tree),
            Some("test") => self.test(tree),
            kind => Err(format!("Unexpected kind: {}", kind.unwrap_or("unknown"))),
        }
    }

    fn path(&self, operation: &str) -> Result<&str, String> {
        self.path
            .as_deref()
            .ok_or_else(|| format!("{operation} operation failed to decode path: {ABSENT}"))
    }

    fn from(&self, operation: &str) -> Result<&str, String> {
        self.from.as_deref().ok_or_else(|| {
            format!("{operation} operation failed to decode from: operation, missing from field: {ABSENT}")
        })
    }

    fn value(&self) -> Node {
        self.value.clone().unwrap_or_else(Node::null)
    }

    fn add(&self, tree: &mut Node) -> Result<(), String> {
        let path = self.path("add")?;
        let (holder, key) = holder(tree, path).ok_or_else(|| {
            format!("add operation does not apply: doc is missing path: \"{path}\": {ABSENT}")
        })?;
        add(holder, &key, self.value()).map_err(|e| format!("error in add for path: '{path}': {e}"))
    }

    fn remove(&self, tree: &mut Node) -> Result<(), String> {
        let path = self.path("remove")?;
        let (holder, key) = holder(tree, path).ok_or_else(|| {
            format!("remove operation does not apply: doc is missing path: \"{path}\": {ABSENT}")
        })?;
        remove(holder, &key)
            .map(drop)
            .map_err(|e| format!("error in remove for path: '{path}': {e}"))
    }

    fn replace(&self, tree: &mut Node) -> Result<(), String> {
        let path = self.path("replace")?;
        if path.is_empty() {
            let value = self.value();
            return match value.value {
                Value::Scalar(_) => {
                    Err("replace operation value must be object or array: %!w(<nil>)".into())
                }
                Value::Sequence(_) | Value::Mapping(_) => {
                    *tree = value;
                    Ok(())
                }
            };
        }
        let (holder, key) = holder(tree, path).ok_or_else(|| {
            format!("replace operation does not apply: doc is missing path: {path}: {ABSENT}")
        })?;
        match &mut holder.value {
            Value::Mapping(mapping) => mapping.set(key, self.value()),
            Value::Sequence(items) => {
                let at = index(&key, items.len()).map_err(|_| {
                    format!(
                        "replace operation does not apply: doc is missing key: {path}: {ABSENT}"
                    )
                })?;
                items[at] = self.value();
            }
            Value::Scalar(_) => {}
        }
        Ok(())
    }

    fn relocate(&self, tree: &mut Node) -> Result<(), String> {
        let from = self.from("move")?;
        let (source, key) = holder(tree, from).ok_or_else(|| {
            format!("move operation does not apply: doc is missing from path: {from}: {ABSENT}")
        })?;
        let value =
            remove(source, &key).map_err(|e| format!("error in move for path: '{key}': {e}"))?;
        let path = self.path("move")?;
        let (target, key) = holder(tree, path).ok_or_else(|| {
            format!(
                "move operation does not apply: doc is missing destination path: {path}: {ABSENT}"
            )
        })?;
        add(target, &key, value).map_err(|e| format!("error in move for path: '{path}': {e}"))
    }

    fn copy(&self, tree: &mut Node) -> Result<(), String> {
        let from = self.from("copy")?;
        let (source, key) = holder(tree, from).ok_or_else(|| {
            format!("copy operation does not apply: doc is missing from path: {from}: {ABSENT}")
        })?;
        let value = get(source, &key)
            .map_err(|e| format!("error in copy for from: '{from}': {e}"))?
            .cloned();
        let path = self.path("copy")?;
        let (target, key) = holder(tree, path).ok_or_else(|| {
            format!(
                "copy operation does not apply: doc is missing destination path: {path}: {ABSENT}"
            )
        })?;
        add(target, &key, value.unwrap_or_else(Node::null))
            .map_err(|e| format!("error while adding value during copy: {e}"))
    }

    fn test(&self, tree: &mut Node) -> Result<(), String> {
        let path = self.path("test")?;
        let failed = || format!("testing value {path} failed: test failed");
        if path.is_empty() {
            return same(tree, &self.value()).then_some(()).ok_or_else(failed);
        }
        let (holder, key) = holder(tree, path).ok_or_else(|| {
            format!("test operation does not apply: is missing path: {path}: {ABSENT}")
        })?;
        let found =
            get(holder, &key).map_err(|e| format!("error in test for path: '{path}': {e}"))?;
        let equal = match (found.filter(|v| !v.is_null()), &self.value) {
            (Some(found), Some(value)) => same(found, value),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        equal.then_some(()).ok_or_else(failed)
    }
}

/// The collection that holds the path's last segment, and that segment.
fn holder<'a>(tree: &'a mut Node, path: &str) -> Option<(&'a mut Node, String)> {
    let segments: Vec<&str> = path.split('/').collect();
    let (last, parents) = segments.get(1..)?.split_last()?;
    let mut node = tree;
    for part in parents {
        let key = unescaped(part);
        node = match &mut node.value {
            Value::Mapping(mapping) => mapping.value_mut(&key)?,
            Value::Sequence(items) => {
                let at = index(&key, items.len()).ok()?;
                items.get_mut(at)?
            }
            Value::Scalar(_) => return None,
        };
    }
    match node.value {
        Value::Scalar(_) => None,
        Value::Mapping(_) | Value::Sequence(_) => Some((node, unescaped(last))),
    }
}

fn unescaped(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

/// An index into a list of this length; negative ones count from its end.
fn index(key: &str, length: usize) -> Result<usize, String> {
    let number: i64 = key
        .parse()
        .map_err(|_| format!("strconv.Atoi: parsing {key:?}: invalid syntax"))?;
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let at = if number < 0 { number + length } else { number };
    let valid = (0..length).contains(&at);
    usize::try_from(at).ok().filter(|_| valid).ok_or_else(|| {
        format!("Unable to access invalid index: {number}: invalid index referenced")
    })
}

fn get<'a>(holder: &'a Node, key: &str) -> Result<Option<&'a Node>, String> {
    match &holder.value {
        Value::Mapping(mapping) => Ok(mapping.value(key)),
        Value::Sequence(items) => Ok(items.get(index(key, items.len())?)),
        Value::Scalar(_) => Ok(None),
    }
}

fn add(holder: &mut Node, key: &str, value: Node) -> Result<(), String> {
    match &mut holder.value {
        Value::Mapping(mapping) => mapping.set(key, value),
        Value::Sequence(items) if key == "-" => items.push(value),
        Value::Sequence(items) => {
            let at = index(key, items.len() + 1).map_err(|e| match e.starts_with("strconv") {
                true => format!("value was not a proper array index: '{key}': {e}"),
                false => e,
            })?;
            items.insert(at, value);
        }
        Value::Scalar(_) => {}
    }
    Ok(())
}

fn remove(holder: &mut Node, key: &str) -> Result<Node, String> {
    match &mut holder.value {
        Value::Mapping(mapping) => mapping
            .remove(key)
            .ok_or_else(|| format!("Unable to remove nonexistent key: {key}: {ABSENT}")),
        Value::Sequence(items) => Ok(items.remove(index(key, items.len())?)),
        Value::Scalar(_) => Ok(Node::null()),
    }
}

/// Equality as JSON sees it: the order of keys does not count.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Mapping(a), Value::Mapping(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|e| b.value(&e.key).is_some_and(|v| same(&e.value, v)))
        }
        (Value::Sequence(a), Value::Sequence(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => a == b,
    }
}
