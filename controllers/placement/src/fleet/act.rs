//! From a fleet object to what lies on clusters.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::{Resource, ResourceExt};
use nave_crds::{conditions, reasons::fleet as because};
use nave_object::digest::sha256;
use nave_placement::{
    Bundle, ClusterKey, Delivery, Denial, FleetObject, Outcome, OwnerKey, Place, PlanSet, Planner, name_on_hub,
};

use serde_json::Value;

use super::{FleetReconciler, Planned, ReconcileError, Standing, doing};
use crate::clusters::Snapshot;
use crate::convert;
use crate::hub_source::{self, SourceState};
use crate::kind::FleetKind;
use crate::knowledge::State;
use crate::on_hub;
use crate::plan::{Action, Seen, plan};
use crate::ports::{ArtifactHandle, DeleteCause, DesiredItem, ItemArtifact, ItemHeader, ItemVersion};
use crate::secrets::{self, Listed};
use crate::status::{Problem, Target};

impl<K: FleetKind> FleetReconciler<K> {
    /// Plans and carries out, unless nothing changed since the last time.
    pub(super) async fn bring(&self, fleet: &K) -> Result<Arc<Planned>, ReconcileError> {
        let uid = fleet.uid().unwrap_or_default();
        let (last, last_inputs) = match self.memory().get(&uid) {
            Some(memory) => (memory.planned.clone(), memory.inputs.clone()),
            None => (Arc::default(), None),
        };
        // Taken before planning: what changes meanwhile makes the next inputs differ. So do our own
        // writes on the hub; that costs one more plan, which then finds everything as it was left.
        let inputs = self.inputs(fleet, &last);
        if last_inputs.as_ref() == Some(&inputs) {
            return Ok(last);
        }
        let planned = match self.only_clusters_differ(&last, last_inputs.as_ref(), &inputs) {
            Some(changed) => self.bring_changed(fleet, &last, &changed).await?,
            None => None,
        };
        let planned = match planned {
            Some(planned) => planned,
            None => Arc::new(self.plan_and_act(fleet, &last).await?),
        };
        let mut memory = self.memory();
        let memory = memory.entry(uid).or_default();
        // Some problems end without any of the inputs changing.
        memory.inputs = planned.problem.is_none().then_some(inputs);
        memory.planned = planned.clone();
        Ok(planned)
    }

    async fn plan_and_act(&self, fleet: &K, last: &Planned) -> Result<Planned, ReconcileError> {
        let owner = convert::owner_of(fleet);
        let invalid = |message: String| Planned {
            // What was placed stays, and so does what is known about it.
            clusters: last.clusters.clone(),
            problem: Some(Problem {
                reason: because::INVALID_SPEC,
                message,
            }),
            ..Planned::default()
        };
        let referenced = hub_source::referenced_spec(&self.ports, fleet);
        let object = match convert::fleet_object(fleet, referenced) {
            Ok(object) => object,
            Err(error) => return Ok(invalid(chain(&error))),
        };
        let planner = match Planner::new(&object) {
            Ok(planner) => planner,
            Err(error) => return Ok(invalid(chain(&error))),
        };
        let snapshot = self.clusters.snapshot();
        let before = self.knowledge.clusters_of(&owner.uid);
        let set = self.plan_and_claim(&planner, &object, &snapshot);
        let mut planned = summary(&owner, &set);

        let source = self.bring_source(fleet, &object, &set).await?;
        let (target, handle, problem) = self.target(&object, &set, &source).await;
        planned.target = target;
        planned.handle.clone_from(&handle);
        planned.problem = problem;
        let secrets = match self.listed_secrets(fleet).await? {
            Ok(listed) => listed,
            Err(problem) => {
                planned.problem.get_or_insert(problem);
                Listed::default()
            }
        };
        // Without its files or its secrets nothing new is placed; what is there stays.
        let may_place = planned
            .problem
            .as_ref()
            .is_none_or(|problem| problem.reason == because::SOURCE_NOT_READY);

        let items: HashMap<ClusterKey, ItemHeader> = snapshot
            .clusters
            .iter()
            .filter_map(|cluster| {
                let mine = self.ports.desired.current_of(&cluster.key, &owner)?;
                Some((cluster.key.clone(), mine))
            })
            .collect();
        let hub = on_hub::observe(K::products(&self.ports), &owner);
        let existing = snapshot.keys();
        let actions = plan(&Seen {
            plans: &set,
            before: &before,
            items: &items,
            on_hub: &hub,
            existing: &existing,
            policy: object.policy,
        });
        self.carry_out(&owner, actions, &mut planned, &secrets, may_place)
            .await?;
        Ok(planned)
    }

