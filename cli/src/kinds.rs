//! The kinds that verbs work on.

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};

/// What the command line has to know of a kind.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group.
    pub group: &'static str,
    /// Version that is asked for.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Plural, in lower case, as in addresses.
    pub plural: &'static str,
    /// The kind as people type it after a verb.
    pub word: &'static str,
    /// Where objects of the kind live.
    pub home: Home,
}

/// Where objects of a kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// In `flux-system`, as a rule.
    Flux,
    /// In a workspace of the hub; looked for in all of them.
    Workspace,
}

/// A spoke.
pub static CLUSTER: Kind = fleet("Cluster", "clusters", "cluster");
/// A Kustomization for many clusters.
pub static FLEET_KUSTOMIZATION: Kind = fleet("FleetKustomization", "fleetkustomizations", "fleet");
/// A HelmRelease for many clusters.
pub static FLEET_HELM_RELEASE: Kind = fleet("FleetHelmRelease", "fleethelmreleases", "fleethelmrelease");
/// Fleet objects, in the order in which a name is looked for.
pub static FLEET: [&Kind; 2] = [&FLEET_KUSTOMIZATION, &FLEET_HELM_RELEASE];
/// A token that lets agents join.
pub static JOIN_TOKEN: Kind = fleet("JoinToken", "jointokens", "token");
/// What a hub remembers of its own history.
pub static HUB_STATE: Kind = fleet("HubState", "hubstates", "hubstate");
/// What a workspace remembers of fleet objects that are gone.
pub static RETIREMENT_LOG: Kind = fleet("RetirementLog", "retirementlogs", "retirementlog");
/// A Flux Kustomization.
pub static KUSTOMIZATION: Kind = Kind {
    group: nave_crds::kustomize::GROUP,
    version: nave_crds::kustomize::VERSION,
    kind: "Kustomization",
    plural: "kustomizations",
    word: "kustomization",
    home: Home::Flux,
};
/// A Flux HelmRelease.
pub static HELM_RELEASE: Kind = Kind {
    group: nave_crds::helm::GROUP,
    version: nave_crds::helm::VERSION,
    kind: "HelmRelease",
    plural: "helmreleases",
    word: "helmrelease",
    home: Home::Flux,
};
/// A Git repository.
pub static GIT_REPOSITORY: Kind = source("GitRepository", "gitrepositories", "source git");
/// An artifact of a registry.
pub static OCI_REPOSITORY: Kind = source("OCIRepository", "ocirepositories", "source oci");
/// A repository of Helm charts.
pub static HELM_REPOSITORY: Kind = source("HelmRepository", "helmrepositories", "source helm");
/// A Helm chart.
pub static HELM_CHART: Kind = source("HelmChart", "helmcharts", "source chart");
/// A bucket of an object storage.
pub static BUCKET: Kind = source("Bucket", "buckets", "source bucket");
/// An artifact that somebody else made.
pub static EXTERNAL_ARTIFACT: Kind = source("ExternalArtifact", "externalartifacts", "source external");

/// What makes artifacts of those of sources.
pub static ARTIFACT_GENERATOR: Kind = Kind {
    group: nave_crds::extensions::GROUP,
    version: "v1beta1",
    kind: "ArtifactGenerator",
    plural: "artifactgenerators",
    word: "artifact generator",
    home: Home::Flux,
};

/// Every kind with a status to look at: fleet kinds, then sources, then what uses them.
pub static ALL: [&Kind; 11] = [
    &CLUSTER,
    &FLEET_KUSTOMIZATION,
    &FLEET_HELM_RELEASE,
    &GIT_REPOSITORY,
    &OCI_REPOSITORY,
    &HELM_REPOSITORY,
    &HELM_CHART,
    &BUCKET,
    &EXTERNAL_ARTIFACT,
    &KUSTOMIZATION,
    &HELM_RELEASE,
];

const fn fleet(kind: &'static str, plural: &'static str, word: &'static str) -> Kind {
    Kind {
        group: "fleet.nave.dev",
        version: "v1alpha1",
        kind,
        plural,
        word,
        home: Home::Workspace,
    }
}

const fn source(kind: &'static str, plural: &'static str, word: &'static str) -> Kind {
    Kind {
        group: "source.toolkit.fluxcd.io",
        version: "v1",
        kind,
        plural,
        word,
        home: Home::Flux,
    }
}

impl Kind {
    /// The kind by its Kubernetes name, in any case.
    pub fn by_name(name: &str) -> Option<&'static Kind> {
        ALL.into_iter()
            .chain([&JOIN_TOKEN, &ARTIFACT_GENERATOR])
            .find(|kind| kind.kind.eq_ignore_ascii_case(name))
    }

    /// `group/version`.
    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }

    /// What kube needs to know.
    pub fn resource(&self) -> ApiResource {
        let gvk = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&gvk, self.plural)
    }

    /// Objects of one namespace.
    pub fn api(&self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), namespace, &self.resource())
    }

    /// Objects of one namespace or of all.
    pub fn api_in(&self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => self.api(client, namespace),
            None => Api::all_with(client.clone(), &self.resource()),
        }
    }

    /// How `flux get all` names an object: `kustomization/apps`.
    pub fn prefixed(&self, name: &str) -> String {
        format!("{}/{name}", self.kind.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_those_of_the_api() {
        let definitions = nave_crds::all();
        for kind in ALL.into_iter().chain([&JOIN_TOKEN, &ARTIFACT_GENERATOR]) {
            let definition = definitions
                .iter()
                .find(|definition| definition.spec.names.kind == kind.kind && definition.spec.group == kind.group)
                .unwrap_or_else(|| panic!("no definition of {}", kind.kind));
            assert_eq!(definition.spec.names.plural, kind.plural);
            assert!(
                definition
                    .spec
                    .versions
                    .iter()
                    .any(|version| version.name == kind.version)
            );
            assert_eq!(definition.spec.scope, "Namespaced");
        }
    }
}
