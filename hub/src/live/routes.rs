//! The paths of the API group, as the API server asks for them.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use nave_identity::ClusterRef;
use serde_json::{Value, json};

use super::{
    GROUP, VERSION,
    door::Shared,
    history,
    question::{Question, What},
    read, traffic,
};
use crate::locked;

/// What is served to the API server.
pub fn router(shared: Arc<Shared>) -> Router {
    let base = format!("/apis/{GROUP}");
    let read_path = format!("{base}/{VERSION}/namespaces/{{workspace}}/clusters/{{cluster}}/{{what}}");
    Router::new()
        .route("/apis", get(|| async { Json(groups()) }))
        .route(&base, get(|| async { Json(group()) }))
        .route(&format!("{base}/{VERSION}"), get(|| async { Json(resources()) }))
        .route("/healthz", get(|| async { "ok" }))
        .route(&read_path, get(read_cluster))
        .fallback(|| async { refused(StatusCode::NOT_FOUND, "NotFound", "the hub serves no such path") })
        .with_state(shared)
}

async fn read_cluster(
    State(shared): State<Arc<Shared>>,
    Path((workspace, cluster, what)): Path<(String, String, String)>,
    question: Result<Query<Question>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Some(caller) = locked::read(&shared.front_proxy).clone().caller(&headers) else {
        return refused(StatusCode::UNAUTHORIZED, "Unauthorized", "the API server names no user");
    };
    let Some(active) = shared.active.get() else {
        return standby();
    };
    if what == "history" {
        return history::answer(active, &caller, &ClusterRef::new(&workspace, &cluster)).await;
    }
    if what == "traffic" {
        return traffic::answer(active, &caller, &ClusterRef::new(&workspace, &cluster)).await;
    }
    let Some(what) = What::of(&what) else {
        let text = format!("clusters/{what} is not served; objects, events, log, history and traffic are");
        return refused(StatusCode::NOT_FOUND, "NotFound", &text);
    };
    let question = match question {
        Ok(Query(question)) => question,
        Err(error) => return refused(StatusCode::BAD_REQUEST, "BadRequest", &error.body_text()),
    };
    read::answer(active, &caller, &ClusterRef::new(&workspace, &cluster), what, &question).await
}

/// Another replica leads: with the connection closed, the next request may reach that one.
fn standby() -> Response {
    let text = "this replica of the hub waits for its turn; ask again";
    let mut response = refused(StatusCode::SERVICE_UNAVAILABLE, "Standby", text);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A refusal as the API server's own.
pub fn refused(code: StatusCode, reason: &str, message: &str) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {},
        "status": "Failure", "reason": reason, "message": message, "code": code.as_u16(),
    });
    (code, Json(status)).into_response()
}

fn groups() -> Value {
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group()]})
}

fn group() -> Value {
    let version = json!({"groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION});
    json!({"kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version})
}

/// Subresources alone: nothing here can be listed, so that nobody who lists everything comes here.
fn resources() -> Value {
    let one = |name: &str, kind: &str| json!({"name": format!("clusters/{name}"), "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get"]});
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{GROUP}/{VERSION}"),
        "resources": [one("objects", "LiveObjects"), one("events", "LiveEvents"), one("log", "LiveLog"), one("history", "LiveHistory"), one("traffic", "LiveTraffic")],
    })
}