    /// Does what was decided.
    pub(super) async fn carry_out(
        &self,
        owner: &OwnerKey,
        actions: Vec<Action<'_>>,
        planned: &mut Planned,
        secrets: &Listed,
        may_place: bool,
    ) -> Result<(), ReconcileError> {
        let handle = planned.handle.clone();
        let change_id = planned
            .target
            .as_ref()
            .map(|target| target.change_id.clone())
            .unwrap_or_else(|| change_id(owner, ""));
        // What agents are to have waits by itself.
        let behind = self.ports.desired.behind();
        for action in actions {
            match action {
                Action::ApplyOnHub { .. } | Action::DeleteOnHub { .. } if behind.is_some() => {
                    planned.problem.get_or_insert(Problem {
                        reason: conditions::BEHIND,
                        message: behind.clone().unwrap_or_default(),
                    });
                }
                Action::Put { cluster, bundle } => {
                    if !may_place || (bundle.artifact.is_some() && handle.is_none()) {
                        continue;
                    }
                    let item = item(owner, bundle, handle.as_ref(), secrets, &change_id);
                    self.ports.desired.put(cluster, item);
                }
                Action::Delete { cluster, cause, policy } => {
                    let change_id = change_id.clone();
                    let cause = DeleteCause {
                        cause,
                        policy,
                        change_id,
                    };
                    self.ports.desired.delete(cluster, owner, cause);
                }
                Action::ApplyOnHub { cluster, bundle } => {
                    if may_place && let Err(denial) = self.apply_on_hub(owner, bundle).await? {
                        deny(planned, cluster, &denial);
                    }
                }
                Action::DeleteOnHub { name, policy } => {
                    on_hub::delete::<K::Product>(&self.ports.client, &owner.namespace, name, policy)
                        .await
                        .map_err(doing(format!("deleting {} {name}", K::PRODUCT)))?;
                    if let Some(memory) = self.memory().get_mut(&owner.uid) {
                        memory.applied.remove(name);
                    }
                }
            }
        }
        Ok(())
    }

    /// Plans under the lock of the claims, so that of two fleet objects only one gets an object.
    pub(crate) fn plan_and_claim(&self, planner: &Planner<'_>, object: &FleetObject, snapshot: &Snapshot) -> PlanSet {
        let uid = &object.owner.uid;
        let before = self.knowledge.clusters_of(uid);
        let mut state = self.knowledge.lock();
        let mut set = planner.plan(snapshot.clusters.iter().map(|one| &**one), &state.claims);
        self.check_definitions(&mut set);
        let reached = claim(&mut state, object, &set);
        for cluster in before.difference(&reached) {
            state.claims.give_up(uid, cluster);
            state.claims_epoch += 1;
        }
        state.reaches(uid, reached);
        set
    }

    /// Denies what would not be valid objects.
    pub(super) fn check_definitions(&self, set: &mut PlanSet) {
        for plan in &mut set.plans {
            if let Outcome::Place(bundle) = &plan.outcome
                && let Err(denial) = self.definitions.check(bundle)
            {
                plan.outcome = Outcome::Denied(denial);
            }
        }
    }

    /// Makes on the hub what the fleet object needs there, and says how that stands whose artifact clusters get: the
    /// template's source, or the chart taken out of a source.
    async fn bring_source(
        &self,
        fleet: &K,
        object: &FleetObject,
        set: &PlanSet,
    ) -> Result<SourceState, ReconcileError> {
        let key = object.artifact_source();
        let source = object.source.key(&object.owner);
        let is_needed = object.delivery == Delivery::Artifact || set.plans.iter().any(|plan| plan.place == Place::Hub);
        let template = fleet.parts().source.template.as_ref();
        let has_chart = key != source;
        let mut wanted = Vec::new();
        if is_needed {
            let definitions = &self.definitions;
            wanted.extend(template.map(|one| {
                let object = hub_source::desired(fleet, &one.kind, &one.spec, definitions);
                (one.kind.as_str(), "spec.source.template", object)
            }));
            if has_chart {
                let chart = hub_source::desired_chart(fleet, object, definitions);
                wanted.push(("HelmChart", "spec.template.spec.chart", chart));
            }
        }
        let kinds: Vec<&str> = wanted.iter().map(|(kind, ..)| *kind).collect();
        hub_source::delete_all_but(&self.ports, &object.owner, &kinds)
            .await
            .map_err(doing(format!("deleting what was made for {}", object.owner)))?;
        if !is_needed {
            return Ok(SourceState::default());
        }
        let is_made = !wanted.is_empty();
        for (kind, field, desired) in wanted {
            if let Some(problem) = self.make(&object.owner, kind, field, desired).await? {
                return Ok(SourceState {
                    problem: Some(problem),
                    ..SourceState::default()
                });
            }
        }
        let mut seen = hub_source::observe(&self.ports, &key);
        if let Some(problem) = &mut seen.problem {
            if is_made && problem.reason == because::SOURCE_NOT_FOUND {
                // It was applied a moment ago; the watch will bring it.
                problem.reason = because::SOURCE_NOT_READY;
                problem.message = format!("{key} has no artifact yet");
            }
            // What is wrong with the source says more than that there is no chart of it.
            if has_chart && let Some(behind) = hub_source::observe_behind(&self.ports, &source).problem {
                let just_made = template.is_some() && behind.reason == because::SOURCE_NOT_FOUND;
                if !just_made {
                    *problem = behind;
                }
            }
        }
        Ok(seen)
    }

