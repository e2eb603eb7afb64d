//! Admitting a new agent: token, cluster, certificate, in this order.
//!
//! ```text
//! request ─► line of the token ─► decide ─► token.status.used (compare-and-swap) ─► Cluster (compare-and-swap) ─► certificate
//!               many at once        ▲ a swap that failed reads and decides again │
//!                                   └─────────────────────────────────────────────┘
//! ```
//!
//! Whatever the order of crashes, a key that got a certificate stands in the token and in the cluster. The same key may
//! ask again and gets the same answer; another key on a used token is refused and reported.

mod decide;
mod line;
mod plan;

pub(crate) use plan::{cluster_reference, with_pending};

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
};
use nave_crds::{Cluster, JoinToken, managers};
use nave_identity::{
    Approval, AuthorityError, CertificateError, CertificateRequest, ClusterRef, JoinOutcome, JoinRefusal,
    KeyFingerprint,
};
use nave_runtime::{EventRecorder, Severity};
use rustls::pki_types::CertificateDer;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::authority::HubAuthority;
use line::{Lines, Ticket};

/// Each reads its cluster and writes it, and shares the rest with those that join with the same token. The API server
/// answers so many at once without queueing them.
const AT_ONCE: usize = 64;
/// A conflict means that somebody else's write went through; this many in a row mean that something is wrong.
const TRIES: usize = 8;

/// What a joining agent sent, with the key that the handshake proved.
#[derive(Debug, Clone)]
pub struct JoinAsked {
    /// Id of the token: `namespace/name` of its object.
    pub token_id: String,
    /// Its secret as presented.
    pub secret: Vec<u8>,
    /// DER certificate request.
    pub request: Vec<u8>,
    /// The name that the agent asks for; empty takes the token's.
    pub name: String,
    /// UID of the spoke's `kube-system` namespace.
    pub cluster_uid: String,
    /// Key of the connection.
    pub key: KeyFingerprint,
}

/// The answer to a join request that was not refused.
#[derive(Debug, Clone)]
pub enum Joined {
    /// The agent is in.
    Admitted {
        /// The cluster that it is.
        cluster: ClusterRef,
        /// Its certificate.
        chain: Vec<CertificateDer<'static>>,
    },
    /// A person has to approve first.
    Pending {
        /// The cluster that it will be.
        cluster: ClusterRef,
    },
}

