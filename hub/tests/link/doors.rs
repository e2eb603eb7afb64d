//! Who is let in, who is not, and who is cut.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::{Api, api::DeleteParams};
use nave_bed::eventually;
use nave_crds::{Cluster, fleet::Approval, meta::Time};
use nave_identity::TokenHash;
use nave_proto::{CloseCode, FEATURE_UPGRADE, wire::Mode};
use nave_quic::{JoinError, Joined};
use nave_runtime::Conditions;
use serde_json::json;

use crate::{
    fake_agent::{Disk, FakeAgent},
    stage::{DEADLINE, Stage, WORKSPACE},
};

#[tokio::test(flavor = "multi_thread")]
async fn tokens_keys_and_clusters_decide_who_is_connected() -> Result<()> {
    let stage = Stage::start("hub-doors").await?;
    let hub = stage.hub("127.0.0.1:0").await?;

    // Tokens that admit nobody, each with words for the person at the other end.
    let token = stage
        .token("wrong", "a-1", |spec| {
            spec.hash = TokenHash::of_secret(b"another").to_string()
        })
        .await?;
    refused(
        Disk::default().join(&token, "u").await,
        "unknown or its secret is wrong",
    );
    let past = Time(Timestamp::now() - SignedDuration::from_mins(1));
    let token = stage.token("expired", "a-2", |spec| spec.expires_at = past).await?;
    refused(Disk::default().join(&token, "u").await, "join token expired at");
    let token = stage.token("revoked", "a-3", |spec| spec.revoked = true).await?;
    refused(Disk::default().join(&token, "u").await, "join token revoked");
    let clusters = stage.api::<Cluster>().list(&Default::default()).await?;
    assert!(clusters.items.is_empty(), "refused joins leave nothing behind");

    // One use: the same key may ask again, another may not, and somebody hears of it.
    let token = stage.token("once", "eu-1", |_| ()).await?;
    let first = Disk::default();
    assert_eq!(first.join(&token, "u1").await?, Joined::Admitted);
    // The answer is lost: the key is known meanwhile, and is answered again.
    first.look(|memory| memory.identity = memory.begun.clone());
    assert_eq!(first.join(&token, "u1").await?, Joined::Admitted);
    refused(Disk::default().join(&token, "u2").await, "already used by key");
    eventually(DEADLINE, "an event about the reused token", || async {
        let events: Api<Event> = Api::namespaced(stage.client.clone(), WORKSPACE);
        let events = events.list(&Default::default()).await?;
        let found = events
            .items
            .iter()
            .any(|event| event.reason.as_deref() == Some("TokenReused"));
        found
            .then_some(())
            .ok_or_else(|| anyhow::anyhow!("{} events, none of them it", events.items.len()))
    })
    .await?;

    // A key that is taken back cuts the live session.
    let agent = FakeAgent::start(&first, "u1")?;
    agent.handle.connected().await;
    let key = stage.cluster("eu-1").await?.spec.identity.unwrap_or_default().keys[0].clone();
    stage
        .patch_cluster("eu-1", json!({"spec": {"identity": {"revokedKeys": [key]}}}))
        .await?;
    let close = first
        .has("a close", |memory| {
            memory
                .closes
                .iter()
                .find(|c| c.code() == Some(CloseCode::KeyRevoked))
                .cloned()
        })
        .await?;
    assert!(close.reason.starts_with("key revoked: "), "{}", close.reason);
    agent.stop();

    // Approval by a person: the agent waits, connected, and is let in.
    let token = stage
        .token("manual", "eu-2", |spec| spec.approval = Some(Approval::Manual))
        .await?;
    let second = Disk::default();
    assert_eq!(second.join(&token, "u2").await?, Joined::Pending);
    second.look(|memory| memory.identity = memory.begun.clone());
    assert_eq!(
        second.join(&token, "u2").await?,
        Joined::Pending,
        "the same answer again"
    );
    let agent = FakeAgent::start(&second, "u2")?;
    let welcome = second
        .has("a welcome", |memory| memory.welcomes.last().cloned())
        .await?;
    assert_eq!(welcome.mode, Mode::Pending as i32);
    stage.cluster_says("eu-2", "Ready", "False", "PendingApproval").await?;
    stage.patch_cluster("eu-2", json!({"spec": {"accepted": true}})).await?;
    agent.handle.connected().await;
    stage.cluster_says("eu-2", "Ready", "True", "AgentConnected").await?;

    // Quarantined by hand: connected still, sent nothing, counted for nothing; and released with another key.
    stage
        .patch_cluster(
            "eu-2",
            json!({"spec": {"identity": {"quarantined": "its disk was copied"}}}),
        )
        .await?;
    let welcome = second
        .has("a welcome in quarantine", |memory| {
            let last = memory.welcomes.last()?;
            (last.mode == Mode::Quarantined as i32).then(|| last.clone())
        })
        .await?;
    assert_eq!(welcome.reason, "quarantined by hand: its disk was copied");
    stage.cluster_says("eu-2", "Quarantined", "True", "ByHand").await?;
    stage.cluster_says("eu-2", "Connected", "True", "SessionOpen").await?;
    stage.cluster_says("eu-2", "Ready", "False", "Quarantined").await?;
    let key = stage.cluster("eu-2").await?.spec.identity.unwrap_or_default().keys[0].clone();
    let released = json!({"keys": [], "revokedKeys": [key], "quarantined": null});
    let bound = stage
        .token("release", "eu-2", |spec| spec.cluster_uid = "u2".into())
        .await?;
    stage
        .patch_cluster("eu-2", json!({"spec": {"identity": released}}))
        .await?;
    second
        .has("the end of its key", |memory| {
            let ended = memory.closes.iter().any(|c| c.code() == Some(CloseCode::KeyRevoked));
            ended.then_some(())
        })
        .await?;
    agent.stop();
    refused_key(second.join(&bound, "u2").await);
    second.look(|memory| (memory.identity, memory.begun) = (None, None));
    assert_eq!(second.join(&bound, "u2").await?, Joined::Admitted);
    second.look(|memory| memory.features = FEATURE_UPGRADE);
    let agent = FakeAgent::start(&second, "u2")?;
    agent.handle.connected().await;
    let status = stage.cluster_says("eu-2", "Ready", "True", "AgentConnected").await?;
    assert!(status.conditions.get_condition("Quarantined").is_none());

    // The version that is wanted is told, also when it changes, and why it does not run is shown.
    let told = |version: &'static str| {
        let second = &second;
        async move {
            second
                .has(&format!("the wanted version {version}"), |memory| {
                    let last = memory.welcomes.last()?;
                    (last.agent_version == version).then_some(())
                })
                .await
        }
    };
    told(env!("CARGO_PKG_VERSION")).await?;
    stage
        .cluster_says("eu-2", "AgentCurrent", "True", "VersionMatches")
        .await?;
    let want = |version: &str| json!({"spec": {"agent": {"version": version}}});
    second.look(|memory| memory.not_upgraded = ("9.9.9".into(), "there is no such image".into()));
    stage.patch_cluster("eu-2", want("9.9.8")).await?;
    told("9.9.8").await?;
    stage.cluster_says("eu-2", "AgentCurrent", "False", "Upgrading").await?;
    stage.patch_cluster("eu-2", want("9.9.9")).await?;
    told("9.9.9").await?;
    let status = stage
        .cluster_says("eu-2", "AgentCurrent", "False", "NotUpgraded")
        .await?;
    let said = status
        .conditions
        .get_condition("AgentCurrent")
        .map(|said| said.message.clone());
    let words = format!(
        "agent {}, wanted 9.9.9: there is no such image",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(said, Some(words));

    // And put back to waiting, and forgotten.
    stage
        .patch_cluster("eu-2", json!({"spec": {"accepted": false}}))
        .await?;
    second
        .has("a close", |memory| {
            memory
                .closes
                .iter()
                .any(|c| c.reason.contains("no longer accepted"))
                .then_some(())
        })
        .await?;
    stage.api::<Cluster>().delete("eu-2", &DeleteParams::default()).await?;
    second
        .has("a close", |memory| {
            let ends = [Some(CloseCode::Forgotten), Some(CloseCode::KeyUnknown)];
            memory.closes.iter().any(|c| ends.contains(&c.code())).then_some(())
        })
        .await?;
    hub.stop().await?;
    Ok(())
}

#[track_caller]
fn refused_key(result: Result<Joined, JoinError>) {
    match result {
        Err(JoinError::Refused(close)) => assert_eq!(close.code(), Some(CloseCode::KeyRevoked), "{close}"),
        other => panic!("expected a revoked key, got {other:?}"),
    }
}

#[track_caller]
fn refused(result: Result<Joined, JoinError>, words: &str) {
    match result {
        Err(JoinError::Refused(close)) => {
            assert_eq!(close.code(), Some(CloseCode::JoinRefused), "{close}");
            assert!(close.reason.contains(words), "{:?} has no {words:?}", close.reason);
        }
        other => panic!("expected a refusal with {words:?}, got {other:?}"),
    }
}
