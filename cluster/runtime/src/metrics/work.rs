//! What controller-runtime and its work queue measure of every controller, under their names.
//!
//! Every series is one per controller, so their number does not grow with the objects.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
    core::{Collector, Desc},
    exponential_buckets,
    proto::MetricFamily,
};

use crate::Next;

const WELL_FORMED: &str = "the metric is well formed";
/// Labels of the work queue; it has its controller's name.
const QUEUE: [&str; 2] = ["name", "controller"];
/// controller-runtime's buckets.
const SECONDS: [f64; 40] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5,
    1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0,
];

/// The series of all controllers.
pub(super) struct Works {
    active: IntGaugeVec,
    most: IntGaugeVec,
    results: IntCounterVec,
    errors: IntCounterVec,
    seconds: HistogramVec,
    depth: IntGaugeVec,
    adds: IntCounterVec,
    retries: IntCounterVec,
    waited: HistogramVec,
    worked: HistogramVec,
    running: Running,
}

impl Works {
    pub fn new() -> Self {
        let ints = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels).expect(WELL_FORMED)
        };
        let counts = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect(WELL_FORMED)
        };
        let times = |name: &str, help: &str, labels: &[&str], buckets: Vec<f64>| {
            HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels).expect(WELL_FORMED)
        };
        // client-go: from 10 ns to 1,000 s.
        let powers = || exponential_buckets(1e-8, 10.0, 12).expect("the start and the factor are positive");
        Works {
            active: ints(
                "controller_runtime_active_workers",
                "Number of currently used workers per controller.",
                &["controller"],
            ),
            most: ints(
                "controller_runtime_max_concurrent_reconciles",
                "Maximum number of concurrent reconciles per controller.",
                &["controller"],
            ),
            results: counts(
                "controller_runtime_reconcile_total",
                "Total number of reconciliations per controller.",
                &["controller", "result"],
            ),
            errors: counts(
                "controller_runtime_reconcile_errors_total",
                "Total number of reconciliation errors per controller.",
                &["controller"],
            ),
            seconds: times(
                "controller_runtime_reconcile_time_seconds",
                "Length of time per reconciliation per controller.",
                &["controller"],
                SECONDS.to_vec(),
            ),
            depth: ints("workqueue_depth", "Current depth of workqueue.", &QUEUE),
            adds: counts(
                "workqueue_adds_total",
                "Total number of adds handled by workqueue.",
                &QUEUE,
            ),
            retries: counts(
                "workqueue_retries_total",
                "Total number of retries handled by workqueue.",
                &QUEUE,
            ),
            waited: times(
                "workqueue_queue_duration_seconds",
                "How long in seconds an item stays in workqueue before being requested.",
                &QUEUE,
                powers(),
            ),
            worked: times(
                "workqueue_work_duration_seconds",
                "How long in seconds processing an item from workqueue takes.",
                &QUEUE,
                powers(),
            ),
            running: Running::new(),
        }
    }

    pub fn register(&self, registry: &Registry) {
        let collectors: [Box<dyn Collector>; 11] = [
            Box::new(self.active.clone()),
            Box::new(self.most.clone()),
            Box::new(self.results.clone()),
            Box::new(self.errors.clone()),
            Box::new(self.seconds.clone()),
            Box::new(self.depth.clone()),
            Box::new(self.adds.clone()),
            Box::new(self.retries.clone()),
            Box::new(self.waited.clone()),
            Box::new(self.worked.clone()),
            Box::new(self.running.clone()),
        ];
        for collector in collectors {
            let registered = registry.register(collector);
            registered.expect("every metric name is registered once per process");
        }
    }

    /// The series of one controller; they are there from the beginning, with zeros.
    pub fn of(&self, controller: &str, concurrency: u16) -> Work {
        let (one, queue) = ([controller], [controller, controller]);
        self.most.with_label_values(&one).set(i64::from(concurrency));
        let result = |result: &str| self.results.with_label_values(&[controller, result]);
        Work {
            succeeded: result("success"),
            requeued: result("requeue_after"),
            failed: result("error"),
            errors: self.errors.with_label_values(&one),
            active: self.active.with_label_values(&one),
            seconds: self.seconds.with_label_values(&one),
            depth: self.depth.with_label_values(&queue),
            adds: self.adds.with_label_values(&queue),
            retries: self.retries.with_label_values(&queue),
            waited: self.waited.with_label_values(&queue),
            worked: self.worked.with_label_values(&queue),
            turns: self.running.of(controller),
            queued: Mutex::default(),
        }
    }
}

