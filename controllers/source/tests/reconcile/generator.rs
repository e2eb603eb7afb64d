//! ArtifactGenerator against a real API server: artifacts made of a git repository and a bucket.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Event;
use kube::{Api, api::ListParams};
use nave_artifact::{FileTree, Limits, unpack};
use nave_bed::{GitServer, GitServerOptions, eventually};
use serde_json::{Value, json};

use crate::{
    objects::condition,
    stage::{DEADLINE, Stage},
};

const KIND: &str = "ArtifactGenerator";

fn text(tree: &FileTree, path: &str) -> Option<String> {
    Some(String::from_utf8_lossy(&tree.get(path)?.data).into_owned())
}

async fn ready(stage: &Stage, name: &str) -> Result<Value> {
    let object = stage
        .wait_object(KIND, name, "ready", |object| {
            condition(&object["status"], "Ready").is_some_and(|ready| {
                ready["status"] == "True" && ready["observedGeneration"] == object["metadata"]["generation"]
            })
        })
        .await?;
    Ok(object)
}

async fn external(stage: &Stage, name: &str) -> Result<Value> {
    stage
        .wait_object("ExternalArtifact", name, "ready", |object| {
            condition(&object["status"], "Ready").is_some_and(|ready| ready["status"] == "True")
        })
        .await
}

