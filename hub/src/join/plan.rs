//! What a join writes: pure functions from what was read and decided to the next objects.

use std::str::FromStr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt, api::ObjectMeta};
use nave_crds::{
    Cluster, JoinToken, conditions,
    fleet::{
        API_VERSION, Approval as ApiApproval, ClusterIdentity, ClusterMode, ClusterSpec, JoinTokenStatus, PendingKey,
        TokenUse as ApiUse,
    },
    meta::Time,
};
use nave_identity::{
    Approval, ClusterRef, ExistingCluster, JoinOutcome, KeyFingerprint, TokenHash, TokenRecord, TokenUse,
};
use nave_runtime::{Conditions, Status};

/// The API's bound on `status.pendingKeys`.
const MAX_PENDING: usize = 8;
/// The API's bound on `spec.identity.keys`.
const MAX_KEYS: usize = 8;

/// Namespace and name of a token's object, from its id. None for an id that names none.
pub fn token_object(id: &str) -> Option<(&str, &str)> {
    let (namespace, name) = id.split_once('/')?;
    // Both become parts of a request path: nothing like `..` may get there.
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let plain = |part: &str| {
        let bytes = part.as_bytes();
        bytes.len() <= 253
            && bytes.first().is_some_and(edge)
            && bytes.last().is_some_and(edge)
            && bytes.iter().all(|b| edge(b) || *b == b'-' || *b == b'.')
    };
    (plain(namespace) && plain(name)).then_some((namespace, name))
}

/// An id from outside, fit for a log line.
pub fn printable(id: &str) -> String {
    id.chars().filter(|c| !c.is_control()).take(317).collect()
}

/// The token as the decision sees it.
pub fn record(token: &JoinToken) -> Result<TokenRecord, String> {
    let spec = &token.spec;
    let used = token.status.iter().flat_map(|status| &status.used);
    let used = used
        .map(|used| {
            Ok(TokenUse {
                cluster: used.cluster.clone(),
                key: KeyFingerprint::from_str(&used.key_fingerprint)
                    .map_err(|error| format!("status.used: {error}"))?,
                time: used.time.0,
            })
        })
        .collect::<Result<Vec<_>, String>>()?;
    Ok(TokenRecord {
        namespace: token.namespace().unwrap_or_default(),
        hash: TokenHash::from_str(&spec.hash).map_err(|error| format!("spec.hash: {error}"))?,
        expires_at: spec.expires_at.0,
        uses: u32::try_from(spec.uses).unwrap_or(0),
        approval: Some(match spec.effective_approval() {
            ApiApproval::Automatic => Approval::Automatic,
            ApiApproval::Manual => Approval::Manual,
        }),
        revoked: spec.revoked,
        cluster_uid: spec.cluster_uid.clone(),
        name: spec.cluster.name.clone(),
        name_prefix: spec.cluster.name_prefix.clone(),
        used,
    })
}

/// The cluster as the decision sees it. A key that cannot be read is nobody's, so it is left out.
pub fn existing(cluster: &Cluster) -> ExistingCluster {
    let identity = cluster.spec.identity.clone().unwrap_or_default();
    let pending = cluster.status.iter().flat_map(|s| &s.pending_keys);
    ExistingCluster {
        keys: identity.keys.iter().filter_map(|k| k.parse().ok()).collect(),
        pending: pending.filter_map(|k| k.fingerprint.parse().ok()).collect(),
        cluster_uid: identity.cluster_uid,
        accepted: cluster.spec.accepted,
        by_kubeconfig: cluster.spec.mode == ClusterMode::KubeConfig,
    }
}

/// The token with more uses. Its resourceVersion stays, so that writing it is a compare-and-swap.
pub fn consumed(token: &JoinToken, uses: &[TokenUse]) -> JoinToken {
    let mut next = token.clone();
    let status = next.status.get_or_insert_with(JoinTokenStatus::default);
    status.observed_generation = token.metadata.generation.unwrap_or_default();
    status.used.extend(uses.iter().map(|used| ApiUse {
        cluster: used.cluster.clone(),
        key_fingerprint: used.key.to_string(),
        time: Time(nave_runtime::conditions::whole_seconds(used.time)),
    }));
    let Some(last) = uses.last() else { return next };
    let (used_up, generation) = (status.used.len(), status.observed_generation);
    if used_up >= usize::try_from(token.spec.uses).unwrap_or(0) {
        let message = format!("used by {used_up} of {} keys; admits nobody else", token.spec.uses);
        status.conditions.set(
            conditions::CONSUMED,
            Status::True,
            "Used",
            message,
            generation,
            last.time,
        );
    }
    next
}

