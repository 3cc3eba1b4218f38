//! Between the fields of a model, which may be null or unknown, and plain values, where empty means "not said".

use std::collections::BTreeMap;

use tfplugin::Field;

/// The text; empty where none is set.
pub(crate) fn text(field: &Field<String>) -> String {
    field.known().cloned().unwrap_or_default()
}

/// The list; empty where none is set.
pub(crate) fn texts(field: &Field<Vec<String>>) -> Vec<String> {
    field.known().cloned().unwrap_or_default()
}

/// A text that may be empty for "not said".
pub(crate) fn said(text: String) -> Field<String> {
    if text.is_empty() {
        Field::Null
    } else {
        Field::Known(text)
    }
}

/// A list that may be empty for "not said".
pub(crate) fn some<T>(list: Vec<T>) -> Field<Vec<T>> {
    if list.is_empty() {
        Field::Null
    } else {
        Field::Known(list)
    }
}

/// A map that may be empty for "not said".
pub(crate) fn entries(map: BTreeMap<String, String>) -> Field<BTreeMap<String, String>> {
    if map.is_empty() {
        Field::Null
    } else {
        Field::Known(map)
    }
}
