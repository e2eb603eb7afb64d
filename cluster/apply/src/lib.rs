//! Ordered server-side apply, inventory, pruning and waiting.
//!
//! ```text
//! objects ─► prepare ─► stages ─► examine (known? live, dry run, compare) ─► write ─► inventory ─► prune ─► wait
//!                                      └── any problem: the stage writes nothing and names them all
//! ```
//!
//! What was applied may be guarded: [`until_drift`] returns when somebody changes it.

mod applying;
mod cleanup;
mod compare;
mod drift;
mod examine;
mod fields;
mod foreign;
mod guard;
mod ignore;
mod inventory;
mod needs;
mod prepare;
mod preview;
mod problem;
mod prune;
mod recheck;
mod rules;
mod run;
mod selector;
mod trial;
mod wait;

pub use applying::{Applying, Barrier, Step};
pub use drift::Drift;
pub use examine::{Check, Memory};
pub use guard::{Guarded, guarded, until_drift};
pub use ignore::{IgnoreError, IgnoreRules};
pub use inventory::{Inventory, entry_of};
pub use prepare::{CommonMetadata, PrepareError, prepare};
pub use preview::{Brought, Preview, PruneVerdict, preview, preview_prune};
pub use problem::{ApplyError, Problem};
pub use prune::{PruneOutcome, plan, prune, wait_gone};
pub use recheck::recheck;
pub use run::{Action, ApplyOptions, Change, Outcome};
pub use wait::{Unhealthy, WaitError, WaitItem, judge, wait, wait_until_gone};
