//! A day of five hundred repositories, on a clock that the test moves. The controller, its queue and its waits are the real
//! ones; the API server is one of a few lines, and the remote only writes down who asked when.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures::{StreamExt as _, channel::mpsc, stream};
use http::{Method, Request, Response};
use kube::{Api, Client, client::Body, runtime::watcher};
use nave_bucket::Buckets;
use nave_chart_repo::Repositories;
use nave_crds::{Artifact, GitRepository, conditions::FETCH_FAILED};
use nave_git::Git;
use nave_oci::Registries;
use nave_runtime::{EventRecorder, Metrics, Tasks, Watched, controller, watch::without_managed_fields};
use nave_store::Store;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::run::{Options, Ports};

const OBJECTS: usize = 500;
const INTERVAL: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Every tenth remote is down for an hour.
const OUTAGE: std::ops::Range<Duration> = Duration::from_secs(5 * 3600)..Duration::from_secs(6 * 3600);

type Answer = Response<axum::body::Body>;

/// Objects by path, and whoever watches them.
#[derive(Default)]
struct ApiServer {
    objects: Mutex<BTreeMap<String, Value>>,
    /// How many statuses were written.
    statuses: AtomicUsize,
    watcher: Mutex<Option<mpsc::UnboundedSender<Bytes>>>,
}

const ROOT: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories";

impl ApiServer {
    async fn answer(self: Arc<Self>, request: Request<Body>) -> Result<Answer, Infallible> {
        let (parts, body) = request.into_parts();
        if parts.method == Method::PATCH && parts.uri.path().ends_with("/status") {
            self.statuses.fetch_add(1, Ordering::Relaxed);
        }
        let path = parts.uri.path().trim_end_matches("/status").to_owned();
        let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
        let body = body.collect_bytes().await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if parts.method == Method::GET && path == ROOT && is_watch {
            let (sender, receiver) = mpsc::unbounded();
            *self.watcher.lock().unwrap() = Some(sender);
            let events = axum::body::Body::from_stream(receiver.map(Ok::<Bytes, Infallible>));
            return Ok(Response::new(events));
        }
        let answer = match parts.method {
            Method::GET if path == ROOT => {
                let items: Vec<Value> = self.objects.lock().unwrap().values().cloned().collect();
                json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepositoryList",
                       "metadata": {"resourceVersion": "1"}, "items": items})
            }
            Method::GET => self.objects.lock().unwrap().get(&path).cloned().unwrap_or_default(),
            Method::PATCH if path.starts_with(ROOT) => self.patch(&path, &body),
            // Events.
            _ => body,
        };
        Ok(Response::new(axum::body::Body::from(answer.to_string())))
    }

    fn patch(&self, path: &str, patch: &Value) -> Value {
        let mut objects = self.objects.lock().unwrap();
        let object = objects.get_mut(path).expect("only what is there is written to");
        merge(object, patch);
        if let Some(watcher) = &*self.watcher.lock().unwrap() {
            let event = json!({"type": "MODIFIED", "object": object});
            let _ = watcher.unbounded_send(Bytes::from(format!("{event}\n")));
        }
        object.clone()
    }
}

