//! What a chart's spec asks for, and whether this version can do it. Pure.

use std::sync::LazyLock;

use nave_crds::{
    conditions::{BUILD_FAILED, FETCH_FAILED},
    reasons::source as reasons,
    source::{HelmChartSpec, ReconcileStrategy},
};
use regex::Regex;

use super::package::PackageError;
use crate::failure::{Failure, Retry};

/// Names of charts in repositories (Flux: `internal/helm/chart`, validation of remote references).
static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^([-a-z0-9]+/?\.?)+$").expect("the pattern is constant"));

/// What version of a source's artifact becomes part of a chart's: so many digits of a hash are enough.
const SHORT_HASH: usize = 12;

/// Whether the spec is one that this version can honour.
pub(crate) fn check(spec: &HelmChartSpec) -> Result<(), Failure> {
    let stalled = |reason, message: String| Err(Failure::new(Retry::Stalled, FETCH_FAILED, reason, message));
    if spec.verification.is_some() && spec.source_ref.kind != "HelmRepository" {
        let message = format!(
            "spec.verify: a chart of a {} has no signature, only those of a HelmRepository of type 'oci' have",
            spec.source_ref.kind
        );
        return stalled(reasons::VERIFICATION_ERROR, message);
    }
    match spec.source_ref.kind.as_str() {
        "HelmRepository" if !NAME.is_match(&spec.chart) => stalled(
            reasons::INVALID_CHART_REFERENCE,
            format!(
                "invalid chart reference: invalid chart name '{}': a valid name must be lower case letters and numbers \
                 and MAY be separated with dashes (-), slashes (/) or periods (.)",
                spec.chart
            ),
        ),
        "HelmRepository" | "GitRepository" | "Bucket" => Ok(()),
        kind => stalled(
            reasons::UNSUPPORTED_SOURCE_KIND,
            format!("spec.sourceRef.kind: '{kind}' is not supported by this version"),
        ),
    }
}

/// The values files to merge; none when the chart's own values stay.
pub(crate) fn values_files(spec: &HelmChartSpec) -> &[String] {
    match spec.values_files.as_slice() {
        // As in Flux, the chart's own file alone means that there is nothing to merge.
        [only] if only == "values.yaml" => &[],
        files => files,
    }
}

/// What is added to the version of a chart that comes from a folder.
pub(crate) fn version_metadata(spec: &HelmChartSpec, source_revision: &str, generation: i64) -> Option<String> {
    let mut parts = Vec::new();
    if spec.reconcile_strategy == Some(ReconcileStrategy::Revision) {
        // `main@sha1:<hex>`, or the older `main/<hex>`.
        let hash = source_revision
            .rsplit_once(':')
            .or_else(|| source_revision.rsplit_once('/'))
            .map_or(source_revision, |(_, hash)| hash);
        parts.push(hash.chars().take(SHORT_HASH).collect::<String>());
    }
    if !values_files(spec).is_empty() {
        parts.push(generation.to_string());
    }
    (!parts.is_empty()).then(|| parts.join("."))
}

/// Which condition an error of the package is.
pub(crate) fn package_failure(error: PackageError) -> Failure {
    match error {
        PackageError::Reference(text) => Failure::new(
            Retry::Stalled,
            FETCH_FAILED,
            reasons::INVALID_CHART_REFERENCE,
            format!("invalid chart reference: {text}"),
        ),
        PackageError::Values(text) => Failure::new(
            Retry::Stalled,
            BUILD_FAILED,
            reasons::VALUES_FILES_ERROR,
            format!("values files merge error: {text}"),
        ),
        PackageError::Dependency(text) => Failure::new(
            Retry::Backoff,
            BUILD_FAILED,
            reasons::DEPENDENCY_BUILD_ERROR,
            format!("dependency build error: {text}"),
        ),
        PackageError::Package(text) => Failure::new(
            Retry::Backoff,
            BUILD_FAILED,
            reasons::CHART_PACKAGE_ERROR,
            format!("chart package error: {text}"),
        ),
    }
}

/// What was built, for people.
pub(crate) fn summary(action: &str, name: &str, version: &str, values_files: &[String], dependencies: usize) -> String {
    let mut text = format!("{action} '{name}' chart with version '{version}'");
    if !values_files.is_empty() {
        text.push_str(&format!(" and merged values files [{}]", values_files.join(" ")));
    }
    if dependencies > 0 {
        text.push_str(&format!(" and {dependencies} dependencies"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(fields: Value) -> HelmChartSpec {
        let mut whole = json!({"chart": "app", "interval": "1m", "sourceRef": {"kind": "HelmRepository", "name": "r"}});
        for (name, value) in fields.as_object().unwrap() {
            whole[name] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    #[track_caller]
    fn check_stalled(fields: Value, reason: &str) {
        let failure = check(&spec(fields)).unwrap_err();
        assert_eq!((failure.retry, failure.reason), (Retry::Stalled, reason));
    }

    #[test]
    fn what_cannot_be_done_stalls() {
        for name in ["app", "org/app", "app-2", "a.b"] {
            assert_eq!(check(&spec(json!({"chart": name}))), Ok(()), "{name}");
        }
        check_stalled(json!({"chart": "App"}), "InvalidChartReference");
        check_stalled(json!({"chart": "../app"}), "InvalidChartReference");
        check_stalled(
            json!({"sourceRef": {"kind": "OCIRepository", "name": "b"}}),
            "UnsupportedSourceKind",
        );
        check_stalled(
            json!({"sourceRef": {"kind": "GitRepository", "name": "g"}, "verify": {"provider": "cosign"}}),
            "VerificationError",
        );
        let folder = spec(json!({"chart": "./Charts/App", "sourceRef": {"kind": "GitRepository", "name": "g"}}));
        assert_eq!(check(&folder), Ok(()));
    }

    #[test]
    fn metadata_of_versions() {
        let revision = "feature/x@sha1:0123456789abcdef0123";
        let of = |fields: Value| version_metadata(&spec(fields), revision, 3);
        assert_eq!(of(json!({})), None);
        assert_eq!(of(json!({"valuesFiles": ["values.yaml"]})), None);
        assert_eq!(of(json!({"valuesFiles": ["a.yaml"]})).as_deref(), Some("3"));
        assert_eq!(
            of(json!({"reconcileStrategy": "Revision"})).as_deref(),
            Some("0123456789ab")
        );
        let both = json!({"reconcileStrategy": "Revision", "valuesFiles": ["values.yaml", "a.yaml"]});
        assert_eq!(of(both).as_deref(), Some("0123456789ab.3"));
    }

    #[test]
    fn summaries() {
        assert_eq!(summary("pulled", "a", "1", &[], 0), "pulled 'a' chart with version '1'");
        assert_eq!(
            summary("packaged", "a", "1", &["x".into(), "y".into()], 2),
            "packaged 'a' chart with version '1' and merged values files [x y] and 2 dependencies"
        );
    }
}
