//! What a Kustomization has applied, as its status remembers it.

use indexmap::IndexMap;
use nave_crds::kustomize::{ResourceInventory, ResourceRef};
use nave_object::{Gvk, Object, ObjectId};

/// Entries by id, in the order of applying, as Flux writes them; the id does not hold the version, so an object that moved
/// to another version stays the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory(IndexMap<String, String>);

impl Inventory {
    /// No objects.
    pub fn new() -> Self {
        Self::default()
    }

    /// From a status; entries that cannot be read are kept as they are, so that they are never lost.
    pub fn from_status(inventory: Option<&ResourceInventory>) -> Self {
        Inventory(
            inventory
                .into_iter()
                .flat_map(|inventory| &inventory.entries)
                .map(|entry| (entry.id.clone(), entry.v.clone()))
                .collect(),
        )
    }

    /// For a status, in the same order.
    pub fn to_status(&self) -> ResourceInventory {
        ResourceInventory {
            entries: self
                .0
                .iter()
                .map(|(id, v)| ResourceRef {
                    id: id.clone(),
                    v: v.clone(),
                })
                .collect(),
        }
    }

    /// Adds an object, or updates its version.
    pub fn add(&mut self, entry: ResourceRef) {
        self.0.insert(entry.id, entry.v);
    }

    /// All entries of both; the versions of `other` win.
    pub fn union(&self, other: &Inventory) -> Inventory {
        let mut all = self.clone();
        all.0.extend(other.0.clone());
        all
    }

    /// The entries that `new` no longer has.
    pub fn stale(&self, new: &Inventory) -> Vec<ResourceRef> {
        self.0
            .iter()
            .filter(|(id, _)| !new.0.contains_key(*id))
            .map(|(id, v)| ResourceRef {
                id: id.clone(),
                v: v.clone(),
            })
            .collect()
    }

    /// Whether every entry of `other` is here, whatever its version.
    pub fn covers(&self, other: &Inventory) -> bool {
        other.0.keys().all(|id| self.0.contains_key(id))
    }

    /// Whether the object is here, whatever its version.
    pub fn has(&self, object: &ObjectId) -> bool {
        self.0.contains_key(&object.inventory_id())
    }

    /// How many objects.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<ResourceRef> for Inventory {
    fn from_iter<T: IntoIterator<Item = ResourceRef>>(entries: T) -> Self {
        Inventory(entries.into_iter().map(|entry| (entry.id, entry.v)).collect())
    }
}

/// The inventory entry of an object.
pub fn entry_of(object: &Object) -> ResourceRef {
    ResourceRef {
        id: object.id().inventory_id(),
        v: object.gvk().version,
    }
}

/// The object behind an entry; none for an entry that nobody can have written.
pub(crate) fn object_of(entry: &ResourceRef) -> Option<(ObjectId, Gvk)> {
    let id = ObjectId::parse_inventory_id(&entry.id).ok()?;
    let gvk = Gvk {
        group: id.group.clone(),
        version: entry.v.clone(),
        kind: id.kind.clone(),
    };
    Some((id, gvk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(ids: &[&str]) -> Inventory {
        ids.iter()
            .map(|id| ResourceRef {
                id: (*id).to_owned(),
                v: "v1".to_owned(),
            })
            .collect()
    }

    #[test]
    fn stale_is_what_left() {
        let old = inventory(&["a_x__ConfigMap", "a_y__ConfigMap"]);
        let mut new = inventory(&["a_y__ConfigMap", "a_z__ConfigMap"]);
        new.add(ResourceRef {
            id: "a_y__ConfigMap".into(),
            v: "v2".into(),
        });
        let stale: Vec<String> = old.stale(&new).into_iter().map(|entry| entry.id).collect();
        assert_eq!(stale, ["a_x__ConfigMap"]);
        assert_eq!(old.union(&new).len(), 3);
        assert!(!old.covers(&new) && old.union(&new).covers(&old));
        assert_eq!(old.stale(&Inventory::new()).len(), 2);
    }

    #[test]
    fn status_keeps_the_order_of_applying() {
        let status = inventory(&["b__x_Y", "a__x_Y"]).to_status();
        assert_eq!(status.entries[0].id, "b__x_Y");
        let more = Inventory::from_status(Some(&status)).union(&inventory(&["c__x_Y", "a__x_Y"]));
        let ids: Vec<String> = more.to_status().entries.into_iter().map(|entry| entry.id).collect();
        assert_eq!(ids, ["b__x_Y", "a__x_Y", "c__x_Y"]);
        assert_eq!(Inventory::from_status(Some(&status)).to_status(), status);
        assert!(Inventory::from_status(None).is_empty());
    }
}
