//! Texts in `{}` and `[]` that end in a colon, such as `{image: nginx:, tag: 1}`.
//!
//! By YAML 1.2 the colon before the comma ends a key; Go's readers take it for a part of the text. The parser is
//! by the book, so such texts are put in quotes, and what is read is marked as not quoted again.

/// Texts that end in a colon, by where they stand.
#[derive(Debug, Default)]
pub(super) struct Colons {
    /// Start and end of each in the text as it is, the colon included; sorted.
    found: Vec<(usize, usize)>,
    /// Those found since the text was last rewritten, where they stand there.
    fresh: Vec<(usize, usize)>,
    /// Where each of `found` starts in the rewritten text.
    quoted: Vec<usize>,
}

impl Colons {
    /// Looks at the scalar without quotes that starts at a place of the text being read, and ends, by the book, at
    /// another; where that is not known, it is what the parser failed at.
    pub fn look(&mut self, text: &str, start: usize, end: Option<usize>) {
        // In a block, commas and brackets are letters, and no scalar ends before a colon and a comma.
        let bytes = text.as_bytes();
        let is_cut =
            |end| bytes.get(end) == Some(&b':') && matches!(bytes.get(end + 1), Some(b',' | b'[' | b']' | b'{' | b'}'));
        if end.is_some_and(|end: usize| !is_cut(end)) {
            return;
        }
        let Some(rest) = text.get(start..) else { return };
        let Some(length) = rest.find([',', '[', ']', '{', '}', '\n', '#', '"', '\'']) else {
            return;
        };
        let (scalar, follows) = rest.split_at(length);
        let plain = scalar.len() > 1
            && scalar.ends_with(':')
            && !scalar.contains(": ")
            && !scalar.contains(":\t")
            && !scalar.starts_with([':', ' ', '?', '&', '*', '!', '|', '>', '%', '@', '`'])
            && follows.starts_with([',', '[', ']', '{', '}']);
        let ends_here = end.is_none_or(|end| end + 1 == start + length);
        if plain && ends_here && self.fresh.last().is_none_or(|(known, _)| *known < start) {
            self.fresh.push((start, start + length));
        }
    }

    /// Whether the text that starts there in the rewritten text is one of these.
    pub fn is_quoted(&self, start: usize) -> bool {
        self.quoted.binary_search(&start).is_ok()
    }

    /// The original text with quotes around all texts found so far; `None` when no new one was found.
    pub fn rewrite(&mut self, original: &str) -> Option<String> {
        if self.fresh.is_empty() {
            return None;
        }
        for (start, end) in std::mem::take(&mut self.fresh) {
            // Back to the place in the original: two quotes for every one before, and doubled ones do not occur.
            let before = self.quoted.partition_point(|place| *place < start);
            self.found.push((start - 2 * before, end - 2 * before));
        }
        self.found.sort_unstable();
        self.quoted.clear();
        let mut out = String::with_capacity(original.len() + 2 * self.found.len());
        let mut from = 0;
        for (start, end) in &self.found {
            out.push_str(&original[from..*start]);
            self.quoted.push(out.len());
            out.push('\'');
            out.push_str(&original[*start..*end]);
            out.push('\'');
            from = *end;
        }
        out.push_str(&original[from..]);
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::yaml::{Dialect, Style, parse_nodes, read_documents};

    fn check(text: &str, wanted: Value) {
        for dialect in [Dialect::K8s, Dialect::Kyaml] {
            let read = read_documents(text, dialect).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(read, std::slice::from_ref(&wanted), "{text}");
        }
    }

    #[test]
    fn a_colon_before_a_comma_is_a_part_of_the_text() {
        check("{image: nginx:, tag: 1}", json!({"image": "nginx:", "tag": 1}));
        check("{image: nginx:}", json!({"image": "nginx:"}));
        check("[a:, b:, c]", json!(["a:", "b:", "c"]));
        check("{a:, b: 1}", json!({"a:": null, "b": 1}));
        check("{a: [b:], c: {d: e::}}", json!({"a": ["b:"], "c": {"d": "e::"}}));
        check(
            "a: {b: c:, d: e:}\nf: {g: h:}\n",
            json!({"a": {"b": "c:", "d": "e:"}, "f": {"g": "h:"}}),
        );
        check("a: b:,c\n", json!({"a": "b:,c"}));
        check("a: 'b:,c'\n", json!({"a": "b:,c"}));
        check("{a: http://x:80, b: 1}", json!({"a": "http://x:80", "b": 1}));
        check("{\"a\":, b: 1}", json!({"a": null, "b": 1}));
    }

    #[test]
    fn it_has_no_quotes() {
        let nodes = parse_nodes("{image: nginx:, tag: 1}", Dialect::Kyaml).expect("it is read");
        let image = nodes[0].get("image").and_then(|node| node.as_scalar()).expect("a text");
        assert_eq!(image.style, Style::Plain);
    }

    #[test]
    fn many_of_them_are_read_in_few_rounds() {
        let text = format!("[{}]", "a:, ".repeat(10_000));
        let nodes = parse_nodes(&text, Dialect::Kyaml).expect("it is read");
        assert_eq!(nodes[0].as_seq().map(<[_]>::len), Some(10_000));
    }
}
