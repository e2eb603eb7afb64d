//! Whether a join request is granted, and what must be written first: a pure decision.
//!
//! The hub writes [`JoinOutcome::record_use`] to the token and the key to the cluster by compare-and-swap *before* it
//! signs anything. When the swap fails, it reads again and decides again: the decision gives the same key the same
//! answer, so a request that was cut off half-way may simply be repeated.

use jiff::Timestamp;

use crate::fingerprint::KeyFingerprint;
use crate::registry::ClusterRef;
use crate::token::TokenHash;

/// Whether a person has to agree before a cluster that joined with a token gets anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// The token's maker agreed by making it.
    Automatic,
    /// A person with the verb `approve` sets `Cluster.spec.accepted`.
    Manual,
}

/// One use of a token (`JoinToken.status.used[]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUse {
    /// Name of the cluster that joined.
    pub cluster: String,
    /// The key that used it.
    pub key: KeyFingerprint,
    /// When.
    pub time: Timestamp,
}

/// A `JoinToken` as the decision sees it.
#[derive(Debug, Clone)]
pub struct TokenRecord {
    /// Its namespace: clusters are created there.
    pub namespace: String,
    /// Hash of its secret.
    pub hash: TokenHash,
    /// Last moment at which it admits anybody.
    pub expires_at: Timestamp,
    /// How many different keys may use it.
    pub uses: u32,
    /// `None` means the default: automatic for one use, manual for more.
    pub approval: Option<Approval>,
    /// Whether it was taken back.
    pub revoked: bool,
    /// Non-empty: only the spoke with this UID (of its `kube-system` namespace) may use it.
    pub cluster_uid: String,
    /// Non-empty: the cluster gets this name.
    pub name: String,
    /// Non-empty: the cluster's name must begin so.
    pub name_prefix: String,
    /// Who used it so far.
    pub used: Vec<TokenUse>,
}

/// What the agent sent, with what the handshake proved.
#[derive(Debug, Clone)]
pub struct JoinAttempt<'a> {
    /// Id of the token, to name it in errors.
    pub token_id: &'a str,
    /// The secret as presented.
    pub secret: &'a [u8],
    /// Key of the TLS connection; the certificate request must be for the same.
    pub key: KeyFingerprint,
    /// Key of the certificate request.
    pub request_key: KeyFingerprint,
    /// The name that the agent asks for; may be empty when the token fixes one.
    pub name: &'a str,
    /// UID of the spoke's `kube-system` namespace.
    pub cluster_uid: &'a str,
}

/// A `Cluster` that already has the name.
#[derive(Debug, Clone, Default)]
pub struct ExistingCluster {
    /// Its accepted keys.
    pub keys: Vec<KeyFingerprint>,
    /// Keys waiting for approval.
    pub pending: Vec<KeyFingerprint>,
    /// UID of the spoke that it was, or empty.
    pub cluster_uid: String,
    /// Whether it is accepted.
    pub accepted: bool,
    /// Whether the hub reaches it by kubeconfig; such a cluster has no agent.
    pub by_kubeconfig: bool,
}

/// What to write, and what to answer then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinOutcome {
    /// The cluster that the key becomes.
    pub cluster: ClusterRef,
    /// Whether the cluster object has to be created.
    pub create: bool,
    /// To be added to the token's uses, unless this is a repeated request.
    pub record_use: Option<TokenUse>,
    /// Granted: add the key to the cluster's keys, accept the cluster, sign. Otherwise, on a cluster that exists, add
    /// the key to the pending ones; on a new one, list it under keys with `accepted: false`.
    pub approval: Approval,
}

