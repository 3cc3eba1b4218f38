//! The table beside the fields that Talos's machinery 1.13.9 has, and the normal forms.

use std::collections::BTreeMap;

use super::*;
use crate::yaml::{Node, parse_documents};

/// `document` and `type` lines of the dump, each with what follows it.
fn machinery() -> (
    BTreeMap<&'static str, &'static str>,
    BTreeMap<&'static str, Vec<&'static str>>,
) {
    let dump = include_str!("../../tests/data/machinery-1.13.9.txt");
    let mut documents = BTreeMap::new();
    let mut types: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current = "";
    for line in dump.lines() {
        if let Some(rest) = line.strip_prefix("document ") {
            documents.extend(rest.split_once(' '));
        } else if let Some(name) = line.strip_prefix("type ") {
            current = name;
            types.entry(current).or_default();
        } else {
            types.get_mut(current).unwrap().push(line.trim());
        }
    }
    (documents, types)
}

/// What a type of the dump is in the table's own words.
fn agrees(dump: &str, ours: &Type, structures: &mut Vec<(String, usize)>) -> bool {
    let mut inner = |rest, kind| agrees(rest, kind, structures);
    if let Some(rest) = dump.strip_prefix('*') {
        return matches!(ours, Type::Pointer(kind) if inner(rest, kind));
    }
    if let Some(rest) = dump.strip_prefix("map:") {
        return matches!(ours, Type::Map(kind) if inner(rest, kind));
    }
    if let Some((name, rest)) = dump.strip_prefix('[').and_then(|t| t.split_once(']')) {
        // The lists whose Go type has a merge of its own; that is code there, and not in the dump.
        let merge = match name {
            "NetworkDeviceList" => Merge::Interfaces,
            "VlanList" => Merge::ByKey("vlanId"),
            "AdmissionPluginConfigList" => Merge::ByKey("name"),
            "ConfigFileList" => Merge::ByKey("mountPath"),
            "ImageVerificationRules" => Merge::ReplaceByKey("image"),
            _ => Merge::Append,
        };
        return matches!(ours, Type::List(kind, m) if *m == merge && inner(rest, kind));
    }
    if let Some(name) = dump.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
        let Type::Structure(index) = ours else {
            return false;
        };
        structures.push((name.to_owned(), *index));
        return true;
    }
    let bits = |signed: bool, bits: u32| {
        let bounds = if signed {
            (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        } else {
            (0, (1 << bits) - 1)
        };
        matches!(ours, Type::Int(low, high) if (*low, *high) == bounds)
    };
    match dump {
        "string" => matches!(ours, Type::Text | Type::Leaf(Leaf::Manifest)),
        "bool" => *ours == Type::Bool,
        "any" => *ours == Type::Any,
        "int" => bits(true, 64),
        "uint" | "uint64" => bits(false, 64),
        "uint8" => bits(false, 8),
        "uint16" => bits(false, 16),
        "uint32" => bits(false, 32),
        "args:$ArgValue" => *ours == Type::Arguments,
        other => other.starts_with('$') && matches!(ours, Type::Leaf(_) | Type::Choice(_)),
    }
}