/// An object, by namespace and name.
type Key = (String, String);

/// The measures of one controller.
pub(crate) struct Work {
    succeeded: IntCounter,
    requeued: IntCounter,
    failed: IntCounter,
    errors: IntCounter,
    active: IntGauge,
    seconds: Histogram,
    depth: IntGauge,
    adds: IntCounter,
    retries: IntCounter,
    waited: Histogram,
    worked: Histogram,
    turns: Arc<Turns>,
    /// Objects that were woken and are not reconciled yet, and since when. Those whose time comes are not among them: they
    /// are in no queue before.
    queued: Mutex<HashMap<Key, Instant>>,
}

impl Work {
    /// An object was woken. One that waits already waits on.
    pub fn woken(&self, key: Key) {
        let mut queued = lock(&self.queued);
        queued.entry(key).or_insert_with(|| {
            self.adds.inc();
            self.depth.inc();
            Instant::now()
        });
    }

    /// An object that was woken is not there any more.
    pub fn gone(&self, key: &Key) {
        if lock(&self.queued).remove(key).is_some() {
            self.depth.dec();
        }
    }

    /// A worker begins with an object.
    pub fn begin(self: &Arc<Self>, key: &Key) -> Turn {
        if let Some(since) = lock(&self.queued).remove(key) {
            self.depth.dec();
            self.waited.observe(since.elapsed().as_secs_f64());
        }
        self.active.inc();
        let began = Instant::now();
        Turn {
            id: self.turns.begin(began),
            work: self.clone(),
            began,
        }
    }
}

/// One reconcile that goes on; it ends when it is dropped.
pub(crate) struct Turn {
    work: Arc<Work>,
    id: u64,
    began: Instant,
}

impl Turn {
    /// It was done, and took so long.
    pub fn end(self, next: Next) -> Duration {
        let (work, took) = (&self.work, self.began.elapsed());
        work.seconds.observe(took.as_secs_f64());
        work.worked.observe(took.as_secs_f64());
        match next {
            Next::Await => work.succeeded.inc(),
            Next::After(_) => work.requeued.inc(),
            Next::Retry(_) => {
                work.failed.inc();
                work.errors.inc();
                work.retries.inc();
            }
        }
        took
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.work.active.dec();
        lock(&self.work.turns.began).remove(&self.id);
    }
}

/// When the reconciles of one controller began that go on now.
#[derive(Default)]
struct Turns {
    next: AtomicU64,
    began: Mutex<HashMap<u64, Instant>>,
}

impl Turns {
    fn begin(&self, now: Instant) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.began).insert(id, now);
        id
    }
}

/// How long what goes on has taken, worked out when it is asked for.
#[derive(Clone)]
struct Running {
    turns: Arc<Mutex<HashMap<String, Arc<Turns>>>>,
    unfinished: GaugeVec,
    longest: GaugeVec,
}

impl Running {
    fn new() -> Self {
        let gauges = |name: &str, help: &str| GaugeVec::new(Opts::new(name, help), &QUEUE).expect(WELL_FORMED);
        Running {
            turns: Arc::default(),
            unfinished: gauges(
                "workqueue_unfinished_work_seconds",
                "How many seconds of work has been done that is in progress and hasn't been observed by work_duration.",
            ),
            longest: gauges(
                "workqueue_longest_running_processor_seconds",
                "How many seconds has the longest running processor for workqueue been running.",
            ),
        }
    }

    fn of(&self, controller: &str) -> Arc<Turns> {
        lock(&self.turns).entry(controller.to_owned()).or_default().clone()
    }
}

