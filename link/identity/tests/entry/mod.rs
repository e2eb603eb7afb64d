//! What the fuzz target runs: bytes as everything that a stranger may send before or while it is known who it is.

use nave_identity::{
    CertificateFacts, CertificateRequest, JoinToken, KeyFingerprint, PeerCertificate, SignedRootSet, TokenHash,
    TrustedRoots, carried,
};

/// None of them may panic; what is read is written and read again.
pub fn decoders(bytes: &[u8]) {
    if let Ok(set) = SignedRootSet::from_bytes(bytes) {
        let again = SignedRootSet::from_bytes(&set.to_bytes()).expect("what was read can be read again");
        assert_eq!((again.version(), again.to_bytes()), (set.version(), set.to_bytes()));
    }
    let _ = TrustedRoots::stored(bytes);
    let _ = carried(bytes);
    let _ = CertificateRequest::read(bytes);
    let _ = CertificateFacts::read(bytes);
    let _ = PeerCertificate::read(bytes, &[bytes.to_vec().into()]);
    let text = String::from_utf8_lossy(bytes);
    if let Ok(token) = text.parse::<JoinToken>() {
        assert!(
            token.to_text().parse::<JoinToken>().is_ok(),
            "what was read can be read again"
        );
    }
    let _ = text.parse::<TokenHash>();
    let _ = text.parse::<KeyFingerprint>();
}
