//! Events: what people and notification receivers are told.

use std::collections::BTreeMap;

use nave_crds::{
    annotations::{HELM_APP_VERSION, HELM_OCI_DIGEST, HELM_REVISION, HELM_TOKEN},
    helm::HelmRelease,
};
use nave_release::Snapshot;
use nave_runtime::{EventRecorder, Severity};

/// What an event is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub chart_version: String,
    pub config_digest: String,
    pub app_version: String,
    pub oci_digest: String,
}

impl About {
    pub fn snapshot(snapshot: &Snapshot) -> About {
        About {
            chart_version: snapshot.chart_version.clone(),
            config_digest: snapshot.config_digest.clone(),
            app_version: snapshot.app_version.clone(),
            oci_digest: snapshot.oci_digest.clone(),
        }
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        [
            (HELM_REVISION, &self.chart_version),
            (HELM_TOKEN, &self.config_digest),
            (HELM_APP_VERSION, &self.app_version),
            (HELM_OCI_DIGEST, &self.oci_digest),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect()
    }
}

/// Records events about one object.
#[derive(Clone, Copy)]
pub(crate) struct Reporter<'a> {
    pub events: &'a EventRecorder,
    pub object: &'a HelmRelease,
}

impl Reporter<'_> {
    pub fn info(&self, reason: &str, message: &str, about: &About) {
        self.record(Severity::Info, reason, message, about);
    }

    pub fn warning(&self, reason: &str, message: &str, about: &About) {
        self.record(Severity::Error, reason, message, about);
    }

    fn record(&self, severity: Severity, reason: &str, message: &str, about: &About) {
        self.events
            .record_about(self.object, severity, reason, message, about.metadata());
    }
}
