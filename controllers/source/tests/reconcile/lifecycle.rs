//! Suspending, asking, deleting, restarting, and storage that was lost.

use std::time::Duration;

use anyhow::{Result, anyhow};
use nave_bed::{GitServer, GitServerOptions, eventually};
use nave_crds::{annotations, labels};
use serde_json::json;

use crate::stage::{DEADLINE, Stage, finalizers, plane};

#[tokio::test(flavor = "multi_thread")]
async fn suspended_is_left_alone_and_a_request_is_answered() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let first = repository.commit_files(&[("a", "1")]).await?;
    let mut stage = Stage::start("suspend").await?;
    stage.apply("app", repository.url(), json!({})).await?;
    stage.ready("app", &format!("main@sha1:{first}")).await?;

    stage.apply("app", repository.url(), json!({"suspend": true})).await?;
    let second = repository.commit_files(&[("a", "2")]).await?;
    server.clear_requests();
    stage.annotate("app", annotations::REQUESTED_AT, "one").await?;
    let status = stage
        .wait("app", "request recorded", |status| {
            status.last_handled_reconcile_at == "one"
        })
        .await?;
    assert_eq!(status.artifact.unwrap().revision, format!("main@sha1:{first}"));
    assert_eq!(server.requests(), []);

    stage.apply("app", repository.url(), json!({})).await?;
    stage.ready("app", &format!("main@sha1:{second}")).await?;
    let third = repository.commit_files(&[("a", "3")]).await?;
    stage.annotate("app", annotations::REQUESTED_AT, "two").await?;
    let status = stage.ready("app", &format!("main@sha1:{third}")).await?;
    assert_eq!(status.last_handled_reconcile_at, "two");
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_removes_files_also_of_what_is_suspended() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let commit = repository.commit_files(&[("a", "1")]).await?;
    let mut stage = Stage::start("delete").await?;
    for name in ["plain", "suspended"] {
        stage.apply(name, repository.url(), json!({})).await?;
        stage.ready(name, &format!("main@sha1:{commit}")).await?;
    }
    assert_eq!(finalizers(&stage.api().get("plain").await?), ["finalizers.fluxcd.io"]);
    stage
        .apply("suspended", repository.url(), json!({"suspend": true}))
        .await?;
    for name in ["plain", "suspended"] {
        let directory = stage.file(&format!("gitrepository/{}/{name}", stage.namespace));
        assert!(directory.exists());
        stage.delete(name).await?;
        eventually(DEADLINE, "the object to be gone", || async {
            match stage.api().get_opt(name).await? {
                None => Ok(()),
                Some(_) => Err(anyhow!("it is still there")),
            }
        })
        .await?;
        assert!(!directory.exists());
    }
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_damaged_storage_is_built_again() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let commit = repository.commit_files(&[("a", "1")]).await?;
    let revision = format!("main@sha1:{commit}");
    let mut stage = Stage::start("wiped").await?;
    stage.apply("app", repository.url(), json!({})).await?;
    let before = stage.ready("app", &revision).await?;
    let file = stage.file(&before.artifact.as_ref().unwrap().path);

    std::fs::write(&file, b"damaged")?;
    stage.trigger("app");
    stage.event("app", "ArtifactVerificationFailed").await?;
    // The damaged file is gone before the new one is there.
    let status = eventually(DEADLINE, "a whole file", || async {
        let status = stage.status("app").await?;
        stage.download(&status).await?;
        Ok(status)
    })
    .await?;
    assert_eq!(
        status.artifact.unwrap().digest,
        before.artifact.as_ref().unwrap().digest
    );

    stage.stop().await;
    std::fs::remove_dir_all(stage.file("gitrepository"))?;
    stage.restart(|_| {}).await?;
    eventually(DEADLINE, "the file to be back", || async {
        Ok(std::fs::metadata(&file)?)
    })
    .await?;
    let status = stage.ready("app", &revision).await?;
    stage.download(&status).await?;
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_source_is_polled_by_interval_and_written_no_more() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let commit = repository.commit_files(&[("a", "1")]).await?;
    let mut stage = Stage::start("interval").await?;
    stage
        .apply("app", repository.url(), json!({"interval": "300ms"}))
        .await?;
    stage.ready("app", &format!("main@sha1:{commit}")).await?;
    let version = stage.api().get("app").await?.metadata.resource_version;
    server.clear_requests();
    eventually(DEADLINE, "four polls", || async {
        // A greeting and a listing each, and never a fetch.
        if server.request_count("app") >= 8 {
            Ok(())
        } else {
            Err(anyhow!("{} requests", server.request_count("app")))
        }
    })
    .await?;
    assert_eq!(stage.api().get("app").await?.metadata.resource_version, version);
    let events = stage.events("app", "GitOperationSucceeded").await?;
    assert!(events.is_empty(), "a poll by interval is nobody's business: {events:?}");
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}});
    stage
        .api()
        .patch("app", &Default::default(), &kube::api::Patch::Merge(patch))
        .await?;
    let event = stage.event("app", "GitOperationSucceeded").await?;
    let expected = format!("no changes since last reconciliation: observed revision 'main@sha1:{commit}'");
    assert_eq!(event.message.unwrap(), expected);
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_builds_nothing_anew_and_follows_a_moved_address() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let commit = repository.commit_files(&[("a", "1")]).await?;
    let revision = format!("main@sha1:{commit}");
    let mut stage = Stage::start("restart").await?;
    stage.apply("app", repository.url(), json!({})).await?;
    let before = stage.ready("app", &revision).await?.artifact.unwrap();
    stage.stop().await;
    // As if an earlier process had been served elsewhere.
    let patch = json!({"status": {"artifact": {"url": "http://gone.example/x.tar.gz"}}});
    let patch = kube::api::Patch::Merge(patch);
    stage.api().patch_status("app", &Default::default(), &patch).await?;
    server.clear_requests();
    stage.restart(|_| {}).await?;
    let status = stage
        .wait("app", "address follows", |status| {
            status.artifact.as_ref().is_some_and(|now| now.url == before.url)
        })
        .await?;
    assert_eq!(status.artifact.unwrap(), before);
    assert_eq!(server.request_count("app"), 2, "one listing, no fetch");
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_touches_only_what_fleet_objects_own() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let commit = repository.commit_files(&[("a", "1")]).await?;
    let mut stage = Stage::start_with("filter", |options| {
        options.filter = std::sync::Arc::new(|object| {
            object
                .metadata
                .labels
                .as_ref()
                .is_some_and(|labels| labels.contains_key(labels::FLEET_KIND))
        });
    })
    .await?;
    stage.apply("foreign", repository.url(), json!({})).await?;
    stage.apply("ours", repository.url(), json!({"suspend": true})).await?;
    let label = json!({"metadata": {"labels": {labels::FLEET_KIND: "FleetKustomization"}}});
    let patch = kube::api::Patch::Merge(label);
    stage.api().patch("ours", &Default::default(), &patch).await?;
    stage.apply("ours", repository.url(), json!({})).await?;
    stage.ready("ours", &format!("main@sha1:{commit}")).await?;
    let foreign = stage.api().get("foreign").await?;
    assert_eq!(finalizers(&foreign), Vec::<String>::new());
    assert!(foreign.status.is_none_or(|status| status.conditions.is_empty()));
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_retried_with_growing_delays() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let mut stage = Stage::start_with("retry", |options| {
        options.min_retry_delay = Duration::from_millis(200);
        options.max_retry_delay = Duration::from_secs(600);
    })
    .await?;
    stage.apply("app", &server.repo_url("none"), json!({})).await?;
    stage.failed("app", "GitOperationFailed").await?;
    // 200, 400, 800 and 1600 ms lie before the fifth attempt, so ten seconds see it and no more than seven.
    eventually(DEADLINE, "five attempts", || async {
        if server.request_count("none") >= 5 {
            Ok(())
        } else {
            Err(anyhow!("{}", server.request_count("none")))
        }
    })
    .await?;
    assert!(server.request_count("none") <= 7, "{}", server.request_count("none"));
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_artifact_costs_few_writes() -> Result<()> {
    let Some(_) = plane().await.audit_log() else {
        println!("skipped: this plane records no audit log");
        return Ok(());
    };
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let commit = repository.commit_files(&[("a", "1")]).await?;
    let mut stage = Stage::start("writes").await?;
    stage.apply("app", repository.url(), json!({})).await?;
    stage.ready("app", &format!("main@sha1:{commit}")).await?;
    stage.event("app", "NewArtifact").await?;
    stage.stop().await;
    let log = std::fs::read_to_string(plane().await.audit_log().unwrap())?;
    let writes: Vec<String> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|entry| {
            entry["stage"] == "ResponseComplete" && entry["objectRef"]["namespace"] == stage.namespace.as_str()
        })
        .filter(|entry| matches!(entry["verb"].as_str(), Some("patch" | "update" | "create")))
        .filter(|entry| matches!(entry["objectRef"]["resource"].as_str(), Some("gitrepositories")))
        .map(|entry| format!("{} {}", entry["verb"], entry["objectRef"]["subresource"]))
        .collect();
    // The test's own, the finalizer, that work has begun, and the result.
    assert!(writes.len() <= 4, "{writes:?}");
    Ok(())
}
