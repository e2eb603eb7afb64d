//! The roots that an agent believes: a signed, chained, versioned set.
//!
//! Each set names the digest of the one before it and is signed by a root of that one, so that an agent which knows
//! version 3 can follow 4, 5 and 6 without a person. An offline recovery key, pinned in the set, may sign a set that
//! skips the chain: for the day when the authority's key is lost, or the chain is.

use prost::Message;
use rustls::SignatureScheme;
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::certificate::{self, CertificateError};
use crate::fingerprint::KeyFingerprint;
use crate::key::{Key, KeyError};
use crate::tls;

const MAX_ENCODED: usize = 32 * 1024;
const MAX_ROOTS: usize = 8;
const MAX_SIGNATURES: usize = 16;

/// One version of the roots, as it is signed.
#[derive(Clone, PartialEq, Message)]
pub struct RootSet {
    /// Starts at 1 and rises by one.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// DER certificates of the server authorities in use or about to be; 1–8.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub roots: Vec<Vec<u8>>,
    /// Fingerprint (32 bytes) of the offline recovery key, or empty.
    #[prost(bytes = "vec", tag = "3")]
    pub recovery_key_hash: Vec<u8>,
    /// Digest of the encoded version before this one, empty in version 1.
    #[prost(bytes = "vec", tag = "4")]
    pub prev_digest: Vec<u8>,
}

/// A signature over a root set.
#[derive(Clone, PartialEq, Message)]
pub struct RootSignature {
    /// DER SubjectPublicKeyInfo of the signer.
    #[prost(bytes = "vec", tag = "1")]
    pub spki: Vec<u8>,
    /// ECDSA P-256 with SHA-256, ASN.1.
    #[prost(bytes = "vec", tag = "2")]
    pub signature: Vec<u8>,
}

/// An encoded [`RootSet`] and its signatures. The set stays in the bytes that were signed; it is never encoded again.
#[derive(Clone, PartialEq, Message)]
pub struct SignedRootSet {
    /// The encoded [`RootSet`].
    #[prost(bytes = "vec", tag = "1")]
    pub root_set: Vec<u8>,
    /// Who vouches for it; 1–16.
    #[prost(message, repeated, tag = "2")]
    pub sigs: Vec<RootSignature>,
}

/// A root set that was verified: what an agent trusts and stores.
#[derive(Debug, Clone, PartialEq)]
pub struct TrustedRoots {
    signed: SignedRootSet,
    set: RootSet,
}

/// A root set that is not believed.
#[derive(Debug, thiserror::Error)]
pub enum RootSetError {
    /// Too large, or not the message.
    #[error("root set of {bytes} bytes cannot be read")]
    Unreadable {
        /// Its size.
        bytes: usize,
    },
    /// A rule of the form is broken.
    #[error("root set version {version} is malformed: {what}")]
    Malformed {
        /// The version it states.
        version: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A root in it is not a certificate of a P-256 key.
    #[error("root {index} of root set version {version}")]
    Root {
        /// The version it states.
        version: u64,
        /// Which root, from 0.
        index: usize,
        /// What is wrong.
        #[source]
        source: CertificateError,
    },
    /// At join: none of the roots has the pinned key.
    #[error("root set version {version} does not hold the pinned root {pin}")]
    PinMissing {
        /// The version it states.
        version: u64,
        /// The pin of the join token.
        pin: KeyFingerprint,
    },
    /// Nobody who may vouch for it signed it.
    #[error("root set version {version} is not signed by {wanted}")]
    NotVouched {
        /// The version it states.
        version: u64,
        /// Whose signature was needed.
        wanted: &'static str,
    },
    /// It does not follow the one that is trusted.
    #[error("root set version {offered} does not follow trusted version {trusted}")]
    NotNext {
        /// The version it states.
        offered: u64,
        /// The version that is trusted.
        trusted: u64,
    },
    /// It jumps, and not by the word of the recovery key.
    #[error(
        "root set version {offered} does not follow trusted version {trusted} and is not signed by the pinned recovery key {pinned}"
    )]
    NotRecovered {
        /// The version it states.
        offered: u64,
        /// The version that is trusted.
        trusted: u64,
        /// The recovery key.
        pinned: KeyFingerprint,
    },
    /// Another recovery key signed it than the one that agents know.
    #[error(
        "root set version {version} is not signed by recovery key {wanted}{}",
        if *.pinned { ", which this hub's agents have pinned" } else { ", which it names" }
    )]
    WrongRecoveryKey {
        /// The version it states.
        version: u64,
        /// Whose signature was needed.
        wanted: KeyFingerprint,
        /// Whether agents have that key already.
        pinned: bool,
    },
    /// A recovery of another authority than the hub's.
    #[error("root set version {version} does not hold the hub's root {root}; sign one for that")]
    RootMissing {
        /// The version it states.
        version: u64,
        /// The hub's own.
        root: KeyFingerprint,
    },
    /// Signing failed.
    #[error("signing root set version {version}")]
    Sign {
        /// The version.
        version: u64,
        /// Why.
        #[source]
        source: KeyError,
    },
}