#[test]
fn the_table_has_the_fields_of_the_machinery() {
    let schema = Schema::of(Generator::V1_13);
    let (documents, types) = machinery();
    let mut ours: Vec<&str> = schema.kinds().collect();
    ours.sort_unstable();
    assert_eq!(ours, documents.keys().copied().collect::<Vec<_>>());
    let mut queue: Vec<(String, usize)> = documents
        .iter()
        .map(|(kind, name)| ((*name).to_owned(), schema.document(kind).unwrap().structure))
        .collect();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    while let Some((name, index)) = queue.pop() {
        if let Some(before) = seen.insert(name.clone(), index) {
            assert_eq!(before, index, "{name}");
            continue;
        }
        let fields = &schema.structure(index).fields;
        let theirs = &types[name.as_str()];
        assert_eq!(fields.len(), theirs.len(), "{name}");
        for (field, line) in fields.iter().zip(theirs) {
            let mut words = line.split(' ');
            let (key, kind) = (words.next().unwrap(), words.next().unwrap());
            let flags: Vec<&str> = words.collect();
            assert_eq!(field.key, key, "{name}");
            assert!(
                agrees(kind, &field.kind, &mut queue),
                "{name}.{key}: {kind}"
            );
            let omitted = field.presence == Presence::OmitEmpty;
            assert_eq!(omitted, flags.contains(&"omitempty"), "{name}.{key}");
            let replaced = field.patching == Patching::Replace;
            assert_eq!(replaced, flags.contains(&"replace"), "{name}.{key}");
        }
    }
    // Two structures of the dump are used by no document of 1.13.
    assert!(
        seen.len() + 2 >= types.len(),
        "{} of {}",
        seen.len(),
        types.len()
    );
}

fn decoded(text: &str) -> Result<Node, Vec<Fault>> {
    let schema = Schema::of(Generator::V1_13);
    let tree = parse_documents(text).unwrap().remove(0);
    let kind = tree.text_at(&["kind"]).unwrap_or("v1alpha1").to_owned();
    let structure = schema.document(&kind).unwrap().structure;
    Decoder::new(schema)
        .document(tree, &Type::Structure(structure))
        .map_err(|(faults, _)| faults)
}

#[test]
fn what_is_wrong_has_line_column_path_and_hint() {
    let faults = decoded(
        "machine:\n  kubelet:\n    imgae: x\n  network:\n    interfaces:\n      - mtu: big\n",
    );
    let faults: Vec<String> = faults
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    insta::assert_snapshot!(faults.join("\n"), @r"
    line 3, column 5: unknown key machine.kubelet.imgae (did you mean image?)
    line 6, column 14: machine.network.interfaces.0.mtu must be a whole number, not a text
    ");
}

#[test]
fn types_and_ranges() {
    let check = |text: &str, expected: Option<&str>| {
        let faults = decoded(text).err().map(|f| f[0].to_string());
        let ok = match (&faults, expected) {
            (Some(fault), Some(part)) => fault.contains(part),
            (None, None) => true,
            _ => false,
        };
        assert!(ok, "{text}: {faults:?}");
    };
    let bond = |rest: &str| format!("apiVersion: v1alpha1\nkind: BondConfig\nname: b\n{rest}");
    check(&bond("bondMode: 802.3AD"), None);
    check(
        &bond("bondMode: fast"),
        Some("must be one of balance-rr, active-backup"),
    );
    check(&bond("adActorSysPrio: 65535"), None);
    check(
        &bond("adActorSysPrio: 65536"),
        Some("must be between 0 and 65535"),
    );
    check(
        &bond("arpIpTargets: [10.0.0.300]"),
        Some("must be an IP address"),
    );
    check(&bond("hardwareAddr: '00:1B:21:aa:bb:cc'"), None);
    check(
        &bond("hardwareAddr: '00:1B:2'"),
        Some("must be a hardware address"),
    );
    check("machine: {ca: {crt: 'not base64'}}", Some("must be base64"));
    check("machine: {ca: {key: '******'}}", None);
    check(
        "machine: {kubelet: {registerWithFQDN: 'true'}}",
        Some("must be true or false"),
    );
    check("machine: {kubelet: {registerWithFQDN: yes}}", None);
    check(
        "cluster: {controlPlane: {endpoint: 'https://a:b'}}",
        Some("must be a URL"),
    );
}

#[test]
fn near_keys() {
    let keys = ["image", "extraArgs", "extraMounts", "nodeIP"];
    for (written, meant) in [
        ("imgae", Some("image")),
        ("extraargs", Some("extraArgs")),
        ("extraMount", Some("extraMounts")),
        ("nodeIp", Some("nodeIP")),
        ("totallyElse", None),
    ] {
        assert_eq!(nearest(written, keys), meant, "{written}");
    }
}
