//! HelmRepository and HelmChart: indexes, packages, folders, registries.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nave_bed::{GitServer, GitServerOptions, Registry, RegistryOptions};
use nave_oci::{Access, chart_artifact};
use serde_json::{Value, json};

use crate::{
    chart_server::{ChartServer, package},
    objects::condition,
    oci::{open_registry, remote, user},
    stage::Stage,
};

const PASSWORD: &str = "canary-77d0aa";
const TIMEOUT: Duration = Duration::from_secs(60);

fn chart_spec(kind: &str, chart: &str, fields: Value) -> Value {
    let mut spec = json!({"chart": chart, "interval": "1h", "sourceRef": {"kind": kind, "name": "repo"}});
    for (field, value) in fields.as_object().expect("fields are an object") {
        spec[field] = value.clone();
    }
    spec
}

fn file(tree: &nave_artifact::FileTree, path: &str) -> Option<String> {
    Some(String::from_utf8_lossy(&tree.get(path)?.data).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_and_its_charts() -> Result<()> {
    let server = ChartServer::start().await?;
    let first = package(
        "app",
        "1.2.3",
        &[("values.yaml", "a: 1\n"), ("extra.yaml", "b: {c: 2}\n")],
    );
    server.publish("app", "1.2.3", first.clone(), "  - {name: app, version: broken}\n");
    let mut stage = Stage::start("helm").await?;
    let repository = json!({"url": server.url, "interval": "1h"});
    stage.apply_object("HelmRepository", "repo", repository.clone()).await?;
    let status = stage
        .wait_object("HelmRepository", "repo", "ready", |object| {
            condition(&object["status"], "Ready").is_some_and(|ready| ready["status"] == "True")
        })
        .await?["status"]
        .clone();
    let index: Value = serde_json::from_slice(&stage.fetch(&status).await?)?;
    assert_eq!(index["entries"]["app"].as_array().map(Vec::len), Some(1), "{index}");
    let revision = status["artifact"]["revision"]
        .as_str()
        .context("it has a revision")?
        .to_owned();
    assert_ne!(
        status["artifact"]["digest"], revision,
        "the revision is that of the YAML"
    );
    assert_eq!(
        status["artifact"]["path"],
        format!(
            "helmrepository/{}/repo/index-{}.yaml",
            stage.namespace,
            revision.trim_start_matches("sha256:")
        )
    );
    assert!(
        status["url"]
            .as_str()
            .is_some_and(|url| url.ends_with("/repo/index.yaml"))
    );
    let message = &condition(&status, "Ready").context("it is ready")?["message"];
    assert_eq!(*message, format!("stored artifact: revision '{revision}'"));

    stage
        .apply_object(
            "HelmChart",
            "app",
            chart_spec("HelmRepository", "app", json!({"version": "1.x"})),
        )
        .await?;
    let status = stage.ready_object("HelmChart", "app", "1.2.3").await?;
    assert!(stage.fetch(&status).await? == first, "the package is stored as it is");
    assert_eq!(status["observedSourceArtifactRevision"], revision);
    assert_eq!(status["observedChartName"], "app");
    let stored = condition(&status, "ArtifactInStorage").context("it is stored")?;
    assert_eq!(
        (&stored["reason"], &stored["message"]),
        (
            &json!("ChartPullSucceeded"),
            &json!("pulled 'app' chart with version '1.2.3'")
        )
    );
    stage.event("app", "ChartPullSucceeded").await?;

    // Nothing new: one look at the index, and no package.
    server.seen();
    let object = stage.reconcile("HelmChart", "app", "1").await?;
    assert_eq!(object["status"]["artifact"], status["artifact"]);
    assert_eq!(condition(&object["status"], "ArtifactInStorage"), Some(stored));
    let object = stage.reconcile("HelmRepository", "repo", "1").await?;
    assert_eq!(object["status"]["artifact"]["revision"], revision);
    let seen: Vec<String> = server.seen().into_iter().map(|(path, _)| path).collect();
    assert_eq!(seen, ["/charts/index.yaml"]);

    // A new version is seen by the repository, and wakes the chart.
    let more = "  - name: app\n    version: 1.2.3\n    urls: [app-1.2.3.tgz]\n";
    server.publish("app", "1.3.0", package("app", "1.3.0", &[]), more);
    stage.request("HelmRepository", "repo", "2").await?;
    stage.ready_object("HelmChart", "app", "1.3.0").await?;

    // Other values make another package, whose version says so.
    let fields = json!({"version": "1.2.3", "valuesFiles": ["values.yaml", "extra.yaml", "missing.yaml"]});
    stage
        .apply_object(
            "HelmChart",
            "values",
            chart_spec("HelmRepository", "app", fields.clone()),
        )
        .await?;
    let message = stage.failed_object("HelmChart", "values", "ValuesFilesError").await?;
    assert_eq!(
        message,
        "values files merge error: no values file found at path 'missing.yaml'"
    );
    let mut fields = fields;
    fields["ignoreMissingValuesFiles"] = json!(true);
    stage
        .apply_object("HelmChart", "values", chart_spec("HelmRepository", "app", fields))
        .await?;
    let status = stage.ready_object("HelmChart", "values", "1.2.3+2").await?;
    let tree = stage.fetch_tree(&status).await?;
    assert_eq!(file(&tree, "app/values.yaml").as_deref(), Some("a: 1\nb:\n  c: 2\n"));
    assert!(
        file(&tree, "app/Chart.yaml")
            .context("it has one")?
            .contains("version: 1.2.3+2\n")
    );
    assert_eq!(status["observedValuesFiles"], json!(["values.yaml", "extra.yaml"]));
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_index_or_a_package() -> Result<()> {
    let server = ChartServer::start().await?;
    server.publish("app", "1.2.3", package("app", "1.2.3", &[]), "");
    let mut stage = Stage::start_with("helm-wrong", |options| options.helm_index_max_size = 2000).await?;
    let chart = |fields: Value| chart_spec("HelmRepository", "app", fields);
    stage.apply_object("HelmChart", "early", chart(json!({}))).await?;
    let message = stage.failed_object("HelmChart", "early", "SourceUnavailable").await?;
    assert_eq!(message, "failed to get source: HelmRepository 'repo' not found");
    stage
        .apply_object("HelmRepository", "repo", json!({"url": server.url, "interval": "1h"}))
        .await?;
    let status = stage.ready_object("HelmChart", "early", "1.2.3").await?;

    stage
        .apply_object("HelmChart", "none", chart(json!({"version": "2.x"})))
        .await?;
    let message = stage
        .failed_object("HelmChart", "none", "InvalidChartReference")
        .await?;
    assert!(
        message.ends_with("no 'app' chart with version matching '2.x' found"),
        "{message}"
    );
    stage
        .apply_object("HelmChart", "other", chart_spec("HelmRepository", "other", json!({})))
        .await?;
    let message = stage
        .failed_object("HelmChart", "other", "InvalidChartReference")
        .await?;
    assert!(message.contains("chart 'other' is not in the index"), "{message}");
    stage
        .apply_object("HelmChart", "bucket", chart_spec("Bucket", "app", json!({})))
        .await?;
    let message = stage.failed_object("HelmChart", "bucket", "SourceUnavailable").await?;
    assert!(message.contains("Bucket 'repo' not found"), "{message}");

    // A package that is another one than the index says.
    server.put("app-1.2.3.tgz", package("app", "1.2.3", &[("more", "x")]));
    stage.apply_object("HelmChart", "forged", chart(json!({}))).await?;
    let message = stage.failed_object("HelmChart", "forged", "ChartPullError").await?;
    assert!(message.contains("the index says"), "{message}");
    server.publish("app", "1.2.3", package("liar", "1.2.3", &[]), "");
    stage.request("HelmRepository", "repo", "1").await?;
    stage
        .failed_saying("HelmChart", "forged", "the package is of chart 'liar'")
        .await?;

    // The last good index stays.
    let large = "#".repeat(3000);
    for (index, reason, said) in [
        ("<html>not here</html>", "IndexationFailed", "an index is a map"),
        ("entries: {}\n", "IndexationFailed", "no API version specified"),
        (large.as_str(), "Failed", "is larger than 2000 bytes"),
    ] {
        server.put("index.yaml", index);
        stage.request("HelmRepository", "repo", said).await?;
        let found = stage.failed_saying("HelmRepository", "repo", said).await?;
        assert_eq!(found, reason);
    }
    let object = stage.object("HelmRepository", "repo").await?;
    assert!(!object["status"]["artifact"].is_null());
    assert!(stage.fetch(&status).await?.len() > 100);
    stage
        .apply_object("HelmRepository", "wrong", json!({"url": "oci://h/a", "interval": "1h"}))
        .await?;
    stage.failed_object("HelmRepository", "wrong", "URLInvalid").await?;
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_stay_with_the_repository() -> Result<()> {
    let server = ChartServer::start().await?;
    let other = ChartServer::start().await?;
    server.authorize("Basic bWU6Y2FuYXJ5LTc3ZDBhYQ==");
    other.put("app-1.0.0.tgz", package("app", "1.0.0", &[]));
    server.put(
        "index.yaml",
        format!(
            "apiVersion: v1\nentries:\n  app:\n  - name: app\n    version: 1.0.0\n    urls: ['{}/app-1.0.0.tgz']\n",
            other.url
        ),
    );
    let mut stage = Stage::start("helm-auth").await?;
    let mut repository = json!({"url": server.url, "interval": "1h"});
    stage.apply_object("HelmRepository", "repo", repository.clone()).await?;
    let reason = stage.failed_saying("HelmRepository", "repo", "none are given").await?;
    assert_eq!(reason, "Failed");
    repository["secretRef"] = json!({"name": "repo"});
    stage.apply_object("HelmRepository", "repo", repository.clone()).await?;
    stage
        .failed_object("HelmRepository", "repo", "AuthenticationFailed")
        .await?;
    stage
        .secret("repo", &[("username", "me"), ("password", "canary-wrong")])
        .await?;
    stage
        .failed_saying("HelmRepository", "repo", "(HTTP 401): check the credentials")
        .await?;
    stage
        .secret("repo", &[("username", "me"), ("password", PASSWORD)])
        .await?;
    let chart = chart_spec("HelmRepository", "app", json!({}));
    stage.apply_object("HelmChart", "app", chart.clone()).await?;
    stage.ready_object("HelmChart", "app", "1.0.0").await?;
    assert!(
        other.seen().iter().all(|(_, authorized)| !authorized),
        "the other host gets none"
    );

    repository["passCredentials"] = json!(true);
    stage.apply_object("HelmRepository", "repo", repository).await?;
    stage
        .wait_object("HelmRepository", "repo", "seen", |object| {
            object["status"]["observedGeneration"] == object["metadata"]["generation"]
        })
        .await?;
    stage.apply_object("HelmChart", "again", chart).await?;
    stage.ready_object("HelmChart", "again", "1.0.0").await?;
    assert!(other.seen().iter().any(|(_, authorized)| *authorized), "now it does");
    let text = stage.object("HelmRepository", "repo").await?.to_string();
    assert!(!text.contains("canary"), "{text}");
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_of_a_registry() -> Result<()> {
    let registry = open_registry().await;
    let push = async |url: String, access: Access, version: &str| -> Result<()> {
        let remote = remote(&format!("{url}/app"), access)?;
        let json = json!({"apiVersion": "v2", "name": "app", "version": version}).to_string();
        let artifact = chart_artifact(package("app", version, &[]).into(), json.into(), Default::default());
        remote
            .push_artifact(&version.replace('+', "_"), artifact, TIMEOUT)
            .await?;
        Ok(())
    };
    let url = registry.oci_url("helm/charts");
    push(url.clone(), Access::default(), "1.2.3").await?;
    push(url.clone(), Access::default(), "1.10.0+build.5").await?;
    let mut stage = Stage::start("helm-oci").await?;
    stage
        .apply_object("HelmRepository", "repo", json!({"url": url, "type": "oci"}))
        .await?;
    let chart = |fields: Value| chart_spec("HelmRepository", "app", fields);
    stage.apply_object("HelmChart", "latest", chart(json!({}))).await?;
    let status = stage.ready_object("HelmChart", "latest", "1.10.0+build.5").await?;
    assert!(stage.fetch(&status).await? == package("app", "1.10.0+build.5", &[]));
    stage
        .apply_object("HelmChart", "exact", chart(json!({"version": "1.2.3"})))
        .await?;
    stage.ready_object("HelmChart", "exact", "1.2.3").await?;
    stage
        .apply_object("HelmChart", "none", chart(json!({"version": "9.9.9"})))
        .await?;
    let message = stage.failed_object("HelmChart", "none", "ChartPullError").await?;
    assert!(message.contains("tag '9.9.9' not found in oci://"), "{message}");

    // The repository itself is never worked on.
    let object = stage.object("HelmRepository", "repo").await?;
    assert_eq!(object["status"], json!({"observedGeneration": -1}));
    assert!(!stage.has_finalizer("HelmRepository", "repo").await?);

    let guarded = Registry::start(RegistryOptions {
        user: Some(("me".into(), PASSWORD.into())),
        ..Default::default()
    })
    .await?;
    let url = guarded.oci_url("charts");
    push(url.clone(), user("me"), "1.0.0").await?;
    let repository = json!({"url": url, "type": "oci", "secretRef": {"name": "repo"}});
    stage
        .secret("repo", &[("username", "me"), ("password", "canary-wrong")])
        .await?;
    stage.apply_object("HelmRepository", "repo", repository).await?;
    stage
        .apply_object("HelmChart", "guarded", chart(json!({"version": "1.x"})))
        .await?;
    let message = stage
        .failed_object("HelmChart", "guarded", "AuthenticationFailed")
        .await?;
    assert!(
        message.contains("check the credentials") && !message.contains("canary"),
        "{message}"
    );
    stage
        .secret("repo", &[("username", "me"), ("password", PASSWORD)])
        .await?;
    stage.ready_object("HelmChart", "guarded", "1.0.0").await?;
    stage.docker_secret("repo", guarded.address(), "me", PASSWORD).await?;
    stage
        .apply_object("HelmChart", "docker", chart(json!({"version": "1.x"})))
        .await?;
    stage.ready_object("HelmChart", "docker", "1.0.0").await?;
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_a_git_repository() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let chart = "apiVersion: v2\nname: app\nversion: 1.2.3\n";
    let files = [
        ("charts/app/Chart.yaml", chart),
        ("charts/app/values.yaml", "a: 1\n"),
        ("charts/app/templates/a.yaml", "a: {{ .Values.a }}\n"),
        ("charts/app/notes.txt", "x"),
        ("charts/app/.helmignore", "*.txt\n"),
        ("values/prod.yaml", "a: 2\n"),
    ];
    let first = repository.commit_files(&files).await?;
    let mut stage = Stage::start("helm-git").await?;
    stage.apply("repo", repository.url(), json!({})).await?;
    stage
        .apply_object(
            "HelmChart",
            "app",
            chart_spec("GitRepository", "./charts/app", json!({})),
        )
        .await?;
    let status = stage.ready_object("HelmChart", "app", "1.2.3").await?;
    let tree = stage.fetch_tree(&status).await?;
    assert_eq!(
        crate::stage::paths(&tree),
        [
            "app/.helmignore",
            "app/Chart.yaml",
            "app/templates/a.yaml",
            "app/values.yaml"
        ]
    );
    let stored = condition(&status, "ArtifactInStorage").context("it is stored")?;
    assert_eq!(
        (&stored["reason"], &stored["message"]),
        (
            &json!("ChartPackageSucceeded"),
            &json!("packaged 'app' chart with version '1.2.3'")
        )
    );
    assert_eq!(status["observedSourceArtifactRevision"], format!("main@sha1:{first}"));

    let fields =
        json!({"reconcileStrategy": "Revision", "valuesFiles": ["charts/app/values.yaml", "values/prod.yaml"]});
    stage
        .apply_object(
            "HelmChart",
            "revision",
            chart_spec("GitRepository", "charts/app", fields),
        )
        .await?;
    let version = |commit: &str| format!("1.2.3+{}.1", &commit[..12]);
    let found = stage.ready_object("HelmChart", "revision", &version(&first)).await?;
    let tree = stage.fetch_tree(&found).await?;
    assert_eq!(file(&tree, "app/values.yaml").as_deref(), Some("a: 2\n"));

    // By version nothing new is made of a commit; by revision it is, without being asked.
    let second = repository.commit_files(&[("values/prod.yaml", "a: 3\n")]).await?;
    stage.annotate("repo", "reconcile.fluxcd.io/requestedAt", "1").await?;
    let found = stage.ready_object("HelmChart", "revision", &version(&second)).await?;
    assert_eq!(
        file(&stage.fetch_tree(&found).await?, "app/values.yaml").as_deref(),
        Some("a: 3\n")
    );
    let object = stage
        .wait_object("HelmChart", "app", "has looked", |object| {
            object["status"]["observedSourceArtifactRevision"] == format!("main@sha1:{second}")
        })
        .await?;
    assert_eq!(object["status"]["artifact"], status["artifact"]);

    stage
        .apply_object(
            "HelmChart",
            "none",
            chart_spec("GitRepository", "charts/none", json!({})),
        )
        .await?;
    let message = stage
        .failed_object("HelmChart", "none", "InvalidChartReference")
        .await?;
    assert_eq!(
        message,
        "invalid chart reference: no such file or directory: 'charts/none'"
    );
    stage
        .apply_object("HelmChart", "out", chart_spec("GitRepository", "../x", json!({})))
        .await?;
    let message = stage.failed_object("HelmChart", "out", "InvalidChartReference").await?;
    assert!(message.ends_with("path '../x' leads out of the source"), "{message}");
    stage.stop().await;
    Ok(())
}
