//! The custom resource definitions that the controllers watch must be served before they start.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt};

/// Between two looks for definitions that somebody else installs.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Installs the Flux definitions, or waits until somebody else has.
pub async fn ensure(client: &Client, install: bool) -> Result<()> {
    let flux: Vec<CustomResourceDefinition> = nave_crds::all()
        .into_iter()
        .filter(|definition| definition.spec.group.ends_with("fluxcd.io"))
        .collect();
    if install {
        return nave_runtime::definitions::install(client.clone(), &flux, "nave-agent")
            .await
            .context("installing the custom resource definitions");
    }
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut said = false;
    loop {
        let mut missing = Vec::new();
        for definition in &flux {
            let name = definition.name_any();
            // Who may not read definitions can still watch what they define; the watches will tell.
            match api.get_metadata_opt(&name).await {
                Ok(Some(_)) => {}
                Ok(None) => missing.push(name),
                Err(kube::Error::Api(status)) if status.code == 403 => return Ok(()),
                Err(error) => return Err(error).context("looking for the custom resource definitions"),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        if !said {
            tracing::warn!(
                missing = missing.join(", "),
                "custom resource definitions are missing; waiting for them. `nave install --agent` applies them, and so does --install-crds"
            );
            said = true;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
