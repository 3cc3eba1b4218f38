//! Expressions of the Common Expression Language: their syntax and the names in them. Their types are not looked at.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::CharIndices;

/// Which names an expression may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    Disk,
    Volume,
    Link,
    OomTrigger,
    OomScoring,
}

const UNITS: [&str; 12] = [
    "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "kB", "MB", "GB", "TB", "PB", "EB",
];
const CLASSES: [&str; 5] = [
    "Besteffort",
    "Burstable",
    "Guaranteed",
    "Podruntime",
    "System",
];
/// Functions and type names that every expression has.
const COMMON: [&str; 26] = [
    "size",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "bool",
    "type",
    "has",
    "all",
    "exists",
    "exists_one",
    "map",
    "filter",
    "duration",
    "timestamp",
    "dyn",
    "matches",
    "contains",
    "startsWith",
    "endsWith",
    "list",
    "null_type",
    "true",
    "false",
    "null",
];

impl Names {
    fn knows(self, name: &str) -> bool {
        let own = match self {
            Self::Disk => matches!(name, "disk" | "system_disk" | "glob"),
            Self::Volume => matches!(name, "volume" | "disk"),
            Self::Link => matches!(name, "link" | "glob" | "mac"),
            Self::OomTrigger => {
                matches!(
                    name,
                    "time_since_trigger" | "multiply_qos_vectors" | "optional"
                ) || is_pressure(name)
            }
            Self::OomScoring => matches!(
                name,
                "memory_max" | "memory_current" | "memory_peak" | "path" | "class" | "optional"
            ),
        };
        let classes = matches!(self, Self::OomTrigger | Self::OomScoring);
        own || COMMON.contains(&name)
            || (self != Self::Link && UNITS.contains(&name))
            || (classes && CLASSES.contains(&name))
    }
}

/// The measures of memory that an out-of-memory trigger sees: pressure of all or by class, use by class; of each the
/// change since the last look as well.
fn is_pressure(name: &str) -> bool {
    let now = name.strip_prefix("d_").unwrap_or(name);
    let (measure, by_class) = match now.strip_prefix("qos_memory_") {
        Some(measure) => (measure, true),
        None => (now.strip_prefix("memory_").unwrap_or_default(), false),
    };
    let pressure = measure
        .strip_prefix("some_")
        .or_else(|| measure.strip_prefix("full_"));
    match pressure {
        Some(over) => matches!(over, "avg10" | "avg60" | "avg300" | "total"),
        None => by_class && matches!(measure, "current" | "peak" | "max"),
    }
}

/// What is wrong with an expression, laid out as the machinery's library does.
pub(super) fn error(text: &str, names: Names) -> Option<String> {
    let mut parser = Parser {
        tokens: match tokens(text) {
            Ok(tokens) => tokens,
            Err(at) => return Some(show(text, at, "Syntax error: token recognition error")),
        },
        next: 0,
        depth: 0,
        end: text.len(),
        names,
        bound: Vec::new(),
        unknown: BTreeMap::new(),
    };
    let parsed = parser.ternary().and_then(|()| match parser.peek() {
        None => Ok(()),
        Some(_) => Err(parser.here()),
    });
    if let Err(at) = parsed {
        return Some(show(text, at, "Syntax error: mismatched input"));
    }
    let unknown = parser.unknown.iter().map(|(at, name)| {
        let reason = format!("undeclared reference to '{name}' (in container '')");
        show(text, *at, &reason)
    });
    let all: Vec<String> = unknown.collect();
    (!all.is_empty()).then(|| all.join("\n"))
}

fn show(text: &str, at: usize, reason: &str) -> String {
    let before = &text[..at.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count();
    let shown = text.lines().nth(line - 1).unwrap_or_default();
    let dots = ".".repeat(column);
    format!(
        "ERROR: <input>:{line}:{}: {reason}\n | {shown}\n | {dots}^",
        column + 1
    )
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Literal,
    Symbol(&'static str),
}

const SYMBOLS: [&str; 25] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",",
    "(", ")", "[", "]", "{", "}", "=",
];

/// Tokens with their offsets, or the offset of what is none.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, usize> {
    let mut out = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some(&(at, c)) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
        } else if c == '"' || c == '\'' {
            string(&mut chars).ok_or(at)?;
            out.push((at, Token::Literal));
        } else if c.is_ascii_digit() {
            let number = |c: char| c.is_ascii_alphanumeric() || c == '.';
            while chars.next_if(|(_, c)| number(*c)).is_some() {}
            out.push((at, Token::Literal));
        } else if c.is_ascii_alphabetic() || c == '_' {
            let mut name = String::new();
            while let Some((_, c)) = chars.next_if(|(_, c)| c.is_ascii_alphanumeric() || *c == '_')
            {
                name.push(c);
            }
            let prefixed = matches!(chars.peek(), Some((_, '"' | '\'')));
            if prefixed && matches!(name.as_str(), "r" | "R" | "b" | "B" | "rb" | "br") {
                string(&mut chars).ok_or(at)?;
                out.push((at, Token::Literal));
            } else {
                out.push((at, Token::Name(name)));
            }
        } else {
            let symbol = SYMBOLS
                .iter()
                .find(|s| text[at..].starts_with(**s))
                .ok_or(at)?;
            for _ in 0..symbol.len() {
                chars.next();
            }
            out.push((at, Token::Symbol(symbol)));
        }
    }
    Ok(out)
}

