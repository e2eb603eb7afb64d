//! An API server that is not well, and what it does not take: the release comes to its end when it can, and says why not
//! before.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use nave_bed::{ApiFault, ApiProxy, eventually};
use nave_crds::source::ExternalArtifact;
use serde_json::json;

use crate::{
    charts::config,
    stage::{DEADLINE, Stage},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_refuses_is_made_up_for() -> Result<()> {
    let mut stage = Stage::idle("sick", "http://127.0.0.1:1").await?;
    let proxy = ApiProxy::start(stage.client.clone()).await?;
    stage.through = Some(proxy.client()?);
    stage.run();
    let chart = |value: &str| [("templates/a.yaml", config("a", value, ""))];
    stage.publish("1.0.0", &chart("0")).await?;
    let retry = json!({"strategy": {"name": "RetryOnFailure", "retryInterval": "1s"}});
    stage.apply(json!({"install": retry, "upgrade": retry})).await?;
    stage.ready("1.0.0").await?;
    // Objects cannot be written; the record cannot be begun; the record cannot be ended.
    for (number, (method, part, status)) in [
        ("PATCH", "/configmaps/", 500),
        ("PATCH", "/configmaps/", 429),
        ("POST", "/secrets", 500),
        ("PUT", "/secrets/sh.helm.release", 500),
    ]
    .into_iter()
    .enumerate()
    {
        let (value, met) = (number.to_string(), proxy.met());
        let version = format!("1.1.{number}");
        proxy.set(vec![ApiFault { method, part, status }]);
        stage.publish(&version, &chart(&value)).await?;
        eventually(DEADLINE, "the fault was met", || async {
            ensure!(proxy.met() > met, "not yet");
            Ok(())
        })
        .await?;
        let what = format!("{method} {part} {status}");
        stage.failed("UpgradeFailed", "").await.with_context(|| what.clone())?;
        proxy.set(Vec::new());
        stage.ready(&version).await.with_context(|| what.clone())?;
        assert_eq!(stage.value("a").await?.as_deref(), Some(value.as_str()), "{what}");
        let versions = stage.versions().await?;
        let deployed = versions.iter().filter(|one| one.ends_with(":deployed")).count();
        assert!(
            deployed == 1 && !versions.iter().any(|one| one.contains("pending")),
            "{what}: {versions:?}"
        );
    }
    // Every watch breaks, and nobody answers for a while: what happened meanwhile is seen all the same.
    proxy.close_streams();
    stage.publish("1.2.0", &chart("7")).await?;
    stage.ready("1.2.0").await?;
    let met = proxy.met();
    proxy.leave();
    stage.publish("1.3.0", &chart("8")).await?;
    eventually(DEADLINE, "requests failed", || async {
        ensure!(proxy.met() >= met + 5, "only {}", proxy.met() - met);
        Ok(())
    })
    .await?;
    proxy.come_back();
    stage.ready("1.3.0").await?;
    assert_eq!(stage.value("a").await?.as_deref(), Some("8"));
    stage.stop().await
}

/// Text that does not get smaller.
fn noise(length: usize) -> String {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'!' + u8::try_from((state >> 33) % 90).expect("it is below 90"))
    };
    (0..length).map(next).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_api_server_does_not_take_is_named() -> Result<()> {
    let stage = Stage::start("refused").await?;
    let good = ("templates/a.yaml", config("a", "1", ""));
    // Helm keeps the whole chart in a Secret, which holds a MiB.
    let large = [good.clone(), ("files/noise.txt", noise(2 << 20))];
    stage.publish("1.0.0", &large).await?;
    stage.apply(json!({})).await?;
    let name = "sh.helm.release.v1.shop.v1";
    stage
        .failed("InstallFailed", &format!("creating Secret {}/{name}", stage.namespace))
        .await?;
    assert_eq!(stage.value("a").await?, None, "nothing is applied that is not recorded");
    assert!(stage.versions().await?.is_empty());
    stage.publish("1.0.1", &[good]).await?;
    stage.ready("1.0.1").await?;
    let huge = [("templates/a.yaml", config("a", &"x".repeat(2 << 20), ""))];
    stage.publish("1.0.2", &huge).await?;
    stage
        .failed("UpgradeFailed", &format!("ConfigMap/{}/a", stage.namespace))
        .await?;
    assert_eq!(stage.value("a").await?.as_deref(), Some("1"), "it is as it was");
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_vanishes_takes_nothing_along() -> Result<()> {
    let stage = Stage::start("vanish").await?;
    let chart = |value: &str| [("templates/a.yaml", config("a", value, ""))];
    stage.publish("1.0.0", &chart("1")).await?;
    stage.apply(json!({})).await?;
    stage.ready("1.0.0").await?;
    let sources: Api<ExternalArtifact> = Api::namespaced(stage.client.clone(), &stage.namespace);
    sources.delete("source", &DeleteParams::default()).await?;
    stage.request("look", &[]).await?;
    let missing = format!("ExternalArtifact/{}/source not found", stage.namespace);
    let status = stage.failed("ArtifactFailed", &missing).await?;
    assert!(status.inventory.is_some() && !status.history.is_empty(), "{status:?}");
    assert_eq!(stage.versions().await?, ["1:deployed"]);
    assert_eq!(stage.value("a").await?.as_deref(), Some("1"));
    stage.publish("1.0.1", &chart("2")).await?;
    stage.ready("1.0.1").await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_does_not_go_is_named_and_keeps_no_release() -> Result<()> {
    let stage = Stage::start("stuck").await?;
    let files = [
        ("templates/a.yaml", config("a", "1", "")),
        ("templates/b.yaml", config("b", "1", "")),
    ];
    stage.publish("1.0.0", &files).await?;
    stage.apply(json!({"uninstall": {"timeout": "1s"}})).await?;
    stage.ready("1.0.0").await?;
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let hold = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/never"]}}));
    maps.patch("a", &PatchParams::default(), &hold).await?;
    stage.delete().await?;
    let named = format!("ConfigMap/{}/a", stage.namespace);
    eventually(DEADLINE, "it is told what did not go", || async {
        let events = stage.events().await?;
        let told = events.iter().find(|event| event.starts_with("UninstallFailed"));
        let told = told.with_context(|| format!("{events:?}"))?;
        ensure!(told.contains(&named), "{told}");
        Ok(())
    })
    .await?;
    assert!(stage.versions().await?.is_empty());
    assert!(maps.get_opt("b").await?.is_none());
    assert!(maps.get("a").await?.metadata.deletion_timestamp.is_some());
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("a", &PatchParams::default(), &release).await?;
    stage.stop().await
}
