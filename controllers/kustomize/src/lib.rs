//! Reconciles Flux Kustomizations: from an artifact to healthy objects in a cluster.
