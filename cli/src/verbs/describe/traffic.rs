//! What the link of a cluster carried, as its hub counts.

use kube::api::DynamicObject;
use serde_json::Value;

use super::told;
use crate::{connection::Connection, fields::field, table::Table};

/// The last days, oldest first; nothing where the hub serves no live reads, or the caller may not see events.
pub(super) async fn of_cluster(connection: &Connection, cluster: &DynamicObject) -> Table {
    table(&told::by_hub(connection, cluster, "traffic").await)
}

fn table(answer: &Value) -> Table {
    let mut table = Table::new([
        "Day",
        "Direction",
        "Total",
        "Control",
        "State",
        "Artifacts",
        "Live",
        "Carrier",
    ]);
    for day in answer["days"].as_array().into_iter().flatten() {
        for (direction, word) in [("sent", "to cluster"), ("received", "from cluster")] {
            let bytes = |name: &str| size(day[direction][name].as_u64().unwrap_or_default());
            table.row([
                field(day, "day").to_owned(),
                word.to_owned(),
                bytes("total"),
                bytes("control"),
                bytes("state"),
                bytes("chunk"),
                bytes("live"),
                bytes("carrier"),
            ]);
        }
    }
    table
}

/// Bytes for people: three digits are enough.
fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 10.0 { 1 } else { 0 };
    format!("{value:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (20_480, "20 KiB"),
            (1_100_000, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn each_day_has_two_directions_and_no_answer_is_no_table() {
        assert!(table(&Value::Null).is_empty());
        let bytes = json!({"control": 2048, "state": 10, "chunk": 0, "live": 0, "carrier": 500, "total": 2558});
        let answer = json!({"days": [{"day": "2026-11-22", "sent": bytes, "received": bytes}]});
        let text = table(&answer).into_text();
        assert_eq!(text.lines().count(), 3);
        assert!(
            text.contains("2026-11-22") && text.contains("from cluster") && text.contains("2.0 KiB"),
            "{text}"
        );
    }
}
