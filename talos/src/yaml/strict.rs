//! What Talos's library refuses in a text that other parsers take: characters that no YAML may hold, tabs where it
//! reads indentation, and parts of flow mappings that only it finds wrong.
//!
//! Not here: what both of them refuse.

use saphyr_parser::{Event, ScalarStyle, Span};

use super::parse::{At, ParseError, error, is_flow};

/// Refuses characters that stand in no YAML: those that control something, and two that are none.
pub(super) fn characters(text: &str) -> Result<(), ParseError> {
    let Some((at, found)) = text.char_indices().find(|(_, c)| is_refused(*c)) else {
        return Ok(());
    };
    let start = text[..at].rfind('\n').map_or(0, |n| n + 1);
    let line = text[..start].bytes().filter(|b| *b == b'\n').count() + 1;
    let column = text[start..at].chars().count() + 1;
    let code = u32::from(found);
    Err(error(
        (line, column),
        format!(
            "no YAML holds the control character U+{code:04X}; take it out, or write it as \\u{code:04x} in double quotes"
        ),
    ))
}

fn is_refused(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// Where the parser is when an event comes.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Spaces with which a line of a text without quotes begins at least.
    pub(super) indent: usize,
    pub(super) inside: Inside,
}

/// What the event belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    /// No flow collection.
    Block,
    /// A flow collection, where no key is next.
    Flow,
    /// A flow mapping, whose next key it is.
    FlowKey,
}

/// Looks at what the whole parser finds. Events come in the order of the text.
pub(super) struct Watch<'a> {
    text: &'a str,
    /// A character of the text and its offset; all before them were seen.
    counted: (usize, usize),
    tabs: Option<Stretches>,
    /// Whether there are characters that end a line for the library only.
    old_breaks: bool,
}

