//! Where two refusals are equal although neither text nor line is: each rule with its reason, and no wider than that.

use talos::yaml::parse_documents;

use super::numbers;
use crate::cases::{Case, Op};

/// Whether two refusals mean the same, or are both true of the input where it has several faults.
pub(super) fn agree(case: &Case, ours: &str, theirs: &str) -> bool {
    no_layout(ours)
        || pair_of_keys(ours, theirs)
        || after_json_patch(case, ours, theirs)
        || own_output_is_unreadable(theirs)
        || lost_position(ours, theirs)
        || open_quote(ours, theirs)
        || anchor_with_quote(case, ours, theirs)
        || no_mapping_and_more(ours, theirs)
        || behind_the_first_document(case, ours, theirs)
        || another_key_of_the_map(ours, theirs)
}

/// Of several values of a free-form map that cannot be merged Go names one, any of them. The map must be the same.
fn another_key_of_the_map(ours: &str, theirs: &str) -> bool {
    let mismatch = "v1alpha1.Unstructured.Object: merge type mismatch ";
    let place = |text: &str| text.split_once(mismatch).map(|(at, _)| at.to_owned());
    place(ours).is_some_and(|at| place(theirs) == Some(at))
}

/// Contracts before 1.6 are refused before anything else is looked at; the machinery writes a config and then refuses
/// something else of the case.
fn no_layout(ours: &str) -> bool {
    ours.starts_with("Talos v") && ours.contains(" has no config layout here; ")
}

/// A certificate and its key are decoded as one value, so Go names the line where the pair begins; we name that of the
/// text that is no base64, which is there or below.
fn pair_of_keys(ours: &str, theirs: &str) -> bool {
    let is_base64 = ours.contains("must be base64") || ours.contains("it is not base64");
    let begins = numbers(last_part(theirs), "line ").min();
    let Some(begins) = begins.filter(|_| is_base64 && theirs.contains("illegal base64 data"))
    else {
        return false;
    };
    line(ours).is_some_and(|own| own >= begins)
}

/// A JSON patch makes the machinery print the config and read that text again: its lines are those of a text that
/// nobody sees. Ours are those of the patch, or none where a value was moved. What is wrong must be a type in both.
fn after_json_patch(case: &Case, ours: &str, theirs: &str) -> bool {
    let of_type = |text: &str| text.contains("yaml: construct errors:");
    case.patches.iter().any(|p| is_json_patch(p))
        && of_type(ours)
        && of_type(theirs)
        && ours.contains(" must be ")
}

fn is_json_patch(text: &str) -> bool {
    match parse_documents(text).as_deref() {
        Ok([root]) => root.as_sequence().is_some(),
        Ok(_) | Err(_) => false,
    }
}

/// The library cannot read what it wrote itself, before the patch that both refuse is looked at.
fn own_output_is_unreadable(theirs: &str) -> bool {
    theirs.starts_with("failure decoding talos machine config: yaml: ")
}

/// The parser of the library has lost where a mapping goes wrong, and says where one began.
fn lost_position(ours: &str, theirs: &str) -> bool {
    let began = numbers(theirs, "at <unknown position>: line ").next();
    let is_syntax = ours.starts_with("decode error: ");
    began.is_some_and(|began| is_syntax && line(ours).is_some_and(|own| own >= began))
}

/// A quoted text whose next line is not indented as YAML demands, which is what we say. The library reads on: to the
/// quote that closes it or to that of another text, and says what is wrong behind it or with other values. Both are so.
fn open_quote(ours: &str, theirs: &str) -> bool {
    let stumbles = theirs.contains("mapping values are not allowed in this context");
    let goes_on = theirs.contains("construct errors:");
    let quote = ours.contains("invalid indentation in quoted scalar");
    quote && (goes_on || (stumbles && line(ours) <= line(theirs)))
}

/// An anchor's name reaches to the next blank or bracket in YAML 1.2, and to the next quote in the library: what stands
/// between is nothing to us and the value of a key without a name to the library. Both find that key unknown.
fn anchor_with_quote(case: &Case, ours: &str, theirs: &str) -> bool {
    let nameless = |text: &str| {
        let lines = text.lines().map(str::trim);
        let shown = lines.map(|l| if l.starts_with("\"\": ") { "\"\"" } else { l });
        shown.collect::<Vec<_>>().join("\n")
    };
    let anchor = case.patches.iter().any(|p| p.contains('&'));
    anchor && ours.contains("\"\": null\n") && nameless(ours) == nameless(theirs)
}

/// A line that begins with a text and goes on with something else is no mapping, as the library says, and no YAML, as
/// we say.
fn no_mapping_and_more(ours: &str, theirs: &str) -> bool {
    let is_syntax = ours.starts_with("decode error: ");
    theirs.starts_with("expected a YAML document at line ")
        && is_syntax
        && line(ours) == line(theirs)
}

/// Of a file of secrets the library reads one document; we read the file to its end. What it lacks and what cannot be
/// read are both so.
fn behind_the_first_document(case: &Case, ours: &str, theirs: &str) -> bool {
    case.op == Op::BundleValidate
        && theirs.contains(" is required\n")
        && ours.starts_with("the secrets file is not valid YAML: ")
        && ours.ends_with("did not find expected <document start>")
}

/// A message without what Go leaves to chance: the order of a map's keys.
pub(super) fn without_chance(message: &str) -> String {
    // Several errors of this document follow each other in any order, and only the first has its name before it.
    let message = message
        .strip_prefix("EnvironmentConfig: ")
        .unwrap_or(message);
    // Of several wrong resources one is named, any of them.
    let any = "resource validation failed: unsupported pod resource";
    match message.split_once(any) {
        Some((component, _)) => format!("{component}{any}"),
        None => message.to_owned(),
    }
}

fn line(text: &str) -> Option<usize> {
    numbers(text, "line ").last()
}

/// What is told about the values themselves, without the line where the document begins.
fn last_part(theirs: &str) -> &str {
    theirs.rsplit("construct errors:").next().unwrap_or(theirs)
}
