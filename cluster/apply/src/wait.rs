//! Waiting for objects to become current, or to go, by the shared watches.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use nave_health::{Health, HealthExpressions, SCHEDULING_WINDOW_SECONDS, Status};
use nave_object::{ObjectId, duration};
use nave_targets::{Judge, News, Resource, Subscription, Target};
use serde_json::Value;
use tokio::{sync::Notify, time::Instant};

/// Where an account may not watch, objects are asked for this often.
const ASK_INTERVAL: Duration = Duration::from_secs(2);
/// Reads at once when waiting begins.
const READS: usize = 8;
/// How many objects a message names.
const NAMED: usize = 10;

/// An object to wait for.
#[derive(Debug, Clone)]
pub struct WaitItem {
    /// Which object.
    pub id: ObjectId,
    /// How its kind is addressed.
    pub resource: Resource,
    /// Its health when it was applied, with its resource version then.
    pub seen: Option<(u64, Health)>,
    /// A Job that is deleted some time after it finished counts as done once it is gone.
    pub may_vanish: bool,
}

/// An object that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unhealthy {
    /// Which object.
    pub id: ObjectId,
    /// Its health.
    pub health: Health,
}

impl std::fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} status: '{}'", self.id, self.health.status)?;
        if !self.health.message.is_empty() {
            write!(f, ": {}", self.health.message)?;
        }
        Ok(())
    }
}

/// Why waiting ended without success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// An object failed; the others were not waited for.
    #[error("failed early due to stalled resources: [{}]", list(.0))]
    Failed(Vec<Unhealthy>),
    /// Time is up.
    #[error("timeout after {} waiting for: [{}]", duration::format(*.after), list(.pending))]
    Timeout {
        /// The limit.
        after: Duration,
        /// What was not there yet.
        pending: Vec<Unhealthy>,
    },
}

impl WaitError {
    /// The same, of a wait whose whole limit was `limit`.
    #[must_use]
    pub fn of(self, limit: Duration) -> Self {
        match self {
            WaitError::Timeout { pending, .. } => WaitError::Timeout { after: limit, pending },
            failed @ WaitError::Failed(_) => failed,
        }
    }

    /// The objects that are to blame.
    pub fn unhealthy(&self) -> &[Unhealthy] {
        match self {
            WaitError::Failed(objects) => objects,
            WaitError::Timeout { pending, .. } => pending,
        }
    }
}

/// Judges by expressions where there are some for the kind, and by the built-in rules otherwise.
pub fn judge(expressions: Arc<HealthExpressions>) -> Arc<Judge> {
    Arc::new(move |object: &Value| {
        expressions
            .evaluate(object)
            .unwrap_or_else(|| nave_health::status(object, Timestamp::now()))
    })
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    Current,
    Gone,
}

/// Waits until every object is current. With `fail_fast` the first failed one ends it.
///
/// An object that does not exist yet, or is being deleted, counts as in progress.
///
/// # Errors
/// An object failed, or time is up; the message names the objects.
pub async fn wait(
    target: &Arc<Target>,
    items: Vec<WaitItem>,
    judge: Arc<Judge>,
    limit: Duration,
    fail_fast: bool,
) -> Result<(), WaitError> {
    wait_for(target, items, judge, limit, fail_fast, Goal::Current).await
}

/// Waits until every object is gone, finalizers included.
///
/// # Errors
/// Time is up; the message names what is still there.
pub async fn wait_until_gone(target: &Arc<Target>, items: Vec<WaitItem>, limit: Duration) -> Result<(), WaitError> {
    let judge = judge(Arc::new(HealthExpressions::default()));
    wait_for(target, items, judge, limit, false, Goal::Gone).await
}

