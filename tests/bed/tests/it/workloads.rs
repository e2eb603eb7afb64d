//! Pods run without a container engine, and do what their annotations say.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use nave_bed::eventually;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{DEADLINE, namespace, planes};

async fn create<K>(client: &Client, namespace: &str, object: Value) -> Result<Api<K>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &serde_json::from_value(object)?)
        .await?;
    Ok(api)
}

fn template(annotations: Value) -> Value {
    json!({
        "metadata": {"labels": {"app": "a"}, "annotations": annotations},
        "spec": {"containers": [{"name": "c", "image": "registry.example/image:1"}]},
    })
}

fn workload(name: &str, replicas: u32, annotations: Value) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "a"}}, "template": template(annotations)},
    })
}

fn pod(name: &str, annotations: Value) -> Value {
    let mut pod = template(annotations);
    pod["metadata"]["name"] = json!(name);
    pod
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

/// Why the first container waits or has ended.
fn reason(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let state = status.state.as_ref()?;
    let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.clone());
    waiting.or_else(|| {
        state
            .terminated
            .as_ref()
            .and_then(|terminated| terminated.reason.clone())
    })
}

async fn wait_for(pods: &Api<Pod>, name: &str, what: &str, condition: impl Fn(&Pod) -> bool) -> Result<Pod> {
    eventually(DEADLINE, &format!("pod {name} {what}"), || async {
        let pod = pods.get(name).await?;
        if condition(&pod) {
            Ok(pod)
        } else {
            bail!("its status is {}", json!(pod.status))
        }
    })
    .await
}

#[tokio::test]
async fn a_deployment_becomes_ready() -> Result<()> {
    let plane = &planes().await[0];
    let client = plane.client();
    let namespace = namespace(&client, "deployment").await?;
    let started = Instant::now();
    let deployments: Api<Deployment> = create(&client, &namespace, workload("d", 3, json!({}))).await?;
    eventually(DEADLINE, "three ready replicas", || async {
        let status = deployments.get("d").await?.status.context("no status")?;
        if status.available_replicas == Some(3) {
            Ok(())
        } else {
            bail!("{}", json!(status))
        }
    })
    .await?;
    eprintln!("a deployment was 3/3 after {} ms", started.elapsed().as_millis());
    if let Some(process) = plane.process() {
        eprintln!(
            "its plane was ready after {:?} ms and holds {} KiB",
            plane.start_millis(),
            process.resident_kib()?
        );
    }
    Ok(())
}

#[tokio::test]
async fn stateful_and_daemon_sets_become_ready() -> Result<()> {
    let plane = &planes().await[0];
    let client = plane.client();
    let namespace = namespace(&client, "sets").await?;
    let stateful: Api<StatefulSet> = create(&client, &namespace, workload("s", 2, json!({}))).await?;
    let daemons: Api<DaemonSet> = create(
        &client,
        &namespace,
        json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template(json!({}))}}),
    )
    .await?;
    eventually(DEADLINE, "both sets to be ready", || async {
        let stateful = stateful.get("s").await?.status.context("no status")?;
        let daemons = daemons.get("d").await?.status.context("no status")?;
        let all = daemons.desired_number_scheduled;
        if stateful.ready_replicas == Some(2) && all > 0 && daemons.number_ready == all {
            Ok(())
        } else {
            bail!("{} {}", json!(stateful), json!(daemons))
        }
    })
    .await
}

#[tokio::test]
async fn a_delayed_pod_runs_first_and_is_ready_later() -> Result<()> {
    let plane = &planes().await[0];
    if plane.skip(
        "delayed pod",
        plane.obeys_annotations(),
        "it does not obey the annotations of the bed",
    ) {
        return Ok(());
    }
    let client = plane.client();
    let namespace = namespace(&client, "delayed").await?;
    let pods: Api<Pod> = create(
        &client,
        &namespace,
        pod("p", json!({"bed.nave.dev/ready-after": "1500ms"})),
    )
    .await?;
    let running = wait_for(&pods, "p", "to run", |pod| phase(pod) == "Running").await?;
    let started = Instant::now();
    assert!(!ready(&running), "it is ready at once: {}", json!(running.status));
    wait_for(&pods, "p", "to be ready", ready).await?;
    assert!(
        started.elapsed() > Duration::from_secs(1),
        "it was ready after {:?}",
        started.elapsed()
    );
    Ok(())
}

