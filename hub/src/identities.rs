//! Who a key is, kept current by the watches of Cluster and JoinToken, and what that means for a live session.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, RwLock},
    time::Duration,
};

use futures::StreamExt;
use jiff::Timestamp;
use kube::ResourceExt;
use nave_crds::{Cluster, JoinToken, fleet::ClusterMode};
use nave_identity::{
    CertificateError, ClusterKeys, ClusterRef, KeyFingerprint, PeerCertificate, Registry, Standing, UnknownReason,
};
use nave_runtime::Watched;
use rustls::pki_types::CertificateDer;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::locked;

/// A watch that was interrupted lists again and does not tell what went meanwhile; this is how late it is noticed.
const SWEEP: Duration = Duration::from_secs(30);
/// A watch is late by milliseconds; after this long it is broken, and the agent may as well try.
const KEY_ARRIVES: Duration = Duration::from_secs(5);
/// How long an agent may wait at the door for the watch to bring the token that was made a moment ago.
const TOKEN_ARRIVES: Duration = Duration::from_secs(2);
/// So many may wait there: without any token, nobody has to be expected.
const AT_THE_DOOR: usize = 64;
/// Readers only compare state, so one that lags is told to look at everything.
const CHANGES: usize = 1024;

/// The key registry and its feed of clusters whose identity changed.
pub struct Identities {
    registry: RwLock<Known>,
    authorities: RwLock<Vec<CertificateDer<'static>>>,
    changes: broadcast::Sender<ClusterRef>,
    any_token: watch::Sender<bool>,
    at_the_door: Semaphore,
}

#[derive(Default)]
struct Known {
    registry: Registry,
    /// Keys that each cluster revoked, to tell what to reinstate.
    revoked: HashMap<ClusterRef, Vec<KeyFingerprint>>,
    /// Clusters that a person has quarantined, and why.
    quarantined: HashMap<ClusterRef, String>,
    clusters: HashSet<ClusterRef>,
    tokens: HashSet<String>,
}

impl Identities {
    /// Nobody is known yet. Client certificates count when one of `authorities` signed them.
    pub fn new(authorities: Vec<CertificateDer<'static>>) -> Self {
        Identities {
            registry: RwLock::default(),
            authorities: RwLock::new(authorities),
            changes: broadcast::channel(CHANGES).0,
            any_token: watch::Sender::new(false),
            at_the_door: Semaphore::new(AT_THE_DOOR),
        }
    }

    /// Who the peer is that showed this certificate (DER). None when nobody can say yet: there is no token, and as many as
    /// may already wait for one that was made a moment ago.
    ///
    /// # Errors
    /// It is not a certificate of a P-256 key.
    pub async fn standing(&self, certificate: &[u8], now: Timestamp) -> Result<Option<Standing>, CertificateError> {
        let peer = PeerCertificate::read(certificate, &locked::read(&self.authorities))?;
        let decide = || locked::read(&self.registry).registry.decide(&peer, now);
        let standing = decide();
        let reason = UnknownReason::NoTokens;
        if standing != (Standing::Unknown { reason }) {
            return Ok(Some(standing));
        }
        // An agent can be faster with its token than the watch is.
        let Ok(_place) = self.at_the_door.try_acquire() else {
            return Ok(None);
        };
        let mut any = self.any_token.subscribe();
        let _ = tokio::time::timeout(TOKEN_ARRIVES, any.wait_for(|any| *any)).await; // none came: refused below
        Ok(Some(decide()))
    }

    /// Client certificates count when one of these signed them, from now on.
    pub fn trust(&self, authorities: Vec<CertificateDer<'static>>) {
        *locked::write(&self.authorities) = authorities;
    }

    /// What the registry knows of a cluster.
    pub fn keys(&self, cluster: &ClusterRef) -> Option<ClusterKeys> {
        locked::read(&self.registry).registry.cluster(cluster).cloned()
    }

