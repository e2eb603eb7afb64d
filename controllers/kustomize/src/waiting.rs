//! Waiting in the background, for health and between the stages of an apply: a reconcile that waits holds no worker.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nave_apply::{Applying, Check, Inventory, Unhealthy, WaitError, WaitItem, wait};
use nave_crds::meta::NamespacedObjectKindRef;
use nave_health::{Health, Status};
use nave_object::{Gvk, ObjectId};
use nave_runtime::Tasks;
use nave_targets::{Judge, Target};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{memory::Attempt, triggers::Trigger};

/// A kind that a health check names may come with a CRD that is not there yet.
const KIND_PAUSE: Duration = Duration::from_secs(2);

/// Work on something new that takes longer is told of in the status while it goes on. What is done sooner is told of once,
/// by its end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// A wait that goes on, or has ended and waits to be looked at. Dropping it ends it.
pub(crate) struct Waiting {
    pub attempt: Attempt,
    pub started: Instant,
    /// What to report once it ends.
    pub applied: Applied,
    wanted: Wanted,
    background: Background,
}

/// Something that is waited for without a worker. Dropping it ends it.
pub(crate) struct Background {
    outcome: Arc<Mutex<Option<Result<(), WaitError>>>>,
    stop: CancellationToken,
}

impl Background {
    /// Begins; `trigger` is called once the outcome is there.
    pub fn begin(
        tasks: &Tasks,
        name: &'static str,
        trigger: Trigger,
        wait: impl Future<Output = Result<(), WaitError>> + Send + 'static,
    ) -> Self {
        let outcome: Arc<Mutex<Option<Result<(), WaitError>>>> = Arc::default();
        let stop = tasks.shutdown_token().child_token();
        let (slot, stopped) = (outcome.clone(), stop.clone());
        tasks.spawn(name, async move {
            let result = tokio::select! {
                _ = stopped.cancelled() => return,
                result = wait => result,
            };
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            trigger.fire().await;
        });
        Background { outcome, stop }
    }

    /// How it ended; none while it goes on.
    pub fn outcome(&self) -> Option<Result<(), WaitError>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An apply that was left because something has to be waited for, such as a definition that is not established yet. The
/// reconcile that takes it up builds anew and goes on where it was. Something newer ends it.
pub(crate) struct Paused {
    pub attempt: Attempt,
    /// Digest of everything that went into it.
    pub input: String,
    /// The cluster, and who applies: another kubeconfig may have come in the place of the one it was begun with.
    pub target: String,
    /// Digest of what was built.
    pub digest: String,
    pub check: Check,
    pub applying: Applying,
    /// The inventory before it began.
    pub before: Inventory,
    pub began: Instant,
    /// Whether health was good before.
    pub was_healthy: bool,
    pub is_new: bool,
    pub background: Background,
}

/// What was applied before waiting began.
pub(crate) struct Applied {
    pub began: Instant,
    /// Whether health was good before.
    pub was_healthy: bool,
    pub digest: String,
    pub changed: bool,
    pub revision: String,
    pub origin_revision: String,
}

/// What to wait for and how.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub target: Arc<Target>,
    pub items: Vec<WaitItem>,
    /// Objects that `spec.healthChecks` names.
    pub references: Vec<NamespacedObjectKindRef>,
    pub namespace: String,
    pub judge: Arc<Judge>,
    pub limit: Duration,
    pub fail_fast: bool,
}

impl Waiting {
    /// Begins; `trigger` is called once the outcome is there, and `long` before that when it takes long.
    pub fn begin(
        tasks: &Tasks,
        attempt: Attempt,
        applied: Applied,
        wanted: Wanted,
        trigger: Trigger,
        long: Option<Trigger>,
    ) -> Self {
        let told_at = applied.began + PATIENCE;
        let wait = run_and_tell(wanted.clone(), told_at, long);
        let background = Background::begin(tasks, "health", trigger, wait);
        Waiting {
            attempt,
            started: Instant::now(),
            applied,
            wanted,
            background,
        }
    }

