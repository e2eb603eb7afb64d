//! The agent asks for a new certificate.

use nave_proto::wire::{RenewCode, RenewReply};

use super::{super::entry::BEHIND_RENEWS_NOTHING, Conversation};
use crate::renew::Renewed;

impl Conversation {
    pub(super) async fn renewed(&self, csr: &[u8]) -> RenewReply {
        let reply = |code, reason: String, retry_after_ms| RenewReply {
            code: code as i32,
            cert_chain: Vec::new(),
            reason,
            retry_after_ms,
        };
        let (shared, cluster) = (&self.sessions.shared, &self.cluster);
        let renewals = |outcome: &str| shared.metrics.renewals.with_label_values(&[outcome]).inc();
        if shared.checkpoints.behind().borrow().is_some() && !self.has_current_certificate() {
            renewals("failed");
            return reply(RenewCode::Later, BEHIND_RENEWS_NOTHING.to_owned(), 60_000);
        }
        // A new key would end the quarantine, which only a person may.
        if let Some(reason) = self.sessions.quarantine_of(cluster, &self.entrant.key) {
            renewals("refused");
            return reply(RenewCode::Refused, reason, 0);
        }
        match shared
            .renewals
            .renew(cluster, self.entrant.key, self.entrant.not_after, csr)
            .await
        {
            Ok(Renewed::Certificate { key, chain }) => {
                renewals("renewed");
                shared.identities.wait_for_key(cluster, &key).await;
                RenewReply {
                    code: RenewCode::Renewed as i32,
                    cert_chain: chain.iter().map(|der| der.to_vec()).collect(),
                    reason: String::new(),
                    retry_after_ms: 0,
                }
            }
            Ok(Renewed::Pending { reason }) => {
                renewals("pending");
                reply(RenewCode::Pending, reason, 60_000)
            }
            Err(error) => {
                tracing::warn!(%cluster, error = &error as &dyn std::error::Error, "a renewal failed");
                if error.is_temporary() {
                    renewals("failed");
                    reply(RenewCode::Later, "the hub could not renew now".to_owned(), 5_000)
                } else {
                    renewals("refused");
                    reply(RenewCode::Refused, error.to_string(), 0)
                }
            }
        }
    }
}
