//! The Secrets that a fleet object sends along.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use nave_crds::fleet::SecretUse;
use nave_crds::labels;
use nave_crds::reasons::fleet as because;
use nave_object::Object;
use nave_placement::{OwnerKey, SecretRequest};
use nave_runtime::Watched;
use serde_json::json;
use std::sync::Arc;

use crate::ports::{Ports, SensitiveObject, is_distributable};
use crate::status::Problem;

/// The Secrets of one fleet object, and which life and version of them: never their content.
#[derive(Clone, Default)]
pub(crate) struct Listed {
    found: Vec<Arc<Secret>>,
}

impl Listed {
    /// Names, UIDs and versions; equal stamps mean equal content.
    pub fn stamp(&self) -> Vec<String> {
        self.found
            .iter()
            .map(|secret| {
                format!(
                    "{}/{}/{}",
                    secret.name_any(),
                    secret.uid().unwrap_or_default(),
                    secret.resource_version().unwrap_or_default()
                )
            })
            .collect()
    }

    /// The Secrets as they go to a spoke.
    pub fn objects(&self, requests: &[SecretRequest], owner: &OwnerKey) -> Vec<SensitiveObject> {
        requests
            .iter()
            .filter_map(|request| {
                let secret = self.found.iter().find(|secret| secret.name_any() == request.name)?;
                let mut object = json!({
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {
                        "name": request.name,
                        "namespace": request.namespace,
                        "labels": {
                            labels::FLEET_KIND: owner.kind,
                            labels::FLEET_NAME: owner.name,
                            labels::FLEET_NAMESPACE: owner.namespace,
                            labels::FLEET_UID: owner.uid,
                        },
                    },
                    "type": secret.type_.as_deref().unwrap_or("Opaque"),
                    "data": secret.data,
                });
                if secret.data.is_none() {
                    object["data"] = json!({});
                }
                let object = Object::from_value(object).expect("it has kind and name");
                Some(SensitiveObject::new(object))
            })
            .collect()
    }
}

/// The Secrets that are listed. `watched` holds only those with the label.
pub(crate) fn observe(watched: &Watched<Secret>, namespace: &str, uses: &[SecretUse]) -> (Listed, Vec<SecretUse>) {
    let mut listed = Listed::default();
    let mut missing = Vec::new();
    for one in uses {
        match watched.get(namespace, &one.name) {
            Some(secret) if is_distributable(&secret) => listed.found.push(secret),
            _ => missing.push(one.clone()),
        }
    }
    (listed, missing)
}

/// Why Secrets are missing: looks at their metadata once, to tell a missing one from one without label.
pub(crate) async fn explain(ports: &Ports, namespace: &str, missing: &[SecretUse]) -> kube::Result<Option<Problem>> {
    let api: Api<Secret> = Api::namespaced(ports.client.clone(), namespace);
    for one in missing {
        let found = api.get_metadata_opt(&one.name).await?;
        match found {
            None if one.optional => {}
            None => {
                return Ok(Some(Problem {
                    reason: because::SECRET_NOT_FOUND,
                    message: format!("spec.secrets: Secret {namespace}/{} does not exist", one.name),
                }));
            }
            // Optional means that it may be missing, not that it may be there without consent.
            Some(_) => {
                return Ok(Some(Problem {
                    reason: because::SECRET_NOT_DISTRIBUTABLE,
                    message: format!(
                        "spec.secrets: Secret {namespace}/{} lacks the label {}: \"true\", without which it does not leave the hub",
                        one.name,
                        labels::FLEET_DISTRIBUTE
                    ),
                }));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_copied_whole_and_shows_nothing() {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "team", "uid": "u", "resourceVersion": "7",
                "labels": {labels::FLEET_DISTRIBUTE: "true"}},
            "type": "kubernetes.io/basic-auth",
            "data": {"password": "Y2FuYXJ5"},
        }))
        .expect("readable");
        assert!(is_distributable(&secret));
        let listed = Listed {
            found: vec![Arc::new(secret)],
        };
        assert_eq!(listed.stamp(), ["db/u/7"]);
        let owner = OwnerKey {
            kind: "FleetKustomization".into(),
            namespace: "team".into(),
            name: "apps".into(),
            uid: "f".into(),
        };
        let request = SecretRequest {
            name: "db".into(),
            namespace: "spoke".into(),
            optional: false,
        };
        let objects = listed.objects(&[request], &owner);
        assert_eq!(format!("{objects:?}"), "[Secret/spoke/db (content hidden)]");
        let object = objects[0].expose().as_value();
        assert_eq!(object["data"]["password"], "Y2FuYXJ5");
        assert_eq!(object["type"], "kubernetes.io/basic-auth");
        assert_eq!(object["metadata"]["labels"][labels::FLEET_UID], "f");
        // The consent is for leaving the hub, not for leaving the spoke.
        assert_eq!(object["metadata"]["labels"].get(labels::FLEET_DISTRIBUTE), None);
    }
}
