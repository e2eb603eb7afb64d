//! What a reconcile has to know before it decides, beside Secrets and the stored file: included repositories.

use nave_crds::{Artifact, GitRepository, conditions::INCLUDE_UNAVAILABLE, reasons::source as reasons};

use super::GitRepositorySteps;
use crate::failure::{Failure, Retry};

impl GitRepositorySteps {
    /// The artifacts of included repositories, in the order of the spec.
    pub(super) fn included(&self, namespace: &str, object: &GitRepository) -> Result<Vec<Artifact>, Failure> {
        let unavailable = |reason, message| Failure::new(Retry::Waiting, INCLUDE_UNAVAILABLE, reason, message);
        object
            .spec
            .include
            .iter()
            .map(|include| {
                let name = &include.repository.name;
                let other = self.watched.get(namespace, name).ok_or_else(|| {
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
}
