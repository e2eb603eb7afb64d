//! Ways in, and what is said when there is none. Passwords never appear in what is said.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use nave_git::{Auth, Git, GitError, Remote, Resolved, Wanted};
use nave_net::{BasicAuth, ProxyOptions, SecretText, TlsOptions};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::server::{Server, TIMEOUT, handle, reader};

const PASSWORD: &str = "correct-horse-battery";

fn basic(password: &str) -> Auth {
    Auth::Basic(BasicAuth {
        username: "me".into(),
        password: SecretText::new(password),
    })
}

async fn read(
    git: &Git,
    url: &str,
    auth: Auth,
    tls: TlsOptions,
    proxy: Option<ProxyOptions>,
) -> Result<Resolved, GitError> {
    let remote = git.remote("test", Remote::new(url, auth, tls, proxy).unwrap())?;
    let resolved = remote.resolve(&Wanted::Branch("main".into()), TIMEOUT).await?;
    remote.checkout(&resolved, &Default::default(), TIMEOUT).await?;
    Ok(resolved)
}

#[track_caller]
fn check_said(result: Result<Resolved, GitError>, expected: &str) {
    let error = result.unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    assert!(text.contains(expected), "{text}");
    assert!(
        !text.contains(PASSWORD) && !format!("{error:?}").contains(PASSWORD),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_and_bearer_over_plain_http() {
    let server = Server::start().await;
    let repository = server.repository("app");
    repository.write("a", "1");
    repository.commit("1");
    let (git, _cache) = reader();
    let plain = TlsOptions::default;

    server.behave(|b| b.authorization = Some(format!("Basic {}", STANDARD.encode(format!("me:{PASSWORD}")))));
    read(&git, &repository.url, basic(PASSWORD), plain(), None)
        .await
        .unwrap();
    let embedded = repository.url.replace("://", &format!("://me:{PASSWORD}@"));
    read(&git, &embedded, Auth::None, plain(), None).await.unwrap();
    check_said(
        read(&git, &repository.url, basic("wrong"), plain(), None).await,
        "refused access (HTTP 401): check the credentials",
    );
    check_said(
        read(&git, &repository.url, Auth::None, plain(), None).await,
        "it asks for credentials, and none are given",
    );

    server.behave(|b| b.authorization = Some(format!("Bearer {PASSWORD}")));
    let bearer = Auth::Bearer(SecretText::new(PASSWORD));
    read(&git, &repository.url, bearer.clone(), plain(), None)
        .await
        .unwrap();
    check_said(
        read(&git, &repository.url, basic(PASSWORD), plain(), None).await,
        "HTTP 401",
    );

    server.behave(|b| b.status = Some(403));
    check_said(
        read(&git, &repository.url, bearer.clone(), plain(), None).await,
        "refused access (HTTP 403)",
    );
    server.behave(|b| b.status = Some(502));
    check_said(
        read(&git, &repository.url, bearer, plain(), None).await,
        "answered with HTTP 502",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said() {
    let server = Server::start().await;
    let (git, _cache) = reader();
    let missing = format!("{}/none.git", server.address);
    check_said(
        read(&git, &missing, basic(PASSWORD), TlsOptions::default(), None).await,
        &format!("repository {missing} not found"),
    );
    // A port that nobody listens on.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    check_said(
        read(
            &git,
            &format!("http://{free}/a.git"),
            basic(PASSWORD),
            TlsOptions::default(),
            None,
        )
        .await,
        "cannot reach http",
    );
    check_said(
        read(
            &git,
            "http://no-such-host.invalid/a.git",
            basic(PASSWORD),
            TlsOptions::default(),
            None,
        )
        .await,
        "cannot reach http://no-such-host.invalid/a.git",
    );
    // A web server that is no git server.
    let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = web.local_addr().unwrap();
    let routes = axum::Router::new().fallback(|| async { "<html>hello</html>" });
    tokio::spawn(async move { axum::serve(web, routes).await.unwrap() });
    check_said(
        read(
            &git,
            &format!("http://{address}/a.git"),
            basic(PASSWORD),
            TlsOptions::default(),
            None,
        )
        .await,
        "smart",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_meets_the_deadline() {
    let server = Server::start().await;
    let repository = server.repository("app");
    server.behave(|behaviour| behaviour.hang = true);
    let (git, _cache) = reader();
    let remote = handle(&git, &repository.url, basic(PASSWORD));
    let started = Instant::now();
    let timeout = Duration::from_millis(400);
    let error = remote
        .resolve(&Wanted::Branch("main".into()), timeout)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "listing references of {} took longer than the timeout of 400ms",
            repository.url
        )
    );
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_and_credentials_stay_at_home() {
    let (server, other) = (Server::start().await, Server::start().await);
    let (here, there) = (server.repository("new"), other.repository("app"));
    for repository in [&here, &there] {
        repository.write("a", "1");
        repository.commit("1");
    }
    let (git, _cache) = reader();
    let old = format!("{}/old.git", server.address);
    server.behave(|b| b.redirect = Some(("/old.git".into(), "/new.git".into())));
    read(&git, &old, basic(PASSWORD), TlsOptions::default(), None)
        .await
        .unwrap();
    let header = format!("Basic {}", STANDARD.encode(format!("me:{PASSWORD}")));
    assert!(
        server
            .requests()
            .iter()
            .all(|seen| seen.authorization.as_deref() == Some(&header))
    );

    server.behave(|b| b.redirect = Some(("/old.git".into(), there.url.clone())));
    read(&git, &old, basic(PASSWORD), TlsOptions::default(), None)
        .await
        .unwrap();
    let elsewhere = other.requests();
    assert!(
        !elsewhere.is_empty() && elsewhere.iter().all(|seen| seen.authorization.is_none()),
        "{elsewhere:?}"
    );

    server.behave(|b| b.redirect = Some(("/old.git".into(), "/login?from=".into())));
    check_said(
        read(&git, &old, basic(PASSWORD), TlsOptions::default(), None).await,
        "not found",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_used_with_its_credentials() {
    let proxy = Server::start().await;
    let repository = proxy.repository("app");
    repository.write("a", "1");
    repository.commit("1");
    proxy.behave(|b| b.proxy_authorization = Some(format!("Basic {}", STANDARD.encode(format!("p:{PASSWORD}")))));
    let (git, _cache) = reader();
    // Nobody resolves this name: only a proxy can answer for it.
    let url = "http://git.invalid/app.git";
    let options = |password: &str| {
        let data = [
            ("address", proxy.address.as_str()),
            ("username", "p"),
            ("password", password),
        ]
        .map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        Some(ProxyOptions::from_secret(&data.into()).unwrap())
    };
    read(&git, url, Auth::None, TlsOptions::default(), options(PASSWORD))
        .await
        .unwrap();
    check_said(
        read(&git, url, Auth::None, TlsOptions::default(), options("wrong")).await,
        "answered with HTTP 407",
    );
}

/// TLS in front of a plain server: server certificate for localhost, client certificates asked for where `clients` is set.
async fn tls_front(
    plain: &str,
    certificate: &rcgen::Certificate,
    key: &rcgen::KeyPair,
    clients: Option<&rcgen::Certificate>,
) -> u16 {
    nave_net::install_crypto_provider();
    let chain = vec![certificate.der().clone()];
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let builder = match clients {
        None => rustls::ServerConfig::builder().with_no_client_auth(),
        Some(ca) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(ca.der().clone()).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots))
                .build()
                .unwrap();
            rustls::ServerConfig::builder().with_client_cert_verifier(verifier)
        }
    };
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let plain = plain.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, plain) = (acceptor.clone(), plain.clone());
            tokio::spawn(async move {
                let Ok(mut inner) = acceptor.accept(stream).await else {
                    return;
                };
                let mut outer = TcpStream::connect(plain).await.unwrap();
                let _ = copy_bidirectional(&mut inner, &mut outer).await; // cut connections are the clients' business
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_roots_and_client_certificates() {
    let server = Server::start().await;
    let repository = server.repository("app");
    repository.write("a", "1");
    repository.commit("1");
    let path = "/app.git";

    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let issue = |names: &[&str], expired: bool| {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        if expired {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        (params.signed_by(&key, &issuer).unwrap(), key)
    };
    let trusting = |identity: Option<(&rcgen::Certificate, &rcgen::KeyPair)>| TlsOptions {
        ca: Some(ca_certificate.pem().into_bytes()),
        identity: identity.map(|(certificate, key)| (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())),
    };
    let (git, _cache) = reader();
    let (certificate, key) = issue(&["localhost"], false);
    let port = tls_front(&server.address, &certificate, &key, None).await;
    let url = format!("https://localhost:{port}{path}");
    read(&git, &url, basic(PASSWORD), trusting(None), None).await.unwrap();
    check_said(
        read(&git, &url, basic(PASSWORD), TlsOptions::default(), None).await,
        "signed by an unknown authority",
    );
    let by_address = format!("https://127.0.0.1:{port}{path}");
    check_said(
        read(&git, &by_address, basic(PASSWORD), trusting(None), None).await,
        "for another host name",
    );

    let (old, old_key) = issue(&["localhost"], true);
    let port = tls_front(&server.address, &old, &old_key, None).await;
    check_said(
        read(
            &git,
            &format!("https://localhost:{port}{path}"),
            basic(PASSWORD),
            trusting(None),
            None,
        )
        .await,
        "has expired",
    );

    let port = tls_front(&server.address, &certificate, &key, Some(&ca_certificate)).await;
    let url = format!("https://localhost:{port}{path}");
    let (mine, my_key) = issue(&["me"], false);
    read(&git, &url, Auth::None, trusting(Some((&mine, &my_key))), None)
        .await
        .unwrap();
    assert!(read(&git, &url, Auth::None, trusting(None), None).await.is_err());

    let broken = TlsOptions {
        ca: Some(b"nonsense".to_vec()),
        identity: None,
    };
    check_said(
        read(&git, &url, basic(PASSWORD), broken, None).await,
        "preparing TLS: ca.crt holds no PEM certificate",
    );
    // Plain HTTP spoken to by TLS.
    check_said(
        read(
            &git,
            &server.address.replace("http", "https"),
            basic(PASSWORD),
            trusting(None),
            None,
        )
        .await,
        "TLS with",
    );
}