    /// Why a session of this cluster with this key must end, if it must.
    pub fn verdict(&self, cluster: &ClusterRef, key: &KeyFingerprint) -> Verdict {
        let known = locked::read(&self.registry);
        let revoked = known.revoked.get(cluster);
        if revoked.is_some_and(|keys| keys.contains(key)) {
            return Verdict::Revoked;
        }
        match known.registry.cluster(cluster) {
            None => Verdict::Forgotten,
            Some(keys) if keys.keys.contains(key) && keys.accepted => Verdict::Accepted,
            Some(keys) if keys.keys.contains(key) || keys.pending.contains(key) => Verdict::Waiting,
            Some(_) => Verdict::KeyRemoved,
        }
    }

    /// Why a person has quarantined the cluster, if that is so.
    pub fn quarantined(&self, cluster: &ClusterRef) -> Option<String> {
        locked::read(&self.registry).quarantined.get(cluster).cloned()
    }

    /// Clusters whose keys, acceptance, quarantine or existence changed, from now on.
    pub fn changes(&self) -> broadcast::Receiver<ClusterRef> {
        self.changes.subscribe()
    }

    /// Waits until the watch has brought a key that was just written, for at most five seconds.
    pub async fn wait_for_key(&self, cluster: &ClusterRef, key: &KeyFingerprint) {
        let mut changes = self.changes();
        let known = || {
            let keys = self.keys(cluster);
            keys.is_some_and(|keys| keys.keys.contains(key) || keys.pending.contains(key))
        };
        let arrived = async {
            while !known() {
                if let Err(broadcast::error::RecvError::Closed) = changes.recv().await {
                    return;
                }
            }
        };
        if tokio::time::timeout(KEY_ARRIVES, arrived).await.is_err() {
            tracing::warn!(%cluster, %key, "the watch is late: a key that was written is not known yet");
        }
    }

    /// Takes over what the stores hold now; call it once they are ready and before anybody asks.
    pub fn load(&self, clusters: &Watched<Cluster>, tokens: &Watched<JoinToken>) {
        let (clusters, tokens) = (clusters.store().state(), tokens.store().state());
        let present: HashSet<ClusterRef> = clusters.iter().map(|c| reference(c.as_ref())).collect();
        let ids: HashSet<String> = tokens.iter().map(|t| token_id(t.as_ref())).collect();
        for cluster in &clusters {
            self.set_cluster(cluster);
        }
        let (gone_clusters, gone_tokens) = {
            let known = locked::read(&self.registry);
            let gone = known.clusters.difference(&present).cloned();
            let old = known.tokens.difference(&ids).cloned();
            (gone.collect::<Vec<_>>(), old.collect::<Vec<_>>())
        };
        for cluster in gone_clusters {
            self.remove_cluster(&cluster);
        }
        for id in gone_tokens {
            self.set_token(id, false);
        }
        for id in ids {
            self.set_token(id, true);
        }
    }

    /// Follows the watches until shutdown.
    pub async fn follow(&self, clusters: Watched<Cluster>, tokens: Watched<JoinToken>, shutdown: CancellationToken) {
        let mut cluster_changes = std::pin::pin!(clusters.changes());
        let mut token_changes = std::pin::pin!(tokens.changes());
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                _ = shutdown.cancelled() => return,
                _ = sweep.tick() => self.load(&clusters, &tokens),
                Some(changed) = cluster_changes.next() => {
                    let cluster = reference(changed.as_ref());
                    match clusters.get(&cluster.namespace, &cluster.name) {
                        Some(current) => self.set_cluster(&current),
                        None => self.remove_cluster(&cluster),
                    }
                }
                Some(changed) = token_changes.next() => {
                    let (namespace, name) = nave_runtime::watch::key(changed.as_ref());
                    self.set_token(token_id(&changed), tokens.get(&namespace, &name).is_some());
                }
            }
        }
    }

    fn set_cluster(&self, cluster: &Arc<Cluster>) {
        let name = reference(cluster.as_ref());
        if cluster.spec.mode != ClusterMode::Agent || cluster.metadata.deletion_timestamp.is_some() {
            return self.remove_cluster(&name);
        }
        let (keys, revoked) = keys_of(cluster);
        let mut known = locked::write(&self.registry);
        let before = known.registry.cluster(&name).cloned();
        let revoked_before = known.revoked.insert(name.clone(), revoked.clone()).unwrap_or_default();
        for key in revoked_before.iter().filter(|key| !revoked.contains(key)) {
            known.registry.reinstate(key);
        }
        for key in &revoked {
            known.registry.revoke(*key, format!("taken back in cluster {name}"));
        }
        let quarantined_before = match quarantine_of(cluster) {
            Some(why) => known.quarantined.insert(name.clone(), why),
            None => known.quarantined.remove(&name),
        };
        let turned = quarantined_before.is_some() != known.quarantined.contains_key(&name);
        let changed = turned || before.as_ref() != Some(&keys) || revoked_before != revoked;
        known.clusters.insert(name.clone());
        if changed {
            known.registry.set_cluster(name.clone(), keys);
            drop(known);
            let _ = self.changes.send(name); // nobody listening is fine
        }
    }

    fn remove_cluster(&self, cluster: &ClusterRef) {
        let mut known = locked::write(&self.registry);
        if !known.clusters.remove(cluster) {
            return;
        }
        known.registry.remove_cluster(cluster);
        known.quarantined.remove(cluster);
        for key in known.revoked.remove(cluster).unwrap_or_default() {
            known.registry.reinstate(&key);
        }
        drop(known);
        let _ = self.changes.send(cluster.clone()); // nobody listening is fine
    }

    fn set_token(&self, id: String, exists: bool) {
        let mut known = locked::write(&self.registry);
        if exists {
            if known.tokens.insert(id.clone()) {
                known.registry.set_token(id);
            }
        } else if known.tokens.remove(&id) {
            known.registry.remove_token(&id);
        }
        let any = !known.tokens.is_empty();
        drop(known);
        self.any_token
            .send_if_modified(|before| std::mem::replace(before, any) != any);
    }
}

