//! Condition types, by the kinds that carry them.

/// Summary of an object: what `kubectl wait --for=condition=ready` looks at. Every kind.
pub const READY: &str = "Ready";
/// Work towards the wanted state goes on; absent when there is none. Flux kinds.
pub const RECONCILING: &str = "Reconciling";
/// Nothing will happen until a person changes something; excludes `Reconciling`. Flux kinds.
pub const STALLED: &str = "Stalled";
/// The objects that were applied are current (`wait` or `healthChecks`). Kustomization.
pub const HEALTHY: &str = "Healthy";
/// Objects are not as they were applied, by others; exists only while true. HelmRelease, and a Kustomization that only
/// reports drift (`nave.dev/drift: Detect`).
pub const DRIFTED: &str = "Drifted";

/// The last installation, upgrade or uninstallation went well. HelmRelease.
pub const RELEASED: &str = "Released";
/// The tests of the release passed. HelmRelease.
pub const TEST_SUCCESS: &str = "TestSuccess";
/// A failed release was remedied; exists only then. HelmRelease.
pub const REMEDIATED: &str = "Remediated";

/// The artifact of the current revision is stored. Sources.
pub const ARTIFACT_IN_STORAGE: &str = "ArtifactInStorage";
/// A newer revision than the stored one is known; exists only while true. Sources.
pub const ARTIFACT_OUTDATED: &str = "ArtifactOutdated";
/// The upstream could not be fetched; exists only while true. Sources.
pub const FETCH_FAILED: &str = "FetchFailed";
/// The store could not be read or written; exists only while true. Sources.
pub const STORAGE_OPERATION_FAILED: &str = "StorageOperationFailed";
/// An included repository has no artifact; exists only while true. GitRepository.
pub const INCLUDE_UNAVAILABLE: &str = "IncludeUnavailable";
/// The chart could not be pulled or packaged; exists only while true. HelmChart.
pub const BUILD_FAILED: &str = "BuildFailed";
/// The signature of the revision was checked. Sources.
pub const SOURCE_VERIFIED: &str = "SourceVerified";

/// The key of the agent is accepted, or the kubeconfig names a reachable cluster. Cluster.
pub const JOINED: &str = "Joined";
/// A session with the agent is open, or the last probe by kubeconfig succeeded. Cluster.
pub const CONNECTED: &str = "Connected";
/// The agent runs the version that `spec.agent.version` asks for. Cluster.
pub const AGENT_CURRENT: &str = "AgentCurrent";
/// The clocks of hub and spoke agree. Cluster.
pub const CLOCK_SYNCED: &str = "ClockSynced";
/// Two agents claim to be this cluster; desired state is frozen. Cluster.
pub const QUARANTINED: &str = "Quarantined";
/// The spoke came back from a backup; its deletions are a plan. Cluster.
pub const RESTORED: &str = "Restored";
/// The cluster's own policy file caps what the hub may do there; exists only where there is one. Cluster.
pub const POLICY_LIMITED: &str = "PolicyLimited";

/// The link behaves as `spec.link.profile` asks for; exists only where that is not `Standard`. Cluster.
pub const LINK_PROFILE: &str = "LinkProfile";

/// Some cluster does not have the target revision yet. Fleet objects.
pub const PROGRESSING: &str = "Progressing";
/// Something waits for a person: a plan, a wave, or a field this version cannot honour. Fleet objects.
pub const HELD: &str = "Held";

/// The hub's state is older than what agents have seen: it deletes nothing and admits nobody. HubState.
pub const BEHIND: &str = "Behind";
/// A joining agent used this token, or can no longer do so. JoinToken.
pub const CONSUMED: &str = "Consumed";