/// Why a join is refused. The text goes to the agent, so it says nothing that the holder of a wrong secret should not
/// learn: an unknown id and a wrong secret are the same refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefusal {
    /// No such token, or another secret.
    #[error("join token unknown or its secret is wrong; copy it again, or create a new one")]
    UnknownToken,
    /// Past its date.
    #[error("join token expired at {at}; create a new one")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// Taken back.
    #[error("join token revoked; create a new one")]
    Revoked,
    /// Used by as many keys as it admits; this is another one. Worth an event: somebody else may hold a copy.
    #[error(
        "join token already used by key {by} for cluster {cluster}; key {key} is another one, and needs a token of its own"
    )]
    UsedUp {
        /// The key that used it last.
        by: KeyFingerprint,
        /// The cluster that it became.
        cluster: String,
        /// The key that asks.
        key: KeyFingerprint,
    },
    /// It was made for no use at all.
    #[error("join token admits nobody: its uses are 0")]
    NoUses,
    /// The certificate request is for another key than the connection's.
    #[error("certificate request is for key {request}, the connection has key {connection}")]
    OtherKey {
        /// Key of the request.
        request: KeyFingerprint,
        /// Key of the connection.
        connection: KeyFingerprint,
    },
    /// The token is for another spoke.
    #[error("join token is bound to the cluster with UID {bound:?}, this one has {actual:?}")]
    OtherCluster {
        /// The UID in the token.
        bound: String,
        /// The agent's.
        actual: String,
    },
    /// The name does not fit the token or is not one.
    #[error("cluster name {name:?} is refused: {why}")]
    Name {
        /// The name that was asked for.
        name: String,
        /// Which rule it breaks.
        why: String,
    },
    /// The name belongs to a cluster that the hub reaches by kubeconfig.
    #[error("cluster {cluster} exists and is reached by kubeconfig; it has no agent")]
    ByKubeconfig {
        /// The cluster.
        cluster: ClusterRef,
    },
}

/// Decides a join request.
///
/// `token` is what the attempt's id names, if anything; `existing` looks up a cluster of the token's namespace by name.
/// The order of the checks matters: nothing about a token is told to whoever does not have its secret.
pub fn decide_join(
    attempt: &JoinAttempt<'_>,
    token: Option<&TokenRecord>,
    existing: impl FnOnce(&ClusterRef) -> Option<ExistingCluster>,
    now: Timestamp,
) -> Result<JoinOutcome, JoinRefusal> {
    let token = token.filter(|token| token.hash == TokenHash::of_secret(attempt.secret));
    let token = token.ok_or(JoinRefusal::UnknownToken)?;
    if token.revoked {
        return Err(JoinRefusal::Revoked);
    }
    if now > token.expires_at {
        return Err(JoinRefusal::Expired { at: token.expires_at });
    }
    if attempt.request_key != attempt.key {
        return Err(JoinRefusal::OtherKey {
            request: attempt.request_key,
            connection: attempt.key,
        });
    }
    if !token.cluster_uid.is_empty() && token.cluster_uid != attempt.cluster_uid {
        let (bound, actual) = (token.cluster_uid.clone(), attempt.cluster_uid.to_owned());
        return Err(JoinRefusal::OtherCluster { bound, actual });
    }
    let name = wanted_name(attempt.name, token)?;
    let earlier = token.used.iter().find(|used| used.key == attempt.key);
    if let Some(earlier) = earlier.filter(|earlier| earlier.cluster != name) {
        let why = format!("this key already joined with this token as {:?}", earlier.cluster);
        return Err(JoinRefusal::Name { name, why });
    }
    if earlier.is_none() && token.used.len() >= token.uses as usize {
        return Err(match token.used.last() {
            Some(last) => JoinRefusal::UsedUp {
                by: last.key,
                cluster: last.cluster.clone(),
                key: attempt.key,
            },
            None => JoinRefusal::NoUses,
        });
    }

    let cluster = ClusterRef::new(&token.namespace, &name);
    let existing = existing(&cluster);
    if existing.as_ref().is_some_and(|existing| existing.by_kubeconfig) {
        return Err(JoinRefusal::ByKubeconfig { cluster });
    }
    let approval = approval_for(attempt, token, existing.as_ref());
    let record_use = earlier.is_none().then_some(TokenUse {
        cluster: name,
        key: attempt.key,
        time: now,
    });
    Ok(JoinOutcome {
        cluster,
        create: existing.is_none(),
        record_use,
        approval,
    })
}

fn wanted_name(asked: &str, token: &TokenRecord) -> Result<String, JoinRefusal> {
    let refuse = |why: String| {
        Err(JoinRefusal::Name {
            name: asked.chars().take(253).collect(),
            why,
        })
    };
    let name = match (asked, token.name.as_str()) {
        ("", "") => return refuse("the token fixes none, so one must be asked for".to_owned()),
        ("", fixed) => fixed,
        (asked, fixed) if !fixed.is_empty() && asked != fixed => {
            return refuse(format!("the token is for {fixed:?}"));
        }
        (asked, _) => asked,
    };
    if !name.starts_with(&token.name_prefix) {
        return refuse(format!(
            "the token admits names that begin with {:?}",
            token.name_prefix
        ));
    }
    if !is_dns_label(name) {
        return refuse("it must be 1 to 63 lower-case letters, digits and inner hyphens".to_owned());
    }
    Ok(name.to_owned())
}

