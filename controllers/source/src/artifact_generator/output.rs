//! The ExternalArtifacts of a generator: writing them, and removing those that nobody wants any more.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
};
use nave_crds::{
    Artifact, ArtifactGenerator, ExternalArtifact, conditions::READY, extensions, extensions::GeneratedArtifact,
    labels, managers, reasons, source,
};
use nave_runtime::{Conditions, Status, conditions::whole_seconds};
use nave_store::{Owner, Store};
use serde_json::json;

use super::pattern::Request;
use crate::failure::chain;

/// Applies the ExternalArtifact of `request`, and says in its status what is stored. What is there already is not written
/// again, so that nobody is woken for nothing.
pub(crate) async fn publish(
    client: &Client,
    object: &ArtifactGenerator,
    request: &Request,
    artifact: Artifact,
) -> Result<(), String> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), &request.artifact.name);
    let api: Api<ExternalArtifact> = Api::namespaced(client.clone(), &namespace);
    let failed =
        |what: &str, error: kube::Error| format!("{what} ExternalArtifact {namespace}/{name}: {}", chain(&error));
    let common = object.spec.common_metadata.clone().unwrap_or_default();
    let mut all = common.labels;
    all.extend(request.labels.clone());
    all.insert(labels::MANAGED_BY.to_owned(), managers::WATCHER.to_owned());
    all.insert(labels::GENERATOR.to_owned(), object.uid().unwrap_or_default());
    let mut wanted = json!({
        "apiVersion": source::API_VERSION,
        "kind": "ExternalArtifact",
        "metadata": {"name": name, "namespace": namespace, "labels": all},
        "spec": {"sourceRef": {
            "apiVersion": extensions::API_VERSION,
            "kind": ArtifactGenerator::kind(&()),
            "name": object.name_any(),
            "namespace": namespace,
        }},
    });
    if !common.annotations.is_empty() {
        wanted["metadata"]["annotations"] = json!(common.annotations);
    }
    let parameters = PatchParams::apply(managers::WATCHER).force();
    let applied = api
        .patch(name, &parameters, &Patch::Apply(wanted))
        .await
        .map_err(|error| failed("applying", error))?;

    let before = applied.status.clone().unwrap_or_default();
    let now = whole_seconds(Timestamp::now());
    let mut artifact = Artifact {
        last_update_time: Time(now),
        ..artifact
    };
    if let Some(known) = &before.artifact {
        let then = Artifact {
            last_update_time: known.last_update_time.clone(),
            ..artifact.clone()
        };
        if then == *known {
            artifact = then;
        }
    }
    let mut after = before.clone();
    after.artifact = Some(artifact);
    let generation = applied.metadata.generation.unwrap_or_default();
    after.conditions.set(
        READY,
        Status::True,
        reasons::SUCCEEDED,
        "Artifact is ready",
        generation,
        now,
    );
    if after == before {
        return Ok(());
    }
    let status = json!({
        "apiVersion": source::API_VERSION,
        "kind": "ExternalArtifact",
        "metadata": {"name": name, "namespace": namespace},
        "status": after,
    });
    api.patch_status(name, &parameters, &Patch::Apply(status))
        .await
        .map_err(|error| failed("writing the status of", error))?;
    Ok(())
}

/// The ExternalArtifacts that carry the generator's label, whatever its inventory says.
pub(crate) async fn ours(client: &Client, object: &ArtifactGenerator) -> Result<Vec<ExternalArtifact>, kube::Error> {
    let api: Api<ExternalArtifact> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let label = format!("{}={}", labels::GENERATOR, object.uid().unwrap_or_default());
    Ok(api.list(&ListParams::default().labels(&label)).await?.items)
}

/// Whether the ExternalArtifacts in the cluster are those of the inventory.
pub(crate) fn are_there(found: &[ExternalArtifact], inventory: &[GeneratedArtifact]) -> bool {
    let is_listed = |external: &ExternalArtifact| {
        let digest = external
            .status
            .as_ref()
            .and_then(|status| status.artifact.as_ref())
            .map(|artifact| artifact.digest.as_str());
        inventory
            .iter()
            .any(|known| known.name == external.name_any() && Some(known.digest.as_str()) == digest)
    };
    found.len() == inventory.len() && found.iter().all(is_listed)
}

/// Removes what was generated: the object first, as long as it is still ours, then its files.
pub(crate) async fn withdraw(
    client: &Client,
    store: &Store,
    object: &ArtifactGenerator,
    namespace: &str,
    name: &str,
) -> Result<(), String> {
    let failed = |problem: String| format!("removing ExternalArtifact {namespace}/{name}: {problem}");
    let api: Api<ExternalArtifact> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(|error| failed(chain(&error)))?;
    let uid = object.uid().unwrap_or_default();
    if let Some(found) = found {
        if found.labels().get(labels::GENERATOR) != Some(&uid) {
            // Somebody else makes it now; the files are theirs too.
            return Ok(());
        }
        // Not one that somebody has put in its place meanwhile.
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: found.uid(),
                resource_version: found.resource_version(),
            }),
            ..DeleteParams::default()
        };
        match api.delete(name, &parameters).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(failed(chain(&error))),
        }
    }
    match Owner::new(&ExternalArtifact::kind(&()), namespace, name) {
        Ok(owner) => store
            .remove_all(&owner)
            .await
            .map_err(|error| failed(format!("its files: {error}"))),
        // What cannot be named was never stored.
        Err(_) => Ok(()),
    }
}
