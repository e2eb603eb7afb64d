//! From the syntax of Go's `regexp/syntax` to that of the `regex` crate.
//!
//! Both descend from RE2. What differs: in Go, `\d`, `\w`, `\s` and `\b` know ASCII only, a bracket within a class is
//! itself, a brace that begins no repetition is itself, `\Q…\E` quotes, `\<` and its like are plain characters, a
//! repetition of a repetition is an error, and a count goes up to 1000.

/// The largest count of a repetition.
const MAX_REPEAT: u32 = 1000;

/// The expression for the `regex` crate, or Go's complaint.
pub(crate) fn translate(pattern: &str) -> Result<String, String> {
    let mut translator = Translator {
        pattern,
        rest: pattern,
        out: String::with_capacity(pattern.len() + 16),
        groups: 0,
        atom: false,
        repeat: None,
    };
    translator.run()?;
    Ok(translator.out)
}

struct Translator<'a> {
    pattern: &'a str,
    rest: &'a str,
    out: String,
    groups: usize,
    /// Whether something that can be repeated stands before.
    atom: bool,
    /// The repetition just read, if that is what stands before.
    repeat: Option<&'a str>,
}

fn problem(what: &str, part: &str) -> String {
    format!("error parsing regexp: {what}: `{part}`")
}

