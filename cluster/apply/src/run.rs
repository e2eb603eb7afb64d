//! Applying the objects of one stage, and what an apply is given and gives.

use std::{collections::HashSet, sync::Arc};

use futures::{FutureExt, StreamExt, stream};
use nave_crds::kustomize::ResourceRef;
use nave_health::{Health, HealthExpressions};
use nave_object::{Object, ObjectId};
use nave_runtime::ports::{ApplyPolicy, OwnerRef, Permit, PlannedDelete, PrunePermits};
use nave_targets::{ApplyMode, DeleteMode, Judge, Resource, Target};
use serde_json::Value;

use crate::{
    ApplyError, Check, IgnoreRules, Inventory, Memory, Problem, WaitError, WaitItem,
    applying::{Applying, left},
    entry_of,
    examine::{Context, Examined, Seen, Verdict, Was, examine},
    prune::plan_recreation,
    trial::{Trial, try_out},
};

/// How to apply.
pub struct ApplyOptions<'a> {
    /// On whose behalf.
    pub owner: &'a OwnerRef,
    /// What it is known to have applied. Others are not read before their dry run, which says whether they exist.
    pub inventory: &'a Inventory,
    /// Re-create objects whose immutable fields changed.
    pub force: bool,
    /// Who permits the deletion in a re-creation.
    pub permits: &'a dyn PrunePermits,
    /// What causes it: the source revision.
    pub change: &'a str,
    /// How much of the watch is believed.
    pub check: Check,
    /// Requests at once for this set (Flux's `--concurrent-ssa`).
    pub concurrency: usize,
    /// (group, kind) of the custom stage.
    pub custom_stages: &'a [(String, String)],
    /// Field managers whose fields are taken over beside kubectl's.
    pub override_managers: &'a [String],
    /// Move managed fields of live objects to the API version that is applied, before anything is compared.
    pub migrate_api_version: bool,
    /// Fields that are left alone.
    pub ignore: &'a IgnoreRules,
    /// What the cluster's own policy says.
    pub policy: &'a dyn ApplyPolicy,
    /// Kinds that are judged by expressions.
    pub expressions: &'a HealthExpressions,
    /// Judges live objects; see [`crate::judge`].
    pub judge: Arc<Judge>,
    /// Write nothing: objects that are not as desired come back as [`Action::Drifted`].
    pub report_only: bool,
    /// Apply what does not need an object that failed.
    pub independent: bool,
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It did not exist.
    Created,
    /// It was changed, or re-created.
    Configured,
    /// It was as desired.
    Unchanged,
    /// A label or annotation says to leave it alone.
    Skipped,
    /// It is not as desired, and was only to be looked at.
    Drifted,
}

impl Action {
    /// As Flux's events say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Created => "created",
            Action::Configured => "configured",
            Action::Unchanged => "unchanged",
            Action::Skipped => "skipped",
            Action::Drifted => "drifted",
        }
    }
}

/// One object and what was done.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which object.
    pub id: ObjectId,
    /// Its inventory entry.
    pub entry: ResourceRef,
    /// What was done.
    pub action: Action,
    /// How its kind is addressed; none when the desired object itself says to be left alone.
    pub resource: Option<Resource>,
    /// UID of the live object, empty when not known.
    pub uid: String,
    /// Of an object that drifted: which fields.
    pub drift: Vec<String>,
    health: Option<Health>,
    resource_version: u64,
    may_vanish: bool,
}

impl Change {
    pub(crate) fn unchanged(mut self, health: Option<Health>) -> Self {
        self.action = Action::Unchanged;
        self.drift.clear();
        self.health = health;
        self.resource_version = 0;
        self
    }

    /// What to wait for; none when the object was skipped.
    pub fn wait_item(&self) -> Option<WaitItem> {
        if self.action == Action::Skipped {
            return None;
        }
        Some(WaitItem {
            id: self.id.clone(),
            resource: self.resource.clone()?,
            seen: self.health.clone().map(|health| (self.resource_version, health)),
            may_vanish: self.may_vanish,
        })
    }
}

/// What was done, also when not all could be.
#[derive(Debug)]
pub struct Outcome {
    /// Objects that are as desired now, or are left alone, in the order of applying.
    pub changes: Vec<Change>,
    /// Why the rest was not applied.
    pub error: Option<ApplyError>,
}

