//! May this be pruned? The hub decides for what it sent; the cluster's own people decide for themselves.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use nave_proto::{Digest, wire};
use nave_quic::AgentHandle;
use nave_runtime::ports::{Permit, PlannedDelete, PrunePermits, PrunePlan};
use tokio::sync::watch;

use super::{
    items::{Items, unhex},
    policy::SpokePolicy,
};

/// A hub that is there answers well within this time. Longer, and the plan is held: the objects stay, and the plan is
/// told again in every session until it is permitted.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Granted plans that nobody has come back for; far more than one cluster has Kustomizations that prune at once.
const REMEMBERED: usize = 4096;

/// Asks the hub over the link. Cheap to clone.
#[derive(Clone)]
pub struct LinkPermits {
    inner: Arc<Inner>,
}

struct Inner {
    items: Items,
    policy: SpokePolicy,
    link: OnceLock<AgentHandle>,
    answers: Mutex<Answers>,
    news: watch::Sender<()>,
    lifted: AtomicBool,
}

#[derive(Default)]
struct Answers {
    granted: HashSet<Vec<u8>>,
    held: HashMap<Vec<u8>, String>,
    /// The plan of each item that was asked for last and is not granted yet.
    asked: HashMap<String, Vec<u8>>,
}

impl LinkPermits {
    /// Knows no link yet: everything of the fleet is held.
    pub fn new(items: Items, policy: SpokePolicy) -> Self {
        LinkPermits {
            inner: Arc::new(Inner {
                items,
                policy,
                link: OnceLock::new(),
                answers: Mutex::default(),
                news: watch::Sender::new(()),
                lifted: AtomicBool::new(false),
            }),
        }
    }

    /// From now on plans go to this link.
    pub fn connect(&self, link: AgentHandle) {
        // There is one link in a process; a second call changes nothing.
        let _ = self.inner.link.set(link);
    }

    /// There is no hub any more: from now on the agent permits itself.
    pub fn lift(&self) {
        self.inner.lifted.store(true, Ordering::Relaxed);
    }

    /// The item is as it should be, or gone: what was to be deleted for it is not waited for any more. Otherwise the hub
    /// would ask a person to approve what nobody wants.
    pub fn settled(&self, key: &str) {
        let asked = self.answers().asked.remove(key);
        if let Some(digest) = asked {
            self.withdraw(&digest);
        }
    }

    fn withdraw(&self, digest: &[u8]) {
        self.answers().held.remove(digest);
        if let (Some(link), Some(digest)) = (self.inner.link.get(), Digest::from_slice(digest)) {
            link.withdraw(&digest);
        }
    }

    /// The hub's word on a plan.
    pub fn answered(&self, permit: &wire::PrunePermit) {
        let mut answers = self.answers();
        if permit.granted {
            answers.held.remove(&permit.plan_digest);
            answers.asked.retain(|_, digest| *digest != permit.plan_digest);
            if answers.granted.len() >= REMEMBERED {
                answers.granted.clear(); // asked again, and answered again
            }
            answers.granted.insert(permit.plan_digest.clone());
        } else if answers.asked.values().any(|digest| *digest == permit.plan_digest) {
            answers.held.insert(permit.plan_digest.clone(), permit.reason.clone());
        }
        drop(answers);
        self.inner.news.send_replace(());
    }

    async fn ask(&self, plan: &PrunePlan) -> Permit {
        let digest = unhex(plan.digest.trim_start_matches("sha256:"));
        let is_away = self.inner.link.get().is_none_or(|link| link.mode().is_none());
        if is_away
            && self
                .inner
                .policy
                .permits_without_hub(plan.deletes.len(), plan.cascades().count())
        {
            tracing::info!(owner = %plan.owner.name, deletes = plan.deletes.len(), "the hub is away; the policy file permits it");
            return Permit::Granted;
        }
        if self.answers().granted.remove(&digest) {
            return Permit::Granted;
        }
        let Some(link) = self.inner.link.get() else {
            return held("the agent has not joined its hub yet");
        };
        let Some((key, _)) = self
            .inner
            .items
            .of_product(&plan.owner.kind, &plan.owner.namespace, &plan.owner.name)
        else {
            return held("it belongs to a fleet object that this agent has no item of");
        };
        let before = self.answers().asked.insert(key.clone(), digest.clone());
        if let Some(before) = before.filter(|before| *before != digest) {
            self.withdraw(&before); // another list of deletions took its place
        }
        let mut news = self.inner.news.subscribe();
        link.hold(wire::PrunePlan {
            change_id: plan.change.clone(),
            key,
            digest: digest.clone(),
            deletes: plan.deletes.len() as u64,
            cascades: plan.cascades().map(line).collect(),
            sample: plan
                .deletes
                .iter()
                .filter(|delete| !delete.is_cascade())
                .map(line)
                .collect(),
        });
        let answer = async {
            loop {
                news.mark_unchanged();
                {
                    let mut answers = self.answers();
                    if answers.granted.remove(&digest) {
                        return Permit::Granted;
                    }
                    if let Some(reason) = answers.held.get(&digest) {
                        return held(reason);
                    }
                }
                if news.changed().await.is_err() {
                    return held("the agent is shutting down");
                }
            }
        };
        tokio::time::timeout(ANSWER_WITHIN, answer)
            .await
            .unwrap_or_else(|_| held("the hub has not permitted it yet; the objects stay until it has"))
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.inner.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PrunePermits for LinkPermits {
    fn permit<'a>(&'a self, plan: &'a PrunePlan) -> BoxFuture<'a, Permit> {
        if plan.owner.fleet.is_none() || self.inner.lifted.load(Ordering::Relaxed) {
            return Box::pin(std::future::ready(Permit::Granted));
        }
        Box::pin(self.ask(plan))
    }
}

fn held(reason: &str) -> Permit {
    Permit::Held {
        reason: reason.to_owned(),
    }
}

fn line(delete: &PlannedDelete) -> String {
    if delete.namespace.is_empty() {
        format!("{}/{}", delete.kind, delete.name)
    } else {
        format!("{}/{}/{}", delete.kind, delete.namespace, delete.name)
    }
}
