//! Metrics under Flux's names, so that its dashboards keep working.

mod of_process;
mod token_cache;
mod work;

use std::{sync::Arc, time::Duration};

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
    exponential_buckets,
};

pub use self::of_process::client;
pub(crate) use self::{of_process::leads, work::Work};
use self::{token_cache::TokenCache, work::Works};

/// One registry with what every controller measures.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    durations: HistogramVec,
    works: Works,
    drifted: IntGaugeVec,
    tokens: TokenCache,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// An empty registry with the shared series.
    pub fn new() -> Self {
        // Flux: ten exponential buckets from 10 ms to 30 min.
        let factor = (1800.0_f64 / 0.01).powf(1.0 / 9.0);
        let buckets = exponential_buckets(0.01, factor, 10).expect("the start and the factor are positive");
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "gotk_reconcile_duration_seconds",
                "The duration in seconds of a GitOps Toolkit resource reconciliation.",
            )
            .buckets(buckets),
            &["kind", "name", "namespace"],
        )
        .expect("the metric is well formed");
        let drifted = IntGaugeVec::new(
            Opts::new(
                "nave_drifted_objects",
                "Objects that are not as they were applied and are only reported.",
            ),
            &["kind", "name", "namespace"],
        )
        .expect("the metric is well formed");
        let metrics = Metrics {
            inner: Arc::new(Inner {
                registry: Registry::new(),
                durations,
                works: Works::new(),
                drifted,
                tokens: TokenCache::new(),
            }),
        };
        metrics.register(metrics.inner.durations.clone());
        metrics.inner.works.register(metrics.registry());
        metrics.register(of_process::REQUESTS.clone());
        metrics.register(of_process::LEADING.clone());
        metrics.register(of_process::Process::new());
        metrics.register(metrics.inner.drifted.clone());
        let tokens = &metrics.inner.tokens;
        metrics.register(tokens.events.clone());
        metrics.register(tokens.items.clone());
        metrics.register(tokens.requests.clone());
        metrics.register(tokens.evictions.clone());
        metrics
    }

    /// Adds a collector; a second one of the same name is a programming error.
    pub fn register(&self, collector: impl Collector + 'static) {
        self.inner
            .registry
            .register(Box::new(collector))
            .expect("every metric name is registered once per process");
    }

    /// Records one reconcile.
    pub fn reconciled(&self, kind: &str, namespace: &str, name: &str, took: Duration) {
        self.inner
            .durations
            .with_label_values(&[kind, name, namespace])
            .observe(took.as_secs_f64());
    }

    /// Says how many objects of one owner drifted; none drops the series.
    pub fn drifted(&self, kind: &str, namespace: &str, name: &str, count: Option<usize>) {
        let labels = [kind, name, namespace];
        match count {
            Some(count) => {
                let gauge = self.inner.drifted.with_label_values(&labels);
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
            None => {
                let _ = self.inner.drifted.remove_label_values(&labels); // it may never have been there
            }
        }
    }

    /// Drops the series of an object that is gone.
    pub fn forget(&self, kind: &str, namespace: &str, name: &str) {
        let _ = self.inner.durations.remove_label_values(&[kind, name, namespace]); // it may never have been reconciled
        self.drifted(kind, namespace, name, None);
        self.inner.tokens.forget(kind, namespace, name);
    }

    /// What is measured of the work of one controller.
    pub(crate) fn work(&self, controller: &str, concurrency: u16) -> Arc<Work> {
        Arc::new(self.inner.works.of(controller, concurrency))
    }

    /// The registry, for further collectors.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// All series in Prometheus' text format.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.inner.registry.gather(), &mut text) {
            tracing::error!(%error, "encoding metrics");
        }
        text
    }
}
