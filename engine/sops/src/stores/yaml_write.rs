//! A tree as the YAML that SOPS writes: go-yaml 3 with indentation 4, without folding, with comments.
//!
//! The steps and their flags follow libyaml's emitter with what go-yaml added to it, because the places of comments
//! and blank lines depend on them: comments are left in slots for whatever step writes next.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nave_object::yaml::{Dialect, Tag, format_float, resolve};

use crate::value::{Branch, Item, Value};

const STEP: usize = 4;
/// Longer keys are written `? key`.
const SIMPLE_KEY: usize = 128;

/// All documents, `---` between them.
///
/// The error names what YAML cannot hold.
pub(super) fn write(branches: &[Branch]) -> Result<String, String> {
    let mut writer = Writer {
        out: String::new(),
        column: 0,
        indent: None,
        whitespace: true,
        indention: true,
        foot_indent: None,
        head: Vec::new(),
        foot: Vec::new(),
        tail: Vec::new(),
    };
    for (place, branch) in branches.iter().enumerate() {
        if place > 0 {
            writer.write_indent();
            writer.indicator("---", true, false, false);
            writer.write_indent();
        }
        let root = map_node(branch)?;
        writer.start(&root);
        writer.write_head();
        writer.write_foot();
        writer.contents(&root, Parent::Root);
        writer.foot_indent = Some(0);
        writer.write_foot();
        writer.foot_indent = None;
        writer.write_indent();
    }
    Ok(writer.out)
}

/// A node with its comments, each line with its `#`.
struct Node {
    kind: Kind,
    head: Vec<String>,
    foot: Vec<String>,
}

