//! From a commit to an agent and back, and across a restart of the hub.

use anyhow::{Result, ensure};
use kube::{ResourceExt, api::DeleteParams};
use nave_bed::{GitServer, GitServerOptions};
use nave_crds::FleetKustomization;
use nave_proto::{
    Digest,
    wire::{DeleteCause, DeletePolicy},
};
use serde_json::json;

use crate::{
    brake,
    fake_agent::{Disk, FakeAgent},
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
            (
                "apps/config.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hello}\n",
            ),
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
        .commit_files(&[(
            "apps/config.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hello2}\n",
        )])
        .await?;
    hint(&hub.hints.to_string(), repository.url()).await?;
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
    agent.report(&item, &bundle, "ready", "ReconciliationSucceeded", "applied")?;
    stage
        .fleet_says("apps", "the new revision", |status| {
            status["currentRevision"] == revision
        })
        .await?;

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
