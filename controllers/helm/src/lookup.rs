//! The template function `lookup`, answered by the cluster that is installed to.

use std::sync::Arc;

use http::Request;
use nave_chart::{Lookup, LookupError};
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
