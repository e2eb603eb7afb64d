//! What the promises look at: objects of any kind, and the identities of workloads.

pub mod observe;
