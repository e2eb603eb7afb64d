//! Bucket against a real S3 server: what is stored, when it is stored again, and what is said when it cannot be.

use anyhow::{Context as _, Result};
use nave_artifact::Digest;
use nave_bed::{S3Options, S3Server, eventually};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    chart_server::package,
    objects::condition,
    stage::{DEADLINE, Stage, paths},
};

const KIND: &str = "Bucket";
const PASSWORD: &str = "canary-77d0aa";

pub async fn server() -> Option<&'static S3Server> {
    static SERVER: OnceCell<Option<S3Server>> = OnceCell::const_new();
    SERVER
        .get_or_init(|| async {
            S3Server::start(S3Options::default())
                .await
                .expect("an S3 server starts")
        })
        .await
        .as_ref()
}

pub fn spec(endpoint: &str, bucket: &str, fields: Value) -> Value {
    let mut spec = json!({"endpoint": endpoint, "bucketName": bucket, "insecure": true, "interval": "1h",
                          "secretRef": {"name": "keys"}});
    for (field, value) in fields.as_object().expect("fields are an object") {
        spec[field] = value.clone();
    }
    if spec["secretRef"].is_null() {
        spec.as_object_mut().expect("it is one").remove("secretRef");
    }
    spec
}

pub async fn keys(stage: &Stage) -> Result<()> {
    let (name, secret) = S3Server::KEYS;
    stage
        .secret("keys", &[("accesskey", name), ("secretkey", secret)])
        .await
}

pub fn revision(lines: &[(&str, &str)]) -> String {
    let text: String = lines.iter().map(|(key, etag)| format!("{key} {etag}\n")).collect();
    Digest::sha256(text.as_bytes()).to_string()
}

