//! The short way for the YAML that people and tools write for Talos: block mappings and lists, flow collections and
//! quoted texts on one line, literal blocks.
//!
//! It reads a text completely or says that it is not of that kind; then the whole parser has the word, also for every
//! error. A test holds both ways against each other.

use super::line::{colon, comment, double, is_plain, is_word, single};
use super::scalar::{Kind, Scalar, resolve};
use super::{Entry, Mapping, Node, Value};

/// Deeper nesting is left to the whole parser, which refuses it with its place.
const DEPTH_MAX: usize = 90;
/// More values are left to the whole parser, which counts them.
const NODES_MAX: usize = 250_000;
/// YAML's own limit for a key on one line.
const KEY_MAX: usize = 1000;
/// Mappings with more keys than this have their duplicates found by sorting.
const SCANNED_TO: usize = 24;

/// All documents of the text, or nothing where it holds something unusual.
pub(super) fn parse(text: &str) -> Option<Vec<Node>> {
    if !is_usual(text) {
        return None;
    }
    let mut reader = Reader {
        text,
        at: 0,
        line: 1,
        counted: 0,
        column: 1,
        depth: 0,
        nodes: 0,
    };
    let mut documents = Vec::new();
    let mut marked = true;
    while let Some(next) = reader.next()? {
        if next.is_marker {
            reader.skip_line();
            // Markers without anything between them are documents of nothing, which nobody wants.
            marked = true;
        } else if marked {
            documents.push(reader.block(next, -1)?);
            marked = false;
        } else {
            return None;
        }
    }
    Some(documents)
}

/// Whether it holds none of the characters that YAML treats in ways of their own.
fn is_usual(text: &str) -> bool {
    // No early exit: the compiler looks at 16 bytes at a time then, which is 10 µs less for a secrets file.
    let odd = |b: u8| (b < 0x20) & (b != b'\n') & (b != b'\t') | (b == 0x7f);
    let found = text.bytes().fold(false, |found, b| found | odd(b));
    let separators = [
        '\u{85}', '\u{feff}', '\u{2028}', '\u{2029}', '\u{fffe}', '\u{ffff}',
    ];
    !found && (text.is_ascii() || !text.contains(separators))
}

/// The next line with content.
#[derive(Clone, Copy)]
struct Line {
    indent: isize,
    /// Offset of the first character that is no space.
    content: usize,
    is_marker: bool,
}

struct Reader<'a> {
    text: &'a str,
    /// Offset of the start of a line, or inside it while a value is read.
    at: usize,
    line: usize,
    /// An offset in this line, and its column.
    counted: usize,
    column: usize,
    depth: usize,
    nodes: usize,
}

/// A key's text, and the offset behind its colon.
type Key = (String, usize);

/// A line and a column, both counted from 1.
type Place = (usize, usize);

/// Outer nothing: unusual. Inner nothing: there is none.
type Maybe<T> = Option<Option<T>>;

