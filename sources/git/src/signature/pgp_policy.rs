//! Which PGP key may have signed something: bindings, expiry, revocation and hashes.
//!
//! The library checks single signatures and leaves to us what they mean. As go-crypto, which Flux uses: a key that has
//! expired by now or is revoked does not count, a subkey needs a binding in both directions, and the signature itself
//! must not rest on MD5, SHA-1 or RIPEMD-160.

use std::time::SystemTime;

use pgp::{
    composed::{SignedPublicKey, SignedPublicSubKey},
    crypto::hash::HashAlgorithm,
    packet::{Signature, SignatureType},
    types::{KeyDetails, Tag},
};

use super::SignatureError;

/// Clocks of signers may run ahead by so much.
const SKEW: u64 = 24 * 60 * 60;

/// Whose key made the signature over `payload`.
pub(super) fn verify(
    keys: &[SignedPublicKey],
    signature: &Signature,
    payload: &[u8],
    now: u64,
) -> Result<String, SignatureError> {
    let mut wrong = None;
    for key in keys {
        let named = format!("PGP key {:X}", key.primary_key.fingerprint());
        if names(signature, &key.primary_key) {
            match signature.verify(&key.primary_key, payload) {
                Ok(()) => return allowed(key, None, signature, named.clone(), now).map(|()| named),
                Err(_) => wrong = Some(named.clone()),
            }
        }
        for subkey in &key.public_subkeys {
            if names(signature, &subkey.key) {
                match signature.verify(&subkey.key, payload) {
                    Ok(()) => return allowed(key, Some(subkey), signature, named.clone(), now).map(|()| named),
                    Err(_) => wrong = Some(named.clone()),
                }
            }
        }
    }
    match wrong {
        Some(signer) => Err(SignatureError::Wrong { signer }),
        None => Err(SignatureError::Unknown {
            signer: signer(signature),
        }),
    }
}

/// Whether the signature says that it was made with this key. One that says nothing is tried with all.
fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    let prints = signature.issuer_fingerprint();
    let ids = signature.issuer_key_id();
    (prints.is_empty() && ids.is_empty())
        || prints.iter().any(|print| **print == key.fingerprint())
        || ids.iter().any(|id| **id == key.legacy_key_id())
}

fn signer(signature: &Signature) -> String {
    if let Some(print) = signature.issuer_fingerprint().first() {
        return format!("PGP key {print:X}");
    }
    match signature.issuer_key_id().first() {
        Some(id) => format!("PGP key {id}"),
        None => "of PGP, which it does not name,".to_owned(),
    }
}

/// Whether a signature that fits was made with a key that may be used.
fn allowed(
    key: &SignedPublicKey,
    subkey: Option<&SignedPublicSubKey>,
    signature: &Signature,
    signer: String,
    now: u64,
) -> Result<(), SignatureError> {
    let no = |why: &str| {
        Err(SignatureError::NotAllowed {
            signer: signer.clone(),
            why: why.to_owned(),
        })
    };
    if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
        return no("it is not the signature of a document");
    }
    if signature.hash_alg().is_none_or(is_weak) {
        return no("the signature rests on a broken hash");
    }
    let Some(made) = seconds(signature) else {
        return no("the signature does not say when it was made");
    };
    if made > now.saturating_add(SKEW) {
        return no("the signature was made in the future");
    }
    if let Some(valid) = signature.signature_expiration_time().map(duration)
        && valid != 0
        && now >= made.saturating_add(valid)
    {
        return no("the signature has expired");
    }

    let primary = &key.primary_key;
    let revoked = key.details.revocation_signatures.iter().any(|revocation| {
        revocation.typ() == Some(SignatureType::KeyRevocation) && revocation.verify_key(primary).is_ok()
    });
    if revoked {
        return no("the key is revoked");
    }
    let by_users = key.details.users.iter().flat_map(|user| {
        user.signatures
            .iter()
            .filter(|found| found.typ() != Some(SignatureType::CertRevocation))
            .filter(move |found| found.verify_certification(primary, Tag::UserId, &user.id).is_ok())
    });
    let direct = key
        .details
        .direct_signatures
        .iter()
        .filter(|found| found.verify_key(primary).is_ok());
    let Some(own) = by_users.chain(direct).max_by_key(|found| seconds(found)) else {
        return no("the key does not vouch for itself");
    };
    if expired(primary, own, now) {
        return no("the key has expired");
    }
    let Some(subkey) = subkey else {
        let flags = own.key_flags();
        // Keys of long ago say nothing of their use, and then may sign.
        let silent = !(flags.sign()
            || flags.certify()
            || flags.encrypt_comms()
            || flags.encrypt_storage()
            || flags.authentication());
        return if flags.sign() || silent {
            Ok(())
        } else {
            no("the key is not one for signing")
        };
    };
    let revoked = subkey.signatures.iter().any(|found| {
        found.typ() == Some(SignatureType::SubkeyRevocation)
            && found.verify_subkey_binding(primary, &subkey.key).is_ok()
    });
    if revoked {
        return no("its subkey is revoked");
    }
    let binding = subkey
        .signatures
        .iter()
        .filter(|found| found.typ() == Some(SignatureType::SubkeyBinding))
        .filter(|found| found.verify_subkey_binding(primary, &subkey.key).is_ok())
        .max_by_key(|found| seconds(found));
    let Some(binding) = binding else {
        return no("its subkey is not bound to the key");
    };
    if !binding.key_flags().sign() {
        return no("its subkey is not one for signing");
    }
    let back = binding
        .embedded_signature()
        .is_some_and(|back| back.verify_primary_key_binding(&subkey.key, primary).is_ok());
    if !back {
        return no("its subkey does not acknowledge the key");
    }
    if expired(&subkey.key, binding, now) {
        return no("its subkey has expired");
    }
    Ok(())
}

fn is_weak(hash: HashAlgorithm) -> bool {
    matches!(
        hash,
        HashAlgorithm::Md5 | HashAlgorithm::Sha1 | HashAlgorithm::Ripemd160
    )
}

fn expired(key: &impl KeyDetails, own: &Signature, now: u64) -> bool {
    let Some(lasts) = own.key_expiration_time().map(duration).filter(|lasts| *lasts != 0) else {
        return false;
    };
    now >= since_epoch(key.created_at().into()).saturating_add(lasts)
}

fn seconds(signature: &Signature) -> Option<u64> {
    signature.created().map(|made| since_epoch(made.into()))
}

fn since_epoch(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn duration(duration: pgp::types::Duration) -> u64 {
    std::time::Duration::from(duration).as_secs()
}
