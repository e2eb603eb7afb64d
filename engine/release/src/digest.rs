//! Digests by which Flux knows releases, values and settings again.

use nave_object::{digest::sha256, yaml};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    chart_record::ChartMetadata,
    go_json,
    hooks::is_test,
    record::{Hook, Info, Release},
};

/// What is digested of a release, in its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Observation<'a> {
    name: &'a str,
    version: i64,
    info: Option<&'a Info>,
    chart_metadata: Option<&'a ChartMetadata>,
    config: Option<&'a Map<String, Value>>,
    manifest: &'a str,
    hooks: Option<Vec<&'a Hook>>,
    namespace: &'a str,
    #[serde(rename = "ociDigest")]
    oci_digest: &'a str,
}

/// `sha256:<hex>` of a release as it is stored, tests apart: people may run those by hand.
pub fn snapshot_digest(release: &Release, oci_digest: &str) -> String {
    let empty = Info::default();
    let none = ChartMetadata::default();
    let hooks: Vec<&Hook> = release.hooks.iter().filter(|hook| !is_test(hook)).collect();
    json_digest(&Observation {
        name: &release.name,
        version: release.version,
        info: Some(release.info.as_ref().unwrap_or(&empty)),
        chart_metadata: Some(
            release
                .chart
                .as_ref()
                .and_then(|chart| chart.metadata.as_ref())
                .unwrap_or(&none),
        ),
        config: (!release.config.is_empty()).then_some(&release.config),
        manifest: &release.manifest,
        hooks: (!hooks.is_empty()).then_some(hooks),
        namespace: &release.namespace,
        oci_digest,
    })
}

/// `sha256:<hex>` of Go's JSON encoding, which ends in a line break.
pub fn json_digest(value: &impl Serialize) -> String {
    let mut text = go_json::to_string(value);
    text.push('\n');
    sha256(text)
}

/// `sha256:<hex>` of values as YAML with sorted keys; that of nothing when there are none.
pub fn config_digest(values: &Map<String, Value>) -> String {
    if values.is_empty() {
        return sha256("");
    }
    // Through JSON, as in Go: there a whole number is written without exponent, whatever its type.
    let text = go_json::to_string(values);
    let plain: Value = serde_json::from_str(&text).expect("what was just written is JSON");
    sha256(yaml::write_sorted_by_bytes(&plain))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_are_the_same_as_floats_and_integers() {
        let digest = |value: Value| config_digest(value.as_object().expect("a map"));
        assert_eq!(digest(json!({"a": 1e7})), digest(json!({"a": 10_000_000})));
        assert_ne!(digest(json!({"a": 1e7})), digest(json!({"a": "1e7"})));
        assert_eq!(digest(json!({})), sha256(""));
        // `printf 'a: 1e+21\n' | sha256sum`
        assert_eq!(digest(json!({"a": 1e21})), sha256("a: 1e+21\n"));
    }
}
