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
    /// Whether the value below these keys is encrypted.
    ///
    /// `comments` are the comments above it, for each level those since the last value of that level. When it is a
    /// comment itself it is the last of them.
    pub(crate) fn encrypts(&self, path: &[String], comments: &[Vec<Vec<u8>>], is_comment: bool) -> bool {
        let key = |matches: &dyn Fn(&str) -> bool| path.iter().any(|key| matches(key));
        match self {
            Rule::UnencryptedSuffix(suffix) => !key(&|key| key.ends_with(suffix.as_str())),
            Rule::EncryptedSuffix(suffix) => key(&|key| key.ends_with(suffix.as_str())),
            Rule::UnencryptedRegex(regex) => !key(&|key| regex.is_match(key.as_bytes())),
            Rule::EncryptedRegex(regex) => key(&|key| regex.is_match(key.as_bytes())),
            Rule::UnencryptedComment(regex) => !comments.iter().flatten().any(|comment| regex.is_match(comment)),
            Rule::EncryptedComment(regex) => {
                // The comment that asks for encryption stays readable.
                let (last, above) = comments.split_last().expect("the root has its level");
                let last = &last[..last.len() - usize::from(is_comment && !last.is_empty())];
                above
                    .iter()
                    .flatten()
                    .chain(last)
                    .any(|comment| regex.is_match(comment))
            }
        }
    }
}
