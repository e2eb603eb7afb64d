//! Releases: records against Helm's own, and decisions as tables.

mod decisions;
mod records;
