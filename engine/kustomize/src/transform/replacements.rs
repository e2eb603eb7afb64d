//! `replacements`: a value from one field goes into others.

use nave_object::yaml::{Dialect, Node, Style};

use crate::edit::{self, raw_text};
use crate::error::BuildError;
use crate::fieldpath::{self, Make};
use crate::ids::{Gvk, Id};
use crate::kustomization::{FieldOptions, Replacement, SourceSelector, TargetSelector};
use crate::resource::{ResMap, Resource};
use crate::schema::Schemas;
use crate::selector::Matcher;
use crate::transform::hash::go_json;
use crate::twins::separate;

/// Levels and parts of an object that replacements may make.
const MAX_LEVELS: usize = 512;
const MAX_NODES: usize = 1 << 20;
const DEFAULT_PATH: &str = "metadata.name";

/// Carries out replacements in their order.
///
/// # Errors
/// A source that is not one object or has not the field; a target field that does not exist and is
/// not to be made.
pub(crate) fn replace(
    resources: &mut ResMap,
    replacements: &[Replacement],
    schemas: &Schemas,
) -> Result<(), BuildError> {
    for (index, replacement) in replacements.iter().enumerate() {
        replace_one(resources, replacement, schemas).map_err(|error| at(index, error))?;
    }
    resources.drop_empty();
    Ok(())
}

fn at(index: usize, mut error: BuildError) -> BuildError {
    if let crate::error::Problem::Selection(text) = &mut error.problem {
        *text = format!("replacements[{index}]: {text}");
    }
    error
}

fn replace_one(resources: &mut ResMap, replacement: &Replacement, schemas: &Schemas) -> Result<(), BuildError> {
    let Some(targets) = &replacement.targets else {
        return Err(BuildError::selection(
            "a replacement needs a source and at least one target",
        ));
    };
    let mut value = match (&replacement.source, &replacement.source_value) {
        (Some(_), Some(_)) => {
            return Err(BuildError::selection("source and sourceValue exclude each other"));
        }
        (None, None) => {
            return Err(BuildError::selection(
                "a replacement needs a source and at least one target",
            ));
        }
        (None, Some(text)) => Value {
            node: Node::implicit(text.as_str()),
            from: None,
        },
        (Some(source), None) => source_value(resources, source, schemas)?,
    };
    for target in targets {
        apply(resources, target, &mut value, schemas)?;
        // A list or map that goes into itself doubles each time.
        for resource in resources.list.iter().filter(|_| value.node.as_scalar().is_none()) {
            if !resource.node.is_within(&mut { MAX_NODES }, MAX_LEVELS) {
                let problem = format!("replacements give it more than {MAX_LEVELS} levels or {MAX_NODES} parts");
                return Err(BuildError::limit(format!("{}: {problem}", resource.describe())));
            }
        }
    }
    Ok(())
}

/// What is to be written. Without a delimiter, kustomize holds the field itself: where a target is
/// the source, later targets get what was written.
struct Value {
    node: Node,
    /// The object it comes from, and where it stands there.
    from: Option<(usize, Vec<String>)>,
}

impl Value {
    fn is_from(&self, place: usize) -> bool {
        self.from.as_ref().is_some_and(|(from, _)| *from == place)
    }

    /// What the source says now; `object` is the one that it comes from.
    fn read_again(&mut self, object: &Node) {
        if let Some((_, parts)) = &self.from
            && let Ok(Some(field)) = fieldpath::lookup(object, parts)
        {
            let mut node = field.clone();
            separate(&mut node);
            self.node = node;
        }
    }
}

