//! Scalars: what a plain text means, and when a text needs quotes.

use std::borrow::Cow;

use super::emit::Style;

/// A scalar with its text as it was written (quotes and block headers removed).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// What the text means.
    pub kind: Kind,
    /// The text.
    pub text: String,
}

/// What a scalar means before anything is known about its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// A number with a fraction or an exponent, or one of the special ones.
    Float,
    /// A date or a time.
    Timestamp,
    /// Everything else.
    Text,
}

impl Scalar {
    /// A text, quoted on output where it needs to be.
    pub fn text(text: impl Into<String>) -> Self {
        Self::raw(Kind::Text, text)
    }

    /// A scalar of a known kind; its text is written as it is unless it is [`Kind::Text`].
    pub fn raw(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }
}

/// The meaning of a plain (unquoted) text.
pub(super) fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => return Kind::Bool,
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
        | "-.inf" | "-.Inf" | "-.INF" => return Kind::Float,
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' if is_float(&without_separators(text)) => Kind::Float,
        b'0'..=b'9' | b'+' | b'-' => number(text),
        _ => Kind::Text,
    }
}

fn number(text: &str) -> Kind {
    if is_timestamp(text) {
        return Kind::Timestamp;
    }
    if integer(text).is_some() {
        Kind::Int
    } else if is_float(&without_underscores(text)) {
        Kind::Float
    } else {
        Kind::Text
    }
}

fn without_underscores(text: &str) -> Cow<'_, str> {
    match text.contains('_') {
        true => Cow::Owned(text.replace('_', "")),
        false => Cow::Borrowed(text),
    }
}

/// Without underscores between two digits: those that Go's own reader of numbers takes.
fn without_separators(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let separates = |at: usize| at > 0 && digit(at - 1) && digit(at + 1);
    let mut marks = text.match_indices('_').map(|(at, _)| at);
    match text.contains('_') && marks.all(separates) {
        true => Cow::Owned(text.replace('_', "")),
        false => Cow::Borrowed(text),
    }
}

/// A whole number in any of the notations: decimal, `0x`, `0b`, `0o` or a leading zero for octal.
pub(crate) fn integer(text: &str) -> Option<i128> {
    let plain = without_underscores(text);
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, &*plain),
    };
    let (radix, body) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if body.is_empty() || !body.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(body, radix).ok()?;
    let value = if negative { -value } else { value };
    (i128::from(i64::MIN)..=i128::from(u64::MAX))
        .contains(&value)
        .then_some(value)
}

fn is_float(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        None => !mantissa.is_empty() && digits(mantissa),
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
    };
    let exponent_ok = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    // What no double can hold is no number to Go's library.
    mantissa_ok && exponent_ok && text.parse().is_ok_and(f64::is_finite)
}

/// `2001-1-1`, optionally with a time after a space or `T` and, after `T`, a zone.
fn is_timestamp(text: &str) -> bool {
    let mut date = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (date.next(), date.next(), date.next()) else {
        return false;
    };
    if year.len() != 4 || !year.bytes().all(|b| b.is_ascii_digit()) || !within(month, 1, 12) {
        return false;
    }
    let Some(at) = rest.find(|c: char| !c.is_ascii_digit()) else {
        return within(rest, 1, 31) && day_exists(year, month, rest);
    };
    let (day, time) = rest.split_at(at);
    if !within(day, 1, 31) || !day_exists(year, month, day) {
        return false;
    }
    match time.as_bytes()[0] {
        b' ' => is_clock(&time[1..]),
        b'T' | b't' => match time.find(['Z', '+']).or_else(|| time.rfind('-')) {
            Some(zone) => is_clock(&time[1..zone]) && is_zone(&time[zone..]),
            None => false,
        },
        _ => false,
    }
}

fn within(digits: &str, low: u32, high: u32) -> bool {
    (1..=2).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && digits.parse().is_ok_and(|n: u32| (low..=high).contains(&n))
}

fn day_exists(year: &str, month: &str, day: &str) -> bool {
    match (year.parse(), month.parse(), day.parse()) {
        (Ok(year), Ok(month), Ok(day)) => jiff::civil::Date::new(year, month, day).is_ok(),
        _ => false,
    }
}

fn is_clock(text: &str) -> bool {
    let mut parts = text.splitn(3, ':');
    let (Some(hour), Some(minute), Some(second)) = (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let (second, fraction) = match second.split_once('.') {
        Some((s, f)) => (s, !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit())),
        None => (second, true),
    };
    within(hour, 0, 23) && within(minute, 0, 59) && within(second, 0, 59) && fraction
}

fn is_zone(text: &str) -> bool {
    if text == "Z" {
        return true;
    }
    let digits = text.strip_prefix(['+', '-']);
    match digits.and_then(|d| d.split_once(':')) {
        Some((hours, minutes)) => {
            hours.len() == 2 && minutes.len() == 2 && within(hours, 0, 24) && within(minutes, 0, 60)
        }
        None => false,
    }
}

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Single,
    Double,
    Literal,
}

