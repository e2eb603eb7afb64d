//! Which values of a file are encrypted.

use regex::bytes::Regex;

/// The one rule that a file has.
#[derive(Debug)]
pub(crate) enum Rule {
    UnencryptedSuffix(String),
    EncryptedSuffix(String),
    UnencryptedRegex(Regex),
    EncryptedRegex(Regex),
    UnencryptedComment(Regex),
    EncryptedComment(Regex),
}

impl Rule {
    /// Whether a key is one that the rule is about.
    pub(crate) fn names_key(&self, key: &str) -> bool {
        match self {
            Rule::UnencryptedSuffix(suffix) | Rule::EncryptedSuffix(suffix) => key.ends_with(suffix.as_str()),
            Rule::UnencryptedRegex(regex) | Rule::EncryptedRegex(regex) => regex.is_match(key.as_bytes()),
            Rule::UnencryptedComment(_) | Rule::EncryptedComment(_) => false,
        }
    }

    /// Whether a comment is one that the rule is about.
    pub(crate) fn names_comment(&self, comment: &[u8]) -> bool {
        match self {
            Rule::UnencryptedComment(regex) | Rule::EncryptedComment(regex) => regex.is_match(comment),
            _ => false,
        }
    }

    /// Whether a comment counts for itself: the one that asks for encryption stays readable.
    pub(crate) fn counts_itself(&self) -> bool {
        !matches!(self, Rule::EncryptedComment(_))
    }

    /// Whether a value is encrypted, when a key or comment above it is named or not.
    pub(crate) fn encrypts(&self, named: bool) -> bool {
        match self {
            Rule::UnencryptedSuffix(_) | Rule::UnencryptedRegex(_) | Rule::UnencryptedComment(_) => !named,
            Rule::EncryptedSuffix(_) | Rule::EncryptedRegex(_) | Rule::EncryptedComment(_) => named,
        }
    }
}
