//! A job in the background: installing and waiting hold no worker of the controller.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use nave_crds::helm::HelmReleaseStatus;
use nave_runtime::{Next, Tasks};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{depends::Key, memory::Attempt, triggers::Triggers};

/// A job that goes on, or has ended and waits to be looked at. Dropping it ends it where it is.
pub(crate) struct Running {
    pub attempt: Attempt,
    outcome: Arc<Mutex<Option<Finished>>>,
    preempt: CancellationToken,
    stop: CancellationToken,
}

/// How a job ended.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    /// The status as it was written last.
    pub status: HelmReleaseStatus,
    pub next: Next,
    /// The object was given up; nothing is left to remember.
    pub gone: bool,
}

impl Running {
    /// Begins. `work` is given the token by which waiting is cut short; the HelmRelease is woken when it has ended.
    pub fn begin<F>(
        tasks: &Tasks,
        attempt: Attempt,
        key: Key,
        triggers: Triggers,
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Self
    where
        F: Future<Output = Finished> + Send + 'static,
    {
        let outcome: Arc<Mutex<Option<Finished>>> = Arc::default();
        let (stop, preempt) = (tasks.shutdown_token().child_token(), CancellationToken::new());
        let (slot, stopped, work) = (outcome.clone(), stop.clone(), work(preempt.clone()));
        tasks.spawn("helm-release", async move {
            let finished = tokio::select! {
                _ = stopped.cancelled() => return,
                finished = work => finished,
            };
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(finished);
            triggers.wake(&key).await;
        });
        Running {
            attempt,
            outcome,
            preempt,
            stop,
        }
    }

    /// How it ended; none while it goes on.
    pub fn finished(&self) -> Option<Finished> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something newer is wanted: the job stops waiting for health and ends.
    pub fn preempt(&self) {
        self.preempt.cancel();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// One of as many turns as may work at once; given back while its owner only waits.
pub(crate) struct Turn {
    turns: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turn {
    pub async fn take(turns: Arc<Semaphore>) -> Self {
        let permit = turns.clone().acquire_owned().await.ok();
        Turn { turns, permit }
    }

    /// Waits for something without holding the turn.
    pub async fn rest<T>(&mut self, waiting: impl Future<Output = T>) -> T {
        self.permit = None;
        let result = waiting.await;
        // Nobody closes the semaphore; without a permit the work would just not be counted.
        self.permit = self.turns.clone().acquire_owned().await.ok();
        result
    }
}