impl Outcome {
    /// Whether anything was written.
    pub fn changed(&self) -> bool {
        self.changes
            .iter()
            .any(|change| matches!(change.action, Action::Created | Action::Configured))
    }
}

/// What the stages of one apply have in common.
pub(crate) struct Stages<'a> {
    pub target: &'a Target,
    pub options: &'a ApplyOptions<'a>,
}

/// An object that was deleted, to be created anew once it is gone.
#[derive(Debug)]
pub(crate) struct Going {
    id: ObjectId,
    resource: Resource,
    /// Of the object that was deleted.
    pub uid: String,
}

impl Going {
    pub fn wait_item(&self) -> WaitItem {
        WaitItem {
            id: self.id.clone(),
            resource: self.resource.clone(),
            seen: None,
            may_vanish: false,
        }
    }
}

impl Stages<'_> {
    /// Applies what is left of the objects of one stage. Where objects were deleted to be re-created, what comes after them
    /// is left for the next time.
    pub async fn apply(&self, members: &[&Object], memory: &mut Memory, so_far: &mut Applying) {
        let Stages { target, options } = *self;
        let concurrency = options.concurrency.max(1);
        let Applying {
            changes,
            problems,
            failed,
            going,
            permitted,
            fresh_groups,
            ..
        } = so_far;
        let dealt_with: HashSet<ObjectId> = changes.iter().map(|change| change.id.clone()).collect();
        let dealt_with: HashSet<ObjectId> = problems
            .iter()
            .map(|problem| problem.object.clone())
            .chain(dealt_with)
            .collect();
        let mut held = Vec::new();
        let members: Vec<&Object> = members
            .iter()
            .copied()
            .filter(|object| !dealt_with.contains(&object.id()))
            .filter(|object| match failed.needed_by(object) {
                Some(needed) => {
                    held.push(held_back(object, &needed));
                    false
                }
                None => true,
            })
            .collect();
        for problem in held {
            failed.add(&problem.object, None);
            problems.push(problem);
        }
        let context = Context {
            target,
            options,
            memory: &*memory,
            fresh_groups: &*fresh_groups,
        };
        let examined: Vec<Result<Examined, Problem>> = stream::iter(
            // Boxed before they become a stream: otherwise the compiler cannot see that they may be sent.
            members
                .iter()
                .enumerate()
                .map(|(place, object)| {
                    let is_first = place == 0 && !options.independent && !options.report_only;
                    let trial = if is_first { Trial::Later } else { Trial::Now };
                    examine(&context, object, trial).boxed()
                })
                .collect::<Vec<_>>(),
        )
        .buffered(concurrency)
        .collect()
        .await;
        let mut work: Vec<(&Object, Examined)> = Vec::with_capacity(members.len());
        for (object, examined) in members.into_iter().zip(examined) {
            match examined {
                Ok(examined) => work.push((object, examined)),
                Err(problem) => {
                    failed.add(&problem.object, Some(object));
                    problems.push(problem);
                }
            }
        }
        for problem in self.hold_recreations(&mut work, permitted).await {
            failed.add(&problem.object, None);
            problems.push(problem);
        }
        if work.first().is_some_and(|(_, examined)| examined.untried) {
            let (object, examined) = work.remove(0);
            match self.write_untried(object, examined, problems.is_empty()).await {
                Ok(Some(done)) => note(target, object, done, memory, changes),
                Ok(None) => {}
                Err(problem) => problems.insert(0, problem),
            }
        }
        while !work.is_empty() && going.is_empty() && (problems.is_empty() || options.independent) {
            // Objects of one kind have no order among each other.
            let kind = (work[0].0.gvk().group, work[0].0.kind().to_owned());
            let same = work
                .iter()
                .take_while(|(object, _)| object.gvk().group == kind.0 && object.kind() == kind.1)
                .count();
            let rest = work.split_off(same);
            work.retain(|(object, examined)| match failed.needed_by(object) {
                Some(needed) if examined.verdict.writes() => {
                    failed.add(&object.id(), Some(object));
                    problems.push(held_back(object, &needed));
                    false
                }
                _ => true,
            });
            let members: Vec<&Object> = work.iter().map(|(object, _)| *object).collect();
            let written: Vec<Result<Turned, Problem>> = stream::iter(
                work.into_iter()
                    .map(|(object, examined)| carry_out(target, options, object, examined).boxed())
                    .collect::<Vec<_>>(),
            )
            .buffered(concurrency)
            .collect()
            .await;
            for (object, written) in members.into_iter().zip(written) {
                match written {
                    Ok(Turned::Written(done)) => note(target, object, done, memory, changes),
                    Ok(Turned::Going(object)) => going.push(object),
                    Err(problem) => {
                        failed.add(&problem.object, Some(object));
                        problems.push(problem);
                    }
                }
            }
            work = rest;
        }
    }

    /// Creates anew what was deleted for that, now that it is gone; what is not gone is a problem.
    pub async fn create_anew(
        &self,
        members: &[&Object],
        ended: Result<(), WaitError>,
        memory: &mut Memory,
        so_far: &mut Applying,
    ) {
        for Going { id, resource, .. } in std::mem::take(&mut so_far.going) {
            let Some(object) = members.iter().copied().find(|object| object.id() == id) else {
                continue;
            };
            let examined = Examined {
                resource: Some(resource),
                verdict: Verdict::Recreate {
                    uid: None,
                    loses_data: false,
                },
                untried: false,
            };
            let written = match left(&ended, &id) {
                Some(why) => Err(Problem::new(&id, object.as_value(), "cannot be re-created", why)),
                None => write(self.target, self.options, object, examined).await,
            };
            match written {
                Ok(done) => note(self.target, object, done, memory, &mut so_far.changes),
                Err(problem) => {
                    so_far.failed.add(&problem.object, Some(object));
                    so_far.problems.push(problem);
                }
            }
        }
    }

    /// Asks for the deletions of all re-creations of a stage, and takes those that may not be out of the work. What is
    /// `permitted` is not asked for again by an apply that goes on after a part of them.
    async fn hold_recreations(
        &self,
        work: &mut Vec<(&Object, Examined)>,
        permitted: &mut HashSet<ObjectId>,
    ) -> Vec<Problem> {
        let asked = |(object, one): &(&Object, Examined)| {
            deletion_in(object, one).filter(|_| !permitted.contains(&object.id()))
        };
        let deletes: Vec<PlannedDelete> = work.iter().filter_map(asked).collect();
        if deletes.is_empty() {
            return Vec::new();
        }
        let plan = plan_recreation(self.options.owner, self.options.change, deletes);
        match self.options.permits.permit(&plan).await {
            Permit::Granted => {
                let ids = work.iter().filter(|one| asked(one).is_some());
                let ids: Vec<ObjectId> = ids.map(|(object, _)| object.id()).collect();
                permitted.extend(ids);
                Vec::new()
            }
            Permit::Held { reason } => work
                .extract_if(.., |one| asked(one).is_some())
                .map(|(object, _)| Problem::held(&object.id(), object.as_value(), &reason))
                .collect(),
        }
    }

    /// Creates the object that had no dry run, if all others have passed theirs. If not, or if it is refused, a dry run says
    /// what is wrong with it.
    async fn write_untried(
        &self,
        object: &Object,
        examined: Examined,
        others_passed: bool,
    ) -> Result<Option<Written>, Problem> {
        let Stages { target, options } = *self;
        let resource = examined
            .resource
            .clone()
            .expect("an object that has no dry run was resolved");
        if !others_passed {
            return try_out(target, &resource, object).await.map(|()| None);
        }
        match write(target, options, object, examined).await {
            Ok(done) => Ok(Some(done)),
            Err(refused) => match try_out(target, &resource, object).await {
                Ok(()) => Err(refused),
                Err(problem) => Err(problem),
            },
        }
    }
}

