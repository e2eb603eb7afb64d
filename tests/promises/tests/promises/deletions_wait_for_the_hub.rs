//! What a commit takes away stays while the hub is away to permit it, unless the cluster's own people permit so much by
//! their policy file.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use nave_bed::eventually;
use nave_demo::fleet::{self, WORKSPACE};
use serde_json::json;

use crate::support::{CHANGE, explain, with_fleet};

const NAMESPACE: &str = "notes";
const FILE: &str = "notes/all.yaml";
/// A try, its answer, and some more tries.
const WHILE: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn deletions_wait_for_the_hub() -> Result<()> {
    with_fleet(|mut fleet| async move {
        let spoke = fleet.planes["eu-1"].client();
        fleet.repository.write("Notes", FILE, &notes(&["a", "b", "c"])).await?;
        let object = json!({
            "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "FleetKustomization",
            "metadata": {"name": "notes", "namespace": WORKSPACE},
            "spec": {
                "placement": {"names": ["eu-1"]},
                "delivery": "Source",
                "source": {"template": {"kind": "GitRepository", "spec": {
                    "url": fleet.repository.url, "interval": "5s", "ref": {"branch": "main"},
                }}},
                "template": {"spec": {"interval": "1m", "retryInterval": "5s", "path": "./notes", "prune": true}},
            },
        });
        fleet::apply(&fleet.hub_plane.client(), &object).await?;
        has(&spoke, &["a", "b", "c"]).await.inspect_err(|_| explain(&fleet))?;

        // The cluster fetches by itself: without its hub it applies what comes, and deletes nothing.
        fleet.hub.kill9();
        fleet
            .repository
            .write("One less, one more", FILE, &notes(&["a", "c", "d"]))
            .await?;
        has(&spoke, &["a", "b", "c", "d"])
            .await
            .inspect_err(|_| explain(&fleet))?;
        stays(&spoke, &["a", "b", "c", "d"]).await?;

        // Its own people permit one deletion at a time: now it goes, still without the hub.
        std::fs::write(&fleet.agents["eu-1"].policy_file, "deletionsWithoutHub: {objects: 1}\n")?;
        has(&spoke, &["a", "c", "d"]).await.inspect_err(|_| explain(&fleet))?;
        // Two are more than that.
        fleet.repository.write("Two less", FILE, &notes(&["a", "e"])).await?;
        has(&spoke, &["a", "c", "d", "e"])
            .await
            .inspect_err(|_| explain(&fleet))?;
        stays(&spoke, &["a", "c", "d", "e"]).await?;

        // The hub is back, and permits what no budget holds.
        fleet.hub.restart().await?;
        has(&spoke, &["a", "e"]).await.inspect_err(|_| explain(&fleet))
    })
    .await
}

/// A file of ConfigMaps.
fn notes(names: &[&str]) -> String {
    let mut text = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n");
    for name in names {
        text += &format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\n  labels:\n    notes: \"true\"\n"
        );
    }
    text
}

async fn names(spoke: &Client) -> Result<Vec<String>> {
    let api: Api<ConfigMap> = Api::namespaced(spoke.clone(), NAMESPACE);
    let list = api.list(&kube::api::ListParams::default().labels("notes=true")).await?;
    list.items
        .into_iter()
        .map(|map| map.metadata.name.context("it has a name"))
        .collect()
}

async fn has(spoke: &Client, wanted: &[&str]) -> Result<()> {
    eventually(CHANGE, &format!("the spoke has {wanted:?}"), || async {
        let names = names(spoke).await?;
        ensure!(names == wanted, "{names:?}");
        Ok(())
    })
    .await
}

/// Nothing comes and nothing goes for a while.
async fn stays(spoke: &Client, wanted: &[&str]) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < WHILE {
        let names = names(spoke).await?;
        ensure!(names == wanted, "{names:?} instead of {wanted:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
