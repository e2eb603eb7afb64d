//! Tokens of GitHub Apps, from a stand-in that checks what GitHub checks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use nave_git::{GitHubApp, GitHubAppError};
use nave_net::TlsOptions;
use rsa::{
    RsaPrivateKey, RsaPublicKey,
    pkcs1::EncodeRsaPrivateKey,
    pkcs1v15::{Signature, VerifyingKey},
    pkcs8::LineEnding,
    sha2::Sha256,
    signature::Verifier,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::server::TIMEOUT;

#[derive(Clone)]
struct GitHub {
    key: RsaPublicKey,
    now: i64,
    asked: Arc<Mutex<Vec<String>>>,
}

impl GitHub {
    /// What GitHub refuses a request for.
    fn refuses(&self, headers: &HeaderMap) -> Option<(StatusCode, Json<Value>)> {
        let text = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let refuse = |why: &str| Some((StatusCode::UNAUTHORIZED, Json(json!({"message": why}))));
        if text("accept") != "application/vnd.github+json" || text("x-github-api-version") != "2022-11-28" {
            return refuse("unknown version of the API");
        }
        if !text("user-agent").starts_with("nave/") {
            return refuse("no user agent");
        }
        let parts: Vec<&str> = text("authorization")
            .strip_prefix("Bearer ")
            .unwrap_or_default()
            .split('.')
            .collect();
        let [header, claims, signature] = parts[..] else {
            return refuse("A JSON web token could not be decoded");
        };
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let key = VerifyingKey::<Sha256>::new(self.key.clone());
        let signature = Signature::try_from(decoded(signature).as_slice()).unwrap();
        if key.verify(format!("{header}.{claims}").as_bytes(), &signature).is_err() {
            return refuse("A JSON web token could not be decoded");
        }
        let header: Value = serde_json::from_slice(&decoded(header)).unwrap();
        let claims: Value = serde_json::from_slice(&decoded(claims)).unwrap();
        let (issued, ends) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        if header["alg"] != "RS256" || claims["iss"] != "7" || issued > self.now || ends > self.now + 600 {
            return refuse("'Expiration time' claim ('exp') is too far in the future");
        }
        None
    }
}

async fn token(State(github): State<GitHub>, Path(id): Path<String>, headers: HeaderMap) -> (StatusCode, Json<Value>) {
    github.asked.lock().unwrap().push(format!("token of {id}"));
    if let Some(refusal) = github.refuses(&headers) {
        return refusal;
    }
    match id.as_str() {
        "142" => (
            StatusCode::CREATED,
            Json(json!({"token": "ghs_secret", "expires_at": "2026-11-21T13:00:00Z"})),
        ),
        "3" => (StatusCode::CREATED, Json(json!({"token": "ghs_secret"}))),
        _ => (StatusCode::NOT_FOUND, Json(json!({"message": "Not Found"}))),
    }
}

async fn installations(
    State(github): State<GitHub>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> (StatusCode, Json<Value>) {
    github.asked.lock().unwrap().push(format!("page {}", query["page"]));
    if let Some(refusal) = github.refuses(&headers) {
        return refusal;
    }
    let page: u64 = query["page"].parse().unwrap();
    let all = (100 * (page - 1)..).take(if page == 1 { 100 } else { 50 });
    let list: Vec<Value> = all
        .map(|id| json!({"id": id, "account": {"login": format!("Org-{id}")}}))
        .collect();
    (StatusCode::OK, Json(json!(list)))
}

fn app(api: &str, key: &str, installation: (&str, &str)) -> Result<GitHubApp, GitHubAppError> {
    let data = [
        ("githubAppID", "7\n"),
        ("githubAppPrivateKey", key),
        ("githubAppBaseURL", api),
        installation,
    ];
    let data = data.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    GitHubApp::from_secret(&data.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_asked_for_as_github_wants_it() {
    let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
    let pem = key.to_pkcs1_pem(LineEnding::LF).unwrap();
    let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let github = GitHub {
        key: key.to_public_key(),
        now: now.as_second(),
        asked: asked.clone(),
    };
    let routes = Router::new()
        .route("/api/v3/app/installations/{id}/access_tokens", post(token))
        .route("/api/v3/app/installations", get(installations))
        .with_state(github);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}/api/v3/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let tls = TlsOptions::default();

    let one = app(&api, &pem, ("githubAppInstallationID", "142")).unwrap();
    let found = one.token(&tls, None, TIMEOUT, now).await.unwrap();
    assert_eq!(found.token.expose(), "ghs_secret");
    assert_eq!(found.expires.to_string(), "2026-11-21T13:00:00Z");

    // The owner of an installation is looked for on all pages, in any case.
    let by_owner = app(&api, &pem, ("githubAppInstallationOwner", "ORG-142")).unwrap();
    by_owner.token(&tls, None, TIMEOUT, now).await.unwrap();
    assert_eq!(
        *asked.lock().unwrap(),
        ["token of 142", "page 1", "page 2", "token of 142"]
    );
    assert_ne!(one.identity(), by_owner.identity());

    let said = async |installation: (&'static str, &'static str), key: &str| {
        let app = app(&api, key, installation).unwrap();
        let error = app.token(&tls, None, TIMEOUT, now).await.unwrap_err();
        assert!(!format!("{error} {error:?} {app:?}").contains("PRIVATE"));
        error.to_string()
    };
    let nobody = said(("githubAppInstallationOwner", "nobody"), &pem).await;
    assert_eq!(nobody, "GitHub App 7 is not installed for \"nobody\"");
    let missing = said(("githubAppInstallationID", "9"), &pem).await;
    assert!(
        missing.ends_with("installations/9/access_tokens answered with HTTP 404: Not Found"),
        "{missing}"
    );
    let silent = said(("githubAppInstallationID", "3"), &pem).await;
    assert!(silent.ends_with("it does not say when the token expires"), "{silent}");
    let other = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
    let other = other.to_pkcs1_pem(LineEnding::LF).unwrap();
    let wrong = said(("githubAppInstallationID", "142"), &other).await;
    assert!(
        wrong.ends_with("HTTP 401: A JSON web token could not be decoded"),
        "{wrong}"
    );
    assert_ne!(
        app(&api, &other, ("githubAppInstallationID", "142"))
            .unwrap()
            .identity(),
        one.identity()
    );
    assert!(app(&api, &pem, ("githubAppInstallationID", "1x")).is_err());
}
