//! Secrets planted as canaries travel when a fleet object lists them, and appear in no log, event, status or file.

use std::path::Path;

use anyhow::{Context, Result};
use nave_bed::eventually;
use nave_demo::{
    Fleet,
    fleet::{self, SPOKES, WORKSPACE},
};
use nave_promises::observe;
use serde_json::json;

use crate::support::{CHANGE, condition, explain, with_hub};

/// Listed and labelled: it must arrive, and nowhere else.
const LISTED: &str = "canary-listed-5f1f8b0e6d";
/// Not labelled for distribution: it must not arrive.
const UNLABELLED: &str = "canary-unlabelled-0c9d77a1b3";
/// The password of the git server.
const PASSWORD: &str = "canary-password-8e2a94c1f7";

#[tokio::test(flavor = "multi_thread")]
async fn secrets_leave_no_trace() -> Result<()> {
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
    let hub = fleet.hub_plane.client();
    fleet.repository.require_basic_auth("fleet", PASSWORD);
    for (name, value, label) in [("listed", LISTED, Some("true")), ("unlabelled", UNLABELLED, None)] {
        let mut secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": WORKSPACE, "labels": {}},
            "stringData": {"password": value},
        });
        if let Some(label) = label {
            secret["metadata"]["labels"]["fleet.nave.dev/distribute"] = json!(label);
        }
        fleet::apply(&hub, &secret).await?;
    }
    fleet::apply(
        &hub,
        &json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "git", "namespace": WORKSPACE},
            "stringData": {"username": "fleet", "password": PASSWORD},
        }),
    )
    .await?;
    fleet.add(SPOKES[0]).await?;
    fleet.apply_fleet_objects().await?;
    fleet::apply(&hub, &json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": "platform", "namespace": WORKSPACE},
        "spec": {"url": fleet.repository.url, "interval": "1m", "ref": {"branch": "main"}, "secretRef": {"name": "git"}},
    }))
    .await?;
    list_secrets(fleet, json!([{"name": "listed"}])).await?;

    let spoke = fleet.planes["staging"].client();
    eventually(CHANGE, "the listed secret on the spoke", || async {
        let secret = observe::secret(&spoke, "flux-system", "listed")
            .await?
            .context("it is not there")?;
        let data = secret.data.unwrap_or_default();
        let value = data.get("password").context("it has no password")?;
        anyhow::ensure!(value.0 == LISTED.as_bytes(), "it has another value");
        Ok(())
    })
    .await?;
    eventually(CHANGE, "infrastructure ready with its secret", || async {
        let object = fleet.fleet_kustomization("infrastructure").await?;
        anyhow::ensure!(object["status"]["clusters"]["ready"] == 1, "{:#}", object["status"]);
        Ok(())
    })
    .await?;

    // One that is listed and not meant to travel stops the fleet object, loudly, and does not travel.
    list_secrets(fleet, json!([{"name": "listed"}, {"name": "unlabelled"}])).await?;
    eventually(CHANGE, "the unlabelled secret refused", || async {
        let object = fleet.fleet_kustomization("infrastructure").await?;
        let ready = condition(&object, "Ready");
        anyhow::ensure!(
            ready["status"] == "False" && object["status"].to_string().contains("unlabelled"),
            "{:#}",
            object["status"]
        );
        Ok(())
    })
    .await?;
    assert!(
        observe::secret(&spoke, "flux-system", "unlabelled").await?.is_none(),
        "an unlabelled secret was sent"
    );

    // The secrets themselves are in the API servers; nothing else may hold them.
    for canary in [LISTED, UNLABELLED, PASSWORD] {
        assert!(!fleet.hub.log().contains(canary), "{canary} is in the hub's log");
        for (name, agent) in &fleet.agents {
            assert!(!agent.log().contains(canary), "{canary} is in the log of {name}");
        }
        for client in [&hub, &spoke] {
            for message in observe::event_messages(client).await? {
                assert!(!message.contains(canary), "{canary} is in an event: {message}");
            }
        }
        for name in ["infrastructure", "apps"] {
            assert!(
                !fleet.fleet_kustomization(name).await?.to_string().contains(canary),
                "{canary} is in {name}"
            );
        }
        let cluster = fleet::get(&hub, "fleet.nave.dev/v1alpha1", "Cluster", WORKSPACE, "staging").await?;
        assert!(!cluster.to_string().contains(canary), "{canary} is in the Cluster");
        if let Some(path) = holder(fleet.folder.path(), canary)? {
            panic!("{canary} is in the file {}", path.display());
        }
    }
    Ok(())
}

async fn list_secrets(fleet: &Fleet, secrets: serde_json::Value) -> Result<()> {
    let fleets: kube::Api<nave_crds::FleetKustomization> = kube::Api::namespaced(fleet.hub_plane.client(), WORKSPACE);
    let patch = kube::api::Patch::Merge(json!({"spec": {"secrets": secrets}}));
    fleets
        .patch("infrastructure", &kube::api::PatchParams::default(), &patch)
        .await?;
    Ok(())
}

/// The first file below `folder` that contains `canary`.
fn holder(folder: &Path, canary: &str) -> Result<Option<std::path::PathBuf>> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = holder(&path, canary)? {
                return Ok(Some(found));
            }
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(canary.len()).any(|window| window == canary.as_bytes())
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
