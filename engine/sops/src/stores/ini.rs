//! Sections of `name = value`, as `gopkg.in/ini.v1` reads and writes them for SOPS.
//!
//! A comment belongs to the key below it and stands behind that key in the tree; that of a section stands first in it.

use std::collections::HashMap;

use super::{StoreError, plain_text};
use crate::value::{Branch, Item, Value};

const DEFAULT: &str = "DEFAULT";
const DELIMITERS: [char; 2] = ['=', ':'];

/// Sections in order, the one without a header first.
pub(super) fn read(text: &str) -> Result<Branch, StoreError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        lines: text.split_inclusive('\n').enumerate(),
        comment: String::new(),
        line: 0,
    };
    let mut sections = vec![Section::new(DEFAULT, String::new())];
    let mut counter = 1;
    while let Some(line) = reader.next_line() {
        let line = line.trim_start();
        if line.is_empty() {
            continue;
        }
        if line.starts_with(['#', ';']) {
            reader.comment.push_str(line);
        } else if let Some(rest) = line.strip_prefix('[') {
            let Some(end) = rest.rfind(']') else {
                return Err(reader.error("the section has no closing bracket"));
            };
            if rest[..end].is_empty() {
                return Err(reader.error("the section has no name"));
            }
            if let Some(start) = rest[end + 1..].find(['#', ';']) {
                reader.comment.push_str(&rest[end + 1 + start..]);
            }
            counter = 1;
            sections.push(Section::new(&rest[..end], reader.take_comment()));
        } else {
            let (name, rest) = reader.name(line)?;
            let mut name = name.to_owned();
            if name == "-" {
                name = format!("#{counter}");
                counter += 1;
            }
            let value = reader.value(rest)?;
            let comment = reader.take_comment();
            let key = sections.last_mut().expect("there is always one").key(&name);
            (key.value, key.comment) = (value, comment);
        }
    }
    Ok(sections.into_iter().map(Section::into_item).collect())
}

struct Section {
    name: String,
    comment: String,
    keys: Vec<Key>,
    /// Where each name stands among the keys.
    places: HashMap<String, usize>,
}

struct Key {
    name: String,
    value: String,
    comment: String,
}

impl Section {
    fn new(name: &str, comment: String) -> Section {
        Section {
            name: name.to_owned(),
            comment,
            keys: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// The key of a name; a new one is added.
    fn key(&mut self, name: &str) -> &mut Key {
        let next = self.keys.len();
        let place = *self.places.entry(name.to_owned()).or_insert(next);
        if place == next {
            self.keys.push(Key {
                name: name.to_owned(),
                value: String::new(),
                comment: String::new(),
            });
        }
        &mut self.keys[place]
    }

    fn into_item(self) -> Item {
        let comment = |text: &str| (!text.is_empty()).then(|| Item::Comment(without_mark(text).as_bytes().to_vec()));
        let mut items: Branch = comment(&self.comment).into_iter().collect();
        for key in self.keys {
            items.push(Item::Entry(key.name, Value::text(key.value)));
            items.extend(comment(&key.comment));
        }
        Item::Entry(self.name, Value::Map(items))
    }
}

fn without_mark(text: &str) -> &str {
    match text.as_bytes().first() {
        Some(b';') => text.trim_start_matches([';', ' ']),
        Some(b'#') => text.trim_start_matches(['#', ' ']),
        _ => text,
    }
}

struct Reader<'a> {
    lines: std::iter::Enumerate<std::str::SplitInclusive<'a, char>>,
    /// Comments since the last key.
    comment: String,
    line: usize,
}

impl<'a> Reader<'a> {
    fn next_line(&mut self) -> Option<&'a str> {
        let (place, line) = self.lines.next()?;
        self.line = place + 1;
        Some(line)
    }

    fn error(&self, problem: &str) -> StoreError {
        StoreError::new(self.line, problem)
    }

    fn take_comment(&mut self) -> String {
        std::mem::take(&mut self.comment).trim().to_owned()
    }

