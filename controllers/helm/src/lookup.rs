//! The template functions `lookup`, answered by the cluster that is installed to, and `getHostByName`, by the network.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use http::Request;
use nave_chart::{Lookup, LookupError, Resolve};
use nave_object::Gvk;
use nave_targets::Target;
use serde_json::Value;
use tokio::runtime::Handle;

/// Templates are rendered in a thread that may block; requests run where all others do.
pub(crate) struct ClusterLookup {
    pub target: Arc<Target>,
    pub runtime: Handle,
}

impl Lookup for ClusterLookup {
    fn lookup(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<Option<Value>, LookupError> {
        self.runtime.block_on(self.ask(api_version, kind, namespace, name))
    }
}

impl ClusterLookup {
    async fn ask(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, LookupError> {
        let resource = self
            .target
            .resolve(&Gvk::new(api_version, kind))
            .await
            .map_err(LookupError::new)?;
        if !name.is_empty() {
            return self
                .target
                .get(&resource, namespace, name)
                .await
                .map_err(LookupError::new);
        }
        let request = Request::get(resource.path(namespace))
            .body(Vec::new())
            .map_err(LookupError::new)?;
        match self.target.client().request(request).await {
            Ok(list) => Ok(Some(list)),
            Err(error) if nave_targets::is_not_found(&error) => Ok(None),
            Err(error) => Err(LookupError::new(error)),
        }
    }
}

/// The resolver of this machine; who asks waits for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostResolver;

impl Resolve for HostResolver {
    fn resolve(&self, host: &str) -> Result<Vec<String>, LookupError> {
        match (host, 0).to_socket_addrs() {
            Ok(found) => Ok(found.map(|address: SocketAddr| address.ip().to_string()).collect()),
            Err(error) => Err(LookupError::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_resolved_by_this_machine() {
        assert_eq!(
            HostResolver.resolve("127.0.0.1").expect("it is an address"),
            ["127.0.0.1"]
        );
        assert!(HostResolver.resolve("no\0host").is_err());
    }
}
