//! What others need to know of a running hub, in the ConfigMap `nave-hub-info`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use nave_crds::{labels, managers};
use nave_identity::KeyFingerprint;
use serde_json::json;

/// Name of the ConfigMap in the hub's namespace; `nave hub token create` reads it.
pub const CONFIG_MAP: &str = "nave-hub-info";

/// The content of the ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubInfo {
    /// `host:port` that agents dial, tried in order.
    pub addresses: Vec<String>,
    /// What join tokens pin.
    pub root_pin: KeyFingerprint,
    /// Names the hub to its agents.
    pub hub_uid: String,
    /// Version of the root set.
    pub root_version: u64,
    /// The wish that the last rotation of the roots fulfilled; empty when there was none.
    pub rotated_for: String,
    /// The recovery key that agents pin; empty when there is none.
    pub recovery_key: String,
    /// Which wish about the recovery key came to nothing and why; empty when the last one was fulfilled.
    pub recovery_refused: String,
}

/// Publishing failed.
#[derive(Debug, thiserror::Error)]
#[error("writing ConfigMap {namespace}/{CONFIG_MAP}")]
pub struct PublishError {
    namespace: String,
    #[source]
    source: Box<kube::Error>,
}

impl HubInfo {
    /// Writes the ConfigMap unless it says the same already.
    pub async fn publish(&self, client: &Client, namespace: &str) -> Result<(), PublishError> {
        let failed = |source| PublishError {
            namespace: namespace.to_owned(),
            source: Box::new(source),
        };
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let existing = api.get_opt(CONFIG_MAP).await.map_err(failed)?;
        let data = self.data();
        if existing.is_some_and(|map| map.data.as_ref() == Some(&data)) {
            return Ok(());
        }
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": CONFIG_MAP,
                "labels": {labels::PART_OF: labels::PART_OF_NAVE},
            },
            "data": data,
        });
        let parameters = PatchParams::apply(managers::HUB).force();
        api.patch(CONFIG_MAP, &parameters, &Patch::Apply(map))
            .await
            .map_err(failed)?;
        Ok(())
    }

    fn data(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("addresses".to_owned(), self.addresses.join(",")),
            ("rootPin".to_owned(), self.root_pin.to_string()),
            ("hubUID".to_owned(), self.hub_uid.clone()),
            ("rootVersion".to_owned(), self.root_version.to_string()),
            ("rotatedFor".to_owned(), self.rotated_for.clone()),
            ("recoveryKey".to_owned(), self.recovery_key.clone()),
            ("recoveryRefused".to_owned(), self.recovery_refused.clone()),
        ])
    }
}
