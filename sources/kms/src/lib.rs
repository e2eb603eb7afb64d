//! Key services that decrypt data keys: Vault and OpenBao transit, AWS KMS, GCP KMS, Azure Key Vault.
//!
//! ```text
//! nave_sops::Step::Needs(requests) ─► KeyServices::decrypt(request, credentials) ─► answer
//!                                         └ VaultLogin: a service account's token ─► a token of Vault
//! ```

mod aws;
mod azure;
mod credentials;
mod gcp;
mod services;
mod vault;
mod vault_login;

pub use credentials::{AwsKey, AwsKeyError, Credentials, azure_key_from_text};
pub use services::KeyServices;
pub use vault_login::{VaultLogin, VaultServers, VaultServersError};