/// The form of a text value; `simple` where only one line is possible (a key, or an element of a flow list).
pub(super) fn form(text: &str, style: Style) -> Form {
    if text.is_empty() {
        return Form::Double;
    }
    if is_simple(text) {
        return Form::Plain;
    }
    if text.contains('\n') {
        return if literal_possible(text) {
            Form::Literal
        } else {
            Form::Double
        };
    }
    if resolve(text) != Kind::Text {
        return Form::Double;
    }
    if is_old_word(text) || is_base60(text) {
        return match style {
            Style::V1_13 => Form::Double,
            Style::V1_14 => Form::Single,
        };
    }
    if text.chars().any(|c| c == '\t' || is_special(c)) || has_spaced_break(text) {
        Form::Double
    } else if needs_single(text) {
        Form::Single
    } else {
        Form::Plain
    }
}

/// The longest word that means something else than its letters: `false`.
const WORD_MAX: usize = 5;

/// The short way for most texts, such as names, paths, images and base64: they begin with a letter, hold nothing that
/// could need quotes, and are no word with a meaning.
fn is_simple(text: &str) -> bool {
    let inner = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'/' | b'+' | b'=' | b'.' | b'-' | b'_' | b':')
    };
    // No early exit: the compiler looks at 16 bytes at a time then.
    text.as_bytes()[0].is_ascii_alphabetic()
        && text.bytes().fold(true, |all, b| all & inner(b))
        && !text.ends_with(':')
        && (text.len() > WORD_MAX || resolve(text) == Kind::Text && !is_old_word(text))
}

/// Whether a space stands beside a separator that the library takes for a line end.
fn has_spaced_break(text: &str) -> bool {
    let beside = |c: &str| text.contains(&format!(" {c}")) || text.contains(&format!("{c} "));
    text.contains(['\u{2028}', '\u{2029}']) && (beside("\u{2028}") || beside("\u{2029}"))
}

fn literal_possible(text: &str) -> bool {
    let blank = text.chars().all(char::is_whitespace);
    let space_before_break = text.contains(" \n") || text.ends_with(' ');
    !blank && !space_before_break && !text.chars().any(|c| c != '\n' && is_special(c))
}

/// Characters that only a double-quoted text can hold.
fn is_special(c: char) -> bool {
    match c {
        '\t' | '\n' => false,
        '\u{20}'..='\u{7e}' => false,
        '\u{a0}'..='\u{d7ff}' => false,
        '\u{e000}'..='\u{fffd}' => c == '\u{feff}',
        _ => true,
    }
}

fn needs_single(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars.next().unwrap_or_default();
    let second = chars.next();
    let indicator = "#,[]{}&*!|>'\"%@`".contains(first)
        || (matches!(first, '-' | '?' | ':') && second.is_none_or(|c| c == ' '))
        || text.starts_with("---")
        || text.starts_with("...");
    indicator
        || text.contains(": ")
        || text.ends_with(':')
        || text.contains(" #")
        || text.starts_with(' ')
        || text.ends_with(' ')
        || text.contains(['\u{2028}', '\u{2029}'])
}

/// Texts that YAML 1.1 read as something else: old booleans and the merge key. Numbers to base 60 are the others.
fn is_old_word(text: &str) -> bool {
    matches!(
        text,
        "y" | "Y"
            | "yes"
            | "Yes"
            | "YES"
            | "on"
            | "On"
            | "ON"
            | "n"
            | "N"
            | "no"
            | "No"
            | "NO"
            | "off"
            | "Off"
            | "OFF"
            | "<<"
    )
}

/// A text as the library writes it where it was given a node and no string: it forgets to quote what only YAML 1.1
/// read as something else.
pub(crate) fn forgotten(text: &str) -> Scalar {
    if (is_old_word(text) || is_base60(text)) && text != "<<" {
        Scalar::raw(Kind::Bool, text)
    } else {
        Scalar::text(text)
    }
}

fn is_base60(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (body, fraction) = body.split_once('.').unwrap_or((body, ""));
    let mut parts = body.split(':');
    let first = parts.next().unwrap_or_default();
    let numeric = |s: &str| s.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let mut rest = parts.peekable();
    first.starts_with(|c: char| c.is_ascii_digit())
        && numeric(first)
        && numeric(fraction)
        && rest.peek().is_some()
        && rest.all(|part| within(part, 0, 59))
}

/// A double-quoted text.
pub(super) fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    // A byte order mark at the start makes the library escape everything.
    let marked = text.starts_with('\u{feff}');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' => out.push_str("\\e"),
            '\u{85}' => out.push_str("\\N"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            c if !is_special(c) && !marked => out.push(c),
            '\u{a0}' => out.push_str("\\_"),
            c => {
                let code = u32::from(c);
                out.push_str(&match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                });
            }
        }
    }
    out.push('"');
    out
}

/// A single-quoted text.
pub(super) fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A text as a one-line value, quoted as the emitter would.
pub(crate) fn quote_key(text: &str, style: Style) -> String {
    match form(text, style) {
        Form::Plain => text.to_owned(),
        Form::Single => single_quoted(text),
        Form::Double | Form::Literal => double_quoted(text),
    }
}