    /// Applies one object that is made for a fleet object, unless it is as it was left. The answer is why it cannot be.
    async fn make(
        &self,
        owner: &OwnerKey,
        kind: &str,
        field: &str,
        desired: Result<Value, Problem>,
    ) -> Result<Option<Problem>, ReconcileError> {
        if let Some(problem) = hub_source::taken(&self.ports, owner, kind) {
            return Ok(Some(problem));
        }
        let desired = match desired {
            Ok(desired) => desired,
            Err(problem) => return Ok(Some(problem)),
        };
        let key = hub_source::key_of_made(owner, kind);
        let digest = sha256(desired.to_string());
        let seen = hub_source::observe(&self.ports, &key);
        // It is remembered like a product on the hub; `/` keeps the names apart.
        let name = format!("{kind}/{}", key.name);
        let unchanged = seen.made_for.is_some()
            && self
                .memory()
                .get(&owner.uid)
                .is_some_and(|memory| memory.applied.get(&name) == Some(&(digest.clone(), seen.generation)));
        if unchanged {
            return Ok(None);
        }
        match hub_source::apply(&self.ports, owner, kind, &desired).await {
            Ok(generation) => {
                let mut memory = self.memory();
                let memory = memory.entry(owner.uid.clone()).or_default();
                memory.applied.insert(name, (digest, generation));
                Ok(None)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => Ok(Some(Problem {
                reason: because::INVALID_SPEC,
                message: format!("{field}: {}", status.message),
            })),
            Err(error) => Err(doing(format!("applying {key}"))(error)),
        }
    }

    /// The target, the files of it, and why there is none.
    async fn target(
        &self,
        object: &FleetObject,
        set: &PlanSet,
        source: &SourceState,
    ) -> (Option<Target>, Option<ArtifactHandle>, Option<Problem>) {
        let on_hub = set.plans.iter().any(|plan| plan.place == Place::Hub);
        if object.delivery == Delivery::Source && !on_hub {
            // Each cluster fetches by itself: the hub knows no revision.
            let target = Target {
                change_id: change_id(&object.owner, ""),
                ..Target::default()
            };
            return (Some(target), None, None);
        }
        let Some(artifact) = &source.artifact else {
            return (None, None, source.problem.clone());
        };
        let mut target = Target {
            revision: artifact.revision.clone(),
            digest: artifact.digest.clone(),
            change_id: change_id(&object.owner, &artifact.digest),
        };
        let on_spokes = set
            .plans
            .iter()
            .any(|plan| matches!(&plan.outcome, Outcome::Place(bundle) if bundle.artifact.is_some()));
        if !on_spokes {
            return (Some(target), None, source.problem.clone());
        }
        let key = object.artifact_source();
        match self.ports.artifacts.manifest(&key, &object.include).await {
            Ok(handle) => {
                target.revision = handle.revision.clone();
                target.digest = handle.manifest_digest.clone();
                target.change_id = change_id(&object.owner, &handle.manifest_digest);
                (Some(target), Some(handle), source.problem.clone())
            }
            Err(message) => (
                None,
                None,
                Some(Problem {
                    reason: because::ARTIFACT_FAILED,
                    message,
                }),
            ),
        }
    }

    pub(super) async fn listed_secrets(&self, fleet: &K) -> Result<Result<Listed, Problem>, ReconcileError> {
        let namespace = fleet.namespace().unwrap_or_default();
        let (listed, missing) = secrets::observe(&self.secrets, &namespace, fleet.parts().secrets);
        if missing.is_empty() {
            return Ok(Ok(listed));
        }
        let problem = secrets::explain(&self.ports, &namespace, &missing)
            .await
            .map_err(doing("looking for the listed Secrets"))?;
        Ok(match problem {
            Some(problem) => Err(problem),
            None => Ok(listed),
        })
    }

    /// Applies a product on the hub, unless it is as it was left.
    async fn apply_on_hub(&self, owner: &OwnerKey, bundle: &Bundle) -> Result<Result<(), Denial>, ReconcileError> {
        for object in &bundle.objects {
            let name = object.name();
            if on_hub::is_foreign(K::products(&self.ports), owner, name) {
                return Ok(Err(Denial::Conflict {
                    object: object.id().to_string(),
                    owner: "someone else".into(),
                }));
            }
            let digest = bundle.digest();
            let live = K::products(&self.ports).get(&owner.namespace, name);
            let generation = live.as_ref().and_then(|one| one.meta().generation);
            let unchanged = live.is_some()
                && self
                    .memory()
                    .get(&owner.uid)
                    .is_some_and(|memory| memory.applied.get(name) == Some(&(digest.clone(), generation)));
            if unchanged {
                continue;
            }
            match on_hub::apply::<K::Product>(&self.ports.client, object).await {
                Ok(generation) => {
                    let mut memory = self.memory();
                    let memory = memory.entry(owner.uid.clone()).or_default();
                    memory.applied.insert(name.to_owned(), (digest, generation));
                }
                Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => {
                    return Ok(Err(Denial::Invalid {
                        field: "spec.template".into(),
                        message: status.message.clone(),
                    }));
                }
                Err(error) => return Err(doing(format!("applying {} {name}", K::PRODUCT))(error)),
            }
        }
        Ok(Ok(()))
    }
}

/// Takes the objects of the plans for their owner. Answers the clusters that it reaches.
pub(super) fn claim(state: &mut State, object: &FleetObject, set: &PlanSet) -> HashSet<ClusterKey> {
    let mut reached = HashSet::new();
    for plan in &set.plans {
        match &plan.outcome {
            Outcome::Place(bundle) => {
                let ids = bundle.objects.iter().map(|one| one.id());
                state.claims.claim(&object.owner, &plan.cluster, &plan.place, ids);
            }
            Outcome::Denied(denial) if denial.withdraws() => continue,
            Outcome::Denied(_) | Outcome::Frozen => {}
        }
        reached.insert(plan.cluster.clone());
    }
    reached
}

/// What the plans say, without their bundles.
pub(super) fn summary(owner: &OwnerKey, set: &PlanSet) -> Planned {
    let mut conflicts = false;
    let clusters = set
        .plans
        .iter()
        .map(|plan| {
            let standing = match (&plan.outcome, &plan.place) {
                (Outcome::Denied(denial), _) => {
                    conflicts |= matches!(denial, Denial::Conflict { .. });
                    Standing::Denied(denial.reason(), denial.to_string())
                }
                (_, Place::Hub) => Standing::Hub(name_on_hub(&owner.name, &plan.cluster.name)),
                (outcome, Place::Spoke(_)) => Standing::Spoke {
                    is_placed: matches!(outcome, Outcome::Place(_)),
                },
            };
            (plan.cluster.clone(), standing)
        })
        .collect();
    Planned {
        clusters,
        unknown_names: set.unknown_names.clone(),
        conflicts,
        ..Planned::default()
    }
}

fn deny(planned: &mut Planned, cluster: &ClusterKey, denial: &Denial) {
    planned.conflicts |= matches!(denial, Denial::Conflict { .. });
    for (key, standing) in &mut planned.clusters {
        if key == cluster {
            *standing = Standing::Denied(denial.reason(), denial.to_string());
        }
    }
}

fn item(
    owner: &OwnerKey,
    bundle: &Bundle,
    handle: Option<&ArtifactHandle>,
    secrets: &Listed,
    change_id: &str,
) -> DesiredItem {
    let artifact = bundle
        .artifact
        .as_ref()
        .zip(handle)
        .map(|(request, handle)| ItemArtifact {
            handle: handle.clone(),
            namespace: request.namespace.clone(),
            name: request.name.clone(),
        });
    let mut version = bundle.bytes();
    for part in [
        change_id,
        handle.map_or("", |handle| handle.manifest_digest.as_str()),
        handle.map_or("", |handle| handle.revision.as_str()),
        handle.map_or("", |handle| handle.origin.as_str()),
    ] {
        version.push(0);
        version.extend_from_slice(part.as_bytes());
    }
    let secrets_sent = secrets.objects(&bundle.secrets, owner);
    if !secrets_sent.is_empty() {
        for stamp in secrets.stamp() {
            version.push(0);
            version.extend_from_slice(stamp.as_bytes());
        }
    }
    DesiredItem {
        owner: owner.clone(),
        version: ItemVersion::of(version),
        objects: bundle.objects.clone(),
        artifact,
        secrets: secrets_sent,
        grant: bundle.grant.clone(),
        change_id: change_id.to_owned(),
        requested_at: bundle.requested_at.clone(),
        suspend: bundle.suspend,
    }
}

/// The same for every cluster that gets the same target, and after a restart.
pub(super) fn change_id(owner: &OwnerKey, target: &str) -> String {
    sha256(format!("{}\0{target}", owner.uid))
}

/// An error with its sources, for a condition.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
