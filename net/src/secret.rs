//! Text that must not be printed.

use std::{collections::BTreeMap, fmt};

use zeroize::Zeroizing;

/// The decoded `data` of a Kubernetes Secret.
pub type SecretData = BTreeMap<String, Vec<u8>>;

/// A password, token or the like: prints as `***`, and is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        SecretText(Zeroizing::new(text.into()))
    }

    /// The text itself; what is made of it must not be printed either.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A key of a Secret as text: none when it is not there or empty.
///
/// A trailing line break is dropped: files that were put into a Secret end with one, tokens never do.
pub(crate) fn text<'a>(data: &'a SecretData, key: &'static str) -> Result<Option<&'a str>, NotText> {
    let Some(bytes) = data.get(key) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(bytes).map_err(|_| NotText(key))?;
    let text = text.trim_end_matches(['\r', '\n']);
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// A key whose value is not UTF-8.
pub(crate) struct NotText(pub &'static str);
