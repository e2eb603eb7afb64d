//! What a hub brought to this cluster: Flux objects with a fleet owner, and what they applied.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams},
};
use nave_crds::labels;
use nave_object::{Gvk, ObjectId};
use serde_json::{Map, Value, json};

use crate::{
    api,
    connection::Connection,
    fields::{self, field, text},
    kinds::{EXTERNAL_ARTIFACT, GIT_REPOSITORY, HELM_RELEASE, HELM_REPOSITORY, KUSTOMIZATION, Kind, OCI_REPOSITORY},
};

/// Everything that carries a fleet owner.
#[derive(Debug, Default)]
pub struct FleetOwned {
    /// Kustomizations, those first on which no other depends; includes Kustomizations that were applied by one.
    pub kustomizations: Vec<DynamicObject>,
    /// HelmReleases.
    pub releases: Vec<DynamicObject>,
    /// Sources.
    pub sources: Vec<(&'static Kind, DynamicObject)>,
    /// Secrets, without their content.
    pub secrets: Vec<DynamicObject>,
}

/// One object in the inventory of a Kustomization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Group, version and kind.
    pub gvk: Gvk,
    /// The object.
    pub id: ObjectId,
}

impl FleetOwned {
    /// Looks in all namespaces.
    ///
    /// # Errors
    /// Whatever the API server answers.
    pub async fn survey(connection: &Connection) -> Result<FleetOwned> {
        let client = &connection.client;
        let owned = ListParams::default().labels(labels::FLEET_NAME);
        let mut survey = FleetOwned::default();
        for kind in [&GIT_REPOSITORY, &HELM_REPOSITORY, &OCI_REPOSITORY, &EXTERNAL_ARTIFACT] {
            let found = api::list_if_known(client, kind, None, &owned)
                .await?
                .unwrap_or_default();
            survey.sources.extend(found.into_iter().map(|source| (kind, source)));
        }
        let kustomizations = api::list_if_known(client, &KUSTOMIZATION, None, &owned)
            .await?
            .unwrap_or_default();
        survey.kustomizations = dependants_first(with_nested(connection, kustomizations).await?);
        survey.releases = api::list_if_known(client, &HELM_RELEASE, None, &owned)
            .await?
            .unwrap_or_default();
        let secrets: Api<DynamicObject> = Api::all_with(client.clone(), &secret_resource());
        let found = secrets
            .list_metadata(&owned)
            .await
            .context("listing secrets of the fleet")?;
        survey.secrets = found.items.into_iter().map(without_data).collect();
        Ok(survey)
    }

    /// What fleet objects are templates of.
    pub fn products(&self) -> impl Iterator<Item = (&'static Kind, &DynamicObject)> {
        let kustomizations = self.kustomizations.iter().map(|object| (&KUSTOMIZATION, object));
        kustomizations.chain(self.releases.iter().map(|object| (&HELM_RELEASE, object)))
    }

    /// How many objects were found.
    pub fn len(&self) -> usize {
        self.kustomizations.len() + self.releases.len() + self.sources.len() + self.secrets.len()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.kustomizations.is_empty() && self.releases.is_empty() && self.sources.is_empty() && self.secrets.is_empty()
    }
}

/// What kube needs to know of Secrets.
pub fn secret_resource() -> ApiResource {
    ApiResource::erase::<Secret>(&())
}

/// What a Kustomization or HelmRelease applied, as its inventory says.
///
/// # Errors
/// An entry that cannot be read.
pub fn inventory(kustomization: &DynamicObject) -> Result<Vec<Applied>> {
    fields::list(kustomization, "/status/inventory/entries")
        .iter()
        .map(|entry| {
            let id = ObjectId::parse_inventory_id(field(entry, "id"))
                .with_context(|| format!("reading the inventory of {}", fields::full_name(kustomization)))?;
            let gvk = Gvk {
                group: id.group.clone(),
                version: field(entry, "v").to_owned(),
                kind: id.kind.clone(),
            };
            Ok(Applied { gvk, id })
        })
        .collect()
}

/// Whether the objects of a Kustomization go with it.
pub fn deletes_its_objects(kustomization: &DynamicObject) -> bool {
    match text(kustomization, "/spec/deletionPolicy") {
        "Orphan" => false,
        "Delete" | "WaitForTermination" => true,
        _ => fields::flag(kustomization, "/spec/prune"),
    }
}

/// A merge patch that takes everything of the fleet off an object; None when there is nothing.
pub fn unlabel(object: &DynamicObject) -> Option<Value> {
    let nulls = |keys: &std::collections::BTreeMap<String, String>| -> Map<String, Value> {
        let ours = keys.keys().filter(|key| key.starts_with(labels::FLEET_PREFIX));
        ours.map(|key| (key.clone(), Value::Null)).collect()
    };
    let (labels, annotations) = (nulls(object.labels()), nulls(object.annotations()));
    if labels.is_empty() && annotations.is_empty() {
        return None;
    }
    Some(json!({"metadata": {"labels": labels, "annotations": annotations}}))
}

