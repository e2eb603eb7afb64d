//! FleetHelmRelease: its chart is packed on the hub once, and its health comes back from both sorts of clusters.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use nave_bed::eventually;
use nave_crds::{Cluster, FleetHelmRelease, FleetKustomization, GitRepository, HelmChart, HelmRelease, HelmRepository};
use nave_placement_controller::ClusterState;
use serde_json::{Value, json};

use crate::stage::{DEADLINE, Stage};

async fn fleet(stage: &Stage, change: impl FnOnce(&mut Value)) -> Result<FleetHelmRelease> {
    let mut object = json!({"spec": {
        "placement": {"selector": {}},
        "spokeNamespace": "shop",
        "source": {"template": {"kind": "HelmRepository", "spec": {"url": "https://charts.example.com", "interval": "1h"}}},
        "template": {"spec": {
            "interval": "5m",
            "chart": {"spec": {"chart": "web", "version": "1.x"}},
            "values": {"host": "${cluster.name}.example.com"},
        }},
        "overrides": [{"names": ["eu-1"], "merge": {"spec": {"values": {"replicas": 3}}}}],
    }});
    change(&mut object);
    stage.apply("web", object).await
}

async fn kubeconfig_cluster(stage: &Stage, name: &str) -> Result<Cluster> {
    let spec = json!({"mode": "KubeConfig", "kubeConfig": {"secretRef": {"name": "k"}}});
    stage.apply(name, json!({"spec": spec})).await
}

