//! Some clusters changed and nothing else: only they are planned and touched.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use nave_crds::reasons::fleet as because;
use nave_placement::{ClusterKey, FleetObject, Outcome, Place, PlanSet, Planner};

use super::act::{claim, summary};
use super::observe::Inputs;
use super::{FleetReconciler, Planned, ReconcileError, Standing};
use crate::clusters::Changed;
use crate::convert;
use crate::hub_source;
use crate::kind::FleetKind;
use crate::on_hub;
use crate::plan::{Seen, plan};
use crate::ports::ItemHeader;

/// A plan of the clusters that changed, and which of them were reached before.
struct Replanned {
    set: PlanSet,
    before: HashSet<ClusterKey>,
}

impl<K: FleetKind> FleetReconciler<K> {
    /// The clusters that changed, if nothing else did since the last plan and it came to its end.
    pub(super) fn only_clusters_differ(&self, last: &Planned, then: Option<&Inputs>, now: &Inputs) -> Option<Changed> {
        let then = then.filter(|then| then.is_same_but_for_clusters(now))?;
        if last.problem.is_some() || last.target.is_none() {
            return None;
        }
        self.clusters.changed_since(then.clusters_epoch())
    }

    /// Plans and carries out for the clusters that changed. None when that would not come to the same as a whole plan:
    /// then nothing was done.
    pub(super) async fn bring_changed(
        &self,
        fleet: &K,
        last: &Arc<Planned>,
        changed: &Changed,
    ) -> Result<Option<Arc<Planned>>, ReconcileError> {
        let referenced = hub_source::referenced_spec(&self.ports, fleet);
        let Ok(object) = convert::fleet_object(fleet, referenced) else {
            return Ok(None);
        };
        let Ok(planner) = Planner::new(&object) else {
            return Ok(None);
        };
        let Ok(secrets) = self.listed_secrets(fleet).await? else {
            return Ok(None);
        };
        // What lies on the hub for one of them, also if it was denied since, is for a whole plan.
        let on_hub = on_hub::observe(K::products(&self.ports), &object.owner);
        if on_hub.values().any(|cluster| changed.contains_key(cluster)) {
            return Ok(None);
        }
        let Some(Replanned { set, before }) = self.replan_and_claim(&planner, &object, last, changed) else {
            return Ok(None);
        };
        let items: HashMap<ClusterKey, ItemHeader> = changed
            .iter()
            .filter(|(_, now)| now.is_some())
            .filter_map(|(cluster, _)| {
                let mine = self.ports.desired.current_of(cluster, &object.owner)?;
                Some((cluster.clone(), mine))
            })
            .collect();
        let existing: HashSet<ClusterKey> = changed
            .iter()
            .filter(|(_, now)| now.is_some())
            .map(|(cluster, _)| cluster.clone())
            .collect();
        let nothing_on_hub = BTreeMap::new();
        let actions = plan(&Seen {
            plans: &set,
            before: &before,
            items: &items,
            on_hub: &nothing_on_hub,
            existing: &existing,
            policy: object.policy,
        });
        let some = summary(&object.owner, &set);
        let is_news = !actions.is_empty()
            || !some.clusters.is_empty()
            || some.unknown_names != last.unknown_names
            || last.clusters.iter().any(|(cluster, _)| changed.contains_key(cluster));
        if !is_news {
            return Ok(Some(last.clone()));
        }
        let mut planned = merged(last, some, changed);
        self.carry_out(&object.owner, actions, &mut planned, &secrets, true)
            .await?;
        Ok(Some(Arc::new(planned)))
    }

    /// Under the lock of the claims, as for a whole plan.
    fn replan_and_claim(
        &self,
        planner: &Planner<'_>,
        object: &FleetObject,
        last: &Planned,
        changed: &Changed,
    ) -> Option<Replanned> {
        let uid = &object.owner.uid;
        let mut state = self.knowledge.lock();
        let clusters = changed.iter().map(|(key, now)| (key, now.as_deref()));
        let mut set = planner.plan_changed(clusters, &last.unknown_names, &state.claims);
        self.check_definitions(&mut set);
        if !comes_to_the_same(last, &set, changed) {
            return None;
        }
        let before = state.reached_of(uid, changed.keys().cloned())?;
        let reached = claim(&mut state, object, &set);
        for cluster in before.difference(&reached) {
            state.claims.give_up(uid, cluster);
            state.claims_epoch += 1;
        }
        state.reaches_of(uid, &before, reached);
        Some(Replanned { set, before })
    }
}

/// Whether source, target and products on the hub stay as they are with these plans in place of those before.
fn comes_to_the_same(last: &Planned, set: &PlanSet, changed: &Changed) -> bool {
    let was_on_hub = |(cluster, standing): &(ClusterKey, Standing)| {
        matches!(standing, Standing::Hub(_)) && changed.contains_key(cluster)
    };
    let is_on_hub = set.plans.iter().any(|plan| plan.place == Place::Hub);
    let needs_files = set
        .plans
        .iter()
        .any(|plan| matches!(&plan.outcome, Outcome::Place(bundle) if bundle.artifact.is_some()));
    // Without anyone who gets the files the target is told in another way.
    let others_placed = last.clusters.iter().any(|(cluster, standing)| {
        matches!(standing, Standing::Spoke { is_placed: true }) && !changed.contains_key(cluster)
    });
    let has_files = last.handle.is_some();
    let same_target = if needs_files {
        has_files
    } else {
        !has_files || others_placed
    };
    !is_on_hub && !last.clusters.iter().any(was_on_hub) && same_target
}

/// What the last plan came to, with some clusters in place of what they were.
fn merged(last: &Planned, some: Planned, changed: &Changed) -> Planned {
    let others = last
        .clusters
        .iter()
        .filter(|(cluster, _)| !changed.contains_key(cluster));
    let mut clusters: Vec<(ClusterKey, Standing)> = others.cloned().chain(some.clusters).collect();
    clusters.sort_by(|a, b| a.0.cmp(&b.0));
    let conflicts = clusters
        .iter()
        .any(|(_, standing)| matches!(standing, Standing::Denied(reason, _) if *reason == because::CONFLICT));
    Planned {
        clusters,
        unknown_names: some.unknown_names,
        target: last.target.clone(),
        handle: last.handle.clone(),
        problem: None,
        conflicts,
    }
}
