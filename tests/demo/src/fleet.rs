//! The fleet of the platform example: a hub, two agents joined by token, one cluster by kubeconfig.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    discovery::ApiResource,
};
use nave_bed::{Plane, PlaneOptions, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Agent, ExampleRepository, Hub, Nave, examples};

/// The workspace that the example's fleet objects live in.
pub const WORKSPACE: &str = "platform";

/// A cluster of the example.
#[derive(Debug, Clone, Copy)]
pub struct Spoke {
    /// Its name.
    pub name: &'static str,
    /// `env` label.
    pub env: &'static str,
    /// `region` label.
    pub region: &'static str,
    /// Its folder under `overlays/`.
    pub overlay: &'static str,
    /// Whether an agent runs there; otherwise the hub has its kubeconfig.
    pub agent: bool,
}

/// The three clusters of the example.
pub const SPOKES: [Spoke; 3] = [
    Spoke {
        name: "staging",
        env: "staging",
        region: "eu",
        overlay: "staging",
        agent: true,
    },
    Spoke {
        name: "eu-1",
        env: "production",
        region: "eu",
        overlay: "eu-production",
        agent: true,
    },
    Spoke {
        name: "us-1",
        env: "production",
        region: "us",
        overlay: "us-production",
        agent: false,
    },
];

/// What to bring up.
#[derive(Debug, Clone, Default)]
pub struct FleetOptions {
    /// Write audit logs on every plane.
    pub audit: bool,
    /// Names of the clusters of [`SPOKES`] that are there; all when empty.
    pub spokes: Vec<&'static str>,
    /// More arguments for the hub.
    pub hub_arguments: Vec<String>,
}

/// Everything that runs. Dropping it ends every process.
pub struct Fleet {
    /// The hub's control plane.
    pub hub_plane: Plane,
    /// The clusters that are there, joined or not.
    pub spokes: Vec<Spoke>,
    /// The spokes' control planes by name.
    pub planes: BTreeMap<&'static str, Plane>,
    /// The hub.
    pub hub: Hub,
    /// The agents by cluster name.
    pub agents: BTreeMap<&'static str, Agent>,
    /// The git repository that they follow.
    pub repository: ExampleRepository,
    /// `nave` on the hub.
    pub nave: Nave,
    /// Logs, storage and state of the processes.
    pub folder: TempDir,
}

impl Fleet {
    /// Planes, git server and hub, with no clusters joined and no fleet objects. `progress` is told each step.
    pub async fn start(options: &FleetOptions, progress: &dyn Fn(&str)) -> Result<Self> {
        progress("control planes");
        let wanted = |spoke: &Spoke| options.spokes.is_empty() || options.spokes.contains(&spoke.name);
        let spokes: Vec<Spoke> = SPOKES.into_iter().filter(wanted).collect();
        let names = ["hub"].into_iter().chain(spokes.iter().map(|spoke| spoke.name));
        let mut planes = Plane::start_many(
            names
                .map(|name| PlaneOptions {
                    name: name.to_owned(),
                    audit: options.audit,
                    ..PlaneOptions::default()
                })
                .collect(),
        )
        .await?
        .into_iter();
        let hub_plane = planes.next().context("the bed started no hub plane")?;
        let planes = spokes.iter().map(|spoke| spoke.name).zip(planes).collect();
        let folder = tempfile::tempdir()?;
        progress("hub");
        let client = hub_plane.client();
        for namespace in ["nave-system", WORKSPACE] {
            apply(
                &client,
                &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            )
            .await?;
        }
        let arguments: Vec<&str> = options.hub_arguments.iter().map(String::as_str).collect();
        let hub = Hub::start(&hub_plane, &folder.path().join("hub"), &arguments).await?;
        progress("git server");
        let repository = ExampleRepository::start(Some(&hub.hint_url)).await?;
        let nave = Nave::new(hub_plane.kubeconfig_path())?;
        Ok(Fleet {
            hub_plane,
            spokes,
            planes,
            hub,
            agents: BTreeMap::new(),
            repository,
            nave,
            folder,
        })
    }

    /// Everything of [`Fleet::start`], all its clusters, and the example's fleet objects.
    pub async fn start_whole(options: &FleetOptions, progress: &dyn Fn(&str)) -> Result<Self> {
        let mut fleet = Self::start(options, progress).await?;
        progress("clusters");
        for spoke in fleet.spokes.clone() {
            fleet.add(spoke).await?;
        }
        progress("fleet objects");
        fleet.apply_fleet_objects().await?;
        Ok(fleet)
    }

    /// Joins one cluster the way its example says.
    pub async fn add(&mut self, spoke: Spoke) -> Result<()> {
        if spoke.agent {
            let token = self.token(spoke).await?;
            self.join(spoke.name, &token).await
        } else {
            self.add_by_kubeconfig(spoke).await
        }
    }

    /// A token for `spoke`.
    pub async fn token(&self, spoke: Spoke) -> Result<String> {
        let label = |key: &str, value: &str| format!("{key}={value}");
        Hub::token(
            &self.nave,
            WORKSPACE,
            spoke.name,
            &[
                "--cluster",
                spoke.name,
                "--label",
                &label("env", spoke.env),
                "--label",
                &label("region", spoke.region),
                "--variable",
                &label("overlay", spoke.overlay),
            ],
        )
        .await
    }

