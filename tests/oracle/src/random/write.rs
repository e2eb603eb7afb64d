//! YAML with every liberty that the language gives.

use super::Choices;

/// A document under construction. Scalars are YAML already.
#[derive(Debug, Clone)]
pub(super) enum Y {
    /// A scalar on one line, as it is written.
    S(String),
    /// A block scalar: its header, such as `|-`, and its lines.
    B(&'static str, Vec<String>),
    M(Vec<(String, Y)>),
    L(Vec<Y>),
}

/// A scalar as it is written.
pub(super) fn s(text: impl Into<String>) -> Y {
    Y::S(text.into())
}

/// A map.
pub(super) fn m<K: Into<String>>(entries: impl IntoIterator<Item = (K, Y)>) -> Y {
    Y::M(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

/// A list.
pub(super) fn l(items: impl IntoIterator<Item = Y>) -> Y {
    Y::L(items.into_iter().collect())
}

/// Maps inside maps: `nest(["a", "b"], x)` is `{a: {b: x}}`.
pub(super) fn nest<const N: usize>(path: [&str; N], inner: Y) -> Y {
    path.iter().rev().fold(inner, |inner, key| m([(*key, inner)]))
}

impl Y {
    /// Adds a field to a map.
    pub(super) fn with(mut self, key: &str, value: Option<Y>) -> Y {
        if let (Y::M(entries), Some(value)) = (&mut self, value) {
            entries.push((key.to_owned(), value));
        }
        self
    }

    /// The text of a document, ended by a line break.
    pub(super) fn write(&self, c: &mut Choices<'_>) -> String {
        let mut out = String::new();
        if c.chance(5) {
            out.push_str("# a comment at the top\n");
        }
        self.block(0, c, &mut out);
        out
    }

    fn block(&self, indent: usize, c: &mut Choices<'_>, out: &mut String) {
        let pad = " ".repeat(indent);
        match self {
            Y::M(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    if c.chance(2) {
                        out.push_str(&format!("{pad}# about {key}\n"));
                    }
                    out.push_str(&format!("{pad}{key}:"));
                    value.behind_key(indent, c, out);
                }
            }
            Y::L(items) if !items.is_empty() => {
                for item in items {
                    out.push_str(&pad);
                    out.push('-');
                    item.behind_dash(indent, c, out);
                }
            }
            other => {
                out.push_str(&pad);
                out.push_str(&other.flow());
                out.push('\n');
            }
        }
    }

    fn behind_key(&self, indent: usize, c: &mut Choices<'_>, out: &mut String) {
        match self {
            Y::B(header, lines) => {
                out.push_str(&format!(" {header}\n"));
                for line in lines {
                    if !line.is_empty() {
                        out.push_str(&" ".repeat(indent + 2));
                        out.push_str(line);
                    }
                    out.push('\n');
                }
            }
            Y::M(entries) if !(entries.is_empty() || self.is_flat() && c.chance(10)) => {
                out.push_str(if c.chance(2) { " # map\n" } else { "\n" });
                self.block(indent + 2, c, out);
            }
            Y::L(items) if !(items.is_empty() || self.is_flat() && c.chance(10)) => {
                out.push('\n');
                self.block(indent + if c.chance(30) { 2 } else { 0 }, c, out);
            }
            other => {
                let text = other.flow();
                if !text.is_empty() {
                    out.push(' ');
                    out.push_str(&text);
                }
                out.push_str(if c.chance(3) { " # comment\n" } else { "\n" });
            }
        }
    }

    fn behind_dash(&self, indent: usize, c: &mut Choices<'_>, out: &mut String) {
        match self {
            Y::M(entries) if !(entries.is_empty() || self.is_flat() && c.chance(10)) => {
                let mut text = String::new();
                self.block(indent + 2, c, &mut text);
                if text.trim_start().starts_with('#') {
                    out.push('\n');
                    out.push_str(&text);
                } else {
                    out.push(' ');
                    out.push_str(text.trim_start());
                }
            }
            Y::B(..) => self.behind_key(indent, c, out),
            other => {
                out.push(' ');
                out.push_str(&other.flow());
                out.push('\n');
            }
        }
    }

    /// Whether it can stand in flow style.
    fn is_flat(&self) -> bool {
        match self {
            Y::S(text) => {
                let indicators = [',', '[', ']', '{', '}', '#', '*', '&'];
                !text.is_empty() && !text.ends_with(':') && !text.contains(indicators)
            }
            Y::B(..) => false,
            Y::M(entries) => entries
                .iter()
                .all(|(key, value)| value.is_flat() && !key.contains([',', '[', '{'])),
            Y::L(items) => items.iter().all(Y::is_flat),
        }
    }

    fn flow(&self) -> String {
        match self {
            Y::S(text) => text.clone(),
            Y::B(_, lines) => format!("{:?}", lines.join("\n")),
            Y::M(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{key}: {}", value.flow()))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
            Y::L(items) => {
                let items: Vec<String> = items.iter().map(Y::flow).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }
}
