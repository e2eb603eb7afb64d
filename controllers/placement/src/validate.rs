//! Planned objects against the definitions, before they leave the hub.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use nave_crds::helm::HelmReleaseSpec;
use nave_crds::kustomize::KustomizationSpec;
use nave_crds::source::{GitRepositorySpec, HelmChartSpec, HelmRepositorySpec, OciRepositorySpec};
use nave_crds::{conform, definitions};
use nave_placement::{Bundle, Denial};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The definitions of what a bundle may hold.
pub(crate) struct Definitions {
    all: Vec<CustomResourceDefinition>,
}

impl Definitions {
    /// Flux's.
    pub fn new() -> Self {
        Self {
            all: definitions::flux(),
        }
    }

    /// Refuses a bundle with an object that the API server of the spoke would refuse or cut.
    pub fn check(&self, bundle: &Bundle) -> Result<(), Denial> {
        for object in &bundle.objects {
            let field = match object.kind() {
                "Kustomization" | "HelmRelease" => "spec.template",
                "ExternalArtifact" => continue, // all of it is ours
                _ => "spec.source.template",
            };
            self.check_one(object.kind(), object.as_value(), field)?;
        }
        Ok(())
    }

    /// Checks one object; `field` says where it comes from.
    pub fn check_one(&self, kind: &str, object: &Value, field: &str) -> Result<(), Denial> {
        let invalid = |message: String| Denial::Invalid {
            field: field.to_owned(),
            message,
        };
        let definition = self.all.iter().find(|one| one.spec.names.kind == kind);
        let Some(definition) = definition else {
            return Err(invalid(format!("{kind} is no kind that this version places")));
        };
        let problems = conform::problems(definition, object);
        if !problems.is_empty() {
            // Three say enough; a template of another kind would have dozens.
            return Err(invalid(problems[..problems.len().min(3)].join("; ")));
        }
        let spec = object.get("spec").cloned().unwrap_or_default();
        match kind {
            "Kustomization" => readable::<KustomizationSpec>(spec),
            "HelmRelease" => readable::<HelmReleaseSpec>(spec),
            "GitRepository" => readable::<GitRepositorySpec>(spec),
            "HelmRepository" => readable::<HelmRepositorySpec>(spec),
            "OCIRepository" => readable::<OciRepositorySpec>(spec),
            "HelmChart" => readable::<HelmChartSpec>(spec),
            _ => Ok(()),
        }
        .map_err(|error| invalid(error.to_string()))
    }
}

fn readable<T: DeserializeOwned>(spec: Value) -> Result<(), serde_json::Error> {
    T::deserialize(spec).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec: Value, want: Result<(), &str>) {
        let object = json!({"kind": "Kustomization", "spec": spec});
        let result = Definitions::new()
            .check_one("Kustomization", &object, "spec.template")
            .map_err(|denial| denial.to_string());
        assert_eq!(result, want.map_err(str::to_owned));
    }

    #[test]
    fn what_a_spoke_would_refuse_is_refused_on_the_hub() {
        let source = json!({"kind": "ExternalArtifact", "name": "x"});
        check(json!({"interval": "5m", "prune": true, "sourceRef": source}), Ok(()));
        check(
            json!({"interval": "5m", "sourceRef": source, "pruned": true}),
            Err("spec.template: spec.prune is missing; spec.pruned is no known field"),
        );
        check(
            json!({"interval": "5 minutes", "prune": true, "sourceRef": source}),
            Err(
                "spec.template: reading duration \"5 minutes\": expected a number with a unit such as 30s, 5m or 1h30m",
            ),
        );
    }
}
