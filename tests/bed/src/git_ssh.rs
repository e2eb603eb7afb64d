//! A git server over SSH: russh in front, git's own programs behind.

use std::{
    collections::HashMap,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex},
};

use russh::{
    Channel, ChannelId,
    keys::{Algorithm, EcdsaCurve, PrivateKey, PublicKey, ssh_key::LineEnding},
    server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey},
};
use tokio::{io::AsyncReadExt, net::TcpListener};

/// What the server does beside serving.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// The only user that is let in, if any is asked for.
    pub user: Option<String>,
    /// Speak only the first protocol version.
    pub old_protocol: bool,
    /// Accept the command and then say nothing.
    pub hang: bool,
}

/// A server on a free port of 127.0.0.1, for as long as the runtime that started it.
#[derive(Debug)]
pub struct SshServer {
    /// Its port.
    pub port: u16,
    /// What it shows to clients.
    pub host_key: PrivateKey,
    /// What it does beside serving; can be changed at any time.
    pub behaviour: Arc<Mutex<Behaviour>>,
    /// Commands that were run.
    pub commands: Arc<Mutex<Vec<String>>>,
}

/// A new key.
///
/// # Panics
/// The algorithm is none that keys are made for.
pub fn new_key(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), algorithm).unwrap()
}

/// A new key.
pub fn ed25519() -> PrivateKey {
    new_key(Algorithm::Ed25519)
}

/// A new key on the curve P-256.
pub fn ecdsa() -> PrivateKey {
    new_key(Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    })
}

/// The private key as `identity` of a Secret holds it.
///
/// # Panics
/// The key cannot be written.
pub fn pem(key: &PrivateKey) -> Vec<u8> {
    key.to_openssh(LineEnding::LF).unwrap().as_bytes().to_vec()
}

impl SshServer {
    /// Serves the repositories below `root` to whoever holds one of `allowed`.
    ///
    /// # Panics
    /// No port is free.
    pub async fn start(root: PathBuf, host_key: PrivateKey, allowed: Vec<PublicKey>) -> SshServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let behaviour: Arc<Mutex<Behaviour>> = Arc::default();
        let commands: Arc<Mutex<Vec<String>>> = Arc::default();
        let config = Arc::new(Config {
            keys: vec![host_key.clone()],
            auth_rejection_time: std::time::Duration::ZERO,
            nodelay: true,
            ..Config::default()
        });
        let template = Connection {
            root,
            allowed: Arc::new(allowed),
            behaviour: behaviour.clone(),
            commands: commands.clone(),
            channels: HashMap::new(),
            protocol: HashMap::new(),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (config, connection) = (config.clone(), template.another());
                tokio::spawn(async move {
                    // A client that refuses the server's key ends the conversation, which is an error here.
                    if let Ok(session) = russh::server::run_stream(config, stream, connection).await {
                        let _ = session.await;
                    }
                });
            }
        });
        SshServer {
            port,
            host_key,
            behaviour,
            commands,
        }
    }

    /// Changes its behaviour.
    ///
    /// # Panics
    /// Somebody panicked while doing so.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().unwrap());
    }

    /// The address of a repository.
    pub fn url(&self, name: &str) -> String {
        format!("ssh://127.0.0.1:{}/{name}.git", self.port)
    }

    /// The line that names this server.
    pub fn known_hosts(&self) -> String {
        self.known_as(self.host_key.public_key())
    }

    /// A line that names this server with another key.
    ///
    /// # Panics
    /// The key cannot be written.
    pub fn known_as(&self, key: &PublicKey) -> String {
        format!("[127.0.0.1]:{} {}\n", self.port, key.to_openssh().unwrap())
    }
}

struct Connection {
    root: PathBuf,
    allowed: Arc<Vec<PublicKey>>,
    behaviour: Arc<Mutex<Behaviour>>,
    commands: Arc<Mutex<Vec<String>>>,
    channels: HashMap<ChannelId, Channel<Msg>>,
    protocol: HashMap<ChannelId, String>,
}

impl Connection {
    fn another(&self) -> Connection {
        Connection {
            root: self.root.clone(),
            allowed: self.allowed.clone(),
            behaviour: self.behaviour.clone(),
            commands: self.commands.clone(),
            channels: HashMap::new(),
            protocol: HashMap::new(),
        }
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let wanted = self.behaviour.lock().unwrap().user.clone();
        let known = self
            .allowed
            .iter()
            .any(|allowed| allowed.key_data() == key.public_key.key_data());
        Ok(if known && wanted.is_none_or(|wanted| wanted == user) {
            Auth::Accept
        } else {
            Auth::reject()
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if name == "GIT_PROTOCOL" {
            self.protocol.insert(channel, value.to_owned());
        }
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let command = String::from_utf8(data.to_vec()).unwrap();
        self.commands.lock().unwrap().push(command.clone());
        let behaviour = self.behaviour.lock().unwrap().clone();
        session.channel_success(id)?;
        if behaviour.hang {
            return Ok(());
        }
        let (service, path) = command.split_once(' ').unwrap();
        let path = path.trim_matches('\'').replace("'\\''", "'");
        let mut process = tokio::process::Command::new("git");
        process
            .arg(service.strip_prefix("git-").unwrap())
            .arg(self.root.join(path.trim_start_matches('/')))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(protocol) = self.protocol.get(&id)
            && !behaviour.old_protocol
        {
            process.env("GIT_PROTOCOL", protocol);
        }
        let mut child = process.spawn().unwrap();
        let handle = session.handle();
        let stream = self.channels.remove(&id).unwrap().into_stream();
        tokio::spawn(async move {
            let (mut from_client, mut to_client) = tokio::io::split(stream);
            let (mut stdin, mut stdout, mut stderr) = (
                child.stdin.take().unwrap(),
                child.stdout.take().unwrap(),
                child.stderr.take().unwrap(),
            );
            let feed = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut stdin).await });
            let _ = tokio::io::copy(&mut stdout, &mut to_client).await;
            let mut said = Vec::new();
            stderr.read_to_end(&mut said).await.unwrap();
            let status = child.wait().await.unwrap();
            if !said.is_empty() {
                let _ = handle.extended_data(id, 1, said).await;
            }
            let _ = handle
                .exit_status_request(id, u32::try_from(status.code().unwrap_or(255)).unwrap())
                .await;
            let _ = handle.eof(id).await;
            let _ = handle.close(id).await;
            feed.abort();
        });
        Ok(())
    }
}
