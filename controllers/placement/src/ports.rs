//! What the hub provides, and what it may ask.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use nave_crds::fleet::{ChangeDeletions, PlanStatus};
use nave_crds::{
    Cluster, ExternalArtifact, FleetHelmRelease, FleetKustomization, GitRepository, HelmChart, HelmRelease,
    HelmRepository, Kustomization, OCIRepository,
};
use nave_object::Object;
use nave_placement::{Cause, ClusterKey, Grant, OwnerKey, Policy, SourceKey};
use nave_runtime::{EventRecorder, Metrics, Tasks, Watched};
use sha2::{Digest, Sha256};

/// Everything that the controller stands on.
#[derive(Clone)]
pub struct Ports {
    /// The hub's API server.
    pub client: Client,
    /// Kustomizations for many clusters, of all workspaces.
    pub fleets: Watched<FleetKustomization>,
    /// Clusters of all workspaces.
    pub clusters: Watched<Cluster>,
    /// Sources of the hub.
    pub git_repositories: Watched<GitRepository>,
    /// Sources of the hub.
    pub external_artifacts: Watched<ExternalArtifact>,
    /// Kustomizations of the hub: those for kubeconfig clusters are ours.
    pub kustomizations: Watched<Kustomization>,
    /// Charts for many clusters, and where they come from.
    pub charts: ChartPorts,
    /// What agents are to have.
    pub desired: Arc<dyn DesiredState>,
    /// What agents say.
    pub statuses: Arc<dyn FleetStatus>,
    /// Files of sources, cut down.
    pub artifacts: Arc<dyn Artifacts>,
    /// Looks at kubeconfig clusters.
    pub probe: Arc<dyn ClusterProbe>,
    /// Events on fleet objects and clusters.
    pub events: EventRecorder,
    /// Durations of reconciles.
    pub metrics: Metrics,
    /// Owner of the controller's tasks.
    pub tasks: Tasks,
}

/// What the controller needs for charts.
#[derive(Clone)]
pub struct ChartPorts {
    /// HelmReleases for many clusters, of all workspaces.
    pub fleets: Watched<FleetHelmRelease>,
    /// HelmReleases of the hub: those for kubeconfig clusters are ours.
    pub helm_releases: Watched<HelmRelease>,
    /// Sources of the hub.
    pub helm_repositories: Watched<HelmRepository>,
    /// Sources of the hub.
    pub oci_repositories: Watched<OCIRepository>,
    /// Charts of the hub: those for fleet objects are ours.
    pub helm_charts: Watched<HelmChart>,
}

/// The items that agents are to have: one for each fleet object and cluster.
///
/// Methods do not wait. What they change is sent when a session is there, and kept until then.
pub trait DesiredState: Send + Sync + 'static {
    /// Sets the item of one fleet object on one cluster. An item with the same `version` changes nothing.
    fn put(&self, cluster: &ClusterKey, item: DesiredItem);

    /// Explicitly deletes the item of one fleet object on one cluster, also when none is known: the
    /// agent may have one from before the hub's restart.
    fn delete(&self, cluster: &ClusterKey, owner: &OwnerKey, cause: DeleteCause);

    /// The items that a cluster has now, without their content.
    fn current(&self, cluster: &ClusterKey) -> Vec<ItemHeader>;

    /// That of one owner among them.
    fn current_of(&self, cluster: &ClusterKey, owner: &OwnerKey) -> Option<ItemHeader> {
        let items = self.current(cluster);
        items.into_iter().find(|item| item.owner.uid == owner.uid)
    }

    /// Why the hub does not trust its memory, if it does not: then it neither makes nor deletes anything, here or elsewhere.
    fn behind(&self) -> Option<String> {
        None
    }

    /// Every fleet object that was there at the start has been planned once. Before this nothing may
    /// be sent: what is missing may only not have been planned yet.
    fn rebuilt(&self);
}

/// What one cluster gets from one fleet object.
#[derive(Debug, Clone)]
pub struct DesiredItem {
    /// The fleet object. [`OwnerKey::item_key`] is the item's key: `<kind>/<namespace>/<name>`.
    pub owner: OwnerKey,
    /// Identifies the content: equal versions mean equal items. Covers objects, grant, flags, the
    /// artifact, and Secrets by UID and resourceVersion; it is the same after a restart.
    pub version: ItemVersion,
    /// The Flux objects for the spoke.
    pub objects: Vec<Object>,
    /// The files for the spoke.
    pub artifact: Option<ItemArtifact>,
    /// The Secrets for the spoke. With any, the item is sensitive.
    pub secrets: Vec<SensitiveObject>,
    /// What the workspace (`owner.namespace`) may do there.
    pub grant: Grant,
    /// Identifies the change: the same for all clusters that get the same target.
    pub change_id: String,
    /// Value of the annotation that asks for a reconcile.
    pub requested_at: Option<String>,
    /// Whether reconciliation is suspended.
    pub suspend: bool,
}

/// Files that become an ExternalArtifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemArtifact {
    /// The files.
    pub handle: ArtifactHandle,
    /// Namespace of the ExternalArtifact, which is also among the objects.
    pub namespace: String,
    /// Name of the ExternalArtifact.
    pub name: String,
}

/// What an item consists of: the beginning of its SHA-256. A fleet has one for each object and cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemVersion([u8; 16]);

