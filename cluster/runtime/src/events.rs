//! Kubernetes events, and the same facts for a notification-controller.
//!
//! Recording never blocks a reconcile: events wait in a bounded queue and are dropped, with a log line, when the API
//! server is away for long. They are history, not state.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::Request,
};
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::mpsc;

use crate::Tasks;

/// A thousand Kustomizations with two events each fit while one request is slow.
const QUEUE: usize = 2048;
/// How many recent events are remembered to count repeats instead of writing new objects.
const REMEMBERED: usize = 4096;
/// A repeat within this time raises the count of the first one, as client-go's recorder does.
const REPEAT_WINDOW: Duration = Duration::from_secs(600);
/// Annotations of this prefix are copied into the events of their object.
const FOR_EVENTS: &str = "event.toolkit.fluxcd.io/";
/// The API server's bound on `Event.message` as client-go keeps it.
const MAX_MESSAGE: usize = 39_000;

/// What an event says about its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Something worth telling happened.
    Info,
    /// Something failed.
    Error,
    /// For the object's event list only; never sent to a notification address.
    Trace,
}

/// Records events of one controller.
#[derive(Debug, Clone)]
pub struct EventRecorder {
    queue: mpsc::Sender<Recorded>,
    listener: Option<Listener>,
}

/// One event as it was recorded.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// What it is about.
    pub object: ObjectReference,
    /// What it says about it.
    pub severity: Severity,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Its annotations.
    pub metadata: BTreeMap<String, String>,
    /// When.
    pub time: Timestamp,
}

/// Hears of every event in the order in which they are recorded, also while the API server is away.
pub trait EventListener: Send + Sync + 'static {
    /// An event was recorded. Must not block.
    fn heard(&self, event: &Recorded);
}

#[derive(Clone)]
struct Listener(Arc<dyn EventListener>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl EventRecorder {
    /// Events appear as coming from `controller` (`kustomize-controller`). `events_addr` is the address of a
    /// notification-controller, as in Flux's `--events-addr`; none sends no notifications.
    pub fn new(
        client: Client,
        controller: &'static str,
        instance: String,
        events_addr: Option<String>,
        tasks: &Tasks,
    ) -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let writer = Writer {
            client,
            controller,
            instance,
            notifications: events_addr
                .filter(|addr| !addr.is_empty())
                .map(|addr| (reqwest::Client::new(), addr)),
            recent: HashMap::new(),
        };
        let shutdown = tasks.shutdown_token().clone();
        tasks.spawn("events", writer.run(receiver, shutdown));
        EventRecorder { queue, listener: None }
    }

    /// The same, with somebody who hears of the events as well.
    #[must_use]
    pub fn heard_by(mut self, listener: Arc<dyn EventListener>) -> Self {
        self.listener = Some(Listener(listener));
        self
    }

    /// A recorder that forgets everything, for programs without a cluster.
    pub fn nowhere() -> Self {
        EventRecorder {
            queue: mpsc::channel(1).0,
            listener: None,
        }
    }

    /// Records one event about `object`. Its annotations under `event.toolkit.fluxcd.io/` go with it, so that what a team
    /// wrote there reaches its notifications.
    pub fn record_about<K: kube::Resource<DynamicType = ()>>(
        &self,
        object: &K,
        severity: Severity,
        reason: &str,
        message: &str,
        mut metadata: BTreeMap<String, String>,
    ) {
        metadata.extend(for_events(object.meta().annotations.iter().flatten()));
        self.record(reference(object), severity, reason, message, metadata);
    }

    /// Records one event. `metadata` becomes annotations, and the `metadata` of a notification.
    pub fn record(
        &self,
        object: ObjectReference,
        severity: Severity,
        reason: &str,
        message: &str,
        metadata: BTreeMap<String, String>,
    ) {
        let event = Recorded {
            object,
            severity,
            reason: reason.to_owned(),
            message: cut(message),
            metadata,
            time: Timestamp::now(),
        };
        log(&event);
        if let Some(Listener(listener)) = &self.listener {
            listener.heard(&event);
        }
        if let Err(mpsc::error::TrySendError::Full(event)) = self.queue.try_send(event) {
            tracing::warn!(
                object = event.object.name,
                reason = event.reason,
                "event dropped, too many are waiting"
            );
        }
    }
}

