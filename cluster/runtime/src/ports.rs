//! What hub and agent do differently, as seen by the reconcilers that they share.

use futures::future::BoxFuture;

/// The Flux object on whose behalf something is applied or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct OwnerRef {
    /// `Kustomization` or `HelmRelease`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The fleet object that it was made from, as its owner labels say; none for an object that came from the spoke itself.
    pub fleet: Option<FleetRef>,
}

/// A fleet object on the hub.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct FleetRef {
    /// `FleetKustomization` or `FleetHelmRelease`.
    pub kind: String,
    /// The workspace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID on the hub.
    pub uid: String,
}

/// One deletion of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PlannedDelete {
    /// API group, empty for core.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// It is deleted to be created anew, and what it holds does not come back with it.
    pub loses_data: bool,
}

impl PlannedDelete {
    /// Whether deleting it deletes more than itself: a namespace, a CRD, a Flux object with an inventory of its own, or
    /// data that its new object does not have.
    pub fn is_cascade(&self) -> bool {
        self.loses_data
            || matches!(
                (self.group.as_str(), self.kind.as_str()),
                ("", "Namespace")
                    | ("apiextensions.k8s.io", "CustomResourceDefinition")
                    | ("kustomize.toolkit.fluxcd.io", "Kustomization")
                    | ("helm.toolkit.fluxcd.io", "HelmRelease")
            )
    }
}

/// Everything that one reconcile wants to delete, named before the first deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunePlan {
    /// Whose inventory shrinks.
    pub owner: OwnerRef,
    /// What caused it: the source revision, or `deletion` when the owner itself is being deleted.
    pub change: String,
    /// `sha256:<hex>` of the sorted deletions; an approval names it.
    pub digest: String,
    /// The deletions, sorted.
    pub deletes: Vec<PlannedDelete>,
}

impl PrunePlan {
    /// The deletions that delete more than themselves.
    pub fn cascades(&self) -> impl Iterator<Item = &PlannedDelete> {
        self.deletes.iter().filter(|delete| delete.is_cascade())
    }
}

/// The answer to a [`PrunePlan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permit {
    /// Delete what the plan names.
    Granted,
    /// Delete nothing; the objects stay in the inventory and the reason goes to the condition.
    Held {
        /// Why, and what would release it.
        reason: String,
    },
}

/// Who may delete. A lone agent permits itself, a joined one asks the hub.
pub trait PrunePermits: Send + Sync + 'static {
    /// Decides on a whole plan. Called again on the next reconcile when held.
    fn permit<'a>(&'a self, plan: &'a PrunePlan) -> BoxFuture<'a, Permit>;
}

/// The permit of a cluster that nobody else answers for.
#[derive(Debug, Clone, Copy, Default)]
pub struct PermitItself;

impl PrunePermits for PermitItself {
    fn permit<'a>(&'a self, _plan: &'a PrunePlan) -> BoxFuture<'a, Permit> {
        Box::pin(std::future::ready(Permit::Granted))
    }
}

/// What is about to be done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Create or change it.
    Apply,
    /// Delete it.
    Delete,
}

/// The cluster's own cap on what a fleet owner may touch; asked for every object before it is applied or deleted.
pub trait ApplyPolicy: Send + Sync + 'static {
    /// Says no with a reason that a person can act on.
    fn check(
        &self,
        owner: &OwnerRef,
        action: Action,
        group: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), String>;
}

/// The policy of a cluster where RBAC is the only cap.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl ApplyPolicy for AllowAll {
    fn check(
        &self,
        _owner: &OwnerRef,
        _action: Action,
        _group: &str,
        _kind: &str,
        _namespace: &str,
        _name: &str,
    ) -> Result<(), String> {
        Ok(())
    }
}
