//! Metadata in formats without depth: `age__list_0__map_enc` and back to lists and maps.

use super::StoreError;
use crate::value::{Item, Value};

const MAP: &str = "__map_";
const LIST: &str = "__list_";
/// A list in metadata is a list of keys; more is no metadata.
const MAX_ITEMS: usize = 200;
/// `key_groups`, a place, a kind of key, a place, `context`, its name.
const MAX_PARTS: usize = 8;
/// Six fields for each key.
const MAX_FIELDS: usize = 2000;

enum Part<'a> {
    Key(&'a str),
    Place(usize),
}

/// Lists and maps from flat names. Where names contradict each other the first stands.
pub(super) fn unflatten(fields: &[Item]) -> Result<Value, StoreError> {
    if fields.len() > MAX_FIELDS {
        return Err(StoreError::new(
            0,
            format!("it has more than {MAX_FIELDS} fields of metadata"),
        ));
    }
    let mut root = Value::Map(Vec::new());
    for item in fields {
        let Item::Entry(name, Value::Text(text)) = item else {
            continue;
        };
        let text = String::from_utf8_lossy(text).replace("\\n", "\n");
        let parts = parts(name);
        if parts.len() <= MAX_PARTS
            && let Some(place) = place(&mut root, &parts)
        {
            *place = Value::text(text);
        }
    }
    Ok(root)
}

fn parts(name: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = name;
    let mut is_list = false;
    loop {
        let next = [rest.find(MAP), rest.find(LIST)].into_iter().flatten().min();
        let (part, behind) = rest.split_at(next.unwrap_or(rest.len()));
        parts.push(if is_list {
            Part::Place(part.parse().unwrap_or(0))
        } else {
            Part::Key(part)
        });
        if behind.is_empty() {
            return parts;
        }
        is_list = behind.starts_with(LIST);
        rest = &behind[if is_list { LIST.len() } else { MAP.len() }..];
    }
}

fn place<'a>(node: &'a mut Value, parts: &[Part]) -> Option<&'a mut Value> {
    let Some((first, rest)) = parts.split_first() else {
        return Some(node);
    };
    match first {
        Part::Key(name) => {
            if *node == Value::Null {
                *node = Value::Map(Vec::new());
            }
            let Value::Map(fields) = node else { return None };
            let found = fields
                .iter()
                .position(|item| matches!(item, Item::Entry(key, _) if key == name));
            let found = found.unwrap_or_else(|| {
                fields.push(Item::Entry((*name).to_owned(), Value::Null));
                fields.len() - 1
            });
            match &mut fields[found] {
                Item::Entry(_, value) => place(value, rest),
                Item::Comment(_) => None,
            }
        }
        Part::Place(number) => {
            if *node == Value::Null {
                *node = Value::List(Vec::new());
            }
            let Value::List(items) = node else { return None };
            if *number >= MAX_ITEMS {
                return None;
            }
            if items.len() <= *number {
                items.resize(number + 1, Value::Null);
            }
            place(&mut items[*number], rest)
        }
    }
}
