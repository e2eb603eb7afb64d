//! Which clusters a fleet object reaches, and the exact objects each of them gets.
//!
//! ```text
//! FleetObject ─► Planner ─┬─ select     clusters of the workspace, and those that grant it access
//!                         ├─ overrides  merge and JSON patches, in order
//!                         ├─ variables  ${cluster.…} inside strings
//!                         ├─ check      the result against the grant
//!                         └─ render     ─► Plan { cluster, Place(Bundle) | Denied | Frozen }
//! what lies on a cluster + known owners + retired owners ─► deletions ─► delete or Orphaned
//! ```
//!
//! Everything is checked on the *result*: whatever a template, an override or a variable says,
//! what comes out either stays within the grant of the workspace or is denied with the field.

mod bundle;
mod check;
mod claims;
mod deletions;
mod denial;
mod grant;
mod model;
pub mod names;
mod overrides;
mod plan;
mod render;
mod selector;
mod variables;

pub use bundle::{ArtifactRequest, Bundle, SecretRequest};
pub use claims::{Claims, Place};
pub use deletions::{Cause, KnownOwner, Placed, Verdict, deletions};
pub use denial::Denial;
pub use grant::Grant;
pub use model::{
    Access, Cluster, ClusterKey, ClusterName, ClusterSelector, Delivery, FleetObject, KubeConfigKey, Mode, Override,
    OwnerKey, Placement, Policy, Product, SecretUse, Source, SourceKey,
};
pub use plan::{Outcome, Plan, PlanSet, Planner, SpecError};
pub use render::name_on_hub;
pub use selector::{Operator, Requirement, Selector, SelectorError};
