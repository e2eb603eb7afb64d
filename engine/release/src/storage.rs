//! Release records as Helm's Secrets.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use crate::{go_json, record::Release};

/// `type` of the Secrets.
pub const SECRET_TYPE: &str = "helm.sh/release.v1";
/// Label selector of all Secrets of Helm.
pub const OWNER_SELECTOR: &str = "owner=helm";
/// A record that unpacks to more is refused: a Secret holds a megabyte at most, packed.
const LARGEST: u64 = 128 << 20;
const GZIP: [u8; 3] = [0x1f, 0x8b, 0x08];

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is no base64.
    #[error("the record is not base64")]
    Base64(#[source] base64::DecodeError),
    /// It is no gzip.
    #[error("unpacking the record")]
    Gzip(#[source] std::io::Error),
    /// It is too large.
    #[error("the record unpacks to more than {LARGEST} bytes")]
    TooLarge,
    /// It is no release.
    #[error("the record is not the JSON of a release")]
    Json(#[source] serde_json::Error),
}

/// Name of the Secret of one version.
pub fn secret_name(name: &str, version: i64) -> String {
    format!("sh.helm.release.v1.{name}.v{version}")
}

/// Label selector of all versions of a release.
pub fn selector(name: &str) -> String {
    format!("name={name},owner=helm")
}

/// Labels of a record's Secret: those that Helm looks for, over `custom` ones.
pub fn labels(release: &Release, custom: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut labels = custom.clone();
    labels.insert("name".to_owned(), release.name.clone());
    labels.insert("owner".to_owned(), "helm".to_owned());
    labels.insert("status".to_owned(), release.status().as_str().to_owned());
    labels.insert("version".to_owned(), release.version.to_string());
    labels
}

/// The value of the Secret's key `release`.
pub fn encode(release: &Release) -> String {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    go_json::write(&mut packed, release).expect("JSON values can always be written to memory");
    packed.flush().expect("memory takes everything");
    let packed = packed.finish().expect("memory takes everything");
    BASE64_STANDARD.encode(packed)
}

/// Reads what [`encode`] or Helm wrote; records that are not packed, too.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(data: &[u8]) -> Result<Release, DecodeError> {
    let bytes = BASE64_STANDARD.decode(data).map_err(DecodeError::Base64)?;
    if !bytes.starts_with(&GZIP) {
        return serde_json::from_slice(&bytes).map_err(DecodeError::Json);
    }
    let mut unpacked = Vec::new();
    GzDecoder::new(bytes.as_slice())
        .take(LARGEST + 1)
        .read_to_end(&mut unpacked)
        .map_err(DecodeError::Gzip)?;
    if unpacked.len() as u64 > LARGEST {
        return Err(DecodeError::TooLarge);
    }
    serde_json::from_slice(&unpacked).map_err(DecodeError::Json)
}
