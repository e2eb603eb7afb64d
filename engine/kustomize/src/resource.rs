//! Resources of a build and what the build remembers about them.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use nave_object::Object;
use nave_object::yaml::{Dialect, Map, Node, Scalar, SmolStr, Style};
use serde_json::Value;

use crate::edit::{self, is_nil_or_empty, raw_text};
use crate::error::{BuildError, Problem};
use crate::ids::{Gvk, Id};
use crate::origin::Origin;
use crate::schema::Schemas;
use crate::twins::Twins;

/// Annotations that kustomize keeps its notes in while it builds. We keep notes beside the object;
/// what a user wrote there goes, as with kustomize.
const BUILD_ANNOTATIONS: [&str; 19] = [
    "internal.config.kubernetes.io/previousKinds",
    "internal.config.kubernetes.io/previousNames",
    "internal.config.kubernetes.io/prefixes",
    "internal.config.kubernetes.io/suffixes",
    "internal.config.kubernetes.io/previousNamespaces",
    "internal.config.kubernetes.io/allowNameChange",
    "internal.config.kubernetes.io/allowKindChange",
    "internal.config.kubernetes.io/refBy",
    "internal.config.kubernetes.io/generatorBehavior",
    "internal.config.kubernetes.io/needsHashSuffix",
    "internal.config.kubernetes.io/path",
    "internal.config.kubernetes.io/index",
    "internal.config.kubernetes.io/seqindent",
    "internal.config.kubernetes.io/id",
    "internal.config.kubernetes.io/annotations-migration-resource-id",
    "config.kubernetes.io/path",
    "config.kubernetes.io/index",
    "config.k8s.io/id",
    "internal.config.kubernetes.io/helm-generated",
];
const NEEDS_HASH: &str = "internal.config.kubernetes.io/needsHashSuffix";
const BEHAVIOR: &str = "internal.config.kubernetes.io/generatorBehavior";
/// Objects of one file; lists in lists could make any number of them.
const MAX_OBJECTS: usize = 1_000_000;
const LOCAL_CONFIG: &str = "config.kubernetes.io/local-config";

/// What a generated object does to one that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Behavior {
    #[default]
    Create,
    Replace,
    Merge,
}

/// A name that a resource had at an earlier step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Previous {
    pub name: SmolStr,
    /// The effective namespace at that step.
    pub namespace: SmolStr,
    pub kind: SmolStr,
}

/// One object on its way through the build.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resource {
    pub node: Node,
    pub previous: Vec<Previous>,
    pub prefixes: Vec<SmolStr>,
    pub suffixes: Vec<SmolStr>,
    pub needs_hash: bool,
    pub behavior: Behavior,
    pub allow_name_change: bool,
    pub allow_kind_change: bool,
    pub from_helm: bool,
    /// Names of `vars` that read from this object.
    pub vars: Vec<String>,
    pub origin: Option<Origin>,
    pub transformations: Vec<Origin>,
    /// The file it was read from, for errors; empty for generated objects.
    pub file: Arc<str>,
    /// Scalars that are one in several places.
    pub twins: Twins,
}

/// The ids of a set of resources that only grows, so that adding a file does not look at all others again.
#[derive(Default)]
pub(crate) struct SeenIds {
    keys: HashSet<(Gvk, SmolStr, SmolStr)>,
    /// How many resources are noted.
    count: usize,
    /// Whether a user's description of types was there; it says which of them live in namespaces.
    custom: bool,
}

/// Resources in the order in which they were met.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ResMap {
    pub list: Vec<Resource>,
}

impl Resource {
    pub fn new(node: Node, file: Arc<str>) -> Resource {
        let annotation = |key: &str| node.at(&["metadata", "annotations", key]).and_then(Node::text);
        let needs_hash = annotation(NEEDS_HASH) == Some("enabled");
        let behavior = annotation(BEHAVIOR).and_then(Behavior::parse).unwrap_or_default();
        Resource {
            needs_hash,
            behavior,
            node,
            previous: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            allow_name_change: false,
            allow_kind_change: false,
            from_helm: false,
            vars: Vec::new(),
            origin: None,
            transformations: Vec::new(),
            file,
            twins: Twins::default(),
        }
    }

    pub fn api_version(&self) -> &str {
        self.node.get("apiVersion").map_or("", raw_text)
    }

    pub fn kind(&self) -> &str {
        self.node.get("kind").map_or("", raw_text)
    }

    pub fn name(&self) -> &str {
        self.node
            .at(&["metadata", "name"])
            .and_then(Node::text)
            .unwrap_or_default()
    }

