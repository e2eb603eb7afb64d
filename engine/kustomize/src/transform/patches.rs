//! Patches: strategic merges and JSON patches.

use std::collections::HashSet;

use nave_object::yaml::{Dialect, Node, Scalar, format_float};
use serde_json::Value;
use std::sync::Arc;

use crate::edit;
use crate::error::{BuildError, Problem};
use crate::json_patch::{self, Operation};
use crate::kustomization::{PatchArgs, Selector};
use crate::merge;
use crate::resource::{ResMap, Resource, read_resources};
use crate::schema::Schemas;
use crate::selector;

/// A patch with what it is for.
pub(crate) struct ParsedPatch {
    pub body: PatchBody,
    pub target: Option<Selector>,
    /// Where it is written, for errors.
    pub source: String,
}

/// What kind of patch a text turned out to be.
pub(crate) enum PatchBody {
    Strategic(Vec<Resource>),
    Json(Vec<Operation>),
}

impl PatchBody {
    /// Tells the kind of patch by trying both.
    ///
    /// # Errors
    /// The text is neither; the answer tells what it looked like most.
    pub fn parse(text: &str, file: &str, options: Option<&PatchArgs>) -> Result<PatchBody, BuildError> {
        let json = parse_operations(text);
        match read_resources(text, file) {
            Ok(mut patches) => {
                for patch in &mut patches {
                    patch.allow_name_change = options.is_some_and(|options| options.allow_name_change);
                    patch.allow_kind_change = options.is_some_and(|options| options.allow_kind_change);
                }
                Ok(PatchBody::Strategic(patches))
            }
            Err(strategic) => match json {
                Ok(operations) => Ok(PatchBody::Json(operations)),
                Err(problem) if looks_like_list(text) => Err(BuildError::new(
                    file,
                    0,
                    Problem::Syntax(format!("JSON patch: {problem}")),
                )),
                Err(_) => Err(strategic),
            },
        }
    }
}

fn looks_like_list(text: &str) -> bool {
    text.trim_start().starts_with(['[', '-']) && !text.trim_start().starts_with("---")
}

/// Reads a JSON patch written as JSON or YAML. What starts with `[` must be JSON, as with kustomize.
pub(crate) fn parse_operations(text: &str) -> Result<Vec<Operation>, String> {
    if text.starts_with('[') {
        let value =
            serde_json::from_str(text).map_err(|error| format!("a patch that starts with [ is JSON: {error}"))?;
        return json_patch::parse(&value);
    }
    let documents = nave_object::yaml::read_documents(text, Dialect::K8s).map_err(|error| error.to_string())?;
    json_patch::parse(documents.first().unwrap_or(&Value::Null))
}

/// Applies an entry of `patches`.
pub(crate) fn apply_patch(resources: &mut ResMap, patch: &ParsedPatch, schemas: &Schemas) -> Result<(), BuildError> {
    match (&patch.body, &patch.target) {
        (PatchBody::Strategic(patches), Some(target)) => {
            let [one] = patches.as_slice() else {
                if patches.is_empty() {
                    return Ok(());
                }
                return Err(BuildError::syntax(format!(
                    "{}: a patch with a target must be a single document, found {}",
                    patch.source,
                    patches.len()
                )));
            };
            let selected = selector::select(resources, target, schemas)?;
            apply_to(resources, &selected, one, schemas)
        }
        (PatchBody::Strategic(patches), None) => {
            for one in patches {
                let index = find_target(resources, one, schemas)?;
                merge_into(&mut resources.list[index], one, schemas)?;
            }
            Ok(())
        }
        (PatchBody::Json(operations), Some(target)) => {
            for index in selector::select(resources, target, schemas)? {
                resources.list[index].store_previous(schemas);
                apply_json_patch(&mut resources.list[index], operations)?;
            }
            Ok(())
        }
        (PatchBody::Json(_), None) => Err(BuildError::selection(format!(
            "{}: a JSON patch needs a target",
            patch.source
        ))),
    }
}

/// Applies an entry of `patchesStrategicMerge`: each document to the one object of its id.
pub(crate) fn apply_strategic(
    resources: &mut ResMap,
    patches: &[Resource],
    schemas: &Schemas,
) -> Result<(), BuildError> {
    for patch in patches {
        let index = find_target(resources, patch, schemas)?;
        apply_to(resources, &[index], patch, schemas)?;
    }
    Ok(())
}

/// Applies a JSON patch to one resource. Numbers go through floats on the way, as in the reference.
pub(crate) fn apply_json_patch(resource: &mut Resource, operations: &[Operation]) -> Result<(), BuildError> {
    if resource.has_notes() {
        let made = edit::map_at(&mut resource.node, &["metadata", "annotations"]).map(|_| ());
        made.map_err(|problem| resource.error(problem))?;
    }
    let mut value = resource.to_value()?;
    let shown = resource.origin.is_some() && show_origin(&mut value);
    json_patch::apply(&mut value, operations).map_err(|problem| resource.error(problem))?;
    if !value.is_object() {
        return Err(resource.error("the JSON patch leaves no object"));
    }
    resource.node = from_json(&value);
    let mut annotations = resource.texts("annotations");
    if shown {
        let before = annotations.len();
        annotations.retain(|(key, _)| key != SHOWN);
        if annotations.len() == before {
            resource.origin = None;
            resource.transformations.clear();
        }
    }
    resource
        .set_texts("annotations", annotations)
        .map_err(|problem| resource.error(problem))
}

