//! The git server is a real one: git itself clones from it and pushes to it, and sees the faults it should see.

use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use axum::Router;
use axum::extract::State;
use nave_bed::{Auth, Fault, GitServer, GitServerOptions, eventually, scratch_dir};
use tokio::sync::Mutex;

use crate::DEADLINE;

/// Runs git as a user would, away from our configuration.
async fn git(dir: &std::path::Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0");
    command.env_remove("GIT_SSL_CAINFO").env_remove("GIT_SSL_CAPATH");
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    if !output.status.success() {
        bail!("git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn basic() -> Auth {
    Auth::Basic {
        user: "ann".into(),
        password: "secret".into(),
    }
}

#[tokio::test]
async fn what_is_committed_can_be_cloned() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repo = server.create_repo("team/fleet").await?;
    let first = repo
        .commit_files(&[("apps/a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")])
        .await?;
    repo.tag("v1.0.0").await?;
    let second = repo.remove_files(&["b.yaml"]).await?;
    repo.branch("next").await?;
    let third = repo.commit_files(&[("c.yaml", "c: 1\n")]).await?;
    repo.branch("main").await?;
    assert_eq!(repo.head().await?, second);

    let dir = scratch_dir("clone")?;
    git(dir.path(), &["clone", "--quiet", repo.url(), "c"]).await?;
    let clone = dir.path().join("c");
    assert_eq!(
        git(&clone, &["rev-parse", "HEAD", "v1.0.0^{}", "origin/next"]).await?,
        [second, first.clone(), third].join("\n")
    );
    assert_eq!(std::fs::read_to_string(clone.join("apps/a.yaml"))?, "a: 1\n");
    assert!(!clone.join("b.yaml").exists());
    // Forges serve any commit by its name.
    git(dir.path(), &["init", "--quiet", "s"]).await?;
    git(
        &dir.path().join("s"),
        &["fetch", "--quiet", "--depth=1", repo.url(), &first],
    )
    .await?;

    assert!(server.request_count("team/fleet") >= 4);
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.protocol == "version=2" && request.status == 200)
    );
    server.clear_requests();
    git(dir.path(), &["ls-remote", repo.url(), "refs/heads/main"]).await?;
    assert_eq!(server.request_count("team/fleet"), 2);
    assert!(server.create_repo("team/fleet").await.is_err());
    assert!(
        git(dir.path(), &["ls-remote", &server.repo_url("nothing")])
            .await
            .is_err()
    );
    Ok(())
}

#[tokio::test]
async fn credentials_are_asked_for() -> Result<()> {
    let server = GitServer::start(GitServerOptions {
        auth: basic(),
        ..GitServerOptions::default()
    })
    .await?;
    let repo = server.create_repo("private").await?;
    let commit = repo.commit_files(&[("a", "1")]).await?;
    let dir = scratch_dir("credentials")?;
    let with_password = repo.url().replace("://", "://ann:secret@");
    let wrong = repo.url().replace("://", "://ann:wrong@");
    assert!(git(dir.path(), &["ls-remote", repo.url()]).await.is_err());
    assert!(git(dir.path(), &["ls-remote", &wrong]).await.is_err());
    assert!(
        git(dir.path(), &["ls-remote", &with_password])
            .await?
            .starts_with(&commit)
    );

    server.set_auth(Auth::Bearer("token-1".into()));
    assert!(git(dir.path(), &["ls-remote", &with_password]).await.is_err());
    let bearer = [
        "-c",
        "http.extraHeader=Authorization: Bearer token-1",
        "ls-remote",
        repo.url(),
    ];
    assert!(git(dir.path(), &bearer).await?.starts_with(&commit));
    Ok(())
}

