//! The text of a config, which holds secrets.

use std::fmt;

/// A complete machine config as YAML. It holds the cluster's secrets: `Debug` shows its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct MachineConfig(String);

impl MachineConfig {
    /// Takes a text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The YAML, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The YAML, owned.
    pub fn into_exposed(self) -> String {
        self.0
    }

    /// Appends documents at the end.
    pub fn append(&mut self, documents: &[String]) {
        for document in documents {
            if !self.0.is_empty() {
                self.0.push_str("---\n");
            }
            self.0.push_str(document);
        }
    }
}

impl fmt::Debug for MachineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MachineConfig({} bytes)", self.0.len())
    }
}