fn source_value(resources: &ResMap, source: &SourceSelector, schemas: &Schemas) -> Result<Value, BuildError> {
    let wanted = Id {
        gvk: Gvk::new(&source.group, &source.version, &source.kind),
        name: source.name.as_str().into(),
        namespace: source.namespace.as_str().into(),
        cluster_scoped: false,
    };
    let selects = |id: &Id| {
        (wanted.name.is_empty() || wanted.name == id.name)
            && (wanted.namespace.is_empty() || wanted.effective_namespace() == plain_namespace(id))
            && id.gvk.is_selected(&wanted.gvk)
    };
    let describe = || {
        let kind = if source.kind.is_empty() { "object" } else { &source.kind };
        let name = if source.name.is_empty() {
            "any name"
        } else {
            &source.name
        };
        format!("{kind} `{name}`")
    };
    let found: Vec<(usize, &Resource)> = resources
        .list
        .iter()
        .enumerate()
        .filter(|(_, resource)| {
            selects(&resource.current_id(schemas)) || resource.previous_ids().any(|id| selects(&id))
        })
        .collect();
    let (place, object) = match found.as_slice() {
        [one] => *one,
        [] => {
            return Err(BuildError::selection(format!(
                "the source selects nothing: {}",
                describe()
            )));
        }
        several => {
            let names: Vec<String> = several.iter().map(|(_, object)| object.describe()).collect();
            let names = names.join(", ");
            return Err(BuildError::selection(format!(
                "the source {} selects several objects: {names}",
                describe()
            )));
        }
    };
    let path = if source.field_path.is_empty() {
        DEFAULT_PATH
    } else {
        &source.field_path
    };
    let parts = fieldpath::split(path);
    let field = fieldpath::lookup(&object.node, &parts)
        .map_err(|problem| object.error(format!("replacement source {path}: {problem}")))?
        .filter(|node| !edit::is_nil_or_empty(node))
        .ok_or_else(|| object.error(format!("replacement source: there is no field {path}")))?;
    let mut node = field.clone();
    separate(&mut node);
    match &source.options {
        Some(options) if !options.delimiter.is_empty() => Ok(Value {
            node: cut(field, options).map_err(|problem| object.error(problem))?,
            from: None,
        }),
        _ => Ok(Value {
            node,
            from: Some((place, parts)),
        }),
    }
}

/// Kustomize compares these ids without knowing which kinds have a namespace.
fn plain_namespace(id: &Id) -> &str {
    if id.namespace.is_empty() {
        crate::ids::DEFAULT_NAMESPACE
    } else {
        &id.namespace
    }
}

fn cut(field: &Node, options: &FieldOptions) -> Result<Node, String> {
    let Node::Scalar(scalar) = field else {
        return Err("options.delimiter needs a text as source".to_owned());
    };
    let parts: Vec<&str> = scalar.text.split(options.delimiter.as_str()).collect();
    let part = usize::try_from(options.index).ok().and_then(|index| parts.get(index));
    let part = part.ok_or_else(|| format!("options.index {} is out of bounds for `{}`", options.index, scalar.text))?;
    let mut scalar = scalar.clone();
    scalar.text = (*part).into();
    Ok(Node::Scalar(scalar))
}

fn apply(
    resources: &mut ResMap,
    target: &TargetSelector,
    value: &mut Value,
    schemas: &Schemas,
) -> Result<(), BuildError> {
    let Some(select) = &target.select else {
        return Err(BuildError::selection("a target needs `select`"));
    };
    let select = Matcher::new(select)?;
    let rejects = target.reject.iter().map(Matcher::new).collect::<Result<Vec<_>, _>>()?;
    let default = [DEFAULT_PATH.to_owned()];
    let paths = if target.field_paths.is_empty() {
        &default[..]
    } else {
        &target.field_paths
    };
    for (place, resource) in resources.list.iter_mut().enumerate() {
        if !select.matches_metadata(resource) {
            continue;
        }
        let rejected_by_metadata = target.reject.iter().zip(&rejects).any(|(selector, matcher)| {
            !(selector.label_selector.is_empty() && selector.annotation_selector.is_empty())
                && matcher.matches_metadata(resource)
        });
        if rejected_by_metadata {
            continue;
        }
        let mut ids: Vec<Id> = vec![resource.current_id(schemas)];
        ids.extend(resource.previous_ids());
        let rejected = rejects
            .iter()
            .filter(|reject| reject.asks_for_id())
            .any(|reject| ids.iter().any(|id| reject.matches_id(id)));
        if rejected || !ids.iter().any(|id| select.matches_id(id)) {
            continue;
        }
        for path in paths {
            if value.is_from(place) && value.node.as_scalar().is_none() {
                // A field that is made inside of the source is part of what is written there.
                make_field(&mut resource.node, path, &value.node, target.options.as_ref());
                value.read_again(&resource.node);
            }
            let written = write(&mut resource.node, path, &value.node, target.options.as_ref());
            written
                .map_err(|problem| resource.error(format!("replacement target field {}: {problem}", shorten(path))))?;
            if value.is_from(place) {
                value.read_again(&resource.node);
            }
        }
    }
    Ok(())
}

