//! One page: front matter, description, example, schema, import.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::{Kind, Words, block, functions, sorted};
use crate::printed::printed_meta;
use crate::schema::Schema;

/// Writes pages and notes what is missing.
pub(super) struct Writer<'a> {
    pub(super) words: Words<'a>,
    pub(super) read: &'a dyn Fn(&str) -> Option<String>,
    pub(super) missing: &'a mut Vec<String>,
}

/// Everything that a page starts with.
pub(super) struct Head<'a> {
    pub(super) name: &'a str,
    pub(super) word: &'a str,
    pub(super) group: &'a str,
    pub(super) description: &'a str,
    pub(super) deprecated: bool,
}

impl Writer<'_> {
    /// The page of a block with attributes.
    pub(super) fn block(
        &mut self,
        kind: Kind,
        name: &str,
        schema: &Json,
        identity: Option<&Json>,
    ) -> String {
        let group = if kind == Kind::Provider {
            ""
        } else {
            self.group(name)
        };
        let mut out = self.head(&Head {
            name,
            word: kind.word(),
            group,
            description: schema["description"].as_str().unwrap_or_default(),
            deprecated: schema["deprecated"].as_bool() == Some(true),
        });
        self.example(&mut out, &kind.example(name));
        block::schema(&mut out, schema);
        if kind == Kind::Resource {
            self.import(&mut out, name, identity);
        }
        if let (Kind::Provider, Some(meta)) = (kind, self.words.meta) {
            self.meta(&mut out, meta);
        }
        out
    }

    /// The page of a function.
    pub(super) fn function(&mut self, name: &str, function: &Json) -> String {
        let text = |key: &str| function[key].as_str().unwrap_or_default();
        let description = match (text("description"), text("summary")) {
            ("", summary) => summary,
            (description, _) => description,
        };
        let mut out = self.head(&Head {
            name,
            word: "Function",
            group: "",
            description,
            deprecated: function["deprecation_message"].is_string(),
        });
        if let Some(instead) = function["deprecation_message"].as_str() {
            let _ = write!(out, "\n{instead}\n");
        }
        self.example(&mut out, &format!("examples/functions/{name}/function.tf"));
        functions::signature(&mut out, self.words.provider, name, function);
        out
    }

    /// What a module may say of itself.
    fn meta(&mut self, out: &mut String, schema: &Schema) {
        let printed = printed_meta(schema);
        out.push_str("\n## Module Metadata\n");
        let provider = self.words.provider;
        let _ = write!(
            out,
            "\nA module that uses this provider may say in `terraform {{ provider_meta \"{provider}\" {{ … }} }}` who it is; it holds for \
             the resources and data sources of that module alone."
        );
        if let Some(description) = printed["description"].as_str() {
            let _ = write!(out, " {description}");
        }
        out.push('\n');
        let file = "examples/provider/provider_meta.tf";
        match (self.read)(file) {
            Some(text) => fenced(out, "terraform", &text),
            None => self.missing.push(file.to_owned()),
        }
        block::members(out, &printed, "provider_meta");
    }

    fn group(&self, name: &str) -> &str {
        let mut groups = self.words.groups.iter();
        groups
            .find(|(prefix, _)| name.starts_with(prefix))
            .map_or("", |(_, group)| group)
    }

    fn head(&self, head: &Head<'_>) -> String {
        let (first, rest) = head
            .description
            .split_once("\n\n")
            .unwrap_or((head.description, ""));
        let (name, word) = (head.name, head.word);
        let title = if word == Kind::Provider.word() {
            format!("{name} {word}")
        } else {
            format!("{name} {word} - {}", self.words.provider)
        };
        // In front matter a description is one plain line.
        let line = first.replace('\n', " ");
        let mut out = format!(
            "---\npage_title: \"{title}\"\nsubcategory: \"{}\"\ndescription: |-\n  {line}\n---\n\n# {name} ({word})\n",
            head.group
        );
        if head.deprecated {
            out.push_str("\n~> **Deprecated.**\n");
        }
        for paragraph in [first, rest].iter().filter(|p| !p.is_empty()) {
            let _ = write!(out, "\n{paragraph}\n");
        }
        out
    }

    fn example(&mut self, out: &mut String, file: &str) {
        match (self.read)(file) {
            Some(text) => {
                out.push_str("\n## Example Usage\n");
                fenced(out, "terraform", &text);
            }
            None => self.missing.push(file.to_owned()),
        }
    }

    /// How an existing object comes under management: whatever of the three ways there is an example of.
    fn import(&mut self, out: &mut String, name: &str, identity: Option<&Json>) {
        let file = |file: &str| format!("examples/resources/{name}/{file}");
        let by_id = (self.read)(&file("import-by-string-id.tf"));
        let by_identity = (self.read)(&file("import-by-identity.tf"));
        let by_command = (self.read)(&file("import.sh"));
        if by_command.is_none() {
            self.missing.push(file("import.sh"));
        }
        if by_id.is_none() && by_identity.is_none() && by_command.is_none() {
            return;
        }
        out.push_str("\n## Import\n");
        if let Some(text) = &by_identity {
            out.push_str("\nBy identity, from Terraform 1.12 and OpenTofu 1.12:\n");
            fenced(out, "terraform", text);
        }
        if let Some(attributes) = identity.map(|i| sorted(&i["attributes"])) {
            out.push_str("\n### Identity Schema\n");
            block::identity(out, &attributes);
        }
        if let Some(text) = &by_id {
            out.push_str("\nBy id, in configuration:\n");
            fenced(out, "terraform", text);
        }
        if let Some(text) = &by_command {
            out.push_str("\nBy id, on the command line:\n");
            fenced(out, "shell", text);
        }
    }
}

fn fenced(out: &mut String, language: &str, text: &str) {
    let _ = write!(out, "\n```{language}\n{}\n```\n", text.trim_end());
}
