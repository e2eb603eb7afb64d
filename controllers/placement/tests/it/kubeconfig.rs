//! Clusters that the hub reaches with a kubeconfig.

use anyhow::{Context, Result, ensure};
use nave_bed::eventually;
use nave_crds::{Cluster, FleetKustomization, Kustomization};
use nave_placement_controller::{ClusterFacts, ProbeError};
use serde_json::{Value, json};

use crate::stage::{DEADLINE, Stage};

async fn cluster(stage: &Stage, name: &str, labels: Value) -> Result<Cluster> {
    let spec = json!({"mode": "KubeConfig", "kubeConfig": {"secretRef": {"name": "k", "key": "config"}}});
    stage
        .apply(name, json!({"metadata": {"labels": labels}, "spec": spec}))
        .await
}

async fn kustomization(stage: &Stage, name: &str) -> Result<Kustomization> {
    eventually(DEADLINE, &format!("Kustomization {name}"), || async {
        Ok(stage.api::<Kustomization>().get(name).await?)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_cluster_gets_a_kustomization_on_the_hub() -> Result<()> {
    let stage = Stage::start("onhub").await?;
    cluster(&stage, "on-prem", json!({"env": "prod"})).await?;
    stage
        .fleet(|object| object["spec"]["placement"] = json!({"selector": {"matchLabels": {"env": "prod"}}}))
        .await?;
    let made = kustomization(&stage, "apps-on-prem").await?;
    let secret = made
        .spec
        .kube_config
        .as_ref()
        .and_then(|one| one.secret_ref.as_ref())
        .context("kubeConfig")?;
    ensure!((secret.name.as_str(), secret.key.as_str()) == ("k", "config"));
    ensure!((made.spec.source_ref.kind.as_str(), made.spec.source_ref.name.as_str()) == ("GitRepository", "apps"));
    stage.publish("apps", "main@sha1:1").await?;
    let ready = |status: &str, reason: &str, generation: Option<i64>| {
        json!([{"type": "Ready", "status": status, "reason": reason, "message": "says so",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation}])
    };
    let generation = made.metadata.generation;
    let failed =
        json!({"conditions": ready("False", "BuildFailed", generation), "lastAttemptedRevision": "main@sha1:1"});
    stage.set_status::<Kustomization>("apps-on-prem", failed).await?;
    let message = stage.ready("apps", "False ClustersFailed").await?;
    ensure!(message == "1 of 1 cluster failed: on-prem: says so", "{message}");
    let good = json!({"conditions": ready("True", "ReconciliationSucceeded", generation),
        "lastAppliedRevision": "main@sha1:1", "observedGeneration": generation});
    stage.set_status::<Kustomization>("apps-on-prem", good).await?;
    stage.ready("apps", "True AllReady").await?;

    // What someone changes on the hub is put right; what someone deletes comes back.
    stage
        .apply::<Kustomization>(
            "apps-on-prem",
            json!({"spec": {"path": "./elsewhere", "interval": "5m", "prune": true,
            "sourceRef": {"kind": "GitRepository", "name": "apps"}}}),
        )
        .await?;
    eventually(DEADLINE, "the path is put right", || async {
        let path = stage.api::<Kustomization>().get("apps-on-prem").await?.spec.path;
        ensure!(path == "./apps", "it is {path}");
        Ok(())
    })
    .await?;
    let uid = made.metadata.uid;
    stage.delete::<Kustomization>("apps-on-prem").await?;
    eventually(DEADLINE, "it comes back", || async {
        let now = stage.api::<Kustomization>().get("apps-on-prem").await?;
        ensure!(now.metadata.uid != uid, "it is the old one");
        Ok(())
    })
    .await?;

    cluster(&stage, "on-prem", json!({"env": "test"})).await?;
    stage.gone::<Kustomization>("apps-on-prem").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_behind_makes_and_deletes_nothing() -> Result<()> {
    let stage = Stage::start("behind").await?;
    for name in ["one", "two"] {
        cluster(&stage, name, json!({"env": "prod"})).await?;
    }
    stage
        .fleet(|object| object["spec"]["placement"] = json!({"selector": {"matchLabels": {"env": "prod"}}}))
        .await?;
    let before = kustomization(&stage, "apps-one").await?;
    kustomization(&stage, "apps-two").await?;
    stage.publish("apps", "main@sha1:1").await?;

    // What the restored hub knows is older than what is there: another path, and fewer clusters.
    stage.hub.set_behind(true);
    cluster(&stage, "two", json!({"env": "test"})).await?;
    stage
        .fleet(|object| {
            object["spec"]["placement"] = json!({"selector": {"matchLabels": {"env": "prod"}}});
            object["spec"]["template"]["spec"]["path"] = json!("./older");
        })
        .await?;
    let message = stage.ready("apps", "False Behind").await?;
    ensure!(message.contains("it was restored"), "{message}");
    let now = stage.api::<Kustomization>().get("apps-one").await?;
    ensure!(now.spec.path == before.spec.path, "it became {}", now.spec.path);
    stage.api::<Kustomization>().get("apps-two").await?;

    // An operator confirms.
    stage.hub.set_behind(false);
    stage.gone::<Kustomization>("apps-two").await?;
    eventually(DEADLINE, "the path that is wanted", || async {
        let path = stage.api::<Kustomization>().get("apps-one").await?.spec.path;
        ensure!(path == "./older", "it is {path}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kustomization_of_someone_else_is_left_alone() -> Result<()> {
    let stage = Stage::start("foreign").await?;
    let theirs =
        json!({"spec": {"interval": "5m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "theirs"}}});
    stage.apply::<Kustomization>("apps-on-prem", theirs).await?;
    cluster(&stage, "on-prem", json!({})).await?;
    stage.fleet(|_| {}).await?;
    stage.publish("apps", "main@sha1:1").await?;
    stage.ready("apps", "False ClustersDenied").await?;
    let status = stage
        .api::<FleetKustomization>()
        .get("apps")
        .await?
        .status
        .context("a status")?;
    ensure!(status.unhealthy[0].reason == "Conflict", "{status:?}");
    ensure!(kustomization(&stage, "apps-on-prem").await?.spec.source_ref.name == "theirs");
    stage.delete::<FleetKustomization>("apps").await?;
    stage.gone::<FleetKustomization>("apps").await?;
    kustomization(&stage, "apps-on-prem").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_that_does_not_work_is_told_and_heals() -> Result<()> {
    let stage = Stage::start("probe").await?;
    stage
        .hub
        .probes_find("on-prem", Err(ProbeError::Missing("Secret k does not exist".into())));
    cluster(&stage, "on-prem", json!({})).await?;
    let condition = async |kind: &str, want: &str| -> Result<String> {
        eventually(DEADLINE, &format!("{kind} is {want}"), || async {
            let status = stage
                .api::<Cluster>()
                .get("on-prem")
                .await?
                .status
                .context("no status")?;
            let found = status
                .conditions
                .into_iter()
                .find(|one| one.type_ == kind)
                .context("no such condition")?;
            let is = format!("{} {}", found.status, found.reason);
            ensure!(is == want, "it is {is}");
            Ok(found.message)
        })
        .await
    };
    ensure!(condition("Ready", "False KubeConfigMissing").await? == "Secret k does not exist");
    condition("Joined", "False KubeConfigMissing").await?;
    let version = stage.api::<Cluster>().get("on-prem").await?.metadata.resource_version;
    eventually(DEADLINE, "it is probed again", || async {
        ensure!(
            stage.hub.probed("on-prem") >= 2,
            "{} times",
            stage.hub.probed("on-prem")
        );
        Ok(())
    })
    .await?;
    ensure!(
        stage.api::<Cluster>().get("on-prem").await?.metadata.resource_version == version,
        "written again"
    );
    // Back-off: two seconds, then four: in the time this took there were not many.
    ensure!(stage.hub.probed("on-prem") <= 4);
    let facts = ClusterFacts {
        kubernetes_version: "v1.36.3".into(),
    };
    stage.hub.probes_find("on-prem", Ok(facts));
    condition("Ready", "True KubeConfigValid").await?;
    condition("Connected", "True KubeConfigValid").await?;
    let status = stage
        .api::<Cluster>()
        .get("on-prem")
        .await?
        .status
        .context("a status")?;
    ensure!(status.kubernetes_version == "v1.36.3");
    Ok(())
}
