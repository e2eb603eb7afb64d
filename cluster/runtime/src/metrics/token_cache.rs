//! Flux's four measures of credentials that are kept (`gotk_token_*`, pkg/cache).

use nave_net::cloud::{CacheObserver, Usage};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};

use super::Metrics;

/// The operations that anything here is counted for.
const OPERATIONS: [&str; 6] = [
    "reconcile",
    "fetch_kubeconfig",
    "decrypt_with_aws",
    "decrypt_with_azure",
    "decrypt_with_gcp",
    "decrypt_with_vault",
];
const HIT: &str = "cache_hit";
const MISS: &str = "cache_miss";

pub(super) struct TokenCache {
    pub events: IntCounterVec,
    pub items: IntGauge,
    pub requests: IntCounterVec,
    pub evictions: IntCounter,
}

impl TokenCache {
    pub fn new() -> Self {
        let well_formed = "the metric is well formed";
        TokenCache {
            events: IntCounterVec::new(
                Opts::new(
                    "gotk_token_cache_events_total",
                    "Total number of cache retrieval events for a Gitops Toolkit resource reconciliation.",
                ),
                &["event_type", "kind", "name", "namespace", "operation"],
            )
            .expect(well_formed),
            items: IntGauge::new("gotk_token_cached_items", "Total number of items in the cache.").expect(well_formed),
            requests: IntCounterVec::new(
                Opts::new(
                    "gotk_token_cache_requests_total",
                    "Total number of cache requests partitioned by success or failure.",
                ),
                &["status"],
            )
            .expect(well_formed),
            evictions: IntCounter::new("gotk_token_cache_evictions_total", "Total number of cache evictions.")
                .expect(well_formed),
        }
    }

    /// Drops the series of an object that is gone.
    pub fn forget(&self, kind: &str, namespace: &str, name: &str) {
        for operation in OPERATIONS {
            for event in [HIT, MISS] {
                // It may never have been there.
                let _ = self
                    .events
                    .remove_label_values(&[event, kind, name, namespace, operation]);
            }
        }
    }
}

impl CacheObserver for Metrics {
    fn looked_up(&self, hit: bool, usage: &Usage) {
        let event = if hit { HIT } else { MISS };
        let labels = [event, usage.kind, &usage.name, &usage.namespace, usage.operation];
        self.inner.tokens.events.with_label_values(&labels).inc();
    }

    fn answered(&self, succeeded: bool) {
        let status = if succeeded { "success" } else { "failure" };
        self.inner.tokens.requests.with_label_values(&[status]).inc();
    }

    fn evicted(&self) {
        self.inner.tokens.evictions.inc();
    }

    fn kept(&self, change: i64) {
        self.inner.tokens.items.add(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_counted_as_in_flux_until_the_object_is_gone() {
        let metrics = Metrics::new();
        let usage = Usage {
            kind: "Kustomization",
            namespace: "n".to_owned(),
            name: "app".to_owned(),
            operation: "fetch_kubeconfig",
        };
        metrics.looked_up(false, &usage);
        metrics.looked_up(true, &usage);
        metrics.answered(true);
        metrics.answered(false);
        metrics.evicted();
        metrics.kept(2);
        metrics.kept(-1);
        let shown = String::from_utf8(metrics.render()).expect("it is text");
        for line in [
            "gotk_token_cache_events_total{event_type=\"cache_hit\",kind=\"Kustomization\",name=\"app\",namespace=\"n\",operation=\"fetch_kubeconfig\"} 1",
            "gotk_token_cache_events_total{event_type=\"cache_miss\",kind=\"Kustomization\",name=\"app\",namespace=\"n\",operation=\"fetch_kubeconfig\"} 1",
            "gotk_token_cached_items 1",
            "gotk_token_cache_requests_total{status=\"failure\"} 1",
            "gotk_token_cache_requests_total{status=\"success\"} 1",
            "gotk_token_cache_evictions_total 1",
        ] {
            assert!(shown.lines().any(|found| found == line), "{line}\n{shown}");
        }
        metrics.forget("Kustomization", "n", "app");
        let shown = String::from_utf8(metrics.render()).expect("it is text");
        assert!(!shown.contains("gotk_token_cache_events_total{"), "{shown}");
    }
}
