//! An apply as steps: whoever carries it out may leave it while something in the cluster is waited for.

use std::{collections::HashSet, sync::Arc, time::Duration};

use nave_health::Health;
use nave_object::{
    Object, ObjectId,
    order::{Stage, stage_of},
    pointer::at,
};
use nave_targets::{Judge, Target};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    Action, ApplyError, ApplyOptions, Change, Memory, Outcome, Problem, WaitError, WaitItem,
    examine::uid_of,
    needs::Failed,
    run::{Going, Stages},
    wait::{Goal, wait_for},
};

/// How long definitions and classes may take to become ready (Flux: 60 s).
const STAGE_DEADLINE: Duration = Duration::from_secs(60);
/// How long an object may take to go before it is re-created.
const GONE_DEADLINE: Duration = Duration::from_secs(60);
/// Most definitions are established, and most objects gone, before this: who came back later for them would stand behind
/// everybody else.
const MOMENT: Duration = Duration::from_millis(250);

const STAGES: [Stage; 4] = [Stage::Definitions, Stage::Classes, Stage::Custom, Stage::Rest];

/// An apply, as far as it has come. Of objects it keeps what was done with them and not what they hold, so that very many may
/// wait at once.
///
/// ```text
/// advance ─► Waits(barrier) ─► barrier.wait, by anybody ─► resume ─► advance ─► … ─► Done(outcome)
/// ```
#[derive(Debug, Default)]
pub struct Applying {
    /// Index of the stage that is worked on.
    stage: usize,
    waits_for: Option<Goal>,
    ended: Option<Result<(), WaitError>>,
    /// Deleted by us, to be created anew.
    pub(crate) going: Vec<Going>,
    /// Whose deletion was permitted, to be created anew.
    pub(crate) permitted: HashSet<ObjectId>,
    pub(crate) changes: Vec<Change>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) failed: Failed,
    /// Groups whose definitions were written.
    pub(crate) fresh_groups: HashSet<String>,
    error: Option<ApplyError>,
}

/// How far an apply has come.
pub enum Step {
    /// It has ended.
    Done(Outcome),
    /// It goes on once this is over.
    Waits(Barrier),
}

/// What has to be so before an apply goes on.
pub struct Barrier {
    items: Vec<WaitItem>,
    judge: Arc<Judge>,
    goal: Goal,
    limit: Duration,
    deadline: Instant,
}

impl Barrier {
    fn new(items: Vec<WaitItem>, judge: Arc<Judge>, goal: Goal, limit: Duration) -> Self {
        let deadline = Instant::now() + limit;
        Barrier {
            items,
            judge,
            goal,
            limit,
            deadline,
        }
    }

    /// Waits until it is so. The answer is for [`Applying::resume`].
    ///
    /// # Errors
    /// An object failed, or time is up.
    pub async fn wait(self, target: &Arc<Target>) -> Result<(), WaitError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        wait_for(target, self.items, self.judge, left, true, self.goal)
            .await
            .map_err(|error| error.of(self.limit))
    }

    /// The same, if it takes no more than a moment.
    async fn wait_a_moment(&self, target: &Arc<Target>) -> Option<Result<(), WaitError>> {
        let (items, judge) = (self.items.clone(), self.judge.clone());
        let waiting = wait_for(target, items, judge, self.limit, true, self.goal);
        tokio::time::timeout(MOMENT, waiting).await.ok()
    }
}

impl Applying {
    /// Nothing is done yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was done so far.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// How the barrier that [`Applying::advance`] gave has ended.
    pub fn resume(&mut self, ended: Result<(), WaitError>) {
        self.ended = Some(ended);
    }

    /// Applies `objects`, which [`crate::prepare`] has put in order and which are the same in every step, until all is done or
    /// something has to be waited for that takes longer than a moment. Inside a stage nothing is written unless every object
    /// passes its dry run. The first object of a stage is its own dry run where it does not exist: it is created once all
    /// others have passed theirs and before any of them is written, so that nothing is left behind when it is refused. What
    /// was applied before an error stays and is in [`Outcome::changes`]. What was deleted to be re-created is, whatever else
    /// fails.
    ///
    /// With [`ApplyOptions::independent`] an object that fails holds back only what needs it: what lives in its namespace, is
    /// of the kind that it defines, or names it.
    pub async fn advance(
        &mut self,
        target: &Arc<Target>,
        objects: &[Object],
        options: &ApplyOptions<'_>,
        memory: &mut Memory,
    ) -> Step {
        memory.bind(target);
        memory.keep_only(objects);
        while let Some(stage) = STAGES.get(self.stage) {
            let members: Vec<&Object> = objects
                .iter()
                .filter(|object| stage_of(&object.gvk(), options.custom_stages) == *stage)
                .collect();
            let work = Stages { target, options };
            if let (Some(goal), Some(ended)) = (self.waits_for, self.ended.take()) {
                self.waits_for = None;
                match goal {
                    Goal::Gone => work.create_anew(&members, ended, memory, self).await,
                    Goal::Current => self.end_stage(&members, ended, options),
                }
                continue;
            }
            if self.error.is_some() || !self.problems.is_empty() && !options.independent {
                break;
            }
            let Some(barrier) = self.next_barrier(&work, *stage, &members, memory).await else {
                continue;
            };
            self.waits_for = Some(barrier.goal);
            match barrier.wait_a_moment(target).await {
                Some(ended) => self.ended = Some(ended),
                None => return Step::Waits(barrier),
            }
        }
        Step::Done(self.finish(target))
    }

