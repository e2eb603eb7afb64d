//! What FleetKustomization and FleetHelmRelease have in common, for those who work on both.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::helm_release::{FleetHelmRelease, FleetHelmReleaseSpec};
use super::kustomization::{
    Delivery, FleetKustomization, FleetKustomizationSpec, FleetKustomizationStatus, FleetSource, FleetTemplate,
    SecretUse,
};
use super::placement::{Override, Placement};
use super::rollout::{Deletion, Rollout};

/// A fleet object: a Flux object as template for many clusters.
pub trait FleetResource:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Its kind, such as `FleetKustomization`.
    const KIND: &'static str;
    /// Kind of the Flux object that it is a template of.
    const PRODUCT: &'static str;

    /// Its spec.
    fn parts(&self) -> FleetParts<'_>;

    /// Its status; all fleet objects have the same.
    fn fleet_status(&self) -> Option<&FleetKustomizationStatus>;
}

/// The spec of a fleet object of any kind.
#[derive(Debug, Clone, Copy)]
pub struct FleetParts<'a> {
    /// Whether the Flux objects are suspended everywhere.
    pub suspend: bool,
    /// Namespace of the Flux objects on a spoke; may be empty.
    pub spoke_namespace: &'a str,
    /// Which clusters.
    pub placement: &'a Placement,
    /// Where the content comes from.
    pub source: &'a FleetSource,
    /// Who fetches it.
    pub delivery: Delivery,
    /// The Flux object.
    pub template: &'a FleetTemplate,
    /// Changes of the template for some clusters.
    pub overrides: &'a [Override],
    /// Secrets that go along.
    pub secrets: &'a [SecretUse],
    /// What happens where it leaves.
    pub deletion: &'a Deletion,
    /// How a revision travels.
    pub rollout: Option<&'a Rollout>,
}

macro_rules! fleet_resource {
    ($kind:ident, $spec:ident, $product:literal) => {
        impl<'a> From<&'a $spec> for FleetParts<'a> {
            fn from(spec: &'a $spec) -> Self {
                FleetParts {
                    suspend: spec.suspend,
                    spoke_namespace: &spec.spoke_namespace,
                    placement: &spec.placement,
                    source: &spec.source,
                    delivery: spec.delivery,
                    template: &spec.template,
                    overrides: &spec.overrides,
                    secrets: &spec.secrets,
                    deletion: &spec.deletion,
                    rollout: spec.rollout.as_ref(),
                }
            }
        }

        impl FleetResource for $kind {
            const KIND: &'static str = stringify!($kind);
            const PRODUCT: &'static str = $product;

            fn parts(&self) -> FleetParts<'_> {
                (&self.spec).into()
            }

            fn fleet_status(&self) -> Option<&FleetKustomizationStatus> {
                self.status.as_ref()
            }
        }
    };
}

fleet_resource!(FleetKustomization, FleetKustomizationSpec, "Kustomization");
fleet_resource!(FleetHelmRelease, FleetHelmReleaseSpec, "HelmRelease");