/// A path for errors, which may be any text.
fn shorten(path: &str) -> std::borrow::Cow<'_, str> {
    match path.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &path[..end]).into(),
        None => path.into(),
    }
}

fn made_for(value: &Node, options: Option<&FieldOptions>) -> Make {
    match options {
        Some(options) if options.create => match value {
            Node::Map(_) => Make::Map,
            Node::Seq(_) => Make::Seq,
            Node::Scalar(_) => Make::Scalar,
        },
        _ => Make::Nothing,
    }
}

/// Makes a target's field where it is missing and may be made; what is wrong with it, [`write`] says.
fn make_field(node: &mut Node, path: &str, value: &Node, options: Option<&FieldOptions>) {
    let make = made_for(value, options);
    if make != Make::Nothing {
        let _ = fieldpath::visit(node, &fieldpath::split(path), make, &mut |_| Ok(()));
    }
}

fn write(node: &mut Node, path: &str, value: &Node, options: Option<&FieldOptions>) -> Result<(), String> {
    let make = made_for(value, options);
    let parts = fieldpath::split(path);
    if write_inside_text(node, &parts, value, make) {
        return Ok(());
    }
    let count = fieldpath::visit(node, &parts, make, &mut |field| set(field, value, options))?;
    match count {
        0 if make == Make::Nothing => Err("the field does not exist; `options.create` makes it".to_owned()),
        0 => Err("the field can be neither found nor made".to_owned()),
        _ => Ok(()),
    }
}

/// A scalar takes the value's text and keeps its own type; anything else becomes the value.
fn set(field: &mut Node, value: &Node, options: Option<&FieldOptions>) -> Result<(), String> {
    let mut value = value.clone();
    if let Some(options) = options.filter(|options| !options.delimiter.is_empty()) {
        let Node::Scalar(old) = &*field else {
            return Err("options.delimiter needs a text as target".to_owned());
        };
        let new = raw_text(&value).to_owned();
        let mut parts: Vec<&str> = old.text.split(options.delimiter.as_str()).collect();
        match usize::try_from(options.index) {
            Err(_) => parts.insert(0, &new),
            Ok(index) if index >= parts.len() => parts.push(&new),
            Ok(index) => parts[index] = &new,
        }
        let joined = parts.join(&options.delimiter);
        match &mut value {
            Node::Scalar(scalar) => scalar.text = joined.into(),
            other => *other = Node::implicit(joined),
        }
    }
    match field {
        Node::Scalar(scalar) => scalar.text = raw_text(&value).into(),
        other => *other = value,
    }
    Ok(())
}

/// Writes into YAML or JSON that stands in a text: `data.config\.yaml.server.port`. `false` when the
/// path leads into no such text, or not to a field there.
fn write_inside_text(node: &mut Node, parts: &[String], value: &Node, make: Make) -> bool {
    for length in 1..parts.len() {
        let (outer, inner) = parts.split_at(length);
        let Ok(Some(Node::Scalar(scalar))) = fieldpath::lookup(node, outer) else {
            continue;
        };
        let text = scalar.text.clone();
        let Ok(documents) = nave_object::yaml::parse_nodes(&text, Dialect::Kyaml) else {
            continue;
        };
        let Some(mut inside) = documents.into_iter().next() else {
            return false;
        };
        let mut put = |field: &mut Node| {
            match field {
                Node::Scalar(scalar) => scalar.text = raw_text(value).into(),
                other => *other = value.clone(),
            }
            Ok(())
        };
        if !fieldpath::visit(&mut inside, inner, make, &mut put).is_ok_and(|count| count > 0) {
            return false;
        }
        let Some(written) = write_text(&inside, &text) else {
            return false;
        };
        let mut replace = |field: &mut Node| {
            if let Node::Scalar(scalar) = field {
                scalar.text = written.as_str().into();
            }
            Ok(())
        };
        return fieldpath::visit(node, outer, Make::Nothing, &mut replace).is_ok();
    }
    false
}

