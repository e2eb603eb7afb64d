//! Many OCIRepositories created at once.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use kube::Api;
use nave_bed::{Registry, RegistryOptions};
use nave_crds::OCIRepository;
use nave_demo::fleet;
use serde_json::{Value, json};

use super::{HOME, Stage};
use crate::{
    apps::{WRITERS, name, wait_for},
    mttp::push,
    process, table,
};

/// Creates `count` OCIRepositories of a repository each, and prints when the last is Ready.
pub async fn run(count: usize) -> Result<()> {
    let stage = Stage::start().await?;
    eprintln!("► a registry with {count} artifacts");
    let registry = Registry::start(RegistryOptions::default()).await?;
    for number in 0..count {
        push(&registry, &name(number), "1.0.0").await?;
    }
    let objects: Vec<Value> = (0..count)
        .map(|number| {
            json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
                "metadata": {"name": name(number), "namespace": HOME},
                "spec": {
                    "url": registry.oci_url(&name(number)), "insecure": true, "interval": "1h", "ref": {"tag": "1.0.0"},
                },
            })
        })
        .collect();
    let client = stage.plane.client();
    eprintln!("► {count} OCIRepositories");
    let cpu = process::cpu(stage.pid)?;
    let started = Instant::now();
    let ready = wait_for(
        Api::namespaced(client.clone(), HOME),
        count,
        |object: &OCIRepository| {
            object.status.as_ref().is_some_and(|status| {
                status
                    .conditions
                    .iter()
                    .any(|condition| condition.type_ == "Ready" && condition.status == "True")
            })
        },
    );
    let written = async {
        stream::iter(&objects)
            .map(|object| fleet::apply(&client, object))
            .buffer_unordered(WRITERS)
            .try_collect::<Vec<()>>()
            .await
    };
    tokio::try_join!(ready, written)?;
    let elapsed = started.elapsed();
    let cpu = process::cpu(stage.pid)? - cpu;
    println!("\n{count} OCIRepositories of a repository each");
    table::row("all Ready", &table::seconds(elapsed), "<= 3 s for 100 (Flux: 8-15 s)");
    table::row(
        "our CPU for each",
        &format!("{:.2} ms", cpu.as_secs_f64() * 1e3 / count.max(1) as f64),
        "",
    );
    drop(stage.agent);
    // The registry writes its log until the last connection is gone.
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok(())
}
