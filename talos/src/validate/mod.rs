//! Rules that a config must keep, with line and path: those that our own inputs and patches can break.
//!
//! Promises: what is refused here, Talos refuses too (the goldens say so). Talos refuses more: its own rules about
//! networks, volumes and single documents are not all here. Broken YAML, unknown keys and wrong types come first.

mod rules;

use std::fmt;

use crate::config::MachineConfig;
use crate::patch::PatchError;
use crate::version::Generator;
use crate::yaml::parse_documents;

/// Where a config shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A machine on which Talos installs itself.
    Metal,
    /// A cloud, whose image is installed already.
    Cloud,
}

/// A rule that a config breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// 1-based line in the config; 0 where something is absent.
    pub line: usize,
    /// The keys down to the place.
    pub path: String,
    /// What is wrong, without values that could be secret.
    pub reason: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, path, reason } = self;
        if *line > 0 {
            write!(f, "line {line}: {path}: {reason}")
        } else {
            write!(f, "{path}: {reason}")
        }
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
    crate::patch::check_config(generator, config)?;
    let documents = parse_documents(config.expose()).unwrap_or_default();
    Ok(rules::check(&documents, mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_name_line_and_path() {
        let config =
            "machine:\n    type: bogus\n    certSANs: []\ncluster:\n    controlPlane: null\n";
        let found = validate(Generator::V1_13, &MachineConfig::new(config), Mode::Metal).unwrap();
        let all: Vec<String> = found.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(all.join("\n"), @r"
        line 2: machine.type: it must be controlplane or worker
        machine.ca: the authority's certificate is required
        machine.install: installing needs disk or diskSelector
        cluster.controlPlane.endpoint: the endpoint is required
        ");
    }

    #[test]
    fn what_is_no_config_is_an_error() {
        let check = |text: &str| validate(Generator::V1_13, &MachineConfig::new(text), Mode::Metal);
        let error = check("machine:\n    typo: 1\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the config, line 2, column 5: unknown key machine.typo (did you mean type?)"
        );
        assert!(matches!(
            check("machine: ["),
            Err(PatchError::Syntax { .. })
        ));
    }
}
