//! Flux's post-build variable substitution as a pure function.
