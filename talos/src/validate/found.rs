//! What was found, and how rules look at a document.

use super::{Mode, Report, Rules, Violation, hints};
use crate::patch::{Document, Source};
use crate::schema::Schema;
use crate::version::Generator;
use crate::yaml::{Mapping, Node};

/// The main document's name in messages.
pub(super) const MAIN: &str = "v1alpha1.Config";

#[derive(Default)]
pub(super) struct Found {
    errors: Vec<Violation>,
    warnings: Vec<Violation>,
}

impl Found {
    pub(super) fn warnings_are_errors(&mut self) {
        let warnings = std::mem::take(&mut self.warnings);
        self.errors.extend(warnings.into_iter().map(|w| Violation {
            reason: format!("warning: {}", w.reason),
            ..w
        }));
    }

    pub(super) fn report(self) -> Report {
        let hinted = |all: Vec<Violation>| {
            let each = all.into_iter().map(|mut violation| {
                violation.hint = violation.hint.or_else(|| hints::of(&violation.reason));
                violation
            });
            each.collect()
        };
        Report {
            errors: hinted(self.errors),
            warnings: hinted(self.warnings),
        }
    }
}

/// The document as Talos names it in messages: kinds that have names always show them.
pub(super) fn label(generator: Generator, document: &Document) -> String {
    let schema = Schema::of(generator);
    let structure = schema.document(&document.id.kind);
    let named = structure.is_some_and(|d| schema.structure(d.structure).field("name").is_some());
    let kind = &document.id.kind;
    match named {
        true => format!("{kind}/{}", document.id.name),
        false => kind.clone(),
    }
}

/// Talos's own layout of several errors.
pub(super) fn layout(errors: &[Violation]) -> Option<String> {
    let mut top: Vec<String> = Vec::new();
    let mut main: Vec<&str> = Vec::new();
    let mut last = "";
    for error in errors {
        let reason = error.exact.as_ref().unwrap_or(&error.reason);
        match error.document.as_str() {
            MAIN => main.push(reason),
            "" => top.push(reason.clone()),
            document if document == last => {
                if let Some(text) = top.last_mut() {
                    text.push('\n');
                    text.push_str(reason);
                }
            }
            document => top.push(format!("{document}: {reason}")),
        }
        last = &error.document;
    }
    if !main.is_empty() {
        top.insert(0, format!("{MAIN}: {}", several(&main)));
    }
    let top: Vec<&str> = top.iter().map(String::as_str).collect();
    (!top.is_empty()).then(|| several(&top))
}

/// A list of errors as one error's text.
pub(super) fn several(errors: &[&str]) -> String {
    let head = match errors.len() {
        1 => "1 error occurred:".to_owned(),
        n => format!("{n} errors occurred:"),
    };
    format!("{head}\n\t* {}\n\n", errors.join("\n\t* "))
}

/// One document, and where findings about it go.
pub(super) struct Scope<'a> {
    pub(super) root: &'a Node,
    document: String,
    generator: Generator,
    rules: Rules,
    found: &'a mut Found,
}

impl<'a> Scope<'a> {
    pub(super) fn main(
        root: &'a Node,
        generator: Generator,
        rules: Rules,
        found: &'a mut Found,
    ) -> Self {
        Self::document(root, MAIN.to_owned(), generator, rules, found)
    }

    /// Findings that no single document is named for.
    pub(super) fn whole(
        root: &'a Node,
        generator: Generator,
        rules: Rules,
        found: &'a mut Found,
    ) -> Self {
        Self::document(root, String::new(), generator, rules, found)
    }

    pub(super) fn document(
        root: &'a Node,
        document: String,
        generator: Generator,
        rules: Rules,
        found: &'a mut Found,
    ) -> Self {
        Self {
            root,
            document,
            generator,
            rules,
            found,
        }
    }

    pub(super) fn since_14(&self) -> bool {
        self.generator.newest().since_1(14)
    }

    pub(super) fn rules(&self) -> Rules {
        self.rules
    }

    pub(super) fn is_mode(&self, mode: Mode) -> bool {
        self.rules.mode == mode
    }

    pub(super) fn generator(&self) -> Generator {
        self.generator
    }

