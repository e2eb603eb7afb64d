//! The agent: source and kustomize reconcilers on one cluster, joined to a hub or alone.

fn main() {}
