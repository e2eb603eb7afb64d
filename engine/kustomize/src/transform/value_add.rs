//! `ValueAddTransformer`: puts one value into fields, or into the path that a field holds.

use nave_object::yaml::{Node, Scalar};

use crate::config::split_path;
use crate::edit::{self, raw_text};
use crate::error::BuildError;
use crate::kustomization::Selector;
use crate::resource::ResMap;
use crate::schema::Schemas;
use crate::selector;
use crate::transform::namespace::{SubjectMode, set_on_resource};

crate::decode::decode_struct! {
    /// One target of the transformer.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct ValueAddTarget {
        selector: Option<Selector> = "selector",
        field_path: String = "fieldPath",
        file_path_position: i64 = "filePathPosition",
    }
}

/// Parts of a path; what it makes is that deep.
const MAX_PARTS: usize = 256;

/// The transformer with its value.
pub(crate) struct ValueAdd {
    pub value: String,
    pub targets: Vec<ValueAddTarget>,
}

pub(crate) fn add_values(resources: &mut ResMap, transformer: &ValueAdd, schemas: &Schemas) -> Result<(), BuildError> {
    for target in &transformer.targets {
        let places = match &target.selector {
            None => (0..resources.list.len()).collect(),
            Some(selector) => selector::select(resources, selector, schemas)?,
        };
        for place in places {
            let resource = &mut resources.list[place];
            let result = if target.field_path == "metadata/namespace" {
                set_on_resource(
                    resource,
                    &transformer.value,
                    &[],
                    false,
                    SubjectMode::DefaultOnly,
                    schemas,
                )
            } else {
                add_value(&mut resource.node, target, &transformer.value)
            };
            result.map_err(|problem| resource.error(problem))?;
        }
    }
    Ok(())
}

fn add_value(node: &mut Node, target: &ValueAddTarget, value: &str) -> Result<(), String> {
    let path = split_path(&target.field_path, '/');
    if path.len() > MAX_PARTS {
        return Err(format!("fieldPath has more than {MAX_PARTS} parts"));
    }
    let (last, parents) = path.split_last().expect("splitting gives at least one part");
    let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
    if has_null(node, &parents) {
        return Ok(()); // a path ends at a null, as kyaml's getter of paths does
    }
    let field = edit::map_at(node, &parents)?.entry(last, || Node::implicit(""));
    let value = if target.file_path_position > 0 {
        insert_path_part(raw_text(field), target.file_path_position as usize - 1, value)
    } else {
        value.to_owned()
    };
    edit::set_scalar(
        field,
        Scalar {
            tag: nave_object::yaml::Tag::Implicit,
            ..Scalar::str(value)
        },
    )
}

/// Whether a part of the path is there and null.
fn has_null(node: &Node, path: &[&str]) -> bool {
    let mut here = node;
    for key in path {
        match here.as_map().and_then(|map| map.get(key)) {
            Some(next) if next.is_null() => return true,
            Some(next) => here = next,
            None => return false,
        }
    }
    false
}

/// Puts a part into a file path; a place beyond its end appends.
fn insert_path_part(path: &str, place: usize, part: &str) -> String {
    if path.is_empty() {
        return part.to_owned();
    }
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.insert(place.min(parts.len()), part);
    format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_parts_are_inserted_as_documented_upstream() {
        for (path, place, wanted) in [
            ("", 0, "PEACH"),
            ("/", 0, "/PEACH"),
            ("pie", 0, "PEACH/pie"),
            ("/pie", 0, "/PEACH/pie"),
            ("raw", 1, "raw/PEACH"),
            ("/raw", 9, "/raw/PEACH"),
            ("a/nice/warm/pie", 3, "a/nice/warm/PEACH/pie"),
        ] {
            assert_eq!(insert_path_part(path, place, "PEACH"), wanted, "{path}");
        }
    }
}
