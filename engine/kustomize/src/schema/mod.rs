//! What is known of types: which lists are merged by which keys, and which kinds have no namespace.
//!
//! Built-in types come from a table; a user's OpenAPI description takes the table's place.

mod custom;
mod scope;
mod table;

use std::cell::Cell;
use std::cmp::Ordering;
use std::sync::Arc;

pub(crate) use custom::CustomSchema;

use crate::ids::Gvk;

/// One field of a built-in type that leads to a merged list.
pub(crate) enum Field {
    /// A map of the type with this index.
    Type(u16),
    /// A list merged by these keys (none: a list of scalars), and the type of its elements.
    List(&'static [&'static str], Option<u16>),
}

/// All schemas of a build.
#[derive(Default)]
pub(crate) struct Schemas {
    /// The user's description, once one was met.
    custom: Option<Arc<CustomSchema>>,
    /// Kustomize loads its table late; once it has, a user's description only adds to it.
    table_in_use: Cell<bool>,
    table_retired: bool,
}

/// Whether a built-in kind lives outside namespaces; a kind that is not built in is taken to live in one, as kustomize
/// takes it.
pub fn is_cluster_scoped(api_version: &str, kind: &str) -> bool {
    Schemas::default().is_cluster_scoped(&Gvk::from_api_version(api_version, kind))
}

/// What is known of one node while merging.
#[derive(Clone)]
pub(crate) enum Schema<'a> {
    Table(u16),
    TableList(&'static [&'static str], Option<u16>),
    Custom(&'a CustomSchema, &'a serde_json::Value),
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
        match &self.custom {
            Some(custom) => custom.is_cluster_scoped(gvk),
            None => {
                self.table_in_use.set(true);
                false
            }
        }
    }

    /// The user's description, for all that is merged from now on.
    pub fn set_custom(&mut self, custom: CustomSchema) {
        self.table_retired = !self.table_in_use.get();
        self.custom = Some(Arc::new(custom));
    }

    pub fn has_custom(&self) -> bool {
        self.custom.is_some()
    }

    /// What is known of a kind.
    pub fn of(&self, api_version: &str, kind: &str) -> Option<Schema<'_>> {
        if let Some(custom) = &self.custom
            && let Some(schema) = custom.of(api_version, kind)
        {
            return Some(Schema::Custom(custom, schema));
        }
        if self.table_retired {
            return None;
        }
        self.table_in_use.set(true);
        table::KINDS
            .binary_search_by(|(version, name, _)| (*version, *name).cmp(&(api_version, kind)))
            .ok()
            .map(|index| Schema::Table(table::KINDS[index].2))
    }
}

impl<'a> Schema<'a> {
    /// What is known of a field of a map.
    pub fn field(&self, name: &str) -> Option<Schema<'a>> {
        match self {
            Schema::Table(index) => {
                let fields = table::TYPES[usize::from(*index)];
                let place = fields.binary_search_by(|(field, _)| (*field).cmp(name)).ok()?;
                Some(match fields[place].1 {
                    Field::Type(index) => Schema::Table(index),
                    Field::List(keys, items) => Schema::TableList(keys, items),
                })
            }
            Schema::TableList(..) => None,
            Schema::Custom(custom, schema) => custom.field(schema, name).map(|field| Schema::Custom(custom, field)),
        }
    }

    /// What is known of the elements of a list.
    pub fn elements(&self) -> Option<Schema<'a>> {
        match self {
            Schema::Table(_) => None,
            Schema::TableList(_, items) => items.map(Schema::Table),
            Schema::Custom(custom, schema) => custom.elements(schema).map(|items| Schema::Custom(custom, items)),
        }
    }

    /// The keys by which a list is merged: `None` for a list that is replaced, no keys for one
    /// of scalars.
    pub fn merge_keys(&self) -> Option<Vec<&'a str>> {
        match self {
            Schema::Table(_) => None,
            Schema::TableList(keys, _) => Some(keys.to_vec()),
            Schema::Custom(_, schema) => CustomSchema::merge_keys(schema),
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
