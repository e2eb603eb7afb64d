//! Dialling a server, believing it, logging in, and starting the program at the other end.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use gix::protocol::transport::{Protocol, Service, client::blocking_io::Transport, client::git};
use percent_encoding::percent_decode_str;
use russh::{
    AlgorithmKind,
    client::{self, AuthResult, Handle},
    keys::{HashAlg, PrivateKeyWithHashAlg, PublicKeyOrCertificate},
};
use tokio::net::TcpStream;

use super::{
    auth::SshAuth,
    known_hosts::{Host, KnownHosts, Refusal, fingerprint},
    pipe::{Connection, Reader, Writer},
};
use crate::wire::{Failure, Wire};

/// A server that does not answer for so long is sent a sign of life; after three without answer it is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(20);
/// What a user is called when the URL names none, as in Flux.
const USER: &str = "git";

/// Starts `service` for the remote's path and gives the conversation with it.
///
/// Failures are recorded in the wire, as those of HTTP are.
pub(crate) fn connect(
    wire: &Wire,
    auth: &SshAuth,
    service: Service,
    version: Protocol,
) -> io::Result<Box<dyn Transport + Send>> {
    let path = percent_decode_str(wire.origin.path()).decode_utf8_lossy().into_owned();
    // `ssh://host/~user/a` names a path in a user's home, as git has it.
    let path = match path.strip_prefix('/') {
        Some(home) if home.starts_with('~') => home.to_owned(),
        _ => path,
    };
    if path.contains(['\0', '\n']) {
        return Err(wire
            .failures
            .record(Failure::Connect("the path holds a line break".to_owned())));
    }
    let command = format!("{} '{}'", service.as_str(), path.replace('\'', "'\\''"));
    let left = wire.deadline.saturating_duration_since(Instant::now());
    let opening = open(wire, auth, &command, version);
    let opened = wire
        .runtime
        .block_on(async { tokio::time::timeout(left, opening).await });
    let (handle, channel) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(failure)) => return Err(wire.failures.record(failure)),
        Err(_) => return Err(wire.failures.record(Failure::Timeout)),
    };
    let (read, write) = channel.split();
    let reader = Reader {
        wire: wire.clone(),
        half: read,
        chunk: Bytes::new(),
        read: 0,
        said: Vec::new(),
        done: false,
        _connection: Connection {
            wire: wire.clone(),
            handle,
        },
    };
    let writer = Writer {
        wire: wire.clone(),
        half: write,
    };
    let connection = git::blocking_io::Connection::new(
        reader,
        writer,
        version,
        path,
        None::<(String, Option<u16>)>,
        git::ConnectMode::Process,
        false,
    );
    Ok(Box::new(connection.custom_url(Some(wire.origin.as_str().into()))))
}

async fn open(
    wire: &Wire,
    auth: &SshAuth,
    command: &str,
    version: Protocol,
) -> Result<(Handle<Checker>, russh::Channel<client::Msg>), Failure> {
    let host = Host {
        name: wire
            .origin
            .host_str()
            .unwrap_or_default()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase(),
        port: wire.origin.port().unwrap_or(22),
    };
    let address = (host.name.as_str(), host.port);
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address))
        .await
        .map_err(|_| Failure::Connect(format!("no connection within {CONNECT:?}")))?
        .map_err(|error| Failure::Connect(error.to_string()))?;
    let known = auth.known_hosts().algorithms(&host);
    let config = client::Config {
        preferred: wire.ssh.preferred(&known, auth.known_hosts().has_authority(&host)),
        keepalive_interval: Some(KEEP_ALIVE),
        nodelay: true,
        ..client::Config::default()
    };
    let refused = Arc::new(Mutex::new(None));
    let checker = Checker {
        known_hosts: auth.known_hosts().clone(),
        host: host.clone(),
        refused: refused.clone(),
    };
    let mut handle = client::connect_stream(Arc::new(config), stream, checker)
        .await
        .map_err(|error| {
            let refusal = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
            explain(&host, auth, error, refusal)
        })?;

    let user = match percent_decode_str(wire.origin.username())
        .decode_utf8_lossy()
        .into_owned()
    {
        user if user.is_empty() => USER.to_owned(),
        user => user,
    };
    login(&mut handle, &host, &user, auth).await?;
    let broken = |error: russh::Error| Failure::Connect(error.to_string());
    let mut channel = handle.channel_open_session().await.map_err(broken)?;
    if version == Protocol::V2 {
        // A server that does not take it speaks the first version, which is understood as well.
        channel
            .set_env(false, "GIT_PROTOCOL", "version=2")
            .await
            .map_err(broken)?;
    }
    channel.exec(true, command).await.map_err(broken)?;
    loop {
        match channel.wait().await {
            Some(russh::ChannelMsg::Success) => return Ok((handle, channel)),
            Some(russh::ChannelMsg::Failure) => {
                return Err(Failure::Said(format!("it does not run the command {command:?}")));
            }
            Some(russh::ChannelMsg::WindowAdjusted { .. }) => {}
            Some(_) => {
                return Err(Failure::Connect(
                    "the server sent output before it took the command".to_owned(),
                ));
            }
            None => return Err(Failure::Connect("the server closed the channel".to_owned())),
        }
    }
}