/// Stands for the annotations in which the reference keeps the origin while it builds: a JSON patch that writes all
/// annotations anew drops them there. What else it keeps in annotations it puts back.
const SHOWN: &str = "config.kubernetes.io/origin";

fn show_origin(value: &mut Value) -> bool {
    let annotations = value
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut);
    annotations.is_some_and(|map| map.insert(SHOWN.to_owned(), Value::String(String::new())).is_none())
}

/// JSON back to a node, every number being a float in between (`json.Unmarshal` into a map).
fn from_json(value: &Value) -> Node {
    match value {
        Value::Number(number) => {
            let text = format_float(number.as_f64().unwrap_or_default());
            Node::Scalar(Scalar::plain(text, Dialect::Kyaml))
        }
        Value::Array(items) => Node::seq(items.iter().map(from_json).collect()),
        Value::Object(entries) => Node::Map(Arc::new(
            entries
                .iter()
                .map(|(key, item)| (Scalar::str(key.as_str()), from_json(item)))
                .collect(),
        )),
        other => Node::from_value(other),
    }
}

fn find_target(resources: &ResMap, patch: &Resource, schemas: &Schemas) -> Result<usize, BuildError> {
    let wanted = patch.original_id(schemas);
    match resources.matching_any(|id| wanted.same(id), schemas).as_slice() {
        [index] => Ok(*index),
        [] => {
            let alike = resources.list.iter().find(|resource| resource.name() == wanted.name);
            let hint = match alike {
                Some(resource) => format!("; {} has that name", resource.describe()),
                None => String::new(),
            };
            Err(BuildError::new(
                &*patch.file,
                patch.node.line() as usize,
                Problem::Selection(format!(
                    "no resource is {wanted} ({}), which the patch is for{hint}",
                    wanted.gvk
                )),
            ))
        }
        several => Err(BuildError::new(
            &*patch.file,
            patch.node.line() as usize,
            Problem::Selection(format!(
                "{} resources are {wanted}, which the patch is for",
                several.len()
            )),
        )),
    }
}

/// Merges one patch into selected resources, then drops what it deleted and looks for collisions.
fn apply_to(resources: &mut ResMap, selected: &[usize], patch: &Resource, schemas: &Schemas) -> Result<(), BuildError> {
    let ids: HashSet<_> = selected
        .iter()
        .map(|index| resources.list[*index].current_id(schemas).key())
        .collect();
    for resource in &mut resources.list {
        if !ids.contains(&resource.current_id(schemas).key()) {
            continue;
        }
        let mut own = patch.clone();
        // The patch's own labels and annotations are rewritten as texts on this way, nulls too.
        for field in ["labels", "annotations"] {
            let texts = own.texts(field);
            own.set_texts(field, texts).map_err(|problem| patch.error(problem))?;
        }
        own.set_name(patch.name()).map_err(|problem| patch.error(problem))?;
        own.set_namespace(patch.namespace())
            .map_err(|problem| patch.error(problem))?;
        own.set_api_version(resource.api_version());
        own.set_kind(patch.kind());
        merge_into(resource, &own, schemas)?;
    }
    resources.drop_empty();
    let list = std::mem::take(&mut resources.list);
    resources.append_all(list, schemas)
}

/// Whether a strategic patch leaves nothing of an object's annotations, in which the reference keeps its notes.
fn drops_annotations(patch: &Node) -> bool {
    let directive = |node: &Node| matches!(node.get("$patch").and_then(Node::text), Some("replace" | "delete"));
    let Some(metadata) = patch.get("metadata") else {
        return false;
    };
    directive(metadata)
        || metadata
            .get("annotations")
            .is_some_and(|annotations| annotations.is_null() || directive(annotations))
}

fn merge_into(resource: &mut Resource, patch: &Resource, schemas: &Schemas) -> Result<(), BuildError> {
    let (name, namespace, kind) = (
        resource.name().to_owned(),
        resource.namespace().to_owned(),
        resource.kind().to_owned(),
    );
    if patch.allow_name_change || patch.allow_kind_change {
        resource.store_previous(schemas);
    }
    let object = std::mem::replace(&mut resource.node, Node::null());
    let merged = merge::merge(object, patch.node.clone(), schemas).map_err(|problem| {
        let problem = Problem::Transform {
            object: format!("{kind}/{name}"),
            problem,
        };
        BuildError::new(&*patch.file, patch.node.line() as usize, problem)
    })?;
    let Some(node) = merged else { return Ok(()) };
    resource.node = node;
    if drops_annotations(&patch.node) {
        resource.forget_notes();
    }
    if !patch.allow_kind_change {
        resource.set_kind(&kind);
    }
    if !patch.allow_name_change {
        resource.set_name(&name).map_err(|problem| resource.error(problem))?;
    }
    resource
        .set_namespace(&namespace)
        .map_err(|problem| resource.error(problem))?;
    Ok(())
}
