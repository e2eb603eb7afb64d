//! Installing custom resource definitions at start, for programs run by hand.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{conditions, wait::await_condition},
};

/// How long the API server may take to serve a new kind.
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(60);

/// A definition that could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The API server refused it.
    #[error("applying the definition {name}")]
    Apply {
        /// The definition.
        name: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// It was accepted and is not served.
    #[error("the definition {name} is not served {ESTABLISHED_WITHIN:?} after it was applied")]
    NotEstablished {
        /// The definition.
        name: String,
    },
}

/// Applies `definitions` with server-side apply as `manager` and waits until all of them are served.
pub async fn install(
    client: Client,
    definitions: &[CustomResourceDefinition],
    manager: &str,
) -> Result<(), InstallError> {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    for definition in definitions {
        let name = definition.name_any();
        api.patch(&name, &PatchParams::apply(manager).force(), &Patch::Apply(definition))
            .await
            .map_err(|source| InstallError::Apply {
                name,
                source: Box::new(source),
            })?;
    }
    for definition in definitions {
        let name = definition.name_any();
        let established = await_condition(api.clone(), &name, conditions::is_crd_established());
        match tokio::time::timeout(ESTABLISHED_WITHIN, established).await {
            Ok(Ok(_)) => {}
            _ => return Err(InstallError::NotEstablished { name }),
        }
    }
    Ok(())
}
