//! What every test starts from: a namespace, a hub that remembers, and a running controller.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use nave_bed::{Plane, PlaneOptions, eventually};
use nave_crds::fleet::FleetResource;
use nave_crds::{Cluster, ExternalArtifact, FleetKustomization, GitRepository, Kustomization};
use nave_placement::ClusterKey;
use nave_placement_controller::{ChartPorts, DesiredItem, Knowledge, Options, PlacementController, Ports};
use nave_runtime::{EventRecorder, Metrics, Tasks, Watched, definitions, watch::without_managed_fields};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::hub::FakeHub;

/// How long anything may take on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The plane of all tests, with our definitions; it ends with the process.
pub async fn plane() -> &'static Plane {
    static PLANE: OnceCell<Plane> = OnceCell::const_new();
    PLANE
        .get_or_init(|| async {
            let plane = Plane::start(PlaneOptions {
                audit: true,
                ..PlaneOptions::named("placement")
            })
            .await
            .expect("a control plane starts");
            definitions::install(plane.client(), &nave_crds::all(), "test")
                .await
                .expect("our definitions can be installed");
            plane
        })
        .await
}

/// A namespace of its own.
pub async fn namespace(client: &Client, test: &str) -> Result<String> {
    let object = serde_json::from_value(json!({"metadata": {"generateName": format!("{test}-")}}))?;
    let created = Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &object)
        .await?;
    created.metadata.name.context("a created namespace has a name")
}

pub struct Stage {
    pub client: Client,
    pub namespace: String,
    pub hub: Arc<FakeHub>,
    pub knowledge: Knowledge,
    tasks: Tasks,
}

impl Stage {
    pub async fn start(test: &str) -> Result<Stage> {
        let client = plane().await.client();
        let namespace = namespace(&client, test).await?;
        let mut stage = Stage {
            client,
            namespace,
            hub: Arc::default(),
            knowledge: Knowledge::default(),
            tasks: Tasks::new(Default::default()),
        };
        stage.run();
        Ok(stage)
    }

    fn run(&mut self) {
        let ports = Ports {
            client: self.client.clone(),
            fleets: self.watch::<FleetKustomization>(),
            clusters: self.watch::<Cluster>(),
            git_repositories: self.watch::<GitRepository>(),
            external_artifacts: self.watch::<ExternalArtifact>(),
            kustomizations: self.watch::<Kustomization>(),
            charts: ChartPorts {
                fleets: self.watch(),
                helm_releases: self.watch(),
                helm_repositories: self.watch(),
                oci_repositories: self.watch(),
                helm_charts: self.watch(),
            },
            desired: self.hub.clone(),
            statuses: self.hub.clone(),
            artifacts: self.hub.clone(),
            probe: self.hub.clone(),
            events: EventRecorder::new(self.client.clone(), "nave-hub", "test".into(), None, &self.tasks),
            metrics: Metrics::new(),
            tasks: self.tasks.clone(),
        };
        let controller = PlacementController::new(ports, Options::default());
        self.knowledge = controller.knowledge();
        self.tasks.spawn("placement", controller.run());
    }

    fn watch<K>(&self) -> Watched<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
    {
        Watched::start(
            self.api::<K>(),
            watcher::Config::default(),
            without_managed_fields,
            &self.tasks,
        )
    }

    /// Ends the controller and starts one over a hub that remembers nothing.
    pub async fn restart(&mut self) -> Result<Arc<FakeHub>> {
        self.tasks.shutdown_token().cancel();
        let old = std::mem::replace(&mut self.tasks, Tasks::new(Default::default()));
        ensure!(old.finish(DEADLINE).await, "the controller did not stop");
        let before = std::mem::take(&mut self.hub);
        self.run();
        Ok(before)
    }

    /// Has `apps` planned whole, by a change that plans the same, and waits until that was done.
    pub async fn restart_plan(&self) -> Result<()> {
        self.hub.take_asked();
        let object = self.api::<FleetKustomization>().get("apps").await?;
        let generation = object.metadata.generation.unwrap_or_default();
        let patch = Patch::Merge(json!({"spec": {"deletion": {"policy": "Orphan"}}}));
        self.api::<FleetKustomization>()
            .patch("apps", &PatchParams::default(), &patch)
            .await?;
        eventually(DEADLINE, "a whole plan", || async {
            let found = self.api::<FleetKustomization>().get("apps").await?;
            let observed = found.status.unwrap_or_default().observed_generation;
            ensure!(observed > generation, "it observed {observed}");
            Ok(())
        })
        .await
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn key(&self, cluster: &str) -> ClusterKey {
        ClusterKey::new(&self.namespace, cluster)
    }

    /// Applies an object as a person would.
    pub async fn apply<K>(&self, name: &str, object: Value) -> Result<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let mut object = object;
        object["apiVersion"] = json!(K::api_version(&()));
        object["kind"] = json!(K::kind(&()));
        object["metadata"]["name"] = json!(name);
        let parameters = PatchParams::apply("person").force().validation_strict();
        Ok(self.api::<K>().patch(name, &parameters, &Patch::Apply(&object)).await?)
    }

