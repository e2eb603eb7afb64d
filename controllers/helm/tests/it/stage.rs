//! What every test starts from: a namespace, a source whose charts the test publishes, and a running reconciler.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Event, Namespace, Secret, ServiceAccount},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
    runtime::watcher,
};
use nave_bed::{Plane, PlaneOptions, eventually};
use nave_crds::{
    helm::{HelmRelease, HelmReleaseStatus},
    source::{ExternalArtifact, OCIRepository},
};
use nave_helm_controller::{ChartArtifacts, Options, Ports, run};
use nave_release::{Release, decode, selector};
use nave_runtime::{
    Conditions, EventRecorder, Metrics, Tasks, Watched,
    ports::{AllowAll, ApplyPolicy, PermitItself, PrunePermits},
    watch::without_managed_fields,
};
use nave_store::{Owner, Store};
use nave_targets::{KubeconfigPolicy, Targets};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::charts::archive;

/// How long anything may take on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The plane of all tests, with our definitions; it ends with the process.
pub async fn plane() -> &'static Plane {
    static PLANE: OnceCell<Plane> = OnceCell::const_new();
    PLANE
        .get_or_init(|| async {
            let options = PlaneOptions {
                audit: true,
                ..PlaneOptions::named("helm")
            };
            let plane = Plane::start(options).await.expect("a control plane starts");
            install(&plane).await.expect("our definitions can be installed");
            plane
        })
        .await
}

async fn install(plane: &Plane) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(plane.client());
    for definition in nave_crds::definitions::flux() {
        let name = definition.name_any();
        let parameters = PatchParams::apply("test").force();
        api.patch(&name, &parameters, &Patch::Apply(&definition)).await?;
        eventually(DEADLINE, &format!("{name} is served"), || async {
            let found = api.get(&name).await?;
            let established = found.status.and_then(|status| status.conditions).into_iter().flatten();
            let mut established = established.filter(|c| c.type_ == "Established" && c.status == "True");
            established.next().map(|_| ()).context("it is not established")
        })
        .await?;
    }
    Ok(())
}

/// What a reconciler of one namespace is given.
pub fn ports(
    client: &Client,
    namespace: &str,
    artifacts: ChartArtifacts,
    policy: Arc<dyn ApplyPolicy>,
    metrics: Metrics,
    tasks: &Tasks,
) -> Ports {
    let kubeconfigs = KubeconfigPolicy {
        allow_local_servers: true,
        ..KubeconfigPolicy::default()
    };
    Ports {
        client: client.clone(),
        targets: Arc::new(Targets::new(client.clone(), kubeconfigs)),
        artifacts,
        events: EventRecorder::new(client.clone(), "helm-controller", "test".into(), None, tasks),
        metrics,
        helm_releases: watched::<HelmRelease>(client, namespace, tasks),
        external_artifacts: watched::<ExternalArtifact>(client, namespace, tasks),
        helm_charts: None,
        oci_repositories: Some(watched::<OCIRepository>(client, namespace, tasks)),
        permits: Arc::new(PermitItself),
        policy,
        tasks: tasks.clone(),
    }
}

pub fn options() -> Options {
    Options {
        requeue_dependency: Duration::from_secs(20),
        interval_jitter: 0,
        min_retry_delay: Duration::from_millis(50),
        max_retry_delay: Duration::from_secs(5),
        ..Options::default()
    }
}

fn watched<K>(client: &Client, namespace: &str, tasks: &Tasks) -> Watched<K>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    Watched::start(
        Api::namespaced(client.clone(), namespace),
        watcher::Config::default(),
        without_managed_fields::<K>,
        tasks,
    )
}

pub struct Stage {
    pub plane: &'static Plane,
    pub client: Client,
    pub namespace: String,
    pub store: Store,
    pub metrics: Metrics,
    pub options: Options,
    pub permits: Arc<dyn PrunePermits>,
    /// How the reconciler reaches the API server; directly without.
    pub through: Option<Client>,
    tasks: Tasks,
    _directory: tempfile::TempDir,
}

impl Stage {
    pub async fn start(test: &str) -> Result<Stage> {
        Stage::start_with(test, options()).await
    }

    pub async fn start_with(test: &str, options: Options) -> Result<Stage> {
        let mut stage = Stage::idle(test, "http://127.0.0.1:1").await?;
        stage.options = options;
        stage.run();
        Ok(stage)
    }

