//! Azure's Blob Storage, with its signature checked as its documentation says.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use anyhow::Result;
use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{any, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use nave_artifact::{Digest, Limits};
use nave_bucket::{AzureKeys, Keys, Storage};
use nave_net::SecretText;
use serde_json::json;
use sha2::Sha256;

use crate::stage::{SECRET, TIMEOUT, access, all, form, open, serve, told};

const ACCOUNT: &str = "acct";
const KEY: &[u8] = b"a key of thirty-two bytes or so.";
const OBJECTS: [(&str, &str, &str); 2] = [("a b", "0x8D1", "1"), ("c/d", "0x8D2", "2")];

#[derive(Default)]
struct Seen(Mutex<Vec<BTreeMap<String, String>>>);

/// <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>, for requests without a body.
fn signature(uri: &Uri, headers: &HeaderMap, query: &BTreeMap<String, String>) -> String {
    let ours: BTreeMap<&str, &str> = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-ms-"))
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let mut text = String::from("GET\n\n\n\n\n\n");
    // Date, unless it stands in x-ms-date; then five conditional headers and the range.
    let date = headers.get("date").map_or("", |date| date.to_str().unwrap());
    text.push_str(&format!(
        "{}\n\n\n\n\n\n",
        if ours.contains_key("x-ms-date") { "" } else { date }
    ));
    for (name, value) in ours {
        text.push_str(&format!("{name}:{value}\n"));
    }
    text.push_str(&format!("/{ACCOUNT}{}", uri.path()));
    for (name, value) in query {
        text.push_str(&format!("\n{name}:{value}"));
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

async fn serve_blobs(
    State(seen): State<Arc<Seen>>,
    uri: Uri,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    seen.0.lock().unwrap().push(query.clone());
    let allowed = match headers.get("authorization").map(|value| value.to_str().unwrap()) {
        Some(value) if value.starts_with("SharedKey ") => {
            value == format!("SharedKey {ACCOUNT}:{}", signature(&uri, &headers, &query))
        }
        Some(value) => value == "Bearer token-of-the-directory",
        None => query.get("sig").map(String::as_str) == Some("canary-5d1f33"),
    };
    if !allowed {
        let body = "\u{feff}<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code><Message>Server failed to \
                    authenticate the request.\nRequestId:1\nTime:2</Message></Error>";
        return (StatusCode::FORBIDDEN, body).into_response();
    }
    let Some(path) = uri.path().strip_prefix("/acct/public") else {
        let body = "<Error><Code>ContainerNotFound</Code><Message>no</Message></Error>";
        return (StatusCode::NOT_FOUND, body).into_response();
    };
    if query.get("comp").map(String::as_str) == Some("list") {
        // One a page.
        let from: usize = query.get("marker").map_or(0, |marker| marker.parse().unwrap());
        let (name, etag, text) = OBJECTS[from];
        let next = if from + 1 < OBJECTS.len() {
            (from + 1).to_string()
        } else {
            String::new()
        };
        let body = format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs><Blob><Name>{name}</Name>\
             <Properties><Etag>{etag}</Etag><Content-Length>{}</Content-Length></Properties></Blob></Blobs>\
             <NextMarker>{next}</NextMarker></EnumerationResults>",
            text.len()
        );
        return body.into_response();
    }
    let name = percent_encoding::percent_decode_str(&path[1..])
        .decode_utf8()
        .unwrap()
        .into_owned();
    match OBJECTS.iter().find(|(known, ..)| *known == name) {
        Some((_, etag, text)) => ([(header::ETAG, format!("\"{etag}\""))], *text).into_response(),
        None => (
            StatusCode::NOT_FOUND,
            "<Error><Code>BlobNotFound</Code><Message>no</Message></Error>",
        )
            .into_response(),
    }
}

async fn token(body: String) -> Response {
    let form = form(&body);
    let wanted = [
        ("client_id", "app"),
        ("client_secret", SECRET),
        ("grant_type", "client_credentials"),
        ("scope", "https://storage.azure.com/.default"),
    ];
    if wanted
        .iter()
        .any(|(name, value)| form.get(*name).map(String::as_str) != Some(value))
    {
        return (StatusCode::UNAUTHORIZED, json!({"error": "invalid_client"}).to_string()).into_response();
    }
    let body = json!({"access_token": "token-of-the-directory", "token_type": "Bearer", "expires_in": 3599});
    body.to_string().into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_lists_and_reads_the_same() -> Result<()> {
    let seen = Arc::new(Seen::default());
    let routes = Router::new()
        .route("/tenant/oauth2/v2.0/token", post(token))
        .fallback(any(serve_blobs))
        .with_state(seen.clone());
    let address = serve(routes).await?;
    let endpoint = format!("http://{address}/{ACCOUNT}");
    let client_secret = |secret: &str| {
        Keys::Azure(AzureKeys::ClientSecret {
            tenant: "tenant".into(),
            client: "app".into(),
            secret: SecretText::new(secret),
            authority: Some(format!("http://{address}/")),
        })
    };
    let account = |key: &[u8]| Keys::Azure(AzureKeys::Account(SecretText::new(STANDARD.encode(key))));
    let shared = |sig: &str| {
        Keys::Azure(AzureKeys::Signature(SecretText::new(format!(
            "?sv=2024-01-01&sig={sig}"
        ))))
    };
    for keys in [account(KEY), shared(SECRET), client_secret(SECRET)] {
        let remote = open(access(Storage::Azure, &endpoint, keys))?;
        let directory = tempfile::tempdir()?;
        let (fetched, content) = all(&remote, directory.path()).await?;
        assert_eq!((content["a b"].as_str(), content["c/d"].as_str()), ("1", "2"));
        // Listed or read, an etag is the same: nothing is read again while nothing changes.
        let listing = remote.list("", None, &Limits::default(), TIMEOUT).await?;
        assert_eq!(listing.index.revision(), fetched.index.revision());
        assert_eq!(
            fetched.index.revision(),
            Digest::sha256(b"a b \"0x8D1\"\nc/d \"0x8D2\"\n")
        );
    }
    for keys in [account(b"another key of thirty-two bytes."), shared("wrong")] {
        let remote = open(access(Storage::Azure, &endpoint, keys))?;
        let text = told(remote.list("", None, &Limits::default(), TIMEOUT).await);
        assert!(
            text.ends_with("answers 403 AuthenticationFailed: Server failed to authenticate the request."),
            "{text}"
        );
    }
    let remote = open(access(Storage::Azure, &endpoint, client_secret("wrong")))?;
    let text = told(remote.list("", None, &Limits::default(), TIMEOUT).await);
    assert!(text.starts_with("asking for a token of the directory: "), "{text}");
    let mut missing = access(Storage::Azure, &endpoint, shared(SECRET));
    missing.bucket = "missing".to_owned();
    let text = told(open(missing)?.list("", None, &Limits::default(), TIMEOUT).await);
    assert_eq!(text, "bucket 'missing' not found");
    Ok(())
}
