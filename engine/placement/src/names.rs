//! Names that the products of a fleet object carry.
//!
//! The API crate has the same constants; the controller's tests compare the two.

/// Prefix of labels and annotations that only the hub writes.
pub const FLEET_PREFIX: &str = "fleet.nave.dev/";
/// Kind of the owning fleet object.
pub const FLEET_KIND: &str = "fleet.nave.dev/kind";
/// Name of the owning fleet object.
pub const FLEET_NAME: &str = "fleet.nave.dev/name";
/// Namespace of the owning fleet object.
pub const FLEET_NAMESPACE: &str = "fleet.nave.dev/namespace";
/// UID of the owning fleet object.
pub const FLEET_UID: &str = "fleet.nave.dev/uid";
/// Kind of the fleet objects that place Kustomizations.
pub const FLEET_KUSTOMIZATION: &str = "FleetKustomization";
/// Kind of the fleet objects that place HelmReleases.
pub const FLEET_HELM_RELEASE: &str = "FleetHelmRelease";
/// Cluster that a Kustomization on the hub is for.
pub const FLEET_CLUSTER: &str = "fleet.nave.dev/cluster";
/// Namespace of the cluster that a Kustomization on the hub is for.
pub const FLEET_CLUSTER_NAMESPACE: &str = "fleet.nave.dev/cluster-namespace";
/// Annotation of a template: `disabled` adds no `cluster_*` variables.
pub const CLUSTER_VARIABLES: &str = "fleet.nave.dev/cluster-variables";
/// The value that switches off.
pub const DISABLED: &str = "disabled";
/// Annotation of an ExternalArtifact on a spoke: the source behind it, as `{"kind": …, "spec": …}`.
pub const REAL_SOURCE: &str = "fleet.nave.dev/source";
/// Label with the name of the Kustomization that applied an object.
pub const KUSTOMIZE_NAME: &str = "kustomize.toolkit.fluxcd.io/name";
/// Label with the namespace of the Kustomization that applied an object.
pub const KUSTOMIZE_NAMESPACE: &str = "kustomize.toolkit.fluxcd.io/namespace";
/// Label with the name of the HelmRelease that an object belongs to.
pub const HELM_NAME: &str = "helm.toolkit.fluxcd.io/name";
/// Label with the namespace of the HelmRelease that an object belongs to.
pub const HELM_NAMESPACE: &str = "helm.toolkit.fluxcd.io/namespace";
/// Annotation that asks for a reconcile.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// API version of Kustomization.
pub const KUSTOMIZE_API: &str = "kustomize.toolkit.fluxcd.io/v1";
/// API version of HelmRelease.
pub const HELM_API: &str = "helm.toolkit.fluxcd.io/v2";
/// API version of sources.
pub const SOURCE_API: &str = "source.toolkit.fluxcd.io/v1";
/// API version of fleet objects.
pub const FLEET_API: &str = "fleet.nave.dev/v1alpha1";
/// Longest value of a label, in bytes.
pub const LABEL_VALUE_LIMIT: usize = 63;