impl Collector for Running {
    fn desc(&self) -> Vec<&Desc> {
        [self.unfinished.desc(), self.longest.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (name, turns) in lock(&self.turns).iter() {
            let set = |gauge: &GaugeVec, value: f64| {
                let gauge: Gauge = gauge.with_label_values(&[name, name]);
                gauge.set(value);
            };
            let began = lock(&turns.began);
            let ages = || began.values().map(|began| began.elapsed().as_secs_f64());
            set(&self.unfinished, ages().sum());
            set(&self.longest, ages().fold(0.0, f64::max));
        }
        [self.unfinished.collect(), self.longest.collect()].concat()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    fn value(metrics: &Metrics, series: &str) -> Option<f64> {
        let shown = String::from_utf8(metrics.render()).expect("it is text");
        let found = shown
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        found.map(|value| value.parse().expect("a number"))
    }

    #[test]
    fn a_queue_is_measured_from_waking_to_the_end() {
        let metrics = Metrics::new();
        let work = metrics.work("kustomization", 4);
        let queue = "{controller=\"kustomization\",name=\"kustomization\"}";
        let check = |name: &str, labels: &str, wanted: f64| {
            assert_eq!(
                value(&metrics, &format!("{name}{labels}")),
                Some(wanted),
                "{name}{labels}"
            );
        };
        let (a, b) = (("n".to_owned(), "a".to_owned()), ("n".to_owned(), "b".to_owned()));
        check("workqueue_depth", queue, 0.0);
        work.woken(a.clone());
        work.woken(a.clone());
        work.woken(b.clone());
        check("workqueue_depth", queue, 2.0);
        check("workqueue_adds_total", queue, 2.0);
        work.gone(&b);
        check("workqueue_depth", queue, 1.0);
        let turn = work.begin(&a);
        check("workqueue_depth", queue, 0.0);
        check("workqueue_queue_duration_seconds_count", queue, 1.0);
        check(
            "controller_runtime_active_workers",
            "{controller=\"kustomization\"}",
            1.0,
        );
        let longest = value(&metrics, &format!("workqueue_longest_running_processor_seconds{queue}"));
        assert!(longest.is_some_and(|longest| longest > 0.0), "{longest:?}");
        turn.end(Next::Await);
        check("workqueue_longest_running_processor_seconds", queue, 0.0);
        check("workqueue_unfinished_work_seconds", queue, 0.0);
        check("workqueue_work_duration_seconds_count", queue, 1.0);
        check(
            "controller_runtime_active_workers",
            "{controller=\"kustomization\"}",
            0.0,
        );
        check(
            "controller_runtime_max_concurrent_reconciles",
            "{controller=\"kustomization\"}",
            4.0,
        );
    }

    #[test]
    fn results_are_counted_by_what_comes_next() {
        let metrics = Metrics::new();
        let work = metrics.work("helmrelease", 1);
        let key = ("n".to_owned(), "a".to_owned());
        let minute = Duration::from_secs(60);
        for next in [
            Next::Await,
            Next::After(minute),
            Next::After(minute),
            Next::Retry(minute),
        ] {
            work.begin(&key).end(next);
        }
        // One that is cut off is neither.
        drop(work.begin(&key));
        for (result, count) in [("success", 1.0), ("requeue_after", 2.0), ("error", 1.0)] {
            let series =
                format!("controller_runtime_reconcile_total{{controller=\"helmrelease\",result=\"{result}\"}}");
            assert_eq!(value(&metrics, &series), Some(count), "{result}");
        }
        let of_controller = |name: &str| value(&metrics, &format!("{name}{{controller=\"helmrelease\"}}"));
        assert_eq!(of_controller("controller_runtime_reconcile_errors_total"), Some(1.0));
        assert_eq!(
            of_controller("controller_runtime_reconcile_time_seconds_count"),
            Some(4.0)
        );
        assert_eq!(of_controller("controller_runtime_active_workers"), Some(0.0));
    }
}