    /// A finding at a path of keys; its place is that of the deepest value that is there.
    pub(super) fn error(&mut self, path: &[&str], reason: impl Into<String>) {
        let violation = self.violation(path, reason.into(), None);
        self.found.errors.push(violation);
    }

    /// A finding with what to do about it.
    pub(super) fn error_with(&mut self, path: &[&str], reason: impl Into<String>, hint: &str) {
        let violation = self.violation(path, reason.into(), Some(hint.to_owned()));
        self.found.errors.push(violation);
    }

    pub(super) fn warn(&mut self, path: &[&str], reason: impl Into<String>) {
        let violation = self.violation(path, reason.into(), None);
        self.found.warnings.push(violation);
    }

    /// A finding about a value somewhere in the document.
    pub(super) fn error_at(&mut self, node: &Node, path: String, reason: impl Into<String>) {
        self.found.errors.push(Violation {
            source: source(node),
            line: node.line,
            column: node.column,
            document: self.document.clone(),
            path,
            reason: reason.into(),
            exact: None,
            hint: None,
        });
    }

    pub(super) fn warn_at(&mut self, node: &Node, path: String, reason: impl Into<String>) {
        self.error_at(node, path, reason);
        self.found.warnings.extend(self.found.errors.pop());
    }

    fn violation(&self, path: &[&str], reason: String, hint: Option<String>) -> Violation {
        let mut node = self.root;
        let mut place = None;
        for key in path {
            let next = match node.as_mapping() {
                Some(mapping) => mapping.entry(key),
                None => None,
            };
            match next {
                Some(entry) => {
                    node = &entry.value;
                    place = Some((source(node), entry.line, entry.column));
                }
                None => {
                    // Something is absent: its place is nowhere.
                    place = None;
                    break;
                }
            }
        }
        let (source, line, column) = place.unwrap_or((Source::Config, 0, 0));
        Violation {
            source,
            line,
            column,
            document: self.document.clone(),
            path: path.join("."),
            reason,
            exact: None,
            hint,
        }
    }

    /// A finding about a secret: `exact` is what the machinery says, with the value in it.
    pub(super) fn secret_error(&mut self, path: &[&str], reason: &str, exact: String) {
        self.error(path, reason);
        if let Some(violation) = self.found.errors.last_mut() {
            violation.exact = Some(exact);
        }
    }

    /// The same, about a value somewhere in the document.
    pub(super) fn secret_error_at(
        &mut self,
        node: &Node,
        path: String,
        reason: String,
        exact: String,
    ) {
        self.error_at(node, path, reason);
        if let Some(violation) = self.found.errors.last_mut() {
            violation.exact = Some(exact);
        }
    }

    /// A text; empty where it is absent.
    pub(super) fn text(&self, path: &[&str]) -> &'a str {
        self.root.text_at(path).unwrap_or_default()
    }

    pub(super) fn has(&self, path: &[&str]) -> bool {
        self.root.at(path).is_some_and(|n| !n.is_null())
    }

    pub(super) fn is_true(&self, path: &[&str]) -> bool {
        self.root.text_at(path) == Some("true")
    }

    /// Whether something is switched off in so many words.
    pub(super) fn is_false(&self, path: &[&str]) -> bool {
        self.root.text_at(path) == Some("false")
    }

    pub(super) fn items(&self, path: &[&str]) -> &'a [Node] {
        items(self.root, path)
    }

    pub(super) fn mapping(&self, path: &[&str]) -> Option<&'a Mapping> {
        self.root.at(path).and_then(Node::as_mapping)
    }

    pub(super) fn number(&self, path: &[&str]) -> Option<i128> {
        number(self.root, path)
    }
}

/// The patch that wrote a value, or the config.
fn source(node: &Node) -> Source {
    match node.origin.checked_sub(1) {
        None => Source::Config,
        Some(index) => Source::Patch(index as usize),
    }
}

pub(super) fn items<'a>(root: &'a Node, path: &[&str]) -> &'a [Node] {
    let node = root.at(path).and_then(Node::as_sequence);
    node.unwrap_or_default()
}

pub(super) fn number(root: &Node, path: &[&str]) -> Option<i128> {
    root.text_at(path).and_then(crate::yaml::integer)
}