    /// Goes on waiting after it was reported that health is not good. `trigger` is called once it is, and not before. None
    /// where an account is impersonated: it may not watch, and would be asked for every object again and again.
    pub fn recovery(&self, tasks: &Tasks, limit: Duration, trigger: Trigger) -> Option<Background> {
        if self.wanted.target.account().is_some() {
            return None;
        }
        let wanted = Wanted {
            limit,
            fail_fast: false,
            ..self.wanted.clone()
        };
        let recovery = async move {
            match run(wanted, Duration::ZERO).await {
                Ok(()) => Ok(()),
                // The next try looks anyway.
                Err(_) => std::future::pending().await,
            }
        };
        Some(Background::begin(tasks, "recovery", trigger, recovery))
    }

    /// Whether it is worth telling of.
    pub fn is_long(&self) -> bool {
        self.applied.began.elapsed() >= PATIENCE
    }

    /// How it ended; none while it goes on.
    pub fn outcome(&self) -> Option<Result<(), WaitError>> {
        self.background.outcome()
    }
}

async fn run_and_tell(wanted: Wanted, told_at: Instant, long: Option<Trigger>) -> Result<(), WaitError> {
    let limit = wanted.limit;
    let mut result = pin!(run(wanted, limit));
    if let Some(long) = long {
        tokio::select! {
            result = &mut result => return result,
            () = tokio::time::sleep_until(told_at) => long.fire().await,
        }
    }
    result.await
}

/// Kinds that are not there yet are asked for as long as `kinds` says.
async fn run(wanted: Wanted, kinds: Duration) -> Result<(), WaitError> {
    let deadline = Instant::now() + wanted.limit;
    let kinds_deadline = Instant::now() + kinds;
    let mut items = wanted.items;
    for reference in &wanted.references {
        items.push(
            resolve(
                &wanted.target,
                reference,
                &wanted.namespace,
                wanted.limit,
                kinds_deadline,
            )
            .await?,
        );
    }
    let left = deadline.saturating_duration_since(Instant::now());
    wait(&wanted.target, items, wanted.judge, left, wanted.fail_fast)
        .await
        // What was asked for is the whole limit, not what was left of it.
        .map_err(|error| error.of(wanted.limit))
}

/// The object that a health check names; its namespace defaults to that of the Kustomization.
pub(crate) fn id_of(reference: &NamespacedObjectKindRef, namespace: &str) -> ObjectId {
    let gvk = gvk_of(reference);
    ObjectId {
        group: gvk.group,
        kind: gvk.kind,
        namespace: match reference.namespace.as_str() {
            "" => namespace.to_owned(),
            given => given.to_owned(),
        },
        name: reference.name.clone(),
    }
}

fn gvk_of(reference: &NamespacedObjectKindRef) -> Gvk {
    let api_version = match reference.api_version.as_str() {
        "" => "apps/v1",
        given => given,
    };
    Gvk::new(api_version, &reference.kind)
}

async fn resolve(
    target: &Target,
    reference: &NamespacedObjectKindRef,
    namespace: &str,
    limit: Duration,
    deadline: Instant,
) -> Result<WaitItem, WaitError> {
    let (gvk, id) = (gvk_of(reference), id_of(reference, namespace));
    loop {
        match target.resolve(&gvk).await {
            Ok(resource) => {
                return Ok(WaitItem {
                    id,
                    resource,
                    seen: None,
                    may_vanish: false,
                });
            }
            Err(error) if Instant::now() + KIND_PAUSE >= deadline => {
                let health = Health::new(Status::NotFound, error.to_string());
                return Err(WaitError::Timeout {
                    after: limit,
                    pending: vec![Unhealthy { id, health }],
                });
            }
            Err(_) => tokio::time::sleep(KIND_PAUSE).await,
        }
    }
}
