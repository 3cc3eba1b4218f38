//! MessagePack, as the plugin protocol uses it.
//!
//! Unknown is an extension value (type 0; type 12 with refinements, which are dropped). Numbers are integers where they fit, floats where
//! these are exact, else decimal text. Objects are maps with every attribute.

use std::collections::BTreeMap;

use rmp::Marker;
use rmp::encode;

use crate::codec::{CodecError, Missing, at_index, collected};
use crate::path::Path;
use crate::value::{Number, Object, Type, Value};

/// Extension types that stand for an unknown value.
const UNKNOWN: i8 = 0;
const UNKNOWN_REFINED: i8 = 12;

/// Objects may hold dynamic values that hold objects; a host nests a few levels.
const DEPTH_MAX: usize = 128;

/// Writes `value`, which must fit `ty`.
pub(crate) fn to_bytes(value: &Value, ty: &Type) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::with_capacity(256);
    write(&mut out, value, ty)?;
    Ok(out)
}

/// Reads a value of `ty`; the bytes must hold nothing else.
pub(crate) fn from_bytes(bytes: &[u8], ty: &Type) -> Result<Value, CodecError> {
    let mut rest = bytes;
    let limit = Limit {
        depth: DEPTH_MAX,
        missing: Missing::Null,
    };
    let value = read(&mut rest, ty, limit)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(CodecError::Malformed("bytes after the value"))
    }
}

/// Writing into memory cannot fail.
const MEMORY: &str = "writing into memory cannot fail";

fn write(out: &mut Vec<u8>, value: &Value, ty: &Type) -> Result<(), CodecError> {
    match (value, ty) {
        (Value::Dynamic(inner), Type::Dynamic) => {
            let expression = inner.0.to_json().to_string();
            write_len(out, 2, encode::write_array_len);
            encode::write_bin(out, expression.as_bytes()).expect(MEMORY);
            return write(out, &inner.1, &inner.0);
        }
        (Value::Null, _) => encode::write_nil(out).expect(MEMORY),
        // fixext 1 of type 0; the one byte means nothing.
        (Value::Unknown, _) => out.extend_from_slice(&[0xd4, 0, 0]),
        (Value::Bool(b), Type::Bool) => encode::write_bool(out, *b).expect(MEMORY),
        (Value::Number(n), Type::Number) => write_number(out, n),
        (Value::String(s), Type::String) => encode::write_str(out, s).expect(MEMORY),
        (Value::List(es), Type::List(e)) | (Value::Set(es), Type::Set(e)) => {
            write_len(out, es.len(), encode::write_array_len);
            for (i, v) in es.iter().enumerate() {
                write(out, v, e).map_err(|err| err.within(&at_index(i)))?;
            }
        }
        (Value::List(es), Type::Tuple(types)) if es.len() == types.len() => {
            write_len(out, es.len(), encode::write_array_len);
            for (i, (v, t)) in es.iter().zip(types).enumerate() {
                write(out, v, t).map_err(|err| err.within(&at_index(i)))?;
            }
        }
        (Value::Map(es), Type::Map(e)) => {
            write_len(out, es.len(), encode::write_map_len);
            for (k, v) in es {
                encode::write_str(out, k).expect(MEMORY);
                write(out, v, e).map_err(|err| err.within(&Path::root().key(k)))?;
            }
        }
        (Value::Object(o), Type::Object(attributes)) => write_object(out, o, attributes)?,
        _ => return Err(CodecError::expected(ty)),
    }
    Ok(())
}

fn write_object(
    out: &mut Vec<u8>,
    object: &Object,
    attributes: &BTreeMap<String, Type>,
) -> Result<(), CodecError> {
    if let Some((extra, _)) = object
        .iter()
        .find(|(name, _)| !attributes.contains_key(*name))
    {
        return Err(CodecError::Attribute(Path::attribute(extra)));
    }
    write_len(out, attributes.len(), encode::write_map_len);
    for (name, ty) in attributes {
        encode::write_str(out, name).expect(MEMORY);
        write(out, object.get(name), ty).map_err(|err| err.within(&Path::attribute(name)))?;
    }
    Ok(())
}

fn write_len<E: std::fmt::Debug>(
    out: &mut Vec<u8>,
    len: usize,
    write: impl FnOnce(&mut Vec<u8>, u32) -> Result<Marker, E>,
) {
    write(
        out,
        u32::try_from(len).expect("a collection in memory has less than 2^32 elements"),
    )
    .expect(MEMORY);
}

fn write_number(out: &mut Vec<u8>, number: &Number) {
    if let Some(small) = number.to_i64() {
        encode::write_sint(out, small).expect(MEMORY);
        return;
    }
    match number.to_exact_f64() {
        Some(float) => encode::write_f64(out, float).expect(MEMORY),
        None => encode::write_str(out, &number.compact()).expect(MEMORY),
    }
}

