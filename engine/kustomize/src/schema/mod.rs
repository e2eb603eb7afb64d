//! What is known of types: which lists are merged by which keys, and which kinds have no namespace.
//!
//! Built-in types come from a table; a user's OpenAPI description takes the table's place.

mod custom;
mod scope;
mod table;

use std::cell::Cell;
use std::cmp::Ordering;

pub(crate) use custom::CustomSchema;

use crate::ids::Gvk;

/// One field of a built-in type that leads to a merged list.
pub(crate) enum Field {
    /// A map of the type with this index.
    Type(u16),
    /// A list merged by these keys (none: a list of scalars), and the type of its elements.
    List(&'static [&'static str], Option<u16>),
}

/// References are followed this far; a longer chain is a cycle.
const MAX_REFERENCES: usize = 32;

/// All schemas of a build.
///
/// Kustomize reads descriptions when it first asks for one, and what is read later takes the place of what has the
/// same name. So a user's description stands alone, above the built-in one, or below it, by what was asked before.
#[derive(Default)]
pub(crate) struct Schemas {
    chosen: Chosen,
    /// Whether what was chosen has been read.
    read: Cell<bool>,
    built_in: Cell<BuiltIn>,
}

/// What a kustomization file chose; the first that says something counts.
#[derive(Default)]
enum Chosen {
    #[default]
    Nothing,
    BuiltIn,
    Custom(Box<CustomSchema>),
}

/// How it is with the built-in description.
#[derive(Clone, Copy, Default, PartialEq)]
enum BuiltIn {
    #[default]
    Unused,
    /// Noted as needed; it is read with the next one.
    Wanted,
    /// Read before the user's.
    Below,
    /// Read last.
    Above,
}

/// Whether a built-in kind lives outside namespaces; a kind that is not built in is taken to live in one, as kustomize
/// takes it.
pub fn is_cluster_scoped(api_version: &str, kind: &str) -> bool {
    Schemas::default().is_cluster_scoped(&Gvk::from_api_version(api_version, kind))
}

/// The keys by which a list of a built-in kind is merged: none for a list that is replaced as a whole, no keys for one of
/// scalars. Elements of lists do not count in the path.
pub fn merge_keys(api_version: &str, kind: &str, path: &[&str]) -> Option<Vec<String>> {
    let schemas = Schemas::default();
    let mut schema = schemas.of(api_version, kind)?;
    for (index, name) in path.iter().enumerate() {
        schema = schema.field(name)?;
        if index + 1 < path.len() && schema.merge_keys().is_some() {
            schema = schema.elements()?;
        }
    }
    let keys = schema.merge_keys()?;
    Some(keys.into_iter().map(str::to_owned).collect())
}

/// What is known of one node while merging.
#[derive(Clone, Copy)]
pub(crate) struct Schema<'a> {
    schemas: &'a Schemas,
    place: Place<'a>,
}

#[derive(Clone, Copy)]
enum Place<'a> {
    Table(u16),
    TableList(&'static [&'static str], Option<u16>),
    Custom(&'a serde_json::Value),
}

impl Schemas {
    /// Whether the kind is certain to live outside namespaces.
    pub fn is_cluster_scoped(&self, gvk: &Gvk) -> bool {
        let key = ApiKey::of(gvk);
        if scope::CLUSTER_SCOPED
            .binary_search_by(|entry| key.compare(entry))
            .is_ok()
        {
            return true;
        }
        if scope::NAMESPACED.binary_search_by(|entry| key.compare(entry)).is_ok() {
            return false;
        }
        match &self.chosen {
            Chosen::Custom(custom) => {
                self.read();
                custom.is_cluster_scoped(gvk)
            }
            Chosen::Nothing | Chosen::BuiltIn => {
                if self.built_in.get() == BuiltIn::Unused {
                    self.built_in.set(BuiltIn::Wanted);
                }
                false
            }
        }
    }