    /// Everything but the reconciler; artifacts say that they are served at this address.
    pub async fn idle(test: &str, address: &str) -> Result<Stage> {
        let plane = plane().await;
        let client = plane.client();
        let object = serde_json::from_value(json!({"metadata": {"generateName": format!("{test}-")}}))?;
        let created = Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &object)
            .await?;
        let namespace = created.metadata.name.context("a created namespace has a name")?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
        eventually(DEADLINE, "the default service account", || async {
            Ok(accounts.get("default").await?)
        })
        .await?;
        let directory = tempfile::tempdir()?;
        let store = Store::open(nave_store::Options::new(directory.path(), address))?;
        Ok(Stage {
            plane,
            client,
            namespace,
            store,
            metrics: Metrics::new(),
            options: options(),
            permits: Arc::new(PermitItself),
            through: None,
            tasks: Tasks::new(Default::default()),
            _directory: directory,
        })
    }

    /// Starts a reconciler for this namespace.
    pub fn run(&mut self) {
        let artifacts = ChartArtifacts::new(Some(self.store.clone()), reqwest::Client::new(), 0);
        let (policy, metrics) = (Arc::new(AllowAll), self.metrics.clone());
        let client = self.through.as_ref().unwrap_or(&self.client);
        let mut ports = ports(client, &self.namespace, artifacts, policy, metrics, &self.tasks);
        ports.permits = self.permits.clone();
        self.tasks.spawn("helm", run(ports, self.options.clone()));
    }

    /// Ends the reconciler.
    pub async fn halt(&mut self) -> Result<()> {
        self.tasks.shutdown_token().cancel();
        let old = std::mem::replace(&mut self.tasks, Tasks::new(Default::default()));
        ensure!(old.finish(DEADLINE).await, "the reconciler did not stop");
        Ok(())
    }

    /// Ends the reconciler and starts another one that remembers nothing; `meanwhile` is done while there is none.
    pub async fn restart<F: Future<Output = Result<()>>>(&mut self, meanwhile: F) -> Result<()> {
        self.halt().await?;
        meanwhile.await?;
        self.run();
        Ok(())
    }

    /// Makes this version of the chart `shop` the artifact of the ExternalArtifact `source`.
    pub async fn publish(&self, version: &str, files: &[(&str, String)]) -> Result<()> {
        self.publish_named("shop", version, files).await.map(|_| ())
    }

    /// The same for a chart of another name; gives the artifact.
    pub async fn publish_named(&self, chart: &str, version: &str, files: &[(&str, String)]) -> Result<Value> {
        let owner = Owner::new("ExternalArtifact", &self.namespace, "source")?;
        let bytes = archive(chart, version, files)?;
        let stored = self
            .store
            .put(&owner, &format!("{chart}-{version}.tar.gz"), bytes)
            .await?;
        let api: Api<ExternalArtifact> = Api::namespaced(self.client.clone(), &self.namespace);
        let source = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact", "metadata": {"name": "source"},
            "spec": {"sourceRef": {"apiVersion": "example.com/v1", "kind": "Maker", "name": "maker"}}});
        api.patch("source", &PatchParams::apply("test").force(), &Patch::Apply(&source))
            .await?;
        let artifact = json!({"path": stored.path, "url": stored.url, "digest": stored.digest.to_string(),
            "revision": version, "lastUpdateTime": "2026-01-01T00:00:00Z", "size": stored.size});
        let status = json!({"status": {"artifact": artifact}});
        api.patch_status("source", &PatchParams::default(), &Patch::Merge(status))
            .await?;
        Ok(artifact)
    }

    pub fn releases(&self) -> Api<HelmRelease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates or changes the HelmRelease `shop` with these fields beside the required ones.
    pub async fn apply(&self, more: Value) -> Result<()> {
        self.apply_named("shop", more).await
    }

    /// The same under another name.
    pub async fn apply_named(&self, name: &str, more: Value) -> Result<()> {
        let mut spec =
            json!({"interval": "1h", "timeout": "1m", "chartRef": {"kind": "ExternalArtifact", "name": "source"}});
        spec.as_object_mut()
            .context("a map")?
            .extend(more.as_object().context("a map")?.clone());
        self.apply_spec(name, spec).await
    }

    /// The same with a spec that is complete.
    pub async fn apply_spec(&self, name: &str, spec: Value) -> Result<()> {
        let object = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": {"name": name}, "spec": spec});
        self.releases()
            .patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object))
            .await?;
        Ok(())
    }

    /// Asks for a reconcile; `more` are annotations that get the same value.
    pub async fn request(&self, value: &str, more: &[&str]) -> Result<()> {
        let mut annotations = BTreeMap::from([("reconcile.fluxcd.io/requestedAt", value)]);
        annotations.extend(more.iter().map(|key| (*key, value)));
        let patch = json!({"metadata": {"annotations": annotations}});
        self.releases()
            .patch("shop", &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        eventually(DEADLINE, "the request is handled", || async {
            let status = self.status().await?;
            ensure!(status.last_handled_reconcile_at == value, "{status:?}");
            Ok(())
        })
        .await
    }

    pub async fn status(&self) -> Result<HelmReleaseStatus> {
        Ok(self.releases().get("shop").await?.status.unwrap_or_default())
    }

    /// Waits until it is ready at its generation with this version of the chart.
    pub async fn ready(&self, chart: &str) -> Result<HelmReleaseStatus> {
        eventually(DEADLINE, &format!("it is ready with {chart}"), || async {
            let object = self.releases().get("shop").await?;
            let status = object.status.unwrap_or_default();
            let ready =
                status.conditions.is_true("Ready") && Some(status.observed_generation) == object.metadata.generation;
            let newest = status.history.first().map(|newest| newest.chart_version.as_str());
            ensure!(ready && newest == Some(chart), "{status:?}");
            Ok(status)
        })
        .await
    }

    /// Waits until a condition has this status and reason; gives the whole status.
    pub async fn condition(&self, kind: &str, wanted: &str, reason: &str) -> Result<HelmReleaseStatus> {
        eventually(DEADLINE, &format!("{kind} is {wanted}/{reason}"), || async {
            let status = self.status().await?;
            let found = status
                .conditions
                .get_condition(kind)
                .with_context(|| format!("no {kind}: {status:?}"))?;
            ensure!(found.status == wanted && found.reason == reason, "{status:?}");
            Ok(status)
        })
        .await
    }

    /// Waits until the release failed with a message that has these words.
    pub async fn failed(&self, reason: &str, words: &str) -> Result<HelmReleaseStatus> {
        let what = format!("{reason} with {words:?}");
        eventually(DEADLINE, &what, || async {
            let status = self.status().await?;
            let found = status
                .conditions
                .iter()
                .any(|one| one.status == "False" && one.reason == reason && one.message.contains(words));
            ensure!(found, "{status:?}");
            Ok(status)
        })
        .await
    }

    /// The versions in storage, oldest first.
    pub async fn stored(&self) -> Result<Vec<Release>> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let list = api.list(&ListParams::default().labels(&selector("shop"))).await?;
        let mut releases = Vec::new();
        for secret in list.items {
            let mut data = secret.data.context("it has data")?;
            releases.push(decode(&data.remove("release").context("it has a release")?.0)?);
        }
        releases.sort_by_key(|release: &Release| release.version);
        Ok(releases)
    }

    /// `<version>:<status>` of what is stored.
    pub async fn versions(&self) -> Result<Vec<String>> {
        let stored = self.stored().await?;
        Ok(stored
            .iter()
            .map(|release| format!("{}:{}", release.version, release.status()))
            .collect())
    }

    pub async fn config(&self, name: &str) -> Result<Option<ConfigMap>> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        Ok(api.get_opt(name).await?)
    }

    /// The value in a ConfigMap; none when there is none.
    pub async fn value(&self, name: &str) -> Result<Option<String>> {
        let found = self.config(name).await?;
        Ok(found.and_then(|found| found.data.unwrap_or_default().remove("value")))
    }

    pub async fn set_config(&self, name: &str, key: &str, text: &str) -> Result<()> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"reconcile.fluxcd.io/watch": "Enabled"}}, "data": {key: text}});
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object))
            .await?;
        Ok(())
    }

    pub async fn delete(&self) -> Result<()> {
        self.releases().delete("shop", &DeleteParams::default()).await?;
        eventually(DEADLINE, "it is gone", || async {
            let left = self.releases().get_opt("shop").await?;
            ensure!(
                left.is_none(),
                "it is still there: {:?}",
                left.and_then(|left| left.status)
            );
            Ok(())
        })
        .await
    }

    /// Reasons and messages of the events about it.
    pub async fn events(&self) -> Result<Vec<String>> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let list = api.list(&ListParams::default()).await?;
        let ours = list
            .items
            .into_iter()
            .filter(|event| event.involved_object.name.as_deref() == Some("shop"));
        Ok(ours
            .map(|event| {
                format!(
                    "{} {}",
                    event.reason.unwrap_or_default(),
                    event.message.unwrap_or_default()
                )
            })
            .collect())
    }

    /// Waits for an event that begins like this.
    pub async fn told(&self, start: &str) -> Result<()> {
        eventually(DEADLINE, &format!("the event {start:?}"), || async {
            let events = self.events().await?;
            ensure!(events.iter().any(|event| event.starts_with(start)), "{events:?}");
            Ok(())
        })
        .await
    }

    pub async fn stop(self) -> Result<()> {
        self.tasks.shutdown_token().cancel();
        ensure!(self.tasks.finish(DEADLINE).await, "the reconciler did not stop");
        Ok(())
    }
}
