//! Where the API server comes in: TLS on both sides, the certificate that it trusts, and who stands behind the door.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock, RwLock},
    time::Duration,
};

use anyhow::{Context, Result};
use axum::serve::Listener;
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use nave_crds::managers;
use nave_identity::ServerCertificates;
use nave_runtime::{Tasks, serve::bindable};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Active,
    front_proxy::{self, FrontProxy},
    routes,
};
use crate::{args::Arguments, authority::HubAuthority, locked};

/// Name of the APIService by which the API server forwards; whoever installs it turns live reads on.
pub const API_SERVICE: &str = "v1alpha1.live.fleet.nave.dev";

/// Handshakes under way at once: the API server opens a connection for each read at most.
const HANDSHAKES: usize = 64;
/// A handshake must be complete within this time.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often the API server's certificates, our own and the APIService are looked at.
const LOOK: Duration = Duration::from_secs(30);
/// Our certificate lasts 30 days.
const RENEW_AFTER: Duration = Duration::from_secs(20 * 24 * 3600);

/// The open door; a standby's says that it is one.
pub struct LiveDoor {
    address: SocketAddr,
    shared: Arc<Shared>,
    name: String,
}

/// What the requests share.
pub struct Shared {
    /// Who forwards.
    pub front_proxy: RwLock<Arc<FrontProxy>>,
    /// Set once this process leads.
    pub active: OnceLock<Active>,
    client: Client,
    certificates: ServerCertificates,
    tls: RwLock<Arc<ServerConfig>>,
}

/// Connections whose handshake is complete.
struct Greeted {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl LiveDoor {
    /// Listens, if that is wanted.
    ///
    /// # Errors
    /// The address is taken, or the hub's authority is damaged. An API server without an aggregation layer is none.
    pub async fn open(arguments: &Arguments, client: &Client, tasks: &Tasks) -> Result<Option<Self>> {
        if arguments.live_addr.is_empty() {
            return Ok(None);
        }
        let authority = HubAuthority::ensure(client, &arguments.namespace).await?;
        let name = format!("{}.{}.svc", arguments.live_service, arguments.namespace);
        let identity = authority.identity_for(&name, Timestamp::now())?;
        let certificates = ServerCertificates::new(&identity)?;
        let front_proxy = match look(client).await {
            Ok(found) => found,
            Err(error) => {
                // The fleet is not to wait for somebody who would like to look.
                tracing::error!("--live-addr is set, but the API server cannot come in; live reads are off: {error:#}");
                return Ok(None);
            }
        };
        let tls = tls(&front_proxy, &certificates)?;
        let listener = TcpListener::bind(bindable(&arguments.live_addr))
            .await
            .with_context(|| format!("listening on {} for live reads", arguments.live_addr))?;
        let address = listener.local_addr().context("reading the address of live reads")?;
        let shared = Arc::new(Shared {
            front_proxy: RwLock::new(Arc::new(front_proxy)),
            active: OnceLock::new(),
            client: client.clone(),
            certificates,
            tls: RwLock::new(Arc::new(tls)),
        });
        // As many as shake hands: they wait for the accept loop alone.
        let (done, ready) = mpsc::channel(HANDSHAKES);
        let token = tasks.shutdown_token().clone();
        let greeting = greet(listener, shared.clone(), done);
        tasks.spawn("live-door", async move {
            tokio::select! {
                () = greeting => {}
                _ = token.cancelled() => {}
            }
        });
        let (router, token) = (routes::router(shared.clone()), tasks.shutdown_token().clone());
        tasks.spawn("live-reads", async move {
            let server = axum::serve(Greeted { ready, address }, router)
                .with_graceful_shutdown(async move { token.cancelled().await });
            if let Err(error) = server.await {
                tracing::error!(%error, "the server of live reads ended");
            }
        });
        let (following, token) = (shared.clone(), tasks.shutdown_token().clone());
        tasks.spawn("live-front-proxy", async move {
            loop {
                tokio::select! {
                    _ = token.cancelled() => return,
                    _ = tokio::time::sleep(LOOK) => following.look_again().await,
                }
            }
        });
        tracing::info!(%address, name, "live reads are taken");
        Ok(Some(LiveDoor { address, shared, name }))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this process answers, and tells the API server whose certificate it shows.
    pub fn lead(self, active: Active, authority: &Arc<HubAuthority>, tasks: &Tasks) {
        let LiveDoor { shared, name, .. } = self;
        // There is one door and one leadership in a process.
        let _ = shared.active.set(active);
        let (authority, token) = (authority.clone(), tasks.shutdown_token().clone());
        tasks.spawn("live-api-service", async move {
            let mut served = (authority.root_version(), tokio::time::Instant::now());
            loop {
                if let Err(error) = publish(&shared.client, &authority).await {
                    tracing::warn!("telling the API server whom to trust for live reads: {error:#}");
                }
                tokio::select! {
                    _ = token.cancelled() => return,
                    _ = tokio::time::sleep(LOOK) => {}
                }
                if served.0 != authority.root_version() || served.1.elapsed() > RENEW_AFTER {
                    served = (authority.root_version(), tokio::time::Instant::now());
                    let renewed = authority
                        .identity_for(&name, Timestamp::now())
                        .map_err(anyhow::Error::from)
                        .and_then(|identity| Ok(shared.certificates.replace(&identity)?));
                    if let Err(error) = renewed {
                        tracing::error!("renewing the certificate of live reads: {error:#}");
                    }
                }
            }
        });
    }
}

impl Shared {
    async fn look_again(&self) {
        let found = match look(&self.client).await {
            Ok(found) => found,
            Err(error) => return tracing::warn!("reading how the API server comes in: {error:#}"),
        };
        if found == **locked::read(&self.front_proxy) {
            return;
        }
        match tls(&found, &self.certificates) {
            Ok(tls) => {
                *locked::write(&self.tls) = Arc::new(tls);
                *locked::write(&self.front_proxy) = Arc::new(found);
                tracing::info!("the API server's front-proxy certificate changed");
            }
            Err(error) => tracing::warn!("using the API server's front-proxy certificate: {error:#}"),
        }
    }
}

impl Listener for Greeted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The process is shutting down.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Shakes hands until the process ends. Whoever is not the front proxy does not get past TLS.
async fn greet(listener: TcpListener, shared: Arc<Shared>, done: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection for live reads");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let (acceptor, shared, done) = (
            TlsAcceptor::from(locked::read(&shared.tls).clone()),
            shared.clone(),
            done.clone(),
        );
        tokio::spawn(async move {
            let _place = place;
            let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::debug!(%from, %error, "handshake for live reads failed"),
                Err(_) => return tracing::debug!(%from, "handshake for live reads took too long"),
            };
            let front_proxy = locked::read(&shared.front_proxy).clone();
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            if certificate.is_some_and(|certificate| front_proxy.admits(certificate)) {
                let _ = done.send((stream, from)).await;
            } else {
                tracing::warn!(%from, "somebody who is not the API server's front proxy came for live reads");
            }
        });
    }
}

