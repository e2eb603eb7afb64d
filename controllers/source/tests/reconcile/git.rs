//! What a GitRepository can ask for: ranges of versions, signatures, submodules, Apps of GitHub, ssh.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use axum::{Json, Router, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use nave_bed::{Auth, GitRepo, GitServer, GitServerOptions};
use nave_runtime::Conditions;
use serde_json::{Value, json};

use crate::stage::{Stage, paths};

#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_versions_follows_the_highest_tag() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let first = repository.commit_files(&[("a", "1")]).await?;
    for tag in ["v1.2.0", "v0.9.0", "nightly", "v2.0.0-rc.1"] {
        repository.tag(tag).await?;
    }
    let mut stage = Stage::start("semver").await?;
    stage
        .apply("app", repository.url(), json!({"ref": {"semver": ">=1.0.0"}}))
        .await?;
    stage.ready("app", &format!("v1.2.0@sha1:{first}")).await?;
    let second = repository.commit_files(&[("a", "2")]).await?;
    repository.tag("v1.10.0").await?;
    stage.trigger("app");
    stage.ready("app", &format!("v1.10.0@sha1:{second}")).await?;
    stage
        .apply("app", repository.url(), json!({"ref": {"semver": ">=3"}}))
        .await?;
    let message = stage.failed("app", "GitOperationFailed").await?;
    assert!(
        message.ends_with("is a version that matches '>=3'; the highest are v2.0.0-rc.1, v1.10.0, v1.2.0"),
        "{message}"
    );
    // The tag wins over the range, as in Flux's code.
    stage
        .apply(
            "app",
            repository.url(),
            json!({"ref": {"semver": ">=3", "tag": "nightly"}}),
        )
        .await?;
    stage.ready("app", &format!("nightly@sha1:{first}")).await?;
    stage.stop().await;
    Ok(())
}

/// A key of ssh-keygen; none where there is no such program.
fn new_key(directory: &Path, name: &str, arguments: &[&str]) -> Result<Option<String>> {
    let file = directory.join(name);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-C", "", "-f"])
        .arg(&file)
        .args(arguments)
        .status();
    let Ok(status) = made else {
        eprintln!("skipped: there is no ssh-keygen on this machine");
        return Ok(None);
    };
    ensure!(status.success(), "ssh-keygen ends with {status}");
    Ok(Some(file.to_str().context("a path of text")?.to_owned()))
}

