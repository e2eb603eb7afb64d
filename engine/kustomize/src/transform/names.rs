//! Prefixes and suffixes of names.

use nave_object::yaml::Node;

use crate::config::{Create, FieldSpec};
use crate::edit::{self, raw_text};
use crate::error::BuildError;
use crate::ids::Gvk;
use crate::resource::ResMap;
use crate::schema::Schemas;

/// What is put to a name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Affix {
    Prefix(String),
    Suffix(String),
}

/// Puts a prefix or suffix to names. Definitions, API services and namespaces keep theirs.
pub(crate) fn add_affix(
    resources: &mut ResMap,
    affix: &Affix,
    fields: &[FieldSpec],
    schemas: &Schemas,
) -> Result<(), BuildError> {
    let skipped = [
        Gvk::new("", "", "CustomResourceDefinition"),
        Gvk::new("apiregistration.k8s.io", "", "APIService"),
        Gvk::new("", "", "Namespace"),
    ];
    for resource in &mut resources.list {
        let original = resource.original_id(schemas);
        if skipped.iter().any(|kind| original.gvk.is_selected(kind)) {
            continue;
        }
        for field in fields {
            if !original.gvk.is_selected(&field.gvk) {
                continue;
            }
            if field.path == "metadata/name" {
                let (list, text) = match affix {
                    Affix::Prefix(text) => (&mut resource.prefixes, text),
                    Affix::Suffix(text) => (&mut resource.suffixes, text),
                };
                if !text.is_empty() {
                    list.push(text.into());
                    resource.store_previous(schemas);
                }
            }
            let gvk = resource.gvk();
            let mut set = |node: &mut Node| {
                let name = match affix {
                    Affix::Prefix(text) => format!("{text}{}", raw_text(node)),
                    Affix::Suffix(text) => format!("{}{text}", raw_text(node)),
                };
                edit::set_implicit(node, name)
            };
            let applied = field.apply(&gvk, &mut resource.node, Create::Scalar, &mut set);
            applied.map_err(|problem| resource.error(problem))?;
        }
    }
    Ok(())
}