/// What is told about an object is logged, too, as Flux's controllers do.
fn log(event: &Recorded) {
    let object = &event.object;
    let (kind, namespace, name) = (&object.kind, &object.namespace, &object.name);
    let [kind, namespace, name] = [kind, namespace, name].map(|text| text.as_deref().unwrap_or_default());
    let (reason, message) = (&event.reason, &event.message);
    match event.severity {
        Severity::Error => {
            tracing::error!(
                controllerKind = kind,
                namespace,
                name,
                reason,
                error = message,
                "Reconciler error"
            );
        }
        Severity::Info => tracing::info!(controllerKind = kind, namespace, name, reason, "{message}"),
        Severity::Trace => tracing::debug!(controllerKind = kind, namespace, name, reason, "{message}"),
    }
}

struct Writer {
    client: Client,
    controller: &'static str,
    instance: String,
    notifications: Option<(reqwest::Client, String)>,
    recent: HashMap<RepeatKey, Repeat>,
}

#[derive(PartialEq, Eq, Hash)]
struct RepeatKey {
    uid: String,
    severity: Severity,
    reason: String,
    message: String,
}

struct Repeat {
    event: String,
    count: i32,
    first: Timestamp,
    last: Timestamp,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Recorded>, shutdown: tokio_util::sync::CancellationToken) {
        loop {
            let event = tokio::select! {
                biased;
                event = queue.recv() => event,
                _ = shutdown.cancelled() => None, // the queue is empty: `biased` looked there first
            };
            let Some(event) = event else { return };
            if let Err(error) = self.write(&event).await {
                tracing::debug!(
                    object = event.object.name,
                    reason = event.reason,
                    error = &error as &dyn std::error::Error,
                    "writing event"
                );
            }
            self.notify(event);
        }
    }

    async fn write(&mut self, event: &Recorded) -> kube::Result<()> {
        let namespace = event.object.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let key = RepeatKey {
            uid: event.object.uid.clone().unwrap_or_default(),
            severity: event.severity,
            reason: event.reason.clone(),
            message: event.message.clone(),
        };
        if let Some(repeat) = self.recent.get_mut(&key)
            && event.time.duration_since(repeat.first).unsigned_abs() < REPEAT_WINDOW
        {
            repeat.count += 1;
            repeat.last = event.time;
            let patch = json!({"count": repeat.count, "lastTimestamp": Time(event.time)});
            let patched = api
                .patch(&repeat.event, &PatchParams::default(), &Patch::Merge(patch))
                .await;
            match patched {
                Err(kube::Error::Api(status)) if status.code == 404 => {} // expired on the server: write it anew
                other => return other.map(drop),
            }
        }
        let name = format!(
            "{}.{:x}",
            event.object.name.as_deref().unwrap_or_default(),
            event.time.as_nanosecond()
        );
        self.make_room(event.time);
        self.recent.insert(
            key,
            Repeat {
                event: name.clone(),
                count: 1,
                first: event.time,
                last: event.time,
            },
        );
        let time = Time(event.time);
        let is_warning = event.severity == Severity::Error;
        let object = Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.to_owned()),
                annotations: (!event.metadata.is_empty()).then(|| event.metadata.clone()),
                ..ObjectMeta::default()
            },
            involved_object: event.object.clone(),
            reason: Some(event.reason.clone()),
            message: Some(event.message.clone()),
            type_: Some(if is_warning { "Warning" } else { "Normal" }.to_owned()),
            source: Some(EventSource {
                component: Some(self.controller.to_owned()),
                host: None,
            }),
            reporting_component: Some(self.controller.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            count: Some(1),
            first_timestamp: Some(time.clone()),
            last_timestamp: Some(time),
            ..Event::default()
        };
        let body = serde_json::to_vec(&object).map_err(kube::Error::SerdeError)?;
        let request = Request::new(api.resource_url())
            .create(&PostParams::default(), body)
            .map_err(kube::Error::BuildRequest)?;
        // The answer is what was sent.
        self.client.request::<IgnoredAny>(request).await.map(drop)
    }

    /// Keeps the memory of repeats bounded: what is past its window goes first, then everything.
    fn make_room(&mut self, now: Timestamp) {
        if self.recent.len() < REMEMBERED {
            return;
        }
        self.recent
            .retain(|_, repeat| now.duration_since(repeat.first).unsigned_abs() < REPEAT_WINDOW);
        if self.recent.len() >= REMEMBERED {
            self.recent.clear();
        }
    }

    /// Sends the event to the notification address in the background: a slow receiver delays nobody. 429 means that
    /// the receiver has it already and is never retried (contract: Flux's events endpoint).
    fn notify(&self, event: Recorded) {
        let Some((client, addr)) = self.notifications.clone() else {
            return;
        };
        if event.severity == Severity::Trace {
            return;
        }
        let body = json!({
            "involvedObject": event.object,
            "severity": if event.severity == Severity::Error { "error" } else { "info" },
            "timestamp": event.time,
            "message": event.message,
            "reason": event.reason,
            "metadata": event.metadata,
            "reportingController": self.controller,
            "reportingInstance": self.instance,
        });
        tokio::spawn(async move {
            let send = || async {
                let answer = client
                    .post(&addr)
                    .timeout(Duration::from_secs(5))
                    .header("content-type", "application/json")
                    .body(body.to_string())
                    .send()
                    .await?;
                if answer.status().is_server_error() {
                    answer.error_for_status()?;
                }
                Ok::<(), reqwest::Error>(())
            };
            let retries = ExponentialBuilder::default()
                .with_min_delay(Duration::from_secs(1))
                .with_max_delay(Duration::from_secs(30))
                .with_max_times(4);
            if let Err(error) = send.retry(retries).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "sending an event to the notification address"
                );
            }
        });
    }
}

