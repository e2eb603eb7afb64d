//! Kinds of Flux that verbs look at without a table of their own.

use crate::kinds::{self, Home, Kind};

/// A Helm release.
pub static HELM_RELEASE: Kind = flux("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases");

static BUCKET: Kind = flux("source.toolkit.fluxcd.io", "v1", "Bucket", "buckets");
static ALERT: Kind = flux("notification.toolkit.fluxcd.io", "v1beta3", "Alert", "alerts");
static PROVIDER: Kind = flux("notification.toolkit.fluxcd.io", "v1beta3", "Provider", "providers");
static RECEIVER: Kind = flux("notification.toolkit.fluxcd.io", "v1", "Receiver", "receivers");
static IMAGE_UPDATE: Kind = flux(
    "image.toolkit.fluxcd.io",
    "v1",
    "ImageUpdateAutomation",
    "imageupdateautomations",
);
static IMAGE_POLICY: Kind = flux("image.toolkit.fluxcd.io", "v1", "ImagePolicy", "imagepolicies");
static IMAGE_REPOSITORY: Kind = flux("image.toolkit.fluxcd.io", "v1", "ImageRepository", "imagerepositories");

/// Every kind that Flux reconciles, in the order in which `flux stats` prints them.
pub static RECONCILED: [&Kind; 13] = [
    &kinds::GIT_REPOSITORY,
    &kinds::OCI_REPOSITORY,
    &kinds::HELM_REPOSITORY,
    &kinds::HELM_CHART,
    &BUCKET,
    &kinds::KUSTOMIZATION,
    &HELM_RELEASE,
    &ALERT,
    &PROVIDER,
    &RECEIVER,
    &IMAGE_UPDATE,
    &IMAGE_POLICY,
    &IMAGE_REPOSITORY,
];

const fn flux(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind {
        group,
        version,
        kind,
        plural,
        word: plural,
        home: Home::Flux,
    }
}
