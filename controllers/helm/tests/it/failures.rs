//! What fails is remedied, tried again, or given up.

use anyhow::{Context, Result, ensure};
use nave_runtime::Conditions;
use serde_json::json;

use crate::{
    charts::{config, deployment, hook},
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_upgrade_is_rolled_back_and_retried_until_it_is_given_up() -> Result<()> {
    let stage = Stage::start("rollback").await?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    let spec = json!({"upgrade": {"timeout": "3s", "remediation": {"retries": 1}}});
    stage.apply(spec.clone()).await?;
    stage.ready("1.0.0").await?;

    let bad = [
        ("templates/a.yaml", config("a", "2", "")),
        (
            "templates/web.yaml",
            deployment("web", "bed.nave.dev/ready-after: \"1h\""),
        ),
    ];
    stage.publish("2.0.0", &bad).await?;
    let status = stage.condition("Stalled", "True", "RetriesExceeded").await?;
    assert_eq!(status.conditions.reason_of("Remediated"), Some("RollbackSucceeded"));
    assert_eq!(status.conditions.reason_of("Ready"), Some("RollbackSucceeded"));
    assert!(!status.conditions.is_true("Ready"));
    assert_eq!((status.upgrade_failures, status.install_failures), (2, 0));
    assert_eq!(stage.value("a").await?.as_deref(), Some("1"));
    // Two upgrades that failed, each with its roll-back.
    let versions = stage.versions().await?;
    assert_eq!(versions.last().map(String::as_str), Some("5:deployed"), "{versions:?}");
    let stored = stage.stored().await?;
    let newest = stored.last().context("it is there")?;
    assert_eq!(newest.chart_version(), "1.0.0");
    stage.told("UpgradeFailed Helm upgrade failed for release").await?;

    // Something new is tried though nothing was left.
    stage
        .publish("3.0.0", &[("templates/a.yaml", config("a", "3", ""))])
        .await?;
    let status = stage.ready("3.0.0").await?;
    assert_eq!((status.failures, status.upgrade_failures), (0, 0));
    assert!(status.conditions.get_condition("Stalled").is_none());
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_hook_fails_the_installation_which_is_uninstalled_before_the_next_try() -> Result<()> {
    let stage = Stage::start("hooks").await?;
    let fails = "bed.nave.dev/fail: Error";
    let bad = [
        ("templates/a.yaml", config("a", "1", "")),
        (
            "templates/pre.yaml",
            hook("Job", "pre", "pre-install", "before-hook-creation", fails),
        ),
    ];
    stage.publish("1.0.0", &bad).await?;
    stage.apply(json!({"install": {"remediation": {"retries": 1}}})).await?;
    let status = stage.condition("Stalled", "True", "RetriesExceeded").await?;
    let released = status.conditions.get_condition("Released").context("it was tried")?;
    assert_eq!(released.reason, "InstallFailed");
    assert!(
        released.message.contains("failed pre-install") && released.message.contains("pre.yaml"),
        "{}",
        released.message
    );
    assert_eq!(status.install_failures, 2);
    assert_eq!(
        stage.versions().await?,
        ["1:failed"],
        "the last failure is left to be looked at"
    );
    assert_eq!(stage.value("a").await?, None);
    // The event has more than the condition: what was done last.
    nave_bed::eventually(crate::stage::DEADLINE, "the event with the last steps", || async {
        let events = stage.events().await?;
        let told = events.iter().find(|event| event.starts_with("InstallFailed"));
        let told = told.with_context(|| format!("{events:?}"))?;
        ensure!(
            told.contains("Last Helm logs:") && told.contains("running hook pre-install"),
            "{told}"
        );
        Ok(())
    })
    .await?;
    assert!(!released.message.contains("Last Helm logs"), "{}", released.message);

    let good = [("templates/a.yaml", config("a", "2", ""))];
    stage.publish("1.0.1", &good).await?;
    stage.ready("1.0.1").await?;
    assert_eq!(stage.value("a").await?.as_deref(), Some("2"));
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_ends_the_wait_for_an_old_one() -> Result<()> {
    let stage = Stage::start("preempt").await?;
    let never = [(
        "templates/web.yaml",
        deployment("web", "bed.nave.dev/ready-after: \"1h\""),
    )];
    stage.publish("1.0.0", &never).await?;
    // The timeout is longer than the test would wait.
    stage.apply(json!({"timeout": "30m"})).await?;
    stage.condition("Reconciling", "True", "Progressing").await?;
    nave_bed::eventually(
        crate::stage::DEADLINE,
        "the first version is being installed",
        || async {
            ensure!(
                stage.versions().await? == ["1:pending-install"],
                "{:?}",
                stage.versions().await?
            );
            Ok(())
        },
    )
    .await?;
    stage
        .publish("1.0.1", &[("templates/web.yaml", deployment("web", ""))])
        .await?;
    stage.ready("1.0.1").await?;
    stage.told("HealthCheckCanceled").await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_that_was_cut_off_is_made_up_for() -> Result<()> {
    let mut stage = Stage::start("pending").await?;
    let never = [(
        "templates/web.yaml",
        deployment("web", "bed.nave.dev/ready-after: \"1h\""),
    )];
    stage.publish("1.0.0", &never).await?;
    stage.apply(json!({"timeout": "30m"})).await?;
    nave_bed::eventually(
        crate::stage::DEADLINE,
        "the first version is being installed",
        || async {
            ensure!(
                stage.versions().await? == ["1:pending-install"],
                "{:?}",
                stage.versions().await?
            );
            Ok(())
        },
    )
    .await?;
    // The process ends in the middle of the wait; the next one finds the release pending.
    stage.restart(async { Ok(()) }).await?;
    stage
        .publish("1.0.1", &[("templates/web.yaml", deployment("web", ""))])
        .await?;
    stage.ready("1.0.1").await?;
    let versions = stage.versions().await?;
    ensure!(
        versions.iter().all(|version| !version.contains("pending")),
        "{versions:?}"
    );
    stage.told("PendingRelease Unlocked Helm release").await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_that_renders_nonsense_uses_up_no_retry() -> Result<()> {
    let stage = Stage::start("refused").await?;
    stage
        .publish("1.0.1", &[("templates/a.yaml", "kind: [".to_owned())])
        .await?;
    stage.apply(json!({})).await?;
    let status = stage.condition("Released", "False", "InstallFailed").await?;
    let released = status.conditions.get_condition("Released").context("it was tried")?;
    assert!(released.message.contains("templates/a.yaml"), "{}", released.message);
    assert_eq!(status.install_failures, 0, "nothing was stored: no retry is used up");
    assert!(stage.versions().await?.is_empty());
    stage.stop().await
}

/// What was released before is wanted again: nothing is left to do, and nothing of the failure is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_that_could_not_be_released_may_be_taken_back() -> Result<()> {
    let stage = Stage::start("taken-back").await?;
    let good = [("templates/a.yaml", config("a", "1", ""))];
    stage.publish("1.0.0", &good).await?;
    stage.apply(json!({})).await?;
    stage.ready("1.0.0").await?;
    stage
        .publish("1.0.1", &[("templates/a.yaml", "kind: [".to_owned())])
        .await?;
    stage.condition("Released", "False", "UpgradeFailed").await?;
    stage.publish("1.0.0", &good).await?;
    let status = stage.ready("1.0.0").await?;
    assert_eq!(status.conditions.reason_of("Released"), Some("InstallSucceeded"));
    assert_eq!(status.failures, 0);
    assert_eq!(stage.versions().await?, ["1:deployed"]);
    stage.stop().await
}
