//! An agent that is killed with -9 while it installs, upgrades, rolls back, tests or uninstalls a release finds what it
//! left when it comes back, and brings the release to its end: nobody unlocks anything by hand.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Secret},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use nave_bed::{Plane, PlaneOptions, eventually};
use nave_crds::HelmRelease;
use nave_demo::{Agent, ExampleRepository, fleet};
use serde_json::{Value, json};

const NAMESPACE: &str = "shop";
const NAME: &str = "shop";
/// How long a phase may take to begin or to end on a busy machine.
const PHASE: Duration = Duration::from_secs(120);
/// A phase that never ends by itself: the kill comes in the middle of it.
const NEVER: &str = "1h";

#[tokio::test(flavor = "multi_thread")]
async fn killed_agents_finish_their_releases() -> Result<()> {
    let plane = Plane::start(PlaneOptions::named("killed")).await?;
    if plane.skip(
        "killed agents",
        plane.has_workloads() && plane.obeys_annotations(),
        "its plane runs no pods",
    ) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut agent = Agent::start(&plane, folder.path(), None, &[]).await?;
    let repository = ExampleRepository::start(Some(&agent.hint_url)).await?;
    let stand = Stand {
        client: plane.client(),
        repository,
    };
    let result = promise(&stand, &mut agent).await;
    if result.is_err() {
        let log = agent.log();
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("--- agent\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
    }
    result?;
    agent.stop().await
}

async fn promise(stand: &Stand, agent: &mut Agent) -> Result<()> {
    for object in [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "charts", "namespace": NAMESPACE},
            "spec": {"url": stand.repository.url, "interval": "1m", "ref": {"branch": "main"}}}),
    ] {
        fleet::apply(&stand.client, &object).await?;
    }

    // Installing: before anything of the release is there.
    stand.publish("1.0.0", &job("pre-install", NEVER)).await?;
    stand.apply(json!({})).await?;
    stand
        .is_in("pending-install", "the hook runs", || stand.exists::<Job>("hook"))
        .await?;
    agent.kill9();
    stand.publish("1.0.1", "").await?;
    agent.restart().await?;
    stand.released("1.0.1").await.context("killed while installing")?;

    // Upgrading: everything is applied and waited for.
    stand.publish("1.1.0", &deployment(NEVER)).await?;
    stand
        .is_in("pending-upgrade", "it is waited for", || {
            stand.exists::<Deployment>("web")
        })
        .await?;
    agent.kill9();
    stand.publish("1.1.1", &job("pre-rollback", NEVER)).await?;
    agent.restart().await?;
    stand.released("1.1.1").await.context("killed while upgrading")?;

    // Rolling back: the hook of the version before runs.
    // After the restart it is rolled back again, and that ends only by its own time: a newer chart cuts no remedy short.
    let remedy = json!({
        "upgrade": {"timeout": "2s", "remediation": {"remediateLastFailure": true}},
        "rollback": {"timeout": "20s"},
    });
    stand.apply(remedy).await?;
    stand.publish("1.2.0", &deployment(NEVER)).await?;
    stand
        .is_in("pending-rollback", "the hook runs", || stand.exists::<Job>("hook"))
        .await?;
    agent.kill9();
    stand.publish("1.2.1", "").await?;
    agent.restart().await?;
    stand.released("1.2.1").await.context("killed while rolling back")?;

    // Testing: the release is there, and its test runs.
    stand.apply(json!({"test": {"enable": true, "timeout": "20s"}})).await?;
    stand.publish("1.3.0", &test(NEVER)).await?;
    stand
        .is_in("deployed", "the test runs", || stand.exists::<Pod>("check"))
        .await?;
    agent.kill9();
    stand.publish("1.3.1", &test("0s")).await?;
    agent.restart().await?;
    let status = stand.released("1.3.1").await.context("killed while testing")?;
    assert_eq!(status["history"][0]["testHooks"]["check"]["phase"], "Succeeded");

    // Uninstalling: an object does not go yet.
    let pages: Api<ConfigMap> = Api::namespaced(stand.client.clone(), NAMESPACE);
    let hold = |finalizers: Value| Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    pages
        .patch("page", &PatchParams::default(), &hold(json!(["bed.nave.dev/hold"])))
        .await?;
    let releases: Api<HelmRelease> = Api::namespaced(stand.client.clone(), NAMESPACE);
    releases.delete(NAME, &DeleteParams::default()).await?;
    stand
        .is_in("uninstalling", "an object is being deleted", || async {
            let page = pages.get_opt("page").await?;
            Ok(page.is_some_and(|page| page.metadata.deletion_timestamp.is_some()))
        })
        .await?;
    agent.kill9();
    ensure!(releases.get_opt(NAME).await?.is_some(), "the finalizer holds it");
    agent.restart().await?;
    pages.patch("page", &PatchParams::default(), &hold(json!(null))).await?;
    eventually(PHASE, "the release is gone", || async {
        let left = releases.get_opt(NAME).await?;
        ensure!(left.is_none(), "{:?}", left.and_then(|left| left.status));
        Ok(())
    })
    .await
    .context("killed while uninstalling")?;
    assert!(stand.records().await?.is_empty());
    assert!(pages.get_opt("page").await?.is_none());
    Ok(())
}

