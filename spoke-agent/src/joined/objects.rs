//! The Flux objects of an item in the agent's own cluster: applied, taken away, never taken from somebody else.

use anyhow::{Context, Result};
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
};
use nave_crds::{annotations, labels};
use nave_object::Object;
use nave_proto::wire::OwnerRef;
use serde_json::json;

use super::report::Refusal;

/// Field manager of what the agent writes for the hub.
pub const MANAGER: &str = "nave-agent";

/// The kinds that an item may leave in the cluster, in the order they are taken away: what reads a source first, so that
/// it still finds its source while it prunes.
const KINDS: [(&str, &str, &str); 7] = [
    ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization"),
    ("helm.toolkit.fluxcd.io", "v2", "HelmRelease"),
    ("source.toolkit.fluxcd.io", "v1", "ExternalArtifact"),
    ("source.toolkit.fluxcd.io", "v1", "GitRepository"),
    ("source.toolkit.fluxcd.io", "v1", "HelmRepository"),
    ("source.toolkit.fluxcd.io", "v1", "OCIRepository"),
    ("", "v1", "Secret"),
];

/// The objects of fleet owners in one cluster.
#[derive(Clone)]
pub struct FleetObjects {
    client: Client,
}

impl FleetObjects {
    /// Of the cluster behind `client`.
    pub fn new(client: Client) -> Self {
        FleetObjects { client }
    }

    /// Creates the namespace when it is missing and the workspace may make one.
    pub async fn ensure_namespace(&self, name: &str, admin: bool) -> Result<(), Refusal> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let failed = |error: kube::Error| Refusal {
            reason: "ApplyFailed",
            message: format!("namespace {name}: {error}"),
        };
        if let Some(existing) = api.get_metadata_opt(name).await.map_err(failed)? {
            return stays(&format!("namespace {name}"), &existing.metadata);
        }
        if !admin {
            return Err(Refusal {
                reason: "Denied",
                message: format!("namespace {name} does not exist, and the workspace may not make one"),
            });
        }
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        match api.create(&PostParams::default(), &namespace).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Applies one object for `owner`. An object of that name which somebody else made is left alone, unless it carries
    /// the annotation that allows it; `former` is the owner that the hub has replaced by this one, if any.
    pub async fn apply(&self, object: &Object, owner: &OwnerRef, former: Option<&str>) -> Result<(), Refusal> {
        let api = self.api(object);
        let failed = |error: kube::Error| Refusal {
            reason: "ApplyFailed",
            message: format!("{}: {error}", object.id()),
        };
        if let Some(existing) = api.get_metadata_opt(object.name()).await.map_err(failed)? {
            stays(&object.id().to_string(), &existing.metadata)?;
            let uid = existing.labels().get(labels::FLEET_UID).map(String::as_str);
            let ours = uid == Some(owner.uid.as_str()) || (uid.is_some() && uid == former);
            let offered = uid.is_none()
                && existing
                    .annotations()
                    .get(annotations::FLEET_ADOPT)
                    .is_some_and(|value| value == "true");
            if !ours && !offered {
                let holder = match (
                    existing.labels().get(labels::FLEET_NAMESPACE),
                    existing.labels().get(labels::FLEET_NAME),
                ) {
                    (Some(namespace), Some(name)) => format!("belongs to fleet object {namespace}/{name}"),
                    _ => format!(
                        "was not made by the fleet; annotate it with {}=true to hand it over",
                        annotations::FLEET_ADOPT
                    ),
                };
                return Err(Refusal {
                    reason: "Conflict",
                    message: format!("{} exists and {holder}", object.id()),
                });
            }
        }
        api.patch(
            object.name(),
            &PatchParams::apply(MANAGER).force(),
            &Patch::Apply(object.as_value()),
        )
        .await
        .map(drop)
        .map_err(failed)
    }

    /// Everything of the fleet object with `uid` that is not among `keep`, in the order it is to be taken away.
    pub async fn others_of(&self, uid: &str, keep: &[&Object]) -> Result<Vec<(ApiResource, DynamicObject)>> {
        let mut others = Vec::new();
        let selector = ListParams::default().labels(&format!("{}={uid}", labels::FLEET_UID));
        for (group, version, kind) in KINDS {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            let list = api
                .list_metadata(&selector)
                .await
                .with_context(|| format!("listing {kind} objects of the fleet"))?;
            for item in list {
                let kept = keep.iter().any(|object| {
                    object.kind() == kind
                        && object.name() == item.name_any()
                        && object.namespace() == item.namespace().as_deref()
                });
                if !kept {
                    let mut object = DynamicObject::new(&item.name_any(), &resource);
                    object.metadata = item.metadata;
                    others.push((resource.clone(), object));
                }
            }
        }
        Ok(others)
    }