    pub fn namespace(&self) -> &str {
        self.node
            .at(&["metadata", "namespace"])
            .and_then(Node::text)
            .unwrap_or_default()
    }

    pub fn gvk(&self) -> Gvk {
        Gvk::from_api_version(self.api_version(), self.kind())
    }

    pub fn current_id(&self, schemas: &Schemas) -> Id {
        Id::new(self.gvk(), self.name(), self.namespace(), schemas)
    }

    /// The id it was read with.
    pub fn original_id(&self, schemas: &Schemas) -> Id {
        match self.previous.first() {
            Some(first) => self.previous_id(first),
            None => self.current_id(schemas),
        }
    }

    /// Earlier ids, the oldest first. Their scope is not known: the namespace says it.
    pub fn previous_ids(&self) -> impl Iterator<Item = Id> {
        self.previous.iter().map(|previous| self.previous_id(previous))
    }

    fn previous_id(&self, previous: &Previous) -> Id {
        let gvk = Gvk {
            kind: previous.kind.clone(),
            ..Gvk::from_api_version(self.api_version(), "")
        };
        Id {
            gvk,
            name: previous.name.clone(),
            namespace: previous.namespace.clone(),
            cluster_scoped: false,
        }
    }

    /// Remembers the present id before a change.
    pub fn store_previous(&mut self, schemas: &Schemas) {
        let id = self.current_id(schemas);
        self.previous.push(Previous {
            namespace: id.effective_namespace().into(),
            name: id.name,
            kind: id.gvk.kind,
        });
    }

    /// Sets `metadata.name` to a text that is what it looks like, in the quotes of the old one.
    pub fn set_name(&mut self, name: &str) -> Result<(), String> {
        edit::put(
            edit::map_at(&mut self.node, &["metadata"])?,
            "name",
            Node::implicit(name),
        );
        Ok(())
    }

    /// Sets `metadata.namespace`; an empty one removes the field.
    pub fn set_namespace(&mut self, namespace: &str) -> Result<(), String> {
        let metadata = edit::map_at(&mut self.node, &["metadata"])?;
        if namespace.is_empty() {
            metadata.remove("namespace");
        } else {
            edit::put(metadata, "namespace", Node::implicit(namespace));
        }
        Ok(())
    }

    pub fn set_kind(&mut self, kind: &str) {
        if let Some(map) = self.node.as_map_mut() {
            edit::put(map, "kind", Node::implicit(kind));
        }
    }

    pub fn set_api_version(&mut self, api_version: &str) {
        if let Some(map) = self.node.as_map_mut() {
            edit::put(map, "apiVersion", Node::implicit(api_version));
        }
    }

    /// `metadata.labels` or `metadata.annotations` with all values as texts, as kustomize reads them.
    pub fn texts(&self, field: &str) -> Vec<(SmolStr, SmolStr)> {
        let map = self.node.at(&["metadata", field]).and_then(Node::as_map);
        map.map_or_else(Vec::new, |map| {
            map.iter()
                .map(|(key, value)| (key.text.clone(), raw_text(value).into()))
                .collect()
        })
    }

    /// Writes `metadata.labels` or `metadata.annotations` as texts; none removes the field.
    pub fn set_texts(&mut self, field: &str, texts: Vec<(SmolStr, SmolStr)>) -> Result<(), String> {
        let metadata = edit::map_at(&mut self.node, &["metadata"])?;
        if texts.is_empty() {
            metadata.remove(field);
            return Ok(());
        }
        let map: Map = texts
            .into_iter()
            .map(|(key, text)| (Scalar::implicit(key), Node::str(text)))
            .collect();
        metadata.insert(field, Node::Map(Arc::new(map)));
        Ok(())
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.node.at(&["metadata", "labels", key]).map(raw_text)
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.node.at(&["metadata", "annotations", key]).map(raw_text)
    }

    /// Whether kustomize would have notes about this object in its annotations by now, so that the
    /// field is there even if the user has none.
    pub fn has_notes(&self) -> bool {
        !self.previous.is_empty()
            || !self.prefixes.is_empty()
            || !self.suffixes.is_empty()
            || self.needs_hash
            || self.origin.is_some()
            || self.file.is_empty()
    }

    /// Forgets what the reference keeps in annotations: earlier names, what was put before and after the name, whether a
    /// hash is wanted, and where the object comes from.
    pub fn forget_notes(&mut self) {
        self.previous.clear();
        self.prefixes.clear();
        self.suffixes.clear();
        self.needs_hash = false;
        self.behavior = Behavior::default();
        self.allow_name_change = false;
        self.allow_kind_change = false;
        self.origin = None;
        self.transformations.clear();
    }

