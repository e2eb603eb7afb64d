//! The offline recovery key: what it signs, what a hub takes of it, and how that reaches agents whose roots are gone.
//!
//! ```text
//! recovery key ──signs──► root set {the hub's authority} ──carried in every handshake──► an agent that pinned the key
//!   (offline)                     ▲ countersigned by the authority, for tokens that pin it
//! ```
//!
//! An agent believes such a set under the rule of [`TrustedRoots::advance`] and no other: a set that was signed before
//! the one it trusts, for an authority that was given up since, leads nowhere.

use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, CustomExtension};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::{Authority, AuthorityError, AuthorityRole, common_name};
use crate::certificate::MAX_CERTIFICATE_BYTES;
use crate::fingerprint::KeyFingerprint;
use crate::key::Key;
use crate::roots::{RootSet, RootSetError, RootSignature, SignedRootSet, TrustedRoots, hash_field, signed_message};

/// Object identifier of the extension that holds a signed root set: one of 2.25, where everybody may draw a number.
const CARRIER: [u64; 3] = [2, 25, 5_174_230_931_826_671_907];

/// The root set that the recovery key signs for a hub that trusts `present` and shows `authority`.
///
/// With the chain whole it is the next version, which agents without a recovery key follow too. `jump` is for a hub
/// that does not know what its agents trust: a version that is later than any they may have, see [`later_version`].
pub fn recover(
    present: &TrustedRoots,
    authority: CertificateDer<'static>,
    key: &Key,
    jump: Option<u64>,
) -> Result<SignedRootSet, RootSetError> {
    let mut set = RootSet::following(present, vec![authority]);
    set.recovery_key_hash = hash_field(Some(key.fingerprint()));
    if let Some(version) = jump {
        set.version = set.version.max(version);
        set.prev_digest.clear();
    }
    set.sign(&[key])
}

/// A version of root sets that nobody has reached by counting: the seconds since 1970.
pub fn later_version(now: Timestamp) -> u64 {
    u64::try_from(now.as_second()).unwrap_or_default()
}

impl RootSet {
    /// The version that follows `previous`, with the same roots and this recovery key.
    pub fn with_recovery_key(previous: &TrustedRoots, key: KeyFingerprint) -> Self {
        Self {
            recovery_key_hash: hash_field(Some(key)),
            ..Self::following(previous, previous.roots())
        }
    }
}

impl TrustedRoots {
    /// What a hub that trusts this set makes of one that the recovery key signed: it is for the hub's own authority,
    /// which adds its signature, for tokens that pin it.
    ///
    /// The recovery key is the one that this set pins; where it pins none, the one that the offered set names.
    pub fn recovered(&self, signed: SignedRootSet, authority: &Authority) -> Result<Self, RootSetError> {
        let offered = signed.open()?;
        let version = offered.version();
        let named = offered.recovery_key().ok_or(RootSetError::Malformed {
            version,
            what: "it names no recovery key",
        })?;
        let wanted = self.recovery_key().unwrap_or(named);
        if !offered.is_signed_by(|key| key == wanted) {
            let pinned = self.recovery_key().is_some();
            return Err(RootSetError::WrongRecoveryKey {
                version,
                wanted,
                pinned,
            });
        }
        if !offered.roots().contains(authority.certificate()) {
            let root = authority.fingerprint();
            return Err(RootSetError::RootMissing { version, root });
        }
        if version <= self.version() {
            let trusted = self.version();
            return Err(RootSetError::NotNext {
                offered: version,
                trusted,
            });
        }
        let mut signed = offered.signed().clone();
        let signature = authority.key().sign(&signed_message(&signed.root_set));
        signed.sigs.push(RootSignature {
            spki: authority.key().spki(),
            signature: signature.map_err(|source| RootSetError::Sign { version, source })?,
        });
        signed.open()
    }
}

impl Authority {
    /// A certificate that vouches for nobody: it carries a signed root set through the handshake, to agents that do not
    /// know this authority.
    pub fn carry(
        &self,
        set: &SignedRootSet,
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        self.require(AuthorityRole::Server, "root sets")?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("nave root set");
        params.custom_extensions = vec![CustomExtension::from_oid_content(&CARRIER, set.to_bytes())];
        self.sign(params, self.key().pair(), now, lifetime, "the carrier of a root set")
    }
}

/// The root set in a certificate that [`Authority::carry`] made; nothing in any other. It is not believed yet.
pub fn carried(der: &[u8]) -> Option<SignedRootSet> {
    if der.len() > MAX_CERTIFICATE_BYTES {
        return None;
    }
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let extension = certificate
        .extensions()
        .iter()
        .find(|extension| extension.oid.iter().is_some_and(|arcs| arcs.eq(CARRIER)))?;
    SignedRootSet::from_bytes(extension.value).ok()
}