impl RootSet {
    /// Version 1.
    pub fn first(roots: Vec<CertificateDer<'static>>, recovery: Option<KeyFingerprint>) -> Self {
        Self {
            version: 1,
            roots: ders(roots),
            recovery_key_hash: hash_field(recovery),
            prev_digest: Vec::new(),
        }
    }

    /// The version that follows `previous`, with other roots and the same recovery key.
    pub fn following(previous: &TrustedRoots, roots: Vec<CertificateDer<'static>>) -> Self {
        Self {
            version: previous.set.version + 1,
            roots: ders(roots),
            recovery_key_hash: previous.set.recovery_key_hash.clone(),
            prev_digest: previous.digest().to_vec(),
        }
    }

    /// Encodes and signs the set.
    pub fn sign(&self, signers: &[&Key]) -> Result<SignedRootSet, RootSetError> {
        let root_set = self.encode_to_vec();
        let message = signed_message(&root_set);
        let sign = |key: &&Key| {
            let signature = key.sign(&message).map_err(|source| RootSetError::Sign {
                version: self.version,
                source,
            })?;
            Ok(RootSignature {
                spki: key.spki(),
                signature,
            })
        };
        let sigs = signers.iter().map(sign).collect::<Result<_, _>>()?;
        Ok(SignedRootSet { root_set, sigs })
    }

    fn check(&self) -> Result<(), RootSetError> {
        let malformed = |what| {
            Err(RootSetError::Malformed {
                version: self.version,
                what,
            })
        };
        if self.version == 0 {
            return malformed("versions start at 1");
        }
        if !(1..=MAX_ROOTS).contains(&self.roots.len()) {
            return malformed("it must hold 1 to 8 roots");
        }
        if !matches!(self.recovery_key_hash.len(), 0 | 32) || !matches!(self.prev_digest.len(), 0 | 32) {
            return malformed("digests are 32 bytes or absent");
        }
        for (index, root) in self.roots.iter().enumerate() {
            certificate::CertificateFacts::read(root).map_err(|source| RootSetError::Root {
                version: self.version,
                index,
                source,
            })?;
        }
        Ok(())
    }

    fn root_keys(&self) -> impl Iterator<Item = KeyFingerprint> {
        self.roots
            .iter()
            .filter_map(|root| certificate::spki_of(root).ok())
            .map(|spki| KeyFingerprint::of_spki(&spki))
    }

    fn recovery_key(&self) -> Option<KeyFingerprint> {
        self.recovery_key_hash
            .as_slice()
            .try_into()
            .ok()
            .map(KeyFingerprint::from_bytes)
    }
}

impl SignedRootSet {
    /// Reads the message as it travels and is stored.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RootSetError> {
        let unreadable = || RootSetError::Unreadable { bytes: bytes.len() };
        if bytes.len() > MAX_ENCODED {
            return Err(unreadable());
        }
        Self::decode(bytes).map_err(|_| unreadable())
    }

    /// The message as it travels and is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// The version that it states, unverified; 0 when it cannot be read.
    pub fn version(&self) -> u64 {
        RootSet::decode(&*self.root_set).map_or(0, |set| set.version)
    }

    pub(crate) fn open(self) -> Result<TrustedRoots, RootSetError> {
        let set = RootSet::decode(&*self.root_set).map_err(|_| RootSetError::Unreadable {
            bytes: self.root_set.len(),
        })?;
        set.check()?;
        if !(1..=MAX_SIGNATURES).contains(&self.sigs.len()) {
            return Err(RootSetError::Malformed {
                version: set.version,
                what: "it must carry 1 to 16 signatures",
            });
        }
        Ok(TrustedRoots { signed: self, set })
    }
}

impl TrustedRoots {
    /// Believes a set at join, because it holds the pinned root and that root signed it.
    pub fn pinned(signed: SignedRootSet, pin: KeyFingerprint) -> Result<Self, RootSetError> {
        let candidate = signed.open()?;
        let version = candidate.set.version;
        if !candidate.set.root_keys().any(|key| key == pin) {
            return Err(RootSetError::PinMissing { version, pin });
        }
        if !candidate.is_signed_by(|key| key == pin) {
            return Err(RootSetError::NotVouched {
                version,
                wanted: "the pinned root",
            });
        }
        Ok(candidate)
    }