/// `md5sum` of 1, 2 and 3, which are etags of small objects.
pub const ONE: &str = "c4ca4238a0b923820dcc509a6f75849b";
pub const TWO: &str = "c81e728d9d4c2f636f067f89cc14862c";
const THREE: &str = "eccbc87e4b5ce2fe28308fd9f2a7baf3";

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_stored_and_only_a_change_is_stored_again() -> Result<()> {
    let Some(server) = server().await else { return Ok(()) };
    server.make_bucket("refresh").await?;
    for (key, text) in [
        ("apps/a.yaml", "1"),
        ("apps/logo.png", "2"),
        ("skip/b.yaml", "3"),
        (".sourceignore", "/skip\n"),
    ] {
        server.put("refresh", key, text.as_bytes()).await?;
    }
    let mut stage = Stage::start("bucket").await?;
    keys(&stage).await?;
    let refresh = spec(server.address(), "refresh", json!({"ignore": "*.md"}));
    stage.apply_object(KIND, "app", refresh.clone()).await?;
    let first = revision(&[("apps/a.yaml", ONE), ("apps/logo.png", TWO)]);
    let status = stage.ready_object(KIND, "app", &first).await?;
    assert_eq!(
        paths(&stage.fetch_tree(&status).await?),
        [".sourceignore", "apps/a.yaml", "apps/logo.png"]
    );
    let path = status["artifact"]["path"].as_str().context("it has a path")?;
    let hex = first.strip_prefix("sha256:").context("it is a digest")?;
    assert_eq!(path, format!("bucket/{}/app/{hex}.tar.gz", stage.namespace));
    assert_eq!(status["observedIgnore"], "*.md");
    let stored = condition(&status, "ArtifactInStorage").context("it is stored")?;
    assert_eq!(stored["message"], format!("stored artifact: revision '{first}'"));
    let event = stage.event("app", "NewArtifact").await?;
    assert_eq!(
        event.message.as_deref(),
        Some("stored artifact with 2 fetched files from 'refresh' bucket")
    );
    assert!(stage.has_finalizer(KIND, "app").await?);

    let object = stage.reconcile(KIND, "app", "1").await?;
    assert_eq!(
        object["status"]["artifact"], status["artifact"],
        "nothing is stored anew"
    );
    stage.event("app", "ArtifactUpToDate").await?;

    server.put("refresh", "apps/a.yaml", b"3").await?;
    server.remove("refresh", "apps/logo.png").await?;
    stage.request(KIND, "app", "2").await?;
    let second = revision(&[("apps/a.yaml", THREE)]);
    let status = stage.ready_object(KIND, "app", &second).await?;
    let tree = stage.fetch_tree(&status).await?;
    assert_eq!(tree.get("apps/a.yaml").map(|file| &*file.data), Some(b"3".as_slice()));

    // A wiped volume is filled again, and the status is true in between: the URL that it names is served, or none is named.
    std::fs::remove_file(stage.file(status["artifact"]["path"].as_str().context("it has a path")?))?;
    stage.reconcile(KIND, "app", "3").await?;
    let again = stage.ready_object(KIND, "app", &second).await?;
    assert_eq!(again["artifact"]["digest"], status["artifact"]["digest"]);
    stage.fetch_tree(&again).await?;

    // What cannot be had any more leaves the last good one.
    let missing = spec(server.address(), "missing", json!({}));
    stage.apply_object(KIND, "app", missing).await?;
    let message = stage.failed_object(KIND, "app", "BucketOperationFailed").await?;
    assert_eq!(message, "bucket 'missing' not found");
    let object = stage.object(KIND, "app").await?;
    assert_eq!(object["status"]["artifact"], again["artifact"]);
    stage.fetch_tree(&object["status"]).await?;
    stage.apply_object(KIND, "app", refresh).await?;
    stage.ready_object(KIND, "app", &second).await?;
    stage.event("app", "Succeeded").await?;

    stage.objects(KIND).delete("app", &Default::default()).await?;
    eventually(DEADLINE, "everything of it is gone", || async {
        anyhow::ensure!(!stage.file(&format!("bucket/{}/app", stage.namespace)).exists());
        anyhow::ensure!(stage.objects(KIND).get_opt("app").await?.is_none());
        Ok(())
    })
    .await?;
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_bucket_from_being_ready() -> Result<()> {
    let Some(server) = server().await else { return Ok(()) };
    server.make_bucket("locked").await?;
    server.put("locked", "a", b"1").await?;
    server.put(S3Server::PUBLIC, "open", b"1").await?;
    let mut stage = Stage::start("bucket-ways").await?;
    keys(&stage).await?;
    let (name, _) = S3Server::KEYS;
    stage
        .secret("wrong", &[("accesskey", name), ("secretkey", PASSWORD)])
        .await?;
    stage.secret("half", &[("accesskey", name)]).await?;
    stage.secret("no-ca", &[("other", "x")]).await?;
    stage
        .secret(
            "proxy",
            &[
                ("address", "http://127.0.0.1:1"),
                ("password", PASSWORD),
                ("username", "u"),
            ],
        )
        .await?;
    let address = server.address();
    stage
        .apply_object(
            KIND,
            "anonymous",
            spec(address, S3Server::PUBLIC, json!({"secretRef": null, "prefix": "op"})),
        )
        .await?;
    stage
        .ready_object(KIND, "anonymous", &revision(&[("open", ONE)]))
        .await?;
    for (object, fields, reason, part) in [
        (
            "wrong",
            json!({"secretRef": {"name": "wrong"}}),
            "BucketOperationFailed",
            "answers 403 SignatureDoesNotMatch",
        ),
        (
            "half",
            json!({"secretRef": {"name": "half"}}),
            "AuthenticationFailed",
            "required fields 'accesskey' and 'secretkey'",
        ),
        (
            "none",
            json!({"secretRef": {"name": "none"}}),
            "AuthenticationFailed",
            "/none' not found",
        ),
        (
            "ca",
            json!({"certSecretRef": {"name": "no-ca"}}),
            "AuthenticationFailed",
            "spec.certSecretRef: secret",
        ),
        (
            "proxy",
            json!({"proxySecretRef": {"name": "proxy"}}),
            "BucketOperationFailed",
            "failed to get '.sourceignore' object",
        ),
        (
            "tls",
            json!({"insecure": false}),
            "BucketOperationFailed",
            "failed to get '.sourceignore' object",
        ),
        (
            "scheme",
            json!({"endpoint": format!("http://{address}")}),
            "URLInvalid",
            "spec.endpoint: give the host",
        ),
        (
            "cloud",
            json!({"provider": "aws", "secretRef": null}),
            "AuthenticationFailed",
            "name a Secret with keys",
        ),
        (
            "google",
            json!({"provider": "gcp"}),
            "AuthenticationFailed",
            "required fields 'serviceaccount'",
        ),
    ] {
        stage
            .apply_object(KIND, object, spec(address, "locked", fields))
            .await?;
        let message = stage.failed_object(KIND, object, reason).await?;
        assert!(message.contains(part), "{object}: {message}");
        assert!(!message.contains(PASSWORD), "{object}: {message}");
        let status = stage.object(KIND, object).await?["status"].clone();
        let is_stalled = condition(&status, "Stalled").is_some();
        assert_eq!(is_stalled, reason == "URLInvalid", "{object}: {status}");
    }
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_comes_from_a_bucket() -> Result<()> {
    let Some(server) = server().await else { return Ok(()) };
    server.make_bucket("charts").await?;
    server
        .put("charts", "charts/app-1.2.3.tgz", &package("app", "1.2.3", &[]))
        .await?;
    let mut stage = Stage::start("bucket-chart").await?;
    keys(&stage).await?;
    stage
        .apply_object(KIND, "repo", spec(server.address(), "charts", json!({})))
        .await?;
    let chart = json!({"chart": "charts/app-1.2.3.tgz", "interval": "1h", "sourceRef": {"kind": KIND, "name": "repo"}});
    stage.apply_object("HelmChart", "app", chart).await?;
    stage.ready_object("HelmChart", "app", "1.2.3").await?;
    stage.stop().await;
    Ok(())
}
