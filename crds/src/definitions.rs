//! The definitions that an installation applies.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::json;

use crate::extensions::ArtifactGenerator;
use crate::fleet::{Cluster, FleetHelmRelease, FleetKustomization, HubState, JoinToken, RetirementLog};
use crate::helm::HelmRelease;
use crate::kustomize::Kustomization;
use crate::schema::{Finish, finish};
use crate::source::{Bucket, ExternalArtifact, GitRepository, HelmChart, HelmRepository, OCIRepository};

/// Every definition in the order of installation: Flux's, then the fleet's.
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut all = flux();
    all.extend(fleet());
    all
}

/// The definitions that a spoke or a lone cluster needs.
pub fn flux() -> Vec<CustomResourceDefinition> {
    let with_status_default = || Finish {
        spec_required: false,
        status_default: Some(json!({"observedGeneration": -1})),
        rules: vec![],
    };
    let plain = Finish {
        spec_required: false,
        status_default: None,
        rules: vec![],
    };
    vec![
        finish(GitRepository::crd(), &with_status_default()),
        finish(OCIRepository::crd(), &with_status_default()),
        finish(HelmRepository::crd(), &with_status_default()),
        finish(HelmChart::crd(), &with_status_default()),
        finish(Bucket::crd(), &with_status_default()),
        finish(ExternalArtifact::crd(), &plain),
        finish(ArtifactGenerator::crd(), &plain),
        finish(Kustomization::crd(), &with_status_default()),
        finish(HelmRelease::crd(), &with_status_default()),
    ]
}

/// The definitions that only the hub needs.
pub fn fleet() -> Vec<CustomResourceDefinition> {
    // Names of clusters and fleet objects become label values on spokes, and parts of other names.
    let short_name = || Finish {
        spec_required: true,
        status_default: None,
        rules: vec![json!({
            "rule": "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')",
            "message": "the name must be a DNS label of at most 63 characters: lower-case letters, digits and '-'",
        })],
    };
    let plain = || Finish {
        spec_required: true,
        status_default: None,
        rules: vec![],
    };
    let one_per_namespace = Finish {
        rules: vec![json!({
            "rule": format!("self.metadata.name == '{}'", RetirementLog::NAME),
            "message": format!("the only RetirementLog of a namespace is named {}", RetirementLog::NAME),
        })],
        ..plain()
    };
    vec![
        finish(Cluster::crd(), &short_name()),
        finish(JoinToken::crd(), &plain()),
        finish(FleetKustomization::crd(), &short_name()),
        finish(FleetHelmRelease::crd(), &short_name()),
        finish(HubState::crd(), &plain()),
        finish(RetirementLog::crd(), &one_per_namespace),
    ]
}
