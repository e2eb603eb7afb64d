//! `kustomize build` as a pure function of an in-memory tree.
