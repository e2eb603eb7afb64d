//! The HelmChart that is made for a HelmRelease with `spec.chart`.

use std::collections::BTreeMap;

use kube::ResourceExt;
use nave_crds::{
    helm::{ChartTemplate, HelmRelease},
    labels, managers, reasons,
    source::{self, HelmChart},
};
use nave_object::Gvk;
use nave_runtime::{EventRecorder, Severity};
use nave_targets::{ApplyMode, DeleteMode};
use serde_json::{Value, json};

use crate::{
    Options, Ports,
    depends::Key,
    plan::SourceSeen,
    sources::{self, Sources},
};

/// Where the HelmChart of a template belongs.
pub(crate) fn key_of(release: &HelmRelease, template: &ChartTemplate) -> Key {
    let own = release.namespace().unwrap_or_default();
    let namespace = match template.spec.source_ref.namespace.as_str() {
        "" => own.clone(),
        given => given.to_owned(),
    };
    (namespace, format!("{own}-{}", release.name_any()))
}

/// The HelmChart as it should be.
fn wanted(release: &HelmRelease, template: &ChartTemplate, (namespace, name): &Key) -> Value {
    let spec = &template.spec;
    let metadata = template.metadata.clone().unwrap_or_default();
    let mut all_labels = metadata.labels;
    all_labels.insert(labels::HELM_NAME.to_owned(), release.name_any());
    all_labels.insert(
        labels::HELM_NAMESPACE.to_owned(),
        release.namespace().unwrap_or_default(),
    );
    let version = match spec.version.as_str() {
        "" => "*",
        version => version,
    };
    let mut wanted = json!({
        "apiVersion": source::API_VERSION, "kind": "HelmChart",
        "metadata": {"name": name, "namespace": namespace, "labels": all_labels},
        "spec": {
            "chart": spec.chart, "version": version,
            "interval": spec.interval.unwrap_or(release.spec.interval),
            "reconcileStrategy": spec.reconcile_strategy.unwrap_or_default(),
            "sourceRef": {"kind": spec.source_ref.kind, "name": spec.source_ref.name},
        },
    });
    if !metadata.annotations.is_empty() {
        wanted["metadata"]["annotations"] = json!(metadata.annotations);
    }
    if !spec.source_ref.api_version.is_empty() {
        wanted["spec"]["sourceRef"]["apiVersion"] = json!(spec.source_ref.api_version);
    }
    if !spec.values_files.is_empty() {
        wanted["spec"]["valuesFiles"] = json!(spec.values_files);
    }
    if spec.ignore_missing_values_files {
        wanted["spec"]["ignoreMissingValuesFiles"] = json!(true);
    }
    if let Some(verify) = &spec.verify {
        wanted["spec"]["verify"] = json!(verify);
    }
    wanted
}

/// Creates or changes the HelmChart, and looks at it. Writes its key to `recorded`.
pub(crate) async fn reconcile(
    release: &HelmRelease,
    template: &ChartTemplate,
    recorded: &mut String,
    ports: &Ports,
    sources: &Sources,
    options: &Options,
) -> SourceSeen {
    let key = key_of(release, template);
    let own = release.namespace().unwrap_or_default();
    let source_ref = &template.spec.source_ref;
    if let Some(denied) = sources::denied(&source_ref.kind, &key.0, &source_ref.name, &own, options) {
        return denied;
    }
    let full = format!("{}/{}", key.0, key.1);
    if !recorded.is_empty()
        && *recorded != full
        && let Err(message) = delete(release, recorded, ports).await
    {
        return SourceSeen::Unreadable(message);
    }
    let wanted = wanted(release, template, &key);
    let live = match sources::find(&sources.helm_charts, &ports.client, &key.0, &key.1, options).await {
        Ok(live) => live,
        Err(message) => return SourceSeen::Unreadable(message),
    };
    let reason = match &live {
        Some(live) if serde_json::to_value(live.as_ref()).is_ok_and(|live| is_as_wanted(&live, &wanted)) => {
            *recorded = full;
            return sources::judge(Some(live.as_ref()), &key.0, &key.1);
        }
        Some(_) => reasons::helm::HELM_CHART_CONFIGURED,
        None => reasons::helm::HELM_CHART_CREATED,
    };
    match apply(ports, &key, &wanted).await {
        Ok(applied) => {
            let message = format!("HelmChart/{full} with {}", describe(template));
            trace(&ports.events, release, reason, &message);
            *recorded = full;
            sources::judge(Some(&applied), &key.0, &key.1)
        }
        Err(error) => {
            let message = format!("failed to create or configure HelmChart/{full}: {error}");
            trace(&ports.events, release, reasons::helm::HELM_CHART_SYNC_ERROR, &message);
            SourceSeen::Unreadable(message)
        }
    }
}

