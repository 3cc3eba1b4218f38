//! The host's side of a value: types, values, schema and both encodings, written here a second time and from the protocol only,
//! so that a mistake of the crate in any of them shows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use metal_proto::tfplugin6 as pb;
use pb::schema::object::NestingMode;
use rmp::{Marker, decode, encode};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ty {
    Bool,
    Number,
    Text,
    List(Box<Ty>),
    Set(Box<Ty>),
    Map(Box<Ty>),
    Object(BTreeMap<String, Ty>),
    Tuple(Vec<Ty>),
    Dynamic,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Val {
    Null,
    Unknown,
    Bool(bool),
    /// Decimal digits, without a zero too many.
    Number(String),
    Text(String),
    List(Vec<Val>),
    /// Sorted, without duplicates.
    Set(Vec<Val>),
    Map(BTreeMap<String, Val>),
    Object(BTreeMap<String, Val>),
    Dynamic(Box<(Ty, Val)>),
}

/// An attribute as the host knows it.
#[derive(Clone, Debug)]
pub(crate) struct Attr {
    pub(crate) name: String,
    pub(crate) ty: Ty,
    pub(crate) nested: Option<(NestingMode, Vec<Attr>)>,
    pub(crate) optional: bool,
    pub(crate) required: bool,
    pub(crate) computed: bool,
    pub(crate) write_only: bool,
    /// A nested block: a list or set of blocks is never null.
    pub(crate) block: bool,
}

/// One step of a path that a plan named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Attr(String),
    Key(String),
    Index(usize),
}

impl Val {
    pub(crate) fn set(mut elements: Vec<Self>) -> Self {
        elements.sort();
        elements.dedup_by(|a, b| a == b && a.wholly_known());
        Self::Set(elements)
    }

    pub(crate) fn is_null(&self) -> bool {
        match self {
            Self::Dynamic(inner) => inner.1.is_null(),
            other => *other == Self::Null,
        }
    }

    pub(crate) fn wholly_known(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => true,
            Self::List(es) | Self::Set(es) => es.iter().all(Self::wholly_known),
            Self::Map(es) | Self::Object(es) => es.values().all(Self::wholly_known),
            Self::Dynamic(inner) => inner.1.wholly_known(),
        }
    }

    /// The attribute of an object; null of null and unknown of unknown.
    pub(crate) fn attr(&self, name: &str) -> Self {
        match self {
            Self::Object(fields) => fields.get(name).cloned().unwrap_or(Self::Null),
            Self::Unknown => Self::Unknown,
            _ => Self::Null,
        }
    }

    /// What a path leads to; none where it leads through something that is not there.
    pub(crate) fn at(&self, path: &[Step]) -> Option<Self> {
        let Some((first, rest)) = path.split_first() else {
            return Some(self.clone());
        };
        match (self, first) {
            (Self::Unknown, _) => Some(Self::Unknown),
            (Self::Object(fields), Step::Attr(name)) => fields.get(name)?.at(rest),
            (Self::Map(es), Step::Key(key)) => es.get(key)?.at(rest),
            (Self::List(es), Step::Index(i)) => es.get(*i)?.at(rest),
            _ => None,
        }
    }

    /// As a state file holds it; numbers keep every digit.
    pub(crate) fn json(&self, out: &mut String) {
        let quoted = |t: &str| serde_json::to_string(t).unwrap();
        let many = |out: &mut String, es: &[Self]| {
            for (i, e) in es.iter().enumerate() {
                out.push(if i == 0 { '[' } else { ',' });
                e.json(out);
            }
            out.push_str(if es.is_empty() { "[]" } else { "]" });
        };
        match self {
            Self::Null => out.push_str("null"),
            Self::Unknown => panic!("nothing unknown is stored"),
            Self::Bool(b) => out.push_str(&b.to_string()),
            Self::Number(n) => out.push_str(n),
            Self::Text(t) => out.push_str(&quoted(t)),
            Self::List(es) | Self::Set(es) => many(out, es),
            Self::Map(es) | Self::Object(es) => {
                for (i, (k, v)) in es.iter().enumerate() {
                    out.push(if i == 0 { '{' } else { ',' });
                    out.push_str(&quoted(k));
                    out.push(':');
                    v.json(out);
                }
                out.push_str(if es.is_empty() { "{}" } else { "}" });
            }
            Self::Dynamic(inner) => {
                let _ = write!(out, "{{\"type\":{},\"value\":", inner.0.json());
                inner.1.json(out);
                out.push('}');
            }
        }
    }
}

