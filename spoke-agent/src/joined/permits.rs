//! May this be pruned? The hub decides for what it sent; the cluster's own people decide for themselves.

use std::{
    collections::HashMap,
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

use super::{items::Items, policy::SpokePolicy};

/// A hub that is there answers well within this time. Longer, and the plan is held: the objects stay, and the plan is
/// told again in every session until it is permitted.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

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
    /// The plan of each item that was granted last and that nobody has come back for.
    granted: HashMap<String, Vec<u8>>,
    held: HashMap<Vec<u8>, String>,
    /// The plan of each item that was asked for last and is not granted yet.
    asked: HashMap<String, Vec<u8>>,
}

impl Answers {
    /// Takes the grant of exactly this plan.
    fn take(&mut self, key: &str, digest: &[u8]) -> bool {
        let is_it = self.granted.get(key).is_some_and(|granted| granted == digest);
        if is_it {
            self.granted.remove(key);
        }
        is_it
    }

    /// The hub's word on a plan of an item. One that is not asked for any more has no say over what comes later.
    fn heard(&mut self, permit: &wire::PrunePermit, key: &str) {
        let digest = &permit.plan_digest;
        if self.asked.get(key) != Some(digest) {
            return;
        }
        if permit.granted {
            self.held.remove(digest);
            self.asked.remove(key);
            self.granted.insert(key.to_owned(), digest.clone());
        } else {
            self.held.insert(digest.clone(), permit.reason.clone());
        }
    }

    /// The item waits for nothing any more. Answers what it asked for.
    fn settled(&mut self, key: &str) -> Option<Vec<u8>> {
        self.granted.remove(key);
        let asked = self.asked.remove(key)?;
        self.held.remove(&asked);
        Some(asked)
    }
}

/// What names a plan on the link: the item and the change, and not only what goes. The same objects may be to go a second
/// time, for another reason, and a word on the first is none on the second.
fn name_of(key: &str, plan: &PrunePlan) -> Digest {
    let mut text = b"nave prune plan v1\n".to_vec();
    for part in [key, &plan.change, &plan.digest] {
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    Digest::of_content(&text)
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
        let asked = self.answers().settled(key);
        if let Some(digest) = asked {
            self.withdraw(&digest);
        }
    }

    fn withdraw(&self, digest: &[u8]) {
        if let (Some(link), Some(digest)) = (self.inner.link.get(), Digest::from_slice(digest)) {
            link.withdraw(&digest);
        }
    }

    /// The hub's word on a plan of an item.
    pub fn answered(&self, permit: &wire::PrunePermit, key: &str) {
        self.answers().heard(permit, key);
        self.inner.news.send_replace(());
    }

    async fn ask(&self, plan: &PrunePlan) -> Permit {
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
        let Some(link) = self.inner.link.get() else {
            return held("the agent has not joined its hub yet");
        };
        let Some((key, _)) = self
            .inner
            .items
            .with_product(&plan.owner.kind, &plan.owner.namespace, &plan.owner.name)
        else {
            return held("it belongs to a fleet object that this agent has no item of");
        };
        let digest = name_of(&key, plan).to_vec();
        let before = {
            let mut answers = self.answers();
            if answers.take(&key, &digest) {
                return Permit::Granted;
            }
            answers.granted.remove(&key);
            let before = answers.asked.insert(key.clone(), digest.clone());
            let before = before.filter(|before| *before != digest);
            if let Some(before) = &before {
                answers.held.remove(before);
            }
            before
        };
        if let Some(before) = before {
            self.withdraw(&before); // another list of deletions took its place
        }
        let mut news = self.inner.news.subscribe();
        link.hold(wire::PrunePlan {
            change_id: plan.change.clone(),
            key: key.clone(),
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
                    if answers.take(&key, &digest) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use nave_runtime::ports::{FleetRef, OwnerRef};

    fn plan(change: &str) -> PrunePlan {
        PrunePlan {
            owner: OwnerRef {
                kind: "Kustomization".into(),
                namespace: "flux-system".into(),
                name: "apps".into(),
                fleet: Some(FleetRef {
                    kind: "FleetKustomization".into(),
                    namespace: "team-a".into(),
                    name: "apps".into(),
                    uid: "u".into(),
                }),
            },
            change: change.into(),
            digest: "sha256:00".into(),
            deletes: Vec::new(),
        }
    }

    fn yes(digest: &[u8]) -> wire::PrunePermit {
        wire::PrunePermit {
            plan_digest: digest.to_vec(),
            granted: true,
            ..wire::PrunePermit::default()
        }
    }

    #[test]
    fn a_grant_is_for_one_item_and_one_change() {
        let (one, two) = (name_of("a", &plan("r1")), name_of("a", &plan("r2")));
        assert_ne!(one, two, "the same objects for another change");
        assert_ne!(one, name_of("b", &plan("r1")), "the same objects of another item");
        let mut answers = Answers::default();
        answers.asked.insert("a".into(), one.to_vec());
        answers.heard(&yes(&one.to_vec()), "a");
        assert!(!answers.take("b", &one.to_vec()) && !answers.take("a", &two.to_vec()));
        assert!(answers.take("a", &one.to_vec()));
        assert!(!answers.take("a", &one.to_vec()), "it counts once");
    }

    #[test]
    fn what_is_settled_leaves_no_grant_behind() {
        let name = name_of("a", &plan("r1")).to_vec();
        let mut answers = Answers::default();
        answers.asked.insert("a".into(), name.clone());
        answers.heard(&yes(&name), "a");
        assert_eq!(answers.settled("a"), None);
        assert!(!answers.take("a", &name));
        // The word comes after the item was settled: the plan was withdrawn meanwhile.
        answers.asked.insert("a".into(), name.clone());
        assert_eq!(answers.settled("a"), Some(name.clone()));
        answers.heard(&yes(&name), "a");
        assert!(!answers.take("a", &name));
    }
}
