//! New certificates for agents that are in: usually for a new key, which joins the accepted ones before it is signed.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use nave_crds::{Cluster, conditions, managers};
use nave_identity::{AuthorityError, CertificateError, CertificateRequest, ClusterRef, KeyFingerprint};
use nave_runtime::Conditions;
use rustls::pki_types::CertificateDer;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{authority::HubAuthority, join};

/// How long after its certificate ended a key may renew without a person, unless the cluster says otherwise.
const RENEW_WITHIN: SignedDuration = SignedDuration::from_hours(90 * 24);
/// A storm of renewals after an outage must not take the API server's attention from everything else.
const AT_ONCE: usize = 16;
const TRIES: usize = 8;

/// The answer to a renewal.
#[derive(Debug)]
pub enum Renewed {
    /// Signed.
    Certificate {
        /// The key that it is for.
        key: KeyFingerprint,
        /// The certificate, leaf first.
        chain: Vec<CertificateDer<'static>>,
    },
    /// A person has to approve the new key first.
    Pending {
        /// Why.
        reason: String,
    },
}

/// A renewal that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// The certificate request is none.
    #[error("reading the certificate request")]
    Request(#[from] CertificateError),
    /// The connection's key is no longer one of the cluster's.
    #[error("key {key} is no longer accepted for cluster {cluster}")]
    KeyNotAccepted {
        /// The cluster.
        cluster: ClusterRef,
        /// The key of the connection.
        key: KeyFingerprint,
    },
    /// The new key was taken back before.
    #[error("key {key} was revoked for cluster {cluster}; make another one")]
    KeyRevoked {
        /// The cluster.
        cluster: ClusterRef,
        /// The key of the request.
        key: KeyFingerprint,
    },
    /// The API server did not do what was asked.
    #[error("writing the new key of cluster {cluster}")]
    Api {
        /// The cluster.
        cluster: ClusterRef,
        /// The answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// Others kept writing the same object.
    #[error("cluster {cluster} kept changing; try again")]
    Contended {
        /// The cluster.
        cluster: ClusterRef,
    },
    /// Signing failed.
    #[error("signing the certificate of cluster {cluster}")]
    Sign {
        /// The cluster.
        cluster: ClusterRef,
        /// Why.
        #[source]
        source: AuthorityError,
    },
}

impl RenewalError {
    /// Whether asking again later may help.
    pub fn is_temporary(&self) -> bool {
        matches!(self, RenewalError::Api { .. } | RenewalError::Contended { .. })
    }
}

/// Renews certificates.
pub struct Renewals {
    client: Client,
    authority: Arc<HubAuthority>,
    at_once: Semaphore,
}

impl Renewals {
    /// Certificates are signed by `authority`.
    pub fn new(client: Client, authority: Arc<HubAuthority>) -> Self {
        Renewals {
            client,
            authority,
            at_once: Semaphore::new(AT_ONCE),
        }
    }

    /// Signs a certificate for the key of `request` (DER), asked for over a connection of `key`, whose own certificate
    /// ends or ended at `not_after`; none when that is not ours: then it counts when the agent was seen last.
    pub async fn renew(
        &self,
        cluster: &ClusterRef,
        key: KeyFingerprint,
        not_after: Option<Timestamp>,
        request: &[u8],
    ) -> Result<Renewed, RenewalError> {
        let _permit = self.at_once.acquire().await.expect("the semaphore is never closed");
        let request = CertificateRequest::read(request)?;
        let api: Api<Cluster> = Api::namespaced(self.client.clone(), &cluster.namespace);
        for _ in 0..TRIES {
            let api_error = |source| RenewalError::Api {
                cluster: cluster.clone(),
                source: Box::new(source),
            };
            let object = api.get(&cluster.name).await.map_err(api_error)?;
            let next = next(&object, cluster, key, request.key(), not_after, Timestamp::now())?;
            let written = match next {
                Next::Sign => Ok(()),
                Next::Add(next) => {
                    let parameters = PostParams {
                        field_manager: Some(managers::HUB.to_owned()),
                        ..PostParams::default()
                    };
                    let replaced = api.replace(&cluster.name, &parameters, &next).await;
                    replaced.map(|_| ())
                }
                Next::Ask(reason) => {
                    self.ask(&api, &object, request.key(), &reason)
                        .await
                        .map_err(api_error)?;
                    return Ok(Renewed::Pending { reason });
                }
            };
            match written {
                Ok(()) => {
                    let issued = self.authority.issue_client(&request, cluster, Timestamp::now());
                    let issued = issued.map_err(|source| RenewalError::Sign {
                        cluster: cluster.clone(),
                        source,
                    })?;
                    tracing::info!(%cluster, key = %issued.key, not_after = %issued.not_after, "renewed a certificate");
                    return Ok(Renewed::Certificate {
                        key: issued.key,
                        chain: issued.chain,
                    });
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(api_error(error)),
            }
        }
        Err(RenewalError::Contended {
            cluster: cluster.clone(),
        })
    }

    async fn ask(&self, api: &Api<Cluster>, object: &Cluster, key: KeyFingerprint, reason: &str) -> kube::Result<()> {
        let Some(pending) = join::with_pending(object, key, reason, Timestamp::now()) else {
            return Ok(());
        };
        let parameters = PatchParams {
            field_manager: Some(managers::HUB.to_owned()),
            ..PatchParams::default()
        };
        let patch = json!({
            "metadata": {"resourceVersion": object.metadata.resource_version},
            "status": {"pendingKeys": pending},
        });
        let name = object.metadata.name.as_deref().unwrap_or_default();
        api.patch_status(name, &parameters, &Patch::Merge(patch)).await?;
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
enum Next {
    /// The key is accepted already.
    Sign,
    /// Write this first.
    Add(Box<Cluster>),
    /// A person has to agree.
    Ask(String),
}

fn next(
    object: &Cluster,
    cluster: &ClusterRef,
    key: KeyFingerprint,
    new_key: KeyFingerprint,
    not_after: Option<Timestamp>,
    now: Timestamp,
) -> Result<Next, RenewalError> {
    let identity = object.spec.identity.clone().unwrap_or_default();
    let has = |list: &[String], key: KeyFingerprint| list.contains(&key.to_string());
    if !object.spec.accepted || !has(&identity.keys, key) || has(&identity.revoked_keys, key) {
        return Err(RenewalError::KeyNotAccepted {
            cluster: cluster.clone(),
            key,
        });
    }
    if has(&identity.revoked_keys, new_key) {
        return Err(RenewalError::KeyRevoked {
            cluster: cluster.clone(),
            key: new_key,
        });
    }
    let within = match identity.renew_within {
        Some(within) => SignedDuration::try_from(within.get()).unwrap_or(SignedDuration::MAX),
        None => RENEW_WITHIN,
    };
    let since = not_after.or_else(|| last_known(object));
    if since.is_some_and(|since| now.duration_since(since) > within) {
        let what = match (not_after, since) {
            (Some(ended), _) => format!("its certificate ended at {ended}"),
            (None, since) => format!(
                "it shows no certificate of this hub, and was seen last at {}",
                since.unwrap_or_default()
            ),
        };
        return Ok(Next::Ask(format!(
            "{what}, longer ago than spec.identity.renewWithin allows; \
             approve by adding key {new_key} to spec.identity.keys"
        )));
    }
    if has(&identity.keys, new_key) {
        return Ok(Next::Sign);
    }
    let mut next = object.clone();
    let keys = renewed_keys(&identity.keys, key, new_key);
    next.spec.identity.get_or_insert_default().keys = keys;
    Ok(Next::Add(Box::new(next)))
}

/// When the agent of a cluster was certainly there: none while it is, else when its last session ended, else when the
/// cluster was made for it.
fn last_known(object: &Cluster) -> Option<Timestamp> {
    let status = object.status.as_ref();
    // `lastSeen` is of the session before while another is open.
    if status.is_some_and(|status| status.conditions.is_true(conditions::CONNECTED)) {
        return None;
    }
    let seen = status.and_then(|status| status.last_seen.as_ref()).map(|seen| seen.0);
    let made = object.metadata.creation_timestamp.as_ref().map(|made| made.0);
    seen.or(made)
}

/// The accepted keys with the new one: the key of the connection stays until the new one is in use, and one more stays
/// for a spoke that is restored from yesterday's backup.
fn renewed_keys(keys: &[String], key: KeyFingerprint, new_key: KeyFingerprint) -> Vec<String> {
    let (key, new_key) = (key.to_string(), new_key.to_string());
    let newest_other = keys.iter().rposition(|other| *other != key);
    let mut kept: Vec<String> = keys
        .iter()
        .enumerate()
        .filter(|(at, other)| **other == key || Some(*at) == newest_other)
        .map(|(_, other)| other.clone())
        .collect();
    kept.push(new_key);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use nave_crds::fleet::{ClusterIdentity, ClusterSpec, ClusterStatus};
    use nave_runtime::Status;

    const NOW: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn key(name: &str) -> KeyFingerprint {
        KeyFingerprint::of_spki(name.as_bytes())
    }

    fn cluster(keys: &[&str], revoked: &[&str], accepted: bool) -> Cluster {
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
        Cluster::new("eu-1", spec)
    }

    fn check(object: &Cluster, by: &str, new: &str, expired_hours: i64, expected: &str) {
        let name = ClusterRef::new("platform", "eu-1");
        let ended = at(NOW - expired_hours * 3600);
        check_next(next(object, &name, key(by), key(new), Some(ended), at(NOW)), expected);
    }

    #[track_caller]
    fn check_next(next: Result<Next, RenewalError>, expected: &str) {
        let told = match next {
            Ok(Next::Sign) => "sign".to_owned(),
            Ok(Next::Add(next)) => format!("add, {} keys", next.spec.identity.unwrap().keys.len()),
            Ok(Next::Ask(_)) => "ask".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(told.contains(expected), "{told:?} has no {expected:?}");
    }

    #[test]
    fn decisions() {
        let object = cluster(&["a"], &["r"], true);
        check(&object, "a", "b", -12, "add, 2 keys");
        check(&object, "a", "a", -12, "sign");
        check(&object, "a", "b", 89 * 24, "add, 2 keys");
        check(&object, "a", "b", 91 * 24, "ask");
        check(&object, "x", "b", -12, "is no longer accepted");
        check(&object, "a", "r", -12, "was revoked");
        check(&cluster(&["a"], &["a"], true), "a", "b", -12, "is no longer accepted");
        check(&cluster(&["a"], &[], false), "a", "b", -12, "is no longer accepted");
    }

    /// A self-signed certificate may say that it ends in a thousand years.
    #[test]
    fn without_a_certificate_of_ours_it_counts_when_the_agent_was_seen_last() {
        let name = ClusterRef::new("platform", "eu-1");
        let hours = |ago: i64| at(NOW - ago * 3600);
        let check = |made: Option<i64>, seen: Option<i64>, connected: bool, expected: &str| {
            let mut object = cluster(&["a"], &[], true);
            object.metadata.creation_timestamp = made.map(|ago| Time(hours(ago)));
            let mut status = ClusterStatus {
                last_seen: seen.map(|ago| Time(hours(ago))),
                ..ClusterStatus::default()
            };
            if connected {
                let word = Status::True;
                status
                    .conditions
                    .set(conditions::CONNECTED, word, "SessionOpen", "", 1, hours(1));
            }
            object.status = Some(status);
            check_next(next(&object, &name, key("a"), key("b"), None, at(NOW)), expected);
        };
        check(Some(200 * 24), Some(91 * 24), false, "ask");
        check(Some(200 * 24), Some(89 * 24), false, "add, 2 keys");
        check(Some(200 * 24), None, false, "ask");
        check(Some(1), None, false, "add, 2 keys"); // the answer to its join request was lost
        check(Some(200 * 24), Some(91 * 24), true, "add, 2 keys");
    }

    #[test]
    fn the_list_of_keys_stays_short_and_keeps_the_one_in_use() {
        let texts = |names: &[&str]| -> Vec<String> { names.iter().map(|name| key(name).to_string()).collect() };
        let check = |keys: &[&str], by: &str, new: &str, expected: &[&str]| {
            assert_eq!(renewed_keys(&texts(keys), key(by), key(new)), texts(expected));
        };
        check(&["a"], "a", "b", &["a", "b"]);
        check(&["a", "b"], "b", "c", &["a", "b", "c"]);
        check(&["a", "b", "c"], "c", "d", &["b", "c", "d"]);
        // Replies that were lost: each try brings another new key.
        check(&["a", "b", "c"], "a", "d", &["a", "c", "d"]);
    }
}