    /// Whether the object is only there for tools, and not for the cluster.
    pub fn is_local(&self) -> bool {
        self.annotation(LOCAL_CONFIG).is_some_and(|value| value != "false")
    }

    /// Writes notes that the user asked for into annotations, and drops all others.
    pub fn finish(&mut self, origins: bool, transformations: bool) -> Result<(), String> {
        let mut annotations = self.texts("annotations");
        annotations.retain(|(key, _)| !BUILD_ANNOTATIONS.contains(&key.as_str()));
        annotations.retain(|(key, _)| {
            (origins || key != crate::origin::ORIGIN) && (transformations || key != crate::origin::TRANSFORMATIONS)
        });
        if let Some(origin) = self.origin.as_ref().filter(|_| origins) {
            annotations.retain(|(key, _)| key != crate::origin::ORIGIN);
            annotations.push((crate::origin::ORIGIN.into(), origin.to_yaml().into()));
        }
        if transformations && !self.transformations.is_empty() {
            let text = Origin::list_to_yaml(&self.transformations);
            annotations.retain(|(key, _)| key != crate::origin::TRANSFORMATIONS);
            annotations.push((crate::origin::TRANSFORMATIONS.into(), text.into()));
        }
        self.set_texts("annotations", annotations)
    }

    /// The object as JSON.
    pub fn to_object(&self) -> Result<Object, BuildError> {
        match self.to_value()? {
            Value::Object(map) => Ok(Object::unchecked(map)),
            _ => Err(BuildError::transform(self.describe(), "the object is no map any more")),
        }
    }

    pub fn to_value(&self) -> Result<Value, BuildError> {
        self.node.to_value(Dialect::Kyaml).map_err(|error| {
            let problem = format!("{}: {}", self.describe(), error.problem);
            BuildError::new(&*self.file, error.line, Problem::Syntax(problem)).at_column(error.column)
        })
    }

    /// `Kind/namespace/name`.
    pub fn describe(&self) -> String {
        match self.namespace() {
            "" => format!("{}/{}", self.kind(), self.name()),
            namespace => format!("{}/{namespace}/{}", self.kind(), self.name()),
        }
    }

    /// An error about this resource.
    pub fn error(&self, problem: impl Into<String>) -> BuildError {
        BuildError::transform(self.describe(), problem)
    }
}

impl Behavior {
    pub fn parse(text: &str) -> Option<Behavior> {
        match text {
            "" | "create" => Some(Behavior::Create),
            "replace" => Some(Behavior::Replace),
            "merge" => Some(Behavior::Merge),
            _ => None,
        }
    }
}

impl ResMap {
    /// Adds resources behind the others.
    ///
    /// # Errors
    /// One of them has the id of another.
    pub fn append_all(&mut self, more: Vec<Resource>, schemas: &Schemas) -> Result<(), BuildError> {
        self.append_unseen(more, schemas, &mut SeenIds::default())
    }

    /// As [`ResMap::append_all`], with what was noted the last time; between two calls nothing but this may change
    /// the resources.
    ///
    /// # Errors
    /// One of them has the id of another.
    pub fn append_unseen(
        &mut self,
        more: Vec<Resource>,
        schemas: &Schemas,
        seen: &mut SeenIds,
    ) -> Result<(), BuildError> {
        if seen.custom != schemas.has_custom() {
            *seen = SeenIds::default();
            seen.custom = schemas.has_custom();
        }
        let unseen = self.list[seen.count..].iter();
        seen.keys
            .extend(unseen.map(|resource| resource.current_id(schemas).key()));
        seen.count = self.list.len() + more.len();
        for resource in more {
            let id = resource.current_id(schemas);
            if !seen.keys.insert(id.key()) {
                let first = self.list.iter().find(|other| other.current_id(schemas).same(&id));
                let first = first.map_or("", |other| &*other.file);
                let place = |file: &str| {
                    if file.is_empty() {
                        "a generator".to_owned()
                    } else {
                        file.to_owned()
                    }
                };
                return Err(BuildError::collision(format!(
                    "{id} ({}) is there twice: from {} and from {}",
                    Gvk::from_api_version(resource.api_version(), resource.kind()),
                    place(first),
                    place(&resource.file),
                )));
            }
            self.list.push(resource);
        }
        Ok(())
    }

