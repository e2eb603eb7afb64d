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

/// The latest transitions, oldest first; nothing where the hub serves no live reads, or the caller may not see events.
pub(super) async fn of_cluster(connection: &Connection, cluster: &DynamicObject) -> Table {
    table(&told::by_hub(connection, cluster, "history").await)
}

fn table(answer: &Value) -> Table {
    let mut table = Table::new(["Time", "Fleet object", "State", "Revision", "Reason", "Message"]);
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    for item in &items[items.len().saturating_sub(LINES)..] {
        let time = field(item, "time");
        table.row([
            time.split_once('.')
                .map_or(time.to_owned(), |(seconds, _)| format!("{seconds}Z")),
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
    }
}
