//! What has to go from a cluster. Absence deletes nothing: a deletion needs positive knowledge.

use std::collections::HashMap;

use crate::model::{ClusterKey, OwnerKey, Policy};

/// Something that lies on a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Where.
    pub cluster: ClusterKey,
    /// Whose.
    pub owner: OwnerKey,
}

/// A fleet object that the hub has.
#[derive(Debug, Clone, Default)]
pub struct KnownOwner {
    /// Clusters that it reaches now, also those where it is denied or frozen for the moment.
    pub clusters: std::collections::HashSet<ClusterKey>,
    /// What happens to its objects elsewhere.
    pub policy: Policy,
}

/// Why something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its owner is known and does not reach this cluster.
    Excluded,
    /// Its owner was deleted on purpose: the retirement log says so.
    Retired,
    /// The cluster's grant to the workspace shrank, and what is there has more rights than that.
    GrantReduced,
    /// The whole cluster is to be emptied.
    Purge,
}

impl Cause {
    /// The word for it on the link and in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Excluded => "Excluded",
            Cause::Retired => "Retired",
            Cause::GrantReduced => "GrantReduced",
            Cause::Purge => "Purge",
        }
    }
}

/// What is to be done with something that lies on a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is wanted.
    Keep,
    /// It goes.
    Delete {
        /// Why.
        cause: Cause,
        /// Whether workloads go with it.
        policy: Policy,
    },
    /// Nobody knows its owner: it stays and is reported.
    Orphaned,
}

/// Judges what lies on clusters, in the order given.
///
/// `known` and `retired` are by the UID of the owner. An owner of the same name with another UID
/// is another owner.
pub fn deletions(
    placed: &[Placed],
    known: &HashMap<String, KnownOwner>,
    retired: &HashMap<String, Policy>,
) -> Vec<Verdict> {
    placed
        .iter()
        .map(|one| {
            // Whoever exists is not retired, whatever the log says: the log may be the newer backup.
            if let Some(owner) = known.get(&one.owner.uid) {
                if owner.clusters.contains(&one.cluster) {
                    return Verdict::Keep;
                }
                return Verdict::Delete {
                    cause: Cause::Excluded,
                    policy: owner.policy,
                };
            }
            match retired.get(&one.owner.uid) {
                Some(&policy) => Verdict::Delete {
                    cause: Cause::Retired,
                    policy,
                },
                None => Verdict::Orphaned,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn check(uid: &str, cluster: &str, want: Verdict) {
        let placed = Placed {
            cluster: ClusterKey::new("platform", cluster),
            owner: OwnerKey {
                kind: "FleetKustomization".into(),
                namespace: "platform".into(),
                name: "apps".into(),
                uid: uid.into(),
            },
        };
        let known = HashMap::from([(
            "alive".to_owned(),
            KnownOwner {
                clusters: HashSet::from([ClusterKey::new("platform", "eu-1")]),
                policy: Policy::Orphan,
            },
        )]);
        let retired = HashMap::from([("gone".to_owned(), Policy::Prune), ("alive".to_owned(), Policy::Prune)]);
        assert_eq!(deletions(&[placed], &known, &retired), [want], "{uid} on {cluster}");
    }

    #[test]
    fn deletion_needs_positive_knowledge() {
        check("alive", "eu-1", Verdict::Keep);
        check(
            "alive",
            "us-1",
            Verdict::Delete {
                cause: Cause::Excluded,
                policy: Policy::Orphan,
            },
        );
        check(
            "gone",
            "eu-1",
            Verdict::Delete {
                cause: Cause::Retired,
                policy: Policy::Prune,
            },
        );
        check("never-heard-of", "eu-1", Verdict::Orphaned);
    }
}
