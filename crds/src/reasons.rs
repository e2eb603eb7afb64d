//! Condition reasons: Flux's, which clients compare, and those of the fleet kinds.

/// Work goes on.
pub const PROGRESSING: &str = "Progressing";
/// Work goes on, and the attempt before failed.
pub const PROGRESSING_WITH_RETRY: &str = "ProgressingWithRetry";
/// It worked.
pub const SUCCEEDED: &str = "Succeeded";
/// It did not work, and no better reason is known.
pub const FAILED: &str = "Failed";
/// The object is suspended.
pub const SUSPENDED: &str = "Suspended";
/// A feature gate is off.
pub const FEATURE_GATE_DISABLED: &str = "FeatureGateDisabled";
/// A reference or an action is not allowed.
pub const ACCESS_DENIED: &str = "AccessDenied";

/// Reasons of the source kinds.
pub mod source {
    /// The URL cannot be used.
    pub const URL_INVALID: &str = "URLInvalid";
    /// Credentials are missing, wrong or refused.
    pub const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";
    /// A signature does not verify.
    pub const VERIFICATION_ERROR: &str = "VerificationError";
    /// The signature of a chart does not hold.
    pub const CHART_VERIFICATION_ERROR: &str = "ChartVerificationError";
    /// A directory could not be made.
    pub const DIRECTORY_CREATION_FAILED: &str = "DirectoryCreationFailed";
    /// A file could not be looked at.
    pub const STAT_OPERATION_FAILED: &str = "StatOperationFailed";
    /// A file could not be read.
    pub const READ_OPERATION_FAILED: &str = "ReadOperationFailed";
    /// The lock of an artifact could not be taken.
    pub const ACQUIRE_LOCK_FAILED: &str = "AcquireLockFailed";
    /// A path leaves its root or does not exist.
    pub const INVALID_PATH: &str = "InvalidPath";
    /// The artifact could not be written.
    pub const ARCHIVE_OPERATION_FAILED: &str = "ArchiveOperationFailed";
    /// The link to the latest artifact could not be set.
    pub const SYMLINK_UPDATE_FAILED: &str = "SymlinkUpdateFailed";
    /// The stored artifact is of the current revision (trace event).
    pub const ARTIFACT_UP_TO_DATE: &str = "ArtifactUpToDate";
    /// A cache could not be used.
    pub const CACHE_OPERATION_FAILED: &str = "CacheOperationFailed";
    /// The object could not be patched.
    pub const PATCH_OPERATION_FAILED: &str = "PatchOperationFailed";
    /// `spec.provider` and the rest of the spec do not fit together.
    pub const INVALID_PROVIDER_CONFIGURATION: &str = "InvalidProviderConfiguration";
    /// The remote was read.
    pub const GIT_OPERATION_SUCCEEDED: &str = "GitOperationSucceeded";
    /// The remote could not be read.
    pub const GIT_OPERATION_FAILED: &str = "GitOperationFailed";
    /// The remote has no commit.
    pub const EMPTY_GIT_REPOSITORY: &str = "EmptyGitRepository";
    /// A `.sourceignore` could not be read.
    pub const SOURCE_IGNORE_ERROR: &str = "SourceIgnoreError";
    /// An include writes outside of the checkout.
    pub const ILLEGAL_PATH: &str = "IllegalPath";
    /// An included artifact could not be copied.
    pub const COPY_FAILURE: &str = "CopyFailure";
    /// An included repository does not exist.
    pub const NOT_FOUND: &str = "NotFound";
    /// An included repository has no artifact.
    pub const NO_ARTIFACT: &str = "NoArtifact";
    /// A new artifact was stored (event).
    pub const NEW_ARTIFACT: &str = "NewArtifact";
    /// The upstream moved on.
    pub const NEW_REVISION: &str = "NewRevision";
    /// What is included moved on.
    pub const INCLUDE_CHANGE: &str = "IncludeChange";
    /// A stored file does not have its digest any more (event).
    pub const ARTIFACT_VERIFICATION_FAILED: &str = "ArtifactVerificationFailed";
    /// Old artifacts were removed (trace event).
    pub const GARBAGE_COLLECTION_SUCCEEDED: &str = "GarbageCollectionSucceeded";
    /// Old artifacts could not be removed (event).
    pub const GARBAGE_COLLECTION_FAILED: &str = "GarbageCollectionFailed";
    /// `spec.verify.mode` and `spec.ref` do not fit together.
    pub const INVALID_VERIFICATION_MODE: &str = "InvalidVerificationMode";
    /// The object to verify carries no signature.
    pub const INVALID_GIT_OBJECT: &str = "InvalidGitObject";
    /// A manifest or a layer could not be pulled from a registry.
    pub const OCI_PULL_FAILED: &str = "OCIArtifactPullFailed";
    /// A layer could not be unpacked or copied.
    pub const OCI_LAYER_OPERATION_FAILED: &str = "OCIArtifactLayerOperationFailed";
    /// Objects of a bucket could not be listed or read.
    pub const BUCKET_OPERATION_FAILED: &str = "BucketOperationFailed";
    /// `spec.sts` and the rest of the spec do not fit together.
    pub const INVALID_STS_CONFIGURATION: &str = "InvalidSTSConfiguration";
    /// The index of a chart repository could not be read.
    pub const INDEXATION_FAILED: &str = "IndexationFailed";
    /// The source of a chart does not exist.
    pub const SOURCE_UNAVAILABLE: &str = "SourceUnavailable";
    /// A chart cannot come from a source of this kind.
    pub const UNSUPPORTED_SOURCE_KIND: &str = "UnsupportedSourceKind";
    /// The source of a chart has no artifact yet.
    pub const NO_SOURCE_ARTIFACT: &str = "NoSourceArtifact";
    /// The package of a chart was pulled from a repository.
    pub const CHART_PULL_SUCCEEDED: &str = "ChartPullSucceeded";
    /// A chart was packaged from a folder, or again with other values.
    pub const CHART_PACKAGE_SUCCEEDED: &str = "ChartPackageSucceeded";
    /// A newer version of the chart is known.
    pub const NEW_CHART: &str = "NewChart";
    /// The name or version of a chart cannot be found.
    pub const INVALID_CHART_REFERENCE: &str = "InvalidChartReference";
    /// The package of a chart could not be pulled.
    pub const CHART_PULL_ERROR: &str = "ChartPullError";
    /// A values file is missing or cannot be read.
    pub const VALUES_FILES_ERROR: &str = "ValuesFilesError";
    /// A dependency of a chart could not be had.
    pub const DEPENDENCY_BUILD_ERROR: &str = "DependencyBuildError";
    /// A chart could not be packaged.
    pub const CHART_PACKAGE_ERROR: &str = "ChartPackageError";
    /// The tag's signature is wrong.
    pub const INVALID_TAG_SIGNATURE: &str = "InvalidTagSignature";
    /// The commit's signature is wrong.
    pub const INVALID_COMMIT_SIGNATURE: &str = "InvalidCommitSignature";
}

