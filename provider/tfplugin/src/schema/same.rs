//! Different texts that mean the same, for [`Attribute::same_if`](crate::Attribute::same_if): the plan then keeps the state's text.
//!
//! Where a text cannot be read, or may mean different things to different readers, two different texts are different. No change is ever
//! lost here; at worst one is shown that changes nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::value::RawValue;

use crate::value::{Number, Value};
use crate::{duration, size};

/// Nesting above this is not compared.
const DEPTH_MAX: usize = 100;
/// Aliases multiply a text; larger trees are not compared.
const NODES_MAX: usize = 200_000;

/// Durations in Go's syntax: `90m`, `1h30m`.
#[must_use]
pub fn duration(a: &Value, b: &Value) -> bool {
    both(a, b, |t| duration::parse(t).ok())
}

/// Sizes: `1024MiB`, `1GiB`.
#[must_use]
pub fn size(a: &Value, b: &Value) -> bool {
    both(a, b, |t| size::parse(t).ok())
}

/// Addresses, alone or with a prefix length: `2001:DB8::/32`, `2001:db8:0::/32`. Host bits count.
#[must_use]
pub fn cidr(a: &Value, b: &Value) -> bool {
    both(a, b, address)
}

/// Text in any mix of upper and lower case, as DNS names are.
#[must_use]
pub fn ignoring_case(a: &Value, b: &Value) -> bool {
    both(a, b, |t| Some(t.to_lowercase()))
}

/// JSON documents: space, order of keys and ways to write a number do not count.
#[must_use]
pub fn json(a: &Value, b: &Value) -> bool {
    both(a, b, |t| Tree::of_json(t, 0))
}

/// YAML documents: space, comments, order of keys, quotes and styles do not count.
#[must_use]
pub fn yaml(a: &Value, b: &Value) -> bool {
    both(a, b, Tree::of_yaml)
}

fn both<T: PartialEq>(a: &Value, b: &Value, read: impl Fn(&str) -> Option<T>) -> bool {
    match (a.as_str(), b.as_str()) {
        (Some(a), Some(b)) => read(a).is_some_and(|a| read(b) == Some(a)),
        _ => false,
    }
}

pub(crate) fn address(text: &str) -> Option<(IpAddr, Option<u8>)> {
    let (ip, prefix) = match text.split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix.parse().ok()?)),
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().ok()?;
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    (prefix.unwrap_or(0) <= bits).then_some((ip, prefix))
}

/// Does the text hold JSON?
pub(crate) fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Does the text hold YAML?
pub(crate) fn is_yaml(text: &str) -> bool {
    Parser::new_from_str(text).all(|event| event.is_ok())
}

/// What a document says.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    /// A plain YAML word that some readers take for text and some for a bool, a date or an octal number.
    Odd(String),
    List(Vec<Tree>),
    /// Text keys only: others are not compared.
    Map(BTreeMap<String, Tree>),
    Tagged(String, Box<Tree>),
}

impl Tree {
    fn of_json(text: &str, depth: usize) -> Option<Self> {
        let text = text.trim();
        let each = |raw: &RawValue| Self::of_json(raw.get(), depth + 1);
        match text.as_bytes().first()? {
            _ if depth > DEPTH_MAX => None,
            b'{' => {
                let fields: Vec<_> = serde_json::from_str::<Pairs<'_>>(text).ok()?.0;
                let count = fields.len();
                let fields = fields.into_iter().map(|(k, v)| Some((k, each(v)?)));
                let fields: BTreeMap<_, _> = fields.collect::<Option<_>>()?;
                // Which of two values under one key counts, readers disagree about.
                (fields.len() == count).then_some(Self::Map(fields))
            }
            b'[' => {
                let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                elements
                    .into_iter()
                    .map(each)
                    .collect::<Option<_>>()
                    .map(Self::List)
            }
            b'"' => serde_json::from_str(text).ok().map(Self::Text),
            b't' | b'f' => serde_json::from_str(text).ok().map(Self::Bool),
            b'n' => serde_json::from_str(text).ok().map(|()| Self::Null),
            _ if is_json(text) => text.parse().ok().map(Self::Number),
            _ => None,
        }
    }

