//! The door: each connection is looked up, refused with words or served to its end.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use nave_identity::Standing;
use nave_proto::{Close, CloseCode, hub::Config};
use nave_quic::{Connection, HubListener, hub_session, serve_join};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{Conversation, Sessions, admissions::Admissions, enter, shutting_down};

/// Without this an agent of a hub that just started would be welcomed before anything is planned. It is not for ever: a
/// plan that hangs must not keep the whole fleet away, and nothing is sent before it anyway.
const PLANNED_WITHIN: Duration = Duration::from_secs(30);
/// So many connections may be joining at once: each may make the hub read its API. Those with one token are decided
/// together, and as many as are waiting for that may wait here.
const JOINING: usize = 256;

/// Accepts agents until shutdown, then tells all of them to come back and waits for their sessions to end.
pub async fn accept(sessions: Arc<Sessions>, mut listener: HubListener, config: Config, shutdown: CancellationToken) {
    let mut rebuilt = sessions.shared.desired.is_rebuilt();
    tokio::select! {
        _ = shutdown.cancelled() => return,
        result = tokio::time::timeout(PLANNED_WITHIN, rebuilt.wait_for(|rebuilt| *rebuilt)) => {
            if result.is_err() {
                tracing::warn!("not everything is planned yet; agents may connect and are sent nothing");
            }
        }
    }
    let config = Arc::new(config);
    let joining = Arc::new(Semaphore::new(JOINING));
    let mut served = JoinSet::new();
    // The sessions' last words are the drain's, so they do not hear the process's token but this one.
    let ending = CancellationToken::new();
    loop {
        tokio::select! {
            _ = shutdown.cancelled() => break,
            connection = listener.accept() => match connection {
                None => break,
                Some(connection) => {
                    let span = tracing::info_span!("link", from = %connection.remote_addr());
                    let serve = serve(sessions.clone(), connection, config.clone(), joining.clone(), ending.clone());
                    served.spawn(serve.instrument(span));
                }
            },
            Some(ended) = served.join_next() => report(ended),
        }
    }
    sessions.drain();
    listener.shut(&shutting_down()).await;
    ending.cancel();
    while let Some(ended) = served.join_next().await {
        report(ended);
    }
}

/// One session that panics is one session.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a session panicked");
    }
}

async fn serve(
    sessions: Arc<Sessions>,
    connection: Connection,
    config: Arc<Config>,
    joining: Arc<Semaphore>,
    ending: CancellationToken,
) {
    let shared = sessions.shared();
    let refuse = |reason: &str, close: Close| {
        shared.metrics.refusals.with_label_values(&[reason]).inc();
        tracing::info!(key = %connection.peer_key(), reason = close.reason, "refused");
        connection.close(&close);
    };
    let standing = match shared
        .identities
        .standing(connection.peer_certificate(), Timestamp::now())
        .await
    {
        Ok(Some(standing)) => standing,
        Ok(None) => {
            let close = Close::new(CloseCode::Overloaded, "too many agents wait for a join token").retry_after(2_000);
            return refuse("waiting", close);
        }
        Err(error) => return refuse("certificate", Close::new(CloseCode::KeyUnknown, error.to_string())),
    };
    if sessions.is_full() {
        let close = Close::new(CloseCode::Overloaded, "the hub has as many agents as it takes").retry_after(30_000);
        return refuse("full", close);
    }
    let behind = shared.checkpoints.behind().borrow().is_some();
    let facts = connection.peer_facts();
    let entrant = match enter(facts.key, facts.not_after, &standing, behind) {
        Ok(entrant) => entrant,
        Err(close) => return refuse(refusal_name(&standing), close),
    };
    let Some(cluster) = entrant.cluster.clone() else {
        let Ok(_turn) = joining.try_acquire() else {
            let close = Close::new(CloseCode::Overloaded, "too many agents are joining").retry_after(5_000);
            return refuse("joining", close);
        };
        // Boxed, so that the task of a session does not carry the room for a join as long as it lives.
        let admissions = Arc::new(Admissions(sessions.clone()));
        let end = Box::pin(serve_join(connection.clone(), admissions, config, ending)).await;
        tracing::debug!(reason = end.reason, "join connection ended");
        return;
    };
    let Some(silent) = sessions.silent(connection.peer_key()) else {
        let close = Close::new(CloseCode::Overloaded, "this key has other connections that say nothing");
        return refuse("silent", close.retry_after(5_000));
    };
    let (transport, from, entry) = (connection.transport(), connection.remote_addr(), entrant.entry);
    let conversation = Arc::new(Conversation::new(
        sessions.clone(),
        entrant,
        cluster,
        (transport, from),
        silent,
    ));
    let link = conversation.state().link().clone();
    let (handle, session) = hub_session(connection, entry, link, conversation.clone(), config);
    conversation.reached_by(handle);
    let end = session.within(shared.egress.clone()).run(ending).await;
    conversation.ended(&end.reason);
}

fn refusal_name(standing: &Standing) -> &'static str {
    match standing {
        Standing::Revoked { .. } => "revoked",
        Standing::Unknown { .. } => "unknown",
        Standing::Known { .. } | Standing::RenewOnly { .. } | Standing::Joining => "behind",
    }
}