    /// Chooses a user's description, for all that is merged from now on.
    pub fn choose(&mut self, custom: CustomSchema) {
        self.chosen = Chosen::Custom(Box::new(custom));
        self.read.set(false);
        if self.built_in.get() == BuiltIn::Above {
            self.built_in.set(BuiltIn::Below);
        }
    }

    /// Chooses the built-in description, so that no other is taken.
    pub fn choose_built_in(&mut self) {
        self.chosen = Chosen::BuiltIn;
    }

    /// Whether a kustomization file has chosen.
    pub fn is_chosen(&self) -> bool {
        !matches!(self.chosen, Chosen::Nothing)
    }

    pub fn has_custom(&self) -> bool {
        matches!(self.chosen, Chosen::Custom(_))
    }

    /// What is known of a kind.
    pub fn of(&self, api_version: &str, kind: &str) -> Option<Schema<'_>> {
        self.read();
        let custom = || {
            let custom = self.custom()?.of(api_version, kind)?;
            Some(Place::Custom(custom))
        };
        let table = || {
            // What kustomize knows of its own files it reads after all else.
            let own = (api_version, kind) == ("kustomize.config.k8s.io/v1beta1", "Kustomization");
            let found = table::KINDS
                .binary_search_by(|(version, name, _)| (*version, *name).cmp(&(api_version, kind)))
                .ok()
                .filter(|_| own || self.has_built_in())?;
            Some(Place::Table(table::KINDS[found].2))
        };
        let place = match self.built_in.get() {
            BuiltIn::Above => table().or_else(custom),
            _ => custom().or_else(table),
        };
        place.map(|place| Schema { schemas: self, place })
    }

    /// Reads what was chosen, unless that was done.
    fn read(&self) {
        if self.read.replace(true) {
            return;
        }
        match (self.has_custom(), self.built_in.get()) {
            (false, _) | (true, BuiltIn::Wanted) => self.built_in.set(BuiltIn::Above),
            (true, BuiltIn::Unused | BuiltIn::Below | BuiltIn::Above) => {}
        }
    }

    fn custom(&self) -> Option<&CustomSchema> {
        match &self.chosen {
            Chosen::Custom(custom) => Some(custom),
            Chosen::Nothing | Chosen::BuiltIn => None,
        }
    }

    fn has_built_in(&self) -> bool {
        matches!(self.built_in.get(), BuiltIn::Below | BuiltIn::Above)
    }

    /// The definition of a name.
    fn definition(&self, name: &str) -> Option<Place<'_>> {
        let custom = || Some(Place::Custom(self.custom()?.definition(name)?));
        let table = || {
            let found = table::NAMES.binary_search(&name).ok();
            let index = found.filter(|_| self.has_built_in())?;
            Some(Place::Table(u16::try_from(index).expect("there are few types")))
        };
        match self.built_in.get() {
            BuiltIn::Above => table().or_else(custom),
            _ => custom().or_else(table),
        }
    }

    /// The type with an index; a user's definition of the same name may stand above it.
    fn type_of_table(&self, index: u16) -> Place<'_> {
        if self.built_in.get() == BuiltIn::Below
            && let Some(place) = self.definition(table::NAMES[usize::from(index)])
        {
            return place;
        }
        Place::Table(index)
    }

    /// What a schema refers to, or the schema itself.
    fn resolve<'a>(&'a self, mut schema: &'a serde_json::Value) -> Option<Place<'a>> {
        for _ in 0..MAX_REFERENCES {
            let Some(reference) = schema.get("$ref").and_then(serde_json::Value::as_str) else {
                return Some(Place::Custom(schema));
            };
            let pointer = reference.strip_prefix('#')?;
            let definition = pointer
                .strip_prefix("/definitions/")
                .filter(|name| !name.contains(['/', '~']))
                .map(|name| self.definition(name));
            schema = match definition {
                Some(Some(Place::Custom(next))) => next,
                Some(found) => return found,
                None => self.custom()?.at(pointer)?,
            };
        }
        None
    }
}