/// The cluster that a token makes.
pub fn new_cluster(token: &JoinToken, outcome: &JoinOutcome, key: KeyFingerprint, cluster_uid: &str) -> Cluster {
    let template = &token.spec.cluster;
    Cluster {
        metadata: ObjectMeta {
            name: Some(outcome.cluster.name.clone()),
            namespace: Some(outcome.cluster.namespace.clone()),
            labels: Some(template.labels.clone()),
            ..ObjectMeta::default()
        },
        spec: ClusterSpec {
            mode: ClusterMode::Agent,
            accepted: outcome.approval == Approval::Automatic,
            variables: template.variables.clone(),
            access: template.access.clone(),
            identity: Some(ClusterIdentity {
                cluster_uid: bounded_uid(cluster_uid),
                keys: vec![key.to_string()],
                ..ClusterIdentity::default()
            }),
            ..ClusterSpec::default()
        },
        status: None,
    }
}

/// The existing cluster with the key admitted; none when there is nothing to write.
///
/// A cluster that no agent ever joined takes labels, variables and access from the token where it has none of its own.
/// One that had an agent keeps what it has: who may make tokens may thereby not relabel the clusters of others.
pub fn admitted(cluster: &Cluster, token: &JoinToken, key: KeyFingerprint, cluster_uid: &str) -> Option<Cluster> {
    let mut next = cluster.clone();
    let identity = next.spec.identity.get_or_insert_default();
    let fresh = identity.keys.is_empty() && identity.revoked_keys.is_empty();
    identity.cluster_uid = bounded_uid(cluster_uid);
    add_key(&mut next, key);
    if fresh {
        let template = &token.spec.cluster;
        for (name, value) in &template.variables {
            next.spec.variables.entry(name.clone()).or_insert_with(|| value.clone());
        }
        if next.spec.access.is_empty() {
            next.spec.access = template.access.clone();
        }
        for (name, value) in &template.labels {
            next.labels_mut().entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    (next != *cluster).then_some(next)
}

/// Adds a key as the newest; the oldest go when there are too many.
fn add_key(cluster: &mut Cluster, key: KeyFingerprint) {
    let identity = cluster.spec.identity.get_or_insert_default();
    let key = key.to_string();
    if !identity.keys.contains(&key) {
        identity.keys.push(key);
        let excess = identity.keys.len().saturating_sub(MAX_KEYS);
        identity.keys.drain(..excess);
    }
}

/// The pending keys with this one; none when it is there already.
pub fn with_pending(cluster: &Cluster, key: KeyFingerprint, reason: &str, now: Timestamp) -> Option<Vec<PendingKey>> {
    let fingerprint = key.to_string();
    let identity = cluster.spec.identity.iter();
    if identity.flat_map(|identity| &identity.keys).any(|k| *k == fingerprint) {
        return None;
    }
    let mut pending = cluster
        .status
        .as_ref()
        .map(|status| status.pending_keys.clone())
        .unwrap_or_default();
    if pending.iter().any(|p| p.fingerprint == fingerprint) {
        return None;
    }
    pending.push(PendingKey {
        fingerprint,
        time: Time(nave_runtime::conditions::whole_seconds(now)),
        reason: reason.to_owned(),
    });
    let excess = pending.len().saturating_sub(MAX_PENDING);
    pending.drain(..excess);
    Some(pending)
}

/// A reference for events; good enough before the object was read.
pub fn cluster_reference(cluster: &ClusterRef) -> ObjectReference {
    ObjectReference {
        api_version: Some(API_VERSION.to_owned()),
        kind: Some(Cluster::kind(&()).into_owned()),
        namespace: Some(cluster.namespace.clone()),
        name: Some(cluster.name.clone()),
        ..ObjectReference::default()
    }
}

/// The API takes at most 128 characters.
fn bounded_uid(uid: &str) -> String {
    uid.chars().filter(|c| !c.is_control()).take(128).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_crds::fleet::{JoinTokenCluster, JoinTokenSpec, WorkspaceAccess};
    use nave_identity::{JoinAttempt, JoinRefusal, decide_join};

    const NOW: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn key(name: &str) -> KeyFingerprint {
        KeyFingerprint::of_spki(name.as_bytes())
    }

    fn token() -> JoinToken {
        let spec = JoinTokenSpec {
            hash: TokenHash::of_secret(b"secret").to_string(),
            expires_at: Time(at(NOW + 60)),
            uses: 1,
            approval: None,
            revoked: false,
            cluster_uid: String::new(),
            cluster: JoinTokenCluster {
                name: "eu-1".into(),
                labels: [("env".to_owned(), "prod".to_owned())].into(),
                variables: [("region".to_owned(), "eu".to_owned())].into(),
                access: vec![WorkspaceAccess {
                    workspace: "platform".into(),
                    admin: true,
                    ..WorkspaceAccess::default()
                }],
                ..JoinTokenCluster::default()
            },
        };
        let mut token = JoinToken::new("t", spec);
        token.metadata.namespace = Some("platform".into());
        token.metadata.resource_version = Some("7".into());
        token
    }

    fn decide(token: &JoinToken, cluster: Option<&Cluster>, by: &str) -> Result<JoinOutcome, JoinRefusal> {
        let attempt = JoinAttempt {
            token_id: "platform/t",
            secret: b"secret",
            key: key(by),
            request_key: key(by),
            name: "",
            cluster_uid: "uid-1",
        };
        decide_join(
            &attempt,
            Some(&record(token).unwrap()),
            |_| cluster.map(existing),
            at(NOW),
        )
    }

    #[test]
    fn a_token_is_used_once_and_the_same_key_may_ask_again() {
        let fresh = token();
        let outcome = decide(&fresh, None, "a").unwrap();
        let used = consumed(&fresh, outcome.record_use.as_slice());
        assert_eq!(used.metadata.resource_version.as_deref(), Some("7"));
        let cluster = new_cluster(&used, &outcome, key("a"), "uid-1");
        assert_eq!(cluster.labels()["env"], "prod");
        assert_eq!(cluster.spec.variables["region"], "eu");
        assert!(cluster.spec.accepted && cluster.spec.access[0].admin);

        let again = decide(&used, Some(&cluster), "a").unwrap();
        assert!(again.record_use.is_none() && !again.create);
        assert_eq!(admitted(&cluster, &used, key("a"), "uid-1"), None);

        let other = decide(&used, Some(&cluster), "b").unwrap_err();
        assert!(matches!(other, JoinRefusal::UsedUp { .. }), "{other}");
    }

    #[test]
    fn a_crash_between_token_and_cluster_is_made_good_by_asking_again() {
        let fresh = token();
        let outcome = decide(&fresh, None, "a").unwrap();
        let used = consumed(&fresh, outcome.record_use.as_slice());
        let again = decide(&used, None, "a").unwrap();
        assert!(again.create && again.record_use.is_none());
    }

    #[test]
    fn a_cluster_that_had_an_agent_keeps_its_labels_and_access() {
        let token = token();
        let mut prepared = Cluster::new("eu-1", ClusterSpec::default());
        prepared.spec.accepted = true;
        prepared.labels_mut().insert("env".into(), "staging".into());
        let first = admitted(&prepared, &token, key("a"), "uid-1").unwrap();
        assert_eq!(first.labels()["env"], "staging");
        assert_eq!(first.spec.access.len(), 1);

        let mut stripped = first.clone();
        stripped.spec.access.clear();
        stripped.spec.variables.clear();
        let second = admitted(&stripped, &token, key("b"), "uid-1").unwrap();
        assert!(second.spec.access.is_empty() && second.spec.variables.is_empty());
        let keys = second.spec.identity.unwrap().keys;
        assert_eq!(keys, [key("a").to_string(), key("b").to_string()]);
    }

    #[test]
    fn another_key_for_a_taken_name_waits_in_the_list() {
        let token = token();
        let outcome = decide(&token, None, "a").unwrap();
        let mut cluster = new_cluster(&token, &outcome, key("a"), "uid-1");
        let taken = decide(&token, Some(&cluster), "b").unwrap();
        assert_eq!(taken.approval, Approval::Manual);
        let pending = with_pending(&cluster, key("b"), "why", at(NOW)).unwrap();
        assert_eq!(pending[0].fingerprint, key("b").to_string());
        cluster.status.get_or_insert_default().pending_keys = pending;
        assert_eq!(with_pending(&cluster, key("b"), "why", at(NOW)), None);
        assert_eq!(with_pending(&cluster, key("a"), "why", at(NOW)), None);
        for number in 0..10 {
            let next = with_pending(&cluster, key(&number.to_string()), "why", at(NOW)).unwrap();
            assert!(next.len() <= MAX_PENDING);
            cluster.status.get_or_insert_default().pending_keys = next;
        }
    }

    #[test]
    fn ids_that_name_no_object_name_no_token() {
        assert_eq!(token_object("platform/t"), Some(("platform", "t")));
        for id in ["", "t", "/t", "a/", "a/b/c", "A/b", "a/b\n", "../x", "a/.."] {
            assert_eq!(token_object(id), None, "{id:?}");
        }
    }
}
