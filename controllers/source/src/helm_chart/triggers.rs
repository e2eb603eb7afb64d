//! A new revision of a source wakes the charts that come from it.

use futures::{StreamExt, stream, stream::BoxStream};
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use nave_crds::{GitRepository, HelmChart};
use nave_runtime::Watched;

use crate::{
    run::Watches,
    source::{Source, SourceStatus},
};

/// The charts to look at now.
pub(crate) fn triggers(
    git_repositories: &Watched<GitRepository>,
    watches: &Watches,
) -> BoxStream<'static, ObjectRef<HelmChart>> {
    let charts = watches.helm_charts.clone();
    let by_repository = watches
        .helm_repositories
        .changes()
        .flat_map(move |source| stream::iter(concerned(&charts, source.as_ref())));
    let charts = watches.helm_charts.clone();
    let by_git = git_repositories
        .changes()
        .flat_map(move |source| stream::iter(concerned(&charts, source.as_ref())));
    let charts = watches.helm_charts.clone();
    let changes = watches.buckets.as_ref().map(Watched::changes);
    let by_bucket = stream::iter(changes)
        .flatten()
        .flat_map(move |source| stream::iter(concerned(&charts, source.as_ref())));
    let by_folder = stream::select(by_git, by_bucket);
    // A stream that ended would end the controller.
    stream::select(by_repository, by_folder)
        .chain(stream::pending())
        .boxed()
}

fn concerned<K: Source>(charts: &Watched<HelmChart>, source: &K) -> Vec<ObjectRef<HelmChart>> {
    let Some(artifact) = source.status().and_then(SourceStatus::artifact) else {
        return Vec::new();
    };
    charts
        .store()
        .state()
        .iter()
        .filter(|chart| is_concerned(chart, source, &artifact.revision))
        .map(|chart| ObjectRef::from_obj(chart.as_ref()))
        .collect()
}

fn is_concerned<K: Source>(chart: &HelmChart, source: &K, revision: &str) -> bool {
    let reference = &chart.spec.source_ref;
    let seen = chart
        .status
        .as_ref()
        .map_or("", |status| status.observed_source_artifact_revision.as_str());
    reference.kind == K::kind(&())
        && reference.name == source.name_any()
        && chart.namespace() == source.namespace()
        && seen != revision
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_new_revision_of_the_own_source_wakes() {
        let chart = |namespace: &str, kind: &str, seen: &str| -> HelmChart {
            serde_json::from_value(json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart",
                "metadata": {"name": "c", "namespace": namespace},
                "spec": {"chart": "app", "interval": "1m", "sourceRef": {"kind": kind, "name": "s"}},
                "status": {"observedSourceArtifactRevision": seen},
            }))
            .unwrap()
        };
        let source: GitRepository = serde_json::from_value(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "s", "namespace": "n"},
            "spec": {"url": "https://h/a", "interval": "1m"},
        }))
        .unwrap();
        assert!(is_concerned(&chart("n", "GitRepository", ""), &source, "r"));
        assert!(!is_concerned(&chart("n", "GitRepository", "r"), &source, "r"));
        assert!(!is_concerned(&chart("m", "GitRepository", ""), &source, "r"));
        assert!(!is_concerned(&chart("n", "HelmRepository", ""), &source, "r"));
    }
}