    /// Reads a set that was verified before it was stored. Its form is checked, its signatures are not: whoever can
    /// write the store could as well write another private key.
    pub fn stored(bytes: &[u8]) -> Result<Self, RootSetError> {
        SignedRootSet::from_bytes(bytes)?.open()
    }

    /// Follows the chain by one version, or jumps by the recovery key's word.
    ///
    /// A set that the recovery key signed may skip versions; every other must be exactly the next, name this one's
    /// digest and be signed by one of its roots. Changing the recovery key needs the recovery key's signature, so that
    /// a stolen authority cannot take it away.
    pub fn advance(&self, signed: SignedRootSet) -> Result<Self, RootSetError> {
        let next = signed.open()?;
        let (offered, trusted) = (next.set.version, self.set.version);
        let recovery = self.set.recovery_key();
        let recovered = recovery.is_some_and(|recovery| next.is_signed_by(|key| key == recovery));
        if recovered {
            return if offered > trusted {
                Ok(next)
            } else {
                Err(RootSetError::NotNext { offered, trusted })
            };
        }
        if Some(offered) != trusted.checked_add(1) || next.set.prev_digest != self.digest() {
            return Err(match recovery.filter(|_| offered > trusted) {
                Some(pinned) => RootSetError::NotRecovered {
                    offered,
                    trusted,
                    pinned,
                },
                None => RootSetError::NotNext { offered, trusted },
            });
        }
        if recovery.is_some() && next.set.recovery_key_hash != self.set.recovery_key_hash {
            let wanted = "the recovery key, although it changes that key";
            return Err(RootSetError::NotVouched {
                version: offered,
                wanted,
            });
        }
        let roots: Vec<_> = self.set.root_keys().collect();
        if !next.is_signed_by(|key| roots.contains(&key)) {
            return Err(RootSetError::NotVouched {
                version: offered,
                wanted: "a root of the version before it",
            });
        }
        Ok(next)
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.set.version
    }

    /// The root certificates.
    pub fn roots(&self) -> Vec<CertificateDer<'static>> {
        self.set
            .roots
            .iter()
            .map(|root| CertificateDer::from(root.clone()))
            .collect()
    }

    /// The set as it is signed, stored and sent.
    pub fn signed(&self) -> &SignedRootSet {
        &self.signed
    }

    /// Digest of the encoded set, which the next version names.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"nave root set digest v1\0");
        hash.update(&self.signed.root_set);
        hash.finalize().into()
    }

    /// The offline recovery key that it pins, if any.
    pub fn recovery_key(&self) -> Option<KeyFingerprint> {
        self.set.recovery_key()
    }

    pub(crate) fn is_signed_by(&self, accepted: impl Fn(KeyFingerprint) -> bool) -> bool {
        let message = signed_message(&self.signed.root_set);
        self.signed
            .sigs
            .iter()
            .any(|sig| accepted(KeyFingerprint::of_spki(&sig.spki)) && verify_p256(&sig.spki, &message, &sig.signature))
    }
}

pub(crate) fn signed_message(root_set: &[u8]) -> Vec<u8> {
    [b"nave root set signature v1\0", root_set].concat()
}

