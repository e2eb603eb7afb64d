//! Flags that say whose signature is wanted.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// `spec.verify`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct VerifyArguments {
    /// How it is signed
    #[arg(long, value_parser = ["cosign", "notation"])]
    verify_provider: Option<String>,
    /// Secret with the keys that are trusted; without, the identities of keyless signatures count
    #[arg(long, value_name = "SECRET")]
    verify_secret_ref: Option<String>,
    /// Regular expression for the subject of a keyless signature
    #[arg(long, value_name = "REGEX")]
    verify_subject: Option<String>,
    /// Regular expression for the issuer of a keyless signature
    #[arg(long, value_name = "REGEX")]
    verify_issuer: Option<String>,
}

impl VerifyArguments {
    /// The field, if it is asked for.
    pub fn spec(&self) -> Result<Option<Value>> {
        let identity = self.verify_subject.is_some() || self.verify_issuer.is_some();
        let Some(provider) = &self.verify_provider else {
            ensure!(
                self.verify_secret_ref.is_none(),
                "--verify-secret-ref needs --verify-provider"
            );
            ensure!(!identity, "--verify-issuer and --verify-subject need --verify-provider");
            return Ok(None);
        };
        let mut verify = json!({"provider": provider});
        if let Some(secret) = &self.verify_secret_ref {
            verify["secretRef"] = json!({"name": secret});
        }
        if identity {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            verify["matchOIDCIdentity"] =
                json!([{"issuer": text(&self.verify_issuer), "subject": text(&self.verify_subject)}]);
        }
        Ok(Some(verify))
    }
}
