//! What became of the items of a cluster: from the hub's own memory, also while the cluster is away.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use nave_identity::ClusterRef;
use serde_json::{Value, json};

use super::{
    Active, VERSION,
    audit::{Outcome, Record},
    front_proxy::Caller,
    question::{Question, What},
    read::admit,
    rights,
    routes::refused,
};
use crate::{memory::HistoryRecord, view::cluster_key};

/// Most transitions in an answer; the latest.
const MOST: usize = 500;

/// Answers with the latest transitions, and with what the agent told. It needs the right to see the cluster's events.
pub async fn answer(active: &Active, caller: &Caller, cluster: &ClusterRef) -> Response {
    let question = Question {
        resource: "history".to_owned(),
        ..Question::default()
    };
    let record = Record::new(caller, cluster, What::Events, &question, &active.metrics);
    let attributes = rights::attributes(cluster, What::Events, "list");
    // It takes a place like any other read, so that nobody keeps the disk busy.
    let _place = match admit(active, caller, cluster, &record, attributes).await {
        Ok(place) => place,
        Err((code, reason, text)) => return refused(code, reason, &text),
    };
    record.allowed();
    match active.memory.history(&cluster_key(cluster)).await {
        Ok(found) => {
            record.ended(Outcome::Done, "", 0);
            Json(body(&found)).into_response()
        }
        Err(error) => {
            let text = format!("reading the history of cluster {cluster}: {error}");
            record.ended(Outcome::Failed, &text, 0);
            refused(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &text)
        }
    }
}

/// Oldest first.
fn body(found: &[(String, HistoryRecord)]) -> Value {
    let mut all: Vec<_> = found
        .iter()
        .flat_map(|(item, record)| record.transitions.iter().map(move |one| (one.time_ms, item, one)))
        .collect();
    all.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    let excess = all.len().saturating_sub(MOST);
    let items: Vec<Value> = all[excess..]
        .iter()
        .map(|(when, item, one)| {
            json!({
                "time": time(*when), "item": item, "state": one.state, "revision": one.revision,
                "reason": one.reason, "message": one.message,
            })
        })
        .collect();
    json!({
        "kind": "LiveHistory", "apiVersion": format!("{}/{VERSION}", super::GROUP),
        "items": items, "events": events(found),
    })
}

/// What the agent told, oldest first.
fn events(found: &[(String, HistoryRecord)]) -> Vec<Value> {
    let of_item = |(item, record): &'_ (String, HistoryRecord)| {
        let item = item.clone();
        record.events.clone().into_iter().map(move |one| (item.clone(), one))
    };
    let mut all: Vec<_> = found.iter().flat_map(of_item).collect();
    all.sort_by_key(|(_, one)| one.time_ms);
    let excess = all.len().saturating_sub(MOST);
    let latest = all.into_iter().skip(excess);
    let told = latest.map(|(item, one)| {
        json!({
            "time": time(one.time_ms), "item": item, "kind": one.kind, "namespace": one.namespace, "name": one.name,
            "type": if one.is_warning { "Warning" } else { "Normal" },
            "reason": one.reason, "message": one.message, "revision": one.revision, "lost": one.lost,
        })
    });
    told.collect()
}

fn time(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{SpokeEvent, Transition};

    #[test]
    fn transitions_of_all_items_are_told_in_order_and_the_latest_only() {
        let record = |times: std::ops::Range<i64>| {
            let mut record = HistoryRecord::default();
            for time_ms in times {
                record.push(Transition {
                    time_ms,
                    state: "ready".into(),
                    ..Transition::default()
                });
            }
            record
        };
        let two = [("b".to_owned(), record(5..7)), ("a".to_owned(), record(4..6))];
        let told = body(&two);
        let order: Vec<&str> = told["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["item"].as_str())
            .collect();
        assert_eq!(order, ["a", "a", "b", "b"]);
        assert_eq!(told["items"][0]["time"], "1970-01-01T00:00:00.004Z");
        let mut heard = HistoryRecord::default();
        for time_ms in [3, 1] {
            heard.hear(SpokeEvent {
                time_ms,
                is_warning: time_ms == 3,
                kind: "Kustomization".into(),
                ..SpokeEvent::default()
            });
        }
        let told = body(&[("a".to_owned(), heard)]);
        assert_eq!(told["items"], json!([]));
        assert_eq!(
            (&told["events"][1]["type"], &told["events"][1]["item"]),
            (&json!("Warning"), &json!("a"))
        );
        assert_eq!(told["events"][0]["time"], "1970-01-01T00:00:00.001Z");
        let many: Vec<_> = (0..100).map(|n| (format!("k{n}"), record(n..n + 10))).collect();
        let told = body(&many);
        assert_eq!(told["items"].as_array().map(Vec::len), Some(MOST));
        assert_eq!(told["items"][MOST - 1]["item"], "k99");
    }
}