fn verify_p256(spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Some(point) = certificate::p256_point(spki) else {
        return false;
    };
    let provider = tls::provider();
    let algorithms = provider.signature_verification_algorithms.mapping;
    let (_, candidates) = algorithms
        .iter()
        .find(|(scheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256)
        .expect("the provider verifies P-256, which TLS 1.3 makes mandatory");
    // The list also holds P-384 with SHA-256, which cannot accept a P-256 point.
    candidates
        .iter()
        .any(|algorithm| algorithm.verify_signature(point, message, signature).is_ok())
}

fn ders(roots: Vec<CertificateDer<'static>>) -> Vec<Vec<u8>> {
    roots.into_iter().map(|root| root.to_vec()).collect()
}

pub(crate) fn hash_field(key: Option<KeyFingerprint>) -> Vec<u8> {
    key.map(|key| key.as_bytes().to_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::authority::{Authority, AuthorityRole};

    fn authority() -> Authority {
        let now = Timestamp::from_second(1_800_000_000).expect("in range");
        Authority::generate(AuthorityRole::Server, now, SignedDuration::from_hours(24)).expect("generation works")
    }

    fn roots(of: &[&Authority]) -> Vec<CertificateDer<'static>> {
        of.iter().map(|authority| authority.certificate().clone()).collect()
    }

    fn first(authority: &Authority, recovery: Option<&Key>) -> TrustedRoots {
        let set = RootSet::first(roots(&[authority]), recovery.map(Key::fingerprint));
        let signed = set.sign(&[authority.key()]).expect("signing works");
        let travelled = SignedRootSet::from_bytes(&signed.to_bytes()).expect("own bytes");
        TrustedRoots::pinned(travelled, authority.fingerprint()).expect("pinned and signed")
    }

    fn text<T>(result: Result<T, RootSetError>) -> String {
        result.err().expect("refused").to_string()
    }

    #[test]
    fn two_rotations_are_followed_without_the_pin() {
        let (a, b, c) = (authority(), authority(), authority());
        let one = first(&a, None);
        let two = one.advance(
            RootSet::following(&one, roots(&[&a, &b]))
                .sign(&[a.key()])
                .expect("signs"),
        );
        let two = two.expect("signed by a, which one holds");
        let three = RootSet::following(&two, roots(&[&b, &c]))
            .sign(&[b.key()])
            .expect("signs");
        let three = two.advance(three).expect("signed by b, which two holds");
        assert_eq!((three.version(), three.roots()), (3, roots(&[&b, &c])));
        let stored = TrustedRoots::stored(&three.signed().to_bytes()).expect("own bytes");
        assert_eq!(stored, three);
    }

    #[test]
    fn wrong_pin_and_unsigned_pin_are_refused() {
        let (a, b) = (authority(), authority());
        let set = RootSet::first(roots(&[&a, &b]), None);
        let by_b = set.sign(&[b.key()]).expect("signs");
        let other = KeyFingerprint::of_spki(b"another root");
        assert!(text(TrustedRoots::pinned(by_b.clone(), other)).contains("does not hold the pinned root"));
        let message = text(TrustedRoots::pinned(by_b, a.fingerprint()));
        assert_eq!(message, "root set version 1 is not signed by the pinned root");
    }

    #[test]
    fn a_set_that_does_not_follow_is_refused() {
        let (a, b, thief) = (authority(), authority(), authority());
        let one = first(&a, None);
        let next = RootSet::following(&one, roots(&[&b]));

        let stolen = next.sign(&[thief.key(), b.key()]).expect("signs");
        assert!(text(one.advance(stolen)).contains("not signed by a root of the version before"));
        let skipping = RootSet {
            version: 3,
            ..next.clone()
        }
        .sign(&[a.key()])
        .expect("signs");
        assert_eq!(
            text(one.advance(skipping)),
            "root set version 3 does not follow trusted version 1"
        );
        let elsewhere = RootSet {
            prev_digest: vec![1; 32],
            ..next.clone()
        }
        .sign(&[a.key()])
        .expect("signs");
        assert!(text(one.advance(elsewhere)).contains("does not follow"));
        let mut changed = next.sign(&[a.key()]).expect("signs");
        changed.root_set = RootSet {
            roots: vec![thief.certificate().to_vec()],
            ..next
        }
        .encode_to_vec();
        assert!(text(one.advance(changed)).contains("not signed"));
    }

    #[test]
    fn recovery_key_jumps_and_cannot_be_taken_away() {
        let (a, b) = (authority(), authority());
        let recovery = Key::generate().expect("random source works");
        let one = first(&a, Some(&recovery));
        let jump = RootSet {
            version: 9,
            ..RootSet::following(&one, roots(&[&b]))
        };
        let nine = one
            .advance(jump.sign(&[&recovery]).expect("signs"))
            .expect("recovery may jump");
        assert_eq!(nine.version(), 9);
        assert!(text(nine.advance(jump.sign(&[&recovery]).expect("signs"))).contains("does not follow"));
        let taken = RootSet {
            recovery_key_hash: Vec::new(),
            ..RootSet::following(&one, roots(&[&a]))
        };
        assert!(text(one.advance(taken.sign(&[a.key()]).expect("signs"))).contains("recovery key"));
    }

    #[test]
    fn malformed_sets_are_refused() {
        let a = authority();
        let good = RootSet::first(roots(&[&a]), None);
        let check = |set: RootSet, part: &str| {
            let message = text(TrustedRoots::pinned(
                set.sign(&[a.key()]).expect("signs"),
                a.fingerprint(),
            ));
            assert!(message.contains(part), "{message}");
        };
        check(
            RootSet {
                version: 0,
                ..good.clone()
            },
            "versions start at 1",
        );
        check(
            RootSet {
                roots: Vec::new(),
                ..good.clone()
            },
            "1 to 8 roots",
        );
        check(
            RootSet {
                roots: vec![b"no".to_vec()],
                ..good.clone()
            },
            "root 0",
        );
        check(
            RootSet {
                recovery_key_hash: vec![1],
                ..good
            },
            "32 bytes",
        );
        assert!(SignedRootSet::from_bytes(&vec![0; MAX_ENCODED + 1]).is_err());
    }
}
