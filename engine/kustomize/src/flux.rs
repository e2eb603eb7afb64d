//! Flux's layer on top: a missing kustomization file is generated, and the overlay of a
//! Kustomization's own fields is merged in.