/// The source controller packs the chart.
async fn pack(stage: &Stage, version: &str) -> Result<HelmChart> {
    let chart = eventually(DEADLINE, "the chart on the hub", || async {
        Ok(stage.api::<HelmChart>().get("web").await?)
    })
    .await?;
    let artifact = json!({"path": "p", "url": "http://x", "revision": version, "digest": "sha256:00",
        "lastUpdateTime": "2026-01-01T00:00:00Z"});
    let status = json!({"artifact": artifact, "observedGeneration": 1});
    stage.set_status::<HelmChart>("web", status).await?;
    Ok(chart)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_is_packed_once_and_released_everywhere() -> Result<()> {
    let stage = Stage::start("charts").await?;
    stage.agent("eu-1", json!({})).await?;
    kubeconfig_cluster(&stage, "on-prem").await?;
    fleet(&stage, |_| {}).await?;

    let chart = pack(&stage, "1.2.3").await?;
    ensure!((chart.spec.chart.as_str(), chart.spec.version.as_str()) == ("web", "1.x"));
    ensure!((chart.spec.source_ref.kind.as_str(), chart.spec.source_ref.name.as_str()) == ("HelmRepository", "web"));
    let repository = stage.api::<HelmRepository>().get("web").await?;
    ensure!(repository.spec.url == "https://charts.example.com");

    let item = stage.item_of::<FleetHelmRelease>("eu-1", "web").await?;
    let artifact = item.artifact.as_ref().context("the chart goes along")?;
    ensure!(artifact.handle.origin == format!("HelmChart/{}/web", stage.namespace));
    let release = item.objects[1].as_value();
    ensure!(release["spec"]["chartRef"] == json!({"kind": "ExternalArtifact", "name": "web"}));
    ensure!(release["spec"]["values"] == json!({"host": "eu-1.example.com", "replicas": 3}));

    let made = eventually(DEADLINE, "the HelmRelease on the hub", || async {
        Ok(stage.api::<HelmRelease>().get("web-on-prem").await?)
    })
    .await?;
    let reference = made.spec.chart_ref.as_ref().context("chartRef")?;
    ensure!((reference.kind.as_str(), reference.name.as_str()) == ("HelmChart", "web"));
    ensure!((made.spec.release_name.as_str(), made.spec.target_namespace.as_str()) == ("web", "shop"));

    stage.hub.say(&item, &stage.key("eu-1"), ClusterState::Ready, "");
    let status = |ready: &str, reason: &str, attempted: &str| {
        json!({"observedGeneration": made.metadata.generation, "lastAttemptedRevision": attempted, "conditions": [{
            "type": "Ready", "status": ready, "reason": reason, "message": "says so",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": made.metadata.generation}]})
    };
    let failed = status("False", "InstallFailed", "1.2.3");
    stage.set_status::<HelmRelease>("web-on-prem", failed).await?;
    let message = stage
        .ready_of::<FleetHelmRelease>("web", "False ClustersFailed")
        .await?;
    ensure!(message == "1 of 2 clusters failed: on-prem: says so", "{message}");
    let good = status("True", "InstallSucceeded", "1.2.3");
    stage.set_status::<HelmRelease>("web-on-prem", good).await?;
    let message = stage.ready_of::<FleetHelmRelease>("web", "True AllReady").await?;
    ensure!(message == "2 of 2 clusters ready at 1.2.3", "{message}");

    // Another kind of source: what was made of the former kind goes.
    fleet(&stage, |object| {
        object["spec"]["source"] = json!({"template": {"kind": "GitRepository",
            "spec": {"url": "https://git/charts", "interval": "1m"}}});
        object["spec"]["template"]["spec"]["chart"] = json!({"spec": {"chart": "./charts/web"}});
    })
    .await?;
    stage.gone::<HelmRepository>("web").await?;
    eventually(DEADLINE, "the chart is of the other source", || async {
        let chart = stage.api::<HelmChart>().get("web").await?;
        ensure!(
            chart.spec.source_ref.kind == "GitRepository",
            "{:?}",
            chart.spec.source_ref
        );
        Ok(())
    })
    .await?;

    stage.delete::<FleetHelmRelease>("web").await?;
    stage.gone::<HelmRelease>("web-on-prem").await?;
    stage.gone::<HelmChart>("web").await?;
    stage.gone::<GitRepository>("web").await?;
    stage.gone::<FleetHelmRelease>("web").await?;
    let deletes = stage.hub.deletes();
    ensure!(deletes.iter().any(|line| line.starts_with("eu-1 web")), "{deletes:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_chart_is_said_on_the_fleet_object() -> Result<()> {
    let stage = Stage::start("badcharts").await?;
    stage.agent("eu-1", json!({})).await?;
    fleet(&stage, |object| {
        object["spec"]["template"]["spec"]["chart"]["spec"]["vresion"] = json!("1.x");
    })
    .await?;
    let message = stage.ready_of::<FleetHelmRelease>("web", "False InvalidSpec").await?;
    ensure!(
        message == "spec.template.spec.chart: spec.vresion is no known field",
        "{message}"
    );
    // The repository's own trouble says more than that there is no chart.
    fleet(&stage, |_| {}).await?;
    eventually(DEADLINE, "the repository on the hub", || async {
        Ok(stage.api::<HelmRepository>().get("web").await?)
    })
    .await?;
    let ready = json!([{"type": "Ready", "status": "False", "reason": "Failed", "message": "no such host",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let status = json!({"conditions": ready, "observedGeneration": 1});
    stage.set_status::<HelmRepository>("web", status).await?;
    let want = format!("HelmRepository/{}/web is not ready: no such host", stage.namespace);
    eventually(DEADLINE, "the reason", || async {
        let message = stage
            .ready_of::<FleetHelmRelease>("web", "False SourceNotReady")
            .await?;
        ensure!(message == want, "{message}");
        Ok(())
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_fleet_objects_of_one_name_do_not_share_a_source() -> Result<()> {
    let stage = Stage::start("samename").await?;
    stage.agent("eu-1", json!({})).await?;
    stage.fleet(|_| {}).await?;
    stage.ready("apps", "False SourceNotReady").await?;
    let git = json!({"template": {"kind": "GitRepository", "spec": {"url": "https://git/charts", "interval": "1m"}}});
    let spec = json!({"placement": {"selector": {}}, "source": git,
        "template": {"spec": {"interval": "5m", "chart": {"spec": {"chart": "./web"}}}}});
    stage.apply::<FleetHelmRelease>("apps", json!({"spec": spec})).await?;
    let message = stage.ready_of::<FleetHelmRelease>("apps", "False Conflict").await?;
    ensure!(message.contains("was not made by this fleet object"), "{message}");
    let owner = stage.api::<GitRepository>().get("apps").await?;
    let first = stage.api::<FleetKustomization>().get("apps").await?;
    ensure!(owner.labels().get("fleet.nave.dev/uid") == first.uid().as_ref());
    Ok(())
}
