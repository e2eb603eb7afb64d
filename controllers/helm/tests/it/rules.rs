//! Rules of the spec that are seen only over several reconciles: retries, resets, names, histories, tests.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use nave_bed::eventually;
use nave_runtime::Conditions;
use serde_json::json;

use crate::{
    charts::{config, deployment, hook},
    stage::{DEADLINE, Stage},
};

const NEVER: &str = "bed.nave.dev/ready-after: \"1h\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_retry_on_failure_nothing_is_undone_and_nothing_given_up() -> Result<()> {
    let stage = Stage::start("retry").await?;
    let files = |more: &str| {
        [
            ("templates/a.yaml", config("a", "1", "")),
            ("templates/web.yaml", deployment("web", more)),
        ]
    };
    stage.publish("1.0.0", &files(NEVER)).await?;
    let action = json!({"timeout": "1s", "strategy": {"name": "RetryOnFailure", "retryInterval": "1s"}});
    stage.apply(json!({"install": action, "upgrade": action})).await?;
    let first = eventually(DEADLINE, "the first try", || async {
        stage.config("a").await?.context("nothing is applied")
    })
    .await?;
    eventually(DEADLINE, "three tries", || async {
        let versions = stage.versions().await?;
        ensure!(versions.len() >= 3, "{versions:?}");
        ensure!(
            versions.iter().all(|version| !version.ends_with(":uninstalled")),
            "{versions:?}"
        );
        Ok(())
    })
    .await?;
    let status = stage.status().await?;
    assert!(status.conditions.get_condition("Stalled").is_none(), "{status:?}");
    assert!(status.conditions.get_condition("Remediated").is_none(), "{status:?}");
    let now = stage.config("a").await?.context("it stays")?;
    assert_eq!(
        now.metadata.uid, first.metadata.uid,
        "nothing was uninstalled in between"
    );
    stage.publish("1.0.1", &files("")).await?;
    let status = stage.ready("1.0.1").await?;
    assert_eq!(
        (status.failures, status.install_failures, status.upgrade_failures),
        (0, 0, 0)
    );
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_gives_the_tries_back_and_tokens_have_to_agree() -> Result<()> {
    let stage = Stage::start("reset").await?;
    stage
        .publish("1.0.0", &[("templates/web.yaml", deployment("web", NEVER))])
        .await?;
    stage
        .apply(json!({"install": {"timeout": "1s"}, "upgrade": {"timeout": "1s"}}))
        .await?;
    stage.condition("Stalled", "True", "RetriesExceeded").await?;
    assert_eq!(stage.versions().await?, ["1:failed"]);
    // A request alone gives nothing back.
    stage.request("plain", &[]).await?;
    assert_eq!(stage.versions().await?, ["1:failed"]);
    // Nor does an annotation whose token is not that of the request.
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/resetAt": "other", "reconcile.fluxcd.io/forceAt": "other"}}});
    stage
        .releases()
        .patch("shop", &Default::default(), &kube::api::Patch::Merge(patch))
        .await?;
    stage.request("again", &[]).await?;
    assert_eq!(stage.versions().await?, ["1:failed"]);
    let status = stage.status().await?;
    assert_eq!(
        (
            status.last_handled_reset_at.as_str(),
            status.last_handled_force_at.as_str()
        ),
        ("", "")
    );

    stage.request("reset", &["reconcile.fluxcd.io/resetAt"]).await?;
    eventually(DEADLINE, "another try", || async {
        let versions = stage.versions().await?;
        ensure!(
            versions.last().is_some_and(|version| version != "1:failed"),
            "{versions:?}"
        );
        ensure!(
            stage.status().await?.last_handled_reset_at == "reset",
            "it is not noted"
        );
        Ok(())
    })
    .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_moves_leaves_nothing_behind() -> Result<()> {
    let stage = Stage::start("moves").await?;
    let other = format!("{}-other", stage.namespace);
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    let object = serde_json::from_value(json!({"metadata": {"name": other}}))?;
    namespaces.create(&PostParams::default(), &object).await?;
    let file = [("templates/a.yaml", config("{{ .Release.Name }}-a", "1", ""))];
    stage.publish("1.0.0", &file).await?;
    stage.apply(json!({})).await?;
    stage.ready("1.0.0").await?;
    assert!(stage.config("shop-a").await?.is_some());
    // Another name.
    stage.apply(json!({"releaseName": "store"})).await?;
    eventually(DEADLINE, "the release has its new name", || async {
        ensure!(stage.config("store-a").await?.is_some(), "the new one is not there");
        ensure!(stage.config("shop-a").await?.is_none(), "the old one is still there");
        ensure!(stage.versions().await?.is_empty(), "the old records are still there");
        Ok(())
    })
    .await?;
    // Records elsewhere.
    stage
        .apply(json!({"releaseName": "store", "storageNamespace": other}))
        .await?;
    let records = |namespace: &str| {
        let api: Api<Secret> = Api::namespaced(stage.client.clone(), namespace);
        async move {
            let list = api.list(&ListParams::default().labels("owner=helm,name=store")).await?;
            anyhow::Ok(list.items.len())
        }
    };
    eventually(DEADLINE, "the records are elsewhere", || async {
        let (old, new) = (records(&stage.namespace).await?, records(&other).await?);
        ensure!((old, new) == (0, 1), "{old} old, {new} new");
        Ok(())
    })
    .await?;
    let status = stage.ready("1.0.0").await?;
    assert_eq!(status.storage_namespace, other);
    assert_eq!((status.history.len(), status.history[0].version), (1, 1));
    stage.delete().await?;
    assert_eq!(records(&other).await?, 0);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_versions_are_kept_as_the_spec_says() -> Result<()> {
    let stage = Stage::start("history").await?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    for count in 1..=4 {
        stage
            .apply(json!({"maxHistory": 2, "values": {"count": count}}))
            .await?;
        eventually(DEADLINE, &format!("version {count}"), || async {
            let versions = stage.versions().await?;
            ensure!(versions.last() == Some(&format!("{count}:deployed")), "{versions:?}");
            Ok(())
        })
        .await?;
    }
    assert_eq!(stage.versions().await?, ["3:superseded", "4:deployed"]);
    let status = stage.ready("1.0.0").await?;
    let known: Vec<i64> = status.history.iter().map(|one| one.version).collect();
    assert_eq!(known, [4, 3]);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_tests_that_are_asked_for_run_and_failures_count_as_told() -> Result<()> {
    let stage = Stage::start("filters").await?;
    let test = |name: &str, annotation: &str| hook("Pod", name, "test", "before-hook-creation", annotation);
    let files = [
        ("templates/a.yaml", config("a", "1", "")),
        (
            "templates/good.yaml",
            test("good", "bed.nave.dev/complete-after: \"0s\""),
        ),
        ("templates/bad.yaml", test("bad", "bed.nave.dev/fail: Error")),
    ];
    stage.publish("1.0.0", &files).await?;
    stage
        .apply(json!({"test": {"enable": true, "timeout": "5s", "filters": [{"name": "bad", "exclude": true}]}}))
        .await?;
    let status = stage.ready("1.0.0").await?;
    let tests = status.history[0].test_hooks.clone().context("it was tested")?;
    assert_eq!(tests["good"].phase, "Succeeded");
    assert_eq!(tests["bad"].phase, "", "it was left out");
    // All of them, and a failure that does not count. The spec is known before there is something to test.
    stage
        .apply(json!({"test": {"enable": true, "timeout": "5s", "ignoreFailures": true}}))
        .await?;
    stage.ready("1.0.0").await?;
    stage.publish("1.0.1", &files).await?;
    stage.condition("TestSuccess", "False", "TestFailed").await?;
    let status = stage.ready("1.0.1").await?;
    assert_eq!(status.conditions.reason_of("TestSuccess"), Some("TestFailed"));
    assert_eq!(status.conditions.reason_of("Ready"), Some("UpgradeSucceeded"));
    assert_eq!(status.history[0].version, 2);
    // And one that does: what was passed over is a failure now, and is tried anew.
    stage.apply(json!({"test": {"enable": true, "timeout": "5s"}})).await?;
    let status = stage.condition("Ready", "False", "TestFailed").await?;
    assert_eq!(status.history[0].version, 3);
    stage.stop().await
}
