//! Labels and annotations for all objects.

use std::collections::BTreeMap;

use nave_object::yaml::{Node, Scalar};

use crate::config::{Create, FieldSpec};
use crate::edit;
use crate::error::BuildError;
use crate::resource::ResMap;

/// Sets labels or annotations in all fields.
///
/// What is new in several fields of one object is one scalar to kustomize: whoever changes it in one
/// of them later, a patch or another label of the same name, changes it in all. So it is here.
pub(crate) fn add_pairs(
    resources: &mut ResMap,
    pairs: &BTreeMap<String, String>,
    fields: &[FieldSpec],
) -> Result<(), BuildError> {
    for resource in &mut resources.list {
        let gvk = resource.gvk();
        for (key, value) in pairs {
            let mut made = 0;
            let scalar = Scalar {
                twin: resource.twins.next(),
                ..Scalar::str(value.as_str())
            };
            let mut set = |node: &mut Node| {
                // A null that must not be created stays; one that may has become a map on the way here.
                if node.is_null() {
                    return Ok(());
                }
                made += usize::from(node.get(key).is_none());
                edit::set_field(node, key, Node::Scalar(scalar.clone()))
            };
            for field in fields {
                let applied = field.apply(&gvk, &mut resource.node, Create::Map, &mut set);
                applied.map_err(|problem| resource.error(problem))?;
            }
            if made > 0 {
                resource.twins.add(scalar, made > 1);
            }
        }
    }
    Ok(())
}