fn git(repository: &GitRepo, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .current_dir(repository.work_tree())
        .args([
            "-c",
            "user.name=Test",
            "-c",
            "user.email=test@example.com",
            "-c",
            "gpg.format=ssh",
        ])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()?;
    ensure!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_signed_by_trusted_keys_becomes_an_artifact() -> Result<()> {
    let keys = tempfile::tempdir()?;
    let Some(key) = new_key(keys.path(), "trusted", &["-t", "ed25519"])? else {
        return Ok(());
    };
    let Some(other) = new_key(keys.path(), "other", &["-t", "ed25519"])? else {
        return Ok(());
    };
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let sign = |key: &str, message: &str| -> Result<String> {
        let signing = format!("user.signingkey={key}");
        git(
            &repository,
            &[
                "-c",
                &signing,
                "commit",
                "--quiet",
                "--allow-empty",
                "-S",
                "-m",
                message,
            ],
        )?;
        git(&repository, &["rev-parse", "HEAD"])
    };
    repository.commit_files(&[("a", "1")]).await?;
    let mut stage = Stage::start("verify").await?;
    let verify = json!({"verify": {"secretRef": {"name": "keys"}}});
    stage.apply("app", repository.url(), verify.clone()).await?;
    let message = stage.failed("app", "VerificationError").await?;
    assert!(message.ends_with("/keys' not found"), "{message}");
    let public = std::fs::read_to_string(format!("{key}.pub"))?;
    stage.secret("keys", &[("author.sshpub", &public)]).await?;
    let message = stage.failed("app", "InvalidCommitSignature").await?;
    assert!(message.ends_with("failed: it is not signed"), "{message}");
    let status = stage.status("app").await?;
    assert_eq!(
        status.conditions.reason_of("SourceVerified"),
        Some("InvalidCommitSignature")
    );
    assert!(status.artifact.is_none() && status.source_verification_mode.is_none());

    let good = sign(&key, "signed")?;
    repository.push().await?;
    stage.trigger("app");
    let revision = format!("main@sha1:{good}");
    let status = stage.ready("app", &revision).await?;
    assert!(status.conditions.is_true("SourceVerified"));
    assert_eq!(status.source_verification_mode.as_deref(), Some("HEAD"));

    // Somebody else's commit does not replace what is served.
    sign(&other, "signed by another")?;
    repository.push().await?;
    stage.trigger("app");
    let message = stage.failed("app", "InvalidCommitSignature").await?;
    assert!(message.contains("is not among the trusted keys"), "{message}");
    let status = stage.status("app").await?;
    assert_eq!(
        status.artifact.as_ref().map(|found| found.revision.as_str()),
        Some(revision.as_str())
    );
    stage.download(&status).await?;

    // Without the wish the condition goes.
    let head = git(&repository, &["rev-parse", "HEAD"])?;
    stage.apply("app", repository.url(), json!({})).await?;
    let status = stage.ready("app", &format!("main@sha1:{head}")).await?;
    assert!(status.conditions.get_condition("SourceVerified").is_none());
    assert!(status.source_verification_mode.is_none());

    // Tags: lightweight, annotated, signed.
    git(&repository, &["tag", "v1.0.0"])?;
    repository.push().await?;
    let of_tag =
        |tag: &str, mode: &str| json!({"ref": {"tag": tag}, "verify": {"mode": mode, "secretRef": {"name": "keys"}}});
    stage.apply("tag", repository.url(), of_tag("v1.0.0", "Tag")).await?;
    let message = stage.failed("tag", "InvalidGitObject").await?;
    assert!(message.contains("it is not an annotated tag"), "{message}");
    repository.tag("v1.0.1").await?;
    stage.apply("tag", repository.url(), of_tag("v1.0.1", "Tag")).await?;
    let reason = stage
        .failed_saying(KIND, "tag", "tag 'v1.0.1': it is not signed")
        .await?;
    assert_eq!(reason, "InvalidGitObject");
    let signing = format!("user.signingkey={key}");
    git(&repository, &["-c", &signing, "tag", "-s", "v1.0.2", "-m", "signed"])?;
    repository.push().await?;
    stage.apply("tag", repository.url(), of_tag("v1.0.2", "Tag")).await?;
    let status = stage.ready("tag", &format!("v1.0.2@sha1:{head}")).await?;
    assert_eq!(status.source_verification_mode.as_deref(), Some("Tag"));
    // The tag is by the right one, the commit is not.
    stage
        .apply("tag", repository.url(), of_tag("v1.0.2", "TagAndHEAD"))
        .await?;
    stage.failed("tag", "InvalidCommitSignature").await?;
    let status = stage.status("tag").await?;
    assert_eq!(
        status.conditions.reason_of("SourceVerified"),
        Some("InvalidCommitSignature")
    );
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn submodules_are_part_of_the_artifact_and_pointers_of_lfs_are_told() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let library = server.create_repo("library").await?;
    let inner = library.commit_files(&[("lib.yaml", "l: 1")]).await?;
    let repository = server.create_repo("app").await?;
    let url = format!("../{}", library.url().rsplit('/').next().context("a name")?);
    repository.write_files(&[
        ("a.yaml", "a: 1"),
        (
            "big.bin",
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        ),
        (
            ".gitmodules",
            &format!("[submodule \"lib\"]\n\tpath = lib\n\turl = {url}\n"),
        ),
    ])?;
    let entry = format!("160000,{inner},lib");
    git(&repository, &["update-index", "--add", "--cacheinfo", &entry])?;
    git(&repository, &["add", "a.yaml", "big.bin", ".gitmodules"])?;
    // A commit of the whole work tree would take the part out again: nothing is checked out there.
    git(&repository, &["commit", "-q", "-m", "with a part"])?;
    repository.push().await?;
    let commit = git(&repository, &["rev-parse", "HEAD"])?;
    let mut stage = Stage::start("modules").await?;
    stage
        .apply("app", repository.url(), json!({"recurseSubmodules": true}))
        .await?;
    let revision = format!("main@sha1:{commit}");
    let status = stage.ready("app", &revision).await?;
    assert!(status.observed_recurse_submodules);
    let files = stage.download(&status).await?;
    assert_eq!(paths(&files), ["a.yaml", "big.bin", "lib/lib.yaml"]);
    let event = stage.event("app", "GitOperationFailed").await?;
    let message = event.message.unwrap_or_default();
    assert!(
        message.contains("1 files are pointers of Git LFS") && message.contains("big.bin"),
        "{message}"
    );

    stage.apply("app", repository.url(), json!({})).await?;
    let before = status.artifact.map(|artifact| artifact.digest);
    let status = stage
        .wait("app", "built without submodules", |status| {
            status.observed_generation == 2
                && status.artifact.as_ref().map(|artifact| &artifact.digest) != before.as_ref()
        })
        .await?;
    assert_eq!(paths(&stage.download(&status).await?), ["a.yaml", "big.bin"]);
    stage.stop().await;
    Ok(())
}

const KIND: &str = "GitRepository";

const TOKEN: &str = "ghs_16C7e42F292c6912E7710c838347Ae178B4a";

#[tokio::test(flavor = "multi_thread")]
async fn a_github_app_reads_with_tokens_of_its_installation() -> Result<()> {
    let keys = tempfile::tempdir()?;
    let Some(key) = new_key(keys.path(), "app", &["-t", "rsa", "-b", "2048", "-m", "PEM"])? else {
        return Ok(());
    };
    let key = std::fs::read_to_string(key)?;
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = |State(asked): State<Arc<AtomicUsize>>, headers: HeaderMap| async move {
        asked.fetch_add(1, Ordering::SeqCst);
        let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
        if bearer.is_none_or(|bearer| bearer.split('.').count() != 3 || !bearer.starts_with("Bearer ey")) {
            return (
                StatusCode::UNAUTHORIZED,
                Json(json!({"message": "A JSON web token could not be decoded"})),
            );
        }
        let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
        let body: Value =
            json!({"token": TOKEN, "expires_at": expires.to_string(), "permissions": {"contents": "read"}});
        (StatusCode::CREATED, Json(body))
    };
    let routes = Router::new()
        .route("/api/v3/app/installations/42/access_tokens", post(answer))
        .with_state(asked.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let api = format!("http://{}/api/v3", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let server = GitServer::start(GitServerOptions {
        auth: Auth::Basic {
            user: "x-access-token".into(),
            password: TOKEN.into(),
        },
        ..Default::default()
    })
    .await?;
    let repository = server.create_repo("app").await?;
    let commit = repository.commit_files(&[("a", "1")]).await?;
    let mut stage = Stage::start("github").await?;
    let spec = json!({"provider": "github", "secretRef": {"name": "app"}});
    stage.secret("app", &[("username", "x"), ("password", "y")]).await?;
    stage.apply("app", repository.url(), spec.clone()).await?;
    let message = stage.failed("app", "InvalidProviderConfiguration").await?;
    assert!(message.contains("holds no keys of a GitHub App"), "{message}");
    let data = [
        ("githubAppID", "7"),
        ("githubAppInstallationID", "41"),
        ("githubAppPrivateKey", key.as_str()),
        ("githubAppBaseURL", api.as_str()),
    ];
    stage.secret("app", &data).await?;
    let message = stage.failed("app", "AuthenticationFailed").await?;
    assert!(
        message.contains("installations/41/access_tokens answered with HTTP 404"),
        "{message}"
    );
    let mut data = data;
    data[1].1 = "42";
    stage.secret("app", &data).await?;
    stage.ready("app", &format!("main@sha1:{commit}")).await?;
    // One token does for all objects and polls of its hour.
    let again = repository.commit_files(&[("a", "2")]).await?;
    stage.apply("second", repository.url(), spec).await?;
    stage.ready("second", &format!("main@sha1:{again}")).await?;
    stage.trigger("app");
    stage.ready("app", &format!("main@sha1:{again}")).await?;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    for name in ["app", "second"] {
        let status = serde_json::to_string(&stage.status(name).await?)?;
        assert!(!status.contains(TOKEN) && !status.contains("PRIVATE KEY"), "{status}");
    }
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_needs_a_key_and_known_hosts() -> Result<()> {
    let mut stage = Stage::start("ssh").await?;
    let url = "ssh://git@127.0.0.1:1/app.git";
    stage.apply("app", url, json!({})).await?;
    let message = stage.failed("app", "AuthenticationFailed").await?;
    assert!(message.starts_with("spec.secretRef: ssh needs a key"), "{message}");
    stage.apply("app", url, json!({"secretRef": {"name": "key"}})).await?;
    stage.secret("key", &[("identity", "canary-4f1c9b")]).await?;
    let reason = stage
        .failed_saying(KIND, "app", "key \"known_hosts\" is missing")
        .await?;
    assert_eq!(reason, "AuthenticationFailed");
    let line = "[127.0.0.1]:1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOVXSYMQlWvINUywbNTt5FyH/yBg5AUu3z2uvF/TD1Jb";
    stage
        .secret("key", &[("identity", "canary-4f1c9b"), ("known_hosts", line)])
        .await?;
    stage.trigger("app");
    let found = stage
        .wait("app", "failed with the broken key", |status| {
            status
                .conditions
                .get_condition("FetchFailed")
                .is_some_and(|condition| condition.message.contains("identity is not a private key"))
        })
        .await?;
    assert!(!serde_json::to_string(&found)?.contains("canary-4f1c9b"));
    let keys = tempfile::tempdir()?;
    if let Some(key) = new_key(keys.path(), "key", &["-t", "ed25519"])? {
        let key = std::fs::read_to_string(key)?;
        stage
            .secret("key", &[("identity", &key), ("known_hosts", line)])
            .await?;
        let message = stage.failed("app", "GitOperationFailed").await?;
        assert!(message.starts_with("cannot reach ssh://"), "{message}");
    }
    stage.stop().await;
    Ok(())
}
