//! What only a HelmRelease has: where its chart is, and what its release is called.

use nave_object::digest::sha256;
use serde_json::{Map, Value, json};

/// Longest name of a release.
const NAME_LIMIT: usize = 53;

/// Points at the chart: by itself, or one of a source that holds charts.
pub(super) fn set_chart(spec: &mut Map<String, Value>, (kind, name): (&str, &str)) {
    let reference = json!({"kind": kind, "name": name});
    let holds_charts = matches!(kind, "GitRepository" | "HelmRepository" | "Bucket");
    match spec.get_mut("chart").and_then(|chart| chart.get_mut("spec")) {
        Some(Value::Object(chart)) if holds_charts => {
            chart.insert("sourceRef".into(), reference);
        }
        _ => {
            spec.remove("chart");
            spec.insert("chartRef".into(), reference);
        }
    }
}

/// Name and namespaces of the release as they would be on a spoke, where the HelmRelease has the name of its fleet object
/// and stands in `on_cluster`. On the hub it has another name and stands elsewhere.
pub(super) fn as_on_spoke(spec: &mut Map<String, Value>, name: &str, on_cluster: &str) {
    let given = |spec: &Map<String, Value>, key: &str| {
        let text = spec.get(key).and_then(Value::as_str).unwrap_or_default();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let target = given(spec, "targetNamespace");
    if given(spec, "releaseName").is_none() {
        let full = match &target {
            Some(target) => format!("{target}-{name}"),
            None => name.to_owned(),
        };
        spec.insert("releaseName".into(), Value::String(shortened(&full)));
    }
    let target = target.unwrap_or_else(|| on_cluster.to_owned());
    if given(spec, "storageNamespace").is_none() {
        // Where the release is, there is a namespace; on_cluster need not exist.
        spec.insert("storageNamespace".into(), Value::String(target.clone()));
    }
    spec.insert("targetNamespace".into(), Value::String(target));
}

/// A name that Helm takes, as helm-controller shortens it.
fn shortened(name: &str) -> String {
    if name.len() <= NAME_LIMIT {
        return name.to_owned();
    }
    let digest = sha256(name);
    let hex = digest.trim_start_matches("sha256:");
    // Names of objects and namespaces are ASCII, so that every byte is a character.
    format!("{}-{}", &name[..40], &hex[..12])
}