/// Line ends of YAML 1.1, which the library still takes for such.
const OLD_BREAKS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// Stretches in the order of their starts, and which of them are flow collections without an end so far.
#[derive(Default)]
struct Stretches {
    all: Vec<Stretch>,
    flows: Vec<usize>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            counted: (0, 0),
            tabs: text.contains('\t').then(Stretches::default),
            old_breaks: !text.is_ascii() && text.contains(OLD_BREAKS),
        }
    }

    pub(super) fn see(
        &mut self,
        event: &Event<'_>,
        span: &Span,
        place: Place,
    ) -> Result<(), ParseError> {
        let start = (span.start.line(), span.start.col() + 1);
        let end = (span.end.line(), span.end.col() + 1);
        match event {
            Event::Scalar(_, style, _, _) if span.end.index() > span.start.index() => {
                self.scalar(*style, span, place)
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if is_flow(span) => {
                if let Some(Stretches { all, flows }) = &mut self.tabs {
                    flows.push(all.len());
                    all.push(Stretch {
                        start,
                        end: (usize::MAX, 0),
                        kind: StretchKind::Free,
                    });
                }
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd if place.inside != Inside::Block => {
                if let Some(Stretches { all, flows }) = &mut self.tabs
                    && let Some(index) = flows.pop()
                {
                    all[index].end = end;
                }
                Ok(())
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd => Ok(()),
        }
    }

    fn scalar(&mut self, style: ScalarStyle, span: &Span, place: Place) -> Result<(), ParseError> {
        let start = (span.start.line(), span.start.col() + 1);
        let mut end = (span.end.line(), span.end.col() + 1);
        if place.inside == Inside::Block && self.tabs.is_none() && !self.old_breaks {
            return Ok(());
        }
        let Some((before, found, after)) = self.around(span) else {
            return Ok(());
        };
        let plain = matches!(style, ScalarStyle::Plain);
        if place.inside != Inside::Block {
            if plain && found.starts_with(':') && colon(before) {
                return Err(error(start, "two colons, or one without a key before it"));
            }
            let stated = before.trim_end().ends_with('?');
            if place.inside == Inside::FlowKey && !stated && key_is_broken(start, end, after) {
                return Err(error(start, "a key must end on its line, with its colon"));
            }
        }
        if place.inside == Inside::Block && plain && found.contains(OLD_BREAKS) {
            let reason =
                "a character that ends a line (U+0085, U+2028 or U+2029) in a text without quotes";
            return Err(error(start, reason));
        }
        let kind = match style {
            ScalarStyle::Plain => {
                end = behind_blanks(end, after);
                StretchKind::Plain(place.indent)
            }
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => StretchKind::Free,
            ScalarStyle::Literal | ScalarStyle::Folded => StretchKind::Block,
        };
        if let Some(Stretches { all, .. }) = &mut self.tabs {
            all.push(Stretch { start, end, kind });
        }
        Ok(())
    }

    /// The text before a scalar, itself, and what comes after it.
    fn around(&mut self, span: &Span) -> Option<(&'a str, &'a str, &'a str)> {
        let start = self.offset(span.start.index())?;
        let end = self.offset(span.end.index())?;
        Some((
            &self.text[..start],
            &self.text[start..end],
            &self.text[end..],
        ))
    }

    /// The offset of a character that is not before the last one that was asked for.
    fn offset(&mut self, index: usize) -> Option<usize> {
        let (counted, offset) = self.counted;
        let mut more = self.text[offset..].char_indices();
        let ahead = index.checked_sub(counted)?;
        let at = match more.nth(ahead) {
            Some((bytes, _)) => offset + bytes,
            None => self.text.len(),
        };
        self.counted = (index, at);
        Some(at)
    }

    /// Says what is wrong with the tabs.
    pub(super) fn end(self) -> Result<(), ParseError> {
        match self.tabs {
            None => Ok(()),
            Some(Stretches { all, .. }) => tabs(self.text, &all),
        }
    }
}

/// The place of what follows a text and the blanks behind it.
fn behind_blanks((mut line, mut column): At, after: &str) -> At {
    for c in after.chars() {
        match c {
            '\n' => (line, column) = (line + 1, 1),
            ' ' | '\t' | '\r' => column += 1,
            _ => break,
        }
    }
    (line, column)
}

/// What the parser has found on some stretch of the text, from its first character to before its end.
#[derive(Clone, Copy)]
struct Stretch {
    start: At,
    end: At,
    kind: StretchKind,
}

/// What a stretch is, as far as tabs inside of it matter.
#[derive(Clone, Copy)]
enum StretchKind {
    /// A flow collection, or a text in quotes.
    Free,
    /// A text without quotes: its lines begin with at least so many spaces.
    Plain(usize),
    /// A literal or folded text.
    Block,
}

/// Refuses tabs where the library reads indentation: at the start of a line and behind the dash of an item, except
/// inside of what may go over lines as it likes.
///
/// Stretches come in the order of their starts.
fn tabs(text: &str, stretches: &[Stretch]) -> Result<(), ParseError> {
    let lines: Vec<&str> = text.split('\n').collect();
    // Those that have begun and may still go on; the innermost is the last.
    let mut open: Vec<Stretch> = Vec::new();
    let mut coming = stretches.iter().copied().peekable();
    for (index, line) in lines.iter().enumerate() {
        let Some((column, is_first)) = tab(line) else {
            continue;
        };
        let at = (index + 1, column);
        while let Some(next) = coming.next_if(|s| s.start <= at) {
            open.push(next);
        }
        open.retain(|s| at < s.end);
        let allowed = match open.last() {
            None => false,
            Some(_) if !is_first => true,
            Some(Stretch { kind, start, .. }) => match kind {
                StretchKind::Free => true,
                StretchKind::Plain(indent) => column > *indent,
                StretchKind::Block => inside_block(&lines, *start, at),
            },
        };
        if !allowed {
            return Err(error(at, "a tab where only spaces may indent"));
        }
    }
    Ok(())
}

/// The column of the first tab in the indentation of a line, and whether it stands before everything else.
fn tab(line: &str) -> Option<(usize, bool)> {
    let bytes = line.as_bytes();
    let mut is_first = true;
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b' ' => at += 1,
            b'\t' => return Some((at + 1, is_first)),
            b'-' | b'?' | b':' if matches!(bytes.get(at + 1), Some(b' ' | b'\t')) => {
                is_first = false;
                at += 1;
            }
            _ => return None,
        }
    }
}

/// Whether a tab may stand in a block text: behind its indentation, and not where that is still to be found.
fn inside_block(lines: &[&str], (first, _): At, (line, column): At) -> bool {
    let text = lines.get(first - 1).copied().unwrap_or_default();
    let header = lines[..first - 1]
        .iter()
        .rev()
        .find(|l| !l.trim().is_empty());
    let stated = header.is_some_and(|header| {
        let header = header.split(" #").next().unwrap_or_default().trim_end();
        header.ends_with(|c: char| c.is_ascii_digit())
            || header
                .trim_end_matches(['+', '-'])
                .ends_with(|c: char| c.is_ascii_digit())
    });
    let indent = text.bytes().take_while(|b| *b == b' ').count();
    column > indent && (stated || line > first)
}

/// Where the library sees a colon of its own, in a flow mapping, though a text could begin with it.
fn colon(before: &str) -> bool {
    before.trim_end().ends_with([':', '{'])
}

/// Whether the key of a flow mapping ends before the line of its colon does. What follows the key is given.
fn key_is_broken((line, _): At, end: At, after: &str) -> bool {
    let blank = after.len() - after.trim_start().len();
    let breaks = after[..blank].contains('\n');
    after[blank..].starts_with(':') && (breaks || end.0 > line)
}
