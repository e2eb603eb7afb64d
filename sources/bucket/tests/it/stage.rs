//! What the tests share.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::Result;
use axum::Router;
use nave_artifact::Limits;
use nave_bucket::{Access, BucketError, Buckets, Fetched, Keys, Remote, Storage};
use nave_net::{SecretText, TlsOptions};

pub const TIMEOUT: Duration = Duration::from_secs(60);
pub const SECRET: &str = "canary-5d1f33";

pub fn access(storage: Storage, endpoint: &str, keys: Keys) -> Access {
    Access {
        storage,
        endpoint: endpoint.to_owned(),
        bucket: "public".to_owned(),
        region: String::new(),
        insecure: true,
        tls: TlsOptions::default(),
        proxy: None,
        keys,
    }
}

pub fn keys(access: &str, secret: &str) -> Keys {
    Keys::Static {
        access: access.to_owned(),
        secret: SecretText::new(secret),
    }
}

pub fn open(access: Access) -> Result<Remote, BucketError> {
    Buckets::default().open("ns/name", access)
}

/// Serves a stand-in, and gives its host and port.
pub async fn serve(routes: Router) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}

/// Lists and downloads everything; path and content.
pub async fn all(remote: &Remote, directory: &Path) -> Result<(Fetched, BTreeMap<String, String>)> {
    let listing = remote.list("", None, &Limits::default(), TIMEOUT).await?;
    let fetched = remote
        .download(&listing, directory, &Limits::default(), TIMEOUT)
        .await?;
    let mut content = BTreeMap::new();
    for (path, file) in &fetched.files {
        content.insert(path.clone(), std::fs::read_to_string(&file.file)?);
        assert_eq!(file.size, std::fs::metadata(&file.file)?.len());
    }
    Ok((fetched, content))
}

/// The text of an error, which must hold no secret.
#[track_caller]
pub fn told<T: std::fmt::Debug>(result: Result<T, BucketError>) -> String {
    let error = result.expect_err("it fails");
    let text = format!("{error} {error:?}");
    assert!(!text.contains(SECRET), "{text}");
    error.to_string()
}

/// The fields of a form.
pub fn form(body: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}
