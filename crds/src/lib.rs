//! The Kubernetes API that Nave serves: Flux kinds, fleet kinds, conditions and reasons.
