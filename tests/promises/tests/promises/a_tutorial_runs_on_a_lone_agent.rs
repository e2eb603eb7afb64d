//! The GitRepository and the Kustomization of a Flux tutorial reconcile unchanged on an agent without a hub.

use std::time::Duration;

use anyhow::{Context, Result};
use nave_bed::{Plane, PlaneOptions, eventually};
use nave_demo::{Agent, ExampleRepository, examples, fleet};
use nave_promises::observe;
use serde_json::{Value, json};

use crate::support::CHANGE;

#[tokio::test(flavor = "multi_thread")]
async fn a_tutorial_runs_on_a_lone_agent() -> Result<()> {
    let plane = Plane::start(PlaneOptions::named("lone")).await?;
    if plane.skip("the tutorial", plane.has_workloads(), "its plane runs no pods") {
        return Ok(());
    }
    let client = plane.client();
    let folder = tempfile::tempdir()?;
    let mut agent = Agent::start(&plane, folder.path(), None, &[]).await?;
    let repository = ExampleRepository::start(Some(&agent.hint_url)).await?;
    fleet::apply(
        &client,
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "flux-system"}}),
    )
    .await?;
    for file in ["source.yaml", "kustomization.yaml"] {
        for mut object in examples::objects(&examples::folder().join("single-cluster").join(file))? {
            if object["kind"] == "GitRepository" {
                object["spec"]["url"] = json!(repository.url);
            }
            fleet::apply(&client, &object).await?;
        }
    }
    let first = ready(&client, None)
        .await
        .inspect_err(|_| eprintln!("{}", agent.log()))?;
    let source = fleet::get(
        &client,
        "source.toolkit.fluxcd.io/v1",
        "GitRepository",
        "flux-system",
        "tutorial",
    )
    .await?;
    let revision = source["status"]["artifact"]["revision"]
        .as_str()
        .context("the source has an artifact")?;
    assert_eq!(first["status"]["lastAppliedRevision"], revision);
    assert!(revision.starts_with("main@sha1:"), "{revision}");
    let hello = observe::deployment(&client, "default", "hello")
        .await?
        .context("hello runs")?;
    assert_eq!(hello.status.unwrap_or_default().ready_replicas, Some(2));

    // A change arrives by the hook, long before the interval.
    let commit = repository
        .replace(
            "hello 1.1.0",
            "single-cluster/deploy/deployment.yaml",
            "hello:1.0.0",
            "hello:1.1.0",
        )
        .await?;
    ready(&client, Some(&commit))
        .await
        .inspect_err(|_| eprintln!("{}", agent.log()))?;
    let hello = observe::deployment(&client, "default", "hello")
        .await?
        .context("hello runs")?;
    assert_eq!(
        observe::image(&hello),
        Some("registry.example.com/tutorial/hello:1.1.0")
    );

    // Deleting the Kustomization prunes what it applied, and nothing hangs on a finalizer.
    let kustomizations: kube::Api<nave_crds::Kustomization> = kube::Api::namespaced(client.clone(), "flux-system");
    kustomizations
        .delete("tutorial", &kube::api::DeleteParams::default())
        .await?;
    eventually(CHANGE, "the Kustomization and its objects gone", || async {
        anyhow::ensure!(
            kustomizations.get_opt("tutorial").await?.is_none(),
            "the Kustomization is still there"
        );
        anyhow::ensure!(
            observe::deployment(&client, "default", "hello").await?.is_none(),
            "the Deployment is still there"
        );
        Ok(())
    })
    .await?;
    agent.stop().await
}

async fn ready(client: &kube::Client, commit: Option<&str>) -> Result<Value> {
    eventually(Duration::from_secs(120), "the Kustomization ready", || async {
        let object = fleet::get(
            client,
            "kustomize.toolkit.fluxcd.io/v1",
            "Kustomization",
            "flux-system",
            "tutorial",
        )
        .await?;
        let applied = object["status"]["lastAppliedRevision"].as_str().unwrap_or_default();
        anyhow::ensure!(
            fleet::is_ready(&object) && commit.is_none_or(|commit| applied.contains(commit)),
            "{:#}",
            object["status"]
        );
        Ok(object)
    })
    .await
}
