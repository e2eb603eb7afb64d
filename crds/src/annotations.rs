//! Annotation keys and the values that mean something.

/// Asks for a reconcile now; any new value counts. Copied to `status.lastHandledReconcileAt`.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// Asks a HelmRelease for a forced upgrade, when equal to [`REQUESTED_AT`].
pub const FORCE_AT: &str = "reconcile.fluxcd.io/forceAt";
/// Asks a HelmRelease to forget its failures, when equal to [`REQUESTED_AT`].
pub const RESET_AT: &str = "reconcile.fluxcd.io/resetAt";
/// Key in a HelmRelease event's metadata: version of the chart.
pub const HELM_REVISION: &str = "helm.toolkit.fluxcd.io/revision";
/// Key in a HelmRelease event's metadata: digest of the values.
pub const HELM_TOKEN: &str = "helm.toolkit.fluxcd.io/token";
/// Key in a HelmRelease event's metadata: version of the application.
pub const HELM_APP_VERSION: &str = "helm.toolkit.fluxcd.io/app-version";
/// Key in a HelmRelease event's metadata: digest of the artifact, for charts from OCI.
pub const HELM_OCI_DIGEST: &str = "helm.toolkit.fluxcd.io/oci-digest";
/// `disabled`, as an annotation or label of an object: it is not looked at for drift.
pub const HELM_DRIFT_DETECTION: &str = "helm.toolkit.fluxcd.io/driftDetection";
/// On an object or its live form: `disabled` leaves it alone.
pub const KUSTOMIZE_RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
/// `disabled`: the object is never pruned.
pub const KUSTOMIZE_PRUNE: &str = "kustomize.toolkit.fluxcd.io/prune";
/// `Override` (default), `Merge`, `IfNotPresent` or `Ignore`.
pub const KUSTOMIZE_SSA: &str = "kustomize.toolkit.fluxcd.io/ssa";
/// `enabled`: re-create the object when an immutable field changed.
pub const KUSTOMIZE_FORCE: &str = "kustomize.toolkit.fluxcd.io/force";
/// `disabled`: no variable substitution in this object.
pub const KUSTOMIZE_SUBSTITUTE: &str = "kustomize.toolkit.fluxcd.io/substitute";
/// `disabled`: the object is not decrypted.
pub const KUSTOMIZE_DECRYPT: &str = "kustomize.toolkit.fluxcd.io/decrypt";
/// On an ArtifactGenerator: `disabled` suspends it.
pub const GENERATOR_RECONCILE: &str = "source.extensions.fluxcd.io/reconcile";
/// Key in an artifact's metadata: the revision of what it was made from.
pub const ORIGIN_REVISION: &str = "org.opencontainers.image.revision";
/// The value that switches a feature off.
pub const DISABLED: &str = "disabled";
/// The value that switches a feature on.
pub const ENABLED: &str = "enabled";

/// Key in a Kustomization event's metadata: the revision it is about.
pub const KUSTOMIZE_REVISION: &str = "kustomize.toolkit.fluxcd.io/revision";
/// Key in a Kustomization event's metadata: the revision before it was packed.
pub const KUSTOMIZE_ORIGIN_REVISION: &str = "kustomize.toolkit.fluxcd.io/originRevision";
/// Key in a source event's metadata: the revision of the new artifact.
pub const SOURCE_REVISION: &str = "source.toolkit.fluxcd.io/revision";
/// Key in a source event's metadata: the digest of the new artifact.
pub const SOURCE_DIGEST: &str = "source.toolkit.fluxcd.io/digest";

/// On a Kustomization: `Independent` applies what does not need an object that failed.
pub const NAVE_APPLY: &str = "nave.dev/apply";
/// On a Kustomization: `Instant` corrects drift as soon as a watch tells of it, `Detect` only reports it.
pub const NAVE_DRIFT: &str = "nave.dev/drift";
/// On a Kustomization: `Confirm` holds back deletions of namespaces, definitions and volumes until they are confirmed.
pub const NAVE_PRUNE_GUARD: &str = "nave.dev/prune-guard";
/// On a Kustomization: the plan of guarded deletions that a person confirmed, as the condition names it.
pub const NAVE_CONFIRM_PRUNE: &str = "nave.dev/confirm-prune";
/// On a Kustomization with a kubeconfig, by us: the cluster that its inventory is about.
pub const NAVE_TARGET: &str = "nave.dev/target";

/// On an object of a spoke that Nave did not create: `true` lets a fleet object take it over.
/// Without it an object of the same name is left alone and reported.
pub const FLEET_ADOPT: &str = "fleet.nave.dev/adopt";
/// On the template of a fleet object: `disabled` adds no `cluster_*` variables to `postBuild.substitute`.
pub const FLEET_CLUSTER_VARIABLES: &str = "fleet.nave.dev/cluster-variables";
/// On a HubState that is Behind: the incarnation an operator confirmed after seeing the consequences.
pub const FLEET_CONFIRM_INCARNATION: &str = "fleet.nave.dev/confirm-incarnation";
/// On a Cluster that came back from a backup: the restoration, as its condition Restored names it, after which its
/// deletions need no approval any more.
pub const FLEET_CONFIRM_RESTORED: &str = "fleet.nave.dev/confirm-restored";
/// On HubState: a text that was not there before has the hub change its authorities, once.
pub const FLEET_ROTATE_ROOTS: &str = "fleet.nave.dev/rotate-roots";

/// On the agent's secret, by a person or `nave leave`: `keep` or `purge`. The agent closes the link and dials no more.
pub const FLEET_LEAVE: &str = "fleet.nave.dev/leave";
/// On the agent's secret, by the agent: `Connected`, `Retrying`, `Refused` (a person has to help) or `Left`.
pub const FLEET_LINK_STATE: &str = "fleet.nave.dev/link-state";
/// On the agent's secret, by the agent: why, for people.
pub const FLEET_LINK_MESSAGE: &str = "fleet.nave.dev/link-message";
/// On an ExternalArtifact whose files came over the link: the source behind it, as `{"kind": …, "spec": …}`.
pub const FLEET_SOURCE: &str = "fleet.nave.dev/source";