enum Kind {
    Scalar(Text),
    Seq(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

struct Text {
    text: String,
    style: Style,
    tag: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

fn node(kind: Kind) -> Node {
    Node {
        kind,
        head: Vec::new(),
        foot: Vec::new(),
    }
}

fn comment(text: &[u8]) -> String {
    format!("#{}", String::from_utf8_lossy(text))
}

/// Comments above the first entry are the map's, later ones those of the key below, and the last ones foots.
fn map_node(branch: &[Item]) -> Result<Node, String> {
    let (mut head, mut above) = (Vec::new(), Vec::new());
    let mut entries: Vec<(Node, Node)> = Vec::new();
    for item in branch {
        match item {
            Item::Comment(text) => above.push(comment(text)),
            Item::Entry(name, value) => {
                if entries.is_empty() {
                    head = std::mem::take(&mut above);
                }
                let mut key = node(Kind::Scalar(text(name)));
                key.head = std::mem::take(&mut above);
                let value = value_node(value).map_err(|problem| format!("{name}: {problem}"))?;
                entries.push((key, value));
            }
        }
    }
    match entries.last_mut() {
        Some((key, _)) => key.foot = above,
        None => head = above,
    }
    let kind = Kind::Map(entries);
    Ok(Node { head, ..node(kind) })
}

fn value_node(value: &Value) -> Result<Node, String> {
    let plain = |text: String| {
        node(Kind::Scalar(Text {
            text,
            style: Style::Plain,
            tag: "",
        }))
    };
    Ok(match value {
        Value::Null => plain("null".to_owned()),
        Value::Bool(flag) => plain(flag.to_string()),
        Value::Int(number) => plain(number.to_string()),
        Value::Float(number) if number.is_nan() => plain(".nan".to_owned()),
        Value::Float(number) if number.is_infinite() => plain(if *number > 0.0 { ".inf" } else { "-.inf" }.to_owned()),
        Value::Float(number) => plain(format_float(*number)),
        Value::Time(text) => plain(text.clone()),
        Value::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(value) => node(Kind::Scalar(text(value))),
            Err(_) => node(Kind::Scalar(binary(bytes))),
        },
        Value::Comment(_) => return Err("a comment stands in place of a value".to_owned()),
        Value::Map(branch) => map_node(branch)?,
        Value::List(items) => {
            let (mut head, mut above) = (Vec::new(), Vec::new());
            let mut nodes: Vec<Node> = Vec::new();
            for (place, item) in items.iter().enumerate() {
                if let Value::Comment(text) = item {
                    above.push(comment(text));
                    continue;
                }
                if nodes.is_empty() {
                    head = std::mem::take(&mut above);
                }
                let mut node = value_node(item).map_err(|problem| format!("[{place}]: {problem}"))?;
                above.append(&mut node.head);
                node.head = std::mem::take(&mut above);
                nodes.push(node);
            }
            match nodes.last_mut() {
                Some(last) => last.foot = above,
                None => head = above,
            }
            Node {
                head,
                ..node(Kind::Seq(nodes))
            }
        }
    })
}

/// A text in the style that go-yaml gives it.
fn text(value: &str) -> Text {
    if value == "<<" {
        // Nobody would write it so; go-yaml knows the sign for merging by its tag alone.
        return Text {
            text: value.to_owned(),
            style: Style::Plain,
            tag: "!!merge",
        };
    }
    let is_text = resolve(value, Dialect::Kyaml) == Tag::Str;
    let analysis = analyze(value);
    let style = if value.contains('\n') {
        if analysis.block { Style::Literal } else { Style::Double }
    } else if !is_text || is_old_bool(value) || is_base_60(value) {
        Style::Double
    } else if analysis.plain {
        Style::Plain
    } else if analysis.single {
        Style::Single
    } else {
        Style::Double
    };
    Text {
        text: value.to_owned(),
        style,
        tag: "",
    }
}

/// What is not UTF-8, in lines of 70 characters.
fn binary(bytes: &[u8]) -> Text {
    let encoded = STANDARD.encode(bytes);
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(70)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    Text {
        style: if lines.len() > 1 { Style::Literal } else { Style::Plain },
        text: match lines.len() {
            0 | 1 => encoded,
            _ => lines.join("\n") + "\n",
        },
        tag: "!!binary",
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Parent {
    Root,
    Map,
    Seq,
}

struct Writer {
    out: String,
    column: usize,
    /// `None` before the first collection.
    indent: Option<usize>,
    whitespace: bool,
    indention: bool,
    /// A foot was written at this indentation, and a blank line has to follow there.
    foot_indent: Option<usize>,
    head: Vec<String>,
    foot: Vec<String>,
    tail: Vec<String>,
}

impl Writer {
    /// Leaves the head of a node for the next step that writes heads.
    fn start(&mut self, node: &Node) {
        if !node.head.is_empty() {
            self.head = node.head.clone();
        }
        if matches!(node.kind, Kind::Scalar(_)) && !node.foot.is_empty() {
            self.foot = node.foot.clone();
        }
    }

    fn leave_foot(&mut self, foot: &[String]) {
        if !foot.is_empty() {
            self.foot = foot.to_vec();
        }
    }

    fn deeper(&self, parent: Parent, flow: bool) -> Option<usize> {
        Some(match self.indent {
            None if flow => STEP,
            None => 0,
            Some(indent) if parent == Parent::Seq => indent + 2,
            Some(indent) => (indent + STEP) / STEP * STEP,
        })
    }

    /// What stands in a list or map; nothing for a scalar, which `scalar` has written.
    fn contents(&mut self, node: &Node, parent: Parent) {
        let before = self.indent;
        match &node.kind {
            Kind::Scalar(_) => {}
            Kind::Map(entries) if entries.is_empty() => {
                self.indicator("{", true, true, false);
                self.indent = self.deeper(parent, true);
                self.leave_foot(&node.foot);
                self.write_head();
                self.indent = before;
                self.indicator("}", false, false, false);
                self.write_foot();
            }
            Kind::Seq(items) if items.is_empty() => {
                self.indicator("[", true, true, false);
                self.leave_foot(&node.foot);
                if self.column == 0 {
                    self.write_indent();
                }
                self.indicator("]", false, false, false);
                self.write_foot();
            }
            Kind::Map(entries) => {
                self.indent = self.deeper(parent, false);
                let mut tail: &[String] = &[];
                for (key, value) in entries {
                    if !tail.is_empty() {
                        self.tail = tail.to_vec();
                    }
                    if !key.head.is_empty() {
                        self.head = key.head.clone();
                    }
                    tail = &key.foot;
                    self.write_head();
                    self.write_indent();
                    let Kind::Scalar(name) = &key.kind else {
                        unreachable!("keys are texts");
                    };
                    if name.text.len() <= SIMPLE_KEY && !name.text.contains(is_break) {
                        self.scalar(name, Parent::Map, true);
                        self.indicator(":", false, false, false);
                    } else {
                        self.indicator("?", true, false, true);
                        self.scalar(name, Parent::Map, false);
                        self.write_indent();
                        self.indicator(":", true, false, true);
                    }
                    self.item(value, Parent::Map);
                }
                if !tail.is_empty() {
                    self.tail = tail.to_vec();
                }
                self.leave_foot(&node.foot);
                self.write_head();
                self.indent = before;
            }
            Kind::Seq(items) => {
                self.indent = self.deeper(parent, false);
                for item in items {
                    self.start(item);
                    self.write_head();
                    self.write_indent();
                    self.indicator("-", true, false, true);
                    self.item_started(item, Parent::Seq);
                }
                self.leave_foot(&node.foot);
                self.indent = before;
            }
        }
    }

    fn item(&mut self, value: &Node, parent: Parent) {
        self.start(value);
        self.item_started(value, parent);
    }

    fn item_started(&mut self, value: &Node, parent: Parent) {
        if let Kind::Scalar(text) = &value.kind {
            self.scalar(text, parent, false);
        }
        self.write_foot();
        self.contents(value, parent);
    }

    fn scalar(&mut self, text: &Text, parent: Parent, key: bool) {
        let before = self.indent;
        self.indent = self.deeper(parent, true);
        if !text.tag.is_empty() {
            if !self.whitespace {
                self.put(' ');
            }
            self.raw(text.tag);
            self.whitespace = false;
            self.indention = false;
        }
        let style = match text.style {
            Style::Literal if key => Style::Double,
            style => style,
        };
        match style {
            Style::Plain => {
                if !text.text.is_empty() && !self.whitespace {
                    self.put(' ');
                }
                self.raw(&text.text);
                self.whitespace = false;
                self.indention = false;
            }
            Style::Single => self.single(&text.text),
            Style::Double => self.double(&text.text),
            Style::Literal => self.literal(&text.text),
        }
        self.indent = before;
    }

    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn raw(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn put_break(&mut self) {
        self.write_break('\n');
    }

    fn write_break(&mut self, c: char) {
        self.out.push(c);
        self.column = 0;
        self.indention = true;
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.put_break();
        }
        if self.foot_indent == Some(indent) {
            self.put_break();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.foot_indent = None;
    }

    fn indicator(&mut self, text: &str, needs_space: bool, is_space: bool, is_indention: bool) {
        if needs_space && !self.whitespace {
            self.put(' ');
        }
        self.raw(text);
        self.whitespace = is_space;
        self.indention = self.indention && is_indention;
    }

    fn write_head(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        if !tail.is_empty() {
            self.write_indent();
            self.comment(&tail);
            self.foot_indent = Some(self.indent.unwrap_or(0));
        }
        let head = std::mem::take(&mut self.head);
        if !head.is_empty() {
            self.write_indent();
            self.comment(&head);
        }
    }

    fn write_foot(&mut self) {
        let foot = std::mem::take(&mut self.foot);
        if !foot.is_empty() {
            self.write_indent();
            self.comment(&foot);
            self.foot_indent = Some(self.indent.unwrap_or(0));
        }
    }

    fn comment(&mut self, lines: &[String]) {
        for (place, line) in lines.iter().enumerate() {
            if place > 0 {
                self.put_break();
                self.write_indent();
            }
            self.raw(line);
            self.indention = false;
        }
        self.put_break();
        self.whitespace = true;
    }

    fn single(&mut self, text: &str) {
        self.indicator("'", true, false, false);
        let mut breaks = false;
        for c in text.chars() {
            if is_break(c) {
                if !breaks && c == '\n' {
                    self.put_break();
                }
                self.write_break(c);
                breaks = true;
                continue;
            }
            if breaks {
                self.write_indent();
            }
            if c == '\'' {
                self.put('\'');
            }
            self.put(c);
            self.indention = false;
            breaks = false;
        }
        self.indicator("'", false, false, false);
        self.indention = false;
    }

    fn double(&mut self, text: &str) {
        self.indicator("\"", true, false, false);
        // go-yaml takes every character of such a text for a byte order mark.
        let marked = text.starts_with('\u{feff}');
        for c in text.chars() {
            if marked || !is_printable(c) || is_break(c) || matches!(c, '"' | '\\') {
                self.escape(c);
            } else {
                self.put(c);
            }
        }
        self.indicator("\"", false, false, false);
        self.indention = false;
    }

    fn escape(&mut self, c: char) {
        let short = match c {
            '\0' => '0',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\r' => 'r',
            '\u{1b}' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{a0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => {
                let code = match u32::from(c) {
                    code @ 0..=0xFF => format!("\\x{code:02X}"),
                    code @ 0x100..=0xFFFF => format!("\\u{code:04X}"),
                    code => format!("\\U{code:08X}"),
                };
                return self.raw(&code);
            }
        };
        self.put('\\');
        self.put(short);
    }

    fn literal(&mut self, text: &str) {
        self.indicator("|", true, false, false);
        if text.starts_with(|c| c == ' ' || is_break(c)) {
            self.indicator(&STEP.to_string(), false, false, false);
        }
        let mut ends = text.chars().rev();
        let chomp = match (ends.next().is_some_and(is_break), ends.next()) {
            (false, _) => "-",
            (true, Some(c)) if !is_break(c) => "",
            (true, _) => "+",
        };
        if !chomp.is_empty() {
            self.indicator(chomp, false, false, false);
        }
        self.put_break();
        self.whitespace = true;
        let mut breaks = true;
        for c in text.chars() {
            if is_break(c) {
                self.write_break(c);
                breaks = true;
                continue;
            }
            if breaks {
                self.write_indent();
            }
            self.put(c);
            self.indention = false;
            breaks = false;
        }
    }
}

struct Analysis {
    plain: bool,
    single: bool,
    block: bool,
}

/// Which styles can hold a text.
fn analyze(text: &str) -> Analysis {
    if text.is_empty() {
        return Analysis {
            plain: true,
            single: true,
            block: false,
        };
    }
    let mut indicators = text.starts_with("---") || text.starts_with("...");
    let (mut breaks, mut special, mut tabs) = (false, false, false);
    let (mut edge, mut trailing_space) = (false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut previous_space, mut previous_break) = (false, false);
    let mut blank_before = true;
    let mut chars = text.char_indices().peekable();
    while let Some((place, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        let blank_after = next.is_none_or(|next| next == ' ' || next == '\t');
        indicators |= match c {
            ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => place == 0,
            '#' => blank_before,
            '?' | '-' => place == 0 && blank_after,
            ':' => blank_after,
            _ => false,
        };
        tabs |= c == '\t';
        special |= c != '\t' && !is_printable(c);
        let (is_space, is_break) = (c == ' ', is_break(c));
        if is_space || is_break {
            edge |= place == 0 || next.is_none();
            trailing_space |= is_space && next.is_none();
            break_space |= is_space && previous_break;
            space_break |= is_break && previous_space;
            breaks |= is_break;
        }
        previous_space = is_space;
        previous_break = is_break;
        blank_before = is_space || is_break || c == '\t' || c == '\0';
    }
    Analysis {
        plain: !(indicators || breaks || edge || break_space || space_break || special || tabs),
        single: !(break_space || space_break || special || tabs),
        block: !(trailing_space || space_break || special),
    }
}

/// What is written unescaped; go-yaml's table ends at 16 bits.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{fffd}') && c != '\u{feff}'
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_old_bool(text: &str) -> bool {
    matches!(
        text,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF"
    )
}

/// `1:30` and its like, which YAML 1.1 reads as numbers.
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let first = parts.next().unwrap_or_default();
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    if !first.starts_with(|c: char| c.is_ascii_digit()) || !digits(first) {
        return false;
    }
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else {
        return false;
    };
    let sixty = |text: &str| match text.as_bytes() {
        [a] => a.is_ascii_digit(),
        [a, b] => (b'0'..=b'5').contains(a) && b.is_ascii_digit(),
        _ => false,
    };
    let (last, fraction) = last.split_once('.').unwrap_or((last, ""));
    middle.iter().all(|part| sixty(part)) && sixty(last) && digits(fraction)
}