/// Reasons of ArtifactGenerator.
pub mod generator {
    /// The annotation that suspends it is set.
    pub const RECONCILIATION_DISABLED: &str = "ReconciliationDisabled";
    /// Fields of the spec contradict each other.
    pub const VALIDATION_FAILED: &str = "ValidationFailed";
    /// A source is missing, not ready, or its artifact cannot be read.
    pub const SOURCE_FETCH_FAILED: &str = "SourceFetchFailed";
    /// An artifact could not be put together or stored.
    pub const BUILD_FAILED: &str = "BuildFailed";
    /// An ExternalArtifact could not be written.
    pub const RECONCILIATION_FAILED: &str = "ReconciliationFailed";
}

/// Reasons of Kustomization.
pub mod kustomize {
    /// Everything was applied and, if asked for, is healthy.
    pub const RECONCILIATION_SUCCEEDED: &str = "ReconciliationSucceeded";
    /// Something failed that has no reason of its own.
    pub const RECONCILIATION_FAILED: &str = "ReconciliationFailed";
    /// The artifact is missing, cannot be fetched, or lacks `spec.path`.
    pub const ARTIFACT_FAILED: &str = "ArtifactFailed";
    /// The manifests could not be built.
    pub const BUILD_FAILED: &str = "BuildFailed";
    /// An object is not healthy, or was not in time.
    pub const HEALTH_CHECK_FAILED: &str = "HealthCheckFailed";
    /// A newer revision ended the wait for health.
    pub const HEALTH_CHECK_CANCELED: &str = "HealthCheckCanceled";
    /// A dependency is not ready.
    pub const DEPENDENCY_NOT_READY: &str = "DependencyNotReady";
    /// Objects that left the source could not be deleted.
    pub const PRUNE_FAILED: &str = "PruneFailed";
    /// A CEL expression does not compile.
    pub const INVALID_CEL_EXPRESSION: &str = "InvalidCELExpression";
    /// A working directory could not be made.
    pub const DIRECTORY_CREATION_FAILED: &str = "DirectoryCreationFailed";
    /// An annotation under `nave.dev/` has a value that means nothing (ours).
    pub const INVALID_ANNOTATION: &str = "InvalidAnnotation";
    /// Objects are not as they were applied (ours; Flux has the reason for Helm releases).
    pub const DRIFT_DETECTED: &str = "DriftDetected";
    /// Deletions wait for a permit (ours; see `PrunePermits`).
    pub const PRUNE_HELD: &str = "PruneHeld";
}

