//! The hub's side of the ports: it remembers what it was told and says what the test wants.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use kube::ResourceExt;
use nave_crds::{
    Cluster,
    fleet::{ChangeDeletions, PlanStatus},
};
use nave_placement::{ClusterKey, OwnerKey, SourceKey};
use nave_placement_controller::{
    ArtifactHandle, Artifacts, ClusterFacts, ClusterProbe, ClusterState, ClusterStatus, DeleteCause, DesiredItem,
    DesiredState, FleetStatus, ItemHeader, ProbeError,
};
use tokio::sync::broadcast;

type Found = Result<ClusterFacts, ProbeError>;

pub struct FakeHub {
    items: Mutex<HashMap<ClusterKey, BTreeMap<String, DesiredItem>>>,
    /// `<cluster> <owner> <cause> <policy>`
    deletes: Mutex<Vec<String>>,
    /// Puts that changed something: `<cluster> <owner>`
    puts: Mutex<Vec<String>>,
    /// All puts, also those that changed nothing.
    asked: Mutex<Vec<String>>,
    rebuilt: AtomicBool,
    behind: AtomicBool,
    says: Mutex<HashMap<OwnerKey, Vec<ClusterStatus>>>,
    changed: broadcast::Sender<OwnerKey>,
    /// What a probe finds, and how often it was asked.
    probes: Mutex<HashMap<String, (Found, usize)>>,
}

impl Default for FakeHub {
    fn default() -> Self {
        FakeHub {
            items: Mutex::default(),
            deletes: Mutex::default(),
            puts: Mutex::default(),
            asked: Mutex::default(),
            rebuilt: AtomicBool::new(false),
            behind: AtomicBool::new(false),
            says: Mutex::default(),
            changed: broadcast::channel(64).0,
            probes: Mutex::default(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds this")
}

impl FakeHub {
    pub fn item(&self, cluster: &ClusterKey, key: &str) -> Option<DesiredItem> {
        lock(&self.items).get(cluster)?.get(key).cloned()
    }

    pub fn deletes(&self) -> Vec<String> {
        lock(&self.deletes).clone()
    }

    pub fn puts(&self) -> Vec<String> {
        lock(&self.puts).clone()
    }

    /// Every put since the last call, as `<cluster> <owner>`.
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.asked))
    }

    /// Whether the hub trusts its memory.
    pub fn set_behind(&self, behind: bool) {
        self.behind.store(behind, Ordering::SeqCst);
    }

    pub fn is_rebuilt(&self) -> bool {
        self.rebuilt.load(Ordering::SeqCst)
    }

    /// An agent reports on its item.
    pub fn say(&self, item: &DesiredItem, cluster: &ClusterKey, state: ClusterState, message: &str) {
        let status = ClusterStatus {
            cluster: cluster.clone(),
            current: true,
            revision: item
                .artifact
                .as_ref()
                .map(|one| one.handle.revision.clone())
                .unwrap_or_default(),
            state,
            object: format!("Kustomization/{}/{}", item.owner.namespace, item.owner.name),
            reason: format!("{state:?}"),
            message: message.to_owned(),
        };
        let mut says = lock(&self.says);
        let list = says.entry(item.owner.clone()).or_default();
        list.retain(|one| one.cluster != *cluster);
        list.push(status);
        let _ = self.changed.send(item.owner.clone()); // nobody listens before the start
    }

    /// What the next probes of a cluster find.
    pub fn probes_find(&self, cluster: &str, result: Result<ClusterFacts, ProbeError>) {
        lock(&self.probes).insert(cluster.to_owned(), (result, 0));
    }

    /// How often a cluster was probed since.
    pub fn probed(&self, cluster: &str) -> usize {
        lock(&self.probes).get(cluster).map_or(0, |one| one.1)
    }
}

impl DesiredState for FakeHub {
    fn put(&self, cluster: &ClusterKey, item: DesiredItem) {
        lock(&self.asked).push(format!("{} {}", cluster.name, item.owner.name));
        let mut items = lock(&self.items);
        let items = items.entry(cluster.clone()).or_default();
        let key = item.owner.item_key();
        if items.get(&key).is_some_and(|old| old.version == item.version) {
            return;
        }
        lock(&self.puts).push(format!("{} {}", cluster.name, item.owner.name));
        items.insert(key, item);
    }

    fn delete(&self, cluster: &ClusterKey, owner: &OwnerKey, cause: DeleteCause) {
        if let Some(items) = lock(&self.items).get_mut(cluster) {
            items.remove(&owner.item_key());
        }
        lock(&self.deletes).push(format!(
            "{} {} {} {:?}",
            cluster.name,
            owner.name,
            cause.cause.as_str(),
            cause.policy
        ));
    }

    fn behind(&self) -> Option<String> {
        let is_behind = self.behind.load(Ordering::SeqCst);
        is_behind.then(|| "it was restored".to_owned())
    }

    fn current(&self, cluster: &ClusterKey) -> Vec<ItemHeader> {
        lock(&self.items)
            .get(cluster)
            .into_iter()
            .flat_map(BTreeMap::values)
            .map(|item| ItemHeader {
                owner: Arc::new(item.owner.clone()),
                version: item.version,
                grant: Arc::new(item.grant.clone()),
            })
            .collect()
    }

    fn rebuilt(&self) {
        self.rebuilt.store(true, Ordering::SeqCst);
    }
}

impl FleetStatus for FakeHub {
    fn of(&self, owner: &OwnerKey) -> Vec<ClusterStatus> {
        lock(&self.says).get(owner).cloned().unwrap_or_default()
    }

    fn deletions(&self, _owner: &OwnerKey) -> Vec<ChangeDeletions> {
        Vec::new()
    }

    fn plan(&self, _owner: &OwnerKey) -> Option<PlanStatus> {
        None
    }

    fn changes(&self) -> BoxStream<'static, OwnerKey> {
        stream::unfold(self.changed.subscribe(), |mut receiver| async move {
            let owner = receiver.recv().await.ok()?;
            Some((owner, receiver))
        })
        .boxed()
    }

    fn connected(&self, _cluster: &ClusterKey) -> bool {
        true
    }
}

impl Artifacts for FakeHub {
    fn manifest<'a>(
        &'a self,
        source: &'a SourceKey,
        include: &'a [String],
    ) -> BoxFuture<'a, Result<ArtifactHandle, String>> {
        Box::pin(async move {
            Ok(ArtifactHandle {
                manifest_digest: nave_object::digest::sha256(format!("{include:?}")),
                revision: if source.kind == "HelmChart" {
                    "1.2.3"
                } else {
                    "main@sha1:1"
                }
                .into(),
                origin: source.to_string(),
                size: 1,
            })
        })
    }
}

impl ClusterProbe for FakeHub {
    fn probe<'a>(&'a self, cluster: &'a Cluster) -> BoxFuture<'a, Result<ClusterFacts, ProbeError>> {
        Box::pin(async move {
            let mut probes = lock(&self.probes);
            let (result, count) = probes.entry(cluster.name_any()).or_insert_with(|| {
                (
                    Ok(ClusterFacts {
                        kubernetes_version: "v1.36.3".into(),
                    }),
                    0,
                )
            });
            *count += 1;
            result.clone()
        })
    }
}
