//! The agent's own Deployment, and the Job that watches over a change of its image.

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::plan::{Attempt, PATIENCE, Seen};
use crate::joined::objects::MANAGER;

/// On the Deployment: the last [`Attempt`], as JSON.
pub const ANNOTATION: &str = "fleet.nave.dev/agent-upgrade";
/// For the guard: the image that it watches over.
pub const GUARDED_IMAGE: &str = "NAVE_UPGRADE_IMAGE";
/// For the guard: by when that has to reach the hub.
pub const GUARDED_UNTIL: &str = "NAVE_UPGRADE_UNTIL";
/// How often a write is tried that others come between.
const TRIES: usize = 8;
/// The agent's container, where there are several.
const CONTAINER: &str = "manager";

/// Where it is.
#[derive(Clone)]
pub struct OwnDeployment {
    /// The agent's cluster.
    pub client: Client,
    /// The agent's namespace.
    pub namespace: String,
    /// `nave-agent`.
    pub name: String,
}

impl OwnDeployment {
    /// The Deployment and what of it matters; none when the agent runs otherwise.
    pub async fn read(&self) -> kube::Result<Option<(Deployment, Seen)>> {
        let found = self.api().get_opt(&self.name).await?;
        Ok(found.and_then(|deployment| {
            let seen = seen(&deployment)?;
            Some((deployment, seen))
        }))
    }

    /// Notes an attempt, and runs another image when one is given, if image and attempt still are what was seen. What else
    /// of the Deployment changes at that moment, its status for one, does not matter.
    pub async fn note(&self, seen: &Seen, attempt: &Attempt, image: Option<&str>) -> Result<()> {
        for _ in 0..TRIES {
            let (of, now) = self.read().await?.context("it is gone")?;
            ensure!(now == *seen, "somebody has changed it meanwhile");
            let patch = Patch::Strategic(change(&of, attempt, image));
            match self.api().patch(&self.name, &parameters(), &patch).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                other => return Ok(other.map(drop)?),
            }
        }
        bail!("it changes too often to be written")
    }

    /// Makes the Job that puts the image back if nobody else does: a pod of its own, of the image that is known to run
    /// here, because the new one may never start.
    pub async fn guard(&self, of: &Deployment, attempt: &Attempt) -> Result<()> {
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), &self.namespace);
        let job: Job = serde_json::from_value(job(of, attempt)?)?;
        match jobs.create(&PostParams::default(), &job).await {
            // This very attempt was begun before, and cut off.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    fn api(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

fn parameters() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

fn seen(deployment: &Deployment) -> Option<Seen> {
    let pod = deployment.spec.template.spec.as_ref()?;
    let named = pod.containers.iter().find(|container| container.name == CONTAINER);
    let container = named.or(pod.containers.first())?;
    let attempt = deployment.annotations().get(ANNOTATION);
    Some(Seen {
        image: container.image.clone()?,
        // What somebody wrote by hand is no attempt.
        attempt: attempt.and_then(|text| serde_json::from_str(text).ok()),
    })
}

/// The strategic merge patch: containers are merged by their names.
fn change(of: &Deployment, attempt: &Attempt, image: Option<&str>) -> Value {
    let mut patch = json!({"metadata": {
        "resourceVersion": of.resource_version(),
        "annotations": {ANNOTATION: serde_json::to_string(attempt).expect("texts and a time are JSON")},
    }});
    if let Some(image) = image {
        let container = json!([{"name": container_name(of), "image": image}]);
        patch["spec"] = json!({"template": {"spec": {"containers": container}}});
    }
    patch
}

fn container_name(of: &Deployment) -> String {
    let pod = of.spec.template.spec.as_ref();
    let containers = pod.map_or(&[][..], |pod| &pod.containers);
    let named = containers.iter().find(|container| container.name == CONTAINER);
    let container = named.or(containers.first());
    container.map_or_else(String::new, |container| container.name.clone())
}

fn job(of: &Deployment, attempt: &Attempt) -> Result<Value> {
    let mut pod = serde_json::to_value(&of.spec.template.spec)?;
    let (agent, namespace, until) = (of.name_any(), of.namespace().unwrap_or_default(), attempt.deadline);
    let wanted = container_name(of);
    let all = pod["containers"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let mut container = all
        .into_iter()
        .find(|one| one["name"] == json!(wanted))
        .unwrap_or_default();
    if let Some(container) = container.as_object_mut() {
        for field in ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"] {
            container.remove(field);
        }
    }
    container["image"] = json!(attempt.from);
    container["args"] = json!([
        "guard-upgrade",
        format!("--namespace={namespace}"),
        format!("--deployment={agent}")
    ]);
    let mut environment = container["env"].as_array().cloned().unwrap_or_default();
    environment.push(json!({"name": GUARDED_IMAGE, "value": attempt.to}));
    environment.push(json!({"name": GUARDED_UNTIL, "value": until.to_string()}));
    container["env"] = json!(environment);
    pod["containers"] = json!([container]);
    pod["restartPolicy"] = json!("OnFailure");
    if let Some(pod) = pod.as_object_mut() {
        pod.remove("initContainers");
    }
    // Of another label than the agent's pods: the Deployment must not take it for one of its own.
    let name = format!("{agent}-upgrade");
    let labels = json!({"app": name});
    Ok(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": format!("{name}-{}", until.as_second()), "namespace": namespace, "labels": labels},
        "spec": {
            "backoffLimit": 100,
            "activeDeadlineSeconds": 2 * PATIENCE.as_secs(),
            "ttlSecondsAfterFinished": 3600,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }))
}
