//! A commit is applied and healthy on every cluster; what it removes is pruned everywhere; a broken one leaves what
//! runs alone, is reported with cluster, object, file and reason, and the next good one heals it.

use anyhow::{Context, Result};
use nave_bed::eventually;
use nave_demo::{Fleet, fleet::SPOKES};
use nave_promises::observe;

use crate::support::{CHANGE, condition, ready_condition, with_fleet};

const CHECKOUT: &str = "platform/apps/base/checkout/deployment.yaml";
const CHECKOUT_FOLDER: &str = "platform/apps/base/checkout/kustomization.yaml";

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_reaches_every_cluster() -> Result<()> {
    with_fleet(|fleet| async move {
        overlays_and_variables_are_where_they_belong(&fleet).await?;
        change(&fleet).await?;
        removal(&fleet).await?;
        broken_and_healed(&fleet).await
    })
    .await
}

async fn overlays_and_variables_are_where_they_belong(fleet: &Fleet) -> Result<()> {
    for (cluster, replicas) in [("staging", 1), ("eu-1", 3), ("us-1", 2)] {
        let client = fleet.planes[cluster].client();
        let storefront = observe::deployment(&client, "shop", "storefront")
            .await?
            .with_context(|| format!("no storefront on {cluster}"))?;
        let spec = storefront.spec;
        assert_eq!(spec.replicas, Some(replicas), "{cluster}");
        let name = spec.template.spec.context("a template has a spec")?.containers[0]
            .env_from
            .as_ref()
            .and_then(|sources| {
                sources[0]
                    .config_map_ref
                    .as_ref()
                    .map(|reference| reference.name.clone())
            })
            .context("storefront reads a ConfigMap")?;
        let config = observe::config_map(&client, "shop", &name)
            .await?
            .with_context(|| format!("{name} on {cluster}"))?
            .data
            .unwrap_or_default();
        assert_eq!(config["CLUSTER"], cluster);
        assert_eq!(config["REGION"], if cluster == "us-1" { "us" } else { "eu" });
        assert_eq!(config.contains_key("CURRENCY"), cluster == "us-1");
    }
    Ok(())
}

async fn change(fleet: &Fleet) -> Result<()> {
    let commit = fleet
        .repository
        .replace("Checkout 2.8.0", CHECKOUT, "checkout:2.7.1", "checkout:2.8.0")
        .await?;
    fleet.wait_ready(Some(&commit), CHANGE).await?;
    for spoke in SPOKES {
        let checkout = observe::deployment(&fleet.planes[spoke.name].client(), "shop", "checkout").await?;
        let checkout = checkout.context("checkout is there")?;
        assert_eq!(
            observe::image(&checkout),
            Some("registry.example.com/shop/checkout:2.8.0"),
            "{}",
            spoke.name
        );
        let status = checkout.status.unwrap_or_default();
        assert_eq!(
            status.available_replicas,
            Some(1),
            "reported healthy before it was, on {}",
            spoke.name
        );
    }
    Ok(())
}

async fn removal(fleet: &Fleet) -> Result<()> {
    let commit = fleet
        .repository
        .replace("No autoscaler", CHECKOUT_FOLDER, "- autoscaler.yaml\n", "")
        .await?;
    fleet.wait_ready(Some(&commit), CHANGE).await?;
    for spoke in SPOKES {
        let client = fleet.planes[spoke.name].client();
        let scalers: kube::Api<k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler> =
            kube::Api::namespaced(client.clone(), "shop");
        assert!(
            scalers.get_opt("checkout").await?.is_none(),
            "not pruned on {}",
            spoke.name
        );
        assert!(
            observe::deployment(&client, "shop", "checkout").await?.is_some(),
            "pruned too much on {}",
            spoke.name
        );
    }
    Ok(())
}

async fn broken_and_healed(fleet: &Fleet) -> Result<()> {
    let before = uids(fleet).await?;
    let good = fleet.repository.read(CHECKOUT)?;
    fleet
        .repository
        .write("Oops", CHECKOUT, &good.replace("  template:\n", "  template\n"))
        .await?;
    let object = ready_condition(fleet, "apps", "the broken commit reported", |object| {
        object["status"]["unhealthy"]
            .as_array()
            .is_some_and(|list| list.len() == SPOKES.len())
    })
    .await?;
    assert_eq!(condition(&object, "Ready")["status"], "False");
    for entry in object["status"]["unhealthy"].as_array().into_iter().flatten() {
        assert!(
            SPOKES
                .iter()
                .any(|spoke| entry["cluster"].as_str().is_some_and(|name| name.ends_with(spoke.name))),
            "{entry}"
        );
        assert_eq!(entry["reason"], "BuildFailed", "{entry}");
        let message = entry["message"].as_str().unwrap_or_default();
        assert!(
            message.contains("checkout/deployment.yaml"),
            "the file is not named: {message}"
        );
        assert!(
            entry["object"].as_str().is_some_and(|object| !object.is_empty()),
            "{entry}"
        );
    }
    assert_eq!(uids(fleet).await?, before, "a broken commit touched what runs");

    let commit = fleet.repository.write("Mended", CHECKOUT, &good).await?;
    fleet.wait_ready(Some(&commit), CHANGE).await?;
    let object = fleet.fleet_kustomization("apps").await?;
    assert!(
        object["status"]["unhealthy"].as_array().is_none_or(Vec::is_empty),
        "{:#}",
        object["status"]
    );
    assert_eq!(uids(fleet).await?, before);
    eventually(CHANGE, "the CLI shows the fleet ready", || async {
        let table = fleet.nave.run(&["get", "fleet", "-A"]).await?;
        anyhow::ensure!(table.contains("apps") && table.contains("True"), "{table}");
        Ok(())
    })
    .await
}

async fn uids(fleet: &Fleet) -> Result<Vec<std::collections::BTreeMap<String, String>>> {
    let mut all = Vec::new();
    for spoke in SPOKES {
        all.push(observe::workload_uids(&fleet.planes[spoke.name].client()).await?);
    }
    Ok(all)
}
