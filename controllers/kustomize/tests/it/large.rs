//! A Kustomization of thousands of objects: it comes to its end, in bounded memory, and delays nobody.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nave_bed::eventually;
use serde_json::json;

use crate::stage::{Setup, Stage, config};

/// Enough to tell a cost per object from one per pair of objects, in half a minute; `NAVE_OBJECTS=10000` is the real thing.
const OBJECTS: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(1800);

fn objects() -> usize {
    let wanted = std::env::var("NAVE_OBJECTS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(OBJECTS)
}

/// Peak of the resident memory of this process, in MiB: reconciler, test and all.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = line
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_default();
    kib / 1024.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_objects_in_one_kustomization_delay_nobody() -> Result<()> {
    let stage = Stage::start_with("large", Setup::default()).await?;
    let (ns, count) = (stage.namespace.clone(), objects());
    let files = |revision: &str| -> Vec<(String, String)> {
        let mut files: Vec<(String, String)> = (0..count)
            .map(|number| {
                // Every tenth changes with the revision.
                let value = if number % 10 == 0 { revision } else { "same" };
                (
                    format!("big/{number:05}.yaml"),
                    config(&ns, &format!("big-{number:05}"), value),
                )
            })
            .collect();
        files.push(("small/s.yaml".to_owned(), config(&ns, "small", revision)));
        files
    };
    let publish = async |revision: &str| {
        let files = files(revision);
        let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
        stage.publish(revision, &files).await
    };
    let reached = async |name: &str, revision: &str| {
        let wanted = format!("main@sha1:{revision}");
        eventually(PATIENCE, &format!("{name} is ready at {revision}"), || async {
            let status = stage.status(name).await?;
            ensure!(
                status.last_applied_revision == wanted,
                "it is at {}",
                status.last_applied_revision
            );
            Ok(())
        })
        .await
    };
    println!("before: peak {:.0} MiB", peak());
    publish("1").await?;
    let began = Instant::now();
    stage.apply("big", json!({"timeout": "30m"})).await?;
    stage.apply("small", json!({})).await?;
    reached("small", "1").await?;
    let small = began.elapsed();
    assert!(
        stage.status("big").await?.last_applied_revision.is_empty(),
        "the small one waited for the large one"
    );
    reached("big", "1").await?;
    println!(
        "install of {count}: {:?}, of the small one beside it: {small:?}, peak {:.0} MiB",
        began.elapsed(),
        peak()
    );
    let known = stage.status("big").await?.inventory.context("an inventory")?.entries;
    assert_eq!(known.len(), count);

    let began = Instant::now();
    publish("2").await?;
    reached("small", "2").await?;
    let small = began.elapsed();
    reached("big", "2").await?;
    println!(
        "upgrade of a tenth: {:?}, of the small one: {small:?}, peak {:.0} MiB",
        began.elapsed(),
        peak()
    );

    let began = Instant::now();
    stage
        .annotate("big", json!({"reconcile.fluxcd.io/requestedAt": "now"}))
        .await?;
    eventually(PATIENCE, "it is handled", || async {
        let status = stage.status("big").await?;
        ensure!(status.last_handled_reconcile_at == "now", "not yet");
        Ok(())
    })
    .await?;
    println!(
        "full check without a change: {:?}, peak {:.0} MiB",
        began.elapsed(),
        peak()
    );
    stage.stop().await
}
