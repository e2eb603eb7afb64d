//! Which format a file has, and whether it looks encrypted.

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One or several documents, comments kept.
    Yaml,
    /// One object.
    Json,
    /// Lines of `NAME=value`.
    Dotenv,
    /// Sections of `name = value`.
    Ini,
    /// Any bytes, kept as one value in JSON when encrypted.
    Binary,
}

impl Format {
    /// By the end of the name; what is unknown is binary.
    pub fn for_path(path: &str) -> Format {
        let ends = |ends: &[&str]| ends.iter().any(|end| path.ends_with(end));
        if ends(&[".yaml", ".yml"]) {
            Format::Yaml
        } else if ends(&[".json"]) {
            Format::Json
        } else if ends(&[".env"]) {
            Format::Dotenv
        } else if ends(&[".ini"]) {
            Format::Ini
        } else {
            Format::Binary
        }
    }

    /// The name that SOPS has for it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Yaml => "yaml",
            Format::Json => "json",
            Format::Dotenv => "dotenv",
            Format::Ini => "ini",
            Format::Binary => "binary",
        }
    }

    /// What stands in a file of this format that SOPS has encrypted, as Flux looks for it.
    fn marker(self) -> &'static [u8] {
        match self {
            Format::Yaml => b"mac: ENC[",
            Format::Json | Format::Binary => b"\"mac\": \"ENC[",
            Format::Dotenv => b"sops_mac=ENC[",
            Format::Ini => b"[sops]",
        }
    }
}

/// The format of which the bytes carry the mark of SOPS; `None` when they look like no encrypted file.
///
/// A binary file is JSON when encrypted, and is found as that.
pub fn looks_encrypted(bytes: &[u8]) -> Option<Format> {
    let formats = [Format::Json, Format::Yaml, Format::Dotenv, Format::Ini];
    formats.into_iter().find(|format| {
        let marker = format.marker();
        bytes.windows(marker.len()).any(|window| window == marker)
    })
}