    fn name<'b>(&self, line: &'b str) -> Result<(&'b str, &'b str), StoreError> {
        let quote = if line.len() > 6 && line.starts_with("\"\"\"") {
            "\"\"\""
        } else if line.starts_with('"') {
            "\""
        } else if line.starts_with('`') {
            "`"
        } else {
            ""
        };
        let none = || self.error("there is no = in the line");
        if quote.is_empty() {
            let end = line.find(DELIMITERS).ok_or_else(none)?;
            if end == 0 {
                return Err(self.error("there is no name before the ="));
            }
            return Ok((line[..end].trim(), &line[end + 1..]));
        }
        let inner = &line[quote.len()..];
        let end = inner
            .find(quote)
            .ok_or_else(|| self.error("the name has no closing quote"))?;
        let behind = &inner[end + quote.len()..];
        let delimiter = behind.find(DELIMITERS).ok_or_else(none)?;
        Ok((inner[..end].trim(), &behind[delimiter + 1..]))
    }

    fn value(&mut self, text: &str) -> Result<String, StoreError> {
        let text = text.trim_start();
        if text.is_empty() {
            return Ok(String::new());
        }
        let quote = if text.len() > 3 && text.starts_with("\"\"\"") {
            "\"\"\""
        } else if text.starts_with('`') {
            "`"
        } else {
            ""
        };
        if !quote.is_empty() {
            let inner = &text[quote.len()..];
            return match inner.rfind(quote) {
                Some(end) => Ok(inner[..end].to_owned()),
                None => self.lines_until(quote, inner),
            };
        }
        let mut text = text.trim().to_owned();
        if text.ends_with('\\') {
            text.pop();
            return Ok(self.continued(text));
        }
        if let Some(start) = text.find(['#', ';']) {
            self.comment.push_str(&text[start..]);
            text.truncate(start);
            text.truncate(text.trim_end().len());
        }
        let surrounded =
            |quote: char| text.len() >= 2 && text.starts_with(quote) && text[1..].find(quote) == Some(text.len() - 2);
        if surrounded('\'') || surrounded('"') {
            text = text[1..text.len() - 1].to_owned();
        }
        Ok(text)
    }

    fn lines_until(&mut self, quote: &str, first: &str) -> Result<String, StoreError> {
        let mut value = first.to_owned();
        while let Some(line) = self.next_line() {
            if let Some(end) = line.rfind(quote) {
                value.push_str(&line[..end]);
                if let Some(start) = line[end..].find(['#', ';']) {
                    self.comment.push_str(line[end + start..].trim());
                }
                return Ok(value);
            }
            value.push_str(line);
        }
        Err(self.error("the value has no closing quote"))
    }

    fn continued(&mut self, mut value: String) -> String {
        while let Some(line) = self.next_line() {
            let line = line.trim();
            if line.is_empty() {
                break;
            }
            value.push_str(line);
            if !value.ends_with('\\') {
                break;
            }
            value.pop();
        }
        value
    }
}

pub(super) fn write(branches: &[Branch]) -> Result<Vec<u8>, String> {
    let mut sections = Vec::new();
    for item in branches.iter().flatten() {
        let Item::Entry(name, value) = item else { continue };
        let Value::Map(items) = value else {
            return Err(format!("{name} is {}, but a section is needed", value.type_name()));
        };
        let comment = match items.first() {
            Some(Item::Comment(comment)) => String::from_utf8_lossy(comment).into_owned(),
            _ => String::new(),
        };
        let mut section = Section::new(name, comment);
        let skip = usize::from(!section.comment.is_empty() || matches!(items.first(), Some(Item::Comment(_))));
        let mut last = None;
        for item in &items[skip..] {
            match item {
                Item::Comment(comment) => {
                    if let Some(key) = last {
                        section.key(key).comment = String::from_utf8_lossy(comment).into_owned();
                    }
                }
                Item::Entry(key, value) => {
                    let Some(text) = plain_text(value) else {
                        return Err(format!(
                            "{name}.{key} is {}, which a line cannot hold",
                            value.type_name()
                        ));
                    };
                    let Ok(value) = String::from_utf8(text) else {
                        return Err(format!("{name}.{key} is not UTF-8"));
                    };
                    section.key(key).value = value;
                    last = Some(key.as_str());
                }
            }
        }
        sections.push(section);
    }
    let mut out = String::new();
    for (place, section) in sections.iter().enumerate() {
        write_comment(&section.comment, &mut out);
        if place > 0 || !section.name.eq_ignore_ascii_case(DEFAULT) {
            out.push_str(&format!("[{}]\n", section.name));
        } else if section.keys.is_empty() {
            continue;
        }
        write_keys(&section.keys, &mut out);
        if place + 1 < sections.len() {
            out.push('\n');
        }
    }
    Ok(out.into_bytes())
}

fn write_keys(keys: &[Key], out: &mut String) {
    let names: Vec<String> = keys
        .iter()
        .map(|key| {
            if key.name.contains('"') || key.name.contains(DELIMITERS) {
                format!("`{}`", key.name)
            } else if key.name.contains('`') {
                format!("\"\"\"{}\"\"\"", key.name)
            } else {
                key.name.clone()
            }
        })
        .collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    for (key, name) in keys.iter().zip(names) {
        write_comment(&key.comment, out);
        let value = &key.value;
        let quoted = if value.contains(['\n', '`']) {
            format!("\"\"\"{value}\"\"\"")
        } else if value.contains(['#', ';']) {
            format!("`{value}`")
        } else if value.trim().len() != value.len() {
            format!("\"{value}\"")
        } else {
            value.clone()
        };
        let space = " ".repeat(width - name.len());
        out.push_str(&format!("{name}{space} = {quoted}\n"));
    }
}

fn write_comment(comment: &str, out: &mut String) {
    if comment.is_empty() {
        return;
    }
    for line in comment.split('\n') {
        match line.chars().next() {
            Some(mark @ ('#' | ';')) => out.push_str(&format!("{mark} {}\n", line[1..].trim())),
            _ => out.push_str(&format!("; {}\n", line.trim())),
        }
    }
}