/// One item of the stream, before anything is known about its type.
enum Token<'a> {
    Nil,
    Bool(bool),
    Number(Number),
    /// Text, or bytes.
    Bytes(&'a [u8]),
    Array(usize),
    Map(usize),
    Extension(i8),
}

/// What a value may cost.
#[derive(Clone, Copy)]
struct Limit {
    depth: usize,
    missing: Missing,
}

fn read(rest: &mut &[u8], ty: &Type, limit: Limit) -> Result<Value, CodecError> {
    let Some(depth) = limit.depth.checked_sub(1) else {
        return Err(CodecError::Malformed("nested too deeply"));
    };
    let limit = Limit { depth, ..limit };
    match (token(rest)?, ty) {
        (Token::Nil, _) => Ok(Value::Null),
        (Token::Extension(UNKNOWN | UNKNOWN_REFINED), _) => Ok(Value::Unknown),
        (Token::Bool(b), Type::Bool) => Ok(Value::Bool(b)),
        (Token::Number(n), Type::Number) => Ok(Value::Number(n)),
        (Token::Bytes(text), Type::Number) => utf8(text)?
            .parse()
            .map(Value::Number)
            .map_err(|_| CodecError::expected(ty)),
        (Token::Bytes(text), Type::String) => Ok(Value::String(utf8(text)?.to_owned())),
        (Token::Array(len), Type::List(e) | Type::Set(e)) => {
            let elements =
                (0..len).map(|i| read(rest, e, limit).map_err(|err| err.within(&at_index(i))));
            Ok(collected(ty, elements.collect::<Result<_, _>>()?))
        }
        (Token::Array(len), Type::Tuple(types)) if len == types.len() => {
            let elements = types.iter().enumerate();
            let values =
                elements.map(|(i, t)| read(rest, t, limit).map_err(|err| err.within(&at_index(i))));
            Ok(Value::List(values.collect::<Result<_, _>>()?))
        }
        (Token::Array(2), Type::Dynamic) => read_dynamic(rest, limit),
        (Token::Map(len), Type::Map(e)) => {
            let mut elements = BTreeMap::new();
            for _ in 0..len {
                let key = key(rest)?.to_owned();
                let value =
                    read(rest, e, limit).map_err(|err| err.within(&Path::root().key(&key)))?;
                elements.insert(key, value);
            }
            Ok(Value::Map(elements))
        }
        (Token::Map(len), Type::Object(attributes)) => read_object(rest, len, attributes, limit),
        _ => Err(CodecError::expected(ty)),
    }
}

fn read_object(
    rest: &mut &[u8],
    len: usize,
    attributes: &BTreeMap<String, Type>,
    limit: Limit,
) -> Result<Value, CodecError> {
    // The host sends attributes in the order of their names, as the schema has them.
    let mut expected = attributes.iter().peekable();
    let mut fields = Vec::with_capacity(attributes.len().min(rest.len()));
    for _ in 0..len {
        let name = key(rest)?;
        let next = expected.next_if(|(n, _)| n.as_str() == name);
        let (name, ty) = next
            .or_else(|| attributes.get_key_value(name))
            .ok_or_else(|| CodecError::Attribute(Path::attribute(name)))?;
        let value = read(rest, ty, limit).map_err(|err| err.within(&Path::attribute(name)))?;
        fields.push((name.clone(), value));
    }
    let mut object: Object = fields.into_iter().collect();
    if object.iter().len() < attributes.len() {
        if limit.missing == Missing::Refused {
            return Err(CodecError::Malformed(
                "an object without all its attributes",
            ));
        }
        for name in attributes.keys() {
            object.slot(name);
        }
    }
    Ok(Value::Object(object))
}

fn read_dynamic(rest: &mut &[u8], limit: Limit) -> Result<Value, CodecError> {
    let bad = CodecError::Malformed("a dynamic value without type");
    let Token::Bytes(expression) = token(rest)? else {
        return Err(bad);
    };
    let json = serde_json::from_slice(expression).map_err(|_| bad.clone())?;
    let ty = Type::from_json(&json).map_err(|_| bad)?;
    let missing = Missing::Refused;
    let value = read(rest, &ty, Limit { missing, ..limit })?;
    Ok(Value::Dynamic(Box::new((ty, value))))
}

fn key<'a>(rest: &mut &'a [u8]) -> Result<&'a str, CodecError> {
    let Token::Bytes(text) = token(rest)? else {
        return Err(CodecError::Malformed("a key that is no text"));
    };
    utf8(text)
}

fn utf8(bytes: &[u8]) -> Result<&str, CodecError> {
    std::str::from_utf8(bytes).map_err(|_| CodecError::Malformed("text that is not UTF-8"))
}

