//! OCIRepository: observe, plan, act, report.

mod act;
mod plan;
mod status;

use nave_crds::OCIRepository;
use nave_oci::Registries;

use crate::{
    common::Common,
    failure::Failure,
    reconciler::{Done, Steps, Work},
};

/// What is particular to an OCIRepository.
pub(crate) struct OciRepositorySteps {
    pub registries: Registries,
}

impl Steps<OCIRepository> for OciRepositorySteps {
    fn is_ours(&self, _object: &OCIRepository) -> bool {
        true
    }

    async fn work(
        &self,
        common: &Common<OCIRepository>,
        object: &OCIRepository,
        work: &mut Work<OCIRepository>,
    ) -> Result<Done, Failure> {
        self.reconcile(common, object, work).await
    }
}
