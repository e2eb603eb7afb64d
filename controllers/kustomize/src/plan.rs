//! What to do with a Kustomization, given what was seen. Pure.

use std::time::Duration;

use nave_crds::{kustomize::KustomizationSpec, meta::Artifact, reasons};

use crate::Options;

/// A timeout is never shorter.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What was seen before anything is done.
#[derive(Debug)]
pub(crate) struct Observed {
    pub source: SourceSeen,
    /// Dependencies that are not ready: name, and why.
    pub unready: Vec<(String, String)>,
    /// The way of the dependencies back to this object.
    pub cycle: Option<String>,
    /// An expression or rule of the spec that does not compile, with the reason to report.
    pub invalid: Option<(&'static str, String)>,
    /// Since the object was made.
    pub age: Duration,
}

/// The source and its artifact.
#[derive(Debug)]
pub(crate) enum SourceSeen {
    /// The reference is not allowed.
    Denied(String),
    /// This version does not know the kind.
    Unsupported(String),
    /// There is no such object.
    Missing(String),
    /// It could not be read.
    Unreadable(String),
    /// It has no artifact yet.
    Empty(String),
    Ready(Box<Artifact>),
}

/// What to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Plan {
    /// Nothing: it is suspended.
    Leave,
    /// Nothing, until the spec changes.
    Stall { reason: &'static str, message: String },
    /// Report, and look again after the time, or when something happens.
    Postpone {
        reason: &'static str,
        message: String,
        after: Duration,
    },
    /// Look again soon and say nothing: what is missing may have been created at the same moment.
    Grace(Duration),
    /// Build and apply.
    Go(Box<Artifact>),
}

/// How long what a new object refers to may be missing before that is reported.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn plan(spec: &KustomizationSpec, seen: Observed, options: &Options) -> Plan {
    if spec.suspend {
        return Plan::Leave;
    }
    if let Some((reason, message)) = seen.invalid {
        return Plan::Stall { reason, message };
    }
    if let Some(message) = unsupported(spec, options) {
        return Plan::Stall {
            reason: reasons::FEATURE_GATE_DISABLED,
            message,
        };
    }
    let retry = retry_after(spec);
    let soon = options.requeue_dependency;
    let postpone = |message: String, after: Duration| {
        if seen.age < GRACE {
            return Plan::Grace(GRACE - seen.age);
        }
        Plan::Postpone {
            reason: reasons::kustomize::ARTIFACT_FAILED,
            message,
            after,
        }
    };
    let artifact = match seen.source {
        SourceSeen::Denied(message) => {
            return Plan::Stall {
                reason: reasons::ACCESS_DENIED,
                message,
            };
        }
        SourceSeen::Unsupported(message) => {
            return Plan::Stall {
                reason: reasons::FEATURE_GATE_DISABLED,
                message,
            };
        }
        SourceSeen::Missing(name) => return postpone(format!("Source '{name}' not found"), retry),
        SourceSeen::Unreadable(message) => {
            return Plan::Postpone {
                reason: reasons::kustomize::ARTIFACT_FAILED,
                message,
                after: retry,
            };
        }
        SourceSeen::Empty(name) => {
            let wait = nave_object::duration::format(soon);
            return postpone(
                format!("Source artifact of '{name}' not found, retrying in {wait}"),
                soon,
            );
        }
        SourceSeen::Ready(artifact) => artifact,
    };
    if let Some(cycle) = seen.cycle {
        return Plan::Postpone {
            reason: reasons::kustomize::DEPENDENCY_NOT_READY,
            message: format!("Dependencies wait for each other: {cycle}"),
            after: retry,
        };
    }
    if !seen.unready.is_empty() {
        let list: Vec<String> = seen
            .unready
            .iter()
            .map(|(name, why)| format!("dependency '{name}' {why}"))
            .collect();
        return Plan::Postpone {
            reason: reasons::kustomize::DEPENDENCY_NOT_READY,
            message: format!("Dependencies do not meet ready condition: {}", list.join(", ")),
            after: soon,
        };
    }
    Plan::Go(artifact)
}

/// What the API accepts, and a gate forbids.
fn unsupported(spec: &KustomizationSpec, options: &Options) -> Option<String> {
    let decryption = spec.decryption.as_ref()?;
    let is_closed = !options.gates.object_level_workload_identity;
    (is_closed && !decryption.service_account_name.is_empty()).then(|| {
        "to use spec.decryption.serviceAccountName for decryption authentication please enable the \
             ObjectLevelWorkloadIdentity feature gate in the controller"
            .to_owned()
    })
}

