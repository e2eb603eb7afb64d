//! The namespace of all objects, and of what refers to it.

use std::collections::HashMap;

use nave_object::yaml::{Node, Scalar};

use crate::config::{Create, FieldSpec};
use crate::edit::{self, raw_text};
use crate::error::BuildError;
use crate::resource::{ResMap, Resource};
use crate::schema::Schemas;

/// Which subjects of role bindings follow the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SubjectMode {
    /// Service accounts called `default`.
    #[default]
    DefaultOnly,
    /// All service accounts.
    AllServiceAccounts,
    /// None.
    None,
}

impl SubjectMode {
    pub fn parse(text: &str) -> Option<SubjectMode> {
        match text {
            "" | "defaultOnly" => Some(SubjectMode::DefaultOnly),
            "allServiceAccounts" => Some(SubjectMode::AllServiceAccounts),
            "none" => Some(SubjectMode::None),
            _ => None,
        }
    }
}

/// Sets the namespace.
///
/// # Errors
/// Two objects become one by it.
pub(crate) fn set_namespace(
    resources: &mut ResMap,
    namespace: &str,
    fields: &[FieldSpec],
    unset_only: bool,
    subjects: SubjectMode,
    schemas: &Schemas,
) -> Result<(), BuildError> {
    let mut counts: HashMap<_, usize> = HashMap::new();
    for resource in &resources.list {
        *counts.entry(resource.current_id(schemas).key()).or_default() += 1;
    }
    for resource in &mut resources.list {
        if edit::is_nil_or_empty(&resource.node) || resource.from_helm {
            continue;
        }
        let before = resource.current_id(schemas).key();
        resource.store_previous(schemas);
        set_on_resource(resource, namespace, fields, unset_only, subjects, schemas)
            .map_err(|problem| resource.error(problem))?;
        let id = resource.current_id(schemas);
        let after = id.key();
        if before != after {
            *counts.entry(before).or_default() -= 1;
            *counts.entry(after.clone()).or_default() += 1;
        }
        if counts.get(&after).copied().unwrap_or_default() != 1 {
            return Err(BuildError::collision(format!(
                "two objects become {id} by setting the namespace to `{namespace}`"
            )));
        }
    }
    Ok(())
}

/// Sets the namespace on one resource, without looking at the others.
pub(crate) fn set_on_resource(
    resource: &mut Resource,
    namespace: &str,
    fields: &[FieldSpec],
    unset_only: bool,
    subjects: SubjectMode,
    schemas: &Schemas,
) -> Result<(), String> {
    let gvk = resource.gvk();
    let is_core = resource.api_version() == "v1";
    let mut set = |node: &mut Node| {
        if unset_only && !raw_text(node).is_empty() && !node.is_null() {
            return Ok(());
        }
        edit::set_scalar(node, Scalar::str(namespace))
    };
    if !schemas.is_cluster_scoped(&gvk) {
        FieldSpec::new("", "", "", "metadata/namespace", true).apply(
            &gvk,
            &mut resource.node,
            Create::Scalar,
            &mut set,
        )?;
    }
    let is_binding = gvk.kind == "RoleBinding" || gvk.kind == "ClusterRoleBinding";
    if is_binding {
        set_on_subjects(&mut resource.node, subjects, &mut set)?;
    }
    for field in fields {
        let skipped = field.path == "metadata/namespace"
            || (field.path == "metadata/name" && !is_core)
            || (is_binding
                && field.path == "subjects/namespace"
                && matches!(field.gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding"));
        if !skipped {
            field.apply(&gvk, &mut resource.node, Create::Scalar, &mut set)?;
        }
    }
    Ok(())
}

fn set_on_subjects(
    node: &mut Node,
    mode: SubjectMode,
    set: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<(), String> {
    let wanted = |subject: &Node| match mode {
        SubjectMode::None => false,
        SubjectMode::DefaultOnly => subject.get("name").and_then(Node::text) == Some("default"),
        SubjectMode::AllServiceAccounts => subject.get("kind").and_then(Node::text) == Some("ServiceAccount"),
    };
    if !node
        .get("subjects")
        .and_then(Node::as_seq)
        .is_some_and(|items| items.iter().any(wanted))
    {
        return Ok(());
    }
    let subjects = node.as_map_mut().and_then(|map| map.get_mut("subjects"));
    for subject in subjects.and_then(Node::as_seq_mut).into_iter().flatten() {
        if wanted(subject)
            && let Some(map) = subject.as_map_mut()
        {
            set(map.entry("namespace", || Node::implicit("")))?;
        }
    }
    Ok(())
}
