//! Remote bases: fetched for the build, followed when they move, refused when that is wanted.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, ensure};
use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use nave_bed::{
    GitRepo, GitServer, GitServerOptions, eventually,
    git_ssh::{SshServer, ed25519, pem},
};
use serde_json::json;

use crate::stage::{DEADLINE, Setup, Stage, config};

/// Serves one file with an ETag; counts answers with the file in them.
async fn file_server(text: String) -> Result<(String, Arc<AtomicUsize>)> {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let serve = move |headers: HeaderMap| {
        let (text, count) = (text.clone(), count.clone());
        async move {
            if headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag == "\"1\"") {
                return StatusCode::NOT_MODIFIED.into_response();
            }
            count.fetch_add(1, Ordering::SeqCst);
            ([(header::ETAG, "\"1\"")], text).into_response()
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/file.yaml", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/file.yaml", get(serve))).await });
    Ok((url, sent))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remote_bases_are_fetched_and_followed() -> Result<()> {
    let stage = Stage::start("bases").await?;
    let ns = stage.namespace.clone();
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("bases").await?;
    let base = |value: &str| config(&ns, "base", value);
    repository
        .commit_files(&[
            ("deploy/kustomization.yaml", "resources: [base.yaml, ../other]\n"),
            ("deploy/base.yaml", &base("1")),
            ("other/kustomization.yaml", "resources: [other.yaml]\n"),
            ("other/other.yaml", &config(&ns, "other", "1")),
        ])
        .await?;
    let (file, sent) = file_server(config(&ns, "file", "1")).await?;
    let address = format!("{}//deploy?ref=main", server.repo_url("bases"));
    let kustomization = format!("resources: ['{address}', '{file}', own.yaml]\n");
    stage
        .publish(
            "1",
            &[
                ("app/kustomization.yaml", kustomization),
                ("app/own.yaml", config(&ns, "own", "1")),
            ],
        )
        .await?;
    stage
        .apply("app", json!({"interval": "1s", "retryInterval": "1s"}))
        .await?;
    let status = stage.ready("app", "1").await?;
    assert_eq!(status.inventory.context("an inventory")?.entries.len(), 4);
    // The branch moves, the artifact does not; the file is asked for, and not sent, again.
    repository.commit_files(&[("deploy/base.yaml", &base("2"))]).await?;
    eventually(DEADLINE, "the base is followed", || async {
        let found = stage.config("base").await?.context("it is there")?;
        ensure!(found["value"] == "2", "{found:?}");
        Ok(())
    })
    .await?;
    assert_eq!(sent.load(Ordering::SeqCst), 1);
    // A base that cannot be had deletes nothing.
    repository
        .commit_files(&[("deploy/kustomization.yaml", "resources: [gone.yaml]\n")])
        .await?;
    let message = stage.failed("app", "BuildFailed").await?;
    assert!(
        message.contains("gone.yaml") && message.contains("deploy?ref=main"),
        "{message}"
    );
    assert!(stage.config("base").await?.is_some());
    stage.stop().await
}

