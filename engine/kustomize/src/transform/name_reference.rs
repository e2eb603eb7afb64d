//! Name references: where an object names another one whose name has changed, it follows.

use std::collections::HashMap;

use nave_object::yaml::{Node, SmolStr};

use crate::config::{Create, FieldSpec, NameReference};
use crate::edit::{self, raw_text};
use crate::error::BuildError;
use crate::ids::{Gvk, Id};
use crate::resource::{ResMap, Resource};
use crate::schema::Schemas;

/// Follows changed names everywhere.
///
/// # Errors
/// A name that two objects could have had, with different names now.
pub(crate) fn fix_references(
    resources: &mut ResMap,
    tables: &[NameReference],
    schemas: &Schemas,
) -> Result<(), BuildError> {
    check_subjects(resources, tables, schemas)?;
    let candidates = Candidates::new(resources, schemas);
    // Nothing ever had another name: nothing to follow.
    if candidates.by_name.is_empty() {
        return Ok(());
    }
    let mut fields_of_kind: HashMap<Gvk, Vec<(&Gvk, &FieldSpec)>> = HashMap::new();
    for index in 0..resources.list.len() {
        let original = resources.list[index].original_id(schemas).gvk;
        let current_gvk = resources.list[index].gvk();
        // Objects are many and kinds are few, and so are the fields that count for one.
        let fields = fields_of_kind
            .entry(original.clone())
            .or_insert_with(|| fields_of(&original, tables));
        if fields.is_empty() {
            continue;
        }
        let view = View::from(&resources.list[index], &candidates.rows[index].current);
        for (target, field) in &*fields {
            let mut node = std::mem::replace(&mut resources.list[index].node, Node::null());
            let finder = Finder {
                candidates: &candidates,
                view: &view,
                referrer: &resources.list[index],
                referrer_id: &candidates.rows[index].current,
                target,
                role: role_of(&node, field),
            };
            let own = FieldSpec {
                gvk: current_gvk.clone(),
                ..(*field).clone()
            };
            let applied = own.apply(&current_gvk, &mut node, Create::Nothing, &mut |node| finder.set(node));
            resources.list[index].node = node;
            applied.map_err(|problem| resources.list[index].error(problem))?;
        }
    }
    Ok(())
}

/// The fields of objects of a kind that can name others, each with the kind that it names.
fn fields_of<'a>(kind: &Gvk, tables: &'a [NameReference]) -> Vec<(&'a Gvk, &'a FieldSpec)> {
    let of_table = |table: &'a NameReference| table.referrers.iter().map(move |field| (&table.target, field));
    tables
        .iter()
        .flat_map(of_table)
        .filter(|(_, field)| kind.is_selected(&field.gvk))
        .collect()
}

/// Looks at the subjects of role bindings, whether or not a name has changed.
///
/// # Errors
/// A subject without a name; a service account in a namespace that is no text.
fn check_subjects(resources: &ResMap, tables: &[NameReference], schemas: &Schemas) -> Result<(), BuildError> {
    for resource in &resources.list {
        let kind = resource.kind();
        let Some(subjects) = resource.node.get("subjects").and_then(Node::as_seq) else {
            continue;
        };
        if !matches!(kind, "RoleBinding" | "ClusterRoleBinding") {
            continue;
        }
        let nameless = |subject: &Node| subject.as_map().is_some_and(|map| !map.contains("name"));
        let misplaced = |subject: &Node| {
            kind == "RoleBinding"
                && subject.get("kind").and_then(Node::text) == Some("ServiceAccount")
                && subject.get("namespace").is_some_and(|node| node.text().is_none())
        };
        if !subjects.iter().any(|subject| nameless(subject) || misplaced(subject)) {
            continue;
        }
        let original = resource.original_id(schemas).gvk;
        let fields = fields_of(&original, tables);
        if !fields.is_empty()
            && !resource.current_id(schemas).cluster_scoped
            && let Some(index) = subjects.iter().position(misplaced)
        {
            return Err(resource.error(format!(
                "subjects[{index}].namespace is no text, which the namespace of a ServiceAccount must be"
            )));
        }
        if fields.iter().any(|(_, field)| field.path == "subjects")
            && let Some(index) = subjects.iter().position(nameless)
        {
            return Err(resource.error(format!("subjects[{index}] has no name")));
        }
    }
    Ok(())
}

