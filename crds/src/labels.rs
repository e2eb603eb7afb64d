//! Label keys and the values that mean something.

/// Name of the Kustomization that applied an object.
pub const KUSTOMIZE_NAME: &str = "kustomize.toolkit.fluxcd.io/name";
/// Namespace of the Kustomization that applied an object.
pub const KUSTOMIZE_NAMESPACE: &str = "kustomize.toolkit.fluxcd.io/namespace";
/// Name of the HelmRelease that an object belongs to.
pub const HELM_NAME: &str = "helm.toolkit.fluxcd.io/name";
/// Namespace of the HelmRelease that an object belongs to.
pub const HELM_NAMESPACE: &str = "helm.toolkit.fluxcd.io/namespace";
/// On a ConfigMap or Secret: with the value [`WATCH_ENABLED`] a change triggers the objects that use it.
pub const WATCH: &str = "reconcile.fluxcd.io/watch";
/// The value of [`WATCH`] that Flux's default selector looks for.
pub const WATCH_ENABLED: &str = "Enabled";
/// On an ExternalArtifact: UID of the ArtifactGenerator that makes it.
pub const GENERATOR: &str = "source.extensions.fluxcd.io/generator";
/// Which program keeps an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Shard of a Flux object.
pub const SHARDING_KEY: &str = "sharding.fluxcd.io/key";

/// `flux` lists Deployments and definitions by this label.
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// The value of [`PART_OF`] on what belongs to the Flux API.
pub const PART_OF_FLUX: &str = "flux";
/// The value of [`PART_OF`] on what belongs to Nave alone.
pub const PART_OF_NAVE: &str = "nave";
/// On the pod of the hub that is active, so that Services find it.
pub const HUB_ROLE: &str = "fleet.nave.dev/hub-role";
/// The value of [`HUB_ROLE`] there.
pub const HUB_ROLE_ACTIVE: &str = "active";
/// Component of an installation.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Instance of an installation; Flux uses the namespace.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// Version of an installation.
pub const VERSION: &str = "app.kubernetes.io/version";

/// Prefix of every label and annotation that only the hub may write on a fleet object's products.
pub const FLEET_PREFIX: &str = "fleet.nave.dev/";
/// Kind of the fleet object that owns a Flux object, on spokes and on the hub.
pub const FLEET_KIND: &str = "fleet.nave.dev/kind";
/// Name of the owning fleet object.
pub const FLEET_NAME: &str = "fleet.nave.dev/name";
/// Namespace of the owning fleet object on the hub.
pub const FLEET_NAMESPACE: &str = "fleet.nave.dev/namespace";
/// UID of the owning fleet object.
pub const FLEET_UID: &str = "fleet.nave.dev/uid";
/// Name of the cluster that a Kustomization on the hub is for (kubeconfig mode).
pub const FLEET_CLUSTER: &str = "fleet.nave.dev/cluster";
/// Namespace of the cluster that a Kustomization on the hub is for (kubeconfig mode).
pub const FLEET_CLUSTER_NAMESPACE: &str = "fleet.nave.dev/cluster-namespace";
/// On a Secret of the hub: `"true"` allows fleet objects of its namespace to send it to spokes.
pub const FLEET_DISTRIBUTE: &str = "fleet.nave.dev/distribute";
/// The four labels that name the owning fleet object.
pub const FLEET_OWNER: [&str; 4] = [FLEET_KIND, FLEET_NAME, FLEET_NAMESPACE, FLEET_UID];
