//! Leader election by Lease, as client-go does it, with fencing.
//!
//! client-go's rules and not server-side apply, because Nave takes Flux's own Leases: the two must agree on who holds
//! one, so that they never reconcile a cluster together. A Lease that somebody else renews is waited for; what counts
//! is how long *we* have seen it unchanged, not the clocks of others.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, ResourceExt, api::PostParams};
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// How a Lease is held. The defaults are Flux's.
#[derive(Debug, Clone)]
pub struct Election {
    /// The Lease's name, `kustomize-controller-leader-election`.
    pub lease: String,
    /// Its namespace.
    pub namespace: String,
    /// Who we are: host name and a random part.
    pub identity: String,
    /// After this long without a renewal others may take it.
    pub lease_duration: Duration,
    /// After this long without a successful renewal we stop being the leader.
    pub renew_deadline: Duration,
    /// Between two tries.
    pub retry_period: Duration,
    /// Whether it is given back at the end, so that the next one need not wait.
    pub release_on_cancel: bool,
}

impl Election {
    /// Flux's durations: 35 s, 30 s, 5 s.
    pub fn new(namespace: &str, lease: &str, identity: &str) -> Self {
        Election {
            lease: lease.to_owned(),
            namespace: namespace.to_owned(),
            identity: identity.to_owned(),
            lease_duration: Duration::from_secs(35),
            renew_deadline: Duration::from_secs(30),
            retry_period: Duration::from_secs(5),
            release_on_cancel: true,
        }
    }

    /// Waits until this process holds the Lease. None when `shutdown` came first.
    pub async fn acquire(self, client: Client, shutdown: &CancellationToken) -> Option<Leadership> {
        let api: Api<Lease> = Api::namespaced(client, &self.namespace);
        metrics::leads(&self.lease, false);
        let mut observed = Observed::default();
        loop {
            match self.try_hold(&api, &mut observed).await {
                Ok(true) => {
                    tracing::info!(lease = self.lease, "became leader");
                    metrics::leads(&self.lease, true);
                    return Some(Leadership {
                        election: self,
                        api,
                        observed,
                    });
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(
                    lease = self.lease,
                    error = &error as &dyn std::error::Error,
                    "acquiring leadership"
                ),
            }
            tokio::select! {
                _ = shutdown.cancelled() => return None,
                _ = tokio::time::sleep(crate::schedule::jittered(self.retry_period, 10)) => {}
            }
        }
    }

    /// One try to take or renew. False when another holds it.
    async fn try_hold(&self, api: &Api<Lease>, observed: &mut Observed) -> kube::Result<bool> {
        let now = MicroTime(Timestamp::now());
        let Some(mut lease) = api.get_opt(&self.lease).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.lease.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.record(now.clone(), now, 0)),
            };
            return won(api.create(&PostParams::default(), &lease).await);
        };
        observed.see(&lease);
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let transitions = spec.lease_transitions.unwrap_or(0);
        lease.spec = Some(if holder == self.identity {
            self.record(spec.acquire_time.unwrap_or_else(|| now.clone()), now, transitions)
        } else if holder.is_empty() || observed.unchanged_for() > lease_duration(&spec, self) {
            self.record(now.clone(), now, transitions + 1)
        } else {
            return Ok(false);
        });
        // The resourceVersion read above makes this a compare-and-swap.
        won(api.replace(&self.lease, &PostParams::default(), &lease).await)
    }

    fn record(&self, acquired: MicroTime, renewed: MicroTime, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.lease_duration.as_secs()).unwrap_or(i32::MAX)),
            acquire_time: Some(acquired),
            renew_time: Some(renewed),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

/// A Lease that this process holds.
pub struct Leadership {
    election: Election,
    api: Api<Lease>,
    observed: Observed,
}

impl Drop for Leadership {
    fn drop(&mut self) {
        metrics::leads(&self.election.lease, false);
    }
}

impl Leadership {
    /// Renews until `shutdown`, then gives the Lease back. When it cannot be renewed in time, `shutdown` is cancelled:
    /// the process must stop working before another may start.
    pub async fn keep(mut self, shutdown: CancellationToken) {
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                _ = shutdown.cancelled() => break,
                _ = tokio::time::sleep(self.election.retry_period) => {}
            }
            let left = self.election.renew_deadline.saturating_sub(renewed.elapsed());
            let attempt = self.election.try_hold(&self.api, &mut self.observed);
            match tokio::time::timeout(left, attempt).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => {
                    tracing::error!(
                        lease = self.election.lease,
                        "another process took the lease; shutting down"
                    );
                    shutdown.cancel();
                    return;
                }
                Ok(Err(error)) => tracing::warn!(
                    lease = self.election.lease,
                    error = &error as &dyn std::error::Error,
                    "renewing leadership"
                ),
                Err(_elapsed) => {}
            }
            if renewed.elapsed() >= self.election.renew_deadline {
                tracing::error!(
                    lease = self.election.lease,
                    "leadership lost: not renewed in time; shutting down"
                );
                shutdown.cancel();
                return;
            }
        }
        if self.election.release_on_cancel
            && let Err(error) = self.release().await
        {
            tracing::warn!(
                lease = self.election.lease,
                error = &error as &dyn std::error::Error,
                "releasing leadership"
            );
        }
    }

    async fn release(&self) -> kube::Result<()> {
        let Some(mut lease) = self.api.get_opt(&self.election.lease).await? else {
            return Ok(());
        };
        let Some(spec) = &mut lease.spec else {
            return Ok(());
        };
        if spec.holder_identity.as_deref() != Some(&self.election.identity) {
            return Ok(());
        }
        // As client-go: an empty holder and a one-second lease, so that the next one need not wait.
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        self.api
            .replace(&self.election.lease, &PostParams::default(), &lease)
            .await
            .map(drop)
    }
}

/// The Lease as last seen and when it last changed by our own clock.
#[derive(Default)]
struct Observed {
    version: Option<String>,
    since: Option<Instant>,
}

impl Observed {
    fn see(&mut self, lease: &Lease) {
        if self.version != lease.resource_version() || self.since.is_none() {
            self.version = lease.resource_version();
            self.since = Some(Instant::now());
        }
    }

    fn unchanged_for(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

fn lease_duration(spec: &LeaseSpec, ours: &Election) -> Duration {
    spec.lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(ours.lease_duration, Duration::from_secs)
}

/// Losing a race is an answer, not an error.
fn won(result: kube::Result<Lease>) -> kube::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
