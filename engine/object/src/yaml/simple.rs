//! The YAML that most manifests are, read in one pass: maps and lists in blocks, a scalar or a short flow collection on
//! one line, blocks of text.
//!
//! Whatever is rarer (anchors, tags, escapes, texts over several lines, other scripts than ASCII, anything that may be
//! wrong) is left to the parser: what is read here is always the same that the parser reads.

use std::sync::Arc;

use super::parse::{has_equal_keys, plain_scalar};
use super::{Dialect, Node, Scalar, SmolStr, Style, Tag};

/// Levels of lists and maps; deeper ones are left to the parser and its limits.
const MAX_DEPTH: usize = 64;
/// Letters of a key; the parser refuses keys of more than 1,024.
const MAX_KEY: usize = 512;

/// The documents of a text without the empty ones, `line` lines into its file. None when it is left to the parser.
pub(super) fn read(text: &str, dialect: Dialect, line: usize) -> Option<Vec<Node>> {
    if !text.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')) {
        return None;
    }
    let mut reader = Reader {
        text,
        next: 0,
        line,
        current: None,
        has_begun: false,
        dialect,
        depth: 0,
    };
    reader.advance()?;
    if reader.current.is_some_and(|at| at.column == 0 && at.rest == "---") {
        reader.advance()?;
    }
    let mut documents = Vec::new();
    if reader.current.is_some() {
        documents.push(reader.block()?);
    }
    reader.current.is_none().then_some(documents)
}

/// What is read next: the rest of a line, at a column from 0.
#[derive(Clone, Copy)]
struct At<'a> {
    rest: &'a str,
    column: usize,
    /// From 1.
    line: usize,
}

