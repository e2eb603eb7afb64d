//! The sources of a fleet object on the hub: made from the template, or referred to; and the HelmChart that takes a
//! chart out of one.

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use kube::{Api, ResourceExt};
use nave_crds::fleet::FleetResource;
use nave_crds::meta::Artifact;
use nave_crds::reasons::fleet as because;
use nave_crds::{
    Condition, GitRepository, HelmChart, HelmRepository, OCIRepository, annotations, conditions, labels, managers,
};
use nave_placement::{FleetObject, OwnerKey, SourceKey};
use nave_runtime::Conditions;
use serde_json::{Map, Value, json};

use crate::convert;
use crate::ports::Ports;
use crate::status::Problem;
use crate::validate::Definitions;

/// The kinds that are made on the hub.
const MADE: [&str; 4] = ["GitRepository", "HelmRepository", "OCIRepository", "HelmChart"];

/// What is known of a source of the hub.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SourceState {
    /// Its artifact.
    pub artifact: Option<Artifact>,
    /// Why there is none, or none of the newest revision.
    pub problem: Option<Problem>,
    /// UID of the fleet object that it was made for.
    pub made_for: Option<String>,
    /// Its generation, to notice changes by others.
    pub generation: Option<i64>,
}

/// A source as the shared watches have it, of whatever kind.
struct Found {
    artifact: Option<Artifact>,
    conditions: Vec<Condition>,
    made_for: Option<String>,
    generation: Option<i64>,
    spec: Value,
}

/// Looks a source up; `Err` is for a kind that is no source.
fn find(ports: &Ports, key: &SourceKey) -> Result<Option<Found>, ()> {
    macro_rules! found {
        ($watched:expr) => {
            $watched.get(&key.namespace, &key.name).map(|source| {
                let status = source.status.as_ref();
                Found {
                    artifact: status.and_then(|status| status.artifact.clone()),
                    conditions: status.map(|status| status.conditions.clone()).unwrap_or_default(),
                    made_for: source.labels().get(labels::FLEET_UID).cloned(),
                    generation: source.metadata.generation,
                    spec: serde_json::to_value(&source.spec).unwrap_or_default(),
                }
            })
        };
    }
    Ok(match key.kind.as_str() {
        "GitRepository" => found!(ports.git_repositories),
        "HelmRepository" => found!(ports.charts.helm_repositories),
        "OCIRepository" => found!(ports.charts.oci_repositories),
        "HelmChart" => found!(ports.charts.helm_charts),
        "ExternalArtifact" => found!(ports.external_artifacts),
        _ => return Err(()),
    })
}

/// How a source stands.
pub(crate) fn observe(ports: &Ports, key: &SourceKey) -> SourceState {
    let problem = |reason, message| SourceState {
        problem: Some(Problem { reason, message }),
        ..SourceState::default()
    };
    match find(ports, key) {
        Ok(Some(found)) => state(key, found),
        Ok(None) => problem(because::SOURCE_NOT_FOUND, format!("{key} does not exist")),
        Err(()) => problem(
            because::INVALID_SPEC,
            format!("spec.source.ref.kind {} is not supported by this version", key.kind),
        ),
    }
}

fn state(key: &SourceKey, found: Found) -> SourceState {
    let failed = found
        .conditions
        .get_condition(conditions::READY)
        .filter(|ready| ready.status == "False")
        .map(|ready| format!("{key} is not ready: {}", ready.message));
    let problem = match (&found.artifact, failed) {
        (_, Some(message)) => Some(message),
        (None, None) => Some(format!("{key} has no artifact yet")),
        (Some(_), None) => None,
    };
    SourceState {
        artifact: found.artifact,
        problem: problem.map(|message| Problem {
            reason: because::SOURCE_NOT_READY,
            message,
        }),
        made_for: found.made_for,
        generation: found.generation,
    }
}

/// How the source stands that a chart is taken from: what matters of it besides the chart is whether it fails.
pub(crate) fn observe_behind(ports: &Ports, key: &SourceKey) -> SourceState {
    let failed = |found: &Found| {
        let ready = found.conditions.get_condition(conditions::READY);
        ready.is_some_and(|ready| ready.status == "False")
    };
    match find(ports, key) {
        // Those of registries have no artifact.
        Ok(Some(found)) if !failed(&found) => SourceState {
            made_for: found.made_for,
            generation: found.generation,
            ..SourceState::default()
        },
        _ => SourceState {
            artifact: None,
            ..observe(ports, key)
        },
    }
}

/// Spec of the source that `spec.source.ref` names, where spokes are to fetch it themselves.
pub(crate) fn referenced_spec<K: FleetResource>(ports: &Ports, fleet: &K) -> Option<Map<String, Value>> {
    let reference = fleet.parts().source.reference.as_ref()?;
    if !matches!(
        reference.kind.as_str(),
        "GitRepository" | "HelmRepository" | "OCIRepository"
    ) {
        return None;
    }
    let key = SourceKey {
        kind: reference.kind.clone(),
        namespace: fleet.namespace().unwrap_or_default(),
        name: reference.name.clone(),
    };
    match find(ports, &key).ok()??.spec {
        Value::Object(spec) => Some(spec),
        _ => None,
    }
}

