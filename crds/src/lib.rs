//! The Kubernetes API that Nave serves: Flux kinds, fleet kinds, conditions and reasons.
//!
//! ```text
//! meta ──┬─► source     GitRepository, OCIRepository, HelmRepository,
//!        │              HelmChart, Bucket, ExternalArtifact    (source.toolkit.fluxcd.io/v1)
//!        ├─► extensions ArtifactGenerator                      (source.extensions.fluxcd.io/v1beta1)
//!        ├─► kustomize  Kustomization                          (kustomize.toolkit.fluxcd.io/v1)
//!        ├─► helm       HelmRelease                            (helm.toolkit.fluxcd.io/v2)
//!        └─► fleet      Cluster, JoinToken, FleetKustomization,
//!                       FleetHelmRelease                       (fleet.nave.dev/v1alpha1)
//! names: conditions, reasons, annotations, labels, finalizers, managers
//! definitions: all() ─► schema::finish ─► render() ─► crds/yaml/*.yaml
//! ```

// Each column of a `kubectl get` table says its `type_`; the lint takes them for one attribute.
#![allow(clippy::duplicated_attributes)]

pub mod annotations;
pub mod conditions;
pub mod conform;
pub mod definitions;
pub mod extensions;
pub mod finalizers;
pub mod fleet;
pub mod helm;
pub mod kustomize;
pub mod labels;
pub mod managers;
pub mod meta;
pub mod reasons;
mod render;
mod schema;
pub mod source;

pub use definitions::all;
pub use extensions::ArtifactGenerator;
pub use fleet::{Cluster, FleetHelmRelease, FleetKustomization, HubState, JoinToken, RetirementLog};
pub use helm::HelmRelease;
pub use kustomize::Kustomization;
pub use meta::{Artifact, Condition, Duration};
pub use render::{file_name, render};
pub use source::{Bucket, ExternalArtifact, GitRepository, HelmChart, HelmRepository, OCIRepository};
