//! Joining a hub with a token: one connection, one request, one answer.

use nave_identity::{JoinToken, RootSetError, SignedRootSet, TrustedRoots};
use nave_proto::agent::{Event, Maps, Opening, Session};
use nave_proto::wire::{Fact, JoinReply, JoinRequest, JoinState, SetKind};
use nave_proto::{AfterClose, Close, CloseCode, EventQueue, ItemMap, Plans, ProtocolError, Replica, StreamKind};

use super::identity::{AgentIdentity, IdentityError, IdentityStore, StoreError};
use crate::clock::{WallClock, now, wait_until};
use crate::connection::{Connection, LinkError};
use crate::dialer::{AgentDialer, DialError, DialOptions};

/// What the agent says when it joins.
#[derive(Debug, Clone, Default)]
pub struct JoinOptions {
    /// The name that it would like; may be empty when the token fixes one.
    pub name: String,
    /// UID of the spoke's `kube-system` namespace.
    pub cluster_uid: String,
    /// What it says about its cluster; never selectable.
    pub facts: Vec<(String, String)>,
    /// How to dial.
    pub dial: DialOptions,
}

/// How the hub met the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// The agent has its certificate.
    Admitted,
    /// A person has to approve; run the agent, it will wait.
    Pending,
}

/// Joining failed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The identity cannot be used.
    #[error("preparing the agent's identity")]
    Identity(#[source] IdentityError),
    /// No hub was reached, or the one that answered is not the one in the token.
    #[error("reaching the hub")]
    Dial(#[source] DialError),
    /// The hub refused, with these words.
    #[error("the hub refuses: {0}")]
    Refused(Close),
    /// The connection was lost; joining again with the same key is safe.
    #[error("talking to the hub")]
    Link(#[source] LinkError),
    /// The hub broke the protocol.
    #[error("understanding the hub")]
    Protocol(#[source] ProtocolError),
    /// The hub's roots cannot be believed.
    #[error("checking the hub's roots")]
    Roots(#[source] RootSetError),
    /// The hub answered with what cannot be used.
    #[error("the hub's answer cannot be used: {0}")]
    Answer(&'static str),
    /// The identity could not be stored.
    #[error("storing the agent's identity")]
    Store(#[source] StoreError),
}

impl JoinError {
    /// Whether trying again with the same token may help.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Dial(error) => error.may_pass(),
            Self::Refused(close) => !matches!(close.after(), AfterClose::Rarely | AfterClose::Stop),
            Self::Link(_) | Self::Store(_) => true,
            _ => false,
        }
    }
}

/// Joins the hub that the token names, with the identity's key, and stores the identity before and after.
///
/// Begin with [`AgentIdentity::begin`]; to try again, pass the same identity.
pub async fn join(
    identity: &mut AgentIdentity,
    token: &JoinToken,
    store: &impl IdentityStore,
    options: JoinOptions,
) -> Result<Joined, JoinError> {
    store.save(identity).await.map_err(JoinError::Store)?;
    let key = identity.key().map_err(JoinError::Identity)?;
    let csr = key
        .request()
        .map_err(|error| JoinError::Identity(IdentityError::Key(error)))?;
    let floor = identity.time_floor();
    let tls = identity.tls(floor.clone()).map_err(JoinError::Identity)?;
    let clock = options.dial.clock;
    let dialer = AgentDialer::new(options.dial).map_err(JoinError::Dial)?;
    let addresses = identity.addresses.clone();
    let dialled = dialer.dial_knowing(&addresses, tls, &mut identity.path).await;
    let (connection, _) = dialled.map_err(JoinError::Dial)?;
    let facts = options.facts.into_iter().map(|(key, value)| Fact { key, value });
    let request = JoinRequest {
        token_id: token.id.clone(),
        token_secret: token.secret().to_vec(),
        csr: csr.to_vec(),
        name: options.name,
        cluster_uid: options.cluster_uid,
        facts: facts.take(nave_proto::wire::MAX_FACTS).collect(),
        major: 0,
    };
    let answer = ask(&connection, request).await;
    let close = match &answer {
        Ok(_) => Close::new(CloseCode::Done, "joined"),
        Err(JoinError::Protocol(error)) => Close::from(error),
        Err(error) => Close::new(CloseCode::Internal, error.to_string()),
    };
    connection.close(&close);
    let finished = dialer.finish();
    let joined = take(identity, answer?, &floor, clock)?;
    store.save(identity).await.map_err(JoinError::Store)?;
    finished.await;
    Ok(joined)
}

async fn ask(connection: &Connection, request: JoinRequest) -> Result<JoinReply, JoinError> {
    let refused = |error: LinkError| match error {
        LinkError::Closed(close) => JoinError::Refused(close),
        error => JoinError::Link(error),
    };
    let (mut desired, mut status) = (Replica::new(SetKind::Desired), ItemMap::new(SetKind::Status));
    let (mut plans, mut events) = (Plans::new(), EventQueue::new());
    let maps = &mut Maps {
        desired: &mut desired,
        status: &mut status,
        plans: &mut plans,
        events: &mut events,
    };
    let mut session = Session::new(now(), Opening::Join(Box::new(request)), 0, maps);
    let (mut send, mut recv) = connection.open(StreamKind::Control).await.map_err(refused)?;
    loop {
        while let Some(frame) = session.poll_control(now(), maps) {
            send.send(StreamKind::Control, frame).await.map_err(refused)?;
        }
        tokio::select! {
            frame = recv.next() => {
                let frame = frame.map_err(refused)?;
                let cut = LinkError::Cut { kind: StreamKind::Control };
                let frame = frame.ok_or(cut).map_err(refused)?;
                session.handle_control(now(), frame, maps).map_err(JoinError::Protocol)?;
            }
            () = wait_until(session.poll_timeout()) => {
                if session.handle_timeout(now()).is_some() {
                    return Err(JoinError::Link(LinkError::TimedOut));
                }
            }
            // A refusal may close the connection before the stream shows it.
            error = connection.closed() => return Err(refused(error)),
        }
        while let Some(event) = session.poll_event() {
            if let Event::JoinReply(reply) = event {
                return Ok(*reply);
            }
        }
    }
}

fn take(
    identity: &mut AgentIdentity,
    reply: JoinReply,
    floor: &nave_identity::TimeFloor,
    clock: WallClock,
) -> Result<Joined, JoinError> {
    let signed = SignedRootSet::from_bytes(&reply.signed_root_set).map_err(JoinError::Roots)?;
    let pin = identity.pin().ok_or(JoinError::Identity(IdentityError::NoTrust))?;
    let roots = TrustedRoots::pinned(signed, pin).map_err(JoinError::Roots)?;
    let state = JoinState::try_from(reply.state).map_err(|_| JoinError::Answer("its state is not known"))?;
    if state == JoinState::Admitted {
        let key = identity.key().map_err(JoinError::Identity)?.fingerprint();
        let leaf = reply
            .cert_chain
            .first()
            .ok_or(JoinError::Answer("it admits without a certificate"))?;
        let facts = nave_identity::CertificateFacts::read(leaf)
            .map_err(|_| JoinError::Answer("its certificate cannot be read"))?;
        if facts.key != key {
            return Err(JoinError::Answer("its certificate is for another key"));
        }
        identity.certify(&reply.cert_chain);
    }
    identity.believe(&roots);
    identity.cluster_namespace = reply.cluster_ns;
    identity.cluster_name = reply.cluster_name;
    floor.raise(u64::try_from(reply.now_ms / 1000).unwrap_or_default(), clock.unix());
    identity.note_time(floor);
    Ok(match state {
        JoinState::Admitted => Joined::Admitted,
        JoinState::Pending => Joined::Pending,
    })
}
