//! What wakes a HelmRelease besides its own changes: its source, its dependencies, its ConfigMaps and Secrets, and the
//! end of its job.

use std::fmt::Debug;

use kube::{Client, Resource};
use nave_crds::helm::{HelmRelease, ValuesKind};
use nave_runtime::{ConfigKind, Tasks, Wakes, Watched};
use serde::de::DeserializeOwned;

use crate::{
    chart_object,
    depends::Key,
    sources::{Source, version_of},
};

/// Wakes HelmReleases.
pub(crate) type Triggers = Wakes<HelmRelease>;

/// Flux's default: only what carries the label is followed.
const ONLY_LABELLED: &str = "reconcile.fluxcd.io/watch=Enabled";
/// What we follow then: every object that a HelmRelease names. Helm's own records change often and are named by nobody.
const NOT_HELM: &str = "owner!=helm";

/// Wakes the HelmReleases of a source whose artifact, or whose fitness for use, changes.
pub(crate) fn watch_sources<S>(
    triggers: &Triggers,
    sources: &Watched<S>,
    releases: &Watched<HelmRelease>,
    tasks: &Tasks,
) where
    S: Source + Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let wants = |release: &HelmRelease, source: &Key, _: &_| refers_to(release, S::KIND, source);
    triggers.watch_sources(sources, version_of, releases, wants, tasks);
}

/// Wakes the HelmReleases that read a ConfigMap or Secret when it changes. Flux waits for the next interval unless the
/// object carries a label; a selector other than that one is obeyed.
pub(crate) fn watch_configs(
    triggers: &Triggers,
    client: &Client,
    namespace: Option<&str>,
    selector: &str,
    releases: &Watched<HelmRelease>,
    tasks: &Tasks,
) {
    let selector = match selector {
        ONLY_LABELLED => NOT_HELM,
        given => given,
    };
    triggers.watch_configs(client, namespace, selector, releases, reads_config, tasks);
}

fn refers_to(release: &HelmRelease, kind: &str, source: &Key) -> bool {
    let own = release.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(template) = &release.spec.chart {
        return kind == "HelmChart" && chart_object::key_of(release, template) == *source;
    }
    release.spec.chart_ref.as_ref().is_some_and(|reference| {
        let namespace = match reference.namespace.as_str() {
            "" => own,
            given => given,
        };
        reference.kind == kind && reference.name == source.1 && namespace == source.0
    })
}

fn reads_config(release: &HelmRelease, kind: ConfigKind, (namespace, name): &Key) -> bool {
    if release.metadata.namespace.as_deref() != Some(namespace) {
        return false;
    }
    let spec = &release.spec;
    let is_kind = |given: ValuesKind| match given {
        ValuesKind::ConfigMap => kind == ConfigKind::ConfigMap,
        ValuesKind::Secret => kind == ConfigKind::Secret,
    };
    let values = spec
        .values_from
        .iter()
        .any(|reference| is_kind(reference.kind) && reference.name == *name);
    let kube_config = spec.kube_config.as_ref();
    let of_cluster = match kind {
        ConfigKind::Secret => kube_config
            .and_then(|reference| reference.secret_ref.as_ref())
            .is_some_and(|reference| reference.name == *name),
        ConfigKind::ConfigMap => kube_config
            .and_then(|reference| reference.config_map_ref.as_ref())
            .is_some_and(|reference| reference.name == *name),
    };
    values || of_cluster
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn release(spec: Value) -> HelmRelease {
        serde_json::from_value(json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "x", "namespace": "n"}, "spec": spec}))
        .expect("it is complete")
    }

    #[test]
    fn sources_and_configs_wake_who_refers_to_them() {
        let key = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        let by_reference = release(
            json!({"interval": "1m", "chartRef": {"kind": "OCIRepository", "name": "s"},
            "valuesFrom": [{"kind": "ConfigMap", "name": "v"}], "kubeConfig": {"secretRef": {"name": "k"}}}),
        );
        assert!(refers_to(&by_reference, "OCIRepository", &key("n", "s")));
        assert!(!refers_to(&by_reference, "HelmChart", &key("n", "s")));
        assert!(!refers_to(&by_reference, "OCIRepository", &key("m", "s")));
        assert!(reads_config(&by_reference, ConfigKind::ConfigMap, &key("n", "v")));
        assert!(!reads_config(&by_reference, ConfigKind::Secret, &key("n", "v")));
        assert!(reads_config(&by_reference, ConfigKind::Secret, &key("n", "k")));
        let by_template = release(json!({"interval": "1m", "chart": {"spec": {"chart": "c",
            "sourceRef": {"kind": "HelmRepository", "name": "r", "namespace": "m"}}}}));
        assert!(refers_to(&by_template, "HelmChart", &key("m", "n-x")));
    }
}
