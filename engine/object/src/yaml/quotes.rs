//! Texts in quotes whose further lines stand too far left, such as a file of JSON put between `'` and `'`.
//!
//! By YAML 1.2 those lines are indented more than the map around them; Go's readers take any indentation, and drop it.
//! The parser is by the book, so such lines are indented before the text is read again.

/// Bytes of indentation that a text of so many bytes may get.
pub(super) fn most_added(length: usize) -> usize {
    length
        .saturating_mul(16)
        .saturating_add(64 * 1024)
        .min(64 * 1024 * 1024)
}

/// The text with the quoted scalar indented whose second or later line the parser failed at, and those directly after
/// it. `before` is where a node ended, or began, that is the last one before it.
///
/// `None` where no such scalar is found, or where the text would grow by more than [`most_added`]. Lines stay as many as they
/// were.
pub(super) fn indented(text: &str, before: usize, failed: usize) -> Option<String> {
    let bytes = text.as_bytes();
    let mut start = opening(bytes, before)?;
    let mut end = closing(bytes, start)?;
    if start >= failed || failed > end {
        return None;
    }
    let most = text.len() + most_added(text.len());
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    let mut copied = 0;
    loop {
        // More than the column of the quote itself is more than that of the map around it.
        let column = start
            - bytes[..start]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
        for line in lines_within(bytes, start, end) {
            if is_document_mark(&bytes[line..]) {
                continue;
            }
            // A quote far to the right with many lines would make of little text a lot.
            if out.len() + (text.len() - copied) + column + 1 > most {
                return None;
            }
            out.push_str(&text[copied..line]);
            out.extend(std::iter::repeat_n(' ', column + 1));
            copied = line;
        }
        // A folder's files in one ConfigMap stand one after the other; each alone would cost another round.
        let Some((next, next_end)) = next_entry(bytes, end) else {
            break;
        };
        (start, end) = (next, next_end);
    }
    out.push_str(&text[copied..]);
    Some(out)
}

/// The first quote behind a node, when there is only structure between: white space, comments, `-`, `:`, `?`, anchors,
/// tags and document marks.
fn opening(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let rest = bytes.get(at..)?;
        let word = rest
            .iter()
            .position(|byte| byte.is_ascii_whitespace())
            .unwrap_or(rest.len());
        match rest.first()? {
            b'\'' | b'"' => return Some(at),
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            b'#' => at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
            b'&' | b'!' => at += word,
            b'-' | b':' | b'?' if word == 1 => at += 1,
            _ if matches!(&rest[..word], b"---" | b"...") => at += word,
            _ => return None,
        }
    }
}

/// The quote that ends the text which starts with a quote there.
fn closing(bytes: &[u8], start: usize) -> Option<usize> {
    let quote = *bytes.get(start)?;
    let mut at = start + 1;
    loop {
        match *bytes.get(at)? {
            b'\\' if quote == b'"' => at += 2,
            byte if byte != quote => at += 1,
            _ if quote == b'\'' && bytes.get(at + 1) == Some(&quote) => at += 2,
            _ => return Some(at),
        }
    }
}

/// Where the lines start that begin between two places.
fn lines_within(bytes: &[u8], start: usize, end: usize) -> impl Iterator<Item = usize> {
    let breaks = bytes[start..end].iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    breaks.map(move |(at, _)| start + at + 1)
}

/// `---` and `...` at the start of a line end a document, in quotes as well, which is an error.
fn is_document_mark(line: &[u8]) -> bool {
    (line.starts_with(b"---") || line.starts_with(b"...")) && line.get(3).is_none_or(u8::is_ascii_whitespace)
}