struct Reader<'a> {
    text: &'a str,
    /// Where the line behind the current one begins.
    next: usize,
    /// The number of the current line.
    line: usize,
    current: Option<At<'a>>,
    /// Something was said already, if only that a document begins.
    has_begun: bool,
    dialect: Dialect,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// The next line, without its break; blank lines and comments included.
    fn line(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.next..).filter(|rest| !rest.is_empty())?;
        let line = rest.split_once('\n').map_or(rest, |(line, _)| line);
        self.next += line.len() + 1;
        self.line += 1;
        Some(line)
    }

    /// Goes on to the next line that says something. None for one that may be a mark of the document.
    fn advance(&mut self) -> Option<()> {
        self.current = None;
        while let Some(line) = self.line() {
            let rest = line.trim_start_matches(' ');
            if rest.is_empty() || rest.starts_with('#') {
                continue;
            }
            let column = line.len() - rest.len();
            let is_mark = column == 0 && (rest.starts_with("---") || rest.starts_with("...") || rest.starts_with('%'));
            if is_mark && (self.has_begun || rest.trim_end_matches(' ') != "---") {
                return None;
            }
            self.has_begun = true;
            let (rest, line) = (rest.trim_end_matches(' '), self.line);
            self.current = Some(At { rest, column, line });
            break;
        }
        Some(())
    }

    /// A list or map that begins at the current place.
    fn block(&mut self) -> Option<Node> {
        let at = self.current?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let node = if is_item(at.rest) {
            self.list(at.column)
        } else {
            self.map(at.column)
        };
        self.depth -= 1;
        node
    }

    fn list(&mut self, column: usize) -> Option<Node> {
        let mut items = Vec::new();
        while let Some(at) = self.current {
            if at.column < column || at.column == column && !is_item(at.rest) {
                break;
            }
            if at.column > column {
                return None;
            }
            let inner = at.rest[1..].trim_start_matches(' ');
            let place = At {
                rest: inner,
                column: at.column + at.rest.len() - inner.len(),
                line: at.line,
            };
            if inner.is_empty() || inner.starts_with('#') {
                self.advance()?;
                // An item that is nothing is left to the parser.
                self.current.filter(|below| below.column > column)?;
                items.push(self.block()?);
            } else if is_item(inner) || key_of(inner).is_some() {
                self.current = Some(place);
                items.push(self.block()?);
            } else {
                items.push(self.value(place, column)?);
            }
        }
        Some(Node::seq(items))
    }

    fn map(&mut self, column: usize) -> Option<Node> {
        let mut entries = Vec::new();
        while let Some(at) = self.current {
            if at.column < column {
                break;
            }
            if at.column > column || is_item(at.rest) {
                return None;
            }
            let key = key_of(at.rest)?;
            let scalar = plain_scalar(key, self.dialect, at.line, at.column + 1);
            let value = at.rest[key.len() + 1..].trim_start_matches(' ');
            let node = if value.is_empty() || value.starts_with('#') {
                self.advance()?;
                match self.current {
                    Some(below) if below.column > column => self.block()?,
                    Some(below) if below.column == column && is_item(below.rest) => {
                        self.depth += 1;
                        let list = self.list(column);
                        self.depth -= 1;
                        list?
                    }
                    // Nothing stands where the colon does.
                    _ => Node::Scalar(plain_scalar("", self.dialect, at.line, at.column + key.len() + 1)),
                }
            } else {
                let place = At {
                    rest: value,
                    column: at.column + at.rest.len() - value.len(),
                    line: at.line,
                };
                self.value(place, column)?
            };
            entries.push((scalar, node));
        }
        (!has_equal_keys(&entries)).then(|| map_of(entries))
    }

    /// What stands on one line, or the block of text that begins there; then on to the next line, which must not belong
    /// to it. `column` is that of the list or map around it.
    fn value(&mut self, at: At<'a>, column: usize) -> Option<Node> {
        let node = match at.rest.as_bytes()[0] {
            b'|' => return self.literal(at, column),
            b'[' | b'{' => {
                let mut flow = Flow {
                    at,
                    place: 0,
                    dialect: self.dialect,
                };
                let node = flow.collection(self.depth)?;
                ends(&at.rest[flow.place..]).then_some(node)?
            }
            quote @ (b'"' | b'\'') => {
                let (text, length) = quoted(at.rest, quote)?;
                ends(&at.rest[length..]).then_some(())?;
                Node::Scalar(text_scalar(text, quote_style(quote), at.line, at.column))
            }
            _ => {
                let text = plain(at.rest)?;
                Node::Scalar(plain_scalar(text, self.dialect, at.line, at.column + 1))
            }
        };
        self.advance()?;
        self.current.is_none_or(|next| next.column <= column).then_some(node)
    }

    /// `|` or `|-`, and the lines below it that stand further right.
    fn literal(&mut self, at: At<'a>, column: usize) -> Option<Node> {
        let keeps_end = match at.rest {
            "|" => true,
            "|-" => false,
            _ => return None,
        };
        let mut text = String::new();
        let mut indent = None;
        let (mut blank, mut first) = (0, at.line);
        loop {
            let (before, number) = (self.next, self.line);
            let Some(line) = self.line() else { break };
            let content = line.trim_start_matches(' ');
            let spaces = line.len() - content.len();
            if content.is_empty() {
                // Spaces behind the indent are letters of the text, and before the first line they are a riddle.
                if indent.is_none_or(|indent| spaces > indent) {
                    return None;
                }
                blank += 1;
                continue;
            }
            if indent.is_none() {
                first = self.line;
            }
            let indent = *indent.get_or_insert(spaces);
            if indent <= column {
                return None;
            }
            if spaces < indent {
                if spaces > column || content.starts_with('#') {
                    return None;
                }
                (self.next, self.line) = (before, number);
                break;
            }
            if !text.is_empty() {
                text.push('\n');
            }
            text.extend(std::iter::repeat_n('\n', blank));
            blank = 0;
            text.push_str(&line[indent..]);
        }
        // How a block ends that the file ends in depends on the file's last line break.
        let indent = indent?;
        if self.next >= self.text.len() && !self.text.ends_with('\n') {
            return None;
        }
        if keeps_end {
            text.push('\n');
        }
        // The parser says that the text begins with its first letter, not with its mark.
        let node = Node::Scalar(text_scalar(&text, Style::Literal, first, indent));
        self.advance()?;
        self.current.is_none_or(|next| next.column <= column).then_some(node)
    }
}

/// `[…]` or `{…}` on one line.
struct Flow<'a> {
    at: At<'a>,
    /// Where in the line.
    place: usize,
    dialect: Dialect,
}

impl<'a> Flow<'a> {
    fn peek(&self) -> Option<u8> {
        self.at.rest.as_bytes().get(self.place).copied()
    }