/// Writes the HelmChart; as it is then.
async fn apply(ports: &Ports, (namespace, name): &Key, wanted: &Value) -> Result<HelmChart, String> {
    let target = ports.targets.local(None).map_err(|error| error.to_string())?;
    let resource = target.resolve(&Gvk::new(source::API_VERSION, "HelmChart")).await;
    let resource = resource.map_err(|error| error.to_string())?;
    let applied = target
        .apply(&resource, namespace, name, managers::HELM, wanted, ApplyMode::Write)
        .await
        .map_err(|error| error.to_string())?;
    serde_json::from_value(applied).map_err(|error| error.to_string())
}

/// Deletes a HelmChart by its recorded key; one that is gone or belongs to somebody else is left alone.
pub(crate) async fn delete(release: &HelmRelease, recorded: &str, ports: &Ports) -> Result<(), String> {
    let Some((namespace, name)) = recorded.split_once('/') else {
        return Ok(());
    };
    let failed = |error: &dyn std::fmt::Display| format!("failed to delete HelmChart/{recorded}: {error}");
    let target = ports.targets.local(None).map_err(|error| failed(&error))?;
    let Ok(resource) = target.resolve(&Gvk::new(source::API_VERSION, "HelmChart")).await else {
        return Ok(()); // with the kind went its objects
    };
    let live = target
        .get(&resource, namespace, name)
        .await
        .map_err(|error| failed(&error))?;
    let Some(live) = live else { return Ok(()) };
    let label = |key: &str| {
        live.pointer("/metadata/labels")
            .and_then(|found| found.get(key))
            .and_then(Value::as_str)
    };
    let owner = (label(labels::HELM_NAME), label(labels::HELM_NAMESPACE));
    if owner != (Some(release.name_any().as_str()), release.namespace().as_deref()) {
        return Ok(());
    }
    target
        .delete(&resource, namespace, name, &DeleteMode::default())
        .await
        .map_err(|error| failed(&error))?;
    trace(
        &ports.events,
        release,
        reasons::helm::HELM_CHART_DELETED,
        &format!("HelmChart/{recorded} deleted"),
    );
    Ok(())
}

/// Whether everything that is wanted is there; what others or defaults added does not matter.
fn is_as_wanted(live: &Value, wanted: &Value) -> bool {
    let contains = |pointer: &str| {
        let fields = |value: &Value| {
            value
                .pointer(pointer)
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default()
        };
        let live = fields(live);
        fields(wanted).iter().all(|(key, value)| live.get(key) == Some(value))
    };
    let same = |pointer: &str| wanted.pointer(pointer) == live.pointer(pointer);
    contains("/metadata/labels")
        && contains("/metadata/annotations")
        && contains("/spec")
        && ["/spec/valuesFiles", "/spec/ignoreMissingValuesFiles", "/spec/verify"]
            .into_iter()
            .all(same)
}

fn describe(template: &ChartTemplate) -> String {
    let source = &template.spec.source_ref;
    format!("SourceRef '{}/{}/{}'", source.kind, source.namespace, source.name)
}

fn trace(events: &EventRecorder, release: &HelmRelease, reason: &str, message: &str) {
    events.record_about(release, Severity::Trace, reason, message, BTreeMap::new());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release() -> HelmRelease {
        serde_json::from_value(json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "shop", "namespace": "team"}, "spec": {"interval": "10m", "chart": {
                "metadata": {"labels": {"a": "b"}}, "spec": {"chart": "shop", "valuesFiles": ["v.yaml"],
                "sourceRef": {"kind": "HelmRepository", "name": "repo", "namespace": "sources"}}}}}))
        .expect("it is complete")
    }

    #[test]
    fn the_template_becomes_a_helm_chart() {
        let release = release();
        let template = release.spec.chart.clone().expect("it has one");
        let key = key_of(&release, &template);
        assert_eq!(key, ("sources".to_owned(), "team-shop".to_owned()));
        let wanted = wanted(&release, &template, &key);
        assert_eq!(
            wanted["spec"],
            json!({"chart": "shop", "version": "*", "interval": "10m0s", "reconcileStrategy": "ChartVersion",
                "sourceRef": {"kind": "HelmRepository", "name": "repo"}, "valuesFiles": ["v.yaml"]})
        );
        assert_eq!(
            wanted["metadata"]["labels"],
            json!({"a": "b", "helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": "team"})
        );
        let mut live = wanted.clone();
        live["metadata"]["labels"]["other"] = json!("x");
        live["spec"]["suspend"] = json!(false);
        assert!(is_as_wanted(&live, &wanted));
        live["spec"]["version"] = json!("1.x");
        assert!(!is_as_wanted(&live, &wanted));
        let mut without = wanted.clone();
        without["spec"].as_object_mut().expect("a map").remove("valuesFiles");
        assert!(!is_as_wanted(&wanted, &without), "what left the template goes");
    }
}