    /// Adds a generated resource, by its behaviour to what is there.
    pub fn absorb(&mut self, mut resource: Resource, schemas: &Schemas) -> Result<(), BuildError> {
        let id = resource.current_id(schemas);
        // Most objects never had that name, and their ids need not be made.
        let matches: Vec<usize> = self.matching_where(
            |other| other.name() == id.name || other.previous.iter().any(|previous| previous.name == id.name),
            |other| id.same(other),
            schemas,
        );
        match (matches.as_slice(), resource.behavior) {
            ([], Behavior::Create) => {
                self.list.push(resource);
                Ok(())
            }
            ([], _) => Err(BuildError::selection(format!(
                "{id} does not exist; a generator cannot merge into it or replace it"
            ))),
            ([_], Behavior::Create) => Err(BuildError::collision(format!(
                "{id} exists already; set `behavior: merge` or `behavior: replace` on the generator"
            ))),
            ([index], behavior) => {
                let old = &self.list[*index];
                resource.take_metadata(old).map_err(|problem| resource.error(problem))?;
                if behavior == Behavior::Merge {
                    for field in ["data", "binaryData"] {
                        resource.merge_data(old, field);
                    }
                    if old.origin.is_some() {
                        resource.origin = old.origin.clone();
                    }
                }
                self.list[*index] = resource;
                Ok(())
            }
            (several, _) => Err(BuildError::selection(format!(
                "{} objects are {id}; a generator can merge into one only",
                several.len()
            ))),
        }
    }

    /// Places of resources with a present or earlier id that matches.
    pub fn matching_any(&self, matches: impl Fn(&Id) -> bool, schemas: &Schemas) -> Vec<usize> {
        self.matching_where(|_| true, matches, schemas)
    }

    fn matching_where(
        &self,
        may_match: impl Fn(&Resource) -> bool,
        matches: impl Fn(&Id) -> bool,
        schemas: &Schemas,
    ) -> Vec<usize> {
        (0..self.list.len())
            .filter(|index| {
                let resource = &self.list[*index];
                may_match(resource)
                    && !is_nil_or_empty(&resource.node)
                    && (matches(&resource.current_id(schemas)) || resource.previous_ids().any(|id| matches(&id)))
            })
            .collect()
    }

    /// Drops resources that a patch emptied.
    pub fn drop_empty(&mut self) {
        self.list.retain(|resource| !is_nil_or_empty(&resource.node));
    }
}

impl Resource {
    /// Takes over name, namespace, labels and annotations of the object that is replaced;
    /// this object's own labels and annotations win.
    pub fn take_metadata(&mut self, old: &Resource) -> Result<(), String> {
        for field in ["labels", "annotations"] {
            let mut merged = old.texts(field);
            for (key, value) in self.texts(field) {
                match merged.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, place)) => *place = value,
                    None => merged.push((key, value)),
                }
            }
            self.set_texts(field, merged)?;
        }
        self.set_name(old.name())?;
        self.set_namespace(old.namespace())?;
        self.previous = old.previous.clone();
        self.prefixes = old.prefixes.clone();
        self.suffixes = old.suffixes.clone();
        self.allow_name_change = old.allow_name_change;
        self.allow_kind_change = old.allow_kind_change;
        self.behavior = old.behavior;
        // A hash is added only where both want one.
        self.needs_hash &= old.needs_hash;
        self.vars = old.vars.clone();
        self.transformations.clone_from(&old.transformations);
        Ok(())
    }

    fn merge_data(&mut self, old: &Resource, field: &str) {
        let read = |resource: &Resource| -> Vec<(SmolStr, SmolStr)> {
            let map = resource.node.get(field).and_then(Node::as_map);
            map.map_or_else(Vec::new, |map| {
                map.iter()
                    .map(|(key, value)| (key.text.clone(), value.text().unwrap_or_default().into()))
                    .collect()
            })
        };
        let mut merged = read(old);
        for (key, value) in read(self) {
            match merged.iter_mut().find(|(known, _)| *known == key) {
                Some((_, place)) => *place = value,
                None => merged.push((key, value)),
            }
        }
        let Some(object) = self.node.as_map_mut() else { return };
        object.remove(field);
        if merged.is_empty() {
            return;
        }
        let map: Map = merged
            .into_iter()
            .map(|(key, text)| (Scalar::implicit(key), data_text(&text)))
            .collect();
        object.push(Scalar::str(field), Node::Map(Arc::new(map)));
    }
}

/// A value of a ConfigMap's data.
pub(crate) fn data_text(text: &str) -> Node {
    let style = if text.contains('\n') {
        Style::Literal
    } else {
        Style::Plain
    };
    Node::Scalar(Scalar {
        style,
        ..Scalar::str(text)
    })
}

