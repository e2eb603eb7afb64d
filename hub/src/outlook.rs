//! What a hub that is Behind would do once a person confirms: what stays without an owner, and what changes its revision.
//!
//! Made from what the agents say of their items, which they do also while the hub is Behind.

use std::collections::BTreeMap;

use nave_crds::fleet::{ClusterOutlook, Outlook};
use nave_placement::{ClusterKey, OwnerKey};

/// Clusters that are listed.
const CLUSTERS: usize = 10;
/// Items of one cluster that are listed.
const ITEMS: usize = 5;

/// An item that an agent has.
#[derive(Debug, Clone, PartialEq)]
pub struct Had {
    /// Where.
    pub cluster: ClusterKey,
    /// Of which fleet object.
    pub owner: OwnerKey,
    /// What is applied.
    pub revision: String,
}

/// What becomes of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Nothing, or nothing is known yet.
    Same,
    /// Nobody knows its owner.
    Orphaned,
    /// It gets this revision.
    Becomes(String),
}

/// Sums up what becomes of all items.
pub fn outlook(items: impl IntoIterator<Item = Had>, fate: impl Fn(&Had) -> Fate) -> Outlook {
    let mut clusters: BTreeMap<ClusterKey, (ClusterOutlook, Vec<String>)> = BTreeMap::new();
    for item in items {
        let (of, lines) = clusters.entry(item.cluster.clone()).or_default();
        let name = format!("{}/{}/{}", item.owner.kind, item.owner.namespace, item.owner.name);
        match fate(&item) {
            Fate::Same => {}
            Fate::Orphaned => {
                of.orphans += 1;
                lines.push(format!("{name} is not known to this hub"));
            }
            Fate::Becomes(revision) => {
                of.other_revisions += 1;
                lines.push(format!("{name} from {} to {revision}", item.revision));
            }
        }
    }
    let mut all = Outlook {
        heard: clusters.len() as i64,
        ..Outlook::default()
    };
    for (cluster, (mut of, mut lines)) in clusters {
        all.orphans += of.orphans;
        all.other_revisions += of.other_revisions;
        if lines.is_empty() || all.clusters.len() >= CLUSTERS {
            continue;
        }
        lines.sort();
        lines.truncate(ITEMS);
        of.cluster = cluster.to_string();
        of.items = lines;
        all.clusters.push(of);
    }
    all
}

/// What becomes of an item at one revision, when its fleet object wants another.
pub fn revised(had: &str, wanted: &str) -> Fate {
    match wanted {
        // Each cluster fetches by itself, or nothing was applied yet.
        "" => Fate::Same,
        _ if had.is_empty() || had == wanted => Fate::Same,
        _ => Fate::Becomes(wanted.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn had(cluster: &str, name: &str, revision: &str) -> Had {
        Had {
            cluster: ClusterKey::new("platform", cluster),
            owner: OwnerKey {
                kind: "FleetKustomization".into(),
                namespace: "platform".into(),
                name: name.into(),
                uid: "u".into(),
            },
            revision: revision.into(),
        }
    }

    fn fate(item: &Had) -> Fate {
        match item.owner.name.as_str() {
            "new" => Fate::Orphaned,
            _ => revised(&item.revision, "main@sha1:1"),
        }
    }

    #[test]
    fn orphans_and_other_revisions_are_counted_and_named() {
        let items = [
            had("eu-1", "apps", "main@sha1:2"),
            had("eu-1", "new", "main@sha1:9"),
            had("eu-2", "apps", "main@sha1:1"),
            had("eu-3", "apps", ""),
        ];
        let told = outlook(items, fate);
        assert_eq!((told.heard, told.orphans, told.other_revisions), (3, 1, 1));
        let [one] = told.clusters.as_slice() else {
            panic!("only one has anything: {told:?}")
        };
        assert_eq!(
            (one.cluster.as_str(), one.orphans, one.other_revisions),
            ("platform/eu-1", 1, 1)
        );
        assert_eq!(
            one.items,
            [
                "FleetKustomization/platform/apps from main@sha1:2 to main@sha1:1",
                "FleetKustomization/platform/new is not known to this hub",
            ]
        );
    }

    #[test]
    fn the_lists_do_not_grow_with_the_fleet() {
        let many = (0..20).flat_map(|cluster| (0..9).map(move |item| (cluster, item)));
        let told = outlook(
            many.map(|(cluster, item)| had(&format!("c{cluster:02}"), &format!("a{item}"), "old")),
            fate,
        );
        assert_eq!(
            (told.heard, told.other_revisions, told.clusters.len()),
            (20, 180, CLUSTERS)
        );
        assert!(
            told.clusters
                .iter()
                .all(|one| one.items.len() == ITEMS && one.other_revisions == 9)
        );
        assert_eq!(told.clusters[9].cluster, "platform/c09");
    }
}
