//! What is cut short by something newer, and what is not.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nave_bed::eventually;
use nave_runtime::Conditions;
use serde_json::json;

use crate::{
    charts::{config, deployment, hook},
    stage::{DEADLINE, Stage},
};

async fn are(stage: &Stage, wanted: &[&str]) -> Result<()> {
    eventually(DEADLINE, &format!("{wanted:?} are stored"), || async {
        let versions = stage.versions().await?;
        ensure!(versions == wanted, "{versions:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_ends_the_tests_of_an_old_one() -> Result<()> {
    let stage = Stage::start("cut-test").await?;
    let check = |after: &str| {
        let ends = format!("bed.nave.dev/complete-after: \"{after}\"");
        [
            ("templates/a.yaml", config("a", after, "")),
            (
                "templates/test.yaml",
                hook("Pod", "check", "test", "before-hook-creation", &ends),
            ),
        ]
    };
    stage.publish("1.0.0", &check("1h")).await?;
    // The timeout is longer than the test would wait.
    let spec = json!({"timeout": "30m", "test": {"enable": true}});
    stage.apply(spec.clone()).await?;
    stage.condition("TestSuccess", "Unknown", "AwaitingTests").await?;
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    eventually(DEADLINE, "the test runs", || async {
        Ok(pods.get("check").await.map(|_| ())?)
    })
    .await?;
    stage.publish("1.0.1", &check("0s")).await?;
    let status = stage.ready("1.0.1").await?;
    assert_eq!(status.conditions.reason_of("Ready"), Some("TestSucceeded"));
    assert_eq!((status.failures, status.install_failures), (0, 0));
    assert_eq!(stage.versions().await?, ["1:superseded", "2:deployed"]);
    let tests = status.history[1].test_hooks.clone();
    assert!(
        tests.is_none(),
        "what was cut short neither passed nor failed: {tests:?}"
    );
    stage.told("HealthCheckCanceled Helm test of").await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_ends_the_wait_of_a_remedy() -> Result<()> {
    let stage = Stage::start("cut-remedy").await?;
    let stops = json!([{"apiVersion": "v1", "kind": "ConfigMap", "current": "data.value != '1' || !has(data.stop)",
        "inProgress": "data.value == '1' && has(data.stop)"}]);
    let upgrade = json!({"timeout": "1s", "remediation": {"retries": 3}});
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    stage
        .apply(json!({"timeout": "30m", "healthCheckExprs": stops, "upgrade": upgrade}))
        .await?;
    stage.ready("1.0.0").await?;
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let stop = Patch::Merge(json!({"data": {"stop": "here"}}));
    maps.patch("a", &PatchParams::default(), &stop).await?;
    let bad = [
        ("templates/a.yaml", config("a", "2", "")),
        (
            "templates/web.yaml",
            deployment("web", "bed.nave.dev/ready-after: \"1h\""),
        ),
    ];
    stage.publish("2.0.0", &bad).await?;
    are(&stage, &["1:deployed", "2:failed", "3:pending-rollback"]).await?;
    stage
        .publish("3.0.0", &[("templates/a.yaml", config("a", "3", ""))])
        .await?;
    let status = stage.ready("3.0.0").await?;
    assert!(status.conditions.get_condition("Remediated").is_none(), "{status:?}");
    assert_eq!(stage.value("a").await?.as_deref(), Some("3"));
    stage
        .told("HealthCheckCanceled Helm rollback to previous release of")
        .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_a_look_ends_no_wait_and_who_forces_does() -> Result<()> {
    let stage = Stage::start("cut-asked").await?;
    let slow = deployment("{{ .Release.Name }}", "bed.nave.dev/ready-after: \"1h\"");
    stage.publish("1.0.0", &[("templates/web.yaml", slow)]).await?;
    let remediation = json!({"retries": 3});
    stage
        .apply(json!({"timeout": "30m", "install": {"remediation": remediation}}))
        .await?;
    are(&stage, &["1:pending-install"]).await?;
    let ask = async |name: &str, keys: &[&str], value: &str| -> Result<()> {
        let annotations: serde_json::Map<_, _> = keys
            .iter()
            .map(|key| (format!("reconcile.fluxcd.io/{key}"), json!(value)))
            .collect();
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        stage.releases().patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    };
    ask("shop", &["requestedAt"], "one").await?;
    // The watch tells of this one later, and it comes to its end.
    let other = json!({"install": {"disableWait": true}, "releaseName": "other"});
    stage.apply_named("other", other).await?;
    eventually(DEADLINE, "the other is ready", || async {
        let status = stage.releases().get("other").await?.status.context("no status")?;
        ensure!(status.conditions.is_true("Ready"), "{status:?}");
        Ok(())
    })
    .await?;
    are(&stage, &["1:pending-install"]).await?;
    ask("shop", &["requestedAt", "forceAt"], "two").await?;
    are(&stage, &["1:failed", "2:pending-upgrade"]).await?;
    let status = stage.status().await?;
    assert_eq!((status.failures, status.install_failures), (0, 0), "no try is used up");
    stage
        .publish("1.0.1", &[("templates/web.yaml", deployment("web", ""))])
        .await?;
    stage.ready("1.0.1").await?;
    stage.stop().await
}