/// The objects of a file, as kustomize reads them: lists are taken apart, empty documents skipped.
///
/// # Errors
/// Broken YAML, and documents without kind or name.
pub(crate) fn read_resources(text: &str, file: &str) -> Result<Vec<Resource>, BuildError> {
    let nodes = nave_object::yaml::parse_nodes(text, Dialect::Kyaml).map_err(|error| BuildError::yaml(file, error))?;
    resources_from_nodes(nodes, file)
}

pub(crate) fn resources_from_nodes(nodes: Vec<Node>, file: &str) -> Result<Vec<Resource>, BuildError> {
    let shared: Arc<str> = file.into();
    let alone = nodes.len() == 1;
    let mut queue: VecDeque<Node> = nodes.into();
    if alone
        && let Some(node) = queue.front()
        && matches!(node.get("kind").and_then(Node::text), Some("List" | "ResourceList"))
        && let Some(items) = node.get("items").and_then(Node::as_seq)
    {
        queue = items.to_vec().into();
    }
    let mut resources = Vec::new();
    queue.retain(|node| !is_nil_or_empty(node));
    for node in &queue {
        validate(node).map_err(|problem| syntax(file, node, problem))?;
    }
    while let Some(node) = queue.pop_front() {
        let kind = node.get("kind").map_or("", raw_text);
        let items = if kind.ends_with("List") {
            node.get("items")
        } else {
            None
        };
        if resources.len() + queue.len() > MAX_OBJECTS {
            return Err(BuildError::limit(format!("{file} has more than {MAX_OBJECTS} objects")));
        }
        match items {
            None => resources.push(Resource::new(node, shared.clone())),
            Some(items) if items.is_null() => {}
            Some(Node::Seq(items)) => {
                for item in items.iter() {
                    let mut item = item.clone();
                    // Items are decoded as they stand, and not written and read before.
                    if has_folded(&item) {
                        unfold(&mut item);
                    }
                    let value = item
                        .to_value(Dialect::Kyaml)
                        .map_err(|error| BuildError::yaml(file, error))?;
                    let item = quoted(&value);
                    if is_nil_or_empty(&item) {
                        continue;
                    }
                    validate(&item).map_err(|problem| syntax(file, &node, problem))?;
                    // Items go behind all documents of the file.
                    queue.push_back(item);
                }
            }
            Some(other) => {
                let problem = format!("{kind}: expected items to be a list, found {}", other.type_name());
                return Err(syntax(file, other, problem));
            }
        }
    }
    Ok(resources)
}

fn has_folded(node: &Node) -> bool {
    match node {
        Node::Scalar(scalar) => scalar.style == Style::Folded,
        Node::Seq(items) => items.iter().any(has_folded),
        Node::Map(map) => map.iter().any(|(_, value)| has_folded(value)),
    }
}

/// Makes folded blocks literal ones, which lose nothing when they are decoded.
fn unfold(node: &mut Node) {
    match node {
        Node::Scalar(scalar) if scalar.style == Style::Folded => scalar.style = Style::Literal,
        Node::Scalar(_) => {}
        Node::Seq(_) => node.as_seq_mut().into_iter().flatten().for_each(unfold),
        Node::Map(_) => {
            let map = node.as_map_mut().into_iter();
            map.for_each(|map| map.values_mut().for_each(unfold));
        }
    }
}

/// JSON as kustomize's reader takes it: every text is quoted.
fn quoted(value: &Value) -> Node {
    match value {
        Value::String(text) => Node::Scalar(Scalar {
            style: Style::Double,
            ..Scalar::str(text.as_str())
        }),
        Value::Array(items) => Node::seq(items.iter().map(quoted).collect()),
        Value::Object(entries) => Node::Map(Arc::new(
            entries
                .iter()
                .map(|(key, item)| (Scalar::str(key.as_str()), quoted(item)))
                .collect(),
        )),
        other => Node::from_value(other),
    }
}

fn syntax(file: &str, node: &Node, problem: String) -> BuildError {
    BuildError::new(file, node.line() as usize, Problem::Syntax(problem)).at_column(node.column() as usize)
}

pub(crate) fn validate(node: &Node) -> Result<(), String> {
    if node.as_map().is_none() {
        return Err(format!("expected a Kubernetes object, found {}", node.type_name()));
    }
    let kind = node.get("kind").and_then(Node::text).unwrap_or_default();
    let name = node.at(&["metadata", "name"]).and_then(Node::text).unwrap_or_default();
    if kind.is_empty() {
        let of = if name.is_empty() {
            String::new()
        } else {
            format!(" `{name}`")
        };
        return Err(format!("the object{of} has no kind"));
    }
    if name.is_empty() && !kind.ends_with("List") {
        return Err(format!("the {kind} has no metadata.name"));
    }
    Ok(())
}