    /// Works on a stage until it is complete, or has to wait.
    async fn next_barrier(
        &mut self,
        work: &Stages<'_>,
        stage: Stage,
        members: &[&Object],
        memory: &mut Memory,
    ) -> Option<Barrier> {
        let options = work.options;
        work.apply(members, memory, self).await;
        if !self.going.is_empty() {
            let items = self.going.iter().map(Going::wait_item).collect();
            let deleted = self.going.iter().map(|going| going.uid.clone()).collect();
            return Some(Barrier::new(items, judge_gone(deleted), Goal::Gone, GONE_DEADLINE));
        }
        if !self.problems.is_empty() && !options.independent {
            return None;
        }
        if !matches!(stage, Stage::Definitions | Stage::Classes) || options.report_only {
            self.stage += 1;
            return None;
        }
        let ids: HashSet<ObjectId> = members.iter().map(|object| object.id()).collect();
        let here = || self.changes.iter().filter(|change| ids.contains(&change.id));
        let groups: Vec<String> = here()
            .filter(|change| matches!(change.action, Action::Created | Action::Configured))
            .filter_map(|change| defined_group(members, change))
            .collect();
        let items: Vec<WaitItem> = here().filter_map(Change::wait_item).collect();
        for group in groups {
            work.target.forget_group(&group);
            self.fresh_groups.insert(group);
        }
        Some(Barrier::new(
            items,
            options.judge.clone(),
            Goal::Current,
            STAGE_DEADLINE,
        ))
    }

    /// What a stage comes to whose objects were waited for.
    fn end_stage(&mut self, members: &[&Object], ended: Result<(), WaitError>, options: &ApplyOptions<'_>) {
        self.stage += 1;
        match ended {
            Ok(()) => {}
            Err(error) if options.independent => {
                for unready in error.unhealthy() {
                    let object = members.iter().find(|object| object.id() == unready.id).copied();
                    self.failed.add(&unready.id, object);
                    let desired = object.map_or(&Value::Null, |object| object.as_value());
                    let why = unready.health.message.clone();
                    self.problems
                        .push(Problem::new(&unready.id, desired, "did not become ready", why));
                }
            }
            Err(error) => self.error = Some(ApplyError::NotReady(error)),
        }
    }

    fn finish(&mut self, target: &Target) -> Outcome {
        let Applying {
            changes,
            problems,
            error,
            ..
        } = std::mem::take(self);
        let error = match problems.is_empty() {
            true => error,
            false => Some(ApplyError::Objects(problems)),
        };
        if target.keeps_rows() {
            // The next check by interval finds the watches running.
            for resource in changes.iter().filter_map(|change| change.resource.as_ref()) {
                target.watch(resource, "");
            }
        }
        Outcome { changes, error }
    }
}

/// Of what was deleted another may have made a new one already, which is as good as gone.
fn judge_gone(deleted: HashSet<String>) -> Arc<Judge> {
    Arc::new(move |live: &Value| {
        let uid = uid_of(live);
        if uid.is_empty() || deleted.contains(&uid) {
            let finalizers = at(live, "/metadata/finalizers").and_then(Value::as_array);
            let names: Vec<&str> = finalizers.into_iter().flatten().filter_map(Value::as_str).collect();
            match names.as_slice() {
                [] => Health::in_progress("it is being deleted"),
                names => Health::in_progress(format!("it is being deleted; finalizers: {}", names.join(", "))),
            }
        } else {
            Health::not_found()
        }
    })
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

/// Which objects of a wait that ended are still there, and in what state.
pub(crate) fn left(ended: &Result<(), WaitError>, id: &ObjectId) -> Option<String> {
    let unhealthy = ended.as_ref().err()?.unhealthy();
    let still = unhealthy.iter().find(|unhealthy| unhealthy.id == *id)?;
    Some(format!(
        "it is still there after {}s: {}",
        GONE_DEADLINE.as_secs(),
        still.health.message
    ))
}

#[cfg(test)]
mod tests {
    use nave_health::Status;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_successor_under_the_same_name_counts_as_gone() {
        let judge = judge_gone(HashSet::from(["old".to_owned()]));
        let live = |uid: &str| json!({"metadata": {"uid": uid, "finalizers": ["example.com/held"]}});
        assert_eq!(judge(&live("new")).status, Status::NotFound);
        let old = judge(&live("old"));
        assert_eq!(old.status, Status::InProgress);
        assert!(old.message.contains("example.com/held"), "{}", old.message);
    }
}
