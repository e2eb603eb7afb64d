//! The manifests that `nave install` applies are enough: the real programs start with their arguments, as their service
//! accounts, and do their work.

use std::time::Duration;

use anyhow::{Context, Result};
use nave_bed::{Launch, Plane, PlaneOptions, Proc, binary, eventually, free_tcp_port};
use nave_demo::{ExampleRepository, Nave, examples, fleet};
use nave_object::yaml::{self, Dialect};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_enough_for_an_agent() -> Result<()> {
    let plane = Plane::start(PlaneOptions::named("manifests")).await?;
    if plane.skip("the agent's manifests", plane.has_workloads(), "its plane runs no pods") {
        return Ok(());
    }
    let installed = install(&plane, "--agent").await?;
    let folder = tempfile::tempdir()?;
    let storage = free_tcp_port()?;
    let agent = start(
        &plane,
        "nave-agent",
        &installed,
        "flux-system",
        &[
            format!("--storage-path={}", folder.path().join("data").display()),
            format!("--storage-addr=127.0.0.1:{storage}"),
            format!("--storage-adv-addr=127.0.0.1:{storage}"),
        ],
    )
    .await?;
    let repository = ExampleRepository::start(None).await?;
    let client = plane.client();
    for file in ["source.yaml", "kustomization.yaml"] {
        for mut object in examples::objects(&examples::folder().join("single-cluster").join(file))? {
            if object["kind"] == "GitRepository" {
                object["spec"]["url"] = json!(repository.url);
            }
            fleet::apply(&client, &object).await?;
        }
    }
    eventually(WITHIN, "the tutorial ready as the service account", || async {
        let object = fleet::get(
            &client,
            "kustomize.toolkit.fluxcd.io/v1",
            "Kustomization",
            "flux-system",
            "tutorial",
        )
        .await?;
        anyhow::ensure!(fleet::is_ready(&object), "{:#}", object["status"]);
        Ok(())
    })
    .await
    .inspect_err(|_| eprintln!("{}", agent.log_tail(40)))?;
    assert!(
        !agent.log().contains("forbidden"),
        "the agent lacks a right:\n{}",
        agent.log_tail(40)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_enough_for_a_hub() -> Result<()> {
    let plane = Plane::start(PlaneOptions::named("manifests-hub")).await?;
    if plane.skip("the hub's manifests", plane.has_workloads(), "its plane runs no pods") {
        return Ok(());
    }
    let installed = install(&plane, "--hub").await?;
    let folder = tempfile::tempdir()?;
    let (storage, link) = (free_tcp_port()?, free_tcp_port()?);
    let hub = start(
        &plane,
        "nave-hub",
        &installed,
        "nave-system",
        &[
            format!("--storage-path={}", folder.path().join("data").display()),
            format!("--storage-addr=127.0.0.1:{storage}"),
            format!("--storage-adv-addr=127.0.0.1:{storage}"),
            format!("--listen=127.0.0.1:{link}"),
            format!("--live-addr=127.0.0.1:{}", free_tcp_port()?),
            format!("--advertise=127.0.0.1:{link}"),
        ],
    )
    .await?;
    let client = plane.client();
    eventually(WITHIN, "the hub's addresses published", || async {
        let info = fleet::get(&client, "v1", "ConfigMap", "nave-system", "nave-hub-info").await?;
        anyhow::ensure!(
            info["data"]["rootPin"]
                .as_str()
                .is_some_and(|pin| pin.starts_with("sha256:")),
            "{info:#}"
        );
        Ok(())
    })
    .await
    .inspect_err(|_| eprintln!("{}", hub.log_tail(40)))?;
    assert!(
        !hub.log().contains("forbidden"),
        "the hub lacks a right:\n{}",
        hub.log_tail(40)
    );
    Ok(())
}

/// Applies what `nave install --export` prints, all but the Deployment's pods, which are ours to start. Gives back the
/// Deployment.
async fn install(plane: &Plane, what: &str) -> Result<Value> {
    let text = Nave::new(plane.kubeconfig_path())?
        .run(&["install", what, "--export"])
        .await?;
    let documents = yaml::read_documents(&text, Dialect::K8s).context("reading what nave install --export prints")?;
    let client = plane.client();
    let mut deployment = None;
    let (first, rest): (Vec<Value>, Vec<Value>) = documents
        .into_iter()
        .partition(|object| object["kind"] == "Namespace" || object["kind"] == "CustomResourceDefinition");
    for object in first.iter().chain(&rest) {
        if object["kind"] == "Deployment" {
            deployment = Some(object.clone());
            continue;
        }
        fleet::apply(&client, object).await?;
    }
    deployment.context("nave install exports no Deployment")
}

/// Starts the program with the Deployment's arguments and service account; `more` replaces what only a pod has.
async fn start(plane: &Plane, name: &str, deployment: &Value, namespace: &str, more: &[String]) -> Result<Proc> {
    let pod = &deployment["spec"]["template"]["spec"];
    let account = pod["serviceAccountName"]
        .as_str()
        .context("the pod names a service account")?;
    let kubeconfig = plane.service_account_kubeconfig(namespace, account).await?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), kubeconfig)?;
    let (_, path) = file.keep()?;
    let arguments = pod["containers"][0]["args"]
        .as_array()
        .context("the container has arguments")?;
    let arguments = arguments
        .iter()
        .filter_map(Value::as_str)
        .map(|text| text.replace("$(RUNTIME_NAMESPACE)", namespace));
    let health = free_tcp_port()?;
    let program = tokio::task::block_in_place(|| binary(name))?;
    let process = Launch::new(name, program)
        .args(arguments)
        .args(more)
        .arg(format!("--kubeconfig={}", path.display()))
        .arg(format!("--metrics-addr=127.0.0.1:{}", free_tcp_port()?))
        .arg(format!("--health-addr=127.0.0.1:{health}"))
        .env("RUNTIME_NAMESPACE", namespace)
        .start()?;
    process
        .wait_ready(&format!("http://127.0.0.1:{health}/readyz"), WITHIN)
        .await?;
    std::fs::remove_file(&path)?;
    Ok(process)
}
