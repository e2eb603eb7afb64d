//! From a commit to an agent and back, and across a restart of the hub.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kube::{ResourceExt, api::DeleteParams};
use nave_bed::{GitServer, GitServerOptions};
use nave_crds::FleetKustomization;
use nave_proto::{
    Digest, StreamKind,
    wire::{Bundle, DeleteCause, DeletePolicy, LinkProfile},
};
use nave_quic::Older;
use serde_json::json;

use crate::{
    brake,
    fake_agent::{Disk, FakeAgent},
    impostors::others_are_out_of_reach,
    stage::Stage,
};

const KEY: &str = "FleetKustomization/platform/apps";
const UID: &str = "spoke-uid-1";

#[tokio::test(flavor = "multi_thread")]
async fn an_item_arrives_with_its_files_and_its_status_comes_back() -> Result<()> {
    let git = GitServer::start(GitServerOptions::default()).await?;
    let repository = git.create_repo("fleet").await?;
    let first = repository
        .commit_files(&[
            ("apps/kustomization.yaml", "resources: [config.yaml]\n"),
            ("apps/config.yaml", &config("hello")),
            ("README.md", "not for spokes\n"),
        ])
        .await?;
    let stage = Stage::start("hub-delivery").await?;
    let hub = stage.hub("127.0.0.1:0").await?;
    let listen = hub.link.to_string();

    // Joining makes the cluster, with the token's labels and nobody else's.
    let token = stage.token("t1", "eu-1", |_| ()).await?;
    let disk = Disk::default();
    disk.join(&token, UID).await?;
    let cluster = stage.cluster("eu-1").await?;
    assert_eq!(cluster.labels().get("env").map(String::as_str), Some("prod"));
    assert_eq!(cluster.spec.variables["region"], "eu");
    let identity = cluster.spec.identity.clone().unwrap_or_default();
    assert_eq!((identity.cluster_uid.as_str(), identity.keys.len()), (UID, 1));
    let agent = FakeAgent::start(&disk, UID)?;
    let status = stage.cluster_says("eu-1", "Connected", "True", "SessionOpen").await?;
    assert_eq!(
        (status.transport.as_str(), status.kubernetes_version.as_str()),
        (crate::fake_agent::carrier().name(), "v1.36.3")
    );
    assert_eq!(status.facts.get("provider").map(String::as_str), Some("test"));
    stage.cluster_says("eu-1", "Ready", "True", "AgentConnected").await?;

    // The item, and the files that it names and no others.
    let spec = json!({
        "placement": {"selector": {"matchLabels": {"env": "prod"}}},
        "source": {
            "template": {"kind": "GitRepository", "spec": {
                "url": repository.url(), "interval": "10m", "ref": {"branch": "main"},
            }},
            "include": ["apps/**"],
        },
        "template": {"spec": {"interval": "10m", "path": "./apps", "prune": true}},
    });
    stage.fleet("apps", spec).await?;
    let (item, bundle) = agent.item(KEY, 1).await?;
    let artifact = bundle.artifact.clone().unwrap_or_default();
    assert_eq!(artifact.revision, format!("main@sha1:{first}"));
    let kinds: Vec<String> = bundle.objects.iter().map(|object| kind(object)).collect();
    assert!(
        kinds.contains(&"Kustomization".to_owned()) && kinds.contains(&"ExternalArtifact".to_owned()),
        "{kinds:?}"
    );
    let files = agent.files(&bundle).await?;
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        ["apps/config.yaml", "apps/kustomization.yaml"]
    );
    let foreign = Digest::of_content(b"somebody else's manifest");
    let refused = agent
        .handle
        .fetch_manifest(&foreign, |_| true)
        .await
        .map(drop)
        .expect_err("it is not this cluster's");
    assert!(refused.to_string().contains("not in the desired set"), "{refused}");

    // Health comes back, bad and good.
    agent.report(&item, &bundle, "failed", "BuildFailed", "apps/config.yaml: line 3")?;
    let status = stage
        .fleet_says("apps", "a failed cluster", |status| status["clusters"]["failed"] == 1)
        .await?;
    assert_eq!(status["unhealthy"][0]["cluster"], "eu-1");
    assert_eq!(status["unhealthy"][0]["reason"], "BuildFailed");
    others_are_out_of_reach(&stage, "apps", KEY, &item.owner.uid, &artifact.manifest_digest).await?;
    agent.report(&item, &bundle, "ready", "ReconciliationSucceeded", "applied")?;
    let all_ready = |status: &serde_json::Value| status["clusters"]["ready"] == 1 && status["unhealthy"].is_null();
    stage.fleet_says("apps", "a healthy cluster", all_ready).await?;

    // Plans of deletions are permitted, or wait for a person. One that is moot is forgotten, on both sides.
    brake::brakes(&stage, &agent, KEY, &artifact.revision).await?;
    agent.report(&item, &bundle, "ready", "ReconciliationSucceeded", "nothing to delete")?;
    brake::released(&stage, "apps").await?;
    agent.handle.withdraw(&Digest::from_bytes([5; 32]));

    // Another hub process over the same state sends nothing again and deletes nothing.
    let welcomes = disk.look(|memory| memory.welcomes.len());
    hub.stop().await?;
    let hub = stage.hub(&listen).await?;
    disk.has("a welcome of the new hub", |memory| {
        (memory.welcomes.len() > welcomes).then_some(())
    })
    .await?;
    stage
        .fleet_says("apps", "a healthy cluster after the restart", all_ready)
        .await?;
    // The agent that starts anew is received as well.
    agent.stop();
    let agent = FakeAgent::start(&disk, UID)?;
    agent.handle.connected().await;
    let second = repository
        .commit_files(&[("apps/config.yaml", &config("hello2"))])
        .await?;
    hint(&hub.hints.to_string(), repository.url()).await?;
    let former = artifact.manifest_digest.clone();
    let (item, bundle) = agent.item(KEY, 2).await?;
    let revision = bundle.artifact.clone().unwrap_or_default().revision;
    assert_eq!(revision, format!("main@sha1:{second}"));
    assert_eq!(
        disk.look(|memory| (memory.puts, memory.deletes.len())),
        (2, 0),
        "nothing was sent twice"
    );
    let files = agent.files(&bundle).await?;
    assert!(String::from_utf8_lossy(&files["apps/config.yaml"]).contains("hello2"));
    only_what_differs_travels(&agent, &bundle, &former).await?;
    agent.report(&item, &bundle, "ready", "ReconciliationSucceeded", "applied")?;
    stage
        .fleet_says("apps", "the new revision", |status| {
            status["currentRevision"] == revision
        })
        .await?;

    // An operator says that the line is metered: the agent is told at once, in a session of its own.
    stage
        .patch_cluster("eu-1", json!({"spec": {"link": {"profile": "Metered"}}}))
        .await?;
    stage.cluster_says("eu-1", "LinkProfile", "True", "Enforced").await?;
    let metered = disk
        .has("a welcome on a metered line", |memory| {
            let last = memory.welcomes.last();
            last.filter(|welcome| welcome.profile() == LinkProfile::Metered)
                .cloned()
        })
        .await?;
    assert_eq!(metered.heartbeat_ms, 120_000);
    stage.cluster_says("eu-1", "Connected", "True", "SessionOpen").await?;

    // Deletion is a message of its own, and says why.
    stage
        .api::<FleetKustomization>()
        .delete("apps", &DeleteParams::default())
        .await?;
    let delete = disk.has("a deletion", |memory| memory.deletes.first().cloned()).await?;
    assert_eq!(
        (&*delete.key, delete.cause, delete.policy),
        (KEY, DeleteCause::OwnerDeleted, DeletePolicy::Prune)
    );
    hub.stop().await?;
    Ok(())
}