#[tokio::test]
async fn tls_is_spoken_with_an_authority_of_its_own() -> Result<()> {
    let server = GitServer::start(GitServerOptions {
        tls: true,
        ..GitServerOptions::default()
    })
    .await?;
    let repo = server.create_repo("fleet").await?;
    let commit = repo.commit_files(&[("a", "1")]).await?;
    let dir = scratch_dir("tls")?;
    assert!(git(dir.path(), &["ls-remote", repo.url()]).await.is_err());
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, server.ca_pem().context("it speaks TLS")?)?;
    let option = format!("http.sslCAInfo={}", ca.display());
    assert!(
        git(dir.path(), &["-c", &option, "ls-remote", repo.url()])
            .await?
            .starts_with(&commit)
    );
    Ok(())
}

#[tokio::test]
async fn pushes_are_announced_wherever_they_come_from() -> Result<()> {
    let hints = Arc::new(Mutex::new(Vec::<serde_json::Value>::new()));
    let take = |State(hints): State<Arc<Mutex<Vec<serde_json::Value>>>>, body: String| async move {
        hints
            .lock()
            .await
            .push(serde_json::from_str(&body).expect("a hint is JSON"));
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hint", listener.local_addr()?);
    let router = Router::new().fallback(take).with_state(hints.clone());
    let receiver = tokio::spawn(axum::serve(listener, router).into_future());

    let server = GitServer::start(GitServerOptions {
        auth: basic(),
        ..GitServerOptions::default()
    })
    .await?;
    server.set_hint_url(Some(url));
    let repo = server.create_repo("fleet").await?;
    let first = repo.commit_files(&[("a", "1")]).await?;

    let dir = scratch_dir("push")?;
    let with_password = repo.url().replace("://", "://ann:secret@");
    git(dir.path(), &["clone", "--quiet", &with_password, "c"]).await?;
    let clone = dir.path().join("c");
    // More than a megabyte, so that git sends it in chunks and without a length.
    let noise: String = (0..400_000_u64)
        .map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    std::fs::write(clone.join("noise"), noise)?;
    git(&clone, &["add", "noise"]).await?;
    git(
        &clone,
        &[
            "-c",
            "user.name=n",
            "-c",
            "user.email=e@x",
            "commit",
            "--quiet",
            "-m",
            "noise",
        ],
    )
    .await?;
    git(&clone, &["push", "--quiet", "origin", "main"]).await?;
    let second = git(&clone, &["rev-parse", "HEAD"]).await?;

    let seen = eventually(DEADLINE, "two hints", || async {
        let seen = hints.lock().await.clone();
        if seen.len() == 2 { Ok(seen) } else { bail!("{seen:?}") }
    })
    .await?;
    let update = |before: &str, after: &str| serde_json::json!({"repository": "fleet", "url": repo.url(), "updates": [{"ref": "refs/heads/main", "before": before, "after": after}]});
    assert_eq!(seen, [update(&"0".repeat(40), &first), update(&first, &second)]);
    receiver.abort();
    Ok(())
}

#[tokio::test]
async fn faults_happen_when_they_are_asked_for() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repo = server.create_repo("fleet").await?;
    repo.commit_files(&[("a", "1")]).await?;
    let dir = scratch_dir("faults")?;
    let look = ["ls-remote", repo.url()];

    server.fail_next(Fault::Status(503), 1);
    let error = git(dir.path(), &look).await.expect_err("the server is unavailable");
    assert!(error.to_string().contains("503"), "{error}");
    git(dir.path(), &look).await?;

    server.fail_next(Fault::Cut(5), 1);
    assert!(git(dir.path(), &look).await.is_err());
    git(dir.path(), &look).await?;

    server.fail_all(Some(Fault::Hang));
    let patient = [
        "-c",
        "http.lowSpeedLimit=1",
        "-c",
        "http.lowSpeedTime=1",
        "ls-remote",
        repo.url(),
    ];
    let error = git(dir.path(), &patient).await.expect_err("nobody answers");
    assert!(error.to_string().contains("too slow"), "{error}");
    assert_eq!(server.requests().last().map(|request| request.status), Some(0));
    server.fail_all(None);
    git(dir.path(), &look).await?;
    Ok(())
}