/// Reasons of HelmRelease.
pub mod helm {
    /// The installation went well.
    pub const INSTALL_SUCCEEDED: &str = "InstallSucceeded";
    /// The installation failed.
    pub const INSTALL_FAILED: &str = "InstallFailed";
    /// The upgrade went well.
    pub const UPGRADE_SUCCEEDED: &str = "UpgradeSucceeded";
    /// The upgrade failed.
    pub const UPGRADE_FAILED: &str = "UpgradeFailed";
    /// The tests passed.
    pub const TEST_SUCCEEDED: &str = "TestSucceeded";
    /// A test failed.
    pub const TEST_FAILED: &str = "TestFailed";
    /// The roll-back went well.
    pub const ROLLBACK_SUCCEEDED: &str = "RollbackSucceeded";
    /// The roll-back failed.
    pub const ROLLBACK_FAILED: &str = "RollbackFailed";
    /// The release is uninstalled.
    pub const UNINSTALL_SUCCEEDED: &str = "UninstallSucceeded";
    /// The release could not be uninstalled.
    pub const UNINSTALL_FAILED: &str = "UninstallFailed";
    /// The artifact is missing or cannot be fetched.
    pub const ARTIFACT_FAILED: &str = "ArtifactFailed";
    /// A dependency is not ready.
    pub const DEPENDENCY_NOT_READY: &str = "DependencyNotReady";
    /// The source of the chart is not ready.
    pub const SOURCE_NOT_READY: &str = "SourceNotReady";
    /// The values could not be put together.
    pub const VALUES_ERROR: &str = "ValuesError";
    /// The version of the chart does not fit to its tag.
    pub const CHART_MUTATE_ERROR: &str = "ChartMutateError";
    /// The cluster cannot be reached.
    pub const REST_CLIENT_ERROR: &str = "RESTClientError";
    /// The state of the release could not be told.
    pub const STATE_ERROR: &str = "StateError";
    /// Something failed that has no reason of its own.
    pub const RECONCILE_ERROR: &str = "ReconcileError";
    /// The release is there and not tested yet.
    pub const AWAITING_TESTS: &str = "AwaitingTests";
    /// An action on the release was never ended.
    pub const PENDING_RELEASE: &str = "PendingRelease";
    /// No retries are left.
    pub const RETRIES_EXCEEDED: &str = "RetriesExceeded";
    /// There is no release to roll back to.
    pub const MISSING_ROLLBACK_TARGET: &str = "MissingRollbackTarget";
    /// The objects of the release could not be listed.
    pub const INVENTORY_BUILD_FAILED: &str = "InventoryBuildFailed";
    /// A CEL expression does not compile.
    pub const INVALID_CEL_EXPRESSION: &str = "InvalidCELExpression";
    /// A newer revision ended the wait for health.
    pub const HEALTH_CHECK_CANCELED: &str = "HealthCheckCanceled";
    /// Objects were changed by others.
    pub const DRIFT_DETECTED: &str = "DriftDetected";
    /// Objects are as the release says.
    pub const NO_DRIFT_DETECTED: &str = "NoDriftDetected";
    /// Objects are as the release says again (event).
    pub const DRIFT_CORRECTED: &str = "DriftCorrected";
    /// Objects could not be brought back to what the release says (event).
    pub const DRIFT_CORRECTION_FAILED: &str = "DriftCorrectionFailed";
    /// A HelmChart was created (trace event).
    pub const HELM_CHART_CREATED: &str = "HelmChartCreated";
    /// A HelmChart was changed (trace event).
    pub const HELM_CHART_CONFIGURED: &str = "HelmChartConfigured";
    /// A HelmChart was deleted (trace event).
    pub const HELM_CHART_DELETED: &str = "HelmChartDeleted";
    /// A HelmChart could not be written (trace event).
    pub const HELM_CHART_SYNC_ERROR: &str = "HelmChartSyncErr";
}

