//! Dotted field paths of `replacements` and `vars`: `spec.containers.[name=web].image`.

use nave_object::yaml::{Node, Scalar, Style, Tag};
use regex::Regex;

use crate::config::split_path;
use crate::edit::{self, raw_text};

/// Parts of a path; what it makes is that deep.
const MAX_PARTS: usize = 256;

/// What is made where a path ends in nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    Nothing,
    Scalar,
    Map,
    Seq,
}

/// Splits at dots; `[a.b]` is one part without its brackets, `[a=b.c]` one with them.
pub(crate) fn split(path: &str) -> Vec<String> {
    let pieces = split_path(path, '.');
    let mut parts = Vec::new();
    let mut pieces = pieces.into_iter();
    while let Some(piece) = pieces.next() {
        if !piece.starts_with('[') || piece.ends_with(']') {
            parts.push(piece);
            continue;
        }
        let mut joined = piece;
        for piece in pieces.by_ref() {
            joined.push('.');
            joined.push_str(&piece);
            if piece.ends_with(']') {
                break;
            }
        }
        if joined.contains('=') {
            parts.push(joined);
        } else {
            parts.push(joined.trim_matches(['[', ']']).to_owned());
        }
    }
    parts
}

/// Splits a path of `vars`, where `ports[0]` is an element of a list.
pub(crate) fn with_list_indexes(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for part in split(path) {
        let index = part
            .strip_suffix(']')
            .and_then(|part| part.rsplit_once('['))
            .filter(|(_, digits)| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
        match index {
            Some((name, digits)) => {
                if !name.is_empty() {
                    parts.push(name.to_owned());
                }
                parts.push(digits.to_owned());
            }
            None => parts.push(part),
        }
    }
    parts
}

/// The one node at a path; `None` when a part is missing.
///
/// # Errors
/// A field of something that is no map, an element of something that is no list, `*`.
pub(crate) fn lookup<'a>(node: &'a Node, path: &[String]) -> Result<Option<&'a Node>, String> {
    let mut here = node;
    for part in path.iter().map(|part| part.trim()).filter(|part| !part.is_empty()) {
        let next = if let Ok(index) = part.parse::<i64>() {
            let index = usize::try_from(index).map_err(|_| format!("index {part} is negative"))?;
            elements(here, part)?.get(index)
        } else if part == "-" {
            elements(here, part)?.last()
        } else if part == "*" {
            return Err("`*` cannot be used here".to_owned());
        } else if let Some((key, value)) = element_key(part)? {
            elements(here, part)?.iter().find(|item| {
                if key.is_empty() {
                    item.as_scalar().is_some_and(|scalar| scalar.text == value)
                } else {
                    item.get(key).is_some_and(|field| raw_text(field) == value)
                }
            })
        } else if here.is_null() {
            None
        } else {
            let map = here
                .as_map()
                .ok_or_else(|| format!("expected a map where `{part}` is looked up, found {}", here.type_name()))?;
            map.get(part)
        };
        match next {
            Some(next) => here = next,
            None => return Ok(None),
        }
    }
    Ok(Some(here))
}