impl<'a> Translator<'a> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(c) = self.rest.chars().next() {
            let after = &self.rest[c.len_utf8()..];
            match c {
                '(' => self.open()?,
                ')' => {
                    if self.groups == 0 {
                        return Err(problem("unexpected )", self.pattern));
                    }
                    self.groups -= 1;
                    self.push_atom(")", after);
                }
                '|' => {
                    self.out.push('|');
                    self.atom = false;
                    self.repeat = None;
                    self.rest = after;
                }
                '^' | '$' => self.push_atom(if c == '^' { "^" } else { "$" }, after),
                '[' => self.class()?,
                '*' | '+' | '?' => self.repetition(1)?,
                '{' => match counts(self.rest) {
                    Some((len, low, high)) => {
                        if low > MAX_REPEAT || high.is_some_and(|high| high > MAX_REPEAT || high < low) {
                            return Err(problem("invalid repeat count", &self.rest[..len]));
                        }
                        self.repetition(len)?;
                    }
                    None => self.push_atom("\\{", after),
                },
                '\\' => self.escape()?,
                '.' => self.push_atom(".", after),
                c => {
                    let literal = literal(c);
                    self.push_atom(&literal, after);
                }
            }
        }
        if self.groups > 0 {
            return Err(problem("missing closing )", self.pattern));
        }
        Ok(())
    }

    fn push_atom(&mut self, text: &str, after: &'a str) {
        self.out.push_str(text);
        self.rest = after;
        self.atom = true;
        self.repeat = None;
    }

    fn repetition(&mut self, len: usize) -> Result<(), String> {
        let lazy = self.rest[len..].starts_with('?');
        let whole = &self.rest[..len + usize::from(lazy)];
        if let Some(before) = self.repeat {
            let start = self.pattern.len() - self.rest.len() - before.len();
            return Err(problem(
                "invalid nested repetition operator",
                &self.pattern[start..start + before.len() + whole.len()],
            ));
        }
        if !self.atom {
            return Err(problem("missing argument to repetition operator", whole));
        }
        self.out.push_str(whole);
        self.rest = &self.rest[whole.len()..];
        self.repeat = Some(whole);
        Ok(())
    }

    fn open(&mut self) -> Result<(), String> {
        self.groups += 1;
        let Some(inner) = self.rest.strip_prefix("(?") else {
            self.begin_group("(", &self.rest[1..]);
            return Ok(());
        };
        for start in ["P<", "<"] {
            let Some(named) = inner.strip_prefix(start) else {
                continue;
            };
            let Some(end) = named.find('>') else {
                return Err(problem("invalid named capture", self.rest));
            };
            let name = &named[..end];
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(problem(
                    "invalid named capture",
                    &self.rest[..self.rest.len() - named.len() + end + 1],
                ));
            }
            // The other library wants names to begin with a letter.
            if name.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(format!(
                    "error parsing regexp: capture name `{name}` begins with a digit, which is not supported"
                ));
            }
            self.begin_group(&format!("(?P<{name}>"), &named[end + 1..]);
            return Ok(());
        }
        let unsupported = |end: usize| problem("invalid or unsupported Perl syntax", &self.rest[..end]);
        let mut negative = false;
        let mut end = None;
        for (at, c) in inner.char_indices() {
            match c {
                ':' | ')' if !inner[..at].ends_with('-') => {
                    end = Some(at);
                    break;
                }
                'i' | 'm' | 's' | 'U' => {}
                '-' if !negative => negative = true,
                // Up to and with the character that is wrong.
                c => return Err(unsupported(2 + at + c.len_utf8())),
            }
        }
        let end = end.ok_or_else(|| unsupported(self.rest.len()))?;
        let flags = &inner[..end];
        let closes = inner[end..].starts_with(')');
        let after = &inner[end + 1..];
        if closes {
            self.groups -= 1;
            if !flags.is_empty() {
                self.out.push_str(&format!("(?{flags})"));
            }
            self.rest = after;
            // Flags are nothing to repeat, but do not end what stands before.
            self.repeat = None;
        } else {
            self.begin_group(&format!("(?{flags}:"), after);
        }
        Ok(())
    }

    fn begin_group(&mut self, text: &str, after: &'a str) {
        self.out.push_str(text);
        self.rest = after;
        self.atom = false;
        self.repeat = None;
    }

    fn escape(&mut self) -> Result<(), String> {
        let rest = self.rest;
        if let Some(quoted) = rest.strip_prefix("\\Q") {
            let end = quoted.find("\\E");
            let inner = &quoted[..end.unwrap_or(quoted.len())];
            let after = end.map_or("", |end| &quoted[end + 2..]);
            let text: String = inner.chars().map(literal).collect();
            if inner.is_empty() {
                self.rest = after;
            } else {
                self.push_atom(&text, after);
            }
            return Ok(());
        }
        let Some(c) = rest[1..].chars().next() else {
            return Err("error parsing regexp: trailing backslash at end of expression: ``".to_owned());
        };
        let plain = match c {
            'A' => Some("\\A"),
            'z' => Some("\\z"),
            'b' => Some("(?-u:\\b)"),
            'B' => Some("(?-u:\\B)"),
            'C' => return Err("error parsing regexp: `\\C` (one byte) is not supported".to_owned()),
            _ => None,
        };
        if let Some(text) = plain {
            self.push_atom(text, &rest[2..]);
            return Ok(());
        }
        let (text, len) = class_escape(rest)?;
        let text = if text.is_class {
            format!("[{}]", text.text)
        } else {
            text.text
        };
        self.push_atom(&text, &rest[len..]);
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        let missing = |rest: &str| problem("missing closing ]", rest);
        let whole = self.rest;
        let mut rest = &whole[1..];
        let mut out = String::from("[");
        if let Some(after) = rest.strip_prefix('^') {
            out.push('^');
            rest = after;
        }
        let mut first = true;
        loop {
            let Some(c) = rest.chars().next() else {
                return Err(missing(whole));
            };
            if c == ']' && !first {
                rest = &rest[1..];
                break;
            }
            first = false;
            if rest.starts_with("[:")
                && let Some(end) = rest[2..].find(":]")
            {
                let name = &rest[..end + 4];
                let inner = rest[2..2 + end].trim_start_matches('^');
                if !POSIX.contains(&inner) {
                    return Err(problem("invalid character class range", name));
                }
                out.push_str(name);
                rest = &rest[name.len()..];
                continue;
            }
            let (low, len) = class_item(rest, whole)?;
            if low.is_class {
                out.push_str(&low.text);
                rest = &rest[len..];
                continue;
            }
            let after = &rest[len..];
            if after.starts_with('-') && after.len() > 1 && !after.starts_with("-]") {
                let (high, high_len) = class_item(&after[1..], whole)?;
                let range = &rest[..len + 1 + high_len];
                if high.is_class {
                    return Err(problem("invalid escape sequence", after[1..].get(..2).unwrap_or(after)));
                }
                if high.code < low.code {
                    return Err(problem("invalid character class range", range));
                }
                out.push_str(&format!("{}-{}", low.text, high.text));
                rest = &rest[range.len()..];
            } else {
                out.push_str(&low.text);
                rest = after;
            }
        }
        out.push(']');
        self.push_atom(&out, rest);
        Ok(())
    }
}

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// One character or one class, written for the other library.
struct Item {
    text: String,
    is_class: bool,
    code: u32,
}

impl Item {
    fn char(c: char) -> Self {
        Self {
            text: literal(c),
            is_class: false,
            code: c.into(),
        }
    }

    fn class(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_class: true,
            code: 0,
        }
    }
}

fn class_item(text: &str, whole: &str) -> Result<(Item, usize), String> {
    if text.starts_with('\\') {
        return class_escape(text);
    }
    let c = text.chars().next().ok_or_else(|| problem("missing closing ]", whole))?;
    Ok((Item::char(c), c.len_utf8()))
}

