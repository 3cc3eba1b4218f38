//! Rules that a config must keep, each finding with its place in the text that the user wrote.
//!
//! Promises: the rules and the messages are those of Talos's own machinery of the generator's version (the goldens say
//! so); syntax, document kinds, keys and types come first (see [`crate::patch`]). Messages may quote the value that is
//! refused where the machinery does, but never one of a key that holds a secret. Not here: what only a running node
//! can know, and the rest of CEL: an expression's syntax and its names are checked, its types are not.

mod bgp;
mod bond;
mod cel;
mod cluster;
mod conflicts;
mod containers;
mod devices;
mod documents;
mod found;
mod go;
mod hints;
mod kubernetes;
mod links;
mod machine;
mod names;
mod pem;
mod resolvers;
mod storage;
mod volumes;
mod whole;

use std::fmt;

use crate::config::MachineConfig;
use crate::patch::{Draft, PatchError, Source};
use crate::version::Generator;
use found::{Found, Scope};

/// Where a config shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A machine on which Talos installs itself.
    Metal,
    /// A cloud, whose image is installed already.
    Cloud,
    /// A container.
    Container,
}

/// What a warning of the main document counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// It is a warning.
    #[default]
    Lenient,
    /// It is an error.
    Strict,
}

/// Who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locality {
    /// The node itself, or for a node of the generator's own version: Kubernetes versions are compared with it.
    #[default]
    Node,
    /// A tool whose version is not the node's.
    Local,
}

/// Which rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Where the config shall run.
    pub mode: Mode,
    /// What warnings count for.
    pub strictness: Strictness,
    /// Who asks.
    pub locality: Locality,
}

impl Rules {
    /// The rules of a mode: lenient, for a node.
    pub fn of(mode: Mode) -> Self {
        Self {
            mode,
            strictness: Strictness::default(),
            locality: Locality::default(),
        }
    }
}

/// A rule that a config breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The text that the place is in: the patch that wrote it, or the config.
    pub source: Source,
    /// 1-based line; 0 where something is absent.
    pub line: usize,
    /// 1-based column; 0 where something is absent.
    pub column: usize,
    /// Kind and name of the document; `v1alpha1.Config` is the main one, and empty where it is about all of them.
    pub document: String,
    /// The keys down to the place.
    pub path: String,
    /// What is wrong, as Talos's own tools say it, but for the values of secrets.
    pub reason: String,
    /// Their own words where they show a secret.
    exact: Option<String>,
    /// What to do, where one thing is likely.
    pub hint: Option<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Source::Patch(index) = self.source
            && self.line > 0
        {
            write!(f, "patch {index}, ")?;
        }
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        let main = self.document.is_empty() || self.document == found::MAIN;
        match (main, self.path.as_str()) {
            (true, "") => {}
            (true, path) => write!(f, "{path}: ")?,
            (false, "") => write!(f, "{}: ", self.document)?,
            (false, path) => write!(f, "{} {path}: ", self.document)?,
        }
        f.write_str(&self.reason)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What Talos would refuse.
    pub errors: Vec<Violation>,
    /// What it would take, with a word about it.
    pub warnings: Vec<Violation>,
}

impl Report {
    /// The errors in the words and the layout of Talos's own tools, who may quote a secret that they refuse.
    pub fn machinery_error(&self) -> Option<String> {
        found::layout(&self.errors)
    }
}

/// Checks a complete config and returns every broken rule.
///
/// # Errors
/// The text is not a config at all: syntax, document kinds, keys and types.
pub fn validate(
    generator: Generator,
    config: &MachineConfig,
    mode: Mode,
) -> Result<Vec<Violation>, PatchError> {
    let draft = Draft::read(generator, config)?;
    Ok(draft.validate(Rules::of(mode)).errors)
}

impl Draft {
    /// Checks a config as it is now. The places are those of the patches that wrote what is wrong.
    pub fn validate(&self, rules: Rules) -> Report {
        let mut found = Found::default();
        let documents = self.documents();
        let generator = self.generator();
        let main = documents.iter().find(|d| d.id.is_main());
        if let Some(main) = main {
            let mut scope = Scope::main(&main.root, generator, rules, &mut found);
            machine::check(&mut scope);
            if rules.strictness == Strictness::Strict {
                found.warnings_are_errors();
            }
        }
        for document in documents.iter().filter(|d| !d.id.is_main()) {
            let label = found::label(generator, document);
            let mut scope = Scope::document(&document.root, label, generator, rules, &mut found);
            documents::check(&document.id.kind, &mut scope);
        }
        if let Some(main) = main {
            for document in documents.iter().filter(|d| !d.id.is_main()) {
                let mut scope = Scope::whole(&main.root, generator, rules, &mut found);
                conflicts::check(document, &mut scope);
            }
        }
        whole::check(documents, generator, rules, &mut found);
        found.report()
    }
}

#[cfg(test)]
mod tests;