    /// Starts the agent of `name` with `token`.
    pub async fn join(&mut self, name: &'static str, token: &str) -> Result<()> {
        let agent = Agent::start(&self.planes[name], &self.agent_folder(name), Some(token), &[]).await?;
        self.agents.insert(name, agent);
        Ok(())
    }

    /// Where the agent of `name` keeps its files.
    pub fn agent_folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("agent-{name}"))
    }

    async fn add_by_kubeconfig(&self, spoke: Spoke) -> Result<()> {
        let client = self.hub_plane.client();
        apply(
            &client,
            &json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": format!("{}-kubeconfig", spoke.name), "namespace": WORKSPACE},
                "stringData": {"value": self.planes[spoke.name].kubeconfig()},
            }),
        )
        .await?;
        apply(
            &client,
            &json!({
                "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "Cluster",
                "metadata": {
                    "name": spoke.name, "namespace": WORKSPACE,
                    "labels": {"env": spoke.env, "region": spoke.region},
                },
                "spec": {
                    "mode": "KubeConfig", "accepted": true,
                    "kubeConfig": {"secretRef": {"name": format!("{}-kubeconfig", spoke.name)}},
                    "variables": {"overlay": spoke.overlay},
                },
            }),
        )
        .await
    }

    /// The example's source and fleet objects, with our git server's address.
    pub async fn apply_fleet_objects(&self) -> Result<()> {
        let client = self.hub_plane.client();
        for name in ["source", "infrastructure", "apps"] {
            let path = examples::folder().join("platform/fleet").join(format!("{name}.yaml"));
            for mut object in examples::objects(&path)? {
                if object["kind"] == "GitRepository" {
                    object["spec"]["url"] = json!(self.repository.url);
                }
                apply(&client, &object).await?;
            }
        }
        Ok(())
    }

    /// The example's chart: one more fleet object, which [`Fleet::start_whole`] leaves out.
    pub async fn apply_chart(&self) -> Result<()> {
        let path = examples::folder().join("platform/fleet/status-page.yaml");
        for object in examples::objects(&path)? {
            apply(&self.hub_plane.client(), &object).await?;
        }
        Ok(())
    }

    /// Waits until the example's chart is released on every cluster that is there; gives back its version.
    pub async fn wait_released(&self, deadline: Duration) -> Result<String> {
        eventually(deadline, "status-page released on every cluster", || async move {
            let client = self.hub_plane.client();
            let (version, kind) = ("fleet.nave.dev/v1alpha1", "FleetHelmRelease");
            let object = get(&client, version, kind, WORKSPACE, "status-page").await?;
            let status = &object["status"];
            let clusters = &status["clusters"];
            anyhow::ensure!(
                clusters["ready"] == self.spokes.len()
                    && clusters["selected"] == self.spokes.len()
                    && is_ready(&object),
                "{status:#}"
            );
            Ok(status["currentRevision"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    /// One fleet object.
    pub async fn fleet_kustomization(&self, name: &str) -> Result<Value> {
        get(
            &self.hub_plane.client(),
            "fleet.nave.dev/v1alpha1",
            "FleetKustomization",
            WORKSPACE,
            name,
        )
        .await
    }

    /// Waits until both fleet objects say that every cluster is ready at `revision` (a commit id) or, without one, at
    /// whatever they target.
    pub async fn wait_ready(&self, revision: Option<&str>, deadline: Duration) -> Result<()> {
        try_join_all(["infrastructure", "apps"].map(|name| async move {
            eventually(deadline, &format!("{name} ready on every cluster"), || async move {
                let object = self.fleet_kustomization(name).await?;
                let status = &object["status"];
                let clusters = &status["clusters"];
                let at_revision = revision.is_none_or(|commit| {
                    status["currentRevision"]
                        .as_str()
                        .is_some_and(|text| text.contains(commit))
                });
                anyhow::ensure!(
                    at_revision
                        && clusters["ready"] == self.spokes.len()
                        && clusters["selected"] == self.spokes.len()
                        && is_ready(&object),
                    "{status:#}"
                );
                Ok(())
            })
            .await
        }))
        .await?;
        Ok(())
    }
}

/// Whether an object is Ready at its own generation.
pub fn is_ready(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
        && object["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Applies every definition that Nave knows and waits until they are served.
pub async fn install_crds(client: &Client) -> Result<()> {
    Ok(nave_runtime::definitions::install(client.clone(), &nave_crds::all(), "platform-team").await?)
}

/// Server-side applies one object under the name of a person.
pub async fn apply(client: &Client, object: &Value) -> Result<()> {
    let (api, name) = api_of(client, object)?;
    api.patch(
        &name,
        &PatchParams::apply("platform-team").force(),
        &Patch::Apply(object),
    )
    .await
    .with_context(|| format!("applying {} {name}", object["kind"]))?;
    Ok(())
}

/// Reads one object as JSON.
pub async fn get(client: &Client, version: &str, kind: &str, namespace: &str, name: &str) -> Result<Value> {
    let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}});
    let (api, name) = api_of(client, &object)?;
    Ok(serde_json::to_value(api.get(&name).await?)?)
}

fn api_of(client: &Client, object: &Value) -> Result<(Api<DynamicObject>, String)> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
    let resource = ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(group, version, text("/kind")));
    let api = match text("/metadata/namespace") {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    Ok((api, text("/metadata/name").to_owned()))
}