/// The deletion in a re-creation.
fn deletion_in(object: &Object, examined: &Examined) -> Option<PlannedDelete> {
    let Verdict::Recreate { loses_data, .. } = examined.verdict else {
        return None;
    };
    let id = object.id();
    Some(PlannedDelete {
        group: id.group,
        kind: id.kind,
        namespace: id.namespace,
        name: id.name,
        loses_data,
    })
}

/// Keeps what was done with an object.
fn note(target: &Target, object: &Object, done: Written, memory: &mut Memory, changes: &mut Vec<Change>) {
    match (&done.live, &done.change.resource) {
        (Some(live), Some(resource)) => {
            let was = match done.change.action {
                Action::Drifted => Was::Drifted,
                Action::Skipped => Was::LeftAlone,
                Action::Created | Action::Configured | Action::Unchanged => Was::Desired,
            };
            memory.remember(target, resource, object, live, was);
        }
        _ if done.change.action == Action::Drifted => memory.forget(object),
        _ => {}
    }
    changes.push(done.change);
}

fn held_back(object: &Object, needed: &str) -> Problem {
    let reason = format!("it needs {needed}, which failed");
    Problem::new(&object.id(), object.as_value(), "was not applied", reason)
}

struct Written {
    change: Change,
    live: Option<Value>,
}