    fn skip_spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.place += 1;
        }
    }

    fn collection(&mut self, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            return None;
        }
        let is_map = self.peek()? == b'{';
        let close = if is_map { b'}' } else { b']' };
        self.place += 1;
        let (mut entries, mut items) = (Vec::new(), Vec::new());
        self.skip_spaces();
        while self.peek()? != close {
            if is_map {
                let Node::Scalar(key) = self.scalar()? else { return None };
                if self.peek()? != b':' || self.at.rest.as_bytes().get(self.place + 1) != Some(&b' ') {
                    return None;
                }
                self.place += 1;
                self.skip_spaces();
                entries.push((key, self.node(depth)?));
            } else {
                items.push(self.node(depth)?);
            }
            self.skip_spaces();
            match self.peek()? {
                b',' => {
                    self.place += 1;
                    self.skip_spaces();
                    // A comma before the end, or two of them, is left to the parser.
                    if matches!(self.peek()?, b',' | b']' | b'}') {
                        return None;
                    }
                }
                end if end == close => {}
                _ => return None,
            }
        }
        self.place += 1;
        if is_map {
            (!has_equal_keys(&entries)).then(|| map_of(entries))
        } else {
            Some(Node::seq(items))
        }
    }

    fn node(&mut self, depth: usize) -> Option<Node> {
        match self.peek()? {
            b'[' | b'{' => self.collection(depth + 1),
            _ => self.scalar(),
        }
    }

    /// A quoted text, or letters that mean nothing in YAML.
    fn scalar(&mut self) -> Option<Node> {
        let (start, rest) = (self.place, &self.at.rest[self.place..]);
        let column = self.at.column + start;
        if let quote @ (b'"' | b'\'') = self.peek()? {
            let (text, length) = quoted(rest, quote)?;
            self.place += length;
            return Some(Node::Scalar(text_scalar(
                text,
                quote_style(quote),
                self.at.line,
                column,
            )));
        }
        let length = rest.bytes().take_while(|byte| is_letter(*byte)).count();
        let text = &rest[..length];
        is_plain_start(text.as_bytes()).then_some(())?;
        self.place += length;
        Some(Node::Scalar(plain_scalar(text, self.dialect, self.at.line, column + 1)))
    }
}

fn map_of(entries: Vec<(Scalar, Node)>) -> Node {
    Node::Map(Arc::new(entries.into_iter().collect()))
}

/// `- …`, or a dash alone.
fn is_item(rest: &str) -> bool {
    rest.strip_prefix('-')
        .is_some_and(|behind| behind.is_empty() || behind.starts_with(' '))
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/')
}

/// Whether a scalar without quotes may begin so.
fn is_plain_start(bytes: &[u8]) -> bool {
    match bytes {
        [b'-', next, ..] => next.is_ascii_alphanumeric() || *next == b'-',
        [first, ..] => first.is_ascii_alphanumeric() || matches!(first, b'_' | b'.' | b'/' | b'$' | b'(' | b'+' | b'^'),
        [] => false,
    }
}

/// The key without quotes that a line begins with, up to its colon.
fn key_of(rest: &str) -> Option<&str> {
    let length = rest.bytes().take_while(|byte| is_letter(*byte)).count();
    let is_key = is_plain_start(rest.as_bytes())
        && length <= MAX_KEY
        && rest.as_bytes().get(length) == Some(&b':')
        && rest.as_bytes().get(length + 1).is_none_or(|next| *next == b' ');
    is_key.then(|| &rest[..length])
}

/// The scalar without quotes that a line consists of, without the comment behind it.
fn plain(rest: &str) -> Option<&str> {
    if !is_plain_start(rest.as_bytes()) {
        return None;
    }
    let text = match rest.find(" #") {
        Some(comment) => rest[..comment].trim_end_matches(' '),
        None => rest,
    };
    (!text.contains(": ") && !text.ends_with(':')).then_some(text)
}

/// The text in quotes that a line begins with, and how long it is with them. Escapes are left to the parser.
fn quoted(rest: &str, quote: u8) -> Option<(&str, usize)> {
    let inner = &rest[1..];
    let length = inner
        .bytes()
        .position(|byte| byte == quote || byte == b'\\' && quote == b'"')?;
    let doubled = quote == b'\'' && inner.as_bytes().get(length + 1) == Some(&quote);
    (inner.as_bytes()[length] == quote && !doubled).then(|| (&inner[..length], length + 2))
}

/// Whether nothing but a comment follows.
fn ends(behind: &str) -> bool {
    let comment = behind.trim_start_matches(' ');
    comment.is_empty() || comment.len() < behind.len() && comment.starts_with('#')
}

fn quote_style(quote: u8) -> Style {
    if quote == b'"' { Style::Double } else { Style::Single }
}

