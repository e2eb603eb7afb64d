//! HelmRepository: observe, act, report. One of type oci stands for a registry and is never worked on.

mod act;
mod status;

use nave_chart_repo::Repositories;
use nave_crds::{HelmRepository, source::HelmRepositoryType};

use crate::{
    common::Common,
    failure::Failure,
    reconciler::{Done, Steps, Work},
};

/// What is particular to a HelmRepository.
pub(crate) struct HelmRepositorySteps {
    pub repositories: Repositories,
}

impl Steps<HelmRepository> for HelmRepositorySteps {
    fn is_ours(&self, _object: &HelmRepository) -> bool {
        true
    }

    fn is_static(&self, object: &HelmRepository) -> bool {
        object.spec.kind == Some(HelmRepositoryType::Oci)
    }

    async fn work(
        &self,
        common: &Common<HelmRepository>,
        object: &HelmRepository,
        work: &mut Work<HelmRepository>,
    ) -> Result<Done, Failure> {
        self.reconcile(common, object, work).await
    }
}

pub(crate) use act::access;
