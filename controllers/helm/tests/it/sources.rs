//! The HelmChart that is made for a chart of a repository.

use anyhow::{Context, Result, ensure};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nave_bed::eventually;
use nave_crds::source::HelmChart;
use serde_json::json;

use crate::{
    charts::config,
    stage::{DEADLINE, Stage},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_helm_chart_is_made_followed_and_deleted() -> Result<()> {
    let stage = Stage::start("template").await?;
    let artifact = stage
        .publish_named("shop", "1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    let template = |version: &str| {
        json!({"interval": "1h", "timeout": "1m", "chart": {"metadata": {"labels": {"team": "green"}},
            "spec": {"chart": "shop", "version": version, "sourceRef": {"kind": "HelmRepository", "name": "charts"}}}})
    };
    stage.apply_spec("shop", template("1.x")).await?;
    let charts: Api<HelmChart> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let name = format!("{}-shop", stage.namespace);
    let made = eventually(DEADLINE, "the HelmChart", || async {
        charts.get_opt(&name).await?.context("it is not there")
    })
    .await?;
    assert_eq!((made.spec.chart.as_str(), made.spec.version.as_str()), ("shop", "1.x"));
    let labels = made.metadata.labels.clone().unwrap_or_default();
    assert_eq!(labels.get("team").map(String::as_str), Some("green"));
    assert_eq!(
        labels.get("helm.toolkit.fluxcd.io/name").map(String::as_str),
        Some("shop")
    );
    stage.failed("SourceNotReady", "HelmChart").await?;
    let fetched = async |generation: Option<i64>| {
        let status = json!({"status": {"observedGeneration": generation, "artifact": artifact}});
        charts
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
            .await
    };
    fetched(made.metadata.generation).await?;
    let status = stage.ready("1.0.0").await?;
    assert_eq!(status.helm_chart, format!("{}/{name}", stage.namespace));

    // A change of the template is one of the HelmChart.
    stage.apply_spec("shop", template("1.0.x")).await?;
    let changed = eventually(DEADLINE, "the HelmChart follows", || async {
        let found = charts.get(&name).await?;
        ensure!(found.spec.version == "1.0.x", "{}", found.spec.version);
        Ok(found)
    })
    .await?;
    assert_eq!(changed.metadata.uid, made.metadata.uid);
    fetched(changed.metadata.generation).await?;
    stage.ready("1.0.0").await?;
    stage.told("HelmChartCreated").await?;
    stage.told("HelmChartConfigured").await?;

    // With a reference it is not needed any more.
    stage
        .apply_spec(
            "shop",
            json!({"interval": "1h", "chartRef": {"kind": "ExternalArtifact", "name": "source"}}),
        )
        .await?;
    eventually(DEADLINE, "the HelmChart is deleted", || async {
        ensure!(charts.get_opt(&name).await?.is_none(), "it is still there");
        ensure!(stage.status().await?.helm_chart.is_empty(), "it is still in the status");
        Ok(())
    })
    .await?;
    stage.told("HelmChartDeleted").await?;
    assert_eq!(stage.versions().await?, ["1:deployed"], "the chart is the same");
    stage.stop().await
}
