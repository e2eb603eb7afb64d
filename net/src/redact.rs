//! Taking secrets out of text before it is shown.

use std::sync::LazyLock;

use regex::Regex;

use crate::SecretText;

/// What stands in place of a secret.
const MASK: &str = "***";

static URL_CREDENTIALS: LazyLock<Regex> = LazyLock::new(|| {
    // The password may itself contain "@", so everything up to the last one before the path goes.
    Regex::new(r#"([A-Za-z][A-Za-z0-9+.-]*://)[^/\s"'<>?#]+@"#).expect("the pattern is constant")
});

/// Tokens that show what they are: authorization headers, GitHub, GitLab, Slack, AWS, Nave, and JSON web tokens.
static TOKENS: LazyLock<Regex> = LazyLock::new(|| {
    let patterns = [
        r"(?i:authorization:\s*)(?i:(bearer|basic|token)\s+)?[^\s,;]+",
        r"\bBearer\s+[A-Za-z0-9._~+/=-]{8,}",
        r"\bgh[pousr]_[A-Za-z0-9]{20,}",
        r"\bgithub_pat_[A-Za-z0-9_]{20,}",
        r"\bgl[a-z]{2,4}-[A-Za-z0-9_-]{16,}",
        r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
        r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
        r"\bnave1\.[A-Za-z0-9_=-]{8,}",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(-----END [A-Z ]*PRIVATE KEY-----)?",
    ];
    Regex::new(&patterns.join("|")).expect("the patterns are constant")
});

/// The text without credentials in URLs and without tokens of well-known forms.
pub fn redact(text: &str) -> String {
    let text = URL_CREDENTIALS.replace_all(text, format!("${{1}}{MASK}@"));
    TOKENS
        .replace_all(&text, |found: &regex::Captures<'_>| {
            // What kind of secret stood there may be seen.
            let found = &found[0];
            if found.starts_with("Bearer") {
                format!("Bearer {MASK}")
            } else if let Some((header, _)) = found.split_once(':').filter(|_| !found.starts_with('-')) {
                format!("{header}: {MASK}")
            } else {
                MASK.to_owned()
            }
        })
        .into_owned()
}

/// [`redact`], and every occurrence of the given values as well.
///
/// Values of fewer than four bytes are not searched for: they would tear holes into words.
pub fn redact_values<'a>(text: &str, values: impl IntoIterator<Item = &'a SecretText>) -> String {
    let mut text = text.to_owned();
    for value in values {
        let value = value.expose();
        if value.len() < 4 {
            continue;
        }
        text = text.replace(value, MASK);
        let escaped: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        if escaped != value {
            text = text.replace(&escaped, MASK);
        }
    }
    redact(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_and_the_rest_stays() {
        for (text, expected) in [
            (
                "cloning https://user:pa@ss@host/a?x failed",
                "cloning https://***@host/a?x failed",
            ),
            ("https://token@host:8443/a b@c", "https://***@host:8443/a b@c"),
            ("ssh://git@github.com/a/b", "ssh://***@github.com/a/b"),
            (
                "see https://host/a@b and mail a@b.c",
                "see https://host/a@b and mail a@b.c",
            ),
            ("Authorization: Bearer abcdefgh.ijk", "Authorization: ***"),
            ("authorization: Basic dXNlcjpwYXNz", "authorization: ***"),
            ("key ghp_0123456789abcdefghijABCDEFGHIJ0123 used", "key *** used"),
            ("glpat-0123456789abcdefghij", "***"),
            ("eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0", "***"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMII=\n-----END RSA PRIVATE KEY-----\n",
                "***\n",
            ),
            ("basic authentication failed", "basic authentication failed"),
            ("got Bearer abcdefgh.ijk back", "got Bearer *** back"),
            ("token is wrong", "token is wrong"),
            ("nothing to hide: sha256:0123", "nothing to hide: sha256:0123"),
        ] {
            assert_eq!(redact(text), expected, "{text}");
        }
    }

    #[test]
    fn known_values_go_in_both_spellings() {
        let values = [SecretText::new("p@ss/word"), SecretText::new("x")];
        let text = redact_values("x p@ss/word p%40ss%2Fword", &values);
        assert_eq!(text, "x *** ***");
    }
}
