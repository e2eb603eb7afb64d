//! SOPS files decrypted as a pure function, as `sops` 3.11 does it.
//!
//! ```text
//! bytes ─store─► tree + metadata ─keys─► data key ─walk─► tree, code ─store─► bytes
//!                                  │
//!                                  └─► Step::Needs: key services that only the outside can ask
//! ```

mod cipher;
mod data_key;
mod decrypt;
mod detect;
mod keys;
mod metadata;
mod moment;
mod rules;
mod shamir;
mod stores;
mod value;
mod walk;

pub use data_key::{Answer, Answers, KeyService, Request};
pub use decrypt::{DecryptError, MAX_SIZE, Mac, Step, decrypt, decrypt_json};
pub use detect::{Format, looks_encrypted};
pub use keys::{KeyError, Keys};
