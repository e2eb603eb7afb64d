//! Envelopes that the Notary Project's own library made; `tests/notation/make` made them.

use nave_verify::notation::{Judged, Notation, Target, media_type};
use serde_json::{Value, json};

const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const ROOT: &[u8] = include_bytes!("../notation/root.crt");
/// 2026-01-01.
const NOW: i64 = 1_767_225_600;

const GOOD: [(&str, &[u8], &str); 4] = [
    (media_type::JWS, include_bytes!("../notation/rsa.jws"), "rsa"),
    (media_type::COSE, include_bytes!("../notation/rsa.cose"), "rsa"),
    (media_type::JWS, include_bytes!("../notation/ec.jws"), "ec"),
    (media_type::COSE, include_bytes!("../notation/ec.cose"), "ec"),
];
const EXPIRED: [(&str, &[u8]); 4] = [
    (media_type::JWS, include_bytes!("../notation/rsa-expired.jws")),
    (media_type::COSE, include_bytes!("../notation/rsa-expired.cose")),
    (media_type::JWS, include_bytes!("../notation/ec-expired.jws")),
    (media_type::COSE, include_bytes!("../notation/ec-expired.cose")),
];

fn notation(fields: Value, root: &[u8]) -> Notation {
    let mut statement = json!({
        "name": "all", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:acme"], "trustedIdentities": ["x509.subject: C=US, ST=WA, O=example"],
    });
    for (name, value) in fields.as_object().expect("an object") {
        statement[name] = value.clone();
    }
    let policy = json!({"version": "1.0", "trustPolicies": [statement]})
        .to_string()
        .into_bytes();
    let data = [
        ("trustpolicy.json".to_owned(), policy),
        ("ca.crt".to_owned(), root.to_vec()),
    ]
    .into();
    Notation::from_secret(&data).expect("both are right")
}

fn target(digest: &str, now: i64) -> Target<'_> {
    Target {
        repository: "registry.example.com/app",
        digest,
        now,
    }
}

fn level(level: &str) -> Value {
    json!({"signatureVerification": {"level": level}})
}

#[test]
fn envelopes_of_the_reference_are_believed() {
    let strict = notation(json!({}), ROOT);
    for (kind, envelope, name) in GOOD {
        let judged = strict.check(target(DIGEST, NOW), kind, envelope).expect(name);
        let Judged::Verified(signer) = judged else {
            panic!("{name} {kind}");
        };
        assert_eq!(
            signer.to_string(),
            format!("'C=US, ST=WA, O=example, CN=signer {name}'")
        );
        let other = DIGEST.replace("9f86", "0000");
        let error = strict
            .check(target(&other, NOW), kind, envelope)
            .unwrap_err()
            .to_string();
        assert_eq!(error, format!("it is a signature of {DIGEST}"));
        // Before and after its certificates.
        for moment in [0, 5_000_000_000] {
            let error = strict
                .check(target(DIGEST, moment), kind, envelope)
                .unwrap_err()
                .to_string();
            assert!(error.contains("are not all valid at"), "{error}");
            notation(level("permissive"), ROOT)
                .check(target(DIGEST, moment), kind, envelope)
                .expect("that is not enforced");
        }
    }
}

#[test]
fn every_byte_of_an_envelope_counts() {
    let strict = notation(json!({}), ROOT);
    for (kind, envelope, name) in GOOD {
        // Every few bytes: each change must be noticed, whatever it hits. What is not signed, such as who made the
        // envelope, may change.
        let mut refused = 0;
        let tried = (0..envelope.len()).step_by(7);
        let count = tried.clone().count();
        for at in tried {
            let mut changed = envelope.to_vec();
            changed[at] ^= 1;
            if strict.check(target(DIGEST, NOW), kind, &changed).is_err() {
                refused += 1;
            }
        }
        assert!(refused * 10 > count * 9, "{name} {kind}: {refused} of {count}");
    }
}

#[test]
fn who_is_trusted_and_how_strictly() {
    let unknown = rcgen_root();
    let stranger = json!({"trustedIdentities": ["x509.subject: C=US, ST=WA, O=other"]});
    for (kind, envelope, name) in GOOD {
        let check = |notation: Notation| notation.check(target(DIGEST, NOW), kind, envelope);
        let error = check(notation(json!({}), unknown.as_bytes())).unwrap_err().to_string();
        assert!(error.contains("does not lead to one that the secret holds"), "{error}");
        let error = check(notation(stranger.clone(), ROOT)).unwrap_err().to_string();
        assert!(error.contains("which the trust policy 'all' does not trust"), "{error}");
        let mut audit = stranger.clone();
        audit["signatureVerification"] = json!({"level": "audit"});
        let judged = check(notation(audit, ROOT)).expect("nothing is enforced");
        assert!(matches!(judged, Judged::Ignored(_)), "{name}: {judged:?}");
        let error = check(notation(json!({"trustStores": ["signingAuthority:x"]}), ROOT))
            .unwrap_err()
            .to_string();
        assert!(error.contains("names no trust store 'ca:"), "{error}");
    }
    for (kind, envelope) in EXPIRED {
        let error = notation(json!({}), ROOT)
            .check(target(DIGEST, NOW), kind, envelope)
            .unwrap_err();
        assert_eq!(error.to_string(), "the signature has expired");
        let logged = notation(level("permissive"), ROOT).check(target(DIGEST, NOW), kind, envelope);
        assert!(matches!(logged, Ok(Judged::Verified(_))), "{logged:?}");
    }
    let skip = notation(json!({"signatureVerification": {"level": "skip"}}), ROOT);
    assert!(skip.is_skipped("registry.example.com/app").expect("it is for all"));
    let one = notation(json!({"registryScopes": ["registry.example.com/other"]}), ROOT);
    let error = one
        .check(target(DIGEST, NOW), GOOD[0].0, GOOD[0].1)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "the trust policy has no statement for 'registry.example.com/app'"
    );
}

#[test]
fn what_is_missing_in_the_secret_is_said() {
    let of = |data: &[(&str, &[u8])]| {
        let data = data
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
            .collect();
        Notation::from_secret(&data).unwrap_err().to_string()
    };
    let policy = br#"{"version": "1.0", "trustPolicies": [{"name": "a", "registryScopes": ["*"],
        "signatureVerification": {"level": "skip"}}]}"#;
    assert_eq!(of(&[]), "it has no key \"trustpolicy.json\"");
    assert_eq!(
        of(&[("trustpolicy.json", policy)]),
        "it has no certificate under a key that ends in \".crt\" or \".pem\""
    );
    let error = of(&[("trustpolicy.json", policy), ("ca.crt", b"canary")]);
    assert!(
        error.starts_with("key \"ca.crt\"") && !error.contains("canary"),
        "{error}"
    );
}

fn rcgen_root() -> String {
    nave_bed::Authority::new("another")
        .expect("it is made")
        .pem()
        .to_owned()
}