/// A reference to a typed object, as events carry it.
pub fn reference<K: kube::Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    object.object_ref(&())
}

/// What annotations of an object say about its events. They win over what a controller says, as in Flux's recorder.
fn for_events<'a>(
    annotations: impl Iterator<Item = (&'a String, &'a String)>,
) -> impl Iterator<Item = (String, String)> {
    annotations
        .filter(|(key, _)| key.starts_with(FOR_EVENTS))
        .map(|(key, value)| (key.clone(), value.clone()))
}

fn cut(message: &str) -> String {
    if message.len() <= MAX_MESSAGE {
        return message.to_owned();
    }
    let mut end = MAX_MESSAGE;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[test]
    fn annotations_for_events_reach_them() {
        let (queue, mut recorded) = mpsc::channel(1);
        let recorder = EventRecorder { queue, listener: None };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut object = ConfigMap::default();
        object.metadata.name = Some("app".into());
        object.metadata.annotations = Some(BTreeMap::from([
            pair("event.toolkit.fluxcd.io/team", "edge"),
            pair("event.toolkit.fluxcd.io/revision", "theirs"),
            pair("example.com/other", "x"),
        ]));
        let ours = BTreeMap::from([
            pair("event.toolkit.fluxcd.io/revision", "ours"),
            pair("kustomize.toolkit.fluxcd.io/revision", "main"),
        ]);
        recorder.record_about(&object, Severity::Info, "Progressing", "applied", ours);
        let event = recorded.try_recv().expect("it was recorded");
        assert_eq!(event.object.name.as_deref(), Some("app"));
        assert_eq!(
            event.metadata,
            BTreeMap::from([
                pair("event.toolkit.fluxcd.io/revision", "theirs"),
                pair("event.toolkit.fluxcd.io/team", "edge"),
                pair("kustomize.toolkit.fluxcd.io/revision", "main"),
            ])
        );
    }
}
