//! A schematic's text to its parts, as the factory reads it: unknown keys and duplicate ones are errors.

use super::{Bootloader, Overlay, Schematic, WellKnownCertificates};
use crate::schema::shortest;
use crate::yaml::{Kind, Node, ParseError, Scalar, TypeError, Value, parse_documents};

/// Why the factory would refuse a schematic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchematicError {
    /// Not YAML.
    #[error("the schematic is not valid YAML: {0}")]
    Syntax(ParseError),
    /// Nothing in it.
    #[error("the schematic is empty; the smallest one is \"customization: {{}}\"")]
    Empty,
    /// A key that schematics do not have.
    #[error("the schematic, line {line}: unknown key {key}")]
    UnknownKey {
        /// 1-based line.
        line: usize,
        /// The keys down to it.
        key: String,
    },
    /// A value of another type, or none of those that are possible.
    #[error("the schematic, {0}")]
    Type(TypeError),
    /// Only paid factories know owners.
    #[error("owner field is only supported in Enterprise edition")]
    Owner,
}

impl From<TypeError> for SchematicError {
    fn from(error: TypeError) -> Self {
        Self::Type(error)
    }
}

impl Schematic {
    /// Reads the first document of a text.
    ///
    /// # Errors
    /// Whatever the factory refuses too.
    pub fn read(text: &str) -> Result<Self, SchematicError> {
        let documents = parse_documents(text).map_err(SchematicError::Syntax)?;
        let Some(root) = documents.first() else {
            let null = text.contains("null") || text.contains('~');
            return if null {
                Ok(Self::default())
            } else {
                Err(SchematicError::Empty)
            };
        };
        only(root, "", &["owner", "overlay", "customization"])?;
        let owner = root.text_of("owner")?;
        let overlay = root.mapping_of("overlay")?.map(overlay).transpose()?;
        let mut out = Self {
            overlay: overlay.flatten(),
            ..Self::default()
        };
        if let Some(custom) = root.mapping_of("customization")? {
            out.customize(custom)?;
        }
        if !owner.is_empty() {
            return Err(SchematicError::Owner);
        }
        Ok(out)
    }

    fn customize(&mut self, node: &Node) -> Result<(), SchematicError> {
        let path = "customization.";
        let keys = [
            "embeddedMachineConfiguration",
            "extraKernelArgs",
            "meta",
            "systemExtensions",
            "bootloader",
            "secureboot",
            "diskImage",
        ];
        only(node, path, &keys)?;
        self.embedded_config = node.text_of("embeddedMachineConfiguration")?;
        self.kernel_args = node.texts_of("extraKernelArgs")?;
        if let Some(list) = node.filled("meta") {
            let items = list
                .as_sequence()
                .ok_or_else(|| wrong(list, "meta", "a list"))?;
            for item in items {
                only(item, "customization.meta.", &["key", "value"])?;
                let key = item.whole_number_of("key", u8::MAX.into())?;
                let key = u8::try_from(key).map_err(|_| wrong(item, "key", "a byte"))?;
                self.meta.push((key, item.text_of("value")?));
            }
        }
        if let Some(extensions) = node.mapping_of("systemExtensions")? {
            let path = "customization.systemExtensions.";
            only(extensions, path, &["officialExtensions"])?;
            self.extensions = extensions.texts_of("officialExtensions")?;
        }
        self.bootloader = bootloader(node)?;
        if let Some(secure) = node.mapping_of("secureboot")? {
            let keys = ["enrollKeys", "includeWellKnownCertificates"];
            only(secure, "customization.secureboot.", &keys)?;
            self.enroll_keys = secure.text_of("enrollKeys")?;
            if secure.boolean_of("includeWellKnownCertificates")? {
                self.well_known_certificates = WellKnownCertificates::Included;
            }
        }
        if let Some(disk) = node.mapping_of("diskImage")? {
            only(disk, "customization.diskImage.", &["sectorSize"])?;
            self.sector_size = disk.whole_number_of("sectorSize", u64::MAX)?;
        }
        Ok(())
    }
}

