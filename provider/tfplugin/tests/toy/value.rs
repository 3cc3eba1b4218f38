//! Values of the protocol as JSON, unknown ones included: `"(unknown)"`.

use metal_proto::tfplugin6 as pb;
use serde_json::{Map, Value as Json};

/// What stands for a value that is not known yet.
pub(crate) const UNKNOWN: &str = "(unknown)";

/// A value in MessagePack.
pub(crate) fn pack(value: &Json) -> Option<pb::DynamicValue> {
    let mut msgpack = Vec::new();
    write(value, &mut msgpack);
    Some(pb::DynamicValue {
        msgpack,
        json: Vec::new(),
    })
}

/// A value that the toy has sent.
pub(crate) fn unpack(value: Option<&pb::DynamicValue>) -> Json {
    value.map_or(Json::Null, |v| read(&mut v.msgpack.as_slice()))
}

fn write(value: &Json, out: &mut Vec<u8>) {
    use rmp::encode as e;
    match value {
        Json::Null => e::write_nil(out).unwrap(),
        Json::Bool(b) => e::write_bool(out, *b).unwrap(),
        Json::Number(n) => drop(e::write_sint(out, n.as_i64().unwrap()).unwrap()),
        Json::String(s) if s == UNKNOWN => out.extend([0xd4, 0, 0]),
        Json::String(s) => e::write_str(out, s).unwrap(),
        Json::Array(es) => {
            e::write_array_len(out, u32::try_from(es.len()).unwrap()).unwrap();
            es.iter().for_each(|v| write(v, out));
        }
        Json::Object(es) => {
            e::write_map_len(out, u32::try_from(es.len()).unwrap()).unwrap();
            for (k, v) in es {
                e::write_str(out, k).unwrap();
                write(v, out);
            }
        }
    }
}

fn read(from: &mut &[u8]) -> Json {
    use rmp::Marker;
    use rmp::decode as d;
    match Marker::from_u8(from[0]) {
        Marker::Null => d::read_nil(from).map(|()| Json::Null).unwrap(),
        Marker::True | Marker::False => d::read_bool(from).map(Json::Bool).unwrap(),
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
            let length = d::read_str_len(from).unwrap() as usize;
            let (text, rest) = from.split_at(length);
            *from = rest;
            std::str::from_utf8(text).unwrap().into()
        }
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
            let length = d::read_array_len(from).unwrap();
            (0..length).map(|_| read(from)).collect()
        }
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
            let length = d::read_map_len(from).unwrap();
            let pair = |_| (read(from).as_str().unwrap().to_owned(), read(from));
            (0..length).map(pair).collect::<Map<_, _>>().into()
        }
        Marker::FixExt1 | Marker::Ext8 => {
            let meta = d::read_ext_meta(from).unwrap();
            *from = &from[meta.size as usize..];
            UNKNOWN.into()
        }
        Marker::FixPos(_)
        | Marker::FixNeg(_)
        | Marker::U8
        | Marker::U16
        | Marker::U32
        | Marker::U64
        | Marker::I8
        | Marker::I16
        | Marker::I32
        | Marker::I64 => d::read_int::<i64, _>(from).unwrap().into(),
        Marker::F32
        | Marker::F64
        | Marker::Bin8
        | Marker::Bin16
        | Marker::Bin32
        | Marker::FixExt2
        | Marker::FixExt4
        | Marker::FixExt8
        | Marker::FixExt16
        | Marker::Ext16
        | Marker::Ext32
        | Marker::Reserved => panic!("the toy sends nothing of the kind"),
    }
}

/// Everything but null: what a person would have to write.
pub(crate) fn set(value: Json) -> Json {
    match value {
        Json::Object(es) => {
            let set = es.into_iter().filter(|(_, v)| !v.is_null());
            set.map(|(k, v)| (k, self::set(v)))
                .collect::<Map<_, _>>()
                .into()
        }
        Json::Array(es) => es.into_iter().map(set).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => value,
    }
}
