//! Objects of any kind of source, as JSON.

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use nave_artifact::{FileTree, Limits, unpack};
use nave_bed::eventually;
use serde_json::{Value, json};

use crate::stage::{DEADLINE, Stage};

impl Stage {
    pub fn objects(&self, kind: &str) -> Api<DynamicObject> {
        let plural = match kind {
            "OCIRepository" => "ocirepositories",
            "HelmRepository" => "helmrepositories",
            "HelmChart" => "helmcharts",
            "Bucket" => "buckets",
            "ExternalArtifact" => "externalartifacts",
            "ArtifactGenerator" => "artifactgenerators",
            _ => "gitrepositories",
        };
        let kind = match kind {
            "ArtifactGenerator" => GroupVersionKind::gvk("source.extensions.fluxcd.io", "v1beta1", kind),
            _ => GroupVersionKind::gvk("source.toolkit.fluxcd.io", "v1", kind),
        };
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Creates or changes an object.
    pub async fn apply_object(&self, kind: &str, name: &str, spec: Value) -> Result<()> {
        let object = json!({
            "apiVersion": match kind {
                "ArtifactGenerator" => nave_crds::extensions::API_VERSION,
                _ => nave_crds::source::API_VERSION,
            },
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        });
        let parameters = PatchParams::apply("test").force();
        self.objects(kind)
            .patch(name, &parameters, &Patch::Apply(object))
            .await?;
        Ok(())
    }

    /// Asks for a reconcile, as `flux reconcile` does.
    pub async fn request(&self, kind: &str, name: &str, when: &str) -> Result<()> {
        let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": when}}});
        self.objects(kind)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// Asks for a reconcile and waits until it was handled.
    pub async fn reconcile(&self, kind: &str, name: &str, when: &str) -> Result<Value> {
        self.request(kind, name, when).await?;
        self.wait_object(kind, name, "handled", |object| {
            object["status"]["lastHandledReconcileAt"] == when
        })
        .await
    }

    pub async fn object(&self, kind: &str, name: &str) -> Result<Value> {
        Ok(serde_json::to_value(self.objects(kind).get(name).await?)?)
    }

    pub async fn wait_object(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        test: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        eventually(DEADLINE, &format!("{kind} {name}: {what}"), || async {
            let object = self.object(kind, name).await?;
            if test(&object) {
                Ok(object)
            } else {
                Err(anyhow!("status is {}", object["status"]))
            }
        })
        .await
    }

    /// Waits for `Ready=True` at the object's generation, and gives its status.
    pub async fn ready_object(&self, kind: &str, name: &str, revision: &str) -> Result<Value> {
        let object = self
            .wait_object(kind, name, &format!("ready at {revision}"), |object| {
                let status = &object["status"];
                condition(status, "Ready").is_some_and(|ready| ready["status"] == "True")
                    && status["observedGeneration"] == object["metadata"]["generation"]
                    && status["artifact"]["revision"] == revision
            })
            .await?;
        Ok(object["status"].clone())
    }

    /// Waits for `Ready=False` with the reason at the object's generation, and gives the message.
    pub async fn failed_object(&self, kind: &str, name: &str, reason: &str) -> Result<String> {
        let object = self
            .wait_object(kind, name, &format!("failed with {reason}"), |object| {
                condition(&object["status"], "Ready").is_some_and(|ready| {
                    ready["status"] == "False"
                        && ready["reason"] == reason
                        && ready["observedGeneration"] == object["metadata"]["generation"]
                })
            })
            .await?;
        let ready = condition(&object["status"], "Ready").context("there is a condition Ready")?;
        Ok(ready["message"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits for `Ready=False` with a message that contains `part`.
    pub async fn failed_saying(&self, kind: &str, name: &str, part: &str) -> Result<String> {
        let object = self
            .wait_object(kind, name, &format!("failed, saying {part:?}"), |object| {
                condition(&object["status"], "Ready").is_some_and(|ready| {
                    ready["status"] == "False" && ready["message"].as_str().is_some_and(|text| text.contains(part))
                })
            })
            .await?;
        let ready = condition(&object["status"], "Ready").context("there is a condition Ready")?;
        Ok(ready["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// The bytes of an artifact as another process downloads them, checked.
    pub async fn fetch(&self, status: &Value) -> Result<Vec<u8>> {
        let artifact = &status["artifact"];
        let url = artifact["url"].as_str().context("there is an artifact")?;
        let bytes = reqwest::get(url).await?.error_for_status()?.bytes().await?.to_vec();
        assert_eq!(
            (
                json!(nave_artifact::Digest::sha256(&bytes).to_string()),
                json!(bytes.len())
            ),
            (artifact["digest"].clone(), artifact["size"].clone())
        );
        let latest = status["url"]
            .as_str()
            .context("there is a link to the latest artifact")?;
        let linked = reqwest::get(latest).await?.error_for_status()?.bytes().await?;
        assert!(linked == bytes, "the link leads to something else");
        Ok(bytes)
    }

    pub async fn fetch_tree(&self, status: &Value) -> Result<FileTree> {
        Ok(unpack(self.fetch(status).await?.as_slice(), &Limits::default())?)
    }

    /// A Secret with credentials for a registry, as `kubectl create secret docker-registry` makes it.
    pub async fn docker_secret(&self, name: &str, registry: &str, user: &str, password: &str) -> Result<()> {
        let config = json!({"auths": {registry: {"username": user, "password": password}}});
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": name},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": config.to_string()},
        }))?;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let _ = api.delete(name, &DeleteParams::default()).await; // the first time there is none
        api.create(&PostParams::default(), &secret).await?;
        Ok(())
    }

    pub async fn service_account(&self, name: &str, pull_secret: &str) -> Result<()> {
        let account: ServiceAccount = serde_json::from_value(json!({
            "metadata": {"name": name},
            "imagePullSecrets": [{"name": pull_secret}],
        }))?;
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        api.create(&PostParams::default(), &account).await?;
        Ok(())
    }

    pub async fn has_finalizer(&self, kind: &str, name: &str) -> Result<bool> {
        Ok(!self.objects(kind).get(name).await?.finalizers().is_empty())
    }
}

pub fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)
}