fn token<'a>(rest: &mut &'a [u8]) -> Result<Token<'a>, CodecError> {
    let marker = Marker::from_u8(take(rest, 1)?[0]);
    let number = |n: i64| Ok(Token::Number(n.into()));
    let float = |f: f64| match Number::from_f64(f) {
        Some(n) => Ok(Token::Number(n)),
        None => Err(CodecError::Malformed("a number that is not finite")),
    };
    match marker {
        Marker::Null => Ok(Token::Nil),
        Marker::True => Ok(Token::Bool(true)),
        Marker::False => Ok(Token::Bool(false)),
        Marker::FixPos(n) => number(n.into()),
        Marker::FixNeg(n) => number(n.into()),
        Marker::U8 => number(u8::from_be_bytes(fixed(rest)?).into()),
        Marker::U16 => number(u16::from_be_bytes(fixed(rest)?).into()),
        Marker::U32 => number(u32::from_be_bytes(fixed(rest)?).into()),
        Marker::U64 => Ok(Token::Number(u64::from_be_bytes(fixed(rest)?).into())),
        Marker::I8 => number(i8::from_be_bytes(fixed(rest)?).into()),
        Marker::I16 => number(i16::from_be_bytes(fixed(rest)?).into()),
        Marker::I32 => number(i32::from_be_bytes(fixed(rest)?).into()),
        Marker::I64 => number(i64::from_be_bytes(fixed(rest)?)),
        Marker::F32 => float(f32::from_be_bytes(fixed(rest)?).into()),
        Marker::F64 => float(f64::from_be_bytes(fixed(rest)?)),
        Marker::FixStr(len) => bytes(rest, len.into()),
        Marker::Str8 | Marker::Bin8 => length8(rest).and_then(|n| bytes(rest, n)),
        Marker::Str16 | Marker::Bin16 => length16(rest).and_then(|n| bytes(rest, n)),
        Marker::Str32 | Marker::Bin32 => length32(rest).and_then(|n| bytes(rest, n)),
        Marker::FixArray(len) => Ok(Token::Array(len.into())),
        Marker::Array16 => length16(rest).map(Token::Array),
        Marker::Array32 => length32(rest).map(Token::Array),
        Marker::FixMap(len) => Ok(Token::Map(len.into())),
        Marker::Map16 => length16(rest).map(Token::Map),
        Marker::Map32 => length32(rest).map(Token::Map),
        Marker::FixExt1 => extension(rest, 1),
        Marker::FixExt2 => extension(rest, 2),
        Marker::FixExt4 => extension(rest, 4),
        Marker::FixExt8 => extension(rest, 8),
        Marker::FixExt16 => extension(rest, 16),
        Marker::Ext8 => length8(rest).and_then(|n| extension(rest, n)),
        Marker::Ext16 => length16(rest).and_then(|n| extension(rest, n)),
        Marker::Ext32 => length32(rest).and_then(|n| extension(rest, n)),
        Marker::Reserved => Err(CodecError::Malformed("a reserved marker")),
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], CodecError> {
    let (head, tail) = rest
        .split_at_checked(len)
        .ok_or(CodecError::Malformed("the bytes end early"))?;
    *rest = tail;
    Ok(head)
}

fn fixed<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], CodecError> {
    Ok(take(rest, N)?
        .try_into()
        .expect("exactly N bytes were taken"))
}

fn length8(rest: &mut &[u8]) -> Result<usize, CodecError> {
    Ok(u8::from_be_bytes(fixed(rest)?).into())
}

fn length16(rest: &mut &[u8]) -> Result<usize, CodecError> {
    Ok(u16::from_be_bytes(fixed(rest)?).into())
}

fn length32(rest: &mut &[u8]) -> Result<usize, CodecError> {
    usize::try_from(u32::from_be_bytes(fixed(rest)?))
        .map_err(|_| CodecError::Malformed("a length beyond memory"))
}

fn bytes<'a>(rest: &mut &'a [u8], len: usize) -> Result<Token<'a>, CodecError> {
    take(rest, len).map(Token::Bytes)
}