/// After a failure.
pub(crate) fn retry_after(spec: &KustomizationSpec) -> Duration {
    spec.retry_interval.unwrap_or(spec.interval).get()
}

/// For health checks: as given, else the interval less 30 s, never below 30 s.
pub(crate) fn timeout_of(spec: &KustomizationSpec) -> Duration {
    let timeout = match spec.timeout {
        Some(timeout) => timeout.get(),
        None => spec
            .interval
            .get()
            .checked_sub(Duration::from_secs(30))
            .unwrap_or_default(),
    };
    timeout.max(SHORTEST_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn artifact() -> SourceSeen {
        SourceSeen::Ready(Box::new(
            serde_json::from_value(json!({"path": "p", "url": "u", "revision": "r", "digest": "sha256:0", "lastUpdateTime": "2026-01-01T00:00:00Z"}))
                .expect("it is complete"),
        ))
    }

    fn seen(source: SourceSeen) -> Observed {
        Observed {
            source,
            unready: vec![],
            cycle: None,
            invalid: None,
            age: Duration::from_secs(60),
        }
    }

    fn spec(more: Value) -> KustomizationSpec {
        let mut spec = json!({"interval": "10m", "retryInterval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "s"}});
        spec.as_object_mut()
            .expect("a map")
            .extend(more.as_object().expect("a map").clone());
        serde_json::from_value(spec).expect("the spec is complete")
    }

    #[track_caller]
    fn check_plan(more: Value, seen: Observed, wanted: &str) {
        let found = format!("{:?}", plan(&spec(more), seen, &Options::default()));
        assert!(found.starts_with(wanted), "{found}");
    }

    #[test]
    fn decisions() {
        check_plan(json!({}), seen(artifact()), "Go(");
        check_plan(json!({"suspend": true}), seen(SourceSeen::Denied("no".into())), "Leave");
        check_plan(
            json!({"decryption": {"provider": "sops", "serviceAccountName": "kms"}}),
            seen(artifact()),
            "Stall { reason: \"FeatureGateDisabled\", message: \"to use spec.decryption.serviceAccountName",
        );
        check_plan(
            json!({}),
            seen(SourceSeen::Denied("no".into())),
            "Stall { reason: \"AccessDenied\"",
        );
        check_plan(
            json!({}),
            seen(SourceSeen::Missing("GitRepository/n/s".into())),
            "Postpone { reason: \"ArtifactFailed\", message: \"Source 'GitRepository/n/s' not found\", after: 60s }",
        );
        check_plan(
            json!({}),
            seen(SourceSeen::Empty("GitRepository/n/s".into())),
            "Postpone { reason: \"ArtifactFailed\", message: \"Source artifact of 'GitRepository/n/s' not found, retrying in 30s\", after: 30s }",
        );
        check_plan(
            json!({}),
            Observed {
                age: Duration::from_secs(1),
                ..seen(SourceSeen::Missing("x".into()))
            },
            "Grace(4s)",
        );
        check_plan(
            json!({}),
            Observed {
                invalid: Some(("InvalidCELExpression", "x".into())),
                ..seen(artifact())
            },
            "Stall { reason: \"InvalidCELExpression\"",
        );
        check_plan(
            json!({}),
            Observed {
                unready: vec![("n/a".into(), "not found".into()), ("n/b".into(), "not ready".into())],
                ..seen(artifact())
            },
            "Postpone { reason: \"DependencyNotReady\", message: \"Dependencies do not meet ready condition: dependency 'n/a' not found, dependency 'n/b' not ready\", after: 30s }",
        );
        check_plan(
            json!({}),
            Observed {
                cycle: Some("n/a -> n/a".into()),
                ..seen(artifact())
            },
            "Postpone { reason: \"DependencyNotReady\", message: \"Dependencies wait for each other: n/a -> n/a\", after: 60s }",
        );
    }

    #[test]
    fn timeouts() {
        for (more, seconds) in [
            (json!({}), 570),
            (json!({"interval": "40s"}), 30),
            (json!({"timeout": "2m"}), 120),
            (json!({"timeout": "1s"}), 30),
        ] {
            assert_eq!(timeout_of(&spec(more.clone())).as_secs(), seconds, "{more}");
        }
        assert_eq!(retry_after(&spec(json!({"retryInterval": null}))).as_secs(), 600);
    }
}