/// Kustomizations that stand in the inventory of others are of the fleet too.
async fn with_nested(connection: &Connection, found: Vec<DynamicObject>) -> Result<Vec<DynamicObject>> {
    let mut seen: BTreeSet<String> = found.iter().map(fields::full_name).collect();
    let mut all = Vec::new();
    let mut queue = found;
    while let Some(kustomization) = queue.pop() {
        for applied in inventory(&kustomization)? {
            let is_kustomization = applied.gvk.group == KUSTOMIZATION.group && applied.gvk.kind == KUSTOMIZATION.kind;
            if !is_kustomization || !seen.insert(format!("{}/{}", applied.id.namespace, applied.id.name)) {
                continue;
            }
            match api::get(
                &connection.client,
                &KUSTOMIZATION,
                &applied.id.namespace,
                &applied.id.name,
            )
            .await
            {
                Ok(nested) => queue.push(nested),
                Err(error) if api::api_code(&error).is_none() => {}
                Err(error) => return Err(error),
            }
        }
        all.push(kustomization);
    }
    Ok(all)
}

/// Those first on which no other of the list depends; a cycle ends the order and is taken as it comes.
fn dependants_first(mut all: Vec<DynamicObject>) -> Vec<DynamicObject> {
    all.sort_by_key(fields::full_name);
    let mut ordered = Vec::with_capacity(all.len());
    while !all.is_empty() {
        let wanted: BTreeSet<String> = all.iter().flat_map(depends_on).collect();
        let (free, rest): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|object| !wanted.contains(&fields::full_name(object)));
        if free.is_empty() {
            ordered.extend(rest);
            break;
        }
        ordered.extend(free);
        all = rest;
    }
    ordered
}

fn depends_on(object: &DynamicObject) -> Vec<String> {
    let own = object.namespace().unwrap_or_default();
    let dependencies = fields::list(object, "/spec/dependsOn").iter();
    dependencies
        .map(|dependency| match field(dependency, "namespace") {
            "" => format!("{own}/{}", field(dependency, "name")),
            namespace => format!("{namespace}/{}", field(dependency, "name")),
        })
        .collect()
}

fn without_data(secret: kube::api::PartialObjectMeta<DynamicObject>) -> DynamicObject {
    DynamicObject {
        types: None,
        metadata: secret.metadata,
        data: Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kustomization(name: &str, depends_on: &[&str], spec: Value) -> DynamicObject {
        let depends_on: Vec<Value> = depends_on.iter().map(|name| json!({"name": name})).collect();
        let mut spec = spec;
        spec["dependsOn"] = json!(depends_on);
        serde_json::from_value(json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": name, "namespace": "flux-system"}, "spec": spec
        }))
        .expect("an object")
    }

    #[test]
    fn dependants_go_before_what_they_stand_on() {
        let check = |list: &[(&str, &[&str])], want: &[&str]| {
            let all = list
                .iter()
                .map(|(name, depends_on)| kustomization(name, depends_on, json!({})))
                .collect();
            let order: Vec<String> = dependants_first(all).iter().map(ResourceExt::name_any).collect();
            assert_eq!(order, want);
        };
        check(&[("a", &[]), ("b", &["a"]), ("c", &["b", "a"])], &["c", "b", "a"]);
        check(&[("a", &["b"]), ("b", &["a"]), ("c", &["a"])], &["c", "a", "b"]);
        check(&[("a", &["elsewhere"])], &["a"]);
    }

    #[test]
    fn deletion_follows_the_policy() {
        let check = |spec: Value, deletes: bool| {
            assert_eq!(
                deletes_its_objects(&kustomization("a", &[], spec.clone())),
                deletes,
                "{spec}"
            );
        };
        check(json!({"prune": true}), true);
        check(json!({"prune": false}), false);
        check(json!({"prune": true, "deletionPolicy": "MirrorPrune"}), true);
        check(json!({"prune": true, "deletionPolicy": "Orphan"}), false);
        check(json!({"prune": false, "deletionPolicy": "Delete"}), true);
    }

    #[test]
    fn only_what_the_fleet_wrote_is_taken_off() {
        let mut object = kustomization("a", &[], json!({}));
        assert_eq!(unlabel(&object), None);
        object.labels_mut().insert("fleet.nave.dev/name".into(), "apps".into());
        object.labels_mut().insert("team".into(), "a".into());
        object.annotations_mut().insert("fleet.nave.dev/x".into(), "y".into());
        assert_eq!(
            unlabel(&object),
            Some(json!({"metadata": {
                "labels": {"fleet.nave.dev/name": null}, "annotations": {"fleet.nave.dev/x": null}}}))
        );
    }
}
