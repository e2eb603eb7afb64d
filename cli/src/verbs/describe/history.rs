//! What became of the fleet objects on a cluster, as its hub remembers.

use kube::api::DynamicObject;
use serde_json::Value;

use super::told;
use crate::{
    connection::Connection,
    fields::{self, field},
    table::Table,
};

/// Lines that are shown; the hub has more.
const LINES: usize = 20;

/// The latest transitions, and the latest events that its agent told, oldest first; nothing where the hub serves no live
/// reads, or the caller may not see events.
pub(super) async fn of_cluster(connection: &Connection, cluster: &DynamicObject) -> (Table, Table) {
    let answer = told::by_hub(connection, cluster, "history").await;
    (table(&answer), events(&answer))
}

fn events(answer: &Value) -> Table {
    let mut table = Table::new(["Time", "Type", "Reason", "Object", "Message"]);
    let events = answer["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    for event in &events[events.len().saturating_sub(LINES)..] {
        table.row([
            second(field(event, "time")),
            field(event, "type").to_owned(),
            field(event, "reason").to_owned(),
            format!(
                "{}/{}/{}",
                field(event, "kind"),
                field(event, "namespace"),
                field(event, "name")
            ),
            fields::shorten(field(event, "message")),
        ]);
    }
    table
}

/// Without its fraction.
fn second(time: &str) -> String {
    time.split_once('.')
        .map_or(time.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}

fn table(answer: &Value) -> Table {
    let mut table = Table::new(["Time", "Fleet object", "State", "Revision", "Reason", "Message"]);
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    for item in &items[items.len().saturating_sub(LINES)..] {
        table.row([
            second(field(item, "time")),
            field(item, "item").to_owned(),
            field(item, "state").to_owned(),
            fields::shorten(field(item, "revision")),
            field(item, "reason").to_owned(),
            fields::shorten(field(item, "message")),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_latest_lines_are_shown_and_no_answer_is_no_table() {
        assert!(table(&Value::Null).is_empty());
        let items: Vec<Value> = (10..40)
            .map(|second| {
                json!({"time": format!("2026-11-22T00:00:{second}.5Z"), "item": "FleetKustomization/p/apps",
                    "state": "failed", "revision": "main@sha1:1", "reason": "BuildFailed", "message": "line 3"})
            })
            .collect();
        let text = table(&json!({"items": items})).into_text();
        assert_eq!(text.lines().count(), LINES + 1);
        assert!(
            text.contains("2026-11-22T00:00:39Z") && !text.contains("00:00:19Z"),
            "{text}"
        );
        assert!(text.contains("BuildFailed"), "{text}");
        assert!(events(&Value::Null).is_empty());
        let event = json!({"time": "2026-11-22T00:00:01.5Z", "type": "Warning", "reason": "BuildFailed",
            "kind": "Kustomization", "namespace": "team", "name": "apps", "message": "line 3"});
        let text = events(&json!({"events": [event]})).into_text();
        assert!(
            text.contains("2026-11-22T00:00:01Z") && text.contains("Kustomization/team/apps"),
            "{text}"
        );
    }
}