    fn of_yaml(text: &str) -> Option<Vec<Self>> {
        let mut reader = Reader::default();
        for event in Parser::new_from_str(text) {
            reader.take(event.ok()?.0)?;
        }
        Some(reader.documents)
    }

    fn size(&self) -> usize {
        1 + match self {
            Self::List(es) => es.iter().map(Self::size).sum(),
            Self::Map(es) => es.values().map(Self::size).sum(),
            Self::Tagged(_, inner) => inner.size(),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Odd(_) => 0,
        }
    }
}

/// The fields of a JSON object, duplicates and all.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

/// YAML events to trees; gives up (none) on what it does not compare.
#[derive(Default)]
struct Reader {
    documents: Vec<Tree>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Tree>,
    nodes: usize,
}

struct Open {
    anchor: usize,
    tag: Option<String>,
    inside: Inside,
}

enum Inside {
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>, Option<String>),
}

impl Reader {
    fn take(&mut self, event: Event<'_>) -> Option<()> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Some(()),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Some(())
            }
            Event::Alias(anchor) => {
                let tree = self.anchors.get(&anchor)?.clone();
                self.put(tree, 0)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|t| format!("{}{}", t.handle, t.suffix));
                self.put(scalar(&text, style, tag.as_deref()), anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                let tag = tag.map(|t| format!("{}{}", t.handle, t.suffix));
                self.begin(anchor, tag, Inside::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let tag = tag.map(|t| format!("{}{}", t.handle, t.suffix));
                self.begin(anchor, tag, Inside::Map(BTreeMap::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let done = self.open.pop()?;
                let tree = match done.inside {
                    Inside::List(es) => Tree::List(es),
                    Inside::Map(es, _) => Tree::Map(es),
                };
                let tree = match done.tag {
                    Some(tag) => Tree::Tagged(tag, Box::new(tree)),
                    None => tree,
                };
                self.put(tree, done.anchor)
            }
        }
    }

    fn begin(&mut self, anchor: usize, tag: Option<String>, inside: Inside) -> Option<()> {
        self.open.push(Open {
            anchor,
            tag,
            inside,
        });
        (self.open.len() <= DEPTH_MAX).then_some(())
    }

    fn put(&mut self, tree: Tree, anchor: usize) -> Option<()> {
        self.nodes += tree.size();
        if self.nodes > NODES_MAX {
            return None;
        }
        if anchor > 0 {
            self.anchors.insert(anchor, tree.clone());
        }
        match self.open.last_mut().map(|o| &mut o.inside) {
            None => self.documents.push(tree),
            Some(Inside::List(es)) => es.push(tree),
            Some(Inside::Map(es, key)) => match (key.take(), tree) {
                (Some(key), tree) => {
                    if es.insert(key, tree).is_some() {
                        return None;
                    }
                }
                // A merge key stands for other keys: readers disagree about it.
                (None, Tree::Text(name)) if name != "<<" => *key = Some(name),
                (None, Tree::Number(n)) => *key = Some(format!("number {n}")),
                (None, _) => return None,
            },
        }
        Some(())
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&str>) -> Tree {
    match (tag, style) {
        (Some("!" | "tag:yaml.org,2002:str"), _) => Tree::Text(text.to_owned()),
        (Some(tag), _) => Tree::Tagged(tag.to_owned(), Box::new(Tree::Text(text.to_owned()))),
        (None, ScalarStyle::Plain) => plain(text),
        (None, _) => Tree::Text(text.to_owned()),
    }
}

/// A word without quotes, as every version of YAML reads it.
fn plain(text: &str) -> Tree {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Tree::Null,
        "true" | "True" | "TRUE" => return Tree::Bool(true),
        "false" | "False" | "FALSE" => return Tree::Bool(false),
        _ => {}
    }
    let digits = text.trim_start_matches(['-', '+']);
    let octal = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let decimal = digits.starts_with(|c: char| c.is_ascii_digit()) && !octal;
    if let (true, Ok(number)) = (decimal, text.trim_start_matches('+').parse()) {
        return Tree::Number(number);
    }
    let word = text.to_ascii_lowercase();
    let odd = matches!(&*word, "y" | "n" | "yes" | "no" | "on" | "off" | "=")
        || digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if odd {
        Tree::Odd(text.to_owned())
    } else {
        Tree::Text(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(same: fn(&Value, &Value) -> bool, yes: &[(&str, &str)], no: &[(&str, &str)]) {
        for (a, b) in yes {
            assert!(
                same(&(*a).into(), &(*b).into()),
                "{a:?} and {b:?} are the same"
            );
        }
        for (a, b) in no {
            assert!(!same(&(*a).into(), &(*b).into()), "{a:?} and {b:?} differ");
        }
    }

    #[test]
    fn quantities_and_addresses() {
        check(
            duration,
            &[("90m", "1h30m"), ("0", "0s")],
            &[("1m", "1s"), ("x", "x ")],
        );
        check(
            size,
            &[("1024MiB", "1GiB"), ("1.5KB", "1500")],
            &[("1GB", "1GiB"), ("1G", "1 G")],
        );
        let nets = [("2001:DB8::/32", "2001:db8:0::/32"), ("::1", "0:0::1")];
        check(
            cidr,
            &nets,
            &[
                ("10.0.0.0/8", "10.0.0.1/8"),
                ("::1", "::1/128"),
                ("10.0.0.0/33", "10.0.0.0/33 "),
            ],
        );
        check(ignoring_case, &[("A.example", "a.EXAMPLE")], &[("a", "b")]);
    }

    #[test]
    fn documents() {
        let big = "123456789012345678901234567890";
        let bigger = "123456789012345678901234567891";
        check(
            json,
            &[(
                r#"{"a":1,"b":[true,null]}"#,
                "{ \"b\": [true, null], \"a\": 1.0 }",
            )],
            &[
                ("[1]", "[\"1\"]"),
                (big, bigger),
                ("{", "{ "),
                (r#"{"a":1,"a":2}"#, r#"{"a":1, "a":2}"#),
                ("-", "- "),
            ],
        );
        check(
            yaml,
            &[
                (
                    "a: 1\nb: [x, z]\n",
                    "# why\nb:\n  - \"x\"\n  - 'z'\na: 1.0\n",
                ),
                ("a: &x {b: c}\nd: *x\n", "a: {b: c}\nd:\n  b: c\n"),
                ("--- 1\n--- 2\n", "1\n---\n2\n"),
                ("t: |\n  text\n", "t: \"text\\n\""),
                ("k: ~", "k:"),
                ("!x a", "!x \"a\""),
            ],
            &[
                ("a: 1", "a: \"1\""),
                ("a: yes", "a: \"yes\""),
                ("a: 010", "a: 8"),
                ("d: 2024-01-01", "d: \"2024-01-01\""),
                ("[a, b]", "[b, a]"),
                ("a: 1\na: 1", "a: 1\na:  1"),
                ("a: !x b", "a: b"),
                ("<<: {a: 1}", "<<: {a:  1}"),
                ("a: [", "a:  ["),
                (".inf", "\".inf\""),
            ],
        );
    }

    #[test]
    fn documents_that_explode_are_not_compared() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let ten = vec![format!("*a{}", i - 1); 10].join(", ");
            bomb += &format!("a{i}: &a{i} [{ten}]\n");
        }
        let deep = "[".repeat(5000);
        for text in [bomb, deep] {
            check(yaml, &[], &[(&text, &format!("{text} "))]);
            check(json, &[], &[(&text, &format!("{text} "))]);
        }
    }

    proptest! {
        #[test]
        fn the_same_both_ways_and_never_a_panic(text in "[\\[\\]{}\",:a0-9.e &*!|>\n-]{0,40}") {
            let value = Value::from(text.as_str());
            for same in [yaml, json] {
                let longer = Value::from(format!("{text}x").as_str());
                prop_assert_eq!(same(&value, &longer), same(&longer, &value));
            }
        }
    }
}
