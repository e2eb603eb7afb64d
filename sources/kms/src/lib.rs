//! Key services that decrypt data keys: Vault and OpenBao transit, AWS KMS.
//!
//! ```text
//! nave_sops::Step::Needs(requests) ─► KeyServices::decrypt(request, credentials) ─► answer
//! ```

mod aws;
mod credentials;
mod services;
mod sigv4;
mod vault;

pub use credentials::{AwsKey, AwsKeyError, Credentials};
pub use services::KeyServices;