/// A file of some KiB that does not compress well.
fn config(name: &str) -> String {
    let line = |number: u32| format!("  key-{number}: {}\n", Digest::of_content(&number.to_be_bytes()));
    let data: String = (0..100).map(line).collect();
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n{data}")
}

/// With what it had before as a dictionary, the agent fetches the changed file again.
async fn only_what_differs_travels(agent: &FakeAgent, bundle: &Bundle, former: &[u8]) -> Result<()> {
    let manifest = bundle.artifact.clone().unwrap_or_default().manifest_digest;
    let manifest = Digest::from_slice(&manifest).context("it has 32 bytes")?;
    let (before, after) = (config("hello"), config("hello2"));
    let dictionary = |_: &Digest| Some(Bytes::from(before.clone()));
    let mut spent = Vec::new();
    for older in [
        None,
        Some(Older {
            manifest: Digest::from_slice(former).context("it has 32 bytes")?,
            dictionary: &dictionary,
        }),
        // One that this cluster never had.
        Some(Older {
            manifest: Digest::of_content(b"somebody else's manifest"),
            dictionary: &dictionary,
        }),
    ] {
        let counted = || {
            agent
                .handle
                .connection()
                .map(|one| one.traffic().received.streams.of(StreamKind::Chunk))
        };
        let was = counted().context("it is connected")?;
        let (chunk, mut got) = (Digest::of_content(after.as_bytes()), Vec::new());
        agent
            .handle
            .fetch_changes(&manifest, &[chunk], older, |_, content| got.extend_from_slice(&content))
            .await?;
        ensure!(got == after.as_bytes(), "it is the file");
        spent.push(counted().context("it is connected")? - was);
    }
    println!(
        "{} bytes of YAML with one word changed, on the chunk stream: {spent:?}",
        after.len()
    );
    ensure!(
        spent[1] * 10 < spent[0] && spent[2] >= spent[0],
        "without a dictionary, with one, and with one that is not ours: {spent:?}"
    );
    Ok(())
}

fn kind(object: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(object).unwrap_or_default();
    value["kind"].as_str().unwrap_or_default().to_owned()
}

async fn hint(address: &str, url: &str) -> Result<()> {
    let answer = reqwest::Client::new()
        .post(format!("http://{address}/hint"))
        .header("content-type", "application/json")
        .body(json!({"url": url}).to_string())
        .send()
        .await?;
    ensure!(
        answer.status().is_success(),
        "the hint was answered {}",
        answer.status()
    );
    Ok(())
}
