//! Flux's own controllers and Nave, one after the other and side by side.
//!
//! ```text
//!  cases/*.yaml ─► Case ─► two planes: Flux on one, Nave on the other ─► look at both ─► what differs
//! ```

mod case;
mod difference;
mod engine;
mod look;
mod words;

pub use case::{Case, Step};
pub use difference::{Difference, Expected, differences, unexpected};
pub use engine::{Engine, Which};
pub use look::{Look, Trace, look, settled, traces};
