//! Flags for a key of SSH: one that is there, or what kind to make.

use std::path::PathBuf;

use nave_git::SshKeyKind;

/// Which key to use.
#[derive(Debug, Clone, clap::Args)]
pub struct KeyArguments {
    /// Kind of key to make
    #[arg(long, value_parser = ["rsa", "ecdsa", "ed25519"], default_value = "ecdsa")]
    pub ssh_key_algorithm: String,
    /// Bits of an RSA key
    #[arg(long, default_value_t = 2048, value_parser = bits)]
    pub ssh_rsa_bits: usize,
    /// Curve of an ECDSA key
    #[arg(long, value_parser = ["p256", "p384", "p521"], default_value = "p384")]
    pub ssh_ecdsa_curve: String,
    /// File with a private key to use instead of making one
    #[arg(long, value_name = "FILE")]
    pub private_key_file: Option<PathBuf>,
}

impl KeyArguments {
    /// The kind of key to make.
    pub fn kind(&self) -> SshKeyKind {
        match (self.ssh_key_algorithm.as_str(), self.ssh_ecdsa_curve.as_str()) {
            ("rsa", _) => SshKeyKind::Rsa(self.ssh_rsa_bits),
            ("ed25519", _) => SshKeyKind::Ed25519,
            (_, "p256") => SshKeyKind::EcdsaP256,
            (_, "p521") => SshKeyKind::EcdsaP521,
            _ => SshKeyKind::EcdsaP384,
        }
    }
}

fn bits(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bits) if (1024..=16384).contains(&bits) && bits % 8 == 0 => Ok(bits),
        _ => Err(format!("{text:?} is not a multiple of 8 from 1024 to 16384")),
    }
}
