//! Attestations that were made by the public Sigstore; they stand in the test data of sigstore-rust (Apache-2.0).

use nave_verify::{Cosign, Identity, Keyless};

const DIGEST: &str = "sha256:54303491a8418fbed24344b513546182c29b43bf282ceb433af65e2299f9271f";
const WITH_PROOF: &[u8] = include_bytes!("../published/attestation.sigstore.json");
const STAGING_ROOT: &[u8] = include_bytes!("../published/staging_root.json");
const OF_SECOND_LOG: &[u8] = include_bytes!("../published/attestation-rekor2.sigstore.json");

fn keyless(issuer: &str, subject: &str) -> Cosign {
    let identity = Identity::new(issuer, subject).expect("both are expressions");
    Cosign::Keyless(Box::new(Keyless::new(None, vec![identity]).expect("the root is good")))
}

#[test]
fn what_the_public_sigstore_signed_is_believed() {
    let github = keyless(
        "^https://token\\.actions\\.githubusercontent\\.com$",
        "^https://github\\.com/[^/]+/[^/]+/\\.github/workflows/",
    );
    let signer = github
        .check_bundle(DIGEST, WITH_PROOF)
        .expect("it is signed")
        .to_string();
    assert!(
        signer.contains("of issuer 'https://token.actions.githubusercontent.com'"),
        "{signer}"
    );
    // Of the staging instance, with the second version of its log, which leaves the time to a timestamp authority.
    let staging = Keyless::new(Some(STAGING_ROOT), Vec::new()).expect("the root is good");
    let staging = Cosign::Keyless(Box::new(staging));
    staging.check_bundle(DIGEST, OF_SECOND_LOG).expect("it is signed");
    staging.check_bundle(DIGEST, WITH_PROOF).expect_err("another instance");
}

#[test]
fn others_and_other_content_are_not() {
    let other = keyless("^https://accounts\\.google\\.com$", ".*");
    let error = other.check_bundle(DIGEST, WITH_PROOF).unwrap_err().to_string();
    assert!(
        error.contains("which spec.verify.matchOIDCIdentity does not allow"),
        "{error}"
    );
    let any = keyless(".*", ".*");
    let error = any
        .check_bundle(&DIGEST.replace("5430", "5431"), WITH_PROOF)
        .unwrap_err()
        .to_string();
    assert!(error.contains("mismatch") || error.contains("subject"), "{error}");
    let text = std::str::from_utf8(WITH_PROOF).expect("it is JSON");
    for (what, from, to) in [
        ("log index of the proof", "\"treeSize\":\"", "\"treeSize\":\"1"),
        ("time", "\"integratedTime\":\"1", "\"integratedTime\":\"2"),
        ("envelope", "\"payload\":\"ey", "\"payload\":\"eX"),
    ] {
        assert!(text.contains(from), "{what}");
        let error = any.check_bundle(DIGEST, text.replacen(from, to, 1).as_bytes());
        error.expect_err(what);
    }
}