pub(crate) async fn wait_for(
    target: &Arc<Target>,
    items: Vec<WaitItem>,
    judge: Arc<Judge>,
    limit: Duration,
    fail_fast: bool,
    goal: Goal,
) -> Result<(), WaitError> {
    let mut pending: Vec<Pending> = items.into_iter().map(Pending::new).collect();
    pending.retain(|item| !item.is_done(goal));
    if pending.is_empty() {
        return Ok(());
    }
    let deadline = Instant::now() + limit;
    let wake = Arc::new(Notify::new());
    let subscriptions = subscribe(target, &pending, &judge, &wake);
    // Whatever happened before the subscription is seen by these reads, whatever happens after them by the watch.
    ask(target, &judge, pending.iter_mut().filter(|_| true)).await;
    let mut asked = Instant::now();
    loop {
        for item in &mut pending {
            if let Some(news) = subscriptions
                .get(&item.scope(target))
                .and_then(|subscription| subscription.latest(item.namespace(), &item.item.id.name))
            {
                item.hear(news);
            }
        }
        if pending.iter().any(Pending::is_outdated) {
            ask(target, &judge, pending.iter_mut().filter(|item| item.is_outdated())).await;
            asked = Instant::now();
        }
        pending.retain(|item| !item.is_done(goal));
        if pending.is_empty() {
            return Ok(());
        }
        let failed: Vec<Unhealthy> = pending
            .iter()
            .filter(|item| goal == Goal::Current && item.health().status == Status::Failed)
            .map(Pending::unhealthy)
            .collect();
        if fail_fast && !failed.is_empty() {
            return Err(WaitError::Failed(failed));
        }
        let next_ask = pending
            .iter()
            .filter_map(|item| item.must_be_asked(target, &subscriptions))
            .min()
            .map_or(deadline, |interval| (asked + interval).min(deadline));
        if tokio::time::timeout_at(next_ask, wake.notified()).await.is_err() {
            if Instant::now() >= deadline {
                return Err(WaitError::Timeout {
                    after: limit,
                    pending: pending.iter().map(Pending::unhealthy).collect(),
                });
            }
            let due = pending
                .iter_mut()
                .filter(|item| item.must_be_asked(target, &subscriptions).is_some());
            ask(target, &judge, due).await;
            asked = Instant::now();
        }
    }
}

/// Kind and namespace of a watch.
type Scope = (Resource, String);

struct Pending {
    item: WaitItem,
    was_there: bool,
    /// The newest version that a watch told without content.
    told: u64,
    /// The value of `told` when the object was last read.
    read_at: Option<u64>,
}

impl Pending {
    fn new(item: WaitItem) -> Self {
        Pending {
            was_there: item.seen.is_some(),
            item,
            told: 0,
            read_at: None,
        }
    }

    fn namespace(&self) -> &str {
        if self.item.resource.namespaced {
            &self.item.id.namespace
        } else {
            ""
        }
    }

    fn scope(&self, target: &Target) -> Scope {
        let namespace = if target.account().is_some() {
            self.namespace()
        } else {
            ""
        };
        (self.item.resource.clone(), namespace.to_owned())
    }

    fn health(&self) -> Health {
        match &self.item.seen {
            Some((_, health)) => health.clone(),
            None => Health::new(Status::InProgress, "unknown"),
        }
    }

    fn hear(&mut self, news: News) {
        match news.health {
            Some(health) => self.update(news.version, health),
            None => self.told = self.told.max(news.version),
        }
    }

    /// Whether the object changed since it was seen, in a way that only reading it can tell.
    fn has_changed(&self) -> bool {
        self.item.seen.as_ref().is_none_or(|(seen, _)| self.told > *seen)
    }

    /// The same, and it was not read for that change yet.
    fn is_outdated(&self) -> bool {
        self.told > 0 && self.has_changed() && self.read_at != Some(self.told)
    }

    /// News about an older state of the object are no news.
    fn update(&mut self, version: u64, health: Health) {
        if self.item.seen.as_ref().is_none_or(|(seen, _)| version >= *seen) {
            self.was_there |= health.status != Status::NotFound;
            self.item.seen = Some((version, health));
        }
    }

    fn is_done(&self, goal: Goal) -> bool {
        let Some((_, health)) = &self.item.seen else {
            return false;
        };
        match (goal, health.status) {
            (Goal::Current, Status::Current) | (Goal::Gone, Status::NotFound) => true,
            (Goal::Current, Status::NotFound) => self.item.may_vanish && self.was_there,
            _ => false,
        }
    }

    fn unhealthy(&self) -> Unhealthy {
        Unhealthy {
            id: self.item.id.clone(),
            health: self.health(),
        }
    }

    /// How often the object has to be read, when no event tells: the account may not watch, or time alone changes the
    /// health.
    fn must_be_asked(&self, target: &Target, subscriptions: &BTreeMap<Scope, Subscription>) -> Option<Duration> {
        let denied = subscriptions
            .get(&self.scope(target))
            .is_none_or(Subscription::is_denied);
        if denied || self.told > 0 && self.has_changed() {
            Some(ASK_INTERVAL)
        } else if self.item.id.kind == "Pod" {
            Some(Duration::from_secs(SCHEDULING_WINDOW_SECONDS.unsigned_abs() + 1))
        } else {
            None
        }
    }
}

