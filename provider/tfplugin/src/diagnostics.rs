//! Messages to the person who runs Terraform.
//!
//! Shape: a summary of fixed words; a detail that says what, which, why; one hint for the next step; the attribute at fault.
//! Never a backtrace, never a debug print of an error. All problems are collected, then the request ends once.

use std::fmt;

use crate::path::Path;

/// Does it stop the run?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, and the person can do something about it.
    Warning,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Does it stop the run?
    pub severity: Severity,
    /// One short line, the same words for the same failure.
    pub summary: String,
    /// What, which one, why.
    pub detail: String,
    /// One next step.
    pub hint: Option<String>,
    /// The attribute at fault.
    pub path: Option<Path>,
}

impl Diagnostic {
    /// An error.
    pub fn error(summary: impl Into<String>) -> Self {
        Self::new(Severity::Error, summary)
    }

    /// A warning.
    pub fn warning(summary: impl Into<String>) -> Self {
        Self::new(Severity::Warning, summary)
    }

    /// A mistake of the provider itself, which the user can only report.
    pub fn provider_bug(detail: impl Into<String>) -> Self {
        Self::error("Provider mistake")
            .detail(detail)
            .hint("this is not caused by the configuration; report it to the provider's developers")
    }

    /// Says what happened.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Points at an attribute.
    #[must_use]
    pub fn at(mut self, path: impl Into<Path>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Detail and hint as the host prints them. The host points at top-level attributes only, so the way into a nested one is told.
    #[must_use]
    pub fn text(&self) -> String {
        let nested = self.path.as_ref().filter(|p| p.steps().len() > 1);
        let attribute = nested.map(ToString::to_string);
        let untold = attribute.filter(|a| !self.detail.contains(a.as_str()));
        let parts = [
            Some(self.detail.clone()).filter(|d| !d.is_empty()),
            untold.map(|a| format!("Attribute: `{a}`.")),
            self.hint.as_ref().map(|h| format!("Hint: {h}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
    }

    fn new(severity: Severity, summary: impl Into<String>) -> Self {
        Self {
            severity,
            summary: summary.into(),
            detail: String::new(),
            hint: None,
            path: None,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "Error",
            Severity::Warning => "Warning",
        };
        write!(f, "{word}: {}", self.summary)?;
        if let Some(path) = &self.path {
            write!(f, " ({path})")?;
        }
        match self.text() {
            text if text.is_empty() => Ok(()),
            text => write!(f, "\n\n{text}"),
        }
    }
}

/// Everything that was found in one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Nothing found.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Is there an error among them?
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// Is there nothing?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self(vec![one])
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, more: I) {
        self.0.extend(more);
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, one) in self.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{one}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_well() {
        let d = Diagnostic::error("Invalid attribute value")
            .detail("`size` is \"8XB\", which has no known unit.")
            .hint("write 8GB")
            .at(Path::attribute("disk").attr("size"));
        insta::assert_snapshot!(d, @r#"
        Error: Invalid attribute value (disk.size)

        `size` is "8XB", which has no known unit.

        Attribute: `disk.size`.

        Hint: write 8GB
        "#);
    }
}