async fn look(client: &Client) -> Result<FrontProxy> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), front_proxy::NAMESPACE);
    let map = api.get(front_proxy::CONFIG_MAP).await.with_context(|| {
        format!(
            "reading ConfigMap {}/{}",
            front_proxy::NAMESPACE,
            front_proxy::CONFIG_MAP
        )
    })?;
    Ok(FrontProxy::read(&map.data.unwrap_or_default())?)
}

fn tls(front_proxy: &FrontProxy, certificates: &ServerCertificates) -> Result<ServerConfig> {
    let mut roots = RootCertStore::empty();
    for root in &front_proxy.roots {
        roots
            .add(root.clone())
            .context("using an authority of the API server's front proxy")?;
    }
    let provider = nave_identity::provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .context("preparing to verify the API server")?;
    Ok(ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("preparing TLS for live reads")?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(certificates.clone())))
}

/// Writes into the APIService, when there is one, which authority signs our certificate.
async fn publish(client: &Client, authority: &HubAuthority) -> Result<()> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("apiregistration.k8s.io", "v1", "APIService"));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let Some(object) = api
        .get_opt(API_SERVICE)
        .await
        .with_context(|| format!("reading APIService {API_SERVICE}"))?
    else {
        return Ok(());
    };
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        BASE64_STANDARD.encode(authority.server_authority())
    );
    let bundle = BASE64_STANDARD.encode(pem);
    if object.data.pointer("/spec/caBundle").and_then(|bundle| bundle.as_str()) == Some(bundle.as_str()) {
        return Ok(());
    }
    let parameters = PatchParams {
        field_manager: Some(managers::HUB.to_owned()),
        ..PatchParams::default()
    };
    let patch = json!({"spec": {"caBundle": bundle}});
    api.patch(API_SERVICE, &parameters, &Patch::Merge(patch))
        .await
        .with_context(|| format!("writing spec.caBundle of APIService {API_SERVICE}"))?;
    Ok(())
}