/// JSON stays JSON, compact or indented as it was; YAML stays YAML in its order.
fn write_text(node: &Node, original: &str) -> Option<String> {
    if original.trim_start().starts_with(['{', '[']) {
        let value = node.to_value(Dialect::Kyaml).ok()?;
        if original.contains('\n') && original.contains("  ") {
            let mut out = String::new();
            indented(&value, 0, &mut out);
            return Some(out);
        }
        return Some(go_json(&value));
    }
    let mut out = String::new();
    yaml(node, 0, &mut out);
    Some(out.trim().to_owned())
}

fn indented(value: &serde_json::Value, depth: usize, out: &mut String) {
    let pad = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    match value {
        serde_json::Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                pad(out, depth + 1);
                indented(item, depth + 1, out);
            }
            pad(out, depth);
            out.push(']');
        }
        serde_json::Value::Object(map) if !map.is_empty() => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                pad(out, depth + 1);
                out.push_str(&go_json(&serde_json::Value::String(key.clone())));
                out.push_str(": ");
                indented(&map[key], depth + 1, out);
            }
            pad(out, depth);
            out.push('}');
        }
        other => out.push_str(&go_json(other)),
    }
}

/// Block style YAML in the order of the nodes, scalars in the quotes they had.
fn yaml(node: &Node, indent: usize, out: &mut String) {
    let pad = "  ".repeat(indent);
    match node {
        Node::Map(map) if map.is_empty() => out.push_str("{}\n"),
        Node::Seq(items) if items.is_empty() => out.push_str("[]\n"),
        Node::Map(map) => {
            for (index, (key, value)) in map.iter().enumerate() {
                if index > 0 {
                    out.push_str(&pad);
                }
                out.push_str(&scalar_text(&Node::Scalar(key.clone()), 0));
                out.push(':');
                match value {
                    Node::Map(inner) if !inner.is_empty() => {
                        out.push('\n');
                        out.push_str(&"  ".repeat(indent + 1));
                        yaml(value, indent + 1, out);
                    }
                    Node::Seq(inner) if !inner.is_empty() => {
                        out.push('\n');
                        out.push_str(&pad);
                        yaml(value, indent, out);
                    }
                    other => {
                        out.push(' ');
                        yaml(other, indent + 1, out);
                    }
                }
            }
        }
        Node::Seq(items) => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(&pad);
                }
                out.push_str("- ");
                yaml(item, indent + 1, out);
            }
        }
        scalar => {
            out.push_str(&scalar_text(scalar, indent));
            out.push('\n');
        }
    }
}

fn scalar_text(node: &Node, indent: usize) -> String {
    let Node::Scalar(scalar) = node else {
        return String::new();
    };
    match scalar.style {
        Style::Single => format!("'{}'", scalar.text.replace('\'', "''")),
        Style::Double => serde_json::to_string(scalar.text.as_str()).unwrap_or_default(),
        Style::Literal | Style::Folded => {
            let pad = "  ".repeat(indent.max(1));
            let chomp = if scalar.text.ends_with('\n') { "" } else { "-" };
            let lines: Vec<String> = scalar
                .text
                .trim_end_matches('\n')
                .lines()
                .map(|line| format!("{pad}{line}"))
                .collect();
            format!("|{chomp}\n{}", lines.join("\n"))
        }
        Style::Plain => match node.to_value(Dialect::Kyaml) {
            Ok(serde_json::Value::String(_)) => {
                let text = scalar.text.to_string();
                nave_object::yaml::write(&serde_json::Value::String(text))
                    .trim_end()
                    .to_owned()
            }
            _ => scalar.text.to_string(),
        },
    }
}
