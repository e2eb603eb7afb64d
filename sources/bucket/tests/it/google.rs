//! Google's JSON API.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use anyhow::Result;
use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::any,
};
use base64::Engine as _;
use nave_artifact::{Digest, Limits};
use nave_bucket::{CloudAsk, Keys, Storage};
use nave_net::SecretText;
use rsa::{
    RsaPrivateKey,
    pkcs8::{EncodePrivateKey as _, LineEnding},
};
use serde_json::json;

use crate::stage::{TIMEOUT, access, all, open, serve, told};

/// Name, generation, content.
#[derive(Default)]
struct Objects {
    objects: Mutex<BTreeMap<String, (u64, String)>>,
    /// What is put between the listing and the reading.
    changes: Mutex<Vec<(String, Option<String>)>>,
    seen: Mutex<Vec<String>>,
}

async fn serve_objects(
    State(state): State<Arc<Objects>>,
    headers: HeaderMap,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    state
        .seen
        .lock()
        .unwrap()
        .push(authorization.unwrap_or_default().to_owned());
    let Some(path) = uri.path().strip_prefix("/storage/v1/b/public/o") else {
        let body = json!({"error": {"code": 404, "message": "The specified bucket does not exist.",
                                    "errors": [{"reason": "notFound"}]}});
        return (StatusCode::NOT_FOUND, body.to_string()).into_response();
    };
    let about = |name: &str, generation: u64, text: &str| {
        json!({"name": name, "etag": format!("CJ{generation}="), "generation": generation.to_string(),
               "size": text.len().to_string()})
    };
    if path.is_empty() {
        let answer = {
            let objects = state.objects.lock().unwrap();
            // Two a page.
            let from: usize = query.get("pageToken").map_or(0, |token| token.parse().unwrap());
            let prefix = query.get("prefix").map_or("", String::as_str);
            let all: Vec<_> = objects.iter().filter(|(name, _)| name.starts_with(prefix)).collect();
            let page: Vec<_> = all
                .iter()
                .skip(from)
                .take(2)
                .map(|(name, (generation, text))| about(name, *generation, text))
                .collect();
            let mut answer = json!({"items": page});
            if from + 2 < all.len() {
                answer["nextPageToken"] = json!((from + 2).to_string());
            }
            answer
        };
        if answer.get("nextPageToken").is_none() {
            let mut objects = state.objects.lock().unwrap();
            for (name, text) in state.changes.lock().unwrap().drain(..) {
                match text {
                    Some(text) => objects.insert(name, (99, text)),
                    None => objects.remove(&name),
                };
            }
        }
        return answer.to_string().into_response();
    }
    let name = percent_decoded(&path[1..]);
    let objects = state.objects.lock().unwrap();
    match objects.get(&name) {
        Some((generation, text)) if query.get("alt").map(String::as_str) == Some("media") => {
            match query.get("generation") {
                Some(wanted) if *wanted != generation.to_string() => StatusCode::NOT_FOUND.into_response(),
                _ => text.clone().into_response(),
            }
        }
        Some((generation, text)) => about(&name, *generation, text).to_string().into_response(),
        None => (StatusCode::NOT_FOUND, format!("No such object: public/{name}")).into_response(),
    }
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .unwrap()
        .into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_listed_and_read_by_generation() -> Result<()> {
    let state = Arc::new(Objects::default());
    for (name, text) in [("a b", "1"), ("c/d", "2"), ("e", "3"), ("dir/", ""), ("gone", "x")] {
        state
            .objects
            .lock()
            .unwrap()
            .insert(name.to_owned(), (7, text.to_owned()));
    }
    *state.changes.lock().unwrap() = vec![("e".into(), Some("newer".into())), ("gone".into(), None)];
    let address = serve(Router::new().fallback(any(serve_objects)).with_state(state.clone())).await?;

    let mut random = rsa::rand_core::OsRng;
    let key = RsaPrivateKey::new(&mut random, 2048)?.to_pkcs8_pem(LineEnding::LF)?;
    let account = json!({
        "type": "service_account", "client_email": "reader@p.iam.gserviceaccount.com", "private_key_id": "k1",
        "private_key": key.as_str(), "token_uri": "https://oauth2.googleapis.com/token",
    });
    let keys = Keys::Google(SecretText::new(account.to_string()));
    let remote = open(access(Storage::Google, &address, keys.clone()))?;
    let directory = tempfile::tempdir()?;
    let (fetched, content) = all(&remote, directory.path()).await?;
    let found: Vec<(&str, &str)> = content
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    assert_eq!(found, [("a b", "1"), ("c/d", "2"), ("e", "newer")]);
    assert_eq!(fetched.vanished, ["gone"]);
    assert_eq!(
        fetched.index.revision(),
        Digest::sha256(b"a b CJ7=\nc/d CJ7=\ne CJ99=\n")
    );
    // A token that Google takes is a signed statement of the account itself.
    let seen = state.seen.lock().unwrap().last().cloned().unwrap_or_default();
    let token = seen.strip_prefix("Bearer ").expect("a token is sent");
    let claims = token.split('.').nth(1).expect("it is a JSON web token");
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims)?;
    let claims: serde_json::Value = serde_json::from_slice(&claims)?;
    assert_eq!(claims["iss"], "reader@p.iam.gserviceaccount.com");

    let mut missing = access(Storage::Google, &address, keys);
    missing.bucket = "missing".to_owned();
    let text = told(open(missing)?.list("", None, &Limits::default(), TIMEOUT).await);
    assert_eq!(text, "bucket 'missing' not found");
    Ok(())
}

#[tokio::test]
async fn keys_that_cannot_be_used() -> Result<()> {
    let with = |json: &str| {
        open(access(
            Storage::Google,
            "127.0.0.1:1",
            Keys::Google(SecretText::new(json)),
        ))
        .map(|_| ())
    };
    let text = told(with("canary-5d1f33"));
    assert_eq!(text, "spec.secretRef: key 'serviceaccount': it is not JSON");
    let text = told(with(r#"{"type": "external_account", "x": "canary-5d1f33"}"#));
    assert!(text.contains("only keys of type 'service_account'"), "{text}");
    let text = told(with(r#"{"type": "service_account", "private_key": "canary-5d1f33"}"#));
    assert!(text.contains("no usable key of a service account"), "{text}");
    let cloud = Keys::Cloud(CloudAsk {
        provider: "gcp",
        namespace: "ns".into(),
        name: "bucket".into(),
        service_account: String::new(),
        region: String::new(),
        sts_endpoint: None,
        proxy: None,
    });
    let remote = open(access(Storage::Google, "127.0.0.1:1", cloud))?;
    let text = told(remote.list("", None, &Limits::default(), TIMEOUT).await);
    assert!(
        text.starts_with("spec.provider: 'gcp' without spec.secretRef needs an identity of the cloud"),
        "{text}"
    );
    Ok(())
}
