//! `nave decrypt`: a file that SOPS encrypted, in clear.

mod keys;

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nave_kms::KeyServices;
use nave_sops::{Answers, DecryptError, Format, MAX_SIZE, Mac, Step, decrypt, looks_encrypted};

use crate::{failure::advised, output};

/// Print a file that SOPS encrypted, decrypted
///
/// Private keys are taken from the flags, from SOPS_AGE_KEY, SOPS_AGE_KEY_FILE and SOPS_AGE_SSH_PRIVATE_KEY_FILE, from
/// ~/.config/sops/age/keys.txt and ~/.ssh, and from gpg (SOPS_GPG_EXEC names the program) where they have no passphrase.
/// For Vault there is VAULT_TOKEN or ~/.vault-token, for AWS KMS there are AWS_ACCESS_KEY_ID and its like.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  nave decrypt secret.yaml --age-key keys.txt
  gpg --export-secret-keys --armor KEY > key.asc && nave decrypt secret.yaml --pgp-key key.asc
  nave decrypt values.json --output-format yaml
  git show main:secret.env | nave decrypt - --format dotenv")]
pub struct Arguments {
    /// The file; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How the file is written; known from its name when not given
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<FileFormat>,
    /// How it is printed; as it is written when not given
    #[arg(long, value_enum, value_name = "FORMAT")]
    output_format: Option<FileFormat>,
    /// File with age identities, or with one SSH private key
    #[arg(long, value_name = "FILE")]
    age_key: Vec<PathBuf>,
    /// File with OpenPGP private keys without a passphrase
    #[arg(long, value_name = "FILE")]
    pgp_key: Vec<PathBuf>,
    /// Decrypt although the file was changed after it was encrypted
    #[arg(long)]
    ignore_mac: bool,
}

/// Formats of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FileFormat {
    Yaml,
    Json,
    Dotenv,
    Ini,
    /// Any bytes
    Binary,
}

impl From<FileFormat> for Format {
    fn from(format: FileFormat) -> Format {
        match format {
            FileFormat::Yaml => Format::Yaml,
            FileFormat::Json => Format::Json,
            FileFormat::Dotenv => Format::Dotenv,
            FileFormat::Ini => Format::Ini,
            FileFormat::Binary => Format::Binary,
        }
    }
}

/// Prints the decrypted file and nothing of it anywhere else.
pub async fn run(arguments: Arguments) -> Result<()> {
    let file = read(&arguments.file)?;
    let from = match arguments.format {
        Some(format) => format.into(),
        None => format_of(&arguments.file, &file)?,
    };
    let to = arguments.output_format.map_or(from, Format::from);
    let mac = if arguments.ignore_mac { Mac::Ignore } else { Mac::Verify };
    let keys = keys::gather(&arguments.age_key, &arguments.pgp_key, &file)?;
    let credentials = keys::credentials();
    let mut answers = Answers::new();
    let plain = loop {
        match decrypt(&file, from, to, &keys, &answers, mac) {
            Ok(Step::Done(plain)) => break plain,
            // Every answer is kept, so that what is asked for is new, and there is an end to it.
            Ok(Step::Needs(requests)) => {
                let services = KeyServices::new()?.allow_local_addresses(true);
                for request in requests {
                    let answer = services.decrypt(&request, &credentials).await;
                    answers.insert(request, answer);
                }
            }
            Err(error) => return Err(explain(&arguments.file, error)),
        }
    };
    output::print_data(&plain)
}

fn explain(file: &Path, error: DecryptError) -> anyhow::Error {
    let message = format!("decrypting {}: {error}", file.display());
    match error {
        DecryptError::NoKey { .. } => advised(
            message,
            "--age-key and --pgp-key name files with private keys; gpg --export-secret-keys --armor writes one",
        ),
        DecryptError::MacMismatch => advised(message, "--ignore-mac decrypts it all the same"),
        DecryptError::NoMetadata => advised(message, "SOPS has not encrypted it, or --format is another one"),
        _ => anyhow::Error::msg(message),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One more than is allowed, so that the engine says what is wrong.
    let limit = MAX_SIZE as u64 + 1;
    if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(limit)
            .read_to_end(&mut bytes)
            .context("reading standard input")?;
    } else {
        let file = std::fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
        file.take(limit)
            .read_to_end(&mut bytes)
            .with_context(|| format!("reading {}", path.display()))?;
    }
    Ok(bytes)
}

/// By the name of the file, or by its content when the name says nothing.
fn format_of(path: &Path, bytes: &[u8]) -> Result<Format> {
    let by_name = Format::for_path(&path.to_string_lossy());
    if by_name != Format::Binary {
        return Ok(by_name);
    }
    match looks_encrypted(bytes) {
        // JSON is how a binary file looks when it is encrypted.
        Some(Format::Json) => Ok(Format::Binary),
        Some(format) => Ok(format),
        None => Err(advised(
            format!("{} does not look like a file that SOPS encrypted", path.display()),
            "--format says how it is written",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_name_and_content() {
        for (name, content, wanted) in [
            ("a.yaml", "", Some(Format::Yaml)),
            ("a.yml", "", Some(Format::Yaml)),
            ("a.enc.json", "", Some(Format::Json)),
            ("prod.env", "", Some(Format::Dotenv)),
            ("a.ini", "", Some(Format::Ini)),
            ("-", "sops:\n    mac: ENC[x", Some(Format::Yaml)),
            ("-", "sops_mac=ENC[x", Some(Format::Dotenv)),
            ("photo.png", "{\"sops\": {\"mac\": \"ENC[x", Some(Format::Binary)),
            ("photo.png", "x", None),
        ] {
            assert_eq!(format_of(Path::new(name), content.as_bytes()).ok(), wanted, "{name}");
        }
    }
}
