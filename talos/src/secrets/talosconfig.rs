//! Talosconfig files: the contexts of `talosctl`, read and written as it does.

use super::Secret;
use crate::version::Generator;
use crate::yaml::{Node, ParseError, TypeError, emit, parse_documents};

/// A talosconfig file.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Talosconfig {
    /// The context that is used.
    pub context: String,
    /// All contexts by name.
    pub contexts: Vec<(String, Context)>,
}

/// How to reach one cluster.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// Where the API is asked.
    pub endpoints: Vec<String>,
    /// Whom it is asked about; empty = the endpoints themselves.
    pub nodes: Vec<String>,
    /// The authority's certificate: base64 of PEM, as all of these.
    pub ca: String,
    /// The client's certificate.
    pub certificate: String,
    /// The client's key.
    pub key: Option<Secret>,
    /// User name and password.
    pub basic: Option<(String, Secret)>,
    /// The identity of a key that signs requests.
    pub identity: Option<String>,
    /// The cluster's name behind a proxy.
    pub cluster: String,
    /// The proxy in between; only generator 1.14 knows it.
    pub proxy_url: String,
}

/// Why a text is no talosconfig.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TalosconfigError {
    /// Not YAML.
    #[error("the talosconfig is not valid YAML: {0}")]
    Syntax(ParseError),
    /// Nothing in it.
    #[error("the talosconfig is empty")]
    Empty,
    /// A value of another type.
    #[error("the talosconfig, {0}")]
    Type(TypeError),
}

impl Talosconfig {
    /// Reads a file. Unknown keys are left out; the `target` of old files becomes an endpoint.
    ///
    /// # Errors
    /// Broken YAML, nothing in it, values of other types.
    pub fn read(generator: Generator, text: &str) -> Result<Self, TalosconfigError> {
        let documents = parse_documents(text).map_err(TalosconfigError::Syntax)?;
        let Some(root) = documents.first() else {
            // A lone null is a file, though one without contexts.
            let is_null = crate::yaml::holds_null(text);
            return is_null.then(Self::default).ok_or(TalosconfigError::Empty);
        };
        let read = || {
            let mut contexts = Vec::new();
            if let Some(all) = root.mapping_of("contexts")? {
                for entry in all.as_mapping().into_iter().flatten() {
                    let context = all.mapping_of(&entry.key)?.ok_or_else(|| TypeError {
                        line: entry.line,
                        key: entry.key.clone(),
                        what: "a context, not null",
                    })?;
                    contexts.push((entry.key.clone(), Context::read(generator, context)?));
                }
            }
            Ok(Self {
                context: root.text_of("context")?,
                contexts,
            })
        };
        if root.as_mapping().is_none() {
            return Err(TalosconfigError::Type(TypeError {
                line: root.line,
                key: "the file".to_owned(),
                what: "a mapping",
            }));
        }
        read().map_err(TalosconfigError::Type)
    }

    /// Writes it as `talosctl` does.
    pub fn to_yaml(&self, generator: Generator) -> Secret {
        let entries = self.contexts.iter().map(|(n, c)| (n.as_str(), c.to_node()));
        let mut contexts = Node::map(entries);
        if let Some(mapping) = contexts.as_mapping_mut() {
            mapping.sort_natural();
        }
        let root = Node::map([
            ("context", Node::text(&self.context)),
            ("contexts", contexts),
        ]);
        Secret::new(emit(&root, crate::config::style(generator)))
    }
}

impl Context {
    fn read(generator: Generator, node: &Node) -> Result<Self, TypeError> {
        let mut endpoints = node.texts_of("endpoints")?;
        let target = node.text_of("target")?;
        if !target.is_empty() {
            endpoints.push(target);
        }
        let auth = node.mapping_of("auth")?;
        let basic = match auth {
            Some(auth) => auth.mapping_of("basic")?,
            None => None,
        };
        let signed = match auth {
            Some(auth) => auth.mapping_of("siderov1")?,
            None => None,
        };
        let basic = basic
            .map(|b| Ok((b.text_of("username")?, Secret::new(b.text_of("password")?))))
            .transpose()?;
        let key = Some(node.text_of("key")?).filter(|k| !k.is_empty());
        Ok(Self {
            endpoints,
            nodes: node.texts_of("nodes")?,
            ca: node.text_of("ca")?,
            certificate: node.text_of("crt")?,
            key: key.map(Secret::new),
            basic,
            identity: signed.map(|s| s.text_of("identity")).transpose()?,
            cluster: node.text_of("cluster")?,
            proxy_url: match generator {
                Generator::V1_13 => String::new(),
                Generator::V1_14 => node.text_of("proxy-url")?,
            },
        })
    }

    fn to_node(&self) -> Node {
        let mut out = vec![("endpoints", Node::texts(&self.endpoints))];
        let mut filled = |key, node: Node, is_filled: bool| {
            if is_filled {
                out.push((key, node));
            }
        };
        filled("nodes", Node::texts(&self.nodes), !self.nodes.is_empty());
        filled("ca", Node::text(&self.ca), !self.ca.is_empty());
        filled(
            "crt",
            Node::text(&self.certificate),
            !self.certificate.is_empty(),
        );
        let key = self.key.as_ref().map_or("", Secret::expose);
        filled("key", Node::text(key), !key.is_empty());
        let mut auth = Vec::new();
        if let Some((name, password)) = &self.basic {
            let entries = [
                ("username", Node::text(name)),
                ("password", Node::text(password.expose())),
            ];
            auth.push(("basic", Node::map(entries)));
        }
        if let Some(identity) = &self.identity {
            auth.push(("siderov1", Node::map([("identity", Node::text(identity))])));
        }
        let signed = !auth.is_empty();
        filled("auth", Node::map(auth), signed);
        filled(
            "cluster",
            Node::text(&self.cluster),
            !self.cluster.is_empty(),
        );
        filled(
            "proxy-url",
            Node::text(&self.proxy_url),
            !self.proxy_url.is_empty(),
        );
        Node::map(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_printed_in_the_order_of_talosctl() {
        let text = "contexts:\n  b10: {ca: QQ==, auth: {siderov1: {identity: a@b}}, unknown: 1}\n  b9: {target: 10.0.0.1, endpoints: [10.0.0.2], proxy-url: 'http://p'}\ncontext: b9\n";
        let read = Talosconfig::read(Generator::V1_14, text).unwrap();
        insta::assert_snapshot!(read.to_yaml(Generator::V1_14).expose(), @r"
        context: b9
        contexts:
            b9:
                endpoints:
                    - 10.0.0.2
                    - 10.0.0.1
                proxy-url: http://p
            b10:
                endpoints: []
                ca: QQ==
                auth:
                    siderov1:
                        identity: a@b
        ");
        let older = Talosconfig::read(Generator::V1_13, text).unwrap();
        assert!(!older.to_yaml(Generator::V1_13).expose().contains("proxy"));
    }

    #[test]
    fn what_is_no_talosconfig() {
        let check = |text| Talosconfig::read(Generator::V1_13, text).map(|_| ());
        assert_eq!(check(""), Err(TalosconfigError::Empty));
        for bad in [
            "[]",
            "contexts: {a: null}",
            "contexts: {a: {ca: {}}}",
            "a: [",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