/// What is known of one object that can be named.
struct Row {
    current: Id,
    previous: Vec<Id>,
    name: SmolStr,
    namespace: SmolStr,
    prefixes: Vec<SmolStr>,
    suffixes: Vec<SmolStr>,
    original_namespace: SmolStr,
}

struct Candidates {
    rows: Vec<Row>,
    /// Places of objects by every name they had before.
    by_name: HashMap<SmolStr, Vec<usize>>,
}

/// From where a referrer looks at others.
struct View {
    id: Id,
    /// Namespaces that it sees beside its own.
    more: Vec<SmolStr>,
}

impl Candidates {
    fn new(resources: &ResMap, schemas: &Schemas) -> Candidates {
        let mut by_name: HashMap<SmolStr, Vec<usize>> = HashMap::new();
        let rows = resources
            .list
            .iter()
            .enumerate()
            .map(|(index, resource)| {
                for previous in &resource.previous {
                    let places = by_name.entry(previous.name.clone()).or_default();
                    if places.last() != Some(&index) {
                        places.push(index);
                    }
                }
                Row {
                    current: resource.current_id(schemas),
                    previous: resource.previous_ids().collect(),
                    name: resource.name().into(),
                    namespace: resource.namespace().into(),
                    prefixes: resource.prefixes.clone(),
                    suffixes: resource.suffixes.clone(),
                    original_namespace: resource.original_id(schemas).effective_namespace().into(),
                }
            })
            .collect();
        Candidates { rows, by_name }
    }
}

impl View {
    fn from(referrer: &Resource, id: &Id) -> View {
        let mut more = Vec::new();
        if referrer.kind() == "RoleBinding" {
            for subject in referrer.node.get("subjects").and_then(Node::as_seq).unwrap_or_default() {
                if subject.get("kind").and_then(Node::text) == Some("ServiceAccount") {
                    more.extend(subject.get("namespace").and_then(Node::text).map(SmolStr::from));
                }
            }
        }
        View { id: id.clone(), more }
    }

    fn sees(&self, row: &Row) -> bool {
        self.id.cluster_scoped
            || row.current.cluster_scoped
            || row.current.same_namespace(&self.id)
            || self.more.contains(&row.namespace)
    }
}

struct Finder<'a> {
    candidates: &'a Candidates,
    view: &'a View,
    referrer: &'a Resource,
    referrer_id: &'a Id,
    target: &'a Gvk,
    /// The kind that a role binding says it refers to.
    role: Option<Gvk>,
}

fn role_of(node: &Node, field: &FieldSpec) -> Option<Gvk> {
    if !field.path.ends_with("roleRef/name") {
        return None;
    }
    let role = node.get("roleRef")?;
    let (group, kind) = (role.get("apiGroup")?, role.get("kind")?);
    Some(Gvk::new(raw_text(group), "", raw_text(kind)))
}

