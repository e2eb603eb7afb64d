//! Who a key is: decided after the handshake, from what the hub knows, by a pure function.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::certificate::PeerCertificate;
use crate::fingerprint::KeyFingerprint;

/// A `Cluster` object of the hub.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClusterRef {
    /// Its namespace: the workspace that owns it.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What the hub knows of one cluster's identity (`Cluster.spec.identity` and `.spec.accepted`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterKeys {
    /// Accepted keys; more than one while a renewal is under way.
    pub keys: Vec<KeyFingerprint>,
    /// Keys that asked to be this cluster and wait for a person.
    pub pending: Vec<KeyFingerprint>,
    /// Whether a person (or the token) accepted the cluster.
    pub accepted: bool,
}

/// Names a join token in the registry: its id.
pub type TokenKey = String;

/// Everything that the decision needs, kept current by whoever watches the hub's objects.
///
/// ```text
/// revoked key                       ─► Revoked
/// key of two clusters               ─► Unknown
/// key of a cluster, current lease   ─► Known
/// key of a cluster, no such lease   ─► RenewOnly
/// no cluster's key, self-signed     ─► Joining, when some token exists
/// anything else                     ─► Unknown
/// ```
#[derive(Debug, Default)]
pub struct Registry {
    clusters: HashMap<ClusterRef, ClusterKeys>,
    /// A set, because a mistake or a restored backup may list one key in two clusters; then it is nobody's.
    owners: HashMap<KeyFingerprint, BTreeSet<ClusterRef>>,
    revoked: BTreeMap<KeyFingerprint, String>,
    tokens: BTreeSet<TokenKey>,
}

/// Who the key at the other end is, and so what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// A cluster with a current certificate. Not approved: it may connect and wait, and receives nothing.
    Known {
        /// The cluster.
        cluster: ClusterRef,
        /// Whether cluster and key are accepted.
        approved: bool,
    },
    /// A cluster's accepted key without a current certificate of ours: it may ask for one and do nothing else.
    RenewOnly {
        /// The cluster.
        cluster: ClusterRef,
        /// What is wrong with its certificate.
        reason: RenewReason,
    },
    /// Nobody yet: it may present a join token.
    Joining,
    /// Not welcome, and why.
    Unknown {
        /// What to tell it.
        reason: UnknownReason,
    },
    /// Was welcome once and is no longer.
    Revoked {
        /// What whoever revoked it wrote.
        reason: String,
    },
}

/// Why a known key must renew before anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenewReason {
    /// The certificate is past its date.
    Expired {
        /// Its last moment.
        not_after: Timestamp,
    },
    /// The certificate is from the future by the hub's clock.
    NotYetValid {
        /// Its first moment.
        not_before: Timestamp,
    },
    /// It is self-signed or another authority's: the agent was admitted and has no certificate yet, or lost it.
    NotIssuedByUs,
}

/// Why a key is not welcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownReason {
    /// It shows a certificate of this or another hub, but no cluster has its key.
    NoCluster {
        /// The key.
        key: KeyFingerprint,
    },
    /// It wants to join, and no join token exists.
    NoTokens,
    /// More than one cluster lists the key.
    Ambiguous {
        /// The key.
        key: KeyFingerprint,
        /// Two of the clusters.
        clusters: [ClusterRef; 2],
    },
}

impl ClusterRef {
    /// A reference from its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ClusterRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Registry {
    /// An empty registry: every key is unknown.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces what is known of a cluster.
    pub fn set_cluster(&mut self, cluster: ClusterRef, keys: ClusterKeys) {
        self.remove_cluster(&cluster);
        for key in keys.keys.iter().chain(&keys.pending) {
            self.owners.entry(*key).or_default().insert(cluster.clone());
        }
        self.clusters.insert(cluster, keys);
    }

    /// Forgets a cluster; its keys become unknown.
    pub fn remove_cluster(&mut self, cluster: &ClusterRef) {
        let Some(old) = self.clusters.remove(cluster) else {
            return;
        };
        for key in old.keys.iter().chain(&old.pending) {
            if let Some(owners) = self.owners.get_mut(key) {
                owners.remove(cluster);
                if owners.is_empty() {
                    self.owners.remove(key);
                }
            }
        }
    }

