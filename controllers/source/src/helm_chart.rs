//! HelmChart: observe, plan, act, report.

mod act;
mod fetch;
mod helm_ignore;
mod package;
mod plan;
mod status;
mod triggers;

use nave_chart_repo::Repositories;
use nave_crds::{Bucket, GitRepository, HelmChart, HelmRepository};
use nave_oci::Registries;
use nave_runtime::Watched;

use crate::{
    common::Common,
    failure::Failure,
    reconciler::{Done, Steps, Work},
};

pub(crate) use package::merge as merge_maps;
pub(crate) use triggers::triggers;

/// What is particular to a HelmChart.
pub(crate) struct HelmChartSteps {
    pub registries: Registries,
    pub repositories: Repositories,
    pub git_repositories: Watched<GitRepository>,
    pub helm_repositories: Watched<HelmRepository>,
    pub buckets: Option<Watched<Bucket>>,
}

impl Steps<HelmChart> for HelmChartSteps {
    fn is_ours(&self, _object: &HelmChart) -> bool {
        true
    }

    async fn work(
        &self,
        common: &Common<HelmChart>,
        object: &HelmChart,
        work: &mut Work<HelmChart>,
    ) -> Result<Done, Failure> {
        self.reconcile(common, object, work).await
    }
}