/// Puts a commit of `lib` at `vendor/lib` of `into`, as `git submodule add` does.
async fn link(into: &GitRepo, lib: &str, commit: &str) -> Result<()> {
    let modules = format!("[submodule \"lib\"]\n\tpath = vendor/lib\n\turl = {lib}\n");
    into.write_files(&[(".gitmodules", &modules)])?;
    let entry = format!("160000,{commit},vendor/lib");
    let output = tokio::process::Command::new("git")
        .args(["update-index", "--add", "--cacheinfo", &entry])
        .current_dir(into.work_tree())
        .output()
        .await?;
    ensure!(output.status.success(), "{output:?}");
    // Only what is staged, since the work tree does not have the submodule.
    for arguments in [
        &["add", ".gitmodules"][..],
        &[
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
            "commit",
            "--quiet",
            "-m",
            "link",
        ],
    ] {
        let output = tokio::process::Command::new("git")
            .args(arguments)
            .current_dir(into.work_tree())
            .output()
            .await?;
        ensure!(output.status.success(), "{output:?}");
    }
    into.push().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submodules_of_remote_bases_are_part_of_them() -> Result<()> {
    let stage = Stage::start("submodules").await?;
    let ns = stage.namespace.clone();
    let server = GitServer::start(GitServerOptions::default()).await?;
    let (bases, lib) = (server.create_repo("bases").await?, server.create_repo("lib").await?);
    let commit = lib
        .commit_files(&[
            ("kustomization.yaml", "resources: [lib.yaml]\n"),
            ("lib.yaml", &config(&ns, "lib", "1")),
        ])
        .await?;
    bases
        .commit_files(&[("deploy/kustomization.yaml", "resources: [../vendor/lib]\n")])
        .await?;
    link(&bases, &server.repo_url("lib"), &commit).await?;
    let address = format!("{}//deploy?ref=main", server.repo_url("bases"));
    let files = [
        ("app/kustomization.yaml", format!("resources: ['{address}']\n")),
        (
            "without/kustomization.yaml",
            format!("resources: ['{address}&submodules=false']\n"),
        ),
    ];
    stage.publish("1", &files).await?;
    stage.apply("app", json!({})).await?;
    stage.ready("app", "1").await?;
    assert_eq!(stage.config("lib").await?.context("it is there")?["value"], "1");
    stage.apply("without", json!({})).await?;
    let message = stage.failed("without", "BuildFailed").await?;
    assert!(message.contains("vendor/lib"), "{message}");
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bases_over_ssh_are_fetched_with_the_key_that_is_there_and_from_known_hosts() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let setup = Setup {
        ssh: Some(folder.path().to_owned()),
        ..Setup::default()
    };
    let stage = Stage::start_with("ssh-bases", setup).await?;
    let ns = stage.namespace.clone();
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("bases").await?;
    repository
        .commit_files(&[
            ("deploy/kustomization.yaml", "resources: [base.yaml]\n"),
            ("deploy/base.yaml", &config(&ns, "base", "1")),
        ])
        .await?;
    let root = repository.bare().parent().context("it lies in a folder")?;
    let key = ed25519();
    let ssh = SshServer::start(root.to_owned(), ed25519(), vec![key.public_key().clone()]).await;
    let address = format!("{}//deploy?ref=main", ssh.url("bases"));
    let files = [("app/kustomization.yaml", format!("resources: ['{address}']\n"))];
    stage.publish("1", &files).await?;
    stage
        .apply("app", json!({"interval": "1s", "retryInterval": "1s"}))
        .await?;
    let message = stage.failed("app", "BuildFailed").await?;
    assert!(message.contains("it needs a key for ssh"), "{message}");
    assert_eq!(ssh.commands.lock().expect("nobody panicked with it").len(), 0);

    // Somebody else answers at the address: nothing is fetched from there.
    let other = ssh.known_as(ed25519().public_key());
    std::fs::write(folder.path().join("known_hosts"), other)?;
    std::fs::write(folder.path().join("id_ed25519"), pem(&key))?;
    eventually(DEADLINE, "the host is refused", || async {
        let message = stage.failed("app", "BuildFailed").await?;
        ensure!(message.contains("known_hosts"), "{message}");
        Ok(())
    })
    .await?;
    assert_eq!(ssh.commands.lock().expect("nobody panicked with it").len(), 0);

    // What is mounted there is read anew.
    std::fs::write(folder.path().join("known_hosts"), ssh.known_hosts())?;
    stage.ready("app", "1").await?;
    assert_eq!(stage.config("base").await?.context("it is there")?["value"], "1");
    repository
        .commit_files(&[("deploy/base.yaml", &config(&ns, "base", "2"))])
        .await?;
    eventually(DEADLINE, "the base is followed", || async {
        let found = stage.config("base").await?.context("it is there")?;
        ensure!(found["value"] == "2", "{found:?}");
        Ok(())
    })
    .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remote_bases_that_are_not_there_or_not_wanted_are_named() -> Result<()> {
    let mut setup = Setup::default();
    setup.options.no_remote_bases = true;
    let stage = Stage::start_with("no-bases", setup).await?;
    let other = Stage::start("bad-bases").await?;
    let address = "http://127.0.0.1:1/org/repo.git//deploy?ref=v1";
    let files = [
        ("app/kustomization.yaml", format!("resources: ['{address}']\n")),
        ("good/g.yaml", config(&stage.namespace, "good", "1")),
    ];
    stage.publish("1", &files).await?;
    stage.apply("app", json!({})).await?;
    stage.apply("good", json!({})).await?;
    let message = stage.failed("app", "BuildFailed").await?;
    assert!(message.contains(address) && message.contains("remote"), "{message}");
    stage.ready("good", "1").await?;
    other.publish("1", &files[..1]).await?;
    other.apply("app", json!({})).await?;
    let message = other.failed("app", "BuildFailed").await?;
    assert!(
        message.contains(address) && message.contains("cannot reach"),
        "{message}"
    );
    stage.stop().await?;
    other.stop().await
}
