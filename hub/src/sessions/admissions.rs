//! Connections of keys that nobody knows yet: one join request each.

use std::sync::Arc;

use jiff::Timestamp;
use nave_identity::KeyFingerprint;
use nave_proto::{
    Close, CloseCode,
    wire::{JoinReply, JoinRequest, JoinState},
};
use nave_quic::JoinHandler;

use super::{
    Sessions,
    entry::{BEHIND_ADMITS_NOBODY, later},
};
use crate::join::{JoinAsked, JoinError, Joined};

/// Admits agents for the sessions to come.
pub struct Admissions(pub Arc<Sessions>);

impl JoinHandler for Admissions {
    async fn join(&self, request: JoinRequest, key: KeyFingerprint) -> Result<JoinReply, Close> {
        let shared = &self.0.shared;
        // Also whoever came in before anybody knew, and keys that wait already.
        if shared.checkpoints.behind().borrow().is_some() {
            return Err(later(BEHIND_ADMITS_NOBODY));
        }
        let asked = JoinAsked {
            token_id: request.token_id,
            secret: request.token_secret,
            request: request.csr,
            name: request.name,
            cluster_uid: request.cluster_uid,
            key,
        };
        let outcome = shared.joins.join(&asked).await;
        let count = |outcome: &str| shared.metrics.joins.with_label_values(&[outcome]).inc();
        let (state, cluster, chain) = match outcome {
            Ok(Joined::Admitted { cluster, chain }) => {
                count("admitted");
                self.0.forget_sessions(&cluster);
                (JoinState::Admitted, cluster, chain)
            }
            Ok(Joined::Pending { cluster }) => {
                count("pending");
                (JoinState::Pending, cluster, Vec::new())
            }
            Err(error) => return Err(self.refuse(&error, &key)),
        };
        if state == JoinState::Admitted {
            // What a key says that nobody has approved is not the cluster's.
            let facts = request.facts.into_iter().map(|fact| (fact.key, fact.value)).collect();
            shared.statuses.facts(&cluster, facts);
        }
        // The agent connects again at once; until the watch has brought its key, it would be nobody.
        shared.identities.wait_for_key(&cluster, &key).await;
        Ok(JoinReply {
            state: state as i32,
            cluster_ns: cluster.namespace,
            cluster_name: cluster.name,
            cert_chain: chain.iter().map(|der| der.to_vec()).collect(),
            signed_root_set: shared.authority.signed_roots(),
            now_ms: Timestamp::now().as_millisecond(),
        })
    }
}

impl Admissions {
    fn refuse(&self, error: &JoinError, key: &KeyFingerprint) -> Close {
        let joins = &self.0.shared.metrics.joins;
        if error.is_temporary() {
            joins.with_label_values(&["failed"]).inc();
            tracing::error!(%key, error = error as &dyn std::error::Error, "a join failed");
            return Close::new(CloseCode::Internal, "the hub could not handle the join; try again").retry_after(2_000);
        }
        joins.with_label_values(&["refused"]).inc();
        tracing::warn!(%key, error = error as &dyn std::error::Error, "a join was refused");
        Close::new(CloseCode::JoinRefused, error.to_string())
    }
}