/// The quoted text of more than one line that is the value of the next line's key.
fn next_entry(bytes: &[u8], end: usize) -> Option<(usize, usize)> {
    let rest = &bytes[end + 1..];
    let line = rest.iter().position(|byte| *byte == b'\n')? + 1;
    if !rest[..line].iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    let rest = &rest[line..];
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b' ' | b'/');
    let key = rest.iter().position(|byte| !is_plain(byte))?;
    let first = rest[..key].iter().position(|byte| *byte != b' ')?;
    if rest[key] != b':' || rest.get(key + 1) != Some(&b' ') || matches!(rest[first], b'-') {
        return None;
    }
    let quote = key + 1 + rest[key + 1..].iter().position(|byte| *byte != b' ')?;
    if !matches!(rest[quote], b'\'' | b'"') {
        return None;
    }
    let start = end + 1 + line + quote;
    let end = closing(bytes, start)?;
    bytes[start..end].contains(&b'\n').then_some((start, end))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use serde_json::{Value, json};

    use crate::yaml::{Dialect, Style, parse_nodes, read_documents};

    fn check(text: &str, wanted: Value) {
        for dialect in [Dialect::K8s, Dialect::Kyaml] {
            let read = read_documents(text, dialect).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(read, std::slice::from_ref(&wanted), "{text}");
        }
    }

    fn fails(text: &str) {
        for dialect in [Dialect::K8s, Dialect::Kyaml] {
            assert!(read_documents(text, dialect).is_err(), "{text}");
        }
    }

    #[test]
    fn further_lines_stand_where_they_like() {
        check("a:\n  b: 'x\n\ny\n'\n", json!({"a": {"b": "x\ny "}}));
        check("a:\n  b: \"x\ny\\\nz\n\"\n", json!({"a": {"b": "x yz "}}));
        check("a:\n- 'x\ny'\n- \"p\nq\"\n", json!({"a": ["x y", "p q"]}));
        check(
            "a:\n  - b: 'it''s\nhere'\n    c: 1\n",
            json!({"a": [{"b": "it's here", "c": 1}]}),
        );
        check(
            "a:\n  b: &n !!str 'x\ny'\n  c: *n\n",
            json!({"a": {"b": "x y", "c": "x y"}}),
        );
        check("a:\n  b: # why\n    'x\ny'\n", json!({"a": {"b": "x y"}}));
        check("a:\n  b: \"say \\\"x\n\\\" y\"\n", json!({"a": {"b": "say \"x \" y"}}));
    }

    #[test]
    fn a_file_of_json_is_such_a_text() {
        let file = "{\n  \"a\": \"b\",\n  \"c\": [\n    1\n  ]\n}\n";
        let text = format!("kind: ConfigMap\ndata:\n  one.json: '{file}'\n  two.json: '{file}'\nz: 1\n");
        let folded = "{ \"a\": \"b\", \"c\": [ 1 ] } ";
        check(
            &text,
            json!({"kind": "ConfigMap", "data": {"one.json": folded, "two.json": folded}, "z": 1}),
        );
    }

    #[test]
    fn a_hundred_of_them_are_read_in_few_rounds() {
        let mut text = "data:\n".to_owned();
        for number in 0..100 {
            writeln!(text, "  f{number}.json: '{{\n\"a\": 1\n}}\n'").expect("it is a text");
        }
        let nodes = parse_nodes(&text, Dialect::K8s).expect("it is read");
        let data = nodes[0].get("data").expect("it has data");
        let last = data.get("f99.json").and_then(|node| node.as_scalar()).expect("a text");
        assert_eq!((last.style, &*last.text), (Style::Single, "{ \"a\": 1 } "));
    }

    #[test]
    fn a_quote_far_to_the_right_does_not_multiply_the_text() {
        let spaces = " ".repeat(100_000);
        let text = format!("a:\n  b:{spaces}'{}'\n", "x\n".repeat(100_000));
        assert_eq!(super::indented(&text, 0, text.len() - 3), None, "no node, no quote");
        let quote = text.find('\'').expect("there is one");
        assert_eq!(super::indented(&text, quote, quote + 3), None, "ten gigabytes");
        fails(&text);
    }

    #[test]
    fn what_is_broken_stays_broken() {
        fails("a:\n  b: 'x\ny\n");
        fails("a:\n  b: 'x\n---\ny'\n");
        fails("a:\n  b: 'x\ny' z\n");
        fails("a:\n  b: 'x\ny': z\n");
    }
}