async fn files(external: &Value) -> Result<FileTree> {
    let artifact = &external["status"]["artifact"];
    let url = artifact["url"].as_str().context("it is served")?;
    let bytes = reqwest::get(url).await?.error_for_status()?.bytes().await?;
    assert_eq!(artifact["digest"], nave_artifact::Digest::sha256(&bytes).to_string());
    Ok(unpack(bytes.as_ref(), &Limits::default())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monorepo_is_split_and_a_commit_elsewhere_wakes_nobody() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repo = server.create_repo("mono").await?;
    repo.commit_files(&[
        ("apps/one/a.yaml", "1"),
        ("apps/two/a.yaml", "2"),
        ("base/v.yaml", "a: 1\n"),
    ])
    .await?;
    let mut stage = Stage::start("generator").await?;
    stage.apply("mono", repo.url(), json!({})).await?;
    let spec = json!({
        "commonMetadata": {"labels": {"team": "x"}, "annotations": {"note": "y"}},
        "sources": [{"alias": "mono", "kind": "GitRepository", "name": "mono"}],
        "artifacts": [
            {"name": "one", "originRevision": "@mono",
             "copy": [{"from": "@mono/base/**", "to": "@artifact/"}, {"from": "@mono/apps/one/**", "to": "@artifact/"}]},
            {"name": "two", "revision": "@mono", "copy": [{"from": "@mono/apps/two", "to": "@artifact/"}]},
        ],
    });
    stage.apply_object(KIND, "split", spec.clone()).await?;
    let object = ready(&stage, "split").await?;
    assert_eq!(
        object["status"]["inventory"].as_array().map(Vec::len),
        Some(2),
        "{object}"
    );
    let one = external(&stage, "one").await?;
    let tree = files(&one).await?;
    assert_eq!(
        (text(&tree, "a.yaml").as_deref(), text(&tree, "v.yaml").as_deref()),
        (Some("1"), Some("a: 1\n"))
    );
    let artifact = &one["status"]["artifact"];
    let digest = artifact["digest"].as_str().context("it has a digest")?;
    assert_eq!(artifact["revision"], format!("latest@{digest}"));
    let origin = artifact["metadata"]["org.opencontainers.image.revision"]
        .as_str()
        .context("it has an origin")?;
    assert!(origin.starts_with("main@sha1:"), "{origin}");
    assert_eq!(one["metadata"]["labels"]["team"], "x");
    assert_eq!(one["metadata"]["annotations"]["note"], "y");
    assert_eq!(
        one["metadata"]["labels"]["app.kubernetes.io/managed-by"],
        "source-watcher"
    );
    assert_eq!(
        one["metadata"]["labels"]["source.extensions.fluxcd.io/generator"],
        object["metadata"]["uid"]
    );
    assert_eq!(one["spec"]["sourceRef"]["kind"], KIND);
    let two = external(&stage, "two").await?;
    assert_eq!(two["status"]["artifact"]["revision"], origin);
    assert_eq!(text(&files(&two).await?, "two/a.yaml").as_deref(), Some("2"));

    // A commit elsewhere: a revision of content stays, one that is a source's moves on.
    repo.commit_files(&[("docs/b.md", "x")]).await?;
    stage.trigger("mono");
    let moved = stage
        .wait_object("ExternalArtifact", "two", "at the next revision", |object| {
            object["status"]["artifact"]["revision"] != two["status"]["artifact"]["revision"]
        })
        .await?;
    assert_eq!(
        moved["status"]["artifact"]["digest"],
        two["status"]["artifact"]["digest"]
    );
    ready(&stage, "split").await?;
    let same = external(&stage, "one").await?;
    assert_eq!(same["status"]["artifact"]["revision"], artifact["revision"]);

    // A commit to one of them.
    repo.commit_files(&[("apps/one/a.yaml", "3")]).await?;
    stage.trigger("mono");
    let changed = stage
        .wait_object("ExternalArtifact", "one", "with other content", |object| {
            object["status"]["artifact"]["revision"] != artifact["revision"]
        })
        .await?;
    assert_eq!(text(&files(&changed).await?, "a.yaml").as_deref(), Some("3"));

    // What nobody wants any more goes, with its files; what a stranger has stays.
    let mut fewer = spec.clone();
    fewer["artifacts"].as_array_mut().context("there are some")?.remove(1);
    stage.apply_object(KIND, "split", fewer).await?;
    eventually(DEADLINE, "the orphan is gone", || async {
        anyhow::ensure!(stage.objects("ExternalArtifact").get_opt("two").await?.is_none());
        anyhow::ensure!(
            !stage
                .file(&format!("externalartifact/{}/two", stage.namespace))
                .exists()
        );
        Ok(())
    })
    .await?;
    stage
        .apply_object(
            "ExternalArtifact",
            "stranger",
            json!({"sourceRef": {"kind": "X", "name": "x"}}),
        )
        .await?;
    ready(&stage, "split").await?;

    // A wiped volume, and an object that somebody deleted, are made again.
    let path = changed["status"]["artifact"]["path"]
        .as_str()
        .context("it has a path")?;
    std::fs::remove_file(stage.file(path))?;
    stage.reconcile(KIND, "split", "1").await?;
    files(&external(&stage, "one").await?).await?;
    stage
        .objects("ExternalArtifact")
        .delete("one", &Default::default())
        .await?;
    stage.reconcile(KIND, "split", "2").await?;
    files(&external(&stage, "one").await?).await?;

    // Suspended, it lets a commit pass; resumed, it makes up for it at once.
    let generators = stage.objects(KIND);
    let annotate = async |value: Value| -> Result<()> {
        let patch = json!({"metadata": {"annotations": {"source.extensions.fluxcd.io/reconcile": value}}});
        let patch = kube::api::Patch::Merge(patch);
        generators.patch("split", &Default::default(), &patch).await?;
        Ok(())
    };
    annotate(json!("Disabled")).await?;
    let before = external(&stage, "one").await?["status"]["artifact"].clone();
    repo.commit_files(&[("apps/one/a.yaml", "4")]).await?;
    let mono = stage.object("GitRepository", "mono").await?["status"]["artifact"]["revision"].clone();
    stage.trigger("mono");
    stage
        .wait_object("GitRepository", "mono", "at the next revision", |object| {
            object["status"]["artifact"]["revision"] != mono
        })
        .await?;
    stage.reconcile(KIND, "split", "3").await?;
    assert_eq!(external(&stage, "one").await?["status"]["artifact"], before);
    annotate(Value::Null).await?;
    let changed = stage
        .wait_object("ExternalArtifact", "one", "with what was missed", |object| {
            object["status"]["artifact"]["digest"] != before["digest"]
        })
        .await?;
    assert_eq!(text(&files(&changed).await?, "a.yaml").as_deref(), Some("4"));

    stage.objects(KIND).delete("split", &Default::default()).await?;
    eventually(DEADLINE, "everything of it is gone", || async {
        anyhow::ensure!(stage.objects(KIND).get_opt("split").await?.is_none());
        anyhow::ensure!(stage.objects("ExternalArtifact").get_opt("one").await?.is_none());
        anyhow::ensure!(
            !stage
                .file(&format!("externalartifact/{}/one", stage.namespace))
                .exists()
        );
        Ok(())
    })
    .await?;
    assert!(stage.objects("ExternalArtifact").get_opt("stranger").await?.is_some());
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_that_match_a_pattern_and_what_is_refused() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repo = server.create_repo("pattern").await?;
    repo.commit_files(&[("apps/One/a.yaml", "1"), ("apps/two/a.yaml", "2")])
        .await?;
    let mut stage = Stage::start_with("generator-pattern", |options| options.no_cross_namespace_refs = true).await?;
    let source = json!([{"alias": "git", "kind": "GitRepository", "name": "late"}]);
    let spec = |pattern: &str, name: &str, from: &str| {
        json!({"pathPattern": pattern, "sources": source,
               "artifacts": [{"name": name, "copy": [{"from": from, "to": "@artifact/"}]}]})
    };
    stage
        .apply_object(KIND, "each", spec("@git/apps/{app}", "app-{app}", "@git/apps/{app}/**"))
        .await?;
    // Its source comes later, and wakes it.
    let message = stage.failed_object(KIND, "each", "SourceFetchFailed").await?;
    assert!(
        message.starts_with("get sources failed: source 'GitRepository/"),
        "{message}"
    );
    stage.apply("late", repo.url(), json!({})).await?;
    ready(&stage, "each").await?;
    let one = external(&stage, "app-one").await?;
    assert_eq!(one["metadata"]["labels"]["app"], "one");
    assert_eq!(text(&files(&one).await?, "a.yaml").as_deref(), Some("1"));
    external(&stage, "app-two").await?;

    for (name, spec, reason, part) in [
        (
            "label",
            spec("@git/apps/{_a}", "a", "@git/x"),
            "BuildFailed",
            "not a valid Kubernetes label key",
        ),
        (
            "missing",
            spec("", "missing-files", "@git/nowhere"),
            "BuildFailed",
            "source 'nowhere' does not exist",
        ),
    ] {
        let mut spec = spec;
        if spec["pathPattern"] == "" {
            spec.as_object_mut().context("it is one")?.remove("pathPattern");
        }
        stage.apply_object(KIND, name, spec).await?;
        let message = stage.failed_object(KIND, name, reason).await?;
        assert!(message.contains(part), "{name}: {message}");
    }
    let mut far = spec("@git/apps/{app}", "far-{app}", "@git/apps/{app}");
    far["sources"][0]["namespace"] = json!("elsewhere");
    stage.apply_object(KIND, "far", far).await?;
    let message = stage.failed_object(KIND, "far", "AccessDenied").await?;
    assert_eq!(
        message,
        "cross-namespace reference to source GitRepository/elsewhere/late is not allowed"
    );
    let status = stage.object(KIND, "far").await?["status"].clone();
    assert!(
        condition(&status, "Stalled").is_some() && condition(&status, "Reconciling").is_none(),
        "{status}"
    );

    let api: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let told = ListParams::default().fields("involvedObject.name=far,reason=AccessDenied");
    eventually(DEADLINE, "an event tells of it", || async {
        anyhow::ensure!(!api.list(&told).await?.items.is_empty());
        Ok(())
    })
    .await?;
    stage.stop().await;
    Ok(())
}
