//! Digests that both ends compute: over bytes as they were sent, each in a domain of its own.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};

/// 32 bytes of SHA-256. Prints as `sha256:` and hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Digest([u8; 32]);

/// A secret value mixed into the digest of a sensitive item, so that nobody who sees the digest can try passwords
/// against it. See [`item_salt`].
pub type Salt = [u8; 32];

impl Digest {
    /// Of bytes that are not on this page's list of domains: the content of a chunk or a file.
    pub fn of_content(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From a field of a message, when it has the right length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// From its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its bytes as a message field.
    pub fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// Its first eight bytes as a number: enough for a heartbeat to notice a difference.
    pub fn short(&self) -> u64 {
        u64::from_be_bytes(self.0[..8].try_into().expect("8 of 32 bytes"))
    }

    /// The leaf of an item: set, key, whether it is deleted, the owner's UID, the salt and the payload as sent.
    ///
    /// The owner's UID belongs to it: an object that was deleted and made again with the same content is another
    /// owner, and a deletion that names the old one must not hit the new.
    pub fn leaf(set: u32, key: &str, deleted: bool, owner_uid: &str, salt: Option<&Salt>, payload: &[u8]) -> Self {
        let mut hash = Hasher::new(b"nave leaf v1\0");
        hash.number(u64::from(set))
            .number(u64::from(deleted))
            .part(key.as_bytes())
            .part(owner_uid.as_bytes());
        hash.part(salt.map_or(&[][..], |salt| &salt[..])).part(payload);
        hash.finish()
    }
}

/// The salt of a sensitive item: keyed by a secret of the hub, the same after every restart (or each restart would send
/// every secret again), different for each cluster and key.
pub fn item_salt(hub_secret: &[u8; 32], cluster_uid: &str, key: &str) -> Salt {
    let mut mac = Hmac::<Sha256>::new_from_slice(hub_secret).expect("HMAC takes keys of any length");
    mac.update(b"nave item salt v1\0");
    for part in [cluster_uid, key] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().into()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}…", self.short())
    }
}

/// SHA-256 over parts whose lengths are hashed before them, so that no two lists of parts look alike.
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn new(domain: &'static [u8]) -> Self {
        Self(Sha256::new_with_prefix(domain))
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(number.to_be_bytes());
        self
    }

    pub(crate) fn part(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    pub(crate) fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.0.update(digest.0);
        self
    }

    pub(crate) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_differ_in_every_part() {
        let leaf = |set, key, deleted, uid, salt: Option<&Salt>, payload: &[u8]| {
            Digest::leaf(set, key, deleted, uid, salt, payload)
        };
        let base = leaf(1, "k", false, "u", None, b"p");
        let others = [
            leaf(2, "k", false, "u", None, b"p"),
            leaf(1, "ku", false, "", None, b"p"),
            leaf(1, "k", true, "u", None, b"p"),
            leaf(1, "k", false, "up", None, b""),
            leaf(1, "k", false, "u", Some(&[0; 32]), b"p"),
            leaf(1, "k", false, "u", None, b"q"),
        ];
        assert!(others.iter().all(|other| *other != base));
    }

    #[test]
    fn recorded_leaf_stays() {
        // Both ends of any two versions must agree on this, or they differ for ever.
        let digest = Digest::leaf(1, "FleetKustomization/platform/apps", false, "uid-1", None, b"payload");
        assert_eq!(
            digest.to_string(),
            "sha256:6e65ed0ee913b4f95f69bdf8102e917e26f4face189208c444889f0ecff96d2f"
        );
        let salt = item_salt(&[7; 32], "cluster", "key");
        assert_eq!(
            Digest::from_bytes(salt).to_string(),
            "sha256:9fb6c59a6fb3c102cb24fc1514bd2874a554c63f47437821e72bb3570acbf181"
        );
    }
}