    /// Deletes one object; gone already is fine. A Kustomization or HelmRelease whose objects are to stay is told so first.
    pub async fn delete(&self, resource: &ApiResource, object: &DynamicObject, orphan: bool) -> Result<()> {
        let namespace = object.namespace().unwrap_or_default();
        let name = object.name_any();
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &namespace, resource);
        if let Some(patch) = leave_objects(&resource.kind).filter(|_| orphan) {
            not_found_is_fine(
                api.patch(&name, &PatchParams::default(), &Patch::Merge(patch))
                    .await
                    .map(drop),
            )
            .with_context(|| format!("telling {}/{namespace}/{name} to leave its objects", resource.kind))?;
            if resource.kind == "HelmRelease" {
                self.delete_chart_of(&api, &namespace, &name).await?;
            }
        }
        not_found_is_fine(api.delete(&name, &DeleteParams::default()).await.map(drop))
            .with_context(|| format!("deleting {}/{namespace}/{name}", resource.kind))
    }

    /// Deletes the HelmChart of a HelmRelease that is suspended and therefore leaves it.
    async fn delete_chart_of(&self, releases: &Api<DynamicObject>, namespace: &str, name: &str) -> Result<()> {
        let reading = || format!("reading HelmRelease {namespace}/{name}");
        let Some(release) = releases.get_opt(name).await.with_context(reading)? else {
            return Ok(());
        };
        let chart = release
            .data
            .pointer("/status/helmChart")
            .and_then(|chart| chart.as_str());
        let Some((namespace, name)) = chart.and_then(|chart| chart.split_once('/')) else {
            return Ok(());
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("source.toolkit.fluxcd.io", "v1", "HelmChart"));
        let charts: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        not_found_is_fine(charts.delete(name, &DeleteParams::default()).await.map(drop))
            .with_context(|| format!("deleting HelmChart {namespace}/{name}"))
    }

    /// Whether an object of that kind and name is still there.
    pub async fn exists(&self, resource: &ApiResource, object: &DynamicObject) -> Result<bool> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &object.namespace().unwrap_or_default(), resource);
        Ok(api.get_metadata_opt(&object.name_any()).await?.is_some())
    }

    fn api(&self, object: &Object) -> Api<DynamicObject> {
        let gvk = object.gvk();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(&gvk.group, &gvk.version, &gvk.kind));
        Api::namespaced_with(self.client.clone(), object.namespace().unwrap_or_default(), &resource)
    }
}

/// An object that is being deleted is not one to apply onto: it takes the change and goes all the same, after its prune was
/// permitted perhaps, and nobody would make it again. It passes.
fn stays(what: &str, existing: &ObjectMeta) -> Result<(), Refusal> {
    match &existing.deletion_timestamp {
        None => Ok(()),
        Some(since) => Err(Refusal {
            reason: "Terminating",
            message: format!(
                "{what} is being deleted since {}; it is made again when it is gone",
                since.0
            ),
        }),
    }
}

/// The change after which the deletion of an object leaves what it applied.
fn leave_objects(kind: &str) -> Option<serde_json::Value> {
    match kind {
        "Kustomization" => Some(json!({"spec": {"deletionPolicy": "Orphan"}})),
        // A suspended one is deleted without uninstalling its release.
        "HelmRelease" => Some(json!({"spec": {"suspend": true}})),
        _ => None,
    }
}

fn not_found_is_fine(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use nave_bed::{Plane, PlaneOptions};

    #[test]
    fn what_is_being_deleted_is_not_taken_for_there() {
        let mut object = ObjectMeta::default();
        assert!(stays("Kustomization/a/b", &object).is_ok());
        object.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let refusal = stays("Kustomization/a/b", &object).unwrap_err();
        assert_eq!(refusal.reason, "Terminating");
        assert!(
            refusal.message.starts_with("Kustomization/a/b is being deleted"),
            "{}",
            refusal.message
        );
    }

    /// A Kustomization of the fleet object with that UID.
    fn product(namespace: &str, path: &str) -> Object {
        let object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": namespace, "labels": {labels::FLEET_UID: "u"}},
            "spec": {"interval": "1h", "prune": true, "path": path,
                "sourceRef": {"kind": "ExternalArtifact", "name": "apps"}},
        });
        Object::from_value(object).unwrap()
    }

    /// What stands in the cluster: UID and path.
    async fn stands(objects: &FleetObjects, object: &Object) -> Option<(String, String)> {
        let found = objects.api(object).get_opt(object.name()).await.unwrap()?;
        let path = found.data["spec"]["path"].as_str().unwrap_or_default().to_owned();
        Some((found.metadata.uid.unwrap_or_default(), path))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_applied_onto_what_is_going_and_a_move_leaves_nothing_behind() {
        nave_net::install_crypto_provider();
        let plane = Plane::start(PlaneOptions::named("agent-objects")).await.unwrap();
        crate::definitions::ensure(&plane.client(), true).await.unwrap();
        let objects = FleetObjects::new(plane.client());
        let owner = OwnerRef {
            uid: "u".into(),
            ..OwnerRef::default()
        };
        for namespace in ["here", "there"] {
            objects.ensure_namespace(namespace, true).await.unwrap();
        }
        let (first, changed) = (product("here", "./one"), product("here", "./two"));
        objects.apply(&first, &owner, None).await.unwrap();
        let api = objects.api(&first);
        let finalizers = async |finalizers: &[&str]| {
            let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
            api.patch("apps", &PatchParams::default(), &patch).await.unwrap();
        };
        finalizers(&["example.com/prunes"]).await;
        api.delete("apps", &DeleteParams::default()).await.unwrap();
        let before = stands(&objects, &first).await;
        let refusal = objects.apply(&changed, &owner, None).await.unwrap_err();
        assert_eq!(refusal.reason, "Terminating");
        assert_eq!(stands(&objects, &first).await, before, "it goes as it is");
        finalizers(&[]).await;
        objects.apply(&changed, &owner, None).await.unwrap();
        let after = stands(&objects, &changed).await;
        assert!(
            after != before && after.is_some_and(|(_, path)| path == "./two"),
            "it is made again"
        );

        let moved = product("there", "./two");
        objects.apply(&moved, &owner, None).await.unwrap();
        let others = objects.others_of("u", &[&moved]).await.unwrap();
        let names: Vec<_> = others
            .iter()
            .map(|(kind, one)| (kind.kind.as_str(), one.namespace()))
            .collect();
        assert_eq!(names, [("Kustomization", Some("here".to_owned()))]);
        for (resource, object) in &others {
            objects.delete(resource, object, false).await.unwrap();
        }
        assert_eq!(stands(&objects, &first).await, None);
        assert!(stands(&objects, &moved).await.is_some());
    }
}
