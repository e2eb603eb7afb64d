//! An API server that is slow, or not there at all for a while.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nave_bed::{ApiProxy, eventually};
use serde_json::json;

use crate::stage::{DEADLINE, Setup, Stage, config};

/// A reconcile makes some twenty requests one after the other.
const SLOW: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_api_server_loses_nothing() -> Result<()> {
    let mut stage = Stage::idle("slow").await?;
    let ns = stage.namespace.clone();
    let proxy = ApiProxy::start(stage.client.clone()).await?;
    stage.through = Some(proxy.client()?);
    stage.run(Setup::default());
    let files = |revision: &str| {
        [
            (
                "app/a.yaml",
                format!("{}---\n{}", config(&ns, "a", revision), config(&ns, "b", revision)),
            ),
            ("other/c.yaml", config(&ns, "c", revision)),
        ]
    };
    stage.publish("1", &files("1")).await?;
    for name in ["app", "other"] {
        stage.apply(name, json!({"wait": true})).await?;
        stage.ready(name, "1").await?;
    }
    proxy.slow_down(Duration::from_secs(2));
    let began = Instant::now();
    stage.publish("2", &files("2")).await?;
    for name in ["app", "other"] {
        eventually(SLOW, &format!("{name} is ready at 2"), || async {
            let status = stage.status(name).await?;
            ensure!(status.last_applied_revision.ends_with(":2"), "{status:?}");
            Ok(())
        })
        .await?;
    }
    println!("an upgrade with every answer 2 s late took {:?}", began.elapsed());
    proxy.slow_down(Duration::ZERO);
    for name in ["a", "b", "c"] {
        assert_eq!(stage.config(name).await?.context("it is there")?["value"], "2");
    }
    let known = stage.status("app").await?.inventory.context("an inventory")?.entries;
    assert_eq!(known.len(), 2);
    stage.stop().await
}

/// How many requests have to fail before the server is back: every watch and several reconciles.
const FAILED: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_was_away_is_caught_up_with() -> Result<()> {
    let mut stage = Stage::idle("away").await?;
    let ns = stage.namespace.clone();
    let proxy = ApiProxy::start(stage.client.clone()).await?;
    stage.through = Some(proxy.client()?);
    stage.run(Setup::default());
    let files = |revision: &str, names: &[&str]| {
        let text: String = names
            .iter()
            .map(|name| format!("---\n{}", config(&ns, name, revision)))
            .collect();
        [("app/a.yaml", text), ("other/c.yaml", config(&ns, "c", revision))]
    };
    stage.publish("1", &files("1", &["a", "b"])).await?;
    for name in ["app", "other"] {
        stage
            .apply(name, json!({"interval": "1s", "retryInterval": "1s"}))
            .await?;
        stage.ready(name, "1").await?;
    }
    let met = proxy.met();
    proxy.leave();
    // The commit comes while nobody can see it. It takes one object away and brings another one.
    stage.publish("2", &files("2", &["a", "d"])).await?;
    eventually(SLOW, "requests failed", || async {
        ensure!(proxy.met() >= met + FAILED, "only {}", proxy.met() - met);
        Ok(())
    })
    .await?;
    assert_eq!(stage.config("a").await?.context("it is there")?["value"], "1");
    proxy.come_back();
    for name in ["app", "other"] {
        stage.ready(name, "2").await?;
    }
    assert_eq!(stage.config("a").await?.context("it is there")?["value"], "2");
    assert!(stage.config("d").await?.is_some());
    eventually(DEADLINE, "what left the source is pruned", || async {
        ensure!(stage.config("b").await?.is_none(), "b is still there");
        Ok(())
    })
    .await?;
    let known = stage.status("app").await?.inventory.context("an inventory")?.entries;
    assert_eq!(known.len(), 2, "{known:?}");
    stage.stop().await
}
