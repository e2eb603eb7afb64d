//! Applying a set of objects, stage by stage.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream};
use nave_crds::kustomize::ResourceRef;
use nave_health::{Health, HealthExpressions};
use nave_object::{
    Object, ObjectId,
    order::{Stage, stage_of},
};
use nave_runtime::ports::{ApplyPolicy, OwnerRef};
use nave_targets::{ApplyMode, DeleteMode, Judge, Resource, Target};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    ApplyError, Check, IgnoreRules, Inventory, Memory, Problem, WaitItem, entry_of,
    examine::{Context, Examined, Seen, Verdict, Was, examine},
    needs::Failed,
    trial::{Trial, try_out},
    wait,
};

/// How long definitions and classes may take to become ready (Flux: 60 s).
const STAGE_DEADLINE: Duration = Duration::from_secs(60);
/// How long an object may take to go before it is re-created.
const GONE_DEADLINE: Duration = Duration::from_secs(60);
const GONE_PAUSE: Duration = Duration::from_millis(250);

/// How to apply.
pub struct ApplyOptions<'a> {
    /// On whose behalf.
    pub owner: &'a OwnerRef,
    /// What it is known to have applied. Others are not read before their dry run, which says whether they exist.
    pub inventory: &'a Inventory,
    /// Re-create objects whose immutable fields changed.
    pub force: bool,
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

/// Applies `objects`, which [`crate::prepare`] has put in order. Inside a stage nothing is written unless every object passes
/// its dry run. The first object of a stage is its own dry run where it does not exist: it is created once all others have
/// passed theirs and before any of them is written, so that nothing is left behind when it is refused. What was applied before an error stays and is in [`Outcome::changes`].
///
/// With [`ApplyOptions::independent`] an object that fails holds back only what needs it: what lives in its namespace, is of
/// the kind that it defines, or names it.
pub async fn apply(
    target: &Arc<Target>,
    objects: &[Object],
    options: &ApplyOptions<'_>,
    memory: &mut Memory,
) -> Outcome {
    memory.bind(target);
    memory.keep_only(objects);
    let mut outcome = Outcome {
        changes: Vec::with_capacity(objects.len()),
        error: None,
    };
    let mut fresh_groups = HashSet::new();
    let mut failed = Failed::default();
    let mut problems = Vec::new();
    for stage in [Stage::Definitions, Stage::Classes, Stage::Custom, Stage::Rest] {
        let members: Vec<&Object> = objects
            .iter()
            .filter(|object| stage_of(&object.gvk(), options.custom_stages) == stage)
            .collect();
        if members.is_empty() {
            continue;
        }
        let first = outcome.changes.len();
        let work = Stages {
            target,
            options,
            fresh_groups: &fresh_groups,
        };
        problems.extend(work.apply(&members, memory, &mut failed, &mut outcome.changes).await);
        if !problems.is_empty() && !options.independent {
            break;
        }
        if !matches!(stage, Stage::Definitions | Stage::Classes) || options.report_only {
            continue;
        }
        for change in &outcome.changes[first..] {
            if let (Action::Created | Action::Configured, Some(group)) =
                (change.action, defined_group(&members, change))
            {
                target.forget_group(&group);
                fresh_groups.insert(group);
            }
        }
        let items = outcome.changes[first..].iter().filter_map(Change::wait_item).collect();
        let ready = wait(target, items, options.judge.clone(), STAGE_DEADLINE, true).await;
        match ready {
            Ok(()) => {}
            Err(error) if options.independent => {
                for unready in error.unhealthy() {
                    let object = members.iter().find(|object| object.id() == unready.id).copied();
                    failed.add(&unready.id, object);
                    let desired = object.map_or(&Value::Null, |object| object.as_value());
                    let why = unready.health.message.clone();
                    problems.push(Problem::new(&unready.id, desired, "did not become ready", why));
                }
            }
            Err(error) => {
                outcome.error = Some(ApplyError::NotReady(error));
                break;
            }
        }
    }
    if !problems.is_empty() {
        outcome.error = Some(ApplyError::Objects(problems));
    }
    if target.keeps_rows() {
        // The next check by interval finds the watches running.
        for resource in outcome.changes.iter().filter_map(|change| change.resource.as_ref()) {
            target.watch(resource, "");
        }
    }
    outcome
}

/// What the stages of one apply have in common.
struct Stages<'a> {
    target: &'a Target,
    options: &'a ApplyOptions<'a>,
    fresh_groups: &'a HashSet<String>,
}

