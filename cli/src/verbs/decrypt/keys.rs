//! Private keys and credentials of the person at the terminal, from where SOPS looks for them.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
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
///
/// gpg is asked only for a file that has data keys for OpenPGP, and only when no key was named for it: it starts an agent.
pub fn gather(age: &[PathBuf], pgp: &[PathBuf], file: &[u8]) -> Result<Keys> {
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
    if pgp.is_empty() && is_for_pgp(file) {
        add_those_of_gpg(&mut keys);
    }
    Ok(keys)
}

/// Whether a data key of the file is encrypted with OpenPGP.
fn is_for_pgp(file: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN PGP MESSAGE-----";
    file.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// The private keys that gpg keeps. Since version 2.1 they are with its agent, and no file can be read.
///
/// Nobody is asked for a passphrase: gpg passes over keys that have one, and that is said.
fn add_those_of_gpg(keys: &mut Keys) {
    let program = variable("SOPS_GPG_EXEC").unwrap_or_else(|| "gpg".into());
    let exported = Command::new(&program)
        .args([
            "--batch",
            "--no-tty",
            "--pinentry-mode",
            "error",
            "--export-secret-keys",
        ])
        .stdin(Stdio::null())
        .output();
    let exported = match exported {
        Ok(exported) => exported,
        Err(error) if error.kind() == io::ErrorKind::NotFound && env::var_os("SOPS_GPG_EXEC").is_none() => return,
        Err(error) => return say::warning(&format!("running {}: {error}", program.display())),
    };
    let said = String::from_utf8_lossy(&exported.stderr);
    if exported.stdout.is_empty() {
        if let Some(why) = why_nothing(&said) {
            say::warning(&why);
        }
        return;
    }
    if let Err(error) = keys.add_pgp(&exported.stdout) {
        say::warning(&format!(
            "private keys of gpg: {error}; --pgp-key names a file with a key that has no passphrase"
        ));
    } else if is_locked(&said) {
        say::warning(
            "private keys of gpg that have a passphrase are not used; --pgp-key names a file with one that has none",
        );
    }
}

/// What keeps gpg from giving any key; none when it has none.
fn why_nothing(said: &str) -> Option<String> {
    if is_locked(said) {
        return Some(
            "the private keys of gpg have a passphrase; export one without to a file, and name it with --pgp-key"
                .to_owned(),
        );
    }
    let line = said
        .lines()
        .find(|line| !line.contains("nothing exported") && !line.is_empty())?;
    Some(format!("no private keys come from gpg: {line}"))
}

/// Without a pinentry, the agent gives out no key that has a passphrase.
fn is_locked(said: &str) -> bool {
    [
        "No pinentry",
        "pinentry",
        "Bad passphrase",
        "Operation cancelled",
        "No passphrase",
    ]
    .iter()
    .any(|words| said.contains(words))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gpg_says_is_understood() {
        let locked = "gpg: key 0A1B: error receiving key from agent: No pinentry - skipped\n\
                      gpg: WARNING: nothing exported\n";
        assert!(why_nothing(locked).is_some_and(|why| why.contains("have a passphrase")));
        assert_eq!(why_nothing("gpg: WARNING: nothing exported\n"), None);
        let broken = why_nothing("gpg: can't connect to the gpg-agent: IPC connect call failed\n");
        assert!(broken.is_some_and(|why| why.contains("IPC connect")));
    }

    #[test]
    fn gpg_is_asked_only_for_what_it_can_decrypt() {
        assert!(is_for_pgp(
            b"sops:\n  pgp:\n  - enc: |\n      -----BEGIN PGP MESSAGE-----\n"
        ));
        assert!(!is_for_pgp(b"-----BEGIN AGE ENCRYPTED FILE-----"));
    }
}
