//! Reconciles Flux sources: from a remote to an artifact in the store.
