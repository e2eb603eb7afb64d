//! What the fuzz target runs: bytes in, an index, and nothing that panics or runs away.

use nave_chart_repo::{convert, find};
use serde_json::Value;

/// Bytes as an index. What is written is JSON with as many versions as were told, and each chart is found in it.
pub fn index(bytes: &[u8]) {
    let mut json = Vec::new();
    let converted = match convert(bytes, &mut json) {
        Ok(converted) => converted,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error says something");
            return;
        }
    };
    let index: Value = serde_json::from_slice(&json).expect("what is written is JSON");
    let entries = index["entries"].as_object().expect("there is a map of charts");
    let versions: usize = entries.values().filter_map(Value::as_array).map(Vec::len).sum();
    assert_eq!(versions, converted.versions);
    for (chart, versions) in entries.iter().take(4) {
        let expected = versions.as_array().map_or(0, Vec::len);
        // YAML refuses some characters that JSON takes; then the index is refused as a whole, not read in part.
        if let Ok(found) = find(json.as_slice(), chart) {
            assert_eq!(found.map_or(0, |found| found.len()), expected, "{chart:?}");
        }
    }
}