impl<'a> Schema<'a> {
    /// What is known of a field of a map.
    pub fn field(&self, name: &str) -> Option<Schema<'a>> {
        self.schemas.read();
        let place = match self.place {
            Place::Table(index) => {
                let fields = table::TYPES[usize::from(index)];
                let place = fields.binary_search_by(|(field, _)| (*field).cmp(name)).ok()?;
                match fields[place].1 {
                    Field::Type(index) => self.schemas.type_of_table(index),
                    Field::List(keys, items) => Place::TableList(keys, items),
                }
            }
            Place::TableList(..) => return None,
            Place::Custom(schema) => self.schemas.resolve(CustomSchema::field(schema, name)?)?,
        };
        Some(Schema { place, ..*self })
    }

    /// What is known of the elements of a list.
    pub fn elements(&self) -> Option<Schema<'a>> {
        self.schemas.read();
        let place = match self.place {
            Place::Table(_) => return None,
            Place::TableList(_, items) => self.schemas.type_of_table(items?),
            Place::Custom(schema) => self.schemas.resolve(CustomSchema::elements(schema)?)?,
        };
        Some(Schema { place, ..*self })
    }

    /// The keys by which a list is merged: `None` for a list that is replaced, no keys for one
    /// of scalars.
    pub fn merge_keys(&self) -> Option<Vec<&'a str>> {
        match self.place {
            Place::Table(_) => None,
            Place::TableList(keys, _) => Some(keys.to_vec()),
            Place::Custom(schema) => CustomSchema::merge_keys(schema),
        }
    }
}

/// `apiVersion` and kind, compared without joining group and version first.
struct ApiKey<'a>(&'a Gvk);

