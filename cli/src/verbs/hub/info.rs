//! What a hub says about itself: ConfigMap `nave-hub-info` in its namespace.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use nave_identity::KeyFingerprint;

use crate::{
    connection::{Connection, HUB_NAMESPACE},
    failure::advised,
};

/// Name of the ConfigMap.
pub const CONFIG_MAP: &str = "nave-hub-info";

/// Where a hub is dialled, and the root that it will show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubInfo {
    /// `host:port`, in the order in which agents try them; empty when the hub knows none that others can dial.
    pub addresses: Vec<String>,
    /// Fingerprint of the root that the hub's certificate chain ends in.
    pub root_pin: KeyFingerprint,
}

impl HubInfo {
    /// Reads what the hub published.
    ///
    /// # Errors
    /// There is no hub, or it has not published anything that can be read.
    pub async fn read(connection: &Connection, namespace: &str) -> Result<HubInfo> {
        let api: Api<ConfigMap> = Api::namespaced(connection.client.clone(), namespace);
        let found = api
            .get_opt(CONFIG_MAP)
            .await
            .with_context(|| format!("getting ConfigMap {namespace}/{CONFIG_MAP}"))?;
        let Some(map) = found else {
            return Err(advised(
                format!("no hub has published its address in {namespace} namespace (ConfigMap {CONFIG_MAP})"),
                if namespace == HUB_NAMESPACE {
                    "is this the right --context? `nave install --hub` makes a hub, `nave check` shows whether it runs"
                } else {
                    "is --hub-namespace the namespace that the hub runs in?"
                },
            ));
        };
        let data = map.data.unwrap_or_default();
        let value = |key: &str| data.get(key).map(|value| value.trim()).unwrap_or_default();
        HubInfo::parse(value("addresses"), value("rootPin"))
            .with_context(|| format!("reading ConfigMap {namespace}/{CONFIG_MAP}"))
    }

    fn parse(addresses: &str, root_pin: &str) -> Result<HubInfo> {
        let addresses = addresses
            .split(',')
            .map(str::trim)
            .filter(|address| can_be_dialled(address));
        Ok(HubInfo {
            addresses: addresses.map(str::to_owned).collect(),
            root_pin: root_pin
                .parse()
                .with_context(|| format!("rootPin {root_pin:?} is no fingerprint"))?,
        })
    }
}

/// A hub that was not told its address publishes the one it listens on, which may stand for "all of them".
fn can_be_dialled(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    !matches!(host, "" | "0.0.0.0" | "[::]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hub_publishes_is_read() {
        let pin = format!("sha256:{}", "7".repeat(64));
        let info = HubInfo::parse("hub.example.com:9443, 10.0.0.1:9443,", &pin).expect("valid");
        assert_eq!(info.addresses, ["hub.example.com:9443", "10.0.0.1:9443"]);
        assert_eq!(info.root_pin.to_string(), pin);
        for nowhere in ["", "0.0.0.0:9443", "[::]:9443, :9443"] {
            assert!(
                HubInfo::parse(nowhere, &pin).expect("valid").addresses.is_empty(),
                "{nowhere}"
            );
        }
        assert!(HubInfo::parse("a:1", "md5:1").is_err());
    }
}