/// A join that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] JoinRefusal),
    /// The certificate request is none.
    #[error("reading the certificate request")]
    Request(#[from] CertificateError),
    /// The stored token cannot be used.
    #[error("join token {id} is malformed: {what}")]
    Token {
        /// Its id.
        id: String,
        /// What is wrong with it.
        what: String,
    },
    /// The API server did not do what was asked.
    #[error("{what} for join token {id}")]
    Api {
        /// What was being done.
        what: &'static str,
        /// Id of the token.
        id: String,
        /// The answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// Others kept writing the same objects.
    #[error("join token {id} or its cluster kept changing; try again")]
    Contended {
        /// Id of the token.
        id: String,
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

impl JoinError {
    /// Whether the agent may succeed by asking again.
    pub fn is_temporary(&self) -> bool {
        matches!(self, JoinError::Api { .. } | JoinError::Contended { .. })
    }
}

/// Admits agents.
pub struct Joins {
    client: Client,
    authority: Arc<HubAuthority>,
    events: EventRecorder,
    at_once: Semaphore,
    lines: Lines<Request, Result<Decision, JoinError>>,
}

/// What stands in line.
#[derive(Clone)]
struct Request {
    asked: JoinAsked,
    /// Key of the certificate request.
    request_key: KeyFingerprint,
}

/// A join that is granted, whose use of the token is written.
struct Decision {
    token: Arc<JoinToken>,
    outcome: JoinOutcome,
    existing: Option<Cluster>,
}

type Waiting = Ticket<Request, Result<Decision, JoinError>>;

impl Joins {
    /// Joins are signed by `authority` and reported to `events`.
    pub fn new(client: Client, authority: Arc<HubAuthority>, events: EventRecorder) -> Self {
        Joins {
            client,
            authority,
            events,
            at_once: Semaphore::new(AT_ONCE),
            lines: Lines::default(),
        }
    }

    /// Handles one join request to its end.
    ///
    /// # Errors
    /// The refusal as it is told to the agent, or what kept the hub from deciding.
    pub async fn join(&self, asked: &JoinAsked) -> Result<Joined, JoinError> {
        let _permit = self.at_once.acquire().await.expect("the semaphore is never closed");
        let request = CertificateRequest::read(&asked.request)?;
        let stands = || Request {
            asked: asked.clone(),
            request_key: request.key(),
        };
        for _ in 0..TRIES {
            let serve = |together| self.decide(together);
            let Some(decided) = self.lines.ask(&asked.token_id, stands(), TRIES, serve).await else {
                break;
            };
            let Decision {
                token,
                outcome,
                existing,
            } = decided?;
            let clusters: Api<Cluster> = Api::namespaced(self.client.clone(), &outcome.cluster.namespace);
            let written = match existing {
                None => self.create(&clusters, &token, &outcome, asked).await?,
                Some(cluster) => {
                    let now = Timestamp::now();
                    self.update(&clusters, cluster, &token, &outcome, asked, now).await?
                }
            };
            if written {
                return self.answer(asked, &request, outcome);
            }
        }
        Err(JoinError::Contended {
            id: plan::printable(&asked.token_id),
        })
    }

    async fn token(&self, id: &str) -> Result<Option<JoinToken>, JoinError> {
        let Some((namespace, name)) = plan::token_object(id) else {
            return Ok(None);
        };
        let api: Api<JoinToken> = Api::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.map_err(|source| JoinError::Api {
            what: "reading the token",
            id: plan::printable(id),
            source: Box::new(source),
        })
    }

    async fn create(
        &self,
        clusters: &Api<Cluster>,
        token: &JoinToken,
        outcome: &JoinOutcome,
        asked: &JoinAsked,
    ) -> Result<bool, JoinError> {
        let cluster = plan::new_cluster(token, outcome, asked.key, &asked.cluster_uid);
        swapped(clusters.create(&parameters(), &cluster).await).map_err(self.failed("creating the cluster", asked))
    }

    async fn update(
        &self,
        clusters: &Api<Cluster>,
        cluster: Cluster,
        token: &JoinToken,
        outcome: &JoinOutcome,
        asked: &JoinAsked,
        now: Timestamp,
    ) -> Result<bool, JoinError> {
        let name = outcome.cluster.name.as_str();
        if outcome.approval == Approval::Manual {
            let reason = "joined with a token that needs approval, or the name is another key's";
            let Some(pending) = with_pending(&cluster, asked.key, reason, now) else {
                return Ok(true);
            };
            let patch = json!({
                "metadata": {"resourceVersion": cluster.metadata.resource_version},
                "status": {"pendingKeys": pending},
            });
            let written = clusters
                .patch_status(name, &patch_parameters(), &Patch::Merge(patch))
                .await;
            return swapped(written).map_err(self.failed("listing the pending key", asked));
        }
        let Some(next) = plan::admitted(&cluster, token, asked.key, &asked.cluster_uid) else {
            return Ok(true);
        };
        let written = swapped(clusters.replace(name, &parameters(), &next).await)
            .map_err(self.failed("writing the cluster's identity", asked))?;
        if written && cluster.status.as_ref().is_some_and(|status| status.session.is_some()) {
            // The starts that the agent before counted say nothing about this one.
            let patch = Patch::Merge(json!({"status": {"session": null}}));
            let cleared = clusters.patch_status(name, &patch_parameters(), &patch).await;
            swapped(cleared).map_err(self.failed("forgetting the last session", asked))?;
        }
        Ok(written)
    }

    fn answer(
        &self,
        asked: &JoinAsked,
        request: &CertificateRequest,
        outcome: JoinOutcome,
    ) -> Result<Joined, JoinError> {
        let cluster = outcome.cluster;
        let (token, key) = (&asked.token_id, asked.key);
        let object = cluster_reference(&cluster);
        if outcome.approval == Approval::Manual {
            tracing::info!(%cluster, %key, token, "join waits for approval");
            self.events.record(
                object,
                Severity::Info,
                "JoinPending",
                &format!("key {key} asks to be this cluster with token {token} and waits for approval"),
                BTreeMap::new(),
            );
            return Ok(Joined::Pending { cluster });
        }
        let issued = self
            .authority
            .issue_client(request, &cluster, Timestamp::now())
            .map_err(|source| JoinError::Sign {
                cluster: cluster.clone(),
                source,
            })?;
        tracing::info!(%cluster, %key, token, not_after = %issued.not_after, "joined");
        self.events.record(
            object,
            Severity::Info,
            "Joined",
            &format!("key {key} joined with token {token}"),
            BTreeMap::new(),
        );
        Ok(Joined::Admitted {
            cluster,
            chain: issued.chain,
        })
    }

    /// A second key on a used token means that a copy of it is about.
    fn report(&self, token: Option<&JoinToken>, refusal: &JoinRefusal) {
        let (Some(token), JoinRefusal::UsedUp { .. }) = (token, refusal) else {
            return;
        };
        self.events.record(
            token.object_ref(&()),
            Severity::Error,
            "TokenReused",
            &refusal.to_string(),
            BTreeMap::new(),
        );
    }

    fn failed(&self, what: &'static str, asked: &JoinAsked) -> impl FnOnce(kube::Error) -> JoinError + use<> {
        let id = plan::printable(&asked.token_id);
        move |source| JoinError::Api {
            what,
            id,
            source: Box::new(source),
        }
    }
}

fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(managers::HUB.to_owned()),
        ..PostParams::default()
    }
}

fn patch_parameters() -> PatchParams {
    PatchParams {
        field_manager: Some(managers::HUB.to_owned()),
        ..PatchParams::default()
    }
}

/// True when the write went through, false when the object had changed, appeared or gone since it was read.
fn swapped<K>(written: kube::Result<K>) -> kube::Result<bool> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}