impl Stages<'_> {
    /// Applies the objects of one stage and returns what went wrong.
    async fn apply(
        &self,
        members: &[&Object],
        memory: &mut Memory,
        failed: &mut Failed,
        changes: &mut Vec<Change>,
    ) -> Vec<Problem> {
        let Stages { target, options, .. } = *self;
        let concurrency = options.concurrency.max(1);
        let mut problems = Vec::new();
        let members: Vec<&Object> = members
            .iter()
            .copied()
            .filter(|object| match failed.needed_by(object) {
                Some(needed) => {
                    problems.push(held_back(object, &needed));
                    false
                }
                None => true,
            })
            .collect();
        for problem in &problems {
            failed.add(&problem.object, None);
        }
        let context = Context {
            target,
            options,
            memory: &*memory,
            fresh_groups: self.fresh_groups,
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
        if work.first().is_some_and(|(_, examined)| examined.untried) {
            let (object, examined) = work.remove(0);
            match self.write_untried(object, examined, problems.is_empty()).await {
                Ok(Some(done)) => note(object, done, memory, changes),
                Ok(None) => {}
                Err(problem) => problems.insert(0, problem),
            }
        }
        while !work.is_empty() && (problems.is_empty() || options.independent) {
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
            let written: Vec<Result<Written, Problem>> = stream::iter(
                work.into_iter()
                    .map(|(object, examined)| write(target, options, object, examined).boxed())
                    .collect::<Vec<_>>(),
            )
            .buffered(concurrency)
            .collect()
            .await;
            for (object, written) in members.into_iter().zip(written) {
                match written {
                    Ok(done) => note(object, done, memory, changes),
                    Err(problem) => {
                        failed.add(&problem.object, Some(object));
                        problems.push(problem);
                    }
                }
            }
            work = rest;
        }
        problems
    }

    /// Creates the object that had no dry run, if all others have passed theirs. If not, or if it is refused, a dry run says
    /// what is wrong with it.
    async fn write_untried(
        &self,
        object: &Object,
        examined: Examined,
        others_passed: bool,
    ) -> Result<Option<Written>, Problem> {
        let Stages { target, options, .. } = *self;
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

/// Keeps what was done with an object.
fn note(object: &Object, done: Written, memory: &mut Memory, changes: &mut Vec<Change>) {
    match &done.live {
        Some(live) => {
            let was = match done.change.action {
                Action::Drifted => Was::Drifted,
                Action::Skipped => Was::LeftAlone,
                Action::Created | Action::Configured | Action::Unchanged => Was::Desired,
            };
            memory.remember(object, live, was);
        }
        None if done.change.action == Action::Drifted => memory.forget(object),
        None => {}
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
    let (desired, action, delete_first) = match examined.verdict {
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
        } => (object, Action::Created, None),
        Verdict::Write {
            ref object,
            creates: false,
        } => (object, Action::Configured, None),
        Verdict::Recreate { ref object, ref uid } => (object, Action::Configured, Some(uid.clone())),
    };
    let resource = examined
        .resource
        .as_ref()
        .expect("only objects that were resolved are written");
    let id = object.id();
    if let Some(uid) = delete_first {
        delete_and_wait(target, resource, object, uid).await?;
    }
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

async fn delete_and_wait(
    target: &Target,
    resource: &Resource,
    object: &Object,
    uid: Option<String>,
) -> Result<(), Problem> {
    let id = object.id();
    let failed = |error: &kube::Error| Problem::api(&id, object.as_value(), "cannot be re-created", error);
    let mode = DeleteMode { uid };
    target
        .delete(resource, &id.namespace, &id.name, &mode)
        .await
        .map_err(|error| failed(&error))?;
    let deadline = Instant::now() + GONE_DEADLINE;
    while target
        .get(resource, &id.namespace, &id.name)
        .await
        .map_err(|error| failed(&error))?
        .is_some()
    {
        if Instant::now() > deadline {
            let reason = format!("it is still being deleted after {}s", GONE_DEADLINE.as_secs());
            return Err(Problem::new(&id, object.as_value(), "cannot be re-created", reason));
        }
        tokio::time::sleep(GONE_PAUSE).await;
    }
    Ok(())
}

/// The group whose kinds a CRD defines.
fn defined_group(members: &[&Object], change: &Change) -> Option<String> {
    if change.id.kind != "CustomResourceDefinition" {
        return None;
    }
    members
        .iter()
        .find(|object| object.id() == change.id)?
        .pointer("/spec/group")?
        .as_str()
        .map(str::to_owned)
}
