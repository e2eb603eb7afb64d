//! From a commit to three healthy clusters, beside what applying the change by hand to each of them takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nave_demo::{
    Fleet, FleetOptions,
    fleet::SPOKES,
    rollout::{self, Rollout},
};
use serde_json::json;

use crate::table;

const FILE: &str = "platform/apps/base/checkout/deployment.yaml";
const WITHIN: Duration = Duration::from_secs(120);

/// Runs `rounds` commits and as many changes by hand, in turn.
pub async fn run(rounds: usize) -> Result<()> {
    let fleet = Fleet::start_whole(&FleetOptions::default(), &|step| eprintln!("► {step}")).await?;
    fleet
        .wait_ready(None, Duration::from_secs(300))
        .await
        .context("the fleet did not become healthy")?;
    let mut commits = Vec::new();
    let mut hands = Vec::new();
    let mut before = "registry.example.com/shop/checkout:2.7.1".to_owned();
    for round in 0..rounds {
        let by_hand = format!("registry.example.com/shop/cart-by-hand:{round}");
        hands.push(hand(&fleet, &by_hand).await?);
        let image = format!("registry.example.com/shop/checkout:3.0.{round}");
        let waits = rollouts(&fleet, "checkout", &image);
        let started = Instant::now();
        fleet.repository.replace("Checkout", FILE, &before, &image).await?;
        // The push is part of a commit's way; the clock starts when it is accepted.
        let pushed = Instant::now();
        rollout::wait_all(waits, pushed, WITHIN, |_, _| {}).await?;
        commits.push(pushed.elapsed());
        eprintln!(
            "  round {}: commit {} (push {}), by hand {}",
            round + 1,
            table::seconds(commits[round]),
            table::seconds(pushed - started),
            table::seconds(hands[round])
        );
        before = image;
    }
    let (commit, floor) = (median(&mut commits), median(&mut hands));
    println!("\nfrom a change to three healthy clusters, median of {rounds}");
    table::row(
        "floor: server-side apply by hand, all at once",
        &table::seconds(floor),
        "",
    );
    table::row(
        "commit, with a hint from the git server",
        &table::seconds(commit),
        &format!("<= {}", table::seconds(floor + Duration::from_millis(500))),
    );
    Ok(())
}

/// The same kind of change by hand: a Deployment of the same shape that nobody reconciles, on each cluster at once.
async fn hand(fleet: &Fleet, image: &str) -> Result<Duration> {
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "by-hand", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "by-hand"}},
            "template": {
                "metadata": {"labels": {"app": "by-hand"}},
                "spec": {"containers": [{"name": "api", "image": image, "resources": {"requests": {"cpu": "100m"}}}]},
            },
        },
    });
    let waits = rollouts(fleet, "by-hand", image);
    let started = Instant::now();
    try_join_all(SPOKES.iter().map(|spoke| {
        let api: Api<Deployment> = Api::namespaced(fleet.planes[spoke.name].client(), "shop");
        let deployment = &deployment;
        async move {
            api.patch(
                "by-hand",
                &PatchParams::apply("hand").force(),
                &Patch::Apply(deployment),
            )
            .await
            .map(drop)
        }
    }))
    .await?;
    rollout::wait_all(waits, started, WITHIN, |_, _| {}).await?;
    Ok(started.elapsed())
}

fn rollouts(fleet: &Fleet, name: &str, image: &str) -> Vec<Rollout> {
    SPOKES
        .iter()
        .map(|spoke| Rollout::new(spoke.name, fleet.planes[spoke.name].client(), "shop", name, image))
        .collect()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