/// What a hub with unknown roots shows to an agent that trusts `set`: the roots to believe instead, or why not. Nothing
/// when it shows nothing newer.
pub(crate) fn offered(set: &TrustedRoots, shown: &[CertificateDer<'_>]) -> Option<Result<TrustedRoots, String>> {
    let signed = shown.iter().find_map(|der| carried(der))?;
    let version = signed.version();
    if version <= set.version() {
        return None;
    }
    if set.recovery_key().is_none() {
        return Some(Err(format!(
            "the hub shows another root, and root set version {version} by the word of a recovery key; this agent has \
             pinned none: join again with a new token"
        )));
    }
    Some(
        set.advance(signed)
            .map_err(|error| format!("the hub shows another root: {error}")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).expect("in range")
    }

    fn authority() -> Authority {
        Authority::generate(AuthorityRole::Server, now(), SignedDuration::from_hours(24)).expect("generation works")
    }

    fn key() -> Key {
        Key::generate().expect("random source works")
    }

    fn first(authority: &Authority) -> TrustedRoots {
        let signed = RootSet::first(vec![authority.certificate().clone()], None).sign(&[authority.key()]);
        TrustedRoots::pinned(signed.expect("signs"), authority.fingerprint()).expect("pinned and signed")
    }

    /// What agents of a hub with this recovery key trust.
    fn pinned(authority: &Authority, recovery: &Key) -> TrustedRoots {
        let one = first(authority);
        let two = RootSet::with_recovery_key(&one, recovery.fingerprint()).sign(&[authority.key()]);
        one.advance(two.expect("signs"))
            .expect("the chain may pin a first recovery key")
    }

    fn text<T>(result: Result<T, RootSetError>) -> String {
        result.err().expect("refused").to_string()
    }

    #[test]
    fn a_hub_whose_authority_was_lost_is_known_again_by_agents_and_tokens() {
        let (lost, new, recovery) = (authority(), authority(), key());
        let agent = pinned(&lost, &recovery);
        let hub = first(&new);
        let signed = recover(&hub, new.certificate().clone(), &recovery, Some(later_version(now())));
        let hub = hub
            .recovered(signed.expect("signs"), &new)
            .expect("for its own authority");
        assert_eq!(hub.recovery_key(), Some(recovery.fingerprint()));
        let agent = agent.advance(hub.signed().clone()).expect("by the pinned key's word");
        assert_eq!((agent.version(), agent.roots()), (1_800_000_000, hub.roots()));
        TrustedRoots::pinned(hub.signed().clone(), new.fingerprint()).expect("a token of the new authority");

        // From there the chain goes on, and what was signed before leads nowhere.
        let next = RootSet::following(&hub, hub.roots()).sign(&[new.key()]).expect("signs");
        let agent = agent.advance(next).expect("the chain");
        assert!(text(agent.advance(hub.signed().clone())).contains("does not follow"));
    }

    #[test]
    fn with_the_chain_whole_those_without_the_key_follow_too() {
        let (root, recovery) = (authority(), key());
        let plain = first(&root);
        let far = pinned(&root, &recovery);
        let signed = recover(&plain, root.certificate().clone(), &recovery, None).expect("signs");
        let hub = plain.recovered(signed, &root).expect("for its own authority");
        assert_eq!(hub.version(), 2);
        assert_eq!(plain.advance(hub.signed().clone()).expect("the next version"), hub);
        assert!(far.advance(hub.signed().clone()).is_err(), "it is as new already");
    }

    #[test]
    fn another_key_or_another_authority_is_refused_with_its_name() {
        let (root, other, recovery, wrong) = (authority(), authority(), key(), key());
        let hub = pinned(&root, &recovery);
        let by = |key: &Key, root: &Authority| recover(&hub, root.certificate().clone(), key, Some(9)).expect("signs");
        assert_eq!(
            text(hub.recovered(by(&wrong, &root), &root)),
            format!(
                "root set version 9 is not signed by recovery key {}, which this hub's agents have pinned",
                recovery.fingerprint()
            )
        );
        assert_eq!(
            text(hub.recovered(by(&recovery, &other), &root)),
            format!(
                "root set version 9 does not hold the hub's root {}; sign one for that",
                root.fingerprint()
            )
        );
        assert_eq!(
            text(hub.advance(by(&wrong, &root))),
            format!(
                "root set version 9 does not follow trusted version 2 and is not signed by the pinned recovery key {}",
                recovery.fingerprint()
            )
        );
        let mut forged = by(&wrong, &root);
        forged.root_set = by(&recovery, &root).root_set;
        assert!(text(first(&root).recovered(forged, &root)).ends_with(", which it names"));
    }

    #[test]
    fn a_set_is_carried_in_a_certificate_and_in_no_other() {
        let (root, recovery) = (authority(), key());
        let agent = pinned(&authority(), &recovery);
        let signed = recover(&first(&root), root.certificate().clone(), &recovery, Some(7)).expect("signs");
        let carrier = root
            .carry(&signed, now(), SignedDuration::from_hours(1))
            .expect("signing works");
        assert_eq!(carried(&carrier), Some(signed));
        assert_eq!(carried(root.certificate()), None);
        let shown = [root.certificate().clone(), carrier];
        let next = offered(&agent, &shown).expect("newer").expect("believed");
        assert_eq!(next.roots(), [root.certificate().clone()]);
        assert!(offered(&next, &shown).is_none(), "it is not newer any more");
        let without = offered(&first(&authority()), &shown)
            .expect("newer")
            .expect_err("no key");
        assert!(without.contains("join again with a new token"), "{without}");
        let other = offered(&pinned(&authority(), &key()), &shown)
            .expect("newer")
            .expect_err("another key");
        assert!(other.contains("is not signed by the pinned recovery key"), "{other}");
    }
}
