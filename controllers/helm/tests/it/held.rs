//! Deletions that wait for a permit: what would need them is not begun, fails nothing, and goes on when they may go.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::future::BoxFuture;
use kube::{ResourceExt, api::DeleteParams};
use nave_bed::eventually;
use nave_runtime::{
    Conditions,
    ports::{Permit, PrunePermits, PrunePlan},
};
use serde_json::json;

use crate::{
    charts::{config, deployment},
    stage::{DEADLINE, Stage},
};

/// Permits nothing until it is told to.
#[derive(Default)]
struct Brake {
    permits: AtomicBool,
    asked: AtomicUsize,
    /// How many of the last plan's deletions take others along.
    cascades: AtomicUsize,
}

impl PrunePermits for Brake {
    fn permit<'a>(&'a self, plan: &'a PrunePlan) -> BoxFuture<'a, Permit> {
        self.cascades.store(plan.cascades().count(), Ordering::SeqCst);
        self.asked.fetch_add(1, Ordering::SeqCst);
        let permit = match self.permits.load(Ordering::SeqCst) {
            true => Permit::Granted,
            false => Permit::Held {
                reason: format!("{} is not approved", plan.change),
            },
        };
        Box::pin(std::future::ready(permit))
    }
}

async fn braked(test: &str) -> Result<(Stage, Arc<Brake>)> {
    let brake = Arc::new(Brake::default());
    let mut stage = Stage::idle(test, "http://127.0.0.1:1").await?;
    stage.permits = brake.clone();
    stage.options.requeue_dependency = Duration::from_millis(300);
    stage.run();
    Ok((stage, brake))
}

/// Waits until the permit was asked for some more times.
async fn asked_again(brake: &Brake) -> Result<()> {
    let before = brake.asked.load(Ordering::SeqCst);
    eventually(DEADLINE, "it is asked again", || async {
        let now = brake.asked.load(Ordering::SeqCst);
        ensure!(now >= before + 3, "{now} times");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_whose_deletions_are_held_is_not_begun() -> Result<()> {
    let (stage, brake) = braked("held-upgrade").await?;
    let files = [
        ("templates/a.yaml", config("a", "1", "")),
        ("templates/b.yaml", config("b", "1", "")),
    ];
    stage.publish("1.0.0", &files).await?;
    stage.apply(json!({})).await?;
    stage.ready("1.0.0").await?;
    // What deletes nothing needs no permit.
    stage
        .publish("1.1.0", &[files[0].clone(), ("templates/b.yaml", config("b", "2", ""))])
        .await?;
    stage.ready("1.1.0").await?;
    assert_eq!(brake.asked.load(Ordering::SeqCst), 0);

    stage
        .publish("2.0.0", &[("templates/a.yaml", config("a", "2", ""))])
        .await?;
    let status = stage.condition("Ready", "False", "PruneHeld").await?;
    let ready = status.conditions.get_condition("Ready").context("it is reported")?;
    assert_eq!(
        ready.message,
        "1 deletion waits for a permit: shop@2.0.0 is not approved"
    );
    assert_eq!(status.conditions.reason_of("Released"), Some("UpgradeSucceeded"));
    assert_eq!((status.failures, status.upgrade_failures), (0, 0), "nothing failed");
    asked_again(&brake).await?;
    let before = stage.releases().get("shop").await?;
    asked_again(&brake).await?;
    let now = stage.releases().get("shop").await?;
    assert_eq!(
        before.resource_version(),
        now.resource_version(),
        "who waits writes nothing"
    );
    assert_eq!(
        brake.cascades.load(Ordering::SeqCst),
        0,
        "an object of a release that goes on"
    );
    assert_eq!(stage.versions().await?, ["1:superseded", "2:deployed"]);
    assert_eq!(stage.value("a").await?.as_deref(), Some("1"), "nothing is applied");
    assert_eq!(stage.value("b").await?.as_deref(), Some("2"), "nothing is deleted");

    brake.permits.store(true, Ordering::SeqCst);
    stage.ready("2.0.0").await?;
    assert_eq!(stage.versions().await?, ["1:superseded", "2:superseded", "3:deployed"]);
    assert_eq!(stage.value("a").await?.as_deref(), Some("2"));
    assert_eq!(stage.value("b").await?, None);
    stage.told("PruneHeld").await?;
    let events = stage.events().await?;
    assert!(
        !events.iter().any(|event| event.starts_with("UpgradeFailed")),
        "{events:?}"
    );
    assert_eq!(
        events.iter().filter(|event| event.starts_with("PruneHeld")).count(),
        1,
        "it is told once: {events:?}"
    );

    brake.permits.store(false, Ordering::SeqCst);
    stage.releases().delete("shop", &DeleteParams::default()).await?;
    let status = stage.condition("Ready", "False", "PruneHeld").await?;
    assert!(!status.history.is_empty() && status.inventory.is_some(), "{status:?}");
    asked_again(&brake).await?;
    assert_eq!(stage.value("a").await?.as_deref(), Some("2"));
    assert_eq!(
        stage.versions().await?.last().map(String::as_str),
        Some("3:deployed"),
        "it is not on its way out"
    );
    assert_eq!(brake.cascades.load(Ordering::SeqCst), 1, "the whole release");
    brake.permits.store(true, Ordering::SeqCst);
    eventually(DEADLINE, "it is gone", || async {
        ensure!(stage.releases().get_opt("shop").await?.is_none(), "it is there");
        Ok(())
    })
    .await?;
    assert_eq!(stage.value("a").await?, None);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remedy_whose_deletions_are_held_waits_and_the_failure_can_be_read() -> Result<()> {
    let (stage, brake) = braked("held-remedy").await?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    stage
        .apply(json!({"upgrade": {"timeout": "1s", "remediation": {"remediateLastFailure": true}}}))
        .await?;
    stage.ready("1.0.0").await?;
    let bad = [
        ("templates/a.yaml", config("a", "2", "")),
        ("templates/c.yaml", config("c", "2", "")),
        (
            "templates/web.yaml",
            deployment("web", "bed.nave.dev/ready-after: \"1h\""),
        ),
    ];
    stage.publish("2.0.0", &bad).await?;
    let status = stage.condition("Ready", "False", "PruneHeld").await?;
    assert_eq!(status.conditions.reason_of("Released"), Some("UpgradeFailed"));
    assert_eq!((status.failures, status.upgrade_failures), (1, 1));
    asked_again(&brake).await?;
    assert_eq!(stage.versions().await?, ["1:deployed", "2:failed"]);
    assert_eq!(stage.value("c").await?.as_deref(), Some("2"));
    brake.permits.store(true, Ordering::SeqCst);
    stage.condition("Stalled", "True", "RetriesExceeded").await?;
    assert_eq!(
        stage.versions().await?.last().map(String::as_str),
        Some("3:deployed"),
        "it is rolled back"
    );
    assert_eq!(stage.value("a").await?.as_deref(), Some("1"));
    assert_eq!(stage.value("c").await?, None);
    stage.stop().await
}