impl<'a> Reader<'a> {
    /// The text from here on; nothing behind its end.
    fn rest(&self, at: usize) -> &'a str {
        self.text.get(at..).unwrap_or_default()
    }

    /// The rest of the line.
    fn line_from(&self, at: usize) -> &'a str {
        let rest = self.rest(at);
        rest.find('\n').map_or(rest, |end| &rest[..end])
    }

    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(b'\n')
    }

    fn end_of_line(&self, at: usize) -> usize {
        self.rest(at).find('\n').map_or(self.text.len(), |n| at + n)
    }

    fn skip_line(&mut self) {
        self.go_behind(self.end_of_line(self.at));
    }

    /// Goes on with the line behind the one that ends there.
    fn go_behind(&mut self, end: usize) {
        self.at = (end + 1).min(self.text.len());
        self.line += 1;
        (self.counted, self.column) = (self.at, 1);
    }

    /// Looks at the next line that has content; the reader stays at its start.
    fn next(&mut self) -> Maybe<Line> {
        while self.at < self.text.len() {
            let spaces = self
                .rest(self.at)
                .bytes()
                .take_while(|b| *b == b' ')
                .count();
            let content = self.at + spaces;
            match self.byte(content) {
                b'\n' | b'#' => self.skip_line(),
                b'\t' => return None,
                b'%' if spaces == 0 => return None,
                _ => {
                    let rest = self.rest(content);
                    let is_marker = spaces == 0 && rest.starts_with("---");
                    if is_marker
                        && !matches!(
                            self.rest(content + 3)
                                .trim_start_matches(' ')
                                .as_bytes()
                                .first(),
                            None | Some(b'\n')
                        )
                    {
                        return None;
                    }
                    if spaces == 0 && rest.starts_with("...") {
                        return None;
                    }
                    return Some(Some(Line {
                        indent: isize::try_from(spaces).ok()?,
                        content,
                        is_marker,
                    }));
                }
            }
        }
        Some(None)
    }

    /// An offset in this line as its line and column. Offsets grow inside a line, so that each character is counted
    /// once, however many values a line has.
    fn place(&mut self, at: usize) -> Place {
        let more = self.text.get(self.counted..at).unwrap_or_default();
        self.column += more.chars().count();
        self.counted = self.counted.max(at);
        (self.line, self.column)
    }

    fn node(&mut self, (line, column): Place, value: Value) -> Option<Node> {
        self.nodes += 1;
        (self.nodes <= NODES_MAX).then(|| Node::at_place(line, column, value))
    }

    fn scalar(&mut self, at: usize, kind: Kind, text: impl Into<String>) -> Option<Node> {
        let place = self.place(at);
        self.node(place, Value::Scalar(Scalar::raw(kind, text)))
    }

    /// What begins at the start of a line, deeper than its parent.
    fn block(&mut self, line: Line, parent: isize) -> Option<Node> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let node = match self.byte(line.content) {
            b'-' if self.is_dash(line.content) => self.sequence(line.content, line.indent),
            b'[' | b'{' => {
                let node = self.flow(line.content)?;
                self.finish_line()?;
                Some(node)
            }
            // What is no key is a text alone on its lines: it may go on.
            _ => {
                let key = self.key(line.content)??;
                self.mapping(line.content, line.indent, key)
            }
        };
        self.depth -= 1;
        debug_assert!(line.indent > parent || parent == line.indent);
        node
    }

    fn is_dash(&self, at: usize) -> bool {
        self.byte(at) == b'-' && matches!(self.byte(at + 1), b' ' | b'\n')
    }

    fn sequence(&mut self, first: usize, indent: isize) -> Option<Node> {
        let place = self.place(first);
        let mut items = Vec::new();
        let mut at = first;
        loop {
            items.push(self.item(at, indent)?);
            match self.next()? {
                Some(next) if next.is_marker => break,
                Some(next) if next.indent == indent && self.is_dash(next.content) => {
                    at = next.content;
                }
                Some(next) if next.indent > indent => return None,
                _ => break,
            }
        }
        self.node(place, Value::Sequence(items))
    }

    fn item(&mut self, dash: usize, indent: isize) -> Option<Node> {
        let spaces = self
            .rest(dash + 1)
            .bytes()
            .take_while(|b| *b == b' ')
            .count();
        let at = dash + 1 + spaces;
        if matches!(self.byte(at), b'\n' | b'#') {
            return self.nested(at, indent, indent + 1);
        }
        let inner = indent + 1 + isize::try_from(spaces).ok()?;
        if self.is_dash(at) {
            return self.compact(|reader| reader.sequence(at, inner));
        }
        if !matches!(self.byte(at), b'[' | b'{' | b'|')
            && let Some(key) = self.key(at)?
        {
            return self.compact(|reader| reader.mapping(at, inner, key));
        }
        self.value(at, indent)
    }

    fn compact(&mut self, read: impl FnOnce(&mut Self) -> Option<Node>) -> Option<Node> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let node = read(self);
        self.depth -= 1;
        node
    }

    /// What stands on the lines below a key or a dash without a value; null where nothing does.
    fn nested(&mut self, at: usize, indent: isize, least: isize) -> Option<Node> {
        let place = self.place(at);
        self.skip_line();
        match self.next()? {
            Some(next) if next.is_marker => {}
            Some(next) if next.indent >= least => return self.block(next, indent),
            _ => {}
        }
        self.node(place, Value::Scalar(Scalar::raw(Kind::Null, "")))
    }

    /// The first key is read already: with it the mapping was recognized.
    fn mapping(&mut self, first: usize, indent: isize, first_key: Key) -> Option<Node> {
        let place = self.place(first);
        let mut entries = Mapping::default();
        let (mut at, mut key) = (first, first_key);
        loop {
            let (name, after) = key;
            if entries.len() < SCANNED_TO && entries.entry(&name).is_some() {
                return None;
            }
            let (line, column) = self.place(at);
            let spaces = self.rest(after).bytes().take_while(|b| *b == b' ').count();
            let from = after + spaces;
            let value = match self.byte(from) {
                b'\n' | b'#' => self.below_key(from, indent)?,
                _ => self.value(from, indent)?,
            };
            entries.push(Entry {
                line,
                column,
                key: name,
                value,
            });
            match self.next()? {
                Some(next) if next.is_marker => break,
                Some(next) if next.indent == indent => {
                    at = next.content;
                    key = self.key(at)??;
                }
                Some(next) if next.indent > indent => return None,
                _ => break,
            }
        }
        if entries.len() > SCANNED_TO {
            let mut keys: Vec<&str> = entries.iter().map(|e| e.key.as_str()).collect();
            keys.sort_unstable();
            if keys.windows(2).any(|pair| pair[0] == pair[1]) {
                return None;
            }
        }
        self.node(place, Value::Mapping(entries))
    }

    /// A list may stand as far left as the key that it belongs to.
    fn below_key(&mut self, at: usize, indent: isize) -> Option<Node> {
        let here = (self.at, self.line, self.counted, self.column);
        self.skip_line();
        let next = self.next()?;
        let dash =
            next.is_some_and(|n| n.indent == indent && !n.is_marker && self.is_dash(n.content));
        (self.at, self.line, self.counted, self.column) = here;
        self.nested(at, indent, indent + isize::from(!dash))
    }

    /// A key, where one stands here.
    fn key(&self, at: usize) -> Maybe<Key> {
        match self.byte(at) {
            quote @ (b'"' | b'\'') => {
                let (text, end) = self.quoted(at, quote)?;
                let colon = end + self.rest(end).bytes().take_while(|b| *b == b' ').count();
                let is_key =
                    self.byte(colon) == b':' && matches!(self.byte(colon + 1), b' ' | b'\n');
                Some(is_key.then_some((text, colon + 1)))
            }
            _ => {
                let rest = self.rest(at);
                let Some(colon) = colon(rest) else {
                    return Some(None);
                };
                let key = rest[..colon].trim_end_matches(' ');
                let usual = is_plain(key) && key != "<<" && key.len() <= KEY_MAX;
                usual.then(|| Some((key.to_owned(), at + colon + 1)))
            }
        }
    }

    /// A value that begins on this line, below something with this indentation.
    fn value(&mut self, at: usize, indent: isize) -> Option<Node> {
        match self.byte(at) {
            b'[' | b'{' => {
                let node = self.flow(at)?;
                self.finish_line()?;
                Some(node)
            }
            b'|' => self.literal(at, indent),
            quote @ (b'"' | b'\'') => {
                let (text, end) = self.quoted(at, quote)?;
                let node = self.scalar(at, Kind::Text, text)?;
                self.at = end;
                self.finish_line()?;
                Some(node)
            }
            _ => {
                let line = self.line_from(at);
                let mut text = line;
                if !is_word(line) {
                    text = line[..comment(line)].trim_end_matches(' ');
                    if !is_plain(text) || colon(text).is_some() {
                        return None;
                    }
                }
                let node = self.scalar(at, resolve(text), text)?;
                self.go_behind(at + line.len());
                // A deeper line would go on with this text.
                match self.next()? {
                    Some(next) if next.indent > indent && !next.is_marker => None,
                    _ => Some(node),
                }
            }
        }
    }

    /// Only a comment may follow on the line.
    fn finish_line(&mut self) -> Option<()> {
        let line = self.line_from(self.at);
        let rest = line.trim_start_matches(' ');
        let clean = rest.is_empty() || (rest.starts_with('#') && rest.len() < line.len());
        self.skip_line();
        clean.then_some(())
    }

    fn literal(&mut self, at: usize, indent: isize) -> Option<Node> {
        let header = self.line_from(at + 1);
        if !matches!(header, "" | "-" | "+") {
            return None;
        }
        self.skip_line();
        let mut text = String::new();
        let mut width = None;
        let mut blank = 0;
        // The text's place is that of its first line, as the whole parser has it.
        let mut place = (self.line, 1);
        while self.at < self.text.len() {
            let end = self.end_of_line(self.at);
            let body = &self.text[self.at..end];
            let spaces = body.bytes().take_while(|b| *b == b' ').count();
            if spaces == body.len() && width.is_none_or(|w| spaces <= w) {
                blank = if width.is_none() && spaces > 0 {
                    return None;
                } else {
                    blank + 1
                };
                self.skip_line();
                continue;
            }
            if width.is_none() {
                place = self.place(self.at + spaces);
            }
            let wanted = *width.get_or_insert(spaces);
            if isize::try_from(spaces).ok()? <= indent || spaces < wanted {
                break;
            }
            // Spaces alone that go deeper than the text are text, too: the whole parser's.
            let first = body.as_bytes().get(spaces);
            if first.is_none_or(|b| *b == b'\t' && spaces <= wanted) {
                return None;
            }
            text.extend(std::iter::repeat_n('\n', blank));
            blank = 0;
            text.push_str(&body[wanted..]);
            text.push('\n');
            if end == self.text.len() {
                return None;
            }
            self.skip_line();
        }
        if text.is_empty() {
            return None;
        }
        match header {
            "-" => drop(text.pop()),
            "+" => text.extend(std::iter::repeat_n('\n', blank)),
            _ => {}
        }
        self.node(place, Value::Scalar(Scalar::text(text)))
    }

    /// A collection that ends on its line; the reader is behind it then.
    fn flow(&mut self, at: usize) -> Option<Node> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let place = self.place(at);
        let is_list = self.byte(at) == b'[';
        let close = if is_list { b']' } else { b'}' };
        let (mut items, mut entries) = (Vec::new(), Mapping::default());
        let mut from = self.skip_spaces(at + 1);
        while self.byte(from) != close {
            if is_list {
                items.push(self.flow_value(from)?);
            } else {
                self.flow_entry(from, &mut entries)?;
            }
            from = self.skip_spaces(self.at);
            match self.byte(from) {
                b',' => from = self.skip_spaces(from + 1),
                b if b == close => {}
                _ => return None,
            }
        }
        self.depth -= 1;
        let value = match is_list {
            true => Value::Sequence(items),
            false => Value::Mapping(entries),
        };
        let mut node = self.node(place, value)?;
        node.flow = true;
        self.at = from + 1;
        Some(node)
    }

    fn skip_spaces(&self, at: usize) -> usize {
        at + self.rest(at).bytes().take_while(|b| *b == b' ').count()
    }

    fn flow_entry(&mut self, at: usize, entries: &mut Mapping) -> Option<()> {
        let (key, colon) = match self.byte(at) {
            quote @ (b'"' | b'\'') => {
                let (text, end) = self.quoted(at, quote)?;
                (text, self.skip_spaces(end))
            }
            _ => {
                let end = self.flow_plain_end(at);
                let text = self.text[at..end].trim_end_matches(' ');
                let unusual = text == "<<" || text.starts_with(':') || text.len() > KEY_MAX;
                if !is_plain(text) || unusual {
                    return None;
                }
                (text.to_owned(), end)
            }
        };
        if self.byte(colon) != b':' {
            return None;
        }
        let from = self.skip_spaces(colon + 1);
        let spaced = from > colon + 1 || matches!(self.byte(at), b'"' | b'\'');
        if self.byte(colon) != b':'
            || !spaced
            || entries.len() > SCANNED_TO
            || entries.entry(&key).is_some()
        {
            return None;
        }
        let (line, column) = self.place(at);
        let value = self.flow_value(from)?;
        entries.push(Entry {
            line,
            column,
            key,
            value,
        });
        Some(())
    }

    fn flow_value(&mut self, at: usize) -> Option<Node> {
        match self.byte(at) {
            b'[' | b'{' => self.flow(at),
            quote @ (b'"' | b'\'') => {
                let (text, end) = self.quoted(at, quote)?;
                self.at = end;
                self.scalar(at, Kind::Text, text)
            }
            _ => {
                let end = self.flow_plain_end(at);
                let text = self.text[at..end].trim_end_matches(' ');
                // A colon at the start has a meaning of its own in flow mappings.
                if !is_plain(text) || text.starts_with(':') || self.byte(end) == b':' {
                    return None;
                }
                self.at = end;
                self.scalar(at, resolve(text), text)
            }
        }
    }

    fn flow_plain_end(&self, at: usize) -> usize {
        let bytes = self.rest(at).as_bytes();
        let end = (0..bytes.len()).find(|i| match bytes[*i] {
            b'\n' | b',' | b'[' | b']' | b'{' | b'}' => true,
            b':' => matches!(
                bytes.get(i + 1),
                None | Some(b' ' | b'\n' | b',' | b'[' | b']' | b'{' | b'}')
            ),
            b'#' => *i > 0 && bytes[i - 1] == b' ',
            _ => false,
        });
        at + end.unwrap_or(bytes.len())
    }

    /// A quoted text that ends on its line, and the offset behind it.
    fn quoted(&self, at: usize, quote: u8) -> Option<(String, usize)> {
        let rest = self.rest(at + 1);
        match quote {
            b'\'' => single(rest),
            _ => double(rest),
        }
        .map(|(text, length)| (text, at + 1 + length))
    }
}