fn text_scalar(text: &str, style: Style, line: usize, column: usize) -> Scalar {
    Scalar {
        text: SmolStr::new(text),
        tag: Tag::Str,
        style,
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column + 1).unwrap_or(u32::MAX),
        twin: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::read_by_parser;
    use super::*;

    /// Whether it was read here; then as the parser reads it.
    fn is_read(text: &str) -> bool {
        let mut is_read = false;
        for dialect in [Dialect::K8s, Dialect::Kyaml] {
            let Some(ours) = read(text, dialect, 7) else { continue };
            let mut theirs = Vec::new();
            let limit = if dialect == Dialect::Kyaml { 1 } else { usize::MAX };
            let outcome = read_by_parser(text, dialect, 7, limit, &mut theirs);
            assert!(outcome.is_ok(), "{text:?} is no YAML: {outcome:?}");
            assert_eq!(ours, theirs, "{text:?}");
            is_read = true;
        }
        is_read
    }

    #[test]
    fn manifests_are_read_here() {
        let deployment = "# of a chart\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web  # its name\n  labels: {app: web, tier: \"1\"}\n  annotations:\n    example.com/text: |\n      one\n        two\n\n      three\n\nspec:\n  replicas: 3\n  template:\n    spec:\n      containers:\n      - name: web\n        image: registry.example.com:5000/web:1.0\n        args: [\"--a=b\", '--c', d]\n        command:\n          - -x\n          - --listen=:8080\n          - 'it is'\n        env: []\n        resources: {limits: {cpu: 100m}}\n      -   name: side\n          data: |-\n            x\n  enabled: yes\n";
        assert!(is_read(deployment));
        assert!(is_read(&format!("\n# c\n---\n# d\n{deployment}")));
        for text in [
            "",
            "\n",
            "# only\n",
            "---\n",
            "a: b",
            "- a\n- b: c\n",
            "- - a\n  - b\n- c\n",
            "a:\n",
            "a:\n- b\n-   c: d\n    e: f\ng: 1.5",
        ] {
            assert!(is_read(text), "{text:?}");
        }
    }

    #[test]
    fn what_is_rare_or_wrong_is_left_to_the_parser() {
        for text in [
            "a: b: c\n",
            "a: b\n  c\n",
            "a: b\n  c: d\n",
            "a: &x b\n",
            "a: *x\n",
            "a: !!str 1\n",
            "a: \"b\\n\"\n",
            "a: 'it''s'\n",
            "a: >\n  b\n",
            "a: |+\n  b\n",
            "a: |2\n  b\n",
            "a: |\n  b\n c\n",
            "a: |\n\n  b\n",
            "a: [b\n]\n",
            "a: [b, ]\n",
            "a: {b}\n",
            "a: {b:c}\n",
            "- \n",
            "a: 1\na: 2\n",
            "{a: 1, a: 2}\n",
            "? a\n",
            "<<: a\n",
            "a: b\n---\nc: d\n",
            "a: b\n...\n",
            "a\n",
            "a: \tb\n",
            "a: b\r\n",
            "a: ü\n",
            "a: @b\n",
            "a: `b\n",
            "a: %b\n",
            "a:\n  b: c\n d: e\n",
            "a: \"b\" c\n",
            "a: \"b\"#c\n",
            "%YAML 1.2\n---\na: b\n",
            "--- a\n",
            "a: b:\n",
            "a: {b: c:}\n",
            "- a\n b: c\n",
            "a: |\n  b",
            "  a: b\nc: d\n",
            "- a\n- b\nc: d\n",
        ] {
            assert!(!is_read(text), "{text:?}");
        }
    }

    #[test]
    fn whatever_is_read_here_the_parser_reads_too() {
        const PIECES: [&str; 40] = [
            "\n",
            "\n",
            "\n",
            "\n  ",
            "\n  ",
            "\n    ",
            "\n ",
            "a: ",
            "b:",
            "c: d",
            "key: value",
            "- ",
            "- ",
            "-",
            "x",
            "1",
            "true",
            "~",
            ": ",
            ":",
            " ",
            " # c",
            "#",
            "\"q\"",
            "'s'",
            "\"",
            "'",
            "|",
            "|-",
            "{",
            "}",
            "[",
            "]",
            ", ",
            ",",
            "{a: b}",
            "[a, b]",
            "---\n",
            "\\",
            "--x=1",
        ];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % 1_000_003).unwrap_or_default() % below
        };
        let mut read = 0;
        for _ in 0..60_000 {
            let text: String = (0..=next(14)).map(|_| PIECES[next(PIECES.len())]).collect();
            read += usize::from(is_read(&text));
        }
        assert!(read > 500, "only {read} were read here");
    }
}