    /// Sets a status, as the object's own controller would.
    pub async fn set_status<K>(&self, name: &str, status: Value) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let patch = Patch::Merge(json!({"status": status}));
        self.api::<K>()
            .patch_status(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    pub async fn delete<K>(&self, name: &str) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        self.api::<K>().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// The source controller stores the artifact of a revision.
    pub async fn publish(&self, name: &str, revision: &str) -> Result<()> {
        eventually(DEADLINE, "the source on the hub", || async {
            Ok(self.api::<GitRepository>().get(name).await?)
        })
        .await?;
        let artifact = json!({
            "path": "p", "url": "http://x", "revision": revision, "digest": "sha256:00",
            "lastUpdateTime": "2026-01-01T00:00:00Z",
        });
        self.set_status::<GitRepository>(name, json!({"artifact": artifact, "observedGeneration": 1}))
            .await
    }

    /// Waits for an agent's item of a FleetKustomization.
    pub async fn item(&self, cluster: &str, fleet: &str) -> Result<DesiredItem> {
        self.item_of::<FleetKustomization>(cluster, fleet).await
    }

    /// Waits for an agent's item.
    pub async fn item_of<K: FleetResource>(&self, cluster: &str, fleet: &str) -> Result<DesiredItem> {
        let key = format!("{}/{}/{fleet}", K::KIND, self.namespace);
        eventually(DEADLINE, &format!("the item of {fleet} on {cluster}"), || async {
            self.hub.item(&self.key(cluster), &key).context("there is none")
        })
        .await
    }

    /// Waits until a FleetKustomization's Ready condition is `<status> <reason>`; the answer is its message.
    pub async fn ready(&self, fleet: &str, want: &str) -> Result<String> {
        self.ready_of::<FleetKustomization>(fleet, want).await
    }

    /// The same for either kind of fleet object.
    pub async fn ready_of<K: FleetResource>(&self, fleet: &str, want: &str) -> Result<String> {
        eventually(DEADLINE, &format!("{fleet} is {want}"), || async {
            let found = self.api::<K>().get(fleet).await?;
            let status = found.fleet_status().cloned();
            let conditions = status.map(|status| status.conditions).unwrap_or_default();
            let ready = conditions
                .into_iter()
                .find(|one| one.type_ == "Ready")
                .context("no Ready condition")?;
            let is = format!("{} {}", ready.status, ready.reason);
            ensure!(is == want, "it is {is}: {}", ready.message);
            Ok(ready.message)
        })
        .await
    }

    /// A fleet object named `apps` with a source made from a template.
    pub async fn fleet(&self, change: impl FnOnce(&mut Value)) -> Result<FleetKustomization> {
        let mut object = json!({"spec": {
            "placement": {"selector": {}},
            "source": {"template": {"kind": "GitRepository", "spec": {"url": "https://git/fleet", "interval": "1m"}}},
            "template": {"spec": {"interval": "5m", "prune": true, "path": "./apps"}},
        }});
        change(&mut object);
        self.apply("apps", object).await
    }

    pub async fn agent(&self, name: &str, labels: Value) -> Result<Cluster> {
        self.apply(name, json!({"metadata": {"labels": labels}, "spec": {}}))
            .await
    }

    /// Waits until an object is gone.
    pub async fn gone<K>(&self, name: &str) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        eventually(DEADLINE, &format!("{} {name} is gone", K::kind(&())), || async {
            let found = self.api::<K>().get_opt(name).await?;
            ensure!(found.is_none(), "it is still there");
            Ok(())
        })
        .await
    }

    pub async fn secret(&self, name: &str, labels: Value, data: Value) -> Result<()> {
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels},
            "stringData": data});
        let parameters = PatchParams::apply("person").force();
        self.api::<Secret>()
            .patch(name, &parameters, &Patch::Apply(&object))
            .await?;
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.tasks.shutdown_token().cancel();
    }
}
