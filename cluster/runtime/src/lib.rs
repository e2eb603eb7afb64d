//! What every controller stands on, whichever process runs it and whichever cluster it serves.
//!
//! ```text
//! watch ─► controller ─► (a reconciler) ─► conditions, status, events, metrics
//!             ▲                                │
//!             └── schedule, triggers ◄─────────┘      ports: what hub and agent do differently
//! ```

pub mod allocator;
pub mod api_clock;
pub mod conditions;
pub mod controller;
mod cycle;
pub mod definitions;
pub mod events;
pub mod finalizer;
pub mod flags;
pub mod hints;
pub mod leader;
pub mod logging;
pub mod metrics;
pub mod ports;
pub mod resident;
pub mod schedule;
pub mod serve;
pub mod status;
pub mod tasks;
pub mod wakes;
pub mod watch;

pub use conditions::{Condition, Conditions, Status};
pub use controller::{Next, Reconciler};
pub use cycle::cycle;
pub use events::{EventListener, EventRecorder, Recorded, Severity};
pub use metrics::Metrics;
pub use tasks::Tasks;
pub use wakes::{ConfigKind, Wake, Wakes};
pub use watch::Watched;