impl Ty {
    pub(crate) fn json(&self) -> serde_json::Value {
        use serde_json::json;
        match self {
            Self::Bool => json!("bool"),
            Self::Number => json!("number"),
            Self::Text => json!("string"),
            Self::Dynamic => json!("dynamic"),
            Self::List(e) => json!(["list", e.json()]),
            Self::Set(e) => json!(["set", e.json()]),
            Self::Map(e) => json!(["map", e.json()]),
            Self::Tuple(es) => json!(["tuple", es.iter().map(Self::json).collect::<Vec<_>>()]),
            Self::Object(fields) => {
                let fields: BTreeMap<_, _> = fields.iter().map(|(k, t)| (k, t.json())).collect();
                json!(["object", fields])
            }
        }
    }

    fn from_json(json: &serde_json::Value) -> Self {
        if let Some(word) = json.as_str() {
            return match word {
                "bool" => Self::Bool,
                "number" => Self::Number,
                "string" => Self::Text,
                "dynamic" => Self::Dynamic,
                other => panic!("type {other}"),
            };
        }
        let inner = &json[1];
        match json[0].as_str().unwrap() {
            "list" => Self::List(Box::new(Self::from_json(inner))),
            "set" => Self::Set(Box::new(Self::from_json(inner))),
            "map" => Self::Map(Box::new(Self::from_json(inner))),
            "tuple" => Self::Tuple(
                inner
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(Self::from_json)
                    .collect(),
            ),
            "object" => {
                let fields = inner.as_object().unwrap();
                Self::Object(
                    fields
                        .iter()
                        .map(|(k, t)| (k.clone(), Self::from_json(t)))
                        .collect(),
                )
            }
            other => panic!("type {other}"),
        }
    }
}

pub(crate) fn object(attrs: &[Attr]) -> Ty {
    Ty::Object(
        attrs
            .iter()
            .map(|a| (a.name.clone(), a.ty.clone()))
            .collect(),
    )
}

/// The block that the provider sent, attributes and nested blocks alike.
pub(crate) fn members(block: &pb::schema::Block) -> Vec<Attr> {
    let mut all = attrs(&block.attributes);
    all.extend(block.block_types.iter().map(nested_block));
    all
}

fn nested_block(b: &pb::schema::NestedBlock) -> Attr {
    use pb::schema::nested_block::NestingMode as Mode;
    let nesting = match b.nesting() {
        Mode::Single => NestingMode::Single,
        Mode::List => NestingMode::List,
        Mode::Set => NestingMode::Set,
        other => panic!("blocks as {other:?}"),
    };
    let inner = members(b.block.as_ref().unwrap());
    Attr {
        name: b.type_name.clone(),
        ty: arranged(nesting, &inner),
        nested: Some((nesting, inner)),
        optional: true,
        required: false,
        computed: false,
        write_only: false,
        block: true,
    }
}

fn arranged(nesting: NestingMode, inner: &[Attr]) -> Ty {
    let object = object(inner);
    match nesting {
        NestingMode::Single => object,
        NestingMode::List => Ty::List(Box::new(object)),
        NestingMode::Set => Ty::Set(Box::new(object)),
        NestingMode::Map => Ty::Map(Box::new(object)),
        NestingMode::Invalid => panic!("no nesting"),
    }
}