/// What became of an object whose turn it was.
enum Turned {
    Written(Written),
    Going(Going),
}

async fn carry_out(
    target: &Target,
    options: &ApplyOptions<'_>,
    object: &Object,
    examined: Examined,
) -> Result<Turned, Problem> {
    match (examined.verdict, examined.resource) {
        (Verdict::Recreate { uid, .. }, Some(resource)) => {
            delete(target, resource, object, uid).await.map(Turned::Going)
        }
        (verdict, resource) => {
            let examined = Examined {
                resource,
                verdict,
                ..examined
            };
            let written = write(target, options, object, examined).await?;
            Ok(Turned::Written(written))
        }
    }
}

async fn write(
    target: &Target,
    options: &ApplyOptions<'_>,
    object: &Object,
    examined: Examined,
) -> Result<Written, Problem> {
    let change = |action: Action, seen: Option<Seen>| Change {
        id: object.id(),
        entry: entry_of(object),
        action,
        resource: examined.resource.clone(),
        uid: seen.as_ref().map(|seen| seen.uid.clone()).unwrap_or_default(),
        drift: Vec::new(),
        health: seen.as_ref().and_then(|seen| seen.health.clone()),
        resource_version: seen.as_ref().map_or(0, |seen| seen.resource_version),
        may_vanish: object.kind() == "Job" && object.pointer("/spec/ttlSecondsAfterFinished").is_some(),
    };
    let (desired, action) = match examined.verdict {
        Verdict::Skipped(ref live) => {
            return Ok(Written {
                change: change(Action::Skipped, None),
                live: live.clone(),
            });
        }
        Verdict::Unchanged(ref seen, ref live) => {
            return Ok(Written {
                change: change(Action::Unchanged, Some(seen.clone())),
                live: live.clone(),
            });
        }
        Verdict::Drifted { ref fields, ref live } => {
            let seen = live.as_ref().map(|live| Seen::of(live, options));
            let mut change = change(Action::Drifted, seen);
            change.drift.clone_from(fields);
            let live = live.clone();
            return Ok(Written { change, live });
        }
        Verdict::Write {
            ref object,
            creates: true,
        } => (object, Action::Created),
        Verdict::Write {
            ref object,
            creates: false,
        } => (object, Action::Configured),
        // What was in its place is gone.
        Verdict::Recreate { .. } => (object.as_value(), Action::Created),
    };
    let resource = examined
        .resource
        .as_ref()
        .expect("only objects that were resolved are written");
    let id = object.id();
    let live = target
        .apply(
            resource,
            &id.namespace,
            &id.name,
            nave_targets::APPLY_MANAGER,
            desired,
            ApplyMode::Write,
        )
        .await
        .map_err(|error| Problem::api(&id, object.as_value(), "apply failed", &error))?;
    let seen = Seen::of(&live, options);
    Ok(Written {
        change: change(action, Some(seen)),
        live: Some(live),
    })
}

async fn delete(target: &Target, resource: Resource, object: &Object, uid: Option<String>) -> Result<Going, Problem> {
    let id = object.id();
    let mode = DeleteMode { uid: uid.clone() };
    target
        .delete(&resource, &id.namespace, &id.name, &mode)
        .await
        .map_err(|error| Problem::api(&id, object.as_value(), "cannot be re-created", &error))?;
    Ok(Going {
        id,
        resource,
        uid: uid.unwrap_or_default(),
    })
}