async fn login(handle: &mut Handle<Checker>, host: &Host, user: &str, auth: &SshAuth) -> Result<(), Failure> {
    let broken = |error: russh::Error| Failure::Connect(format!("logging in: {error}"));
    let key = auth.key().clone();
    let hash = if key.algorithm().is_rsa() {
        match handle.best_supported_rsa_hash().await.map_err(broken)? {
            Some(best) => best,
            // It does not say; every server of the last ten years takes this one.
            None => Some(HashAlg::Sha512),
        }
    } else {
        None
    };
    let print = fingerprint(key.public_key());
    match handle
        .authenticate_publickey(user, PrivateKeyWithHashAlg::new(key, hash))
        .await
        .map_err(broken)?
    {
        AuthResult::Success => Ok(()),
        AuthResult::Failure { partial_success, .. } => Err(Failure::Denied(if partial_success {
            format!("{host} took key {print} of user {user:?} and asks for more, which no controller can give")
        } else {
            format!("{host} does not accept key {print} for user {user:?}; add it there, for example as deploy key")
        })),
    }
}

fn explain(host: &Host, auth: &SshAuth, error: russh::Error, refusal: Option<Refusal>) -> Failure {
    if let Some(refusal) = refusal {
        return Failure::HostKey(refusal.to_string());
    }
    match error {
        russh::Error::NoCommonAlgo {
            kind: AlgorithmKind::Key,
            theirs,
            ..
        } => {
            let known: Vec<String> = auth
                .known_hosts()
                .algorithms(host)
                .iter()
                .map(ToString::to_string)
                .collect();
            Failure::HostKey(if known.is_empty() {
                format!(
                    "host {host} has no key of a type that is accepted; it has {}",
                    theirs.join(", ")
                )
            } else {
                format!(
                    "known_hosts has {} of host {host}, which has only {}; add one of these keys (ssh-keyscan {})",
                    known.join(", "),
                    theirs.join(", "),
                    if host.port == 22 {
                        host.name.clone()
                    } else {
                        format!("-p {} {}", host.port, host.name)
                    }
                )
            })
        }
        other => Failure::Connect(other.to_string()),
    }
}

/// Believes a server, or says why not.
pub(crate) struct Checker {
    known_hosts: Arc<KnownHosts>,
    host: Host,
    refused: Arc<Mutex<Option<Refusal>>>,
}

impl client::Handler for Checker {
    type Error = russh::Error;

    async fn check_server_key(&mut self, server: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let verdict = match server {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.known_hosts.check(&self.host, key),
            PublicKeyOrCertificate::Certificate(certificate) => {
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs());
                self.known_hosts.check_certificate(&self.host, certificate, now)
            }
        };
        match verdict {
            Ok(()) => Ok(true),
            Err(refusal) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
                Ok(false)
            }
        }
    }
}
