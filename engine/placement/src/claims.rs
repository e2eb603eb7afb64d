//! Who owns which object where: the first owner keeps it.

use std::collections::HashMap;

use nave_object::ObjectId;

use crate::model::{ClusterKey, OwnerKey};

/// Where an object lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// On the hub: Kustomizations for kubeconfig clusters.
    Hub,
    /// On a spoke.
    Spoke(ClusterKey),
}

/// Owners of objects, by place.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    owners: HashMap<(Place, ObjectId), OwnerKey>,
    /// What each owner claimed for each cluster, by UID: giving up is not a search.
    by_owner: HashMap<String, HashMap<ClusterKey, Vec<(Place, ObjectId)>>>,
}

impl Claims {
    /// The owner of an object, if it is someone else.
    pub fn conflict(&self, place: &Place, object: &ObjectId, owner: &OwnerKey) -> Option<&OwnerKey> {
        self.owners
            .get(&(place.clone(), object.clone()))
            .filter(|found| found.uid != owner.uid)
    }

    /// Claims what an owner's bundle for one cluster holds; what it claimed for that cluster before
    /// and no longer names is given up. Objects of others stay theirs.
    pub fn claim(
        &mut self,
        owner: &OwnerKey,
        cluster: &ClusterKey,
        place: &Place,
        objects: impl IntoIterator<Item = ObjectId>,
    ) {
        self.give_up(&owner.uid, cluster);
        let mut held = Vec::new();
        for object in objects {
            let key = (place.clone(), object);
            let holder = self.owners.entry(key.clone()).or_insert_with(|| owner.clone());
            if holder.uid == owner.uid {
                held.push(key);
            }
        }
        if !held.is_empty() {
            self.by_owner
                .entry(owner.uid.clone())
                .or_default()
                .insert(cluster.clone(), held);
        }
    }

    /// Gives up what an owner claimed for one cluster.
    pub fn give_up(&mut self, owner_uid: &str, cluster: &ClusterKey) {
        let Some(clusters) = self.by_owner.get_mut(owner_uid) else {
            return;
        };
        for key in clusters.remove(cluster).unwrap_or_default() {
            self.owners.remove(&key);
        }
        if clusters.is_empty() {
            self.by_owner.remove(owner_uid);
        }
    }

    /// Gives up everything that an owner claimed.
    pub fn release(&mut self, owner_uid: &str) {
        for keys in self.by_owner.remove(owner_uid).unwrap_or_default().into_values() {
            for key in keys {
                self.owners.remove(&key);
            }
        }
    }

    /// Whether nobody claims anything.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(uid: &str) -> OwnerKey {
        OwnerKey {
            kind: "FleetKustomization".into(),
            namespace: "team".into(),
            name: uid.into(),
            uid: uid.into(),
        }
    }

    fn object(name: &str) -> ObjectId {
        ObjectId {
            group: "g".into(),
            kind: "K".into(),
            namespace: "n".into(),
            name: name.into(),
        }
    }

    #[test]
    fn the_first_owner_keeps_an_object_until_it_gives_it_up() {
        let cluster = ClusterKey::new("platform", "eu-1");
        let place = Place::Spoke(cluster.clone());
        let mut claims = Claims::default();
        claims.claim(&owner("a"), &cluster, &place, [object("x"), object("y")]);
        claims.claim(&owner("b"), &cluster, &place, [object("x"), object("z")]);
        let holder = |claims: &Claims, name: &str| {
            claims
                .conflict(&place, &object(name), &owner("nobody"))
                .map(|owner| owner.uid.clone())
        };
        assert_eq!(holder(&claims, "x").as_deref(), Some("a"));
        assert_eq!(holder(&claims, "z").as_deref(), Some("b"));
        assert!(claims.conflict(&place, &object("x"), &owner("a")).is_none());
        assert!(claims.conflict(&Place::Hub, &object("x"), &owner("b")).is_none());

        claims.claim(&owner("a"), &cluster, &place, [object("y")]);
        assert_eq!(holder(&claims, "x"), None);
        claims.release("a");
        claims.release("b");
        assert!(claims.is_empty());
    }
}
