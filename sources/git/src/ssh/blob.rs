//! Keys from elsewhere, before a library takes them apart.

use base64::{Engine, engine::general_purpose::STANDARD};

/// Whether a text of base64 holds a certificate within a certificate, level after level.
///
/// The library that reads keys follows such a chain by recursion, as deep as it goes. A real certificate is signed by a
/// plain key and names its type once or twice.
pub(crate) fn is_nested(base64: &str) -> bool {
    const MARKER: &[u8] = b"-cert-v01@";
    let plain: String = base64.chars().filter(|c| !c.is_whitespace()).collect();
    let Ok(blob) = STANDARD.decode(plain) else {
        return false; // no key either, which is said elsewhere
    };
    blob.windows(MARKER.len()).filter(|window| *window == MARKER).count() > 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_chains_of_certificates_are_nested() {
        let blob = |times: usize| STANDARD.encode(b"ssh-ed25519-cert-v01@openssh.com".repeat(times));
        assert!(!is_nested(&blob(0)) && !is_nested(&blob(2)) && !is_nested("no base64!"));
        assert!(is_nested(&blob(3)));
        let whole = blob(3);
        let (first, second) = whole.split_at(20);
        assert!(is_nested(&format!("{first}\n{second}")));
    }
}