    /// What is known of a cluster.
    pub fn cluster(&self, cluster: &ClusterRef) -> Option<&ClusterKeys> {
        self.clusters.get(cluster)
    }

    /// Refuses a key from now on, whatever clusters list it. Cutting its live session is the caller's part.
    pub fn revoke(&mut self, key: KeyFingerprint, reason: impl Into<String>) {
        self.revoked.insert(key, reason.into());
    }

    /// Takes a revocation back.
    pub fn reinstate(&mut self, key: &KeyFingerprint) {
        self.revoked.remove(key);
    }

    /// Says that a join token exists. Expired, used and revoked tokens count as well while their object exists, so
    /// that whoever presents one hears what is wrong with it.
    pub fn set_token(&mut self, token: TokenKey) {
        self.tokens.insert(token);
    }

    /// Says that a join token exists no longer.
    pub fn remove_token(&mut self, token: &str) {
        self.tokens.remove(token);
    }

    /// Decides who the peer is.
    pub fn decide(&self, peer: &PeerCertificate, now: Timestamp) -> Standing {
        let key = peer.facts.key;
        if let Some(reason) = self.revoked.get(&key) {
            return Standing::Revoked { reason: reason.clone() };
        }
        let mut owners = self.owners.get(&key).into_iter().flatten();
        match (owners.next(), owners.next()) {
            (None, _) if !peer.facts.self_signed => Standing::Unknown {
                reason: UnknownReason::NoCluster { key },
            },
            (None, _) if self.tokens.is_empty() => Standing::Unknown {
                reason: UnknownReason::NoTokens,
            },
            (None, _) => Standing::Joining,
            (Some(one), Some(two)) => {
                let clusters = [one.clone(), two.clone()];
                Standing::Unknown {
                    reason: UnknownReason::Ambiguous { key, clusters },
                }
            }
            (Some(cluster), None) => self.decide_member(cluster.clone(), peer, now),
        }
    }

    fn decide_member(&self, cluster: ClusterRef, peer: &PeerCertificate, now: Timestamp) -> Standing {
        let approved = self
            .clusters
            .get(&cluster)
            .is_some_and(|known| known.accepted && known.keys.contains(&peer.facts.key));
        if !approved {
            // It has no certificate of ours, and needs none to wait.
            return Standing::Known { cluster, approved };
        }
        let facts = &peer.facts;
        let reason = if !peer.issued_by_us {
            RenewReason::NotIssuedByUs
        } else if now > facts.not_after {
            RenewReason::Expired {
                not_after: facts.not_after,
            }
        } else if now < facts.not_before {
            RenewReason::NotYetValid {
                not_before: facts.not_before,
            }
        } else {
            return Standing::Known { cluster, approved };
        };
        Standing::RenewOnly { cluster, reason }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known {
                cluster,
                approved: true,
            } => write!(f, "cluster {cluster}"),
            Self::Known {
                cluster,
                approved: false,
            } => write!(f, "cluster {cluster} waits for approval"),
            Self::RenewOnly { cluster, reason } => {
                write!(f, "cluster {cluster} must renew: {reason}")
            }
            Self::Joining => f.write_str("key is not known yet and may present a join token"),
            Self::Unknown { reason } => reason.fmt(f),
            Self::Revoked { reason } => write!(f, "key revoked: {reason}"),
        }
    }
}

