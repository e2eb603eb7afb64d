//! What to do with a HelmRelease, given what was seen. Pure.

use std::time::Duration;

use nave_crds::{helm::HelmReleaseSpec, meta::Artifact, reasons};

use crate::Options;

/// What was seen before anything is done.
#[derive(Debug)]
pub(crate) struct Observed {
    pub source: SourceSeen,
    /// The first dependency that is not ready, and why.
    pub unready: Option<String>,
    /// An expression or rule of the spec that does not compile, with the reason to report.
    pub invalid: Option<(&'static str, String)>,
    /// Why there are no values.
    pub values_problem: Option<String>,
    /// Since the object was made.
    pub age: Duration,
}

/// The source of the chart and its artifact.
#[derive(Debug)]
pub(crate) enum SourceSeen {
    /// The reference is not allowed.
    Denied(String),
    /// This cluster or this version does not know the kind.
    Unsupported(String),
    /// There is no such object.
    Missing(String),
    /// It could not be read or written.
    Unreadable(String),
    /// It is there and has nothing to use yet.
    NotReady(String),
    Ready(Box<Artifact>),
}

/// What to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Plan {
    /// Nothing, until the spec changes.
    Stall { reason: &'static str, message: String },
    /// Report, and look again after the time, or when something happens. Without a time: with growing pauses.
    Postpone {
        reason: &'static str,
        message: String,
        after: Option<Duration>,
    },
    /// Look again soon and say nothing: what is missing may have been created at the same moment.
    Grace(Duration),
    /// Compare the release with what it should be.
    Go(Box<Artifact>),
}

/// How long what a new object refers to may be missing before that is reported.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn plan(spec: &HelmReleaseSpec, seen: Observed, options: &Options) -> Plan {
    if spec.chart.is_some() == spec.chart_ref.is_some() {
        return Plan::Stall {
            reason: reasons::helm::RECONCILE_ERROR,
            message: "either spec.chart or spec.chartRef must be set, and not both".to_owned(),
        };
    }
    if let Some((reason, message)) = seen.invalid {
        return Plan::Stall { reason, message };
    }
    let soon = options.requeue_dependency;
    if let Some(message) = seen.unready {
        return Plan::Postpone {
            reason: reasons::helm::DEPENDENCY_NOT_READY,
            message,
            after: Some(soon),
        };
    }
    let postpone =
        |reason: &'static str, message: String, after: Option<Duration>| Plan::Postpone { reason, message, after };
    let artifact = match seen.source {
        SourceSeen::Denied(message) => {
            return Plan::Stall {
                reason: reasons::ACCESS_DENIED,
                message,
            };
        }
        SourceSeen::Unsupported(message) => {
            return postpone(reasons::helm::SOURCE_NOT_READY, message, Some(soon));
        }
        SourceSeen::Missing(_) | SourceSeen::NotReady(_) if seen.age < GRACE => {
            return Plan::Grace(GRACE - seen.age);
        }
        SourceSeen::Missing(name) => {
            let message = format!("could not get Source object: {name} not found");
            return postpone(reasons::helm::ARTIFACT_FAILED, message, Some(soon));
        }
        SourceSeen::Unreadable(message) => return postpone(reasons::helm::ARTIFACT_FAILED, message, None),
        SourceSeen::NotReady(message) => return postpone(reasons::helm::SOURCE_NOT_READY, message, Some(soon)),
        SourceSeen::Ready(artifact) => artifact,
    };
    if let Some(message) = seen.values_problem {
        return postpone(reasons::helm::VALUES_ERROR, message, None);
    }
    Plan::Go(artifact)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ready() -> SourceSeen {
        SourceSeen::Ready(Box::new(
            serde_json::from_value(json!({"path": "p", "url": "u", "revision": "r", "digest": "sha256:0",
                "lastUpdateTime": "2026-01-01T00:00:00Z"}))
            .expect("it is complete"),
        ))
    }

    fn seen(source: SourceSeen) -> Observed {
        Observed {
            source,
            unready: None,
            invalid: None,
            values_problem: None,
            age: Duration::from_secs(60),
        }
    }

    #[track_caller]
    fn check_plan(more: Value, seen: Observed, wanted: &str) {
        let mut spec = json!({"interval": "10m", "chartRef": {"kind": "HelmChart", "name": "c"}});
        spec.as_object_mut()
            .expect("a map")
            .extend(more.as_object().expect("a map").clone());
        let spec: HelmReleaseSpec = serde_json::from_value(spec).expect("the spec is complete");
        let found = format!("{:?}", plan(&spec, seen, &Options::default()));
        assert!(found.starts_with(wanted), "{found}");
    }

    #[test]
    fn decisions() {
        check_plan(json!({}), seen(ready()), "Go(");
        check_plan(
            json!({"chartRef": null}),
            seen(ready()),
            "Stall { reason: \"ReconcileError\"",
        );
        check_plan(json!({"waitStrategy": {"name": "legacy"}}), seen(ready()), "Go(");
        check_plan(
            json!({"upgrade": {"serverSideApply": "disabled"}}),
            seen(ready()),
            "Go(",
        );
        check_plan(
            json!({}),
            seen(SourceSeen::Denied("no".into())),
            "Stall { reason: \"AccessDenied\"",
        );
        check_plan(
            json!({}),
            seen(SourceSeen::Missing("HelmChart/n/c".into())),
            "Postpone { reason: \"ArtifactFailed\", message: \"could not get Source object: HelmChart/n/c not found\", after: Some(30s) }",
        );
        check_plan(
            json!({}),
            seen(SourceSeen::NotReady("x".into())),
            "Postpone { reason: \"SourceNotReady\", message: \"x\", after: Some(30s) }",
        );
        check_plan(
            json!({}),
            Observed {
                age: Duration::from_secs(1),
                ..seen(SourceSeen::NotReady("x".into()))
            },
            "Grace(4s)",
        );
        check_plan(
            json!({}),
            Observed {
                values_problem: Some("v".into()),
                ..seen(ready())
            },
            "Postpone { reason: \"ValuesError\", message: \"v\", after: None }",
        );
        check_plan(
            json!({}),
            Observed {
                unready: Some("dependency 'n/a' is not ready".into()),
                ..seen(SourceSeen::Denied("no".into()))
            },
            "Postpone { reason: \"DependencyNotReady\"",
        );
        check_plan(
            json!({}),
            Observed {
                invalid: Some(("InvalidCELExpression", "x".into())),
                ..seen(ready())
            },
            "Stall { reason: \"InvalidCELExpression\"",
        );
    }
}