fn approval_for(attempt: &JoinAttempt<'_>, token: &TokenRecord, existing: Option<&ExistingCluster>) -> Approval {
    let default = if token.uses > 1 {
        Approval::Manual
    } else {
        Approval::Automatic
    };
    let wanted = token.approval.unwrap_or(default);
    let Some(existing) = existing else {
        return wanted;
    };
    if existing.keys.contains(&attempt.key) {
        // A repeated request, or one whose approval came in between.
        return if existing.accepted { Approval::Automatic } else { wanted };
    }
    let taken = !existing.keys.is_empty();
    let moved = !existing.cluster_uid.is_empty() && existing.cluster_uid != attempt.cluster_uid;
    // The name is somebody's: a key that replaces theirs is a person's decision, unless the token was made for exactly
    // this spoke.
    let bound = !token.cluster_uid.is_empty() && !moved;
    if (taken || moved) && !bound {
        Approval::Manual
    } else {
        wanted
    }
}

fn is_dns_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    fn key(name: &str) -> KeyFingerprint {
        KeyFingerprint::of_spki(name.as_bytes())
    }

    fn used(cluster: &str, by: &str) -> TokenUse {
        TokenUse {
            cluster: cluster.to_owned(),
            key: key(by),
            time: at(NOW - 60),
        }
    }

    fn token() -> TokenRecord {
        TokenRecord {
            namespace: "platform".to_owned(),
            hash: TokenHash::of_secret(b"secret"),
            expires_at: at(NOW + 3600),
            uses: 1,
            approval: None,
            revoked: false,
            cluster_uid: String::new(),
            name: "eu-1".to_owned(),
            name_prefix: String::new(),
            used: Vec::new(),
        }
    }

    fn attempt() -> JoinAttempt<'static> {
        let key = key("mine");
        JoinAttempt {
            token_id: "platform/t",
            secret: b"secret",
            key,
            request_key: key,
            name: "",
            cluster_uid: "u1",
        }
    }

    fn check(token: &TokenRecord, attempt: &JoinAttempt<'_>, existing: Option<ExistingCluster>, expected: &str) {
        let told = match decide_join(attempt, Some(token), |_| existing, at(NOW)) {
            Ok(outcome) => {
                let create = if outcome.create { "create" } else { "existing" };
                let record = if outcome.record_use.is_some() {
                    "record"
                } else {
                    "repeat"
                };
                format!("{} {create} {record} {:?}", outcome.cluster, outcome.approval)
            }
            Err(refusal) => refusal.to_string(),
        };
        assert!(told.starts_with(expected), "{told:?} does not begin with {expected:?}");
    }

    #[test]
    fn a_fresh_token_admits_and_defaults_by_uses() {
        check(&token(), &attempt(), None, "platform/eu-1 create record Automatic");
        check(
            &TokenRecord { uses: 3, ..token() },
            &attempt(),
            None,
            "platform/eu-1 create record Manual",
        );
        let explicit = TokenRecord {
            uses: 3,
            approval: Some(Approval::Automatic),
            ..token()
        };
        check(&explicit, &attempt(), None, "platform/eu-1 create record Automatic");
        let manual = TokenRecord {
            approval: Some(Approval::Manual),
            ..token()
        };
        check(&manual, &attempt(), None, "platform/eu-1 create record Manual");
        check(
            &TokenRecord {
                expires_at: at(NOW),
                ..token()
            },
            &attempt(),
            None,
            "platform/eu-1 create",
        );
    }

    #[test]
    fn wrong_secret_and_missing_token_are_told_apart_by_nobody() {
        let wrong = JoinAttempt {
            secret: b"guess",
            ..attempt()
        };
        let revoked = TokenRecord {
            revoked: true,
            ..token()
        };
        check(
            &revoked,
            &wrong,
            None,
            "join token unknown or its secret is wrong; copy it again, or create a new one",
        );
        let missing = decide_join(&attempt(), None, |_| None, at(NOW));
        assert_eq!(missing, Err(JoinRefusal::UnknownToken));
        check(&revoked, &attempt(), None, "join token revoked; create a new one");
        let expired = TokenRecord {
            expires_at: at(NOW - 1),
            ..token()
        };
        check(&expired, &attempt(), None, "join token expired at 2027-01-15T07:59:59Z");
    }

    #[test]
    fn the_same_key_may_retry_and_a_second_key_may_not() {
        let mine = TokenRecord {
            used: vec![used("eu-1", "mine")],
            ..token()
        };
        let done = ExistingCluster {
            keys: vec![key("mine")],
            accepted: true,
            ..ExistingCluster::default()
        };
        check(&mine, &attempt(), Some(done), "platform/eu-1 existing repeat Automatic");
        check(&mine, &attempt(), None, "platform/eu-1 create repeat Automatic");
        let theirs = TokenRecord {
            used: vec![used("eu-1", "theirs")],
            ..token()
        };
        check(&theirs, &attempt(), None, "join token already used by key sha256:");
        let two = TokenRecord {
            uses: 2,
            used: vec![used("eu-1", "theirs")],
            name: String::new(),
            ..token()
        };
        let named = JoinAttempt {
            name: "eu-2",
            ..attempt()
        };
        check(&two, &named, None, "platform/eu-2 create record Manual");
        let renamed = TokenRecord {
            used: vec![used("eu-1", "mine")],
            name: String::new(),
            ..two
        };
        check(
            &renamed,
            &named,
            None,
            "cluster name \"eu-2\" is refused: this key already joined",
        );
        check(
            &TokenRecord { uses: 0, ..token() },
            &attempt(),
            None,
            "join token admits nobody",
        );
    }

    #[test]
    fn names_follow_the_token() {
        let asks = |name| JoinAttempt { name, ..attempt() };
        let free = TokenRecord {
            name: String::new(),
            ..token()
        };
        let prefixed = TokenRecord {
            name_prefix: "eu-".to_owned(),
            ..free.clone()
        };
        check(&token(), &asks("eu-1"), None, "platform/eu-1 create");
        check(
            &token(),
            &asks("us-1"),
            None,
            "cluster name \"us-1\" is refused: the token is for \"eu-1\"",
        );
        check(
            &free,
            &asks(""),
            None,
            "cluster name \"\" is refused: the token fixes none",
        );
        check(&free, &asks("any"), None, "platform/any create");
        check(
            &free,
            &asks("Not A Name"),
            None,
            "cluster name \"Not A Name\" is refused: it must be",
        );
        check(&free, &asks("-x"), None, "cluster name");
        check(&prefixed, &asks("eu-9"), None, "platform/eu-9 create");
        check(
            &prefixed,
            &asks("us-9"),
            None,
            "cluster name \"us-9\" is refused: the token admits names that begin",
        );
    }

    #[test]
    fn a_taken_name_needs_a_person() {
        let theirs = ExistingCluster {
            keys: vec![key("theirs")],
            accepted: true,
            ..ExistingCluster::default()
        };
        check(
            &token(),
            &attempt(),
            Some(theirs.clone()),
            "platform/eu-1 existing record Manual",
        );
        let prepared = ExistingCluster {
            accepted: true,
            ..ExistingCluster::default()
        };
        check(
            &token(),
            &attempt(),
            Some(prepared.clone()),
            "platform/eu-1 existing record Automatic",
        );
        let moved = ExistingCluster {
            cluster_uid: "u0".to_owned(),
            ..prepared
        };
        check(
            &token(),
            &attempt(),
            Some(moved),
            "platform/eu-1 existing record Manual",
        );
        let bound = TokenRecord {
            cluster_uid: "u1".to_owned(),
            ..token()
        };
        let same = ExistingCluster {
            cluster_uid: "u1".to_owned(),
            ..theirs
        };
        check(
            &bound,
            &attempt(),
            Some(same),
            "platform/eu-1 existing record Automatic",
        );
        let kubeconfig = ExistingCluster {
            by_kubeconfig: true,
            ..ExistingCluster::default()
        };
        check(
            &token(),
            &attempt(),
            Some(kubeconfig),
            "cluster platform/eu-1 exists and is reached by kubeconfig",
        );
    }

    #[test]
    fn key_and_cluster_must_be_the_ones_meant() {
        let other = JoinAttempt {
            request_key: key("another"),
            ..attempt()
        };
        check(&token(), &other, None, "certificate request is for key");
        let bound = TokenRecord {
            cluster_uid: "u2".to_owned(),
            ..token()
        };
        check(
            &bound,
            &attempt(),
            None,
            "join token is bound to the cluster with UID \"u2\", this one has \"u1\"",
        );
    }
}