/// What a key may be towards its cluster now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Full member.
    Accepted,
    /// Waits for a person.
    Waiting,
    /// The key was taken back.
    Revoked,
    /// The key is in no list of the cluster any more.
    KeyRemoved,
    /// The cluster exists no longer.
    Forgotten,
}

/// Namespace and name of a cluster object.
pub fn reference(cluster: &Cluster) -> ClusterRef {
    ClusterRef::new(cluster.namespace().unwrap_or_default(), cluster.name_any())
}

/// Accepted and pending keys, and the revoked ones. A text that is no fingerprint is no key.
fn keys_of(cluster: &Cluster) -> (ClusterKeys, Vec<KeyFingerprint>) {
    let identity = cluster.spec.identity.clone().unwrap_or_default();
    let parsed =
        |texts: &[String]| -> Vec<KeyFingerprint> { texts.iter().filter_map(|text| text.parse().ok()).collect() };
    let pending = cluster.status.iter().flat_map(|s| &s.pending_keys);
    let revoked = parsed(&identity.revoked_keys);
    let keys = ClusterKeys {
        keys: parsed(&identity.keys),
        pending: pending.filter_map(|p| p.fingerprint.parse().ok()).collect(),
        accepted: cluster.spec.accepted,
    };
    (keys, revoked)
}

/// The words of whoever quarantined it.
pub fn quarantine_of(cluster: &Cluster) -> Option<String> {
    let identity = cluster.spec.identity.as_ref()?;
    (!identity.quarantined.is_empty()).then(|| format!("quarantined by hand: {}", identity.quarantined))
}

