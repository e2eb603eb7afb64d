//! Key services that decrypt data keys: Vault and OpenBao transit, AWS KMS, GCP KMS, Azure Key Vault.
//!
//! ```text
//! nave_sops::Step::Needs(requests) ─► KeyServices::decrypt(request, credentials) ─► answer
//! ```

mod aws;
mod azure;
mod credentials;
mod gcp;
mod services;
mod vault;

pub use credentials::{AwsKey, AwsKeyError, Credentials, azure_key_from_text};
pub use services::KeyServices;
