//! A token that is wrong, expired, used up or revoked, a wrong root pin, another cluster's key, and a client that speaks
//! garbage: refused with a clear error on both sides, and the hub goes on.

use std::time::Duration;

use anyhow::{Context, Result};
use nave_bed::eventually;
use nave_demo::{
    Agent, Fleet, Hub,
    fleet::{self, SPOKES, WORKSPACE},
};
use nave_identity::{JoinToken, Key};
use serde_json::json;

use crate::support::{CHANGE, connected, explain, with_hub};

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused() -> Result<()> {
    with_hub(|mut fleet| async move {
        let result = promise(&mut fleet).await;
        if result.is_err() {
            explain(&fleet);
        }
        result
    })
    .await
}

async fn promise(fleet: &mut Fleet) -> Result<()> {
    let [staging, eu, _] = SPOKES;
    let good = fleet.token(staging).await?;

    // The right shape, the wrong secret: the id is known, so the hash decides.
    let parsed: JoinToken = good.parse()?;
    let wrong = JoinToken::issue(parsed.addresses.clone(), parsed.root_pin, parsed.id.clone())?
        .token
        .to_text();
    refused(fleet, "staging", "wrong", &wrong, "token").await?;

    let mut mispinned: JoinToken = good.parse()?;
    mispinned.root_pin = Key::generate()?.fingerprint();
    let mispinned = mispinned.to_text();
    refused(fleet, "staging", "mispinned", &mispinned, "pin").await?;

    let revoked = Hub::token(&fleet.nave, WORKSPACE, "revoked", &["--cluster", "staging"]).await?;
    fleet
        .nave
        .run(&["-n", WORKSPACE, "hub", "token", "revoke", "revoked"])
        .await?;
    refused(fleet, "staging", "revoked", &revoked, "revoked").await?;

    let expired = Hub::token(
        &fleet.nave,
        WORKSPACE,
        "expired",
        &["--cluster", "staging", "--ttl", "1s"],
    )
    .await?;
    tokio::time::sleep(Duration::from_millis(1500)).await; // the token's life is what is waited for
    refused(fleet, "staging", "expired", &expired, "expired").await?;

    garbage(fleet).await?;

    // After all that the hub still lets the right one in, once.
    fleet.join(staging.name, &good).await?;
    connected(fleet, staging.name).await?;
    refused(fleet, "eu-1", "used", &good, "used").await?;

    // Another cluster's key is that cluster, wherever it runs, and a revoked key cuts a live session.
    let token = fleet.token(eu).await?;
    fleet.join(eu.name, &token).await?;
    connected(fleet, eu.name).await?;
    revocation_cuts(fleet, eu.name).await
}

/// An agent with `token` must not join; both logs must say `named`.
async fn refused(fleet: &Fleet, plane: &'static str, name: &str, token: &str, named: &str) -> Result<()> {
    let folder = fleet.agent_folder(&format!("refused-{name}"));
    let before = fleet.hub.log().len();
    let mut agent = Agent::prepare(&fleet.planes[plane], &folder, Some(token), &[])?;
    agent.launch()?;
    eventually(
        CHANGE,
        &format!("the {name} token refused on the agent's side"),
        || async {
            let log = agent.log().to_lowercase();
            anyhow::ensure!(log.contains(named) && log.contains("refused"), "{}", agent.log());
            Ok(())
        },
    )
    .await?;
    if name != "mispinned" {
        eventually(
            CHANGE,
            &format!("the {name} token refused on the hub's side"),
            || async {
                let log = fleet.hub.log();
                let news = log[before..].to_lowercase();
                anyhow::ensure!(news.contains(named) && news.contains("refused"), "{news}");
                Ok(())
            },
        )
        .await?;
    }
    assert!(
        !agent.log().contains(secret_of(token)?.as_str()),
        "the token is in the agent's log"
    );
    assert!(
        !fleet.hub.log().contains(secret_of(token)?.as_str()),
        "the token is in the hub's log"
    );
    agent.kill9();
    Ok(())
}

/// The token's text without its prefix: what must appear nowhere.
fn secret_of(token: &str) -> Result<String> {
    Ok(token
        .strip_prefix("nave1.")
        .context("a token starts with nave1.")?
        .to_owned())
}

async fn garbage(fleet: &Fleet) -> Result<()> {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    for round in 0..2_000_u32 {
        // Long headers, short headers and noise, of every length a datagram may have.
        let length = 1 + (round as usize * 37) % 1400;
        let bytes: Vec<u8> = (0..length)
            .map(|i| (round as usize * 131 + i * 29) as u8 | if round % 2 == 0 { 0xc0 } else { 0 })
            .collect();
        socket.send_to(&bytes, &fleet.hub.link).await?;
    }
    let ready = reqwest::get(fleet.hub.metrics_url.clone()).await?.status();
    assert!(ready.is_success(), "the hub does not answer after garbage: {ready}");
    Ok(())
}

async fn revocation_cuts(fleet: &Fleet, name: &str) -> Result<()> {
    let client = fleet.hub_plane.client();
    let cluster = fleet::get(&client, "fleet.nave.dev/v1alpha1", "Cluster", WORKSPACE, name).await?;
    let keys = cluster["spec"]["identity"]["keys"].clone();
    let clusters: kube::Api<nave_crds::Cluster> = kube::Api::namespaced(client, WORKSPACE);
    clusters
        .patch(
            name,
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(json!({"spec": {"identity": {"keys": [], "revokedKeys": keys}}})),
        )
        .await?;
    eventually(CHANGE, "the revoked agent told so", || async {
        let log = fleet.agents[name].log().to_lowercase();
        anyhow::ensure!(log.contains("revoked"), "{log}");
        Ok(())
    })
    .await
}
