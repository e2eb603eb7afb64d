//! How many live reads go on at once: of one user, of one cluster, and over all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use crate::locked;

/// Of one user: a few windows with logs.
const OF_USER: usize = 8;
/// Of one cluster: below the sixteen streams that its agent takes, so that opening one never waits.
const OF_CLUSTER: usize = 12;
/// Over all; each has a window of 12 KiB and an HTTP connection.
const OVER_ALL: usize = 1024;

/// The counts.
#[derive(Clone, Default)]
pub struct Limits(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    all: usize,
    users: HashMap<String, usize>,
    clusters: HashMap<String, usize>,
}

/// A place; dropping it gives it back.
pub struct Place {
    limits: Limits,
    user: String,
    cluster: String,
}

impl Limits {
    /// Takes a place, or says which limit is reached.
    pub fn take(&self, user: &str, cluster: &str) -> Result<Place, String> {
        let mut counts = locked::mutex(&self.0);
        let of = |counts: &HashMap<String, usize>, key: &str| counts.get(key).copied().unwrap_or_default();
        if of(&counts.users, user) >= OF_USER {
            return Err(format!(
                "{user} has {OF_USER} live reads open, which is as many as one user may"
            ));
        }
        if of(&counts.clusters, cluster) >= OF_CLUSTER {
            return Err(format!(
                "cluster {cluster} has {OF_CLUSTER} live reads open, which is as many as its agent takes"
            ));
        }
        if counts.all >= OVER_ALL {
            return Err(format!(
                "the hub has {OVER_ALL} live reads open, which is as many as it takes"
            ));
        }
        counts.all += 1;
        *counts.users.entry(user.to_owned()).or_default() += 1;
        *counts.clusters.entry(cluster.to_owned()).or_default() += 1;
        Ok(Place {
            limits: self.clone(),
            user: user.to_owned(),
            cluster: cluster.to_owned(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = locked::mutex(&self.limits.0);
        counts.all -= 1;
        give_back(&mut counts.users, &self.user);
        give_back(&mut counts.clusters, &self.cluster);
    }
}

fn give_back(counts: &mut HashMap<String, usize>, key: &str) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_and_a_cluster_have_limits_and_places_come_back() {
        let limits = Limits::default();
        let mut places: Vec<Place> = (0..OF_USER).map(|_| limits.take("jane", "a").expect("free")).collect();
        let full = limits.take("jane", "b").err().expect("as many as one user may");
        assert!(full.starts_with("jane has 8"), "{full}");
        places.extend((OF_USER..OF_CLUSTER).map(|_| limits.take("john", "a").expect("free")));
        let full = limits.take("john", "a").err().expect("as many as the agent takes");
        assert!(full.starts_with("cluster a has 12"), "{full}");
        assert!(limits.take("john", "b").is_ok(), "another cluster is not concerned");
        places.clear();
        let counts = locked::mutex(&limits.0);
        assert_eq!((counts.all, counts.users.len(), counts.clusters.len()), (0, 0, 0));
    }
}