/// An escape that means the same within and outside of a class; and its length.
fn class_escape(text: &str) -> Result<(Item, usize), String> {
    let mut chars = text.chars().skip(1);
    let Some(c) = chars.next() else {
        return Err("error parsing regexp: trailing backslash at end of expression: ``".to_owned());
    };
    let invalid = |len: usize| problem("invalid escape sequence", text.get(..len).unwrap_or(text));
    Ok(match c {
        'd' => (Item::class("0-9"), 2),
        'D' => (Item::class("[^0-9]"), 2),
        'w' => (Item::class("0-9A-Za-z_"), 2),
        'W' => (Item::class("[^0-9A-Za-z_]"), 2),
        's' => (Item::class("\\t\\n\\x0C\\r "), 2),
        'S' => (Item::class("[^\\t\\n\\x0C\\r ]"), 2),
        'a' => (Item::char('\x07'), 2),
        'f' => (Item::char('\x0c'), 2),
        'n' => (Item::char('\n'), 2),
        'r' => (Item::char('\r'), 2),
        't' => (Item::char('\t'), 2),
        'v' => (Item::char('\x0b'), 2),
        'p' | 'P' => {
            let rest = &text[2..];
            let (name, len) = if let Some(braced) = rest.strip_prefix('{') {
                let end = braced
                    .find('}')
                    .ok_or_else(|| problem("invalid character class range", text))?;
                (&braced[..end], end + 4)
            } else {
                let letter = rest
                    .chars()
                    .next()
                    .ok_or_else(|| problem("invalid character class range", text))?;
                (&rest[..letter.len_utf8()], 2 + letter.len_utf8())
            };
            let (name, negated) = name.strip_prefix('^').map_or((name, c == 'P'), |name| (name, c == 'p'));
            if name == "Any" {
                let all = if negated {
                    "[^\\x{0}-\\x{10FFFF}]"
                } else {
                    "\\x{0}-\\x{10FFFF}"
                };
                return Ok((Item::class(all), len));
            }
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(problem("invalid character class range", &text[..len]));
            }
            let class = format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' });
            if regex::Regex::new(&class).is_err() {
                return Err(problem("invalid character class range", &text[..len]));
            }
            (Item::class(class), len)
        }
        'x' => {
            let rest = &text[2..];
            let (digits, len) = if let Some(braced) = rest.strip_prefix('{') {
                let end = braced.find('}').ok_or_else(|| invalid(2))?;
                (&braced[..end], end + 4)
            } else {
                (rest.get(..2).ok_or_else(|| invalid(text.len()))?, 4)
            };
            let code = u32::from_str_radix(digits, 16)
                .ok()
                .filter(|_| !digits.starts_with('+'));
            let c = code.and_then(char::from_u32).ok_or_else(|| invalid(len))?;
            (Item::char(c), len)
        }
        '0'..='7' => {
            // One digit other than 0 would be a reference to a group, which there are none of.
            let digits = text[1..]
                .bytes()
                .take(3)
                .take_while(|byte| (b'0'..=b'7').contains(byte))
                .count();
            if c != '0' && digits == 1 {
                return Err(invalid(2));
            }
            let code = u32::from_str_radix(&text[1..=digits], 8).unwrap_or_default();
            (Item::char(char::from_u32(code).unwrap_or_default()), 1 + digits)
        }
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => (Item::char(c), 2),
        c => return Err(invalid(1 + c.len_utf8())),
    })
}

/// A character that means itself, in and outside of classes.
fn literal(c: char) -> String {
    match c {
        c if c.is_ascii_punctuation()
            && !matches!(
                c,
                '<' | '>' | '_' | '/' | '"' | '\'' | '%' | ',' | ':' | ';' | '=' | '@' | '`' | '!'
            ) =>
        {
            format!("\\{c}")
        }
        c if c.is_ascii_control() => format!("\\x{:02X}", u32::from(c)),
        c => c.to_string(),
    }
}

/// `{2}`, `{2,}`, `{2,5}`: the length, the least and the greatest count.
fn counts(text: &str) -> Option<(usize, u32, Option<u32>)> {
    let end = text.find('}')?;
    let inner = &text[1..end];
    let number = |digits: &str| {
        let proper = !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && (digits.len() == 1 || !digits.starts_with('0'));
        proper.then(|| digits.parse().unwrap_or(u32::MAX))
    };
    match inner.split_once(',') {
        None => number(inner).map(|n| (end + 1, n, Some(n))),
        Some((low, "")) => number(low).map(|low| (end + 1, low, None)),
        Some((low, high)) => Some((end + 1, number(low)?, Some(number(high)?))),
    }
}