struct Stand {
    client: Client,
    repository: ExampleRepository,
}

impl Stand {
    /// Commits a version of the chart: a page that shows the version, and `more`.
    async fn publish(&self, version: &str, more: &str) -> Result<()> {
        let page = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: page\ndata:\n  version: {version}\n---\n{more}"
        );
        let chart = format!("apiVersion: v2\nname: shop\nversion: {version}\n");
        let repository = &self.repository;
        repository
            .write(version, "charts/shop/templates/all.yaml", &page)
            .await?;
        repository.write(version, "charts/shop/Chart.yaml", &chart).await?;
        Ok(())
    }

    /// Creates or changes the HelmRelease.
    async fn apply(&self, more: Value) -> Result<()> {
        let mut spec = json!({"interval": "1h", "timeout": "10m", "chart": {"spec": {"chart": "./charts/shop",
            "interval": "1m", "sourceRef": {"kind": "GitRepository", "name": "charts"}}}});
        let fields = spec.as_object_mut().context("a map")?;
        fields.extend(more.as_object().context("a map")?.clone());
        let release = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": spec});
        fleet::apply(&self.client, &release).await
    }

    /// Waits until the newest record has this status and `begun` says yes.
    async fn is_in<F: Future<Output = Result<bool>>>(
        &self,
        status: &str,
        what: &str,
        begun: impl Fn() -> F,
    ) -> Result<()> {
        let what = &format!("{status}: {what}");
        eventually(PHASE, what, || async {
            let records = self.records().await?;
            let newest = records.last().map(|(_, status)| status.as_str());
            ensure!(newest == Some(status), "{records:?}: {:#}", self.status().await?);
            ensure!(begun().await?, "{status} has not begun");
            Ok(())
        })
        .await
    }

    async fn exists<K>(&self, name: &str) -> Result<bool>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), NAMESPACE);
        Ok(api.get_opt(name).await?.is_some())
    }

    /// Waits until this version is released and ready, with nothing pending left; gives the status.
    async fn released(&self, version: &str) -> Result<Value> {
        let status = eventually(PHASE, &format!("{version} is released"), || async {
            let release = self.release().await?;
            let newest = &release["status"]["history"][0];
            ensure!(
                fleet::is_ready(&release) && newest["chartVersion"] == version,
                "{:#}",
                release["status"]
            );
            Ok(release["status"].clone())
        })
        .await?;
        let records = self.records().await?;
        let deployed = records.iter().filter(|(_, status)| status == "deployed").count();
        ensure!(
            deployed == 1 && records.iter().all(|(_, status)| !status.starts_with("pending")),
            "{records:?}"
        );
        let page: Api<ConfigMap> = Api::namespaced(self.client.clone(), NAMESPACE);
        let data = page.get("page").await?.data.unwrap_or_default();
        ensure!(data.get("version").map(String::as_str) == Some(version), "{data:?}");
        Ok(status)
    }

    async fn release(&self) -> Result<Value> {
        fleet::get(
            &self.client,
            "helm.toolkit.fluxcd.io/v2",
            "HelmRelease",
            NAMESPACE,
            NAME,
        )
        .await
    }

    async fn status(&self) -> Result<Value> {
        Ok(self.release().await?["status"].take())
    }

    /// Version and status of Helm's records, oldest first.
    async fn records(&self) -> Result<Vec<(i64, String)>> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), NAMESPACE);
        let ours = ListParams::default().labels(&format!("owner=helm,name={NAME}"));
        let mut records = Vec::new();
        for secret in api.list(&ours).await? {
            let labels = secret.metadata.labels.unwrap_or_default();
            let version = labels.get("version").context("a record has a version")?;
            let status = labels.get("status").context("a record has a status")?;
            records.push((version.parse()?, status.clone()));
        }
        records.sort();
        Ok(records)
    }
}

/// A hook whose Job takes so long.
fn job(event: &str, takes: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: hook\n  annotations: {{helm.sh/hook: {event}}}\nspec:\n  \
         template:\n    metadata:\n      annotations: {{bed.nave.dev/complete-after: \"{takes}\"}}\n    spec:\n      \
         restartPolicy: Never\n      containers:\n      - {{name: app, image: registry.example.com/app:1}}\n"
    )
}

/// A test whose Pod takes so long.
fn test(takes: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: check\n  annotations:\n    helm.sh/hook: test\n    \
         bed.nave.dev/complete-after: \"{takes}\"\nspec:\n  restartPolicy: Never\n  containers:\n  \
         - {{name: app, image: registry.example.com/app:1}}\n"
    )
}

/// A Deployment whose pods are ready after this.
fn deployment(after: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  selector:\n    matchLabels: {{app: web}}\n  \
         template:\n    metadata:\n      labels: {{app: web}}\n      annotations: {{bed.nave.dev/ready-after: \"{after}\"}}\n    \
         spec:\n      containers:\n      - {{name: app, image: registry.example.com/app:1}}\n"
    )
}