/// RFC 7386.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let into = into.as_object_mut().expect("it is one now");
    for (name, value) in patch {
        if value.is_null() {
            into.remove(name);
        } else {
            merge(into.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Who asked when, counted from the start.
struct Remote {
    start: Instant,
    asked: Arc<Mutex<BTreeMap<String, Vec<Duration>>>>,
}

fn artifact_of(name: &str) -> Artifact {
    serde_json::from_value(json!({
        "path": format!("gitrepository/apps/{name}/1.tar.gz"), "url": format!("http://store/{name}"),
        "revision": "main@sha1:1", "digest": "sha256:1", "lastUpdateTime": "2026-11-21T00:00:00Z",
    }))
    .expect("it is an artifact")
}

fn is_down(name: &str, at: Duration) -> bool {
    name.ends_with('3') && OUTAGE.contains(&at)
}

impl Steps<GitRepository> for Remote {
    fn is_ours(&self, _: &GitRepository) -> bool {
        true
    }

    async fn work(
        &self,
        _: &Common<GitRepository>,
        object: &GitRepository,
        work: &mut Work<GitRepository>,
    ) -> Result<Done, Failure> {
        let (name, at) = (object.name_any(), self.start.elapsed());
        self.asked.lock().unwrap().entry(name.clone()).or_default().push(at);
        tokio::time::sleep(Duration::from_secs(2)).await; // the remote is far away
        if is_down(&name, at) {
            let reason = source_reasons::GIT_OPERATION_FAILED;
            return Err(Failure::new(Retry::Backoff, FETCH_FAILED, reason, "the remote is down"));
        }
        work.draft.stored(artifact_of(&name));
        Ok(Done::UpToDate)
    }
}

/// A server with so many objects that nobody has looked at.
fn server_of(count: usize) -> Arc<ApiServer> {
    let server = Arc::new(ApiServer::default());
    for number in 0..count {
        let name = format!("app-{number}");
        let object = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": name, "namespace": "apps", "uid": name, "generation": 1, "resourceVersion": "1"},
            "spec": {"url": format!("https://git.example.com/{name}"), "interval": "1h"},
        });
        server.objects.lock().unwrap().insert(format!("{ROOT}/{name}"), object);
    }
    server
}

async fn a_day() -> BTreeMap<String, Vec<Duration>> {
    let asked = Arc::new(Mutex::new(BTreeMap::new()));
    let start = Instant::now();
    let steps = Remote {
        start,
        asked: asked.clone(),
    };
    run_for(DAY, &server_of(OBJECTS), steps).await;
    asked.lock().unwrap().clone()
}

/// Runs the controller for so long.
async fn run_for(time: Duration, server: &Arc<ApiServer>, steps: impl Steps<GitRepository>) {
    nave_net::install_crypto_provider();
    let start = Instant::now();
    let answering = server.clone();
    let service = tower::service_fn(move |request| answering.clone().answer(request));
    let client = Client::new(service, "apps");
    let folder = tempfile::tempdir().expect("a folder");
    let tasks = Tasks::new(CancellationToken::new());
    let watched = Watched::start(
        Api::<GitRepository>::namespaced(client.clone(), "apps"),
        watcher::Config::default(),
        without_managed_fields,
        &tasks,
    );
    let store = Store::open(nave_store::Options::new(folder.path().join("store"), "store")).expect("it opens");
    let git = Git::open(nave_git::Options::new(folder.path().join("git"))).expect("it opens");
    let ports = Ports {
        client: client.clone(),
        store: Arc::new(store),
        git: Arc::new(git),
        registries: Registries::default(),
        repositories: Repositories::default(),
        buckets: Buckets::default(),
        events: EventRecorder::new(client, "source-controller", "test".to_owned(), None, &tasks),
        metrics: Metrics::new(),
        watched: watched.clone(),
        others: None,
        tasks: tasks.clone(),
    };
    let options = Options::default();
    let concurrent = options.concurrent;
    let reconciler = Arc::new(SourceReconciler::new(Common::new(&ports, options), steps));
    let running = controller::run(
        &watched,
        stream::pending(),
        concurrent,
        &ports.metrics,
        reconciler,
        &tasks,
    );
    tokio::select! {
        () = running => panic!("the controller ended by itself"),
        () = tokio::time::sleep_until(start + time) => {}
    }
    tasks.shutdown_token().cancel();
}

/// Work of one step that takes so long.
struct Takes(Duration);

impl Steps<GitRepository> for Takes {
    fn is_ours(&self, _: &GitRepository) -> bool {
        true
    }

    async fn work(
        &self,
        common: &Common<GitRepository>,
        object: &GitRepository,
        work: &mut Work<GitRepository>,
    ) -> Result<Done, Failure> {
        common.with_progress(object, work, tokio::time::sleep(self.0)).await;
        work.draft.stored(artifact_of("app-0"));
        Ok(Done::UpToDate)
    }
}

/// A new object is told of once when its work is done soon, and also while it goes on when it takes long.
#[tokio::test(start_paused = true)]
async fn quick_work_is_told_of_once() {
    for (takes, statuses) in [(900, 1), (1100, 2), (60_000, 2)] {
        let server = server_of(1);
        // It is looked at again after a twentieth of the interval at the soonest.
        run_for(Duration::from_secs(100), &server, Takes(Duration::from_millis(takes))).await;
        assert_eq!(server.statuses.load(Ordering::Relaxed), statuses, "{takes} ms");
        let objects = server.objects.lock().unwrap();
        let status = &objects[&format!("{ROOT}/app-0")]["status"];
        assert_eq!(status["observedGeneration"], 1, "{status}");
        let ready = status["conditions"].as_array().expect("a list").iter();
        let ready: BTreeSet<&str> = ready.filter_map(|condition| condition["type"].as_str()).collect();
        assert_eq!(ready, BTreeSet::from(["ArtifactInStorage", "Ready"]), "{status}");
    }
}

/// What an object waits for a place among two at work, and for the remote.
const SLACK: Duration = Duration::from_secs(120);

#[tokio::test(start_paused = true)]
async fn a_day_of_requests_is_even_and_none_is_lost() {
    let asked = a_day().await;
    assert_eq!(asked.len(), OBJECTS);
    let longest = INTERVAL.mul_f64(1.05) + SLACK;
    let shortest = INTERVAL.mul_f64(0.05);
    for (name, times) in &asked {
        let last = *times.last().expect("everybody asked");
        assert!(DAY - last <= longest, "{name} was forgotten after {last:?}");
        for pair in times.windows(2) {
            let gap = pair[1] - pair[0];
            assert!(gap <= longest, "{name} waited for {gap:?} after {:?}", pair[0]);
            assert!(
                gap >= shortest || is_down(name, pair[0]),
                "{name} asked again after {gap:?}"
            );
        }
    }
    // When the first round is over, ten minutes are like any other ten minutes: about a sixth of the objects ask.
    let window = Duration::from_secs(600);
    let steady: Vec<&Vec<Duration>> = asked
        .iter()
        .filter(|(name, _)| !name.ends_with('3'))
        .map(|(_, times)| times)
        .collect();
    let usual = steady.len() as f64 / 6.0;
    let mut from = INTERVAL.mul_f64(1.2);
    while from + window <= DAY {
        let count = steady
            .iter()
            .flat_map(|times| times.iter())
            .filter(|at| (from..from + window).contains(*at))
            .count();
        let share = count as f64 / usual;
        // Five standard deviations and more to either side.
        assert!(
            (0.4..=1.8).contains(&share),
            "{count} requests in the ten minutes after {from:?}"
        );
        from += window;
    }
    // Who was down is back at the usual pace.
    for (name, times) in asked.iter().filter(|(name, _)| name.ends_with('3')) {
        let after = times.iter().filter(|at| **at > Duration::from_secs(8 * 3600)).count();
        assert!(
            (14..=19).contains(&after),
            "{name} asked {after} times in the last 16 hours"
        );
    }
}
