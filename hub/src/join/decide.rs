//! Deciding for everybody who stands in line of one token.

use std::sync::Arc;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::Api;
use nave_crds::{Cluster, JoinToken};
use nave_identity::{JoinAttempt, JoinOutcome, JoinRefusal, TokenRecord, TokenUse, decide_join};

use super::{Decision, JoinError, Joins, Request, TRIES, Waiting, parameters, plan, swapped};

/// Of those that are decided together, clusters that are read at once.
const READS: usize = 16;

impl Joins {
    /// Decides for everybody in line of one token, with one write. Whoever is not answered asks again.
    pub(super) async fn decide(&self, mut together: Vec<Waiting>) {
        for _ in 0..TRIES {
            let Some(id) = together.first().map(|first| first.asked.asked.token_id.clone()) else {
                return;
            };
            together = self.decide_once(&id, together).await;
        }
    }

    /// One try. Those who are not answered come back, since somebody else wrote the token in between.
    async fn decide_once(&self, id: &str, together: Vec<Waiting>) -> Vec<Waiting> {
        let now = Timestamp::now();
        let token = match self.token(id).await {
            Ok(token) => token,
            Err(error) => return first_hears(together, error),
        };
        let record = match token.as_ref().map(plan::record).transpose() {
            Ok(record) => record,
            Err(what) => {
                for ticket in together {
                    let id = plan::printable(id);
                    let what = what.clone();
                    ticket.answer(Err(JoinError::Token { id, what }));
                }
                return Vec::new();
            }
        };
        // This decision only tells which cluster is meant; nothing is read for a request that is refused anyway.
        let mut wanted = Vec::new();
        for ticket in together {
            match decide_one(&ticket.asked, record.as_ref(), None, now) {
                Ok(outcome) => wanted.push((ticket, outcome.cluster)),
                Err(refusal) => self.refuse(ticket, token.as_ref(), refusal),
            }
        }
        let (Some(token), Some(mut record)) = (token, record) else {
            return Vec::new(); // a decision in favour names a token
        };
        let found = stream::iter(wanted)
            .map(|(ticket, cluster)| async move {
                let clusters: Api<Cluster> = Api::namespaced(self.client.clone(), &cluster.namespace);
                (ticket, clusters.get_opt(&cluster.name).await)
            })
            .buffered(READS)
            .collect::<Vec<_>>()
            .await;

        let (mut granted, mut refused, mut uses) = (Vec::new(), Vec::new(), Vec::new());
        for (ticket, existing) in found {
            let existing = match existing {
                Ok(existing) => existing,
                Err(error) => {
                    let failed = self.failed("reading the cluster", &ticket.asked.asked)(error);
                    ticket.answer(Err(failed));
                    continue;
                }
            };
            match decide_one(&ticket.asked, Some(&record), existing.as_ref(), now) {
                Ok(outcome) => {
                    record.used.extend(outcome.record_use.clone());
                    uses.extend(outcome.record_use.clone());
                    granted.push((ticket, outcome, existing));
                }
                Err(refusal) => refused.push((ticket, refusal)),
            }
        }
        // Nobody hears of a use before it is written, be it by the one who uses or by those who come too late.
        match self.consume(&token, &uses).await {
            Ok(true) => {}
            Ok(false) => {
                let granted = granted.into_iter().map(|(ticket, ..)| ticket);
                return granted.chain(refused.into_iter().map(|(ticket, _)| ticket)).collect();
            }
            Err(source) => {
                let error = JoinError::Api {
                    what: "consuming the token",
                    id: plan::printable(id),
                    source: Box::new(source),
                };
                let granted = granted.into_iter().map(|(ticket, ..)| ticket);
                let all = granted.chain(refused.into_iter().map(|(ticket, _)| ticket));
                return first_hears(all.collect(), error);
            }
        }
        for (ticket, refusal) in refused {
            self.refuse(ticket, Some(&token), refusal);
        }
        let token = Arc::new(token);
        for (ticket, outcome, existing) in granted {
            let token = token.clone();
            ticket.answer(Ok(Decision {
                token,
                outcome,
                existing,
            }));
        }
        Vec::new()
    }

    fn refuse(&self, ticket: Waiting, token: Option<&JoinToken>, refusal: JoinRefusal) {
        self.report(token, &refusal);
        ticket.answer(Err(refusal.into()));
    }

    /// Writes uses of the token. False when the token changed meanwhile.
    async fn consume(&self, token: &JoinToken, uses: &[TokenUse]) -> kube::Result<bool> {
        if uses.is_empty() {
            return Ok(true); // the same keys again
        }
        let next = plan::consumed(token, uses);
        let namespace = token.metadata.namespace.clone().unwrap_or_default();
        let api: Api<JoinToken> = Api::namespaced(self.client.clone(), &namespace);
        let name = token.metadata.name.clone().unwrap_or_default();
        swapped(api.replace_status(&name, &parameters(), &next).await)
    }
}

/// What the rules say, given who used the token so far and the cluster that has the name.
fn decide_one(
    request: &Request,
    record: Option<&TokenRecord>,
    existing: Option<&Cluster>,
    now: Timestamp,
) -> Result<JoinOutcome, JoinRefusal> {
    let asked = &request.asked;
    let attempt = JoinAttempt {
        token_id: &asked.token_id,
        secret: &asked.secret,
        key: asked.key,
        request_key: request.request_key,
        name: &asked.name,
        cluster_uid: &asked.cluster_uid,
    };
    decide_join(&attempt, record, |_| existing.map(plan::existing), now)
}

/// The API server failed one request of many: one hears why, and the others ask again.
fn first_hears(together: Vec<Waiting>, error: JoinError) -> Vec<Waiting> {
    if let Some(first) = together.into_iter().next() {
        first.answer(Err(error));
    }
    Vec::new()
}