fn subscribe(
    target: &Target,
    pending: &[Pending],
    judge: &Arc<Judge>,
    wake: &Arc<Notify>,
) -> BTreeMap<Scope, Subscription> {
    let mut scopes: BTreeMap<Scope, Vec<(String, String)>> = BTreeMap::new();
    for item in pending {
        scopes
            .entry(item.scope(target))
            .or_default()
            .push((item.namespace().to_owned(), item.item.id.name.clone()));
    }
    scopes
        .into_iter()
        .map(|(scope, objects)| {
            let subscription = target
                .watch(&scope.0, &scope.1)
                .subscribe(objects, judge.clone(), wake.clone());
            (scope, subscription)
        })
        .collect()
}

/// Reads the objects themselves. An error leaves what was known: the next event or read may do better.
async fn ask(target: &Target, judge: &Arc<Judge>, items: impl Iterator<Item = &mut Pending>) {
    let reads: Vec<_> = items.map(|item| read(target, judge, item).boxed()).collect();
    stream::iter(reads).buffer_unordered(READS).collect::<()>().await;
}

async fn read(target: &Target, judge: &Arc<Judge>, item: &mut Pending) {
    item.read_at = Some(item.told);
    let id = &item.item.id;
    let answer = target.get(&item.item.resource, &id.namespace, &id.name).await;
    match answer {
        Ok(Some(live)) => {
            let version = live
                .pointer("/metadata/resourceVersion")
                .and_then(Value::as_str)
                .and_then(|version| version.parse().ok())
                .unwrap_or(u64::MAX);
            let health = judge(&live);
            item.update(version, health);
        }
        Ok(None) => {
            // It is newer than whatever was seen, but not than what the watch may say next.
            let version = item.item.seen.as_ref().map_or(0, |(seen, _)| *seen);
            item.update(version, Health::not_found());
        }
        Err(error) => {
            if item.item.seen.is_none() {
                let text = crate::problem::describe(&error);
                item.item.seen = Some((0, Health::in_progress(text)));
            }
        }
    }
}

fn list(objects: &[Unhealthy]) -> String {
    let mut texts: Vec<String> = objects.iter().take(NAMED).map(Unhealthy::to_string).collect();
    if objects.len() > NAMED {
        texts.push(format!("and {} more", objects.len() - NAMED));
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(may_vanish: bool) -> Pending {
        Pending::new(WaitItem {
            id: ObjectId {
                group: "batch".into(),
                kind: "Job".into(),
                namespace: "n".into(),
                name: "x".into(),
            },
            resource: Resource {
                gvk: nave_object::Gvk::new("batch/v1", "Job"),
                plural: "jobs".into(),
                namespaced: true,
            },
            seen: None,
            may_vanish,
        })
    }

    #[test]
    fn older_news_change_nothing() {
        let mut item = pending(false);
        item.update(5, Health::in_progress("a"));
        item.update(4, Health::current("b"));
        assert!(!item.is_done(Goal::Current));
        item.update(5, Health::current("c"));
        assert!(item.is_done(Goal::Current));
    }

    #[test]
    fn a_change_without_content_is_read_once() {
        let mut item = pending(false);
        item.update(5, Health::failed("a"));
        let told = |version| News { version, health: None };
        item.hear(told(5));
        assert!(!item.is_outdated(), "it was seen at that version");
        assert_eq!(item.health(), Health::failed("a"));
        item.hear(told(6));
        assert!(item.is_outdated());
        item.read_at = Some(item.told);
        assert!(
            !item.is_outdated() && item.has_changed(),
            "the read failed: it is asked again later"
        );
        item.update(6, Health::current("b"));
        assert!(!item.has_changed());
    }

    #[test]
    fn a_job_that_vanished_is_done_only_if_it_was_there_and_may() {
        let mut item = pending(true);
        item.update(0, Health::not_found());
        assert!(!item.is_done(Goal::Current));
        item.update(3, Health::in_progress("runs"));
        item.update(4, Health::not_found());
        assert!(item.is_done(Goal::Current));
        let mut other = pending(false);
        other.update(3, Health::in_progress("runs"));
        other.update(4, Health::not_found());
        assert!(!other.is_done(Goal::Current));
        assert!(other.is_done(Goal::Gone));
    }

    #[test]
    fn messages_name_the_objects() {
        let mut item = pending(false);
        item.update(1, Health::failed("Job Failed. failed: 1"));
        let error = WaitError::Failed(vec![item.unhealthy()]);
        assert_eq!(
            error.to_string(),
            "failed early due to stalled resources: [Job/n/x status: 'Failed': Job Failed. failed: 1]"
        );
        let error = WaitError::Timeout {
            after: Duration::from_secs(90),
            pending: vec![item.unhealthy(); 12],
        };
        let text = error.to_string();
        assert!(text.starts_with("timeout after 1m30s waiting for: [Job/n/x"), "{text}");
        assert!(text.ends_with("and 2 more]"), "{text}");
    }
}
