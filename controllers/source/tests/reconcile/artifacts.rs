//! What becomes an artifact.

use anyhow::Result;
use nave_bed::{Fault, GitServer, GitServerOptions};
use nave_runtime::Conditions;
use serde_json::json;

use crate::stage::{Stage, paths};

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_becomes_an_artifact_and_follows_its_commits() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let first = repository
        .commit_files(&[("deploy/app.yaml", "a: 1\n"), ("logo.png", "x")])
        .await?;
    let mut stage = Stage::start("branch").await?;
    stage.apply("app", repository.url(), json!({})).await?;
    let status = stage.ready("app", &format!("main@sha1:{first}")).await?;
    let artifact = status.artifact.clone().unwrap();
    assert_eq!(
        artifact.path,
        format!("gitrepository/{}/app/{first}.tar.gz", stage.namespace)
    );
    assert!(artifact.url.ends_with(&artifact.path) && artifact.url.starts_with("http://127.0.0.1:"));
    assert_eq!(paths(&stage.download(&status).await?), ["deploy/app.yaml"]);
    let mut kinds: Vec<&str> = status
        .conditions
        .iter()
        .map(|condition| condition.type_.as_str())
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["ArtifactInStorage", "Ready"]);
    let message = &status.conditions.get_condition("Ready").unwrap().message;
    assert_eq!(*message, format!("stored artifact for revision 'main@sha1:{first}'"));
    let event = stage.event("app", "NewArtifact").await?;
    assert_eq!(
        event.message.unwrap(),
        "stored artifact for commit 'Write deploy/app.yaml, logo.png'"
    );
    let annotations = event.metadata.annotations.unwrap();
    assert_eq!(annotations["source.toolkit.fluxcd.io/revision"], artifact.revision);
    assert_eq!(annotations["source.toolkit.fluxcd.io/digest"], artifact.digest);

    let second = repository.commit_files(&[("deploy/app.yaml", "a: 2\n")]).await?;
    stage.trigger("app");
    let status = stage.ready("app", &format!("main@sha1:{second}")).await?;
    let tree = stage.download(&status).await?;
    assert_eq!(&*tree.get("deploy/app.yaml").unwrap().data, b"a: 2\n");
    // The one before stays for those who still hold its address.
    assert!(stage.file(&artifact.path).exists());
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_commits_names_and_the_default_branch() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let first = repository.commit_files(&[("a", "1")]).await?;
    repository.tag("v1.0.0").await?;
    let second = repository.commit_files(&[("a", "2")]).await?;
    let mut stage = Stage::start("refs").await?;
    for (name, reference, revision) in [
        ("tag", json!({"tag": "v1.0.0"}), format!("v1.0.0@sha1:{first}")),
        ("commit", json!({"commit": first}), format!("sha1:{first}")),
        (
            "both",
            json!({"commit": first, "branch": "main"}),
            format!("main@sha1:{first}"),
        ),
        (
            "name",
            json!({"name": "refs/heads/main"}),
            format!("refs/heads/main@sha1:{second}"),
        ),
    ] {
        stage.apply(name, repository.url(), json!({"ref": reference})).await?;
        stage.ready(name, &revision).await?;
    }
    stage.apply("default", repository.url(), json!({"ref": {}})).await?;
    let message = stage.failed("default", "GitOperationFailed").await?;
    assert_eq!(
        message,
        format!("branch 'master' not found in {}, which has main", repository.url())
    );
    repository.branch("master").await?;
    repository.commit_files(&[("a", "3")]).await?;
    let third = repository.head().await?;
    stage.ready("default", &format!("master@sha1:{third}")).await?;

    let empty = server.create_repo("empty").await?;
    stage.apply("empty", empty.url(), json!({})).await?;
    let message = stage.failed("empty", "EmptyGitRepository").await?;
    assert_eq!(message, format!("repository {} is empty", empty.url()));
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ignore_rules_and_sparse_directories_select_and_a_change_of_them_rebuilds() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let files = [
        ("README.md", "x"),
        ("deploy/a.yaml", "x"),
        ("deploy/b.md", "x"),
        ("infra/c.yaml", "x"),
        ("infra/.sourceignore", "*.tmp\n"),
        ("infra/d.tmp", "x"),
    ];
    let commit = repository.commit_files(&files).await?;
    let revision = format!("main@sha1:{commit}");
    let mut stage = Stage::start("ignore").await?;
    stage.apply("app", repository.url(), json!({})).await?;
    let status = stage.ready("app", &revision).await?;
    let all = [
        "README.md",
        "deploy/a.yaml",
        "deploy/b.md",
        "infra/.sourceignore",
        "infra/c.yaml",
    ];
    assert_eq!(paths(&stage.download(&status).await?), all);

    stage
        .apply("app", repository.url(), json!({"ignore": "/*\n!/deploy\n*.md\n"}))
        .await?;
    let status = stage.ready("app", &revision).await?;
    assert_eq!(paths(&stage.download(&status).await?), ["deploy/a.yaml"]);
    assert_eq!(status.observed_ignore.as_deref(), Some("/*\n!/deploy\n*.md\n"));

    stage
        .apply("app", repository.url(), json!({"sparseCheckout": ["./infra"]}))
        .await?;
    let status = stage.ready("app", &revision).await?;
    assert_eq!(
        paths(&stage.download(&status).await?),
        ["infra/.sourceignore", "infra/c.yaml"]
    );
    assert_eq!(
        (status.observed_ignore, status.observed_sparse_checkout),
        (None, vec!["./infra".to_owned()])
    );

    stage
        .apply("app", repository.url(), json!({"sparseCheckout": ["gone"]}))
        .await?;
    let message = stage.failed("app", "GitOperationFailed").await?;
    assert_eq!(
        message,
        format!("sparse checkout directory 'gone' does not exist in {revision}")
    );
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn included_repositories_are_waited_for_and_followed() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let (app, shared) = (server.create_repo("app").await?, server.create_repo("shared").await?);
    let commit = app.commit_files(&[("app.yaml", "x")]).await?;
    let first = shared
        .commit_files(&[("base/a.yaml", "1"), ("other.yaml", "x")])
        .await?;
    let revision = format!("main@sha1:{commit}");
    let mut stage = Stage::start("include").await?;
    let include = json!({"include": [{"repository": {"name": "shared"}, "fromPath": "base", "toPath": "lib"}]});
    stage.apply("app", app.url(), include).await?;
    let message = stage.failed("app", "NotFound").await?;
    assert_eq!(
        message,
        "could not get resource for include: GitRepository 'shared' not found"
    );
    stage.apply("shared", shared.url(), json!({})).await?;
    stage.ready("shared", &format!("main@sha1:{first}")).await?;
    let status = stage.ready("app", &revision).await?;
    assert_eq!(paths(&stage.download(&status).await?), ["app.yaml", "lib/a.yaml"]);
    assert_eq!(status.included_artifacts[0].revision, format!("main@sha1:{first}"));

    shared.commit_files(&[("base/b.yaml", "2")]).await?;
    let second = shared.head().await?;
    stage.trigger("shared");
    stage.ready("shared", &format!("main@sha1:{second}")).await?;
    stage.trigger("app");
    let status = stage
        .wait("app", "has what is included anew", |status| {
            let included = status.included_artifacts.first();
            included.is_some_and(|artifact| artifact.revision == format!("main@sha1:{second}"))
                && status.conditions.is_true("Ready")
        })
        .await?;
    assert_eq!(
        paths(&stage.download(&status).await?),
        ["app.yaml", "lib/a.yaml", "lib/b.yaml"]
    );
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_remote_keeps_the_last_artifact_and_recovers() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let commit = repository.commit_files(&[("a", "1")]).await?;
    let revision = format!("main@sha1:{commit}");
    let mut stage = Stage::start("outage").await?;
    stage.apply("app", repository.url(), json!({})).await?;
    let before = stage.ready("app", &revision).await?;
    server.fail_all(Some(Fault::Status(503)));
    stage.trigger("app");
    let message = stage.failed("app", "GitOperationFailed").await?;
    assert_eq!(message, format!("{} answered with HTTP 503", repository.url()));
    let status = stage.status("app").await?;
    assert_eq!(status.artifact, before.artifact);
    assert_eq!(status.conditions.reason_of("Reconciling"), Some("ProgressingWithRetry"));
    assert!(status.conditions.is_true("FetchFailed") && status.conditions.is_true("ArtifactInStorage"));
    stage.download(&status).await?;
    assert_eq!(
        stage.event("app", "GitOperationFailed").await?.type_.as_deref(),
        Some("Warning")
    );
    server.fail_all(None);
    let status = stage.ready("app", &revision).await?;
    assert_eq!(status.artifact, before.artifact);
    stage.event("app", "Succeeded").await?;
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_meets_the_timeout() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    repository.commit_files(&[("a", "1")]).await?;
    server.fail_all(Some(Fault::Hang));
    let mut stage = Stage::start("hang").await?;
    stage.apply("app", repository.url(), json!({"timeout": "2s"})).await?;
    // Meanwhile the status says that something goes on.
    stage
        .wait("app", "says that it works", |status| {
            status.conditions.is_true("Reconciling") && status.conditions.reason_of("Ready") == Some("Progressing")
        })
        .await?;
    let message = stage.failed("app", "GitOperationFailed").await?;
    assert_eq!(
        message,
        format!(
            "listing references of {} took longer than the timeout of 2s",
            repository.url()
        )
    );
    stage.stop().await;
    Ok(())
}