fn string(chars: &mut Peekable<CharIndices<'_>>) -> Option<()> {
    let (_, quote) = chars.next()?;
    loop {
        match chars.next()?.1 {
            '\\' => {
                chars.next()?;
            }
            '\n' => return None,
            c if c == quote => return Some(()),
            _ => {}
        }
    }
}

const DEPTH_MAX: usize = 64;

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
    end: usize,
    names: Names,
    /// Names that macros such as `exists` bind.
    bound: Vec<String>,
    /// By offset: that of the bracket where it is called.
    unknown: BTreeMap<usize, String>,
}

type Parsed = Result<(), usize>;

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, t)| t)
    }

    fn here(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    fn take(&mut self, symbols: &[&str]) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(s)) if symbols.contains(s));
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Parsed {
        let at = self.here();
        self.take(&[symbol]).then_some(()).ok_or(at)
    }

    fn ternary(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.here());
        }
        self.binary()?;
        if self.take(&["?"]) {
            self.binary()?;
            self.expect(":")?;
            self.ternary()?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn binary(&mut self) -> Parsed {
        const OPERATORS: [&str; 13] = [
            "==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "%",
        ];
        self.unary()?;
        loop {
            let is_in = matches!(self.peek(), Some(Token::Name(n)) if n == "in");
            if is_in {
                self.next += 1;
            } else if !self.take(&OPERATORS) {
                return Ok(());
            }
            self.unary()?;
        }
    }

    fn unary(&mut self) -> Parsed {
        while self.take(&["!", "-"]) {}
        self.primary()?;
        loop {
            if self.take(&["."]) {
                self.take(&["?"]);
                let at = self.here();
                let Some(Token::Name(name)) = self.peek().cloned() else {
                    return Err(at);
                };
                self.next += 1;
                if self.take(&["("]) {
                    self.arguments(&name)?;
                }
            } else if self.take(&["["]) {
                self.take(&["?"]);
                self.ternary()?;
                self.expect("]")?;
            } else {
                return Ok(());
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let at = self.here();
        match self.peek().cloned() {
            Some(Token::Literal) => {
                self.next += 1;
                Ok(())
            }
            Some(Token::Name(name)) => {
                self.next += 1;
                let (is_call, open) = match self.peek() {
                    Some(Token::Symbol("(")) => (true, self.here()),
                    Some(_) | None => (false, at),
                };
                if !self.names.knows(&name) && !self.bound.contains(&name) {
                    self.unknown.insert(open, name.clone());
                }
                self.next += usize::from(is_call);
                match is_call {
                    true => self.arguments(&name),
                    false => Ok(()),
                }
            }
            Some(Token::Symbol("(")) => {
                self.next += 1;
                self.ternary()?;
                self.expect(")")
            }
            Some(Token::Symbol("[")) => {
                self.next += 1;
                self.list("]", false)
            }
            Some(Token::Symbol("{")) => {
                self.next += 1;
                self.list("}", true)
            }
            Some(Token::Symbol(_)) | None => Err(at),
        }
    }

    /// Behind the opening bracket of a call.
    fn arguments(&mut self, function: &str) -> Parsed {
        let binds = matches!(function, "all" | "exists" | "exists_one" | "map" | "filter");
        let bound = self.bound.len();
        if binds && let Some(Token::Name(name)) = self.peek().cloned() {
            self.bound.push(name);
        }
        let parsed = self.list(")", false);
        self.bound.truncate(bound);
        parsed
    }

    /// Elements up to a closing bracket; pairs where it is a map.
    fn list(&mut self, close: &str, pairs: bool) -> Parsed {
        if self.take(&[close]) {
            return Ok(());
        }
        loop {
            self.ternary()?;
            if pairs {
                self.expect(":")?;
                self.ternary()?;
            }
            if !self.take(&[","]) {
                return self.expect(close);
            }
            if self.take(&[close]) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        for good in [
            "disk.size > 100u * GB && !disk.rotational",
            "disk.transport == 'nvme' && !system_disk",
            "disk.symlinks.exists(s, s == '/dev/sda')",
            "glob('*nvme*', disk.dev_path) ? true : disk.size in [1u, 2u]",
        ] {
            assert_eq!(error(good, Names::Disk), None, "{good}");
        }
        assert_eq!(
            error("foo.bar == 1", Names::Link).unwrap(),
            "ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')\n | foo.bar == 1\n | ^"
        );
        assert_eq!(
            error("glob('a', mac(link.b))", Names::OomTrigger).unwrap(),
            "ERROR: <input>:1:5: undeclared reference to 'glob' (in container '')\n | glob('a', mac(link.b))\n | ....^\n\
             ERROR: <input>:1:14: undeclared reference to 'mac' (in container '')\n | glob('a', mac(link.b))\n | .............^\n\
             ERROR: <input>:1:15: undeclared reference to 'link' (in container '')\n | glob('a', mac(link.b))\n | ..............^"
        );
        for bad in ["link.nope ==", "link.(", "'x", "link.name == 'a' 'b'", "@"] {
            assert!(
                error(bad, Names::Link)
                    .unwrap()
                    .starts_with("ERROR: <input>:1:"),
                "{bad}"
            );
        }
        let deep = "(".repeat(5000);
        assert!(error(&deep, Names::Link).is_some());
    }
}
