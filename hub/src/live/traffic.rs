//! What the link of a cluster carried: from the hub's own accounts, also while the cluster is away.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use nave_identity::ClusterRef;
use serde_json::{Value, json};

use super::{
    Active, GROUP, VERSION,
    audit::{Outcome, Record},
    front_proxy::Caller,
    question::{Question, What},
    read::admit,
    rights,
    routes::refused,
};
use crate::{traffic::told, view::cluster_key};

/// Answers with the last days' bytes. It needs the right to see the cluster's events.
pub async fn answer(active: &Active, caller: &Caller, cluster: &ClusterRef) -> Response {
    let question = Question {
        resource: "traffic".to_owned(),
        ..Question::default()
    };
    let record = Record::new(caller, cluster, What::Events, &question, &active.metrics);
    let attributes = rights::attributes(cluster, What::Events, "list");
    let _place = match admit(active, caller, cluster, &record, attributes).await {
        Ok(place) => place,
        Err((code, reason, text)) => return refused(code, reason, &text),
    };
    record.allowed();
    let shared = active.sessions.shared();
    if shared.clusters.get(&cluster.namespace, &cluster.name).is_none() {
        let text = format!("cluster {cluster} does not exist");
        record.ended(Outcome::Failed, &text, 0);
        return refused(StatusCode::NOT_FOUND, "NotFound", &text);
    }
    let days = told(&shared.traffic.of(&cluster_key(cluster)));
    record.ended(Outcome::Done, "", 0);
    Json(body(
        days,
        active
            .sessions
            .reach(cluster)
            .map(|session| session.connection().transport()),
    ))
    .into_response()
}

fn body(days: Value, transport: Option<&'static str>) -> Value {
    json!({
        "kind": "LiveTraffic", "apiVersion": format!("{GROUP}/{VERSION}"), "days": days,
        "transport": transport.unwrap_or_default(),
    })
}
