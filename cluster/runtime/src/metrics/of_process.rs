//! What is measured once per process, under client-go's names: requests to the API server, leases that are held, and the
//! process itself.
//!
//! They are not fields of a registry since a client is made, and a lease taken, before anything else is there.

use std::{
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use http::{Request, Response};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use prometheus::{
    Gauge, IntCounterVec, IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use tower::{BoxError, Layer, Service};

#[cfg(target_os = "linux")]
use crate::resident;

/// Labels: few codes and methods, and the one API server that this process belongs to.
pub(super) static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    IntCounterVec::new(
        Opts::new(
            "rest_client_requests_total",
            "Number of HTTP requests, partitioned by status code, method, and host.",
        ),
        &["code", "method", "host"],
    )
    .expect("the metric is well formed")
});

/// One series per lease.
pub(super) static LEADING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    IntGaugeVec::new(
        Opts::new(
            "leader_election_master_status",
            "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master.",
        ),
        &["name"],
    )
    .expect("the metric is well formed")
});

/// Says whether this process holds a lease.
pub(crate) fn leads(lease: &str, is_leader: bool) {
    LEADING.with_label_values(&[lease]).set(i64::from(is_leader));
}

/// The client of the cluster that this process belongs to, whose requests are counted.
///
/// Clients of other clusters are not: as many hosts as a fleet has clusters would be as many series.
///
/// # Errors
/// As [`Client::try_from`].
pub fn client(config: Config) -> kube::Result<Client> {
    let host: Arc<str> = config
        .cluster_url
        .authority()
        .map_or("", |authority| authority.as_str())
        .into();
    Ok(ClientBuilder::try_from(config)?.with_layer(&Counting(host)).build())
}

struct Counting(Arc<str>);

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            host: self.0.clone(),
        }
    }
}

#[derive(Clone)]
struct Counted<S> {
    inner: S,
    host: Arc<str>,
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (host, method) = (self.host.clone(), request.method().clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().map_or("<error>", |answer| code_of(answer.status()));
            REQUESTS.with_label_values(&[code, method.as_str(), &host]).inc();
            answer
        })
    }
}

/// Text of the codes that an API server answers with; a code of its own for all others keeps the series few.
fn code_of(status: http::StatusCode) -> &'static str {
    match status.as_u16() {
        101 => "101",
        200 => "200",
        201 => "201",
        202 => "202",
        204 => "204",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        406 => "406",
        409 => "409",
        410 => "410",
        413 => "413",
        415 => "415",
        422 => "422",
        429 => "429",
        500 => "500",
        502 => "502",
        503 => "503",
        504 => "504",
        _ => "other",
    }
}

/// The gauges that Prometheus' client libraries have of their process. They are read from /proc when they are asked for.
pub(super) struct Process(Vec<Gauge>);

const NAMES: [(&str, &str); 6] = [
    (
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
    ),
    ("process_resident_memory_bytes", "Resident memory size in bytes."),
    ("process_virtual_memory_bytes", "Virtual memory size in bytes."),
    ("process_open_fds", "Number of open file descriptors."),
    ("process_max_fds", "Maximum number of open file descriptors."),
    (
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
    ),
];

impl Process {
    pub fn new() -> Self {
        let gauges = NAMES.map(|(name, help)| Gauge::new(name, help).expect("the metric is well formed"));
        Process(gauges.into())
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.0.iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let seen = look();
        let known = self.0.iter().zip(seen).filter_map(|(gauge, value)| {
            gauge.set(value?);
            Some(gauge.collect())
        });
        known.flatten().collect()
    }
}

/// The values of [`NAMES`]; none where the system does not say.
#[cfg(not(target_os = "linux"))]
fn look() -> [Option<f64>; 6] {
    [None; 6]
}

/// The values of [`NAMES`]; none where the system does not say.
#[cfg(target_os = "linux")]
fn look() -> [Option<f64>; 6] {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{file}")).unwrap_or_default();
    let status = read("self/status");
    // VmRSS:	   12345 kB
    let kibibytes = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let number: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(number * 1024.0)
    };
    let limits = read("self/limits");
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let descriptors = std::fs::read_dir("/proc/self/fd").ok();
    [
        Some(resident::cpu_time().as_secs_f64()),
        kibibytes("VmRSS"),
        kibibytes("VmSize"),
        // One of them is the folder that is being read.
        descriptors.map(|found| count(found.count().saturating_sub(1))),
        limit.and_then(|line| line.split_whitespace().next()?.parse().ok()),
        started(&read("self/stat"), &read("stat")),
    ]
}

/// When the process began: ticks since the machine did, and when that was.
#[cfg(target_os = "linux")]
fn started(of_process: &str, of_machine: &str) -> Option<f64> {
    /// The kernel's unit in /proc on every architecture that Linux runs on today.
    const TICKS: f64 = 100.0;
    // The name, in brackets, may have anything in it; the twentieth word behind it is the start.
    let (_, behind) = of_process.rsplit_once(')')?;
    let ticks: f64 = behind.split_whitespace().nth(19)?.parse().ok()?;
    let boot = of_machine.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<f64>().ok()? + ticks / TICKS)
}

#[cfg(target_os = "linux")]
fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;

    use super::*;
    use crate::Metrics;

    #[tokio::test]
    async fn requests_are_counted_by_code_method_and_host() {
        let router = axum::Router::new().fallback(|| async { (http::StatusCode::NOT_FOUND, "{}") });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let config = || Config::new(format!("http://{address}").parse().expect("it is a URL"));
        let api: Api<ConfigMap> = Api::namespaced(client(config()).expect("it is complete"), "n");
        api.get("a").await.expect_err("there is none");
        api.get("b").await.expect_err("there is none");
        server.abort();
        let _ = server.await; // it was aborted
        api.delete("a", &Default::default()).await.expect_err("nobody is there");
        let shown = String::from_utf8(Metrics::new().render()).expect("it is text");
        for (code, method, count) in [("404", "GET", 2), ("<error>", "DELETE", 1)] {
            let line =
                format!("rest_client_requests_total{{code=\"{code}\",host=\"{address}\",method=\"{method}\"}} {count}");
            assert!(shown.lines().any(|found| found == line), "{line}\n{shown}");
        }
    }

    #[test]
    fn leases_are_held_or_not() {
        leads("lease-of-this-test", true);
        let shown = || String::from_utf8(Metrics::new().render()).expect("it is text");
        assert!(shown().contains("leader_election_master_status{name=\"lease-of-this-test\"} 1"));
        leads("lease-of-this-test", false);
        assert!(shown().contains("leader_election_master_status{name=\"lease-of-this-test\"} 0"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_is_measured() {
        let shown = String::from_utf8(Metrics::new().render()).expect("it is text");
        let value = |name: &str| -> f64 {
            let line = shown
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name}\n{shown}"))
                .parse()
                .expect("a number")
        };
        for (name, _) in NAMES {
            assert!(value(name) > 0.0, "{name}");
        }
        assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs_f64();
        let age = now - value("process_start_time_seconds");
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_start_is_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 250 1000 10";
        assert_eq!(started(stat, "cpu 1\nbtime 1000\n"), Some(1002.5));
        assert_eq!(started("", "btime 1000"), None);
    }
}
