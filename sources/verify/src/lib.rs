//! Who signed an artifact of a registry: cosign's signatures and Sigstore's bundles, the Notary Project's envelopes.
//!
//! ```text
//! *.pub of a Secret ────────► PublicKeys ┐
//! trusted_root.json, regexes ► Keyless ──┴► Cosign ─► check_bundle, check_tag_signature ─► Signer
//! trustpolicy.json, *.crt ─────────────────► Notation ─► check ─► Judged
//! ```
//!
//! Nothing is fetched here: the bytes of bundles and signatures are the caller's, and so is the digest that they are
//! checked against.

mod cosign;
mod error;
mod keyless;
mod keys;
pub mod notation;
mod tag_signature;

pub use cosign::{Cosign, Signer, media_type};
pub use error::{SignatureError, TrustError};
pub use keyless::{Identity, Keyless};
pub use keys::PublicKeys;
