//! Chart repositories over HTTP: their index, read in bounded memory, and the charts that it names.
//!
//! ```text
//! URL, Secrets ─► Repositories::open ─► Remote ─► fetch_index ─► index.yaml ─► convert ─► index as JSON
//!                                          │                                                  │
//!                                          └─► fetch_chart ◄─ ChartVersion ◄─ choose ◄─ find ─┘
//! ```

mod convert;
mod error;
mod find;
mod remote;
mod stream;

pub use convert::{Converted, IndexError, convert};
pub use error::ChartRepoError;
pub use find::{ChartVersion, FindError, choose, find};
pub use remote::{Access, Fetched, Remote, Repositories};