impl ItemVersion {
    /// The version of an item that consists of that.
    pub fn of(content: impl AsRef<[u8]>) -> Self {
        let digest: [u8; 32] = Sha256::digest(content).into();
        Self(*digest.first_chunk().expect("a digest is longer than its beginning"))
    }
}

/// The header of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemHeader {
    /// The fleet object.
    pub owner: Arc<OwnerKey>,
    /// As in [`DesiredItem::version`].
    pub version: ItemVersion,
    /// What the workspace may do there, as of this item.
    pub grant: Arc<Grant>,
}

/// Why an item goes, and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteCause {
    /// Why.
    pub cause: Cause,
    /// [`Policy::Prune`]: workloads go too. [`Policy::Orphan`]: the Flux objects go and workloads stay.
    pub policy: Policy,
    /// As in [`DesiredItem::change_id`].
    pub change_id: String,
}

/// An object whose content is in no log and no digest.
#[derive(Clone)]
pub struct SensitiveObject(Object);

impl SensitiveObject {
    /// Hides an object.
    pub fn new(object: Object) -> Self {
        Self(object)
    }

    /// The object, for those who send it.
    pub fn expose(&self) -> &Object {
        &self.0
    }
}

impl fmt::Debug for SensitiveObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (content hidden)", self.0.id())
    }
}

/// What agents say about the items that they have.
pub trait FleetStatus: Send + Sync + 'static {
    /// The latest status of every cluster that reported one for this fleet object, from sessions
    /// that are not quarantined.
    fn of(&self, owner: &OwnerKey) -> Vec<ClusterStatus>;

    /// Deletions of the fleet object that wait for a person, if there are any.
    fn plan(&self, owner: &OwnerKey) -> Option<PlanStatus>;

    /// What recent changes of the fleet object deleted without approval.
    fn deletions(&self, owner: &OwnerKey) -> Vec<ChangeDeletions>;

    /// Fleet objects whose status changed on some cluster, whose held deletions changed, or one of whose clusters connected or
    /// disconnected. May repeat and may be coalesced, but never loses the latest change.
    fn changes(&self) -> BoxStream<'static, OwnerKey>;

    /// Whether a session with the agent of a cluster is open, or was a moment ago.
    fn connected(&self, cluster: &ClusterKey) -> bool;
}

/// What one cluster says about one fleet object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// The cluster.
    pub cluster: ClusterKey,
    /// Whether this speaks of the item that the cluster is to have now: both the payload and the
    /// manifest that it observed are the target's.
    pub current: bool,
    /// Revision that was last applied.
    pub revision: String,
    /// How it went.
    pub state: ClusterState,
    /// The object that this is about, such as `Kustomization/team-a/apps`.
    pub object: String,
    /// Reason of its Ready condition.
    pub reason: String,
    /// Message of its Ready condition.
    pub message: String,
}

/// How a fleet object stands on a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClusterState {
    /// As wanted.
    Ready,
    /// On its way.
    Progressing,
    /// Failed.
    Failed,
    /// Suspended.
    Suspended,
    /// Waits for a permit or an approval.
    Held,
    /// Its owner is unknown.
    Orphaned,
}

/// The files of sources.
pub trait Artifacts: Send + Sync + 'static {
    /// The manifest of the artifact that a source of the hub has now, cut down to the files that
    /// match `include` (all when empty). The error is for people and holds no credentials.
    fn manifest<'a>(
        &'a self,
        source: &'a SourceKey,
        include: &'a [String],
    ) -> BoxFuture<'a, Result<ArtifactHandle, String>>;
}

/// Files as they are named on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactHandle {
    /// Digest of the manifest: `sha256:<hex>`.
    pub manifest_digest: String,
    /// Revision of the artifact.
    pub revision: String,
    /// Where the hub fetched it, without credentials.
    pub origin: String,
    /// Bytes of all files.
    pub size: u64,
}

/// Looks at clusters of mode KubeConfig.
pub trait ClusterProbe: Send + Sync + 'static {
    /// Reads the kubeconfig Secret and asks the cluster for its version and for what is allowed.
    /// One attempt, bounded in time; the controller repeats it.
    fn probe<'a>(&'a self, cluster: &'a Cluster) -> BoxFuture<'a, Result<ClusterFacts, ProbeError>>;
}

/// What a probe learns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterFacts {
    /// Such as `v1.36.3`.
    pub kubernetes_version: String,
}

/// Why a kubeconfig cluster cannot be used. Messages are for people and hold no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The Secret or its key does not exist.
    #[error("{0}")]
    Missing(String),
    /// It is no kubeconfig.
    #[error("{0}")]
    Malformed(String),
    /// It asks for something that the hub does not do: `exec`, files, loopback addresses, …
    #[error("{0}")]
    Refused(String),
    /// The cluster does not answer, or not with a certificate that can be trusted.
    #[error("{0}")]
    Unreachable(String),
    /// The cluster answers 401 or 403.
    #[error("{0}")]
    Forbidden(String),
}

/// A Secret of the hub that may leave it: what the label says.
pub(crate) fn is_distributable(secret: &Secret) -> bool {
    secret
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(nave_crds::labels::FLEET_DISTRIBUTE))
        .is_some_and(|value| value == "true")
}
