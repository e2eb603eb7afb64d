//! Feature gates of helm-controller: each does what it says.

use anyhow::{Context, Result, ensure};
use nave_bed::eventually;
use nave_helm_controller::{FeatureGates, Options};
use nave_release::ApplyMethod;
use nave_runtime::Conditions;
use serde_json::json;

use crate::{
    charts::{config, deployment, hook},
    stage::{DEADLINE, Stage, options},
    wakes::push,
};

fn with(change: impl FnOnce(&mut FeatureGates)) -> Options {
    let mut options = options();
    change(&mut options.gates);
    options
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_have_addresses_only_where_that_is_allowed() -> Result<()> {
    let files = [(
        "templates/a.yaml",
        config("a", "<{{ getHostByName \"127.0.0.1\" }}>", ""),
    )];
    for (allowed, wanted) in [(false, "<>"), (true, "<127.0.0.1>")] {
        let stage = Stage::start_with("hosts", with(|gates| gates.allow_dns_lookups = allowed)).await?;
        stage.publish("1.0.0", &files).await?;
        stage.apply(json!({})).await?;
        stage.ready("1.0.0").await?;
        assert_eq!(stage.value("a").await?.as_deref(), Some(wanted));
        stage.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_retried_where_that_is_the_default() -> Result<()> {
    let never = deployment("web", "bed.nave.dev/ready-after: \"1h\"");
    let stage = Stage::start_with("default-retry", with(|gates| gates.default_to_retry_on_failure = true)).await?;
    stage.publish("1.0.0", &[("templates/web.yaml", never)]).await?;
    stage.apply(json!({"install": {"timeout": "1s"}})).await?;
    let status = stage.condition("Reconciling", "True", "ProgressingWithRetry").await?;
    assert!(status.conditions.get_condition("Stalled").is_none(), "{status:?}");
    assert_eq!(status.conditions.reason_of("Ready"), Some("InstallFailed"));
    assert_eq!(stage.versions().await?, ["1:failed"]);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_defaults_of_helm_3_a_client_merges_and_hooks_are_not_patched() -> Result<()> {
    let stage = Stage::start_with("helm3", with(|gates| gates.use_helm3_defaults = true)).await?;
    let ends = "bed.nave.dev/complete-after: \"0s\"";
    let files = [
        ("templates/a.yaml", config("a", "1", "")),
        (
            "templates/pre.yaml",
            hook("Job", "pre", "pre-install", "before-hook-creation", ends),
        ),
    ];
    stage.publish("1.0.0", &files).await?;
    stage
        .apply(json!({"commonMetadata": {"labels": {"team": "green"}}}))
        .await?;
    stage.ready("1.0.0").await?;
    let stored = stage.stored().await?;
    assert_eq!(stored[0].apply_method, Some(ApplyMethod::ClientSide));
    assert!(stored[0].manifest.contains("team: green"), "{}", stored[0].manifest);
    let hook = &stored[0].hooks[0].manifest;
    assert!(!hook.contains("team: green"), "{hook}");
    let managed = stage.config("a").await?.context("it is there")?.metadata.managed_fields;
    let operations: Vec<String> = managed
        .unwrap_or_default()
        .into_iter()
        .filter_map(|entry| entry.operation)
        .collect();
    assert_eq!(operations, ["Update"]);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_are_read_directly_when_that_is_wanted() -> Result<()> {
    let stage = Stage::start_with("direct", with(|gates| gates.direct_source_fetch = true)).await?;
    let namespace = stage.namespace.clone();
    let log = stage
        .plane
        .audit_log()
        .is_some()
        .then(|| stage.plane.audit())
        .transpose()?;
    let mark = log.as_ref().map(|log| log.mark()).transpose()?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    stage.apply(json!({})).await?;
    stage.ready("1.0.0").await?;
    if let (Some(log), Some(mark)) = (&log, mark) {
        let reads = log.since(mark)?.only(|request| {
            request.namespace == namespace && request.verb == "get" && request.resource.starts_with("externalartifacts")
        });
        assert!(!reads.is_empty(), "the source was not asked for");
    }
    stage
        .apply(json!({"chartRef": {"kind": "OCIRepository", "name": "nobody"}}))
        .await?;
    stage
        .failed("ArtifactFailed", &format!("OCIRepository/{namespace}/nobody"))
        .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_of_others_are_refused_where_their_gate_is_off() -> Result<()> {
    let stage = Stage::start_with("no-external", with(|gates| gates.external_artifact = false)).await?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    stage.apply(json!({})).await?;
    let status = stage.condition("Stalled", "True", "AccessDenied").await?;
    let stalled = status.conditions.get_condition("Stalled").context("it is")?;
    assert!(
        stalled.message.contains("ExternalArtifact feature gate is disabled"),
        "{}",
        stalled.message
    );
    assert!(stage.versions().await?.is_empty());
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_watchers_new_values_wait_for_the_next_reconcile() -> Result<()> {
    let stage = Stage::start_with("unwatched", with(|gates| gates.disable_config_watchers = true)).await?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "{{ .Values.text }}", ""))])
        .await?;
    stage.set_config("more", "values.yaml", "text: one").await?;
    stage
        .apply(json!({"valuesFrom": [{"kind": "ConfigMap", "name": "more"}]}))
        .await?;
    stage.ready("1.0.0").await?;
    stage.set_config("more", "values.yaml", "text: two").await?;
    // A second release that is made after the change is ready: had the change been noticed, the first would be, too.
    stage
        .apply_named(
            "other",
            json!({"install": {"disableTakeOwnership": true}, "values": {"text": "x"}}),
        )
        .await?;
    eventually(DEADLINE, "the other one was tried", || async {
        let other = stage.releases().get("other").await?.status.unwrap_or_default();
        ensure!(
            other.conditions.get_condition("Released").is_some(),
            "{:?}",
            other.conditions
        );
        Ok(())
    })
    .await?;
    assert_eq!(stage.value("a").await?.as_deref(), Some("one"));
    stage.request("look", &[]).await?;
    eventually(DEADLINE, "the new values", || async {
        ensure!(stage.value("a").await?.as_deref() == Some("two"), "not yet");
        Ok(())
    })
    .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_is_pushed_again_is_nothing_new_where_digests_are_not_tracked() -> Result<()> {
    let gate = with(|gates| gates.disable_chart_digest_tracking = true);
    let stage = Stage::start_with("untracked", gate).await?;
    stage
        .apply(json!({"chartRef": {"kind": "OCIRepository", "name": "charts"}}))
        .await?;
    push(&stage, "latest", "1.0.0", &[("templates/a.yaml", config("a", "1", ""))]).await?;
    let status = stage.ready("1.0.0").await?;
    assert_eq!(status.last_attempted_revision_digest, "");
    assert_eq!(status.history[0].oci_digest, "");
    push(&stage, "latest", "1.0.0", &[("templates/a.yaml", config("a", "2", ""))]).await?;
    stage.request("look", &[]).await?;
    assert_eq!(stage.versions().await?, ["1:deployed"]);
    // Nor has a tag to agree with the chart.
    push(&stage, "3.0.0", "1.0.1", &[("templates/a.yaml", config("a", "3", ""))]).await?;
    stage.ready("1.0.1").await?;
    stage.stop().await
}