/// Calls `set` on every node at a path and says how many there were; `*` is every element, and
/// `[key=pattern]` every element whose key has a match. Missing parts are made if asked for.
///
/// # Errors
/// As [`lookup`], and what `set` reports.
pub(crate) fn visit(
    node: &mut Node,
    path: &[String],
    make: Make,
    set: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<usize, String> {
    if path.len() > MAX_PARTS {
        return Err(format!("the path has more than {MAX_PARTS} parts"));
    }
    let Some((part, rest)) = path.split_first() else {
        set(node)?;
        return Ok(1);
    };
    let found = node.type_name();
    let no_list = || format!("expected a list where `{part}` is looked up, found {found}");
    if let Ok(index) = part.parse::<usize>() {
        if node.is_null() {
            return Err(format!("the list has no element {index}"));
        }
        let items = node.as_seq_mut().ok_or_else(no_list)?;
        if items.len() == index && make != Make::Nothing {
            items.push(made(rest.first(), make));
        }
        let length = items.len();
        let item = items
            .get_mut(index)
            .ok_or_else(|| format!("the list has {length} elements, and none at {index}"))?;
        return visit(item, rest, make, set);
    }
    if part == "*" {
        if node.is_null() {
            return Ok(0);
        }
        let mut count = 0;
        for item in node.as_seq_mut().ok_or_else(no_list)? {
            count += visit(item, rest, make, set)?;
        }
        return Ok(count);
    }
    if let Some((key, pattern)) = element_key(part)? {
        return visit_matching(node, (key, pattern), rest, make, set).map_err(|problem| match problem {
            Some(problem) => problem,
            None => no_list(),
        });
    }
    if node.is_null() && make != Make::Nothing {
        *node = Node::map();
    }
    if node.is_null() {
        return Ok(0);
    }
    let map = node
        .as_map_mut()
        .ok_or_else(|| format!("expected a map where `{part}` is looked up, found {found}"))?;
    if !map.contains(part) {
        if make == Make::Nothing {
            return Ok(0);
        }
        edit::put(map, part, made(rest.first(), make));
    }
    let field = map.get_mut(part).expect("made just above when it was missing");
    if field.as_scalar().is_some_and(|scalar| scalar.tag != Tag::Null) && !rest.is_empty() {
        return Err(format!(
            "expected a map or a list in `{part}`, found {}",
            field.type_name()
        ));
    }
    visit(field, rest, make, set)
}

fn visit_matching(
    node: &mut Node,
    (key, pattern): (&str, &str),
    rest: &[String],
    make: Make,
    set: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<usize, Option<String>> {
    let regex = Regex::new(pattern).map_err(|_| Some(format!("`{pattern}` is no regular expression")))?;
    if node.is_null() && make == Make::Nothing {
        return Ok(0);
    }
    if node.is_null() {
        *node = Node::seq(Vec::new());
    }
    let items = node.as_seq_mut().ok_or(None)?;
    let mut count = 0;
    for item in items.iter_mut() {
        let text = if key.is_empty() {
            Some(written(item))
        } else {
            item.get(key).map(written)
        };
        if text.is_some_and(|text| regex.is_match(&text)) {
            count += if key.is_empty() {
                set(item).map_err(Some)?;
                1
            } else {
                visit(item, rest, make, set).map_err(Some)?
            };
        }
    }
    if count == 0 && make != Make::Nothing {
        let mut item = Node::implicit(pattern);
        if !key.is_empty() {
            let value = std::mem::replace(&mut item, Node::map());
            edit::set_field(&mut item, key, value).map_err(Some)?;
        }
        items.push(item);
        let item = items.last_mut().expect("pushed just above");
        count = visit(item, if key.is_empty() { &[] } else { rest }, make, set).map_err(Some)?;
    }
    Ok(count)
}

/// The text that kustomize matches patterns with: the scalar as it is written, quotes included.
fn written(node: &Node) -> String {
    match node {
        Node::Scalar(Scalar {
            text,
            style: Style::Double,
            ..
        }) => format!("\"{text}\""),
        Node::Scalar(Scalar {
            text,
            style: Style::Single,
            ..
        }) => format!("'{text}'"),
        node => raw_text(node).to_owned(),
    }
}

fn made(next: Option<&String>, last: Make) -> Node {
    match next {
        Some(part) if part.parse::<usize>().is_ok() || part.starts_with('[') && part.ends_with(']') => {
            Node::seq(Vec::new())
        }
        Some(_) => Node::map(),
        None => match last {
            Make::Seq => Node::seq(Vec::new()),
            Make::Map => Node::map(),
            Make::Scalar | Make::Nothing => Node::implicit(""),
        },
    }
}

fn elements<'a>(node: &'a Node, part: &str) -> Result<&'a [Node], String> {
    if node.is_null() {
        return Ok(&[]);
    }
    node.as_seq().ok_or_else(|| {
        format!(
            "expected a list where `{part}` is looked up, found {}",
            node.type_name()
        )
    })
}

fn element_key(part: &str) -> Result<Option<(&str, &str)>, String> {
    let Some(inside) = part.strip_prefix('[').and_then(|part| part.strip_suffix(']')) else {
        return Ok(None);
    };
    match inside.split_once('=') {
        Some(pair) => Ok(Some(pair)),
        None => Err(format!("`{part}`: expected [name=value]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_as_in_the_reference() {
        assert_eq!(split("a.b"), ["a", "b"]);
        assert_eq!(split("a.[b.c/d].e"), ["a", "b.c/d", "e"]);
        assert_eq!(split("a.[name=x.y].e"), ["a", "[name=x.y]", "e"]);
        assert_eq!(split("a\\.b.c"), ["a.b", "c"]);
        assert_eq!(with_list_indexes("spec.ports[0].port"), ["spec", "ports", "0", "port"]);
    }
}