impl fmt::Display for RenewReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { not_after } => write!(f, "its certificate expired at {not_after}"),
            Self::NotYetValid { not_before } => {
                write!(f, "its certificate is valid from {not_before} only")
            }
            Self::NotIssuedByUs => f.write_str("its certificate is not from this hub"),
        }
    }
}

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCluster { key } => {
                write!(
                    f,
                    "key unknown: no cluster of this hub has key {key}; join again with a new token"
                )
            }
            Self::NoTokens => f.write_str("key unknown: this hub has no join token; create one and join with it"),
            Self::Ambiguous {
                key,
                clusters: [one, two],
            } => {
                write!(
                    f,
                    "key {key} is listed by cluster {one} and by cluster {two}: remove it from one"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::CertificateFacts;

    const NOW: i64 = 1_800_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    fn key(name: &str) -> KeyFingerprint {
        KeyFingerprint::of_spki(name.as_bytes())
    }

    fn issued(name: &str, from: i64, to: i64) -> PeerCertificate {
        let facts = CertificateFacts {
            key: key(name),
            not_before: at(NOW + from),
            not_after: at(NOW + to),
            self_signed: false,
        };
        PeerCertificate {
            facts,
            issued_by_us: true,
        }
    }

    fn self_signed(name: &str) -> PeerCertificate {
        let mut peer = issued(name, -10, 10);
        peer.facts.self_signed = true;
        peer.issued_by_us = false;
        peer
    }

    fn registry() -> Registry {
        let mut registry = Registry::new();
        let accepted = |keys: &[&str]| ClusterKeys {
            keys: keys.iter().map(|name| key(name)).collect(),
            pending: Vec::new(),
            accepted: true,
        };
        registry.set_cluster(ClusterRef::new("platform", "eu-1"), accepted(&["a", "b"]));
        registry.set_cluster(ClusterRef::new("platform", "eu-2"), accepted(&["twice"]));
        registry.set_cluster(ClusterRef::new("platform", "eu-3"), accepted(&["twice"]));
        let waiting = ClusterKeys {
            keys: vec![key("w")],
            pending: Vec::new(),
            accepted: false,
        };
        registry.set_cluster(ClusterRef::new("platform", "new"), waiting);
        let asked = ClusterKeys {
            keys: vec![key("old")],
            pending: vec![key("other")],
            accepted: true,
        };
        registry.set_cluster(ClusterRef::new("platform", "taken"), asked);
        registry.revoke(key("b"), "laptop stolen");
        registry.set_token("platform/t".to_owned());
        registry
    }

    fn check(peer: &PeerCertificate, expected: &str) {
        assert_eq!(registry().decide(peer, at(NOW)).to_string(), expected);
    }

    #[test]
    fn decisions() {
        check(&issued("a", -3600, 86400), "cluster platform/eu-1");
        check(&issued("a", -86400, 0), "cluster platform/eu-1");
        check(
            &issued("a", -86400, -1),
            "cluster platform/eu-1 must renew: its certificate expired at 2027-01-15T07:59:59Z",
        );
        check(
            &issued("a", 5, 10),
            "cluster platform/eu-1 must renew: its certificate is valid from 2027-01-15T08:00:05Z only",
        );
        check(
            &self_signed("a"),
            "cluster platform/eu-1 must renew: its certificate is not from this hub",
        );
        check(&issued("b", -3600, 86400), "key revoked: laptop stolen");
        check(&self_signed("w"), "cluster platform/new waits for approval");
        check(&self_signed("other"), "cluster platform/taken waits for approval");
        check(
            &self_signed("nobody"),
            "key is not known yet and may present a join token",
        );
        assert!(
            registry()
                .decide(&issued("nobody", -1, 1), at(NOW))
                .to_string()
                .starts_with("key unknown: no cluster")
        );
        let twice = registry().decide(&issued("twice", -1, 1), at(NOW)).to_string();
        assert!(twice.ends_with("is listed by cluster platform/eu-2 and by cluster platform/eu-3: remove it from one"));
    }

    #[test]
    fn a_certificate_of_another_authority_is_no_lease() {
        let mut peer = issued("a", -3600, 86400);
        peer.issued_by_us = false;
        check(
            &peer,
            "cluster platform/eu-1 must renew: its certificate is not from this hub",
        );
    }

    #[test]
    fn what_is_removed_is_unknown_again() {
        let mut registry = registry();
        registry.remove_cluster(&ClusterRef::new("platform", "eu-3"));
        let standing = registry.decide(&issued("twice", -1, 1), at(NOW));
        assert_eq!(standing.to_string(), "cluster platform/eu-2");

        registry.set_cluster(ClusterRef::new("platform", "eu-1"), ClusterKeys::default());
        registry.reinstate(&key("b"));
        assert!(matches!(
            registry.decide(&issued("b", -1, 1), at(NOW)),
            Standing::Unknown { .. }
        ));
        registry.remove_token("platform/t");
        let standing = registry.decide(&self_signed("nobody"), at(NOW));
        assert_eq!(
            standing,
            Standing::Unknown {
                reason: UnknownReason::NoTokens
            }
        );
    }
}
