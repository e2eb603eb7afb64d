//! Replica counts.

use nave_object::yaml::{Node, Scalar, Tag};

use crate::config::{Create, FieldSpec};
use crate::edit;
use crate::error::BuildError;
use crate::kustomization::Replica;
use crate::resource::ResMap;
use crate::schema::Schemas;

/// Sets the count on every object of that name, present or earlier.
///
/// # Errors
/// No object has the name.
pub(crate) fn set_replicas(
    resources: &mut ResMap,
    replica: &Replica,
    fields: &[FieldSpec],
    schemas: &Schemas,
) -> Result<(), BuildError> {
    let mut found = false;
    let mut set = |node: &mut Node| {
        let count = Scalar {
            tag: Tag::Int,
            ..Scalar::str(replica.count.to_string())
        };
        edit::set_scalar(node, count)
    };
    for field in fields {
        let matching = resources.matching_any(|id| id.name == replica.name && id.gvk.is_selected(&field.gvk), schemas);
        for index in matching {
            found = true;
            let resource = &mut resources.list[index];
            let applied = field.apply(&resource.gvk(), &mut resource.node, Create::Scalar, &mut set);
            applied.map_err(|problem| resource.error(problem))?;
        }
    }
    if found {
        return Ok(());
    }
    let kinds: Vec<&str> = fields.iter().map(|field| field.gvk.kind.as_str()).collect();
    Err(BuildError::selection(format!(
        "replicas: there is no {} called `{}`",
        kinds.join(", "),
        replica.name
    )))
}