fn attrs(all: &[pb::schema::Attribute]) -> Vec<Attr> {
    let one = |a: &pb::schema::Attribute| {
        let nested = a
            .nested_type
            .as_ref()
            .map(|n| (n.nesting(), attrs(&n.attributes)));
        let ty = match &nested {
            None => Ty::from_json(&serde_json::from_slice(&a.r#type).unwrap()),
            Some((nesting, inner)) => arranged(*nesting, inner),
        };
        Attr {
            name: a.name.clone(),
            ty,
            nested,
            optional: a.optional,
            required: a.required,
            computed: a.computed,
            write_only: a.write_only,
            block: false,
        }
    };
    all.iter().map(one).collect()
}

pub(crate) fn steps(path: &pb::AttributePath) -> Vec<Step> {
    use pb::attribute_path::step::Selector;
    let one = |s: &pb::attribute_path::Step| match s.selector.as_ref().unwrap() {
        Selector::AttributeName(name) => Step::Attr(name.clone()),
        Selector::ElementKeyString(key) => Step::Key(key.clone()),
        Selector::ElementKeyInt(i) => Step::Index(usize::try_from(*i).unwrap()),
    };
    path.steps.iter().map(one).collect()
}

/// A value in a message.
pub(crate) fn message(value: &Val, ty: &Ty) -> Option<pb::DynamicValue> {
    let mut msgpack = Vec::new();
    write(&mut msgpack, value, ty);
    Some(pb::DynamicValue {
        msgpack,
        json: Vec::new(),
    })
}

/// The value of a message, which must be of exactly this type.
pub(crate) fn value(message: Option<&pb::DynamicValue>, ty: &Ty) -> Result<Val, String> {
    let message = message.ok_or("no value in the answer")?;
    let mut rest = message.msgpack.as_slice();
    let value = read(&mut rest, ty)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err("bytes after the value".into())
    }
}

fn write(out: &mut Vec<u8>, value: &Val, ty: &Ty) {
    let len = |n: usize| u32::try_from(n).unwrap();
    match (value, ty) {
        (Val::Null, _) => encode::write_nil(out).unwrap(),
        (Val::Unknown, _) => out.extend_from_slice(&[0xd4, 0, 0]),
        (Val::Dynamic(inner), Ty::Dynamic) => {
            encode::write_array_len(out, 2).map(|_| ()).unwrap();
            encode::write_bin(out, inner.0.json().to_string().as_bytes()).unwrap();
            write(out, &inner.1, &inner.0);
        }
        (Val::Bool(b), Ty::Bool) => encode::write_bool(out, *b).unwrap(),
        (Val::Number(n), Ty::Number) => match (n.parse::<i64>(), n.parse::<f64>()) {
            (Ok(whole), _) => encode::write_sint(out, whole).map(|_| ()).unwrap(),
            (_, Ok(float)) if float_text(float) == *n => encode::write_f64(out, float).unwrap(),
            _ => encode::write_str(out, n).unwrap(),
        },
        (Val::Text(t), Ty::Text) => encode::write_str(out, t).unwrap(),
        (Val::List(es), Ty::List(e)) => {
            encode::write_array_len(out, len(es.len()))
                .map(|_| ())
                .unwrap();
            es.iter().for_each(|v| write(out, v, e));
        }
        (Val::Set(es), Ty::Set(e)) => {
            encode::write_array_len(out, len(es.len()))
                .map(|_| ())
                .unwrap();
            // The order of a set means nothing: here it is never the sorted one.
            es.iter().rev().for_each(|v| write(out, v, e));
        }
        (Val::List(es), Ty::Tuple(types)) => {
            encode::write_array_len(out, len(es.len()))
                .map(|_| ())
                .unwrap();
            es.iter().zip(types).for_each(|(v, t)| write(out, v, t));
        }
        (Val::Map(es), Ty::Map(e)) => {
            encode::write_map_len(out, len(es.len()))
                .map(|_| ())
                .unwrap();
            for (k, v) in es {
                encode::write_str(out, k).unwrap();
                write(out, v, e);
            }
        }
        (Val::Object(fields), Ty::Object(types)) => {
            encode::write_map_len(out, len(fields.len()))
                .map(|_| ())
                .unwrap();
            for (k, v) in fields {
                encode::write_str(out, k).unwrap();
                write(out, v, &types[k]);
            }
        }
        (value, ty) => panic!("the test made {value:?} for {ty:?}"),
    }
}

/// All digits of a float: 1,074 places hold any.
fn float_text(float: f64) -> String {
    let text = format!("{float:.1074}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[expect(clippy::too_many_lines, reason = "one arm per type of the protocol")]
fn read(rest: &mut &[u8], ty: &Ty) -> Result<Val, String> {
    let first = *rest.first().ok_or("the bytes end early")?;
    let marker = Marker::from_u8(first);
    if marker == Marker::Null {
        *rest = &rest[1..];
        return Ok(Val::Null);
    }
    if marker == Marker::FixExt1 {
        *rest = rest.get(3..).ok_or("short unknown")?;
        return Ok(Val::Unknown);
    }
    let wrong = |what: &str| format!("{what} for {ty:?}, marker {first:#x}");
    match ty {
        Ty::Bool => decode::read_bool(rest)
            .map(Val::Bool)
            .map_err(|_| wrong("no bool")),
        Ty::Text => text(rest).map(Val::Text).map_err(|_| wrong("no text")),
        Ty::Number => match marker {
            Marker::F64 => decode::read_f64(rest)
                .map(|f| Val::Number(float_text(f)))
                .map_err(|_| wrong("no float")),
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                text(rest).map(Val::Number)
            }
            _ => decode::read_int::<i64, _>(rest)
                .map(|i| Val::Number(i.to_string()))
                .map_err(|_| wrong("no number")),
        },
        Ty::List(e) => Ok(Val::List(elements(rest, e)?)),
        Ty::Set(e) => {
            let found = elements(rest, e)?;
            let (many, set) = (found.len(), Val::set(found));
            match &set {
                Val::Set(es) if es.len() == many => Ok(set),
                _ => Err(format!("the set {set:?} holds a value twice")),
            }
        }
        Ty::Tuple(types) => {
            let len = decode::read_array_len(rest).map_err(|_| wrong("no tuple"))?;
            if len as usize != types.len() {
                return Err(wrong("a tuple of another length"));
            }
            types
                .iter()
                .map(|t| read(rest, t))
                .collect::<Result<_, _>>()
                .map(Val::List)
        }
        Ty::Map(e) => {
            let len = decode::read_map_len(rest).map_err(|_| wrong("no map"))?;
            let one = |_| Ok((text(rest)?, read(rest, e)?));
            (0..len)
                .map(one)
                .collect::<Result<_, String>>()
                .map(Val::Map)
        }
        Ty::Object(types) => {
            let len = decode::read_map_len(rest).map_err(|_| wrong("no object"))?;
            let mut fields = BTreeMap::new();
            for _ in 0..len {
                let name = text(rest)?;
                let ty = types.get(&name).ok_or(format!("no attribute {name}"))?;
                fields.insert(name, read(rest, ty)?);
            }
            if fields.len() == types.len() {
                Ok(Val::Object(fields))
            } else {
                Err(wrong("missing attributes"))
            }
        }
        Ty::Dynamic => dynamic(rest),
    }
}

fn dynamic(rest: &mut &[u8]) -> Result<Val, String> {
    decode::read_array_len(rest)
        .ok()
        .filter(|n| *n == 2)
        .ok_or_else(|| "no pair".to_owned())?;
    let len = decode::read_bin_len(rest).map_err(|_| "no type".to_owned())? as usize;
    let (expression, after) = rest.split_at(len);
    *rest = after;
    let ty = Ty::from_json(&serde_json::from_slice(expression).unwrap());
    let value = read(rest, &ty)?;
    Ok(Val::Dynamic(Box::new((ty, value))))
}

fn elements(rest: &mut &[u8], e: &Ty) -> Result<Vec<Val>, String> {
    let len = decode::read_array_len(rest).map_err(|_| "no array".to_owned())?;
    (0..len).map(|_| read(rest, e)).collect()
}

fn text(rest: &mut &[u8]) -> Result<String, String> {
    let (text, after) = decode::read_str_from_slice(*rest).map_err(|_| "no text".to_owned())?;
    *rest = after;
    Ok(text.to_owned())
}