impl<'a> ApiKey<'a> {
    fn of(gvk: &'a Gvk) -> ApiKey<'a> {
        ApiKey(gvk)
    }

    /// How an entry stands to this key in the order of the joined texts.
    fn compare(&self, entry: &(&str, &str)) -> Ordering {
        let gvk = self.0;
        let by_version = match gvk.group.as_str() {
            "" => entry.0.cmp(gvk.version.as_str()),
            group => match entry.0.as_bytes().split_at_checked(group.len()) {
                Some((front, rest)) => front.cmp(group.as_bytes()).then_with(|| match rest.split_first() {
                    None => Ordering::Less,
                    Some((mark, version)) => mark.cmp(&b'/').then_with(|| version.cmp(gvk.version.as_bytes())),
                }),
                // Shorter than the group alone.
                None => entry
                    .0
                    .as_bytes()
                    .cmp(&group.as_bytes()[..entry.0.len()])
                    .then(Ordering::Less),
            },
        };
        by_version.then_with(|| entry.1.cmp(gvk.kind.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_built_in_types_have_their_keys() {
        let schemas = Schemas::default();
        let pod = ["spec", "template", "spec"];
        for (api_version, kind, path, keys) in [
            ("apps/v1", "Deployment", "containers", Some(vec!["name"])),
            ("apps/v1", "Deployment", "tolerations", None),
            ("apps/v1", "Deployment", "hostAliases", Some(vec!["ip"])),
            ("apps/v1", "Deployment", "volumes", Some(vec!["name"])),
        ] {
            let mut schema = schemas.of(api_version, kind);
            for name in pod.iter().copied().chain([path]) {
                schema = schema.and_then(|schema| schema.field(name));
            }
            assert_eq!(schema.and_then(|schema| schema.merge_keys()), keys, "{kind} {path}");
        }
        let ports = schemas
            .of("v1", "Service")
            .and_then(|s| s.field("spec")?.field("ports"));
        assert_eq!(
            ports.and_then(|schema| schema.merge_keys()),
            Some(vec!["port", "protocol"])
        );
    }

    #[test]
    fn keys_are_found_through_lists() {
        let keys = |path: &[&str]| merge_keys("apps/v1", "Deployment", path);
        let pod = ["spec", "template", "spec", "containers"];
        assert_eq!(keys(&pod), Some(vec!["name".to_owned()]));
        let ports: Vec<&str> = pod.iter().copied().chain(["ports"]).collect();
        assert_eq!(
            keys(&ports).and_then(|keys| keys.into_iter().next()).as_deref(),
            Some("containerPort")
        );
        let arguments: Vec<&str> = pod.iter().copied().chain(["args"]).collect();
        assert_eq!(keys(&arguments), None);
        assert_eq!(keys(&["metadata", "finalizers"]), Some(Vec::new()));
        assert_eq!(merge_keys("example.com/v1", "Deployment", &pod), None);
    }

    /// Asks for the keys of `spec.template.spec.containers` of a Deployment after `steps`.
    fn check_layers(steps: &[&str], wanted: Option<Vec<&str>>) {
        let custom = serde_json::json!({"definitions": {
            "own.Deployment": {
                "x-kubernetes-group-version-kind": [{"group": "apps", "version": "v1", "kind": "Deployment"}],
                "properties": {"spec": {"properties": {
                    "template": {"$ref": "#/definitions/io.k8s.api.core.v1.PodTemplateSpec"}
                }}},
            },
            "io.k8s.api.core.v1.PodSpec": {"properties": {"containers": {
                "type": "array",
                "x-kubernetes-patch-strategy": "merge",
                "x-kubernetes-patch-merge-key": "own",
            }}},
        }});
        let mut schemas = Schemas::default();
        for step in steps {
            match *step {
                "scope" => assert!(!schemas.is_cluster_scoped(&Gvk::new("example.com", "v1", "Widget"))),
                "merge" => assert!(schemas.of("v1", "Service").is_some()),
                "choose" => schemas.choose(CustomSchema::new(custom.clone())),
                other => panic!("no such step: {other}"),
            }
        }
        let mut schema = schemas.of("apps/v1", "Deployment");
        for name in ["spec", "template", "spec", "containers"] {
            schema = schema.and_then(|schema| schema.field(name));
        }
        assert_eq!(schema.and_then(|schema| schema.merge_keys()), wanted, "{steps:?}");
    }

    #[test]
    fn a_users_description_stands_where_it_was_read() {
        check_layers(&[], Some(vec!["name"]));
        // Alone, it refers to nothing.
        check_layers(&["choose"], None);
        check_layers(&["choose", "scope"], None);
        // Read after the built-in one, it takes the place of a type inside.
        check_layers(&["merge", "choose"], Some(vec!["own"]));
        check_layers(&["scope", "merge", "choose"], Some(vec!["own"]));
        // Read before it, it gives way.
        check_layers(&["scope", "choose"], Some(vec!["name"]));
    }

    #[test]
    fn keys_compare_as_the_joined_texts_do() {
        let entries: Vec<&(&str, &str)> = scope::CLUSTER_SCOPED.iter().chain(scope::NAMESPACED).collect();
        let more = [
            ("apps", "v1"),
            ("app", "v1"),
            ("apps.x", "v1"),
            ("zz", ""),
            ("", ""),
            ("", "v1/x"),
            ("networking.k8s.io", "v1beta12"),
        ];
        let known = entries
            .iter()
            .map(|(version, _)| version.split_once('/').unwrap_or(("", version)));
        for (group, version) in known.chain(more) {
            for kind in ["Deployment", "Namespace", ""] {
                let gvk = Gvk::new(group, version, kind);
                let joined = if group.is_empty() {
                    version.to_owned()
                } else {
                    format!("{group}/{version}")
                };
                for entry in &entries {
                    let wanted = (entry.0, entry.1).cmp(&(joined.as_str(), kind));
                    assert_eq!(ApiKey::of(&gvk).compare(entry), wanted, "{entry:?} {gvk}");
                }
            }
        }
    }

    #[test]
    fn scopes_are_known() {
        let schemas = Schemas::default();
        assert!(schemas.is_cluster_scoped(&Gvk::new("", "v1", "Namespace")));
        assert!(schemas.is_cluster_scoped(&Gvk::new("rbac.authorization.k8s.io", "v1", "ClusterRole")));
        assert!(!schemas.is_cluster_scoped(&Gvk::new("apps", "v1", "Deployment")));
        assert!(!schemas.is_cluster_scoped(&Gvk::new("example.com", "v1", "Widget")));
    }
}