fn extension<'a>(rest: &mut &'a [u8], len: usize) -> Result<Token<'a>, CodecError> {
    let kind = i8::from_be_bytes(fixed(rest)?);
    take(rest, len)?;
    Ok(Token::Extension(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbitrary::{typed_value, types};
    use proptest::prelude::*;

    fn check(value: Value, ty: &Type, hex: &str) {
        let bytes = to_bytes(&value, ty).unwrap();
        let seen: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(seen, hex);
        assert_eq!(from_bytes(&bytes, ty).unwrap(), value);
    }

    #[test]
    fn bytes_of_known_values() {
        check(Value::Null, &Type::String, "c0");
        check(Value::Unknown, &Type::list(Type::Bool), "d40000");
        check(Value::from(7), &Type::Number, "07");
        check(Value::from(-1), &Type::Number, "ff");
        check(
            "0.5".parse::<Number>().unwrap().into(),
            &Type::Number,
            "cb3fe0000000000000",
        );
        check(
            "0.1".parse::<Number>().unwrap().into(),
            &Type::Number,
            "a3302e31",
        );
        check(Value::from(vec!["a"]), &Type::list(Type::String), "91a161");
        let object = Type::Object(BTreeMap::from([
            ("a".to_owned(), Type::Bool),
            ("b".to_owned(), Type::String),
        ]));
        check(
            Object::new()
                .with("a", true)
                .with("b", Value::Unknown)
                .into(),
            &object,
            "82a161c3a162d40000",
        );
        let dynamic = Value::Dynamic(Box::new((Type::Bool, Value::Bool(true))));
        check(dynamic, &Type::Dynamic, "92c40622626f6f6c22c3");
    }

    #[test]
    fn refined_unknowns_are_unknown() {
        // ext 8, 3 bytes of type 12: a refinement map.
        assert_eq!(
            from_bytes(&[0xc7, 3, 12, 0x81, 1, 0xc2], &Type::String),
            Ok(Value::Unknown)
        );
        assert!(from_bytes(&[0xc7, 1, 5, 0], &Type::String).is_err());
    }

    #[test]
    fn misfits_name_their_path() {
        let ty = Type::Object(BTreeMap::from([("a".to_owned(), Type::list(Type::Number))]));
        let value = Object::new().with("a", vec!["x"]).into();
        assert_eq!(
            to_bytes(&value, &ty).unwrap_err().to_string(),
            "expected a number at `a[0]`"
        );
        let value = Object::new().with("b", 1).into();
        assert_eq!(
            to_bytes(&value, &ty).unwrap_err().to_string(),
            "no attribute `b` in the schema"
        );
    }

    #[test]
    fn attributes_that_are_left_out_are_null_in_types_of_the_schema_only() {
        let ty = Type::Object(BTreeMap::from([
            ("a".to_owned(), Type::Bool),
            ("b".to_owned(), Type::Bool),
        ]));
        let whole = Object::new().with("a", true).with("b", false).into();
        assert_eq!(
            from_bytes(b"\x82\xa1b\xc2\xa1a\xc3", &ty),
            Ok(whole),
            "any order"
        );
        let half = Object::new().with("a", true).with("b", Value::Null).into();
        assert_eq!(from_bytes(b"\x81\xa1a\xc3", &ty), Ok(half));
        assert!(from_bytes(b"\x81\xa1c\xc3", &ty).is_err());
        let dynamic = |fields: &[u8]| {
            let head = b"\x92\xc4\x17[\"object\",{\"a\":\"bool\"}]".as_slice();
            from_bytes(&[head, fields].concat(), &Type::Dynamic)
        };
        assert!(dynamic(b"\x81\xa1a\xc3").is_ok());
        assert!(dynamic(b"\x80").is_err());
    }

    #[test]
    fn lengths_that_lie_cost_nothing() {
        for bytes in [
            b"\xdd\xff\xff\xff\xff".as_slice(),
            b"\xdf\xff\xff\xff\xff",
            b"\xdb\xff\xff\xff\xffx",
        ] {
            for ty in [Type::String, Type::list(Type::Bool), Type::map(Type::Bool)] {
                assert!(from_bytes(bytes, &ty).is_err());
            }
        }
        // A dynamic value in a dynamic value, and so on.
        let nested = b"\x92\xc4\x09\"dynamic\"".repeat(100_000);
        assert!(from_bytes(&nested, &Type::Dynamic).is_err());
    }

    #[test]
    fn large_exponents_stay_short() {
        let number: Number = "-1.5e99999".parse().unwrap();
        let bytes = to_bytes(&number.clone().into(), &Type::Number).unwrap();
        assert!(bytes.len() < 20, "{} bytes", bytes.len());
        assert_eq!(from_bytes(&bytes, &Type::Number), Ok(number.into()));
    }

    proptest! {
        #[test]
        fn values_round_trip((ty, value) in typed_value()) {
            let bytes = to_bytes(&value, &ty).unwrap();
            prop_assert_eq!(from_bytes(&bytes, &ty).unwrap(), value);
        }

        #[test]
        fn hostile_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), ty in types()) {
            let _ = from_bytes(&bytes, &ty);
        }

        #[test]
        fn truncated_bytes_are_refused((ty, value) in typed_value(), cut in any::<prop::sample::Index>()) {
            let bytes = to_bytes(&value, &ty).unwrap();
            let end = cut.index(bytes.len());
            prop_assert!(from_bytes(&bytes[..end], &ty).is_err());
        }
    }
}
