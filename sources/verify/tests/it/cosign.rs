//! Both layouts, with keys and without.

use std::collections::BTreeMap;

use anyhow::Result;
use nave_bed::{CosignKey, Signatory, Sigstore};
use nave_verify::{Cosign, Identity, Keyless, PublicKeys};

const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const OTHER: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
const WHO: Signatory<'static> = Signatory {
    subject: "release@example.com",
    issuer: "https://accounts.example.com",
};

fn keys(keys: &[(&str, &CosignKey)]) -> Result<Cosign> {
    let data = keys
        .iter()
        .map(|(name, key)| ((*name).to_owned(), key.public_pem().into_bytes()))
        .collect();
    Ok(Cosign::Keys(PublicKeys::from_secret(&data)?))
}

fn keyless(sigstore: &Sigstore, identities: &[(&str, &str)]) -> Result<Cosign> {
    let identities: Result<Vec<_>, _> = identities.iter().map(|(i, s)| Identity::new(i, s)).collect();
    let keyless = Keyless::new(Some(sigstore.trusted_root().as_bytes()), identities?)?;
    Ok(Cosign::Keyless(Box::new(keyless)))
}

fn check_both(
    cosign: &Cosign,
    digest: &str,
    bundle: &str,
    tag: &nave_bed::TagSignature,
) -> [Result<String, String>; 2] {
    [
        cosign.check_bundle(digest, bundle.as_bytes()),
        cosign.check_tag_signature(digest, &tag.payload, &tag.annotations),
    ]
    .map(|found| {
        found
            .map(|signer| signer.to_string())
            .map_err(|error| error.to_string())
    })
}

#[test]
fn keys_sign_in_both_layouts() -> Result<()> {
    let (first, second, stranger) = (CosignKey::new()?, CosignKey::new()?, CosignKey::new()?);
    let trusted = keys(&[("a.pub", &first), ("b.pub", &second)])?;
    let (bundle, tag) = (second.sign_bundle(DIGEST)?, second.sign_tag(DIGEST)?);
    for found in check_both(&trusted, DIGEST, &bundle, &tag) {
        assert_eq!(found, Ok("key b.pub".to_owned()));
    }
    for found in check_both(&trusted, OTHER, &bundle, &tag) {
        assert_eq!(found, Err(format!("it is a signature of {DIGEST}")));
    }
    for found in check_both(&keys(&[("c.pub", &stranger)])?, DIGEST, &bundle, &tag) {
        assert_eq!(found, Err("it was made by none of the keys c.pub".to_owned()));
    }
    Ok(())
}

#[test]
fn identities_sign_in_both_layouts() -> Result<()> {
    let sigstore = Sigstore::new()?;
    let trusted = keyless(
        &sigstore,
        &[("other", "x"), ("^https://accounts\\.", "@example\\.com$")],
    )?;
    let (bundle, tag) = (sigstore.sign_bundle(DIGEST, WHO)?, sigstore.sign_tag(DIGEST, WHO)?);
    for found in check_both(&trusted, DIGEST, &bundle, &tag) {
        let wanted = "'release@example.com' of issuer 'https://accounts.example.com'";
        assert_eq!(found, Ok(wanted.to_owned()));
    }
    for found in check_both(&trusted, OTHER, &bundle, &tag) {
        found.expect_err("it is of something else");
    }
    let elsewhere = keyless(&sigstore, &[("^https://accounts\\.", "@example\\.org$")])?;
    for found in check_both(&elsewhere, DIGEST, &bundle, &tag) {
        let error = found.expect_err("it is of somebody else");
        assert!(error.starts_with("it was made by 'release@example.com'"), "{error}");
    }
    // Another Sigstore, and the public one, know nothing of it.
    let public = Cosign::Keyless(Box::new(Keyless::new(None, Vec::new())?));
    for cosign in [keyless(&Sigstore::new()?, &[])?, public] {
        for found in check_both(&cosign, DIGEST, &bundle, &tag) {
            found.expect_err("nobody there vouches for it");
        }
    }
    Ok(())
}

#[test]
fn parts_cannot_be_taken_away_or_swapped() -> Result<()> {
    let sigstore = Sigstore::new()?;
    let trusted = keyless(&sigstore, &[])?;
    let tag = sigstore.sign_tag(DIGEST, WHO)?;
    let another = sigstore.sign_tag(OTHER, WHO)?;
    let names: Vec<&String> = tag.annotations.keys().collect();
    for name in names {
        let mut less = tag.annotations.clone();
        less.remove(name);
        let error = trusted
            .check_tag_signature(DIGEST, &tag.payload, &less)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("it has no "), "{name}: {error}");
        let mut swapped: BTreeMap<String, String> = tag.annotations.clone();
        swapped.insert(name.clone(), another.annotations[name].clone());
        trusted
            .check_tag_signature(DIGEST, &tag.payload, &swapped)
            .expect_err("parts of two signatures");
    }
    // A signature by key alone is nobody's identity.
    let by_key = CosignKey::new()?;
    for found in check_both(
        &trusted,
        DIGEST,
        &by_key.sign_bundle(DIGEST)?,
        &by_key.sign_tag(DIGEST)?,
    ) {
        found.expect_err("no certificate");
    }
    Ok(())
}

#[test]
fn what_is_no_key_root_or_expression_is_said() {
    let secret = |name: &str, value: &str| [(name.to_owned(), value.as_bytes().to_vec())].into();
    let error = PublicKeys::from_secret(&secret("cosign.key", "x")).unwrap_err();
    assert_eq!(error.to_string(), "it has no key that ends in \".pub\"");
    let error = PublicKeys::from_secret(&secret("a.pub", "canary"))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("key \"a.pub\" is no key"), "{error}");
    let error = Identity::new("(", "x").unwrap_err();
    assert_eq!(error.to_string(), "issuer '('");
    let error = Keyless::new(Some(b"{"), Vec::new()).unwrap_err().to_string();
    assert!(error.starts_with("the trusted root cannot be used: "), "{error}");
    for text in ["", "{}", "[]", "{\"mediaType\": 1}"] {
        let trusted = Cosign::Keyless(Box::new(Keyless::new(None, Vec::new()).expect("the root is good")));
        let error = trusted.check_bundle(DIGEST, text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("the bundle cannot be read"), "{error}");
    }
}
