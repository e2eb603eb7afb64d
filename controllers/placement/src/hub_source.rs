//! The source of a fleet object on the hub: made from the template, or referred to.

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use nave_crds::fleet::FleetSourceTemplate;
use nave_crds::meta::Artifact;
use nave_crds::reasons::fleet as because;
use nave_crds::{FleetKustomization, GitRepository, annotations, conditions, labels, managers};
use nave_placement::{OwnerKey, SourceKey};
use nave_runtime::Conditions;
use serde_json::{Map, Value, json};

use crate::convert;
use crate::ports::Ports;
use crate::status::Problem;
use crate::validate::Definitions;

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

/// The source that a fleet object refers to, as the shared watches have it.
pub(crate) fn observe(ports: &Ports, key: &SourceKey) -> SourceState {
    let missing = || SourceState {
        problem: Some(Problem {
            reason: because::SOURCE_NOT_FOUND,
            message: format!("{key} does not exist"),
        }),
        ..SourceState::default()
    };
    match key.kind.as_str() {
        "GitRepository" => {
            let Some(source) = ports.git_repositories.get(&key.namespace, &key.name) else {
                return missing();
            };
            let status = source.status.as_ref();
            state(
                key,
                status.and_then(|status| status.artifact.clone()),
                status.map_or(&[], |status| status.conditions.as_slice()),
                source.labels().get(labels::FLEET_UID).cloned(),
                source.metadata.generation,
            )
        }
        "ExternalArtifact" => {
            let Some(source) = ports.external_artifacts.get(&key.namespace, &key.name) else {
                return missing();
            };
            let status = source.status.as_ref();
            state(
                key,
                status.and_then(|status| status.artifact.clone()),
                status.map_or(&[], |status| status.conditions.as_slice()),
                source.labels().get(labels::FLEET_UID).cloned(),
                source.metadata.generation,
            )
        }
        kind => SourceState {
            problem: Some(Problem {
                reason: because::INVALID_SPEC,
                message: format!(
                    "spec.source.ref.kind {kind} is not supported by this version; use GitRepository or ExternalArtifact"
                ),
            }),
            ..SourceState::default()
        },
    }
}

fn state(
    key: &SourceKey,
    artifact: Option<Artifact>,
    conditions: &[nave_crds::Condition],
    made_for: Option<String>,
    generation: Option<i64>,
) -> SourceState {
    let failed = conditions
        .to_vec()
        .get_condition(conditions::READY)
        .filter(|ready| ready.status == "False")
        .map(|ready| format!("{key} is not ready: {}", ready.message));
    let problem = match (&artifact, failed) {
        (_, Some(message)) => Some(message),
        (None, None) => Some(format!("{key} has no artifact yet")),
        (Some(_), None) => None,
    };
    SourceState {
        artifact,
        problem: problem.map(|message| Problem {
            reason: because::SOURCE_NOT_READY,
            message,
        }),
        made_for,
        generation,
    }
}

/// Spec of the source that `spec.source.ref` names, where spokes are to fetch it themselves.
pub(crate) fn referenced_spec(ports: &Ports, fleet: &FleetKustomization) -> Option<Map<String, Value>> {
    let reference = fleet.spec.source.reference.as_ref()?;
    if reference.kind != "GitRepository" {
        return None;
    }
    let namespace = fleet.namespace().unwrap_or_default();
    let source = ports.git_repositories.get(&namespace, &reference.name)?;
    match serde_json::to_value(&source.spec) {
        Ok(Value::Object(spec)) => Some(spec),
        _ => None,
    }
}

/// The GitRepository that a fleet object's template makes on the hub.
pub(crate) fn desired(
    fleet: &FleetKustomization,
    template: &FleetSourceTemplate,
    definitions: &Definitions,
) -> Result<Value, Problem> {
    let owner = convert::owner_of(fleet);
    let mut spec = template.spec.clone();
    if fleet.spec.suspend {
        spec.insert("suspend".into(), Value::Bool(true));
    }
    let mut metadata = json!({
        "name": owner.name,
        "namespace": owner.namespace,
        "labels": {
            labels::FLEET_KIND: owner.kind,
            labels::FLEET_NAME: owner.name,
            labels::FLEET_NAMESPACE: owner.namespace,
            labels::FLEET_UID: owner.uid,
        },
    });
    if let Some(at) = convert::requested_at(fleet) {
        metadata["annotations"] = json!({annotations::REQUESTED_AT: at});
    }
    let object = json!({
        "apiVersion": nave_crds::source::API_VERSION,
        "kind": template.kind,
        "metadata": metadata,
        "spec": spec,
    });
    definitions
        .check_one(&template.kind, &object, "spec.source.template")
        .map_err(|denial| Problem {
            reason: because::INVALID_SPEC,
            message: denial.to_string(),
        })?;
    Ok(object)
}

/// Why the template's source cannot be made: someone else has one of that name.
pub(crate) fn taken(ports: &Ports, owner: &OwnerKey) -> Option<Problem> {
    let source = ports.git_repositories.get(&owner.namespace, &owner.name)?;
    (source.labels().get(labels::FLEET_UID) != Some(&owner.uid)).then(|| Problem {
        reason: because::CONFLICT,
        message: format!(
            "GitRepository {}/{} exists and was not made by this fleet object; use spec.source.ref, or another name",
            owner.namespace, owner.name
        ),
    })
}

/// Applies the template's source. The answer is its generation afterwards.
pub(crate) async fn apply(ports: &Ports, owner: &OwnerKey, object: &Value) -> kube::Result<Option<i64>> {
    let api: Api<GitRepository> = Api::namespaced(ports.client.clone(), &owner.namespace);
    let parameters = PatchParams::apply(managers::FLEET).force().validation_strict();
    let applied = api.patch(&owner.name, &parameters, &Patch::Apply(object)).await?;
    Ok(applied.metadata.generation)
}

/// Deletes the template's source, if it is ours.
pub(crate) async fn delete(ports: &Ports, owner: &OwnerKey) -> kube::Result<()> {
    let ours = ports
        .git_repositories
        .get(&owner.namespace, &owner.name)
        .is_some_and(|source| source.labels().get(labels::FLEET_UID) == Some(&owner.uid));
    if !ours {
        return Ok(());
    }
    let api: Api<GitRepository> = Api::namespaced(ports.client.clone(), &owner.namespace);
    match api.delete(&owner.name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(|_| ()),
    }
}