impl Finder<'_> {
    fn set(&self, node: &mut Node) -> Result<(), String> {
        match node {
            node if node.is_null() => Ok(()),
            Node::Scalar(_) => self.set_scalar(node),
            Node::Map(_) => self.set_map(node),
            Node::Seq(_) => {
                for item in node.as_seq_mut().into_iter().flatten() {
                    match item {
                        item if item.is_null() => {}
                        Node::Scalar(_) => self.set_scalar(item)?,
                        Node::Map(_) => self.set_map(item)?,
                        Node::Seq(_) => return Err("expected texts or maps in the list, found a list".to_owned()),
                    }
                }
                Ok(())
            }
        }
    }

    fn set_scalar(&self, node: &mut Node) -> Result<(), String> {
        let old = SmolStr::from(raw_text(node));
        let same = |places: &[usize]| {
            let first = &self.candidates.rows[places[0]];
            places
                .iter()
                .all(|place| self.candidates.rows[*place].name == first.name)
        };
        let Some(row) = self.select(&old, |_| true, same)? else {
            return Ok(());
        };
        if row.name == old {
            return Ok(());
        }
        edit::set_implicit(node, row.name.clone())
    }

    fn set_map(&self, node: &mut Node) -> Result<(), String> {
        let Some(name) = node.get("name") else {
            return Err("expected a map with a `name`".to_owned());
        };
        let old = SmolStr::from(raw_text(name));
        let namespace = node.get("namespace").map(|node| SmolStr::from(raw_text(node)));
        let rows = &self.candidates.rows;
        // With a namespace, only objects that are there count: by where they were, if any was
        // there, else by where they are.
        let by_original = namespace.as_ref().is_some_and(|namespace| {
            rows.iter().any(|row| {
                row.original_namespace == *namespace && *namespace != crate::ids::NO_NAMESPACE && self.view.sees(row)
            })
        });
        let in_namespace = |row: &Row| match &namespace {
            None => true,
            Some(namespace) if by_original => row.original_namespace == *namespace,
            Some(namespace) => row.current.effective_namespace() == namespace.as_str() && !row.current.cluster_scoped,
        };
        let same = |places: &[usize]| {
            let first = &rows[places[0]];
            places
                .iter()
                .all(|place| rows[*place].name == first.name && rows[*place].namespace == first.namespace)
        };
        let Some(row) = self.select(&old, in_namespace, same)? else {
            return Ok(());
        };
        if row.name == old && row.namespace.is_empty() {
            return Ok(());
        }
        edit::set_field(node, "name", Node::implicit(row.name.clone()))?;
        if !row.namespace.is_empty() {
            edit::set_field(node, "namespace", Node::implicit(row.namespace.clone()))?;
        }
        Ok(())
    }

    /// The object that was called `old`; `None` when there is none, and so nothing to do.
    fn select(
        &self,
        old: &SmolStr,
        accept: impl Fn(&Row) -> bool,
        same: impl Fn(&[usize]) -> bool,
    ) -> Result<Option<&Row>, String> {
        let rows = &self.candidates.rows;
        let Some(places) = self.candidates.by_name.get(old) else {
            return Ok(None);
        };
        let was = |row: &Row, gvk: &Gvk| row.previous.iter().any(|id| id.gvk.is_selected(gvk));
        let mut found: Vec<usize> = places
            .iter()
            .copied()
            .filter(|place| {
                let row = &rows[*place];
                self.view.sees(row)
                    && accept(row)
                    && was(row, self.target)
                    && self.role.as_ref().is_none_or(|role| was(row, role))
                    && (self.referrer_id.cluster_scoped
                        || row.current.cluster_scoped
                        || row.current.gvk.kind == "ServiceAccount"
                        || self.referrer_id.same_namespace(&row.current))
            })
            .collect();
        if found.len() != 1 {
            found.retain(|place| self.same_affixes(&rows[*place], true));
            if found.len() > 1 {
                found.retain(|place| self.same_affixes(&rows[*place], false));
            }
        }
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(&rows[*one])),
            several if same(several) => Ok(Some(&rows[several[0]])),
            several => {
                let names: Vec<String> = several.iter().map(|place| rows[*place].current.to_string()).collect();
                Err(format!("`{old}` could mean each of {}", names.join(", ")))
            }
        }
    }

    /// Whether both went through the same prefixes and suffixes, seen from the outermost.
    fn same_affixes(&self, row: &Row, allow_none: bool) -> bool {
        let same = |ours: &[SmolStr], theirs: &[SmolStr]| {
            if allow_none && (ours.is_empty() || theirs.is_empty()) {
                return true;
            }
            let shortest = ours.len().min(theirs.len());
            if shortest == 0 {
                return ours.len() == theirs.len();
            }
            ours[ours.len() - shortest..] == theirs[theirs.len() - shortest..]
        };
        same(&row.prefixes, &self.referrer.prefixes) && same(&row.suffixes, &self.referrer.suffixes)
    }
}
