//! What a reconcile has to know before it decides: Secrets, included repositories, the stored file.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use nave_artifact::Digest;
use nave_crds::{
    Artifact, GitRepository,
    conditions::{FETCH_FAILED, INCLUDE_UNAVAILABLE, STORAGE_OPERATION_FAILED},
    meta::LocalRef,
    reasons::source as reasons,
};
use nave_net::SecretData;
use nave_store::Verdict;

use super::GitRepositoryReconciler;
use crate::failure::{Failure, Retry, chain};

/// What became of the artifact that the status names.
pub(crate) enum Stored {
    /// It is there, under the address that it is served at now.
    Intact(Artifact),
    /// There is none, or its file is gone.
    Missing,
    /// Its file is not what it was; it has been removed.
    Damaged(String),
}

impl GitRepositoryReconciler {
    /// The content of a Secret that the object names.
    pub(super) async fn secret(
        &self,
        namespace: &str,
        field: &str,
        reference: Option<&LocalRef>,
    ) -> Result<Option<(String, SecretData)>, Failure> {
        let Some(reference) = reference else { return Ok(None) };
        let name = format!("{namespace}/{}", reference.name);
        let failed =
            |message: String| Failure::new(Retry::Backoff, FETCH_FAILED, reasons::AUTHENTICATION_FAILED, message);
        let api: Api<Secret> = Api::namespaced(self.ports.client.clone(), namespace);
        let secret = api
            .get_opt(&reference.name)
            .await
            .map_err(|error| failed(format!("spec.{field}: reading secret '{name}': {}", chain(&error))))?
            .ok_or_else(|| failed(format!("spec.{field}: secret '{name}' not found")))?;
        let data = secret.data.unwrap_or_default();
        let data = data.into_iter().map(|(key, value)| (key, value.0)).collect();
        Ok(Some((name, data)))
    }

    /// The artifacts of included repositories, in the order of the spec.
    pub(super) fn included(&self, namespace: &str, object: &GitRepository) -> Result<Vec<Artifact>, Failure> {
        let unavailable = |reason, message| Failure::new(Retry::Waiting, INCLUDE_UNAVAILABLE, reason, message);
        object
            .spec
            .include
            .iter()
            .map(|include| {
                let name = &include.repository.name;
                let other = self.ports.watched.get(namespace, name).ok_or_else(|| {
                    let message = format!("could not get resource for include: GitRepository '{name}' not found");
                    unavailable(reasons::NOT_FOUND, message)
                })?;
                let artifact = other.status.as_ref().and_then(|status| status.artifact.clone());
                artifact.ok_or_else(|| {
                    let message = format!("no artifact available for include '{name}'");
                    unavailable(reasons::NO_ARTIFACT, message)
                })
            })
            .collect()
    }

    /// Looks at the file of the artifact that the status names.
    pub(super) async fn stored(&self, artifact: Option<&Artifact>) -> Result<Stored, Failure> {
        let Some(artifact) = artifact else {
            return Ok(Stored::Missing);
        };
        let Ok(digest) = artifact.digest.parse::<Digest>() else {
            // Written by another controller with an algorithm that is unknown here: make it anew.
            return Ok(Stored::Missing);
        };
        let failed = |error: nave_store::VerifyError| {
            let message = chain(&error);
            Failure::new(
                Retry::Backoff,
                STORAGE_OPERATION_FAILED,
                reasons::STAT_OPERATION_FAILED,
                message,
            )
        };
        let store = &self.ports.store;
        match store.verify(&artifact.path, &digest).await {
            Ok(Verdict::Intact) => {
                let mut artifact = artifact.clone();
                artifact.url = store.url(&artifact.path);
                Ok(Stored::Intact(artifact))
            }
            Ok(Verdict::Missing) | Err(nave_store::VerifyError::Place(_)) => Ok(Stored::Missing),
            Ok(Verdict::Mismatch { actual }) => {
                store.remove(&artifact.path).await.map_err(failed)?;
                Ok(Stored::Damaged(format!(
                    "artifact '{}' has digest {actual}, expected {digest}; it is removed and built again",
                    artifact.path
                )))
            }
            Err(error) => Err(failed(error)),
        }
    }
}