fn wrong(node: &Node, key: &str, what: &'static str) -> SchematicError {
    SchematicError::Type(TypeError {
        line: node.line,
        key: key.to_owned(),
        what,
    })
}

fn only(node: &Node, path: &str, known: &[&str]) -> Result<(), SchematicError> {
    let Some(mapping) = node.as_mapping() else {
        return Err(wrong(node, path.trim_end_matches('.'), "a mapping"));
    };
    match mapping.iter().find(|e| !known.contains(&e.key.as_str())) {
        None => Ok(()),
        Some(entry) => Err(SchematicError::UnknownKey {
            line: entry.line,
            key: format!("{path}{}", entry.key),
        }),
    }
}

/// `none` is as good as absent; the names are taken in any case.
fn bootloader(node: &Node) -> Result<Option<Bootloader>, SchematicError> {
    let Some(value) = node.filled("bootloader") else {
        return Ok(None);
    };
    let name = node.text_of("bootloader")?.to_ascii_lowercase();
    if name == "none" {
        return Ok(None);
    }
    let known = Bootloader::ALL.into_iter().find(|b| b.as_str() == name);
    match known {
        Some(bootloader) => Ok(Some(bootloader)),
        None => Err(wrong(
            value,
            "bootloader",
            "sd-boot, grub, dual-boot or none",
        )),
    }
}

/// An overlay with nothing in it is none.
fn overlay(node: &Node) -> Result<Option<Overlay>, SchematicError> {
    only(node, "overlay.", &["image", "name", "options"])?;
    let options = node.mapping_of("options")?.and_then(Node::as_mapping);
    let options: Vec<_> = options
        .into_iter()
        .flatten()
        .map(|entry| (entry.key.clone(), free_form(&entry.value)))
        .collect();
    let out = Overlay {
        image: node.text_of("image")?,
        name: node.text_of("name")?,
        options,
    };
    let empty = out.image.is_empty() && out.name.is_empty() && out.options.is_empty();
    Ok((!empty).then_some(out))
}

/// Numbers and times in their one form, keys in their order.
fn free_form(node: &Node) -> Node {
    Node::new(match &node.value {
        Value::Scalar(scalar) => Value::Scalar(Scalar::raw(
            scalar.kind,
            if scalar.kind == Kind::Bool {
                scalar.text.to_ascii_lowercase()
            } else {
                shortest(scalar).unwrap_or_else(|| scalar.text.clone())
            },
        )),
        Value::Sequence(items) => Value::Sequence(items.iter().map(free_form).collect()),
        Value::Mapping(mapping) => {
            let entries = mapping
                .iter()
                .map(|e| (e.key.as_str(), free_form(&e.value)));
            let mut out = Node::map(entries);
            if let Some(mapping) = out.as_mapping_mut() {
                mapping.sort_natural();
            }
            out.value
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_vanishes() {
        let text = "overlay: {}\ncustomization:\n  extraKernelArgs: []\n  bootloader: NONE\n  secureboot: {includeWellKnownCertificates: no}\n  diskImage: {sectorSize: 0}\n";
        let read = Schematic::read(text).unwrap();
        assert_eq!(read.to_yaml(), "customization: {}\n");
    }

    #[test]
    fn what_the_factory_refuses() {
        let check = |text: &str, expected: &str| {
            let error = Schematic::read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("", "empty");
        check("owner: me\n", "Enterprise");
        check("customisation: {}\n", "line 1: unknown key customisation");
        check("customization: {meta: [{key: 256}]}\n", "key must be");
        check("customization: {bootloader: lilo}\n", "sd-boot, grub");
        check("customization: {}\ncustomization: {}\n", "already set");
        check("- a\n", "must be a mapping");
    }
}
