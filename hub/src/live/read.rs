//! One live read: is it allowed, is the agent there, and what it answers, piece by piece.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use nave_crds::fleet::ClusterMode;
use nave_identity::ClusterRef;
use nave_proto::{
    frame_head,
    wire::{self, LiveBody, LiveData, LiveEnd, LiveEndCode},
};
use nave_quic::{HubSessionHandle, LiveFailure, LiveStream};
use prometheus::IntGauge;
use tokio::sync::mpsc;

use super::{
    Active,
    audit::{Outcome, Record},
    front_proxy::Caller,
    limits::Place,
    question::{Question, What},
    rights,
    routes::refused,
};

/// The answer's form: frames as on the link, a length and a message.
pub const CONTENT_TYPE: &str = "application/vnd.nave.live";

/// The API server ends requests after a minute; the reader is told before that.
const ONE_READ: Duration = Duration::from_secs(50);
/// A log that is not followed.
const ONE_LOG: Duration = Duration::from_secs(600);
/// A log that is followed; then it is asked for again.
const FOLLOWED_LOG: Duration = Duration::from_secs(4 * 3600);
/// A caller who does not read may keep a place so much longer.
const SLACK: Duration = Duration::from_secs(30);

/// Status, reason and message of an answer that is no.
pub(super) type Refusal = (StatusCode, &'static str, String);

/// Whether the caller may, by his rights on the hub, and whether there is room for one read more. A refusal ends the record.
pub(super) async fn admit(
    active: &Active,
    caller: &Caller,
    cluster: &ClusterRef,
    record: &Record,
    attributes: ResourceAttributes,
) -> Result<Place, Refusal> {
    match rights::allowed(&active.client, caller, attributes).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            record.ended(Outcome::Denied, &why, 0);
            return Err((StatusCode::FORBIDDEN, "Forbidden", why));
        }
        Err(error) => {
            let text = format!(
                "asking the hub's API server for the rights of user {:?}: {error}",
                caller.user
            );
            record.ended(Outcome::Failed, &text, 0);
            return Err((StatusCode::INTERNAL_SERVER_ERROR, "InternalError", text));
        }
    }
    active.limits.take(&caller.user, &cluster.to_string()).map_err(|text| {
        record.ended(Outcome::Busy, &text, 0);
        (StatusCode::CONFLICT, "Busy", text)
    })
}

