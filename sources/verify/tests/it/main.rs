//! Signatures made in the test as cosign makes them, and some that Sigstore has published.

mod cosign;
mod notation;
mod published;
