//! Who owns which object where: the first owner keeps it.

use std::collections::HashMap;
use std::sync::Arc;

use nave_object::ObjectId;
use sha2::{Digest, Sha256};

use crate::model::{ClusterKey, OwnerKey};

/// Where an object lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// On the hub: Kustomizations for kubeconfig clusters.
    Hub,
    /// On a spoke.
    Spoke(ClusterKey),
}

/// An object at a place: the beginning of the SHA-256 of both. A fleet has as many as it has objects times clusters, and
/// nobody asks for their names.
type Claim = [u8; 16];

/// Owners of objects, by place.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    owners: HashMap<Claim, Arc<OwnerKey>>,
    /// What each owner claimed for each cluster, by UID: giving up is not a search.
    by_owner: HashMap<String, Held>,
}

#[derive(Debug, Clone)]
struct Held {
    owner: Arc<OwnerKey>,
    clusters: HashMap<ClusterKey, Box<[Claim]>>,
}

impl Claims {
    /// The owner of an object, if it is someone else.
    pub fn conflict(&self, place: &Place, object: &ObjectId, owner: &OwnerKey) -> Option<&OwnerKey> {
        self.owners
            .get(&claim_of(place, object))
            .map(|found| &**found)
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
        let known = self.by_owner.get(&owner.uid);
        let holder = known.map_or_else(|| Arc::new(owner.clone()), |held| held.owner.clone());
        let mut held = Vec::new();
        for object in objects {
            let claim = claim_of(place, &object);
            if self.owners.entry(claim).or_insert_with(|| holder.clone()).uid == owner.uid {
                held.push(claim);
            }
        }
        if !held.is_empty() {
            let of_owner = self.by_owner.entry(owner.uid.clone()).or_insert_with(|| Held {
                owner: holder,
                clusters: HashMap::new(),
            });
            of_owner.clusters.insert(cluster.clone(), held.into());
        }
    }

    /// Gives up what an owner claimed for one cluster.
    pub fn give_up(&mut self, owner_uid: &str, cluster: &ClusterKey) {
        let Some(held) = self.by_owner.get_mut(owner_uid) else {
            return;
        };
        for claim in held.clusters.remove(cluster).unwrap_or_default() {
            self.owners.remove(&claim);
        }
        if held.clusters.is_empty() {
            self.by_owner.remove(owner_uid);
        }
    }

    /// Gives up everything that an owner claimed.
    pub fn release(&mut self, owner_uid: &str) {
        let Some(held) = self.by_owner.remove(owner_uid) else {
            return;
        };
        for claim in held.clusters.into_values().flatten() {
            self.owners.remove(&claim);
        }
    }

    /// Whether nobody claims anything.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }
}

/// Each part stands behind its length, so that no two objects read the same.
fn claim_of(place: &Place, object: &ObjectId) -> Claim {
    let (hub, cluster_namespace, cluster) = match place {
        Place::Hub => ("hub", "", ""),
        Place::Spoke(cluster) => ("", cluster.namespace.as_str(), cluster.name.as_str()),
    };
    let mut text = Vec::with_capacity(192);
    for part in [
        hub,
        cluster_namespace,
        cluster,
        &object.group,
        &object.kind,
        &object.namespace,
        &object.name,
    ] {
        text.extend_from_slice(&part.len().to_le_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    let digest: [u8; 32] = Sha256::digest(&text).into();
    *digest.first_chunk().expect("a digest is longer than its beginning")
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

    #[test]
    fn objects_that_read_alike_are_told_apart() {
        let at = |namespace: &str, name: &str| Place::Spoke(ClusterKey::new(namespace, name));
        let one = claim_of(&at("a", "bc"), &object("x"));
        assert_ne!(one, claim_of(&at("ab", "c"), &object("x")));
        assert_ne!(one, claim_of(&at("a", "bc"), &object("y")));
        assert_ne!(one, claim_of(&Place::Hub, &object("x")));
        assert_eq!(one, claim_of(&at("a", "bc"), &object("x")));
    }
}
