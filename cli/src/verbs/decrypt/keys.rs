//! Private keys and credentials of the person at the terminal, from where SOPS looks for them.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nave_kms::{AwsKey, Credentials};
use nave_net::{
    SecretText,
    cloud::{CacheLimits, Cloud, Identity, Settings},
};
use nave_sops::Keys;

use crate::say;

/// Keys that were named, and those in their usual places.
///
/// What was named, by flag or variable, must be usable; what merely lies about may be not.
pub fn gather(age: &[PathBuf], pgp: &[PathBuf]) -> Result<Keys> {
    let mut keys = Keys::new();
    for path in age {
        add_age(&mut keys, path)?;
    }
    for path in pgp {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        keys.add_pgp(&bytes).with_context(|| path.display().to_string())?;
    }
    if let Some(text) = env::var_os("SOPS_AGE_KEY") {
        let text = text.into_string().ok().context("SOPS_AGE_KEY is not text")?;
        keys.add_age(&text).context("SOPS_AGE_KEY")?;
    }
    for name in ["SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE"] {
        if let Some(path) = variable(name) {
            add_age(&mut keys, &path).context(name)?;
        }
    }
    if env::var_os("SOPS_AGE_KEY_CMD").is_some() {
        say::warning("SOPS_AGE_KEY_CMD is not run; --age-key names a file");
    }
    let home = variable("HOME");
    let config = variable("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    let places = [
        config.map(|config| config.join("sops/age/keys.txt")),
        home.as_ref().map(|home| home.join(".ssh/id_ed25519")),
        home.as_ref().map(|home| home.join(".ssh/id_rsa")),
    ];
    for path in places.iter().flatten().filter(|path| path.is_file()) {
        // Most SSH keys have a passphrase, which is no fault.
        let _ = add_age(&mut keys, path);
    }
    let gpg = variable("GNUPGHOME").or_else(|| Some(home.as_ref()?.join(".gnupg")));
    if let Some(bytes) = gpg.and_then(|folder| fs::read(folder.join("secring.gpg")).ok()) {
        let _ = keys.add_pgp(&bytes);
    }
    Ok(keys)
}

/// What the environment has for Vault and AWS.
pub fn credentials() -> Credentials {
    let text = |name: &str| env::var(name).ok().filter(|text| !text.is_empty());
    let token_file = || fs::read_to_string(variable("HOME")?.join(".vault-token")).ok();
    let token = text("VAULT_TOKEN").or_else(token_file);
    let aws = || {
        Some(AwsKey {
            id: text("AWS_ACCESS_KEY_ID")?,
            secret: SecretText::new(text("AWS_SECRET_ACCESS_KEY")?),
            session_token: text("AWS_SESSION_TOKEN").map(SecretText::new),
        })
    };
    Credentials {
        vault_token: token.map(|token| SecretText::new(token.trim())),
        aws: aws(),
        // Keys and identities of the person at the terminal, as the clouds' own libraries find them.
        ambient: cloud().map(|cloud| (cloud, Identity::Process)),
        ..Credentials::default()
    }
}

fn cloud() -> Option<Cloud> {
    Cloud::new(Settings::of_process(), None, CacheLimits::default()).ok()
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn add_age(keys: &mut Keys, path: &Path) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    keys.add_age(&text).with_context(|| path.display().to_string())
}
