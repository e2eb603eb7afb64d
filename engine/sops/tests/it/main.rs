//! The engine against files that the reference made, and against files that somebody tampered with.

mod reference;
mod refused;

use std::fs;
use std::path::{Path, PathBuf};

use nave_sops::{Answers, DecryptError, Format, Keys, Mac, Step, decrypt};

/// The folder of the recorded files.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    let path = fixtures().join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read_text(path: impl AsRef<Path>) -> String {
    String::from_utf8(read(path)).expect("the fixture is text")
}

/// All keys of the fixtures.
fn keys() -> Keys {
    let mut keys = Keys::new();
    for name in ["age.txt", "ssh_ed25519", "ssh_rsa"] {
        keys.add_age(&read_text(format!("keys/{name}"))).expect(name);
    }
    for name in ["pgp_rsa.asc", "pgp_curve.gpg"] {
        keys.add_pgp(&read(format!("keys/{name}"))).expect(name);
    }
    keys
}

fn age_key() -> Keys {
    let mut keys = Keys::new();
    keys.add_age(&read_text("keys/age.txt")).expect("an age key");
    keys
}

fn format(extension: &str) -> Format {
    match extension {
        "yaml" => Format::Yaml,
        "json" => Format::Json,
        "env" => Format::Dotenv,
        "ini" => Format::Ini,
        _ => Format::Binary,
    }
}

fn open(file: &[u8], format: Format, keys: &Keys, mac: Mac) -> Result<Vec<u8>, DecryptError> {
    match decrypt(file, format, format, keys, &Answers::new(), mac)? {
        Step::Done(plain) => Ok(plain.to_vec()),
        Step::Needs(requests) => panic!("nobody can be asked for {requests:?}"),
    }
}
