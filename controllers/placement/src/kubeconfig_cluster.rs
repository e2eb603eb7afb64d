//! Clusters of mode KubeConfig: whether their kubeconfig works. Agents' clusters are the link's business.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::{Api, ResourceExt};
use nave_crds::fleet::{ClusterMode, ClusterStatus};
use nave_crds::reasons::fleet as because;
use nave_crds::{Cluster, conditions, managers};
use nave_runtime::schedule::{Backoff, jittered};
use nave_runtime::{Conditions, Next, Reconciler, Severity, Status, conditions as runtime, events, status as patch};

use crate::convert;
use crate::ports::{ClusterFacts, Ports, ProbeError};

/// Reconciles Clusters of mode KubeConfig.
pub(crate) struct ClusterReconciler {
    ports: Ports,
    interval: Duration,
    backoff: Backoff<String>,
}

impl ClusterReconciler {
    /// Probes every cluster about once per `interval`, and sooner after a failure.
    pub fn new(ports: Ports, interval: Duration) -> Self {
        Self {
            ports,
            interval,
            // A mended kubeconfig should not wait for minutes; a dead cluster should cost little.
            backoff: Backoff::new(Duration::from_secs(2), Duration::from_secs(60).min(interval)),
        }
    }
}

impl Reconciler<Cluster> for ClusterReconciler {
    async fn reconcile(&self, object: Arc<Cluster>) -> Next {
        if object.spec.mode != ClusterMode::KubeConfig || object.metadata.deletion_timestamp.is_some() {
            return Next::Await;
        }
        let key = convert::key_of(&object);
        let result = self.ports.probe.probe(&object).await;
        let failed = result.is_err();
        let old = object.status.clone().unwrap_or_default();
        let new = status(
            &old,
            object.spec.accepted,
            object.metadata.generation.unwrap_or_default(),
            &result,
            runtime::whole_seconds(Timestamp::now()),
        );
        if new != old {
            let api: Api<Cluster> = Api::namespaced(self.ports.client.clone(), &key.namespace);
            let wrote = patch::patch(&api, &object.name_any(), managers::FLEET, &old, &new).await;
            match wrote {
                Err(kube::Error::Api(status)) if status.code == 404 => return Next::Await,
                Err(error) => {
                    tracing::warn!(
                        cluster = %key,
                        error = &error as &dyn std::error::Error,
                        "writing the status of a cluster"
                    );
                    return Next::After(jittered(self.backoff.failed(key.to_string()), 20));
                }
                Ok(_) => self.tell(&object, &old, &new),
            }
        }
        if failed {
            Next::After(jittered(self.backoff.failed(key.to_string()), 20))
        } else {
            self.backoff.succeeded(&key.to_string());
            Next::After(jittered(self.interval, 10))
        }
    }
}

impl ClusterReconciler {
    fn tell(&self, object: &Cluster, old: &ClusterStatus, new: &ClusterStatus) {
        let Some(ready) = new.conditions.get_condition(conditions::READY) else {
            return;
        };
        if old.conditions.reason_of(conditions::READY) == Some(ready.reason.as_str()) {
            return;
        }
        let severity = if ready.status == "True" {
            Severity::Info
        } else {
            Severity::Error
        };
        self.ports.events.record(
            events::reference(object),
            severity,
            &ready.reason,
            &ready.message,
            Default::default(),
        );
    }
}

/// The status after a probe.
fn status(
    old: &ClusterStatus,
    accepted: bool,
    generation: i64,
    result: &Result<ClusterFacts, ProbeError>,
    now: Timestamp,
) -> ClusterStatus {
    let mut new = old.clone();
    new.observed_generation = generation;
    let mut set = |kind: &str, status: Status, reason: &str, message: &str| {
        new.conditions.set(kind, status, reason, message, generation, now);
    };
    let reason = match result {
        Ok(_) => because::KUBECONFIG_VALID,
        Err(ProbeError::Missing(_)) => because::KUBECONFIG_MISSING,
        Err(ProbeError::Malformed(_)) => because::KUBECONFIG_MALFORMED,
        Err(ProbeError::Refused(_)) => because::KUBECONFIG_REFUSED,
        Err(ProbeError::Unreachable(_)) => because::UNREACHABLE,
        Err(ProbeError::Forbidden(_)) => because::FORBIDDEN,
    };
    match result {
        Ok(facts) => {
            let message = format!("the API server answers ({})", facts.kubernetes_version);
            set(conditions::JOINED, Status::True, reason, "the kubeconfig can be used");
            set(conditions::CONNECTED, Status::True, reason, &message);
            if accepted {
                set(conditions::READY, Status::True, reason, &message);
            } else {
                set(
                    conditions::READY,
                    Status::False,
                    because::NOT_ACCEPTED,
                    "spec.accepted is false: nothing is placed here",
                );
            }
        }
        Err(error) => {
            let message = error.to_string();
            // A kubeconfig that was read says nothing about whether the cluster will answer.
            let joined = match error {
                ProbeError::Unreachable(_) | ProbeError::Forbidden(_) => Status::True,
                _ => Status::False,
            };
            if joined == Status::True {
                set(
                    conditions::JOINED,
                    joined,
                    because::KUBECONFIG_VALID,
                    "the kubeconfig can be used",
                );
            } else {
                set(conditions::JOINED, joined, reason, &message);
            }
            set(conditions::CONNECTED, Status::False, reason, &message);
            set(conditions::READY, Status::False, reason, &message);
        }
    }
    if let Ok(facts) = result {
        new.kubernetes_version = facts.kubernetes_version.clone();
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accepted: bool, result: Result<ClusterFacts, ProbeError>, want: [&str; 3]) {
        let new = status(&ClusterStatus::default(), accepted, 1, &result, Timestamp::UNIX_EPOCH);
        let found: Vec<String> = ["Joined", "Connected", "Ready"]
            .iter()
            .map(|kind| {
                let one = new.conditions.get_condition(kind).expect("set");
                format!("{} {}", one.status, one.reason)
            })
            .collect();
        assert_eq!(found, want, "{result:?}");
    }

    #[test]
    fn conditions_say_which_way_a_kubeconfig_fails() {
        let facts = || ClusterFacts {
            kubernetes_version: "v1.36.3".into(),
        };
        check(
            true,
            Ok(facts()),
            ["True KubeConfigValid", "True KubeConfigValid", "True KubeConfigValid"],
        );
        check(
            false,
            Ok(facts()),
            ["True KubeConfigValid", "True KubeConfigValid", "False NotAccepted"],
        );
        let no = || "why".to_owned();
        for (error, reason) in [
            (ProbeError::Missing(no()), "False KubeConfigMissing"),
            (ProbeError::Malformed(no()), "False KubeConfigMalformed"),
            (ProbeError::Refused(no()), "False KubeConfigRefused"),
        ] {
            check(true, Err(error), [reason, reason, reason]);
        }
        for (error, reason) in [
            (ProbeError::Unreachable(no()), "False Unreachable"),
            (ProbeError::Forbidden(no()), "False Forbidden"),
        ] {
            check(true, Err(error), ["True KubeConfigValid", reason, reason]);
        }
    }

    #[test]
    fn a_repeated_failure_writes_nothing_new() {
        let error = Err(ProbeError::Unreachable("connection refused".into()));
        let once = status(&ClusterStatus::default(), true, 1, &error, Timestamp::UNIX_EPOCH);
        let later = Timestamp::from_second(60).expect("a time");
        assert_eq!(status(&once, true, 1, &error, later), once);
    }
}