/// Counts a read while it goes on.
struct Open(IntGauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Answers a request of a user whom the API server named.
pub async fn answer(
    active: &Active,
    caller: &Caller,
    cluster: &ClusterRef,
    what: What,
    question: &Question,
) -> Response {
    let record = Record::new(caller, cluster, what, question, &active.metrics);
    if let Err((code, text)) = question.check(what) {
        record.ended(Outcome::Failed, &text, 0);
        return refused(code, "BadRequest", &text);
    }
    let attributes = rights::attributes(cluster, what, question.verb(what).1);
    let place = match admit(active, caller, cluster, &record, attributes).await {
        Ok(place) => place,
        Err((code, reason, text)) => return refused(code, reason, &text),
    };
    let handle = match reach(active, cluster) {
        Ok(handle) => handle,
        Err((code, reason, text)) => {
            record.ended(Outcome::Failed, &text, 0);
            return refused(code, reason, &text);
        }
    };
    record.allowed();
    let longest = match what {
        What::Objects | What::Events => ONE_READ,
        What::Log if question.follow => FOLLOWED_LOG,
        What::Log => ONE_LOG,
    };
    let asked = handle.live(question.request(what, caller, &record.id), longest).await;
    let mut stream = match asked {
        Ok(stream) => stream,
        Err(failure) => return failed(&record, cluster, &failure),
    };
    match stream.next().await {
        Ok(Some(first)) => begun(active, record, place, stream, first, longest),
        Ok(None) => ended_at_once(&record, cluster, stream.end()),
        Err(failure) => failed(&record, cluster, &failure),
    }
}

/// The session of the cluster's agent, or why there is none.
fn reach(active: &Active, cluster: &ClusterRef) -> Result<HubSessionHandle, Refusal> {
    if let Some(handle) = active.sessions.reach(cluster) {
        return Ok(handle);
    }
    let object = active.sessions.shared().clusters.get(&cluster.namespace, &cluster.name);
    let Some(object) = object else {
        return Err((
            StatusCode::NOT_FOUND,
            "NotFound",
            format!("there is no cluster {cluster}"),
        ));
    };
    if object.spec.mode == ClusterMode::KubeConfig {
        let text = format!("cluster {cluster} is reached by a kubeconfig; live reads go through an agent");
        return Err((StatusCode::NOT_IMPLEMENTED, "NoAgent", text));
    }
    let seen = object.status.as_ref().and_then(|status| status.last_seen.as_ref());
    let text = match seen {
        Some(seen) => format!(
            "cluster {cluster} is not connected; its agent was last seen at {}",
            seen.0
        ),
        None => format!("cluster {cluster} is not connected"),
    };
    Err((StatusCode::BAD_GATEWAY, "NotConnected", text))
}

fn failed(record: &Record, cluster: &ClusterRef, failure: &LiveFailure) -> Response {
    let (code, reason) = match failure {
        LiveFailure::Unsupported => (StatusCode::NOT_IMPLEMENTED, "AgentTooOld"),
        LiveFailure::Full => (StatusCode::CONFLICT, "Busy"),
        LiveFailure::Link(_) | LiveFailure::Protocol(_) => (StatusCode::BAD_GATEWAY, "LinkFailed"),
    };
    let text = format!("cluster {cluster}: {}", chain(failure));
    record.ended(Outcome::Failed, &text, 0);
    refused(code, reason, &text)
}

/// The agent had nothing to send: it refused, or there is nothing.
fn ended_at_once(record: &Record, cluster: &ClusterRef, end: Option<&LiveEnd>) -> Response {
    let silent = LiveEnd {
        code: LiveEndCode::Failed as i32,
        message: "the agent ended the read without a word".to_owned(),
    };
    let end = end.unwrap_or(&silent);
    record.ended(outcome(end), &end.message, 0);
    let text = format!("cluster {cluster}: {}", end.message);
    match LiveEndCode::try_from(end.code) {
        Ok(LiveEndCode::Done | LiveEndCode::Truncated) => whole(end_frame(end.clone()).into()),
        Ok(LiveEndCode::Forbidden) => refused(StatusCode::FORBIDDEN, "Forbidden", &text),
        Ok(LiveEndCode::NotFound) => refused(StatusCode::NOT_FOUND, "NotFound", &text),
        Ok(LiveEndCode::Unsupported) => refused(StatusCode::NOT_IMPLEMENTED, "NotSupported", &text),
        Ok(LiveEndCode::Busy) => refused(StatusCode::CONFLICT, "Busy", &text),
        Ok(LiveEndCode::Invalid) => refused(StatusCode::BAD_REQUEST, "BadRequest", &text),
        Ok(LiveEndCode::Failed) | Err(_) => refused(StatusCode::BAD_GATEWAY, "Failed", &text),
    }
}

fn outcome(end: &LiveEnd) -> Outcome {
    match LiveEndCode::try_from(end.code) {
        Ok(LiveEndCode::Done | LiveEndCode::Truncated) => Outcome::Done,
        Ok(LiveEndCode::Forbidden) => Outcome::Denied,
        Ok(LiveEndCode::Busy) => Outcome::Busy,
        _ => Outcome::Failed,
    }
}

/// The answer has begun: the rest of it goes on by itself, as fast as the caller reads.
fn begun(
    active: &Active,
    record: Record,
    place: Place,
    stream: LiveStream,
    first: Bytes,
    longest: Duration,
) -> Response {
    // One piece ahead of the caller; the agent sends no more than a window beyond that.
    let (pieces, received) = mpsc::channel(1);
    let open = active.metrics.live_open.clone();
    open.inc();
    let (open, shutdown) = (Open(open), active.tasks.shutdown_token().clone());
    active.tasks.spawn("live-read", async move {
        let (_place, _open) = (place, open);
        let mut stream = stream;
        let pumping = tokio::time::timeout(longest + SLACK, pump(&mut stream, first, &pieces));
        let (outcome, reason) = tokio::select! {
            pumped = pumping => pumped.unwrap_or((Outcome::Gone, "the caller did not read".to_owned())),
            () = pieces.closed() => (Outcome::Gone, String::new()),
            () = shutdown.cancelled() => {
                let end = failure("the hub shuts down; ask again".to_owned());
                // The caller learns it from the end of the connection otherwise.
                let _ = pieces.try_send(end_frame(end).into());
                (Outcome::Failed, "the hub shuts down".to_owned())
            }
        };
        record.ended(outcome, &reason, stream.received());
    });
    let body = futures::stream::unfold(received, |mut received: mpsc::Receiver<Bytes>| async move {
        let piece = received.recv().await?;
        Some((Ok::<_, Infallible>(piece), received))
    });
    whole(Body::from_stream(body))
}

async fn pump(stream: &mut LiveStream, first: Bytes, pieces: &mpsc::Sender<Bytes>) -> (Outcome, String) {
    let mut piece = Some(first);
    let end = loop {
        if let Some(data) = piece.take().filter(|data| !data.is_empty()) {
            let frame = framed(LiveBody::Data(LiveData { data }));
            if pieces.send(frame.into()).await.is_err() {
                return (Outcome::Gone, String::new());
            }
        }
        match stream.next().await {
            Ok(Some(data)) => piece = Some(data),
            Ok(None) => {
                let silent = || failure("the agent ended the read without a word".to_owned());
                break stream.end().cloned().unwrap_or_else(silent);
            }
            Err(error) => break failure(chain(&error)),
        }
    };
    let told = (outcome(&end), end.message.clone());
    match pieces.send(end_frame(end).into()).await {
        Ok(()) => told,
        Err(_) => (Outcome::Gone, String::new()),
    }
}

fn failure(message: String) -> LiveEnd {
    LiveEnd {
        code: LiveEndCode::Failed as i32,
        message,
    }
}

fn end_frame(end: LiveEnd) -> Vec<u8> {
    framed(LiveBody::End(end))
}

fn framed(body: LiveBody) -> Vec<u8> {
    let message = wire::encode(body);
    let mut frame = frame_head(message.len());
    frame.extend_from_slice(&message);
    frame
}

fn whole(body: Body) -> Response {
    (
        [
            (header::CONTENT_TYPE, CONTENT_TYPE),
            (header::CACHE_CONTROL, "no-store"),
        ],
        body,
    )
        .into_response()
}

/// The error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
