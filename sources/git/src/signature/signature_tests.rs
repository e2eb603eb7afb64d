//! Objects signed by git with gpg and ssh-keygen; `tests/signatures/record.sh` made them.

use std::collections::BTreeMap;

use super::*;

/// A day after the objects were made, long after the key `old` has expired.
const NOW: u64 = 1_795_370_000;

macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/signatures/", $name)).as_slice()
    };
}

fn keys(of: &[(&str, &[u8])]) -> TrustedKeys {
    let data: BTreeMap<String, Vec<u8>> = of
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
        .collect();
    TrustedKeys::from_secret(&data).unwrap()
}

fn all() -> TrustedKeys {
    keys(&[
        ("ed.asc", recorded!("ed.asc")),
        ("rsa.asc", recorded!("rsa.asc")),
        ("sub.asc", recorded!("sub.asc")),
        ("old.asc", recorded!("old.asc")),
        ("gone.asc", recorded!("gone.asc")),
        ("ed.sshpub", recorded!("ed.sshpub")),
        ("rsa.sshpub", recorded!("rsa.sshpub")),
        ("ecdsa.sshpub", recorded!("ecdsa.sshpub")),
    ])
}

#[track_caller]
fn check(result: Result<String, SignatureError>, expected: &str) {
    let found = match result {
        Ok(signer) => format!("ok {signer}"),
        Err(error) => error.to_string(),
    };
    assert!(found.contains(expected), "{found}");
}

#[test]
fn commits_signed_by_trusted_keys() {
    let keys = all();
    for object in [recorded!("ed.commit"), recorded!("rsa.commit"), recorded!("sub.commit")] {
        check(keys.verify_commit(object, NOW), "ok PGP key ");
    }
    for object in [
        recorded!("ssh-ed.commit"),
        recorded!("ssh-rsa.commit"),
        recorded!("ssh-ecdsa.commit"),
    ] {
        check(keys.verify_commit(object, NOW), "ok SSH key SHA256:");
    }
    check(keys.verify_tag(recorded!("ed.tag"), NOW), "ok PGP key ");
    check(keys.verify_tag(recorded!("ssh-ed.tag"), NOW), "ok SSH key SHA256:");
}

#[test]
fn what_is_not_signed_or_by_others_is_refused() {
    let keys = all();
    check(
        keys.verify_commit(recorded!("unsigned.commit"), NOW),
        "it is not signed",
    );
    check(keys.verify_tag(recorded!("unsigned.tag"), NOW), "it is not signed");
    check(
        keys.verify_commit(recorded!("other.commit"), NOW),
        "is not among the trusted keys",
    );
    let pgp = self::keys(&[("a", recorded!("ed.asc"))]);
    check(
        pgp.verify_commit(recorded!("ssh-ed.commit"), NOW),
        "the secret has no SSH key",
    );
    check(
        pgp.verify_commit(recorded!("rsa.commit"), NOW),
        "is not among the trusted keys",
    );
    let ssh = self::keys(&[("a.sshpub", recorded!("rsa.sshpub"))]);
    check(
        ssh.verify_commit(recorded!("ssh-ed.commit"), NOW),
        "is not among the trusted keys",
    );
    check(
        ssh.verify_commit(recorded!("ed.commit"), NOW),
        "the secret has no PGP key",
    );
}

#[test]
fn expired_revoked_and_weak_is_refused() {
    let keys = all();
    check(keys.verify_commit(recorded!("old.commit"), NOW), "the key has expired");
    // On the day that it was valid.
    check(
        keys.verify_commit(recorded!("old.commit"), 1_735_693_200),
        "ok PGP key ",
    );
    check(keys.verify_commit(recorded!("gone.commit"), NOW), "the key is revoked");
    check(
        keys.verify_commit(recorded!("sha1.commit"), NOW),
        "rests on a broken hash",
    );
    check(
        keys.verify_commit(recorded!("ed.commit"), 1_000_000_000),
        "made in the future",
    );
}

#[test]
fn every_changed_byte_of_what_is_signed_is_noticed() {
    let keys = all();
    for object in [
        recorded!("ed.commit"),
        recorded!("sub.commit"),
        recorded!("ssh-ed.commit"),
    ] {
        for place in (0..40).chain(object.len() - 10..object.len()) {
            let mut changed = object.to_vec();
            changed[place] ^= 1;
            assert!(keys.verify_commit(&changed, NOW).is_err(), "{place}");
        }
        let mut longer = object.to_vec();
        longer.push(b'\n');
        check(keys.verify_commit(&longer, NOW), "does not fit what is signed");
    }
}

#[test]
fn a_signature_for_another_purpose_is_refused() {
    let payload = String::from_utf8(recorded!("purpose.payload").to_vec()).unwrap();
    let signature = String::from_utf8(recorded!("purpose.sig").to_vec()).unwrap();
    let header = signature.trim_end().replace('\n', "\n ");
    let (head, message) = payload.split_once("\n\n").unwrap();
    let object = format!("{head}\ngpgsig {header}\n\n{message}");
    check(
        all().verify_commit(object.as_bytes(), NOW),
        "made for another purpose than git",
    );
}

#[test]
fn keys_that_cannot_be_read_are_named() {
    let read = |name: &str, value: &[u8]| {
        let data = BTreeMap::from([(name.to_owned(), value.to_vec())]);
        TrustedKeys::from_secret(&data).unwrap_err().to_string()
    };
    assert!(read("a.asc", b"nonsense").starts_with("key \"a.asc\" is not a PGP public key: "));
    assert!(read("a.sshpub", b"# c\nnonsense\n").starts_with("key \"a.sshpub\", line 2, is not an SSH public key: "));
    assert!(read("a.sshpub", b"").contains("it is empty"));
    assert_eq!(
        TrustedKeys::from_secret(&BTreeMap::new()).unwrap_err(),
        KeysError::Empty
    );
}