#[tokio::test]
async fn a_pod_fails_as_its_annotation_says_and_recovers() -> Result<()> {
    let plane = &planes().await[0];
    if plane.skip(
        "failing pods",
        plane.obeys_annotations(),
        "it does not obey the annotations of the bed",
    ) {
        return Ok(());
    }
    let client = plane.client();
    let namespace = namespace(&client, "failing").await?;
    for (why, in_phase) in [
        ("CrashLoopBackOff", "Running"),
        ("ErrImagePull", "Pending"),
        ("OOMKilled", "Running"),
        ("Anything", "Running"),
    ] {
        let name = why.to_lowercase();
        let pods: Api<Pod> = create(&client, &namespace, pod(&name, json!({"bed.nave.dev/fail": why}))).await?;
        let failed = wait_for(&pods, &name, "to fail", |pod| reason(pod).as_deref() == Some(why)).await?;
        assert_eq!((phase(&failed), ready(&failed)), (in_phase, false), "{why}");

        let cured = json!({"metadata": {"annotations": {"bed.nave.dev/fail": null}}});
        pods.patch(&name, &PatchParams::default(), &Patch::Merge(&cured))
            .await?;
        wait_for(&pods, &name, "to recover", ready).await?;
    }
    let annotations = json!({"bed.nave.dev/fail": "CrashLoopBackOff", "bed.nave.dev/fail-after": "1s"});
    let pods: Api<Pod> = create(&client, &namespace, pod("late", annotations)).await?;
    wait_for(&pods, "late", "to be ready", ready).await?;
    wait_for(&pods, "late", "to fail later", |pod| {
        reason(pod).as_deref() == Some("CrashLoopBackOff")
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn jobs_complete_or_fail() -> Result<()> {
    let plane = &planes().await[0];
    if plane.skip(
        "jobs",
        plane.obeys_annotations(),
        "it does not obey the annotations of the bed",
    ) {
        return Ok(());
    }
    let client = plane.client();
    let namespace = namespace(&client, "jobs").await?;
    let late = json!({"bed.nave.dev/complete-after": "1s"});
    let cases = [
        ("good", json!({}), "Complete"),
        ("late", late, "Complete"),
        ("bad", json!({"bed.nave.dev/fail": "Error"}), "Failed"),
    ];
    for (name, annotations, _) in &cases {
        let mut template = template(annotations.clone());
        template["spec"]["restartPolicy"] = json!("Never");
        let job = json!({"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template}});
        create::<Job>(&client, &namespace, job).await?;
    }
    let jobs: Api<Job> = Api::namespaced(client, &namespace);
    for (name, _, wanted) in cases {
        eventually(DEADLINE, &format!("job {name} to be {wanted}"), || async {
            let status = jobs.get(name).await?.status.context("no status")?;
            let mut conditions = status.conditions.iter().flatten();
            if conditions.any(|condition| condition.type_ == wanted && condition.status == "True") {
                Ok(())
            } else {
                bail!("{}", json!(status))
            }
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_volume_claim_is_bound_and_its_volume_goes_with_it() -> Result<()> {
    let plane = &planes().await[0];
    if plane.skip(
        "volume claims",
        plane.obeys_annotations(),
        "it has another provisioner of volumes",
    ) {
        return Ok(());
    }
    let client = plane.client();
    let namespace = namespace(&client, "volumes").await?;
    let claim = json!({
        "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let claims: Api<PersistentVolumeClaim> = create(&client, &namespace, claim).await?;
    let bound = eventually(DEADLINE, "the claim to be bound", || async {
        let claim = claims.get("c").await?;
        match &claim.status {
            Some(status) if status.phase.as_deref() == Some("Bound") => Ok(claim),
            status => bail!("its status is {}", json!(status)),
        }
    })
    .await?;
    let volume = bound
        .spec
        .and_then(|spec| spec.volume_name)
        .context("a bound claim names its volume")?;
    claims.delete("c", &DeleteParams::default()).await?;
    let volumes: Api<PersistentVolume> = Api::all(client);
    eventually(DEADLINE, "the volume to be deleted", || async {
        match volumes.get_opt(&volume).await? {
            None => Ok(()),
            Some(volume) => bail!("its status is {}", json!(volume.status)),
        }
    })
    .await
}

#[tokio::test]
async fn a_namespace_goes_away_with_all_that_runs_in_it() -> Result<()> {
    let plane = &planes().await[0];
    let client = plane.client();
    let namespace = namespace(&client, "deletion").await?;
    create::<Deployment>(&client, &namespace, workload("d", 2, json!({}))).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    eventually(DEADLINE, "two ready pods", || async {
        let found = pods.list(&ListParams::default()).await?;
        if found.iter().filter(|pod| ready(pod)).count() == 2 {
            Ok(())
        } else {
            bail!("{} pods", found.items.len())
        }
    })
    .await?;
    let namespaces: Api<Namespace> = Api::all(client);
    let started = Instant::now();
    namespaces.delete(&namespace, &DeleteParams::default()).await?;
    eventually(DEADLINE, "the namespace to be gone", || async {
        match namespaces.get_opt(&namespace).await? {
            None => Ok(()),
            Some(left) => bail!("its status is {}", json!(left.status)),
        }
    })
    .await?;
    eprintln!(
        "a namespace with a deployment was gone after {} ms",
        started.elapsed().as_millis()
    );
    Ok(())
}