/// Reasons of the fleet kinds.
pub mod fleet {
    /// Every selected cluster has the target revision and is healthy there.
    pub const ALL_READY: &str = "AllReady";
    /// No cluster is selected.
    pub const NO_CLUSTERS: &str = "NoClusters";
    /// At least one cluster failed.
    pub const CLUSTERS_FAILED: &str = "ClustersFailed";
    /// At least one cluster has not reported the target yet.
    pub const CLUSTERS_PROGRESSING: &str = "ClustersProgressing";
    /// At least one cluster refused by grant or validation.
    pub const CLUSTERS_DENIED: &str = "ClustersDenied";
    /// The source does not exist.
    pub const SOURCE_NOT_FOUND: &str = "SourceNotFound";
    /// The source has no artifact yet, or is not ready.
    pub const SOURCE_NOT_READY: &str = "SourceNotReady";
    /// The artifact could not be cut down to a manifest.
    pub const ARTIFACT_FAILED: &str = "ArtifactFailed";
    /// A field of the fleet object does not make sense; the message names it.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// What the field asks for is what happens.
    pub const ENFORCED: &str = "Enforced";
    /// A field is accepted by the API but not enforced by this version.
    pub const NOT_ENFORCED: &str = "NotEnforced";
    /// Deletions are over what `spec.deletion.budget` allows, or take other objects along; `status.plan` names them.
    pub const DELETIONS_HELD: &str = "DeletionsHeld";
    /// A listed secret is missing.
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    /// A listed secret lacks the label that allows it to leave the hub.
    pub const SECRET_NOT_DISTRIBUTABLE: &str = "SecretNotDistributable";
    /// The grant of the cluster does not allow what the template asks for.
    pub const DENIED: &str = "Denied";
    /// Another fleet object owns an object of the same name there.
    pub const CONFLICT: &str = "Conflict";
    /// The owner of an object is unknown; the object is kept.
    pub const ORPHANED: &str = "Orphaned";

    /// The agent's key is accepted.
    pub const KEY_ACCEPTED: &str = "KeyAccepted";
    /// The agent waits for approval.
    pub const PENDING_APPROVAL: &str = "PendingApproval";
    /// No agent has joined as this cluster.
    pub const NOT_JOINED: &str = "NotJoined";
    /// A session is open.
    pub const SESSION_OPEN: &str = "SessionOpen";
    /// No session is open.
    pub const SESSION_CLOSED: &str = "SessionClosed";
    /// The hub waits before it calls a cluster disconnected.
    pub const RECONNECTING: &str = "Reconnecting";
    /// The kubeconfig works.
    pub const KUBECONFIG_VALID: &str = "KubeConfigValid";
    /// The kubeconfig Secret, or its key, does not exist.
    pub const KUBECONFIG_MISSING: &str = "KubeConfigMissing";
    /// The kubeconfig cannot be read.
    pub const KUBECONFIG_MALFORMED: &str = "KubeConfigMalformed";
    /// The kubeconfig asks for something the hub does not do (`exec`, file paths, loopback server, …).
    pub const KUBECONFIG_REFUSED: &str = "KubeConfigRefused";
    /// The cluster does not answer.
    pub const UNREACHABLE: &str = "Unreachable";
    /// The cluster answers 401 or 403.
    pub const FORBIDDEN: &str = "Forbidden";
    /// `spec.accepted` is false.
    pub const NOT_ACCEPTED: &str = "NotAccepted";
}