fn token_id(token: &JoinToken) -> String {
    format!("{}/{}", token.namespace().unwrap_or_default(), token.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_crds::fleet::{ClusterIdentity, ClusterSpec};

    fn key(name: &str) -> KeyFingerprint {
        KeyFingerprint::of_spki(name.as_bytes())
    }

    fn cluster(name: &str, keys: &[&str], revoked: &[&str], accepted: bool) -> Arc<Cluster> {
        let texts = |names: &[&str]| names.iter().map(|n| key(n).to_string()).collect();
        let spec = ClusterSpec {
            accepted,
            identity: Some(ClusterIdentity {
                keys: texts(keys),
                revoked_keys: texts(revoked),
                ..ClusterIdentity::default()
            }),
            ..ClusterSpec::default()
        };
        let mut cluster = Cluster::new(name, spec);
        cluster.metadata.namespace = Some("platform".into());
        Arc::new(cluster)
    }

    #[test]
    fn verdicts_follow_the_cluster() {
        let identities = Identities::new(Vec::new());
        let name = ClusterRef::new("platform", "eu-1");
        let check = |by: &str, expected: Verdict| {
            assert_eq!(identities.verdict(&name, &key(by)), expected, "{by}");
        };
        check("a", Verdict::Forgotten);
        identities.set_cluster(&cluster("eu-1", &["a", "b"], &[], true));
        check("a", Verdict::Accepted);
        check("c", Verdict::KeyRemoved);
        identities.set_cluster(&cluster("eu-1", &["a", "b"], &["a"], true));
        check("a", Verdict::Revoked);
        check("b", Verdict::Accepted);
        identities.set_cluster(&cluster("eu-1", &["a"], &[], false));
        check("a", Verdict::Waiting);
        identities.remove_cluster(&name);
        check("a", Verdict::Forgotten);
    }

    #[tokio::test]
    async fn an_agent_that_is_faster_than_the_watch_is_let_in() {
        let identities = Arc::new(Identities::new(Vec::new()));
        let now = Timestamp::now();
        let certificate = nave_identity::Key::generate().unwrap().self_signed(now).unwrap();
        let reason = UnknownReason::NoTokens;
        assert_eq!(
            identities.standing(&certificate, now).await.unwrap(),
            Some(Standing::Unknown { reason }),
            "nobody waits for ever"
        );
        let everybody = identities
            .at_the_door
            .acquire_many(u32::try_from(AT_THE_DOOR).unwrap())
            .await
            .unwrap();
        let standing = identities.standing(&certificate, now).await.unwrap();
        assert_eq!(standing, None, "one too many is not refused for good");
        drop(everybody);
        let watch = identities.clone();
        tokio::spawn(async move {
            tokio::time::sleep(TOKEN_ARRIVES / 20).await;
            watch.set_token("platform/t1".into(), true);
        });
        let standing = identities.standing(&certificate, now).await.unwrap();
        assert_eq!(standing, Some(Standing::Joining));
        identities.set_token("platform/t1".into(), false);
        assert!(!*identities.any_token.borrow());
    }

    #[test]
    fn only_changes_of_identity_are_told() {
        let identities = Identities::new(Vec::new());
        let mut changes = identities.changes();
        let first = cluster("eu-1", &["a"], &[], true);
        identities.set_cluster(&first);
        identities.set_cluster(&first);
        let mut relabelled = first.as_ref().clone();
        relabelled.labels_mut().insert("a".into(), "b".into());
        identities.set_cluster(&Arc::new(relabelled));
        identities.set_cluster(&cluster("eu-1", &["a"], &[], false));
        identities.remove_cluster(&ClusterRef::new("platform", "eu-1"));
        identities.remove_cluster(&ClusterRef::new("platform", "eu-1"));
        assert_eq!(std::iter::from_fn(|| changes.try_recv().ok()).count(), 3);
    }

    #[test]
    fn a_quarantine_by_hand_is_told_once_and_again_when_it_ends() {
        let identities = Identities::new(Vec::new());
        let name = ClusterRef::new("platform", "eu-1");
        let with = |why: &str| {
            let mut cluster = cluster("eu-1", &["a"], &[], true).as_ref().clone();
            cluster.spec.identity.get_or_insert_default().quarantined = why.to_owned();
            Arc::new(cluster)
        };
        let mut changes = identities.changes();
        for why in ["", "it was seen elsewhere", "still", ""] {
            identities.set_cluster(&with(why));
            let expected = (!why.is_empty()).then(|| format!("quarantined by hand: {why}"));
            assert_eq!(identities.quarantined(&name), expected);
        }
        assert_eq!(std::iter::from_fn(|| changes.try_recv().ok()).count(), 3);
        identities.set_cluster(&with("again"));
        identities.remove_cluster(&name);
        assert_eq!(identities.quarantined(&name), None);
    }

    #[test]
    fn a_cluster_by_kubeconfig_has_no_keys() {
        let identities = Identities::new(Vec::new());
        let mut other = cluster("eu-1", &["a"], &[], true).as_ref().clone();
        other.spec.mode = ClusterMode::KubeConfig;
        identities.set_cluster(&Arc::new(other));
        let verdict = identities.verdict(&ClusterRef::new("platform", "eu-1"), &key("a"));
        assert_eq!(verdict, Verdict::Forgotten);
    }
}
