//! Labels and annotations for all objects.

use std::collections::BTreeMap;

use nave_object::yaml::Node;

use crate::config::{Create, FieldSpec};
use crate::edit;
use crate::error::BuildError;
use crate::resource::ResMap;

/// Sets labels in all fields.
pub(crate) fn add_labels(
    resources: &mut ResMap,
    labels: &BTreeMap<String, String>,
    fields: &[FieldSpec],
) -> Result<(), BuildError> {
    add(resources, labels, fields)
}

/// Sets annotations in all fields.
pub(crate) fn add_annotations(
    resources: &mut ResMap,
    annotations: &BTreeMap<String, String>,
    fields: &[FieldSpec],
) -> Result<(), BuildError> {
    add(resources, annotations, fields)
}

fn add(resources: &mut ResMap, pairs: &BTreeMap<String, String>, fields: &[FieldSpec]) -> Result<(), BuildError> {
    for resource in &mut resources.list {
        let gvk = resource.gvk();
        for (key, value) in pairs {
            let mut set = |node: &mut Node| {
                if node.is_null() {
                    *node = Node::map();
                }
                edit::set_field(node, key, Node::str(value.as_str()))
            };
            for field in fields {
                let applied = field.apply(&gvk, &mut resource.node, Create::Map, &mut set);
                applied.map_err(|problem| resource.error(problem))?;
            }
        }
    }
    Ok(())
}