/// The source that a fleet object's template makes on the hub.
pub(crate) fn desired<K: FleetResource>(
    fleet: &K,
    kind: &str,
    spec: &Map<String, Value>,
    definitions: &Definitions,
) -> Result<Value, Problem> {
    made(
        fleet,
        kind,
        spec.clone(),
        &Value::Null,
        definitions,
        "spec.source.template",
    )
}

/// The HelmChart that takes a fleet object's chart out of its source.
pub(crate) fn desired_chart<K: FleetResource>(
    fleet: &K,
    object: &FleetObject,
    definitions: &Definitions,
) -> Result<Value, Problem> {
    let field = "spec.template.spec.chart";
    let Some(chart) = object.chart() else {
        return Err(Problem {
            reason: because::INVALID_SPEC,
            message: format!(
                "{field}.spec.chart: it must say which chart of the {} is meant",
                object.source.kind()
            ),
        });
    };
    let mut spec = chart.clone();
    let source = object.source.key(&object.owner);
    spec.insert("sourceRef".into(), json!({"kind": source.kind, "name": source.name}));
    if !spec.contains_key("interval")
        && let Some(interval) = object.template.pointer("/spec/interval")
    {
        spec.insert("interval".into(), interval.clone());
    }
    let metadata = object.template.pointer("/spec/chart/metadata").unwrap_or(&Value::Null);
    made(fleet, "HelmChart", spec, metadata, definitions, field)
}

fn made<K: FleetResource>(
    fleet: &K,
    kind: &str,
    mut spec: Map<String, Value>,
    metadata: &Value,
    definitions: &Definitions,
    field: &str,
) -> Result<Value, Problem> {
    let owner = convert::owner_of(fleet);
    if fleet.parts().suspend {
        spec.insert("suspend".into(), Value::Bool(true));
    }
    let given = |key: &str| metadata[key].as_object().cloned().unwrap_or_default();
    let (mut all_labels, mut all_annotations) = (given("labels"), given("annotations"));
    for (key, value) in [
        (labels::FLEET_KIND, owner.kind),
        (labels::FLEET_NAME, owner.name.clone()),
        (labels::FLEET_NAMESPACE, owner.namespace.clone()),
        (labels::FLEET_UID, owner.uid),
    ] {
        all_labels.insert(key.to_owned(), Value::String(value));
    }
    if let Some(at) = convert::requested_at(fleet) {
        all_annotations.insert(annotations::REQUESTED_AT.to_owned(), Value::String(at));
    }
    let mut object = json!({
        "apiVersion": nave_crds::source::API_VERSION,
        "kind": kind,
        "metadata": {"name": owner.name, "namespace": owner.namespace, "labels": all_labels},
        "spec": spec,
    });
    if !all_annotations.is_empty() {
        object["metadata"]["annotations"] = Value::Object(all_annotations);
    }
    definitions.check_one(kind, &object, field).map_err(|denial| Problem {
        reason: because::INVALID_SPEC,
        message: denial.to_string(),
    })?;
    Ok(object)
}

/// The key of what is made of a kind for a fleet object: it has the name of the fleet object.
pub(crate) fn key_of_made(owner: &OwnerKey, kind: &str) -> SourceKey {
    SourceKey {
        kind: kind.to_owned(),
        namespace: owner.namespace.clone(),
        name: owner.name.clone(),
    }
}

/// Why an object of this kind cannot be made: someone else has one of that name.
pub(crate) fn taken(ports: &Ports, owner: &OwnerKey, kind: &str) -> Option<Problem> {
    let found = find(ports, &key_of_made(owner, kind)).ok()??;
    (found.made_for.as_ref() != Some(&owner.uid)).then(|| Problem {
        reason: because::CONFLICT,
        message: format!(
            "{kind} {}/{} exists and was not made by this fleet object; use spec.source.ref, or another name",
            owner.namespace, owner.name
        ),
    })
}

/// Applies what is made for a fleet object. The answer is its generation afterwards.
pub(crate) async fn apply(ports: &Ports, owner: &OwnerKey, kind: &str, object: &Value) -> kube::Result<Option<i64>> {
    let parameters = PatchParams::apply(managers::FLEET).force().validation_strict();
    let applied = api(ports, owner, kind)
        .patch(&owner.name, &parameters, &Patch::Apply(object))
        .await?;
    Ok(applied.metadata.generation)
}

/// Deletes what was made for a fleet object, but for these kinds.
pub(crate) async fn delete_all_but(ports: &Ports, owner: &OwnerKey, keep: &[&str]) -> kube::Result<()> {
    for kind in MADE.into_iter().filter(|kind| !keep.contains(kind)) {
        let found = find(ports, &key_of_made(owner, kind)).ok().flatten();
        if found.is_none_or(|found| found.made_for.as_ref() != Some(&owner.uid)) {
            continue;
        }
        match api(ports, owner, kind)
            .delete(&owner.name, &DeleteParams::default())
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => drop(other?),
        }
    }
    Ok(())
}

fn api(ports: &Ports, owner: &OwnerKey, kind: &str) -> Api<DynamicObject> {
    let resource = match kind {
        "HelmRepository" => ApiResource::erase::<HelmRepository>(&()),
        "OCIRepository" => ApiResource::erase::<OCIRepository>(&()),
        "HelmChart" => ApiResource::erase::<HelmChart>(&()),
        _ => ApiResource::erase::<GitRepository>(&()),
    };
    Api::namespaced_with(ports.client.clone(), &owner.namespace, &resource)
}
