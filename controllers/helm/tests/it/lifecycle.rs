//! A release from its installation to its end.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{batch::v1::Job, core::v1::ConfigMap};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use nave_bed::eventually;
use nave_runtime::Conditions;
use serde_json::json;

use crate::{
    charts::{config, deployment, hook},
    stage::{DEADLINE, Stage},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_is_installed_upgraded_tested_and_uninstalled() -> Result<()> {
    let stage = Stage::start("lifecycle").await?;
    let ends = "bed.nave.dev/complete-after: \"0s\"";
    let files = |value: &str| {
        vec![
            ("templates/a.yaml", config("a", value, "")),
            (
                "templates/kept.yaml",
                config("kept", value, "helm.sh/resource-policy: keep"),
            ),
            ("templates/web.yaml", deployment("web", "")),
            (
                "templates/pre.yaml",
                hook("Job", "pre", "pre-install,pre-upgrade", "before-hook-creation", ends),
            ),
            (
                "templates/test.yaml",
                hook("Pod", "check", "test", "hook-succeeded", ends),
            ),
            ("templates/NOTES.txt", "Enjoy.\n".to_owned()),
        ]
    };
    let mut first = files("1");
    first.push(("templates/b.yaml", config("b", "1", "")));
    stage.publish("1.0.0", &first).await?;
    let values = json!({"replicas": 3, "nested": {"text": "x"}});
    stage.apply(json!({"test": {"enable": true}, "values": values})).await?;
    let status = stage.ready("1.0.0").await?;

    assert_eq!(status.conditions.reason_of("Ready"), Some("TestSucceeded"));
    assert_eq!(status.conditions.reason_of("Released"), Some("InstallSucceeded"));
    assert!(status.conditions.get_condition("Reconciling").is_none());
    let newest = &status.history[0];
    assert_eq!(
        (newest.version, newest.status.as_str(), newest.action.as_str()),
        (1, "deployed", "install")
    );
    assert_eq!((newest.chart_name.as_str(), newest.app_version.as_str()), ("shop", "7"));
    let tests = newest.test_hooks.clone().context("it was tested")?;
    assert_eq!(tests["check"].phase, "Succeeded");
    assert_eq!(status.storage_namespace, stage.namespace);
    assert_eq!(status.last_attempted_revision, "1.0.0");
    let ns = &stage.namespace;
    let mut ids: Vec<String> = status
        .inventory
        .clone()
        .context("an inventory")?
        .entries
        .into_iter()
        .map(|entry| entry.id)
        .collect();
    ids.sort();
    let wanted = ["a__ConfigMap", "b__ConfigMap", "kept__ConfigMap", "web_apps_Deployment"];
    assert_eq!(ids, wanted.map(|id| format!("{ns}_{id}")));

    let stored = stage.stored().await?;
    let info = stored[0].info.clone().context("it has one")?;
    assert_eq!(
        (info.description.as_str(), info.notes.as_str()),
        ("Install complete", "Enjoy.\n")
    );
    assert_eq!(
        nave_release::to_go_json(&stored[0].config),
        r#"{"nested":{"text":"x"},"replicas":3}"#
    );
    let phases: Vec<&str> = stored[0]
        .hooks
        .iter()
        .map(|hook| hook.last_run.phase.as_str())
        .collect();
    assert_eq!(phases, ["Succeeded", "Succeeded"]);
    assert_eq!(nave_release::snapshot_digest(&stored[0], ""), newest.digest);

    let live = stage.config("a").await?.context("it was applied")?;
    let metadata = live.metadata;
    let labels = metadata.labels.context("labels")?;
    for (key, value) in [
        ("app.kubernetes.io/managed-by", "Helm"),
        ("helm.toolkit.fluxcd.io/name", "shop"),
        ("helm.toolkit.fluxcd.io/namespace", ns.as_str()),
    ] {
        assert_eq!(labels.get(key).map(String::as_str), Some(value));
    }
    let annotations = metadata.annotations.context("annotations")?;
    assert_eq!(
        annotations.get("meta.helm.sh/release-name").map(String::as_str),
        Some("shop")
    );
    let managers: Vec<String> = metadata
        .managed_fields
        .context("fields")?
        .into_iter()
        .filter_map(|entry| entry.manager)
        .collect();
    assert_eq!(managers, ["helm-controller"]);
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(stage.client.clone(), ns);
    assert!(
        pods.get_opt("check").await?.is_none(),
        "a test with this policy is deleted"
    );
    let jobs: Api<Job> = Api::namespaced(stage.client.clone(), ns);
    let before = jobs.get("pre").await?.metadata.uid;

    stage.publish("1.1.0", &files("2")).await?;
    let status = stage.ready("1.1.0").await?;
    assert_eq!(stage.versions().await?, ["1:superseded", "2:deployed"]);
    let known: Vec<String> = status
        .history
        .iter()
        .map(|one| format!("{}:{}", one.version, one.status))
        .collect();
    assert_eq!(known, ["2:deployed", "1:superseded"]);
    assert_eq!(stage.value("a").await?.as_deref(), Some("2"));
    assert_eq!(stage.value("b").await?, None, "what left the chart is deleted");
    assert_ne!(jobs.get("pre").await?.metadata.uid, before, "the hook ran again");

    // Nothing changed: nothing is written, whoever asks.
    stage.request("again", &[]).await?;
    assert_eq!(stage.versions().await?, ["1:superseded", "2:deployed"]);
    stage.request("by force", &["reconcile.fluxcd.io/forceAt"]).await?;
    eventually(DEADLINE, "a forced upgrade", || async {
        ensure!(
            stage.versions().await? == ["1:superseded", "2:superseded", "3:deployed"],
            "{:?}",
            stage.versions().await?
        );
        Ok(())
    })
    .await?;
    for part in [
        format!("InstallSucceeded Helm install succeeded for release {ns}/shop.v1 with chart shop@1.0.0"),
        format!(
            "TestSucceeded Helm test succeeded for release {ns}/shop.v1 with chart shop@1.0.0: 1 test hook completed"
        ),
        format!("UpgradeSucceeded Helm upgrade succeeded for release {ns}/shop.v2 with chart shop@1.1.0"),
    ] {
        stage.told(&part).await?;
    }

    stage.delete().await?;
    assert!(stage.versions().await?.is_empty());
    assert_eq!(stage.value("a").await?, None);
    assert_eq!(stage.value("kept").await?.as_deref(), Some("2"));
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_corrected_where_it_is_not_ignored() -> Result<()> {
    let stage = Stage::start("drift").await?;
    let files = [
        ("templates/a.yaml", config("a", "1", "")),
        ("templates/b.yaml", config("b", "1", "")),
    ];
    stage.publish("1.0.0", &files).await?;
    let ignore = json!([{"paths": ["/data/value"], "target": {"name": "b"}}]);
    stage
        .apply(json!({"driftDetection": {"mode": "enabled", "ignore": ignore}}))
        .await?;
    let status = stage.ready("1.0.0").await?;
    assert_eq!(status.conditions.reason_of("Drifted"), Some("NoDriftDetected"));

    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    api.delete("a", &DeleteParams::default()).await?;
    let patch = kube::api::Patch::Merge(json!({"data": {"value": "other"}}));
    api.patch("b", &kube::api::PatchParams::default(), &patch).await?;
    stage.request("look", &[]).await?;
    assert_eq!(stage.value("a").await?.as_deref(), Some("1"));
    assert_eq!(stage.value("b").await?.as_deref(), Some("other"));
    assert_eq!(
        stage.versions().await?,
        ["1:deployed"],
        "correcting makes no new version"
    );
    stage.told("DriftCorrected").await?;
    let gone = format!("ConfigMap/{}/a removed", stage.namespace);
    let events = stage.events().await?;
    assert!(events.iter().any(|event| event.contains(&gone)), "{events:?}");
    // Only what drifted is written, by name: the object is not applied anew, and stays who it is.
    let patch = kube::api::Patch::Merge(json!({"data": {"value": "9", "extra": "mine"}}));
    let changed = api.patch("a", &kube::api::PatchParams::default(), &patch).await?;
    stage.request("look again", &[]).await?;
    let now = stage.config("a").await?.context("it is there")?;
    let data = now.data.context("it has data")?;
    assert_eq!((data["value"].as_str(), data["extra"].as_str()), ("1", "mine"));
    assert_eq!(now.metadata.uid, changed.metadata.uid);

    stage.apply(json!({"driftDetection": {"mode": "warn"}})).await?;
    let status = stage.condition("Drifted", "True", "DriftDetected").await?;
    let drifted = status.conditions.get_condition("Drifted").context("it is reported")?;
    let named = format!("ConfigMap/{}/b changed: data.value", stage.namespace);
    assert!(drifted.message.ends_with(&named), "{}", drifted.message);
    let metrics = String::from_utf8(stage.metrics.render())?;
    let series = format!(
        "nave_drifted_objects{{kind=\"HelmRelease\",name=\"shop\",namespace=\"{}\"}} 1",
        stage.namespace
    );
    assert!(metrics.contains(&series), "{metrics}");
    assert_eq!(stage.value("b").await?.as_deref(), Some("other"));
    assert_eq!(
        api.list(&ListParams::default()).await?.items.len(),
        3,
        "ours and the root certificate's"
    );
    stage.stop().await
}
