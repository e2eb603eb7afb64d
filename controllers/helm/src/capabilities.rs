//! What the cluster can do, as templates see it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{Request, header::ACCEPT};
use nave_chart::{BuildInfo, Capabilities, KubeVersion};
use nave_targets::Target;
use serde_json::Value;

use crate::act::Failed;

/// Both documents of what is served, in two requests.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
/// How long an answer is believed.
const FRESH: Duration = Duration::from_secs(60);

/// Answers of clusters, by target.
#[derive(Default)]
pub(crate) struct Known(Mutex<HashMap<String, (Instant, Capabilities)>>);

impl Known {
    /// Asks the cluster, or remembers.
    pub async fn of(&self, target: &Target) -> Result<Capabilities, Failed> {
        let known = self.lock().get(target.id()).cloned();
        if let Some((asked, capabilities)) = known
            && asked.elapsed() < FRESH
        {
            return Ok(capabilities);
        }
        let failed = |error: &kube::Error| {
            Failed::new(format!(
                "asking the cluster what it can do: {}",
                crate::cluster::describe(error)
            ))
        };
        let version = target.version().await.map_err(|error| failed(&error))?;
        let mut versions = BTreeSet::new();
        for root in ["/api", "/apis"] {
            let request = Request::get(root).header(ACCEPT, AGGREGATED).body(Vec::new());
            let request = request.map_err(|error| Failed::of(&error))?;
            let document: Value = target.client().request(request).await.map_err(|error| failed(&error))?;
            read(&document, &mut versions);
        }
        let capabilities = Capabilities {
            kube_version: KubeVersion::parse(&version).map_err(|error| Failed::of(&error))?,
            api_versions: versions.into_iter().collect::<Vec<_>>().into(),
            helm_version: BuildInfo::default(),
        };
        self.lock()
            .insert(target.id().to_owned(), (Instant::now(), capabilities.clone()));
        Ok(capabilities)
    }

    /// Definitions changed: the next one asks again.
    pub fn forget(&self, target: &Target) {
        self.lock().remove(target.id());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, Capabilities)>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (asked, _)| asked.elapsed() < FRESH);
        known
    }
}

/// `group/version` and `group/version/Kind` of everything in a discovery document.
fn read(document: &Value, versions: &mut BTreeSet<String>) {
    for group in document["items"].as_array().into_iter().flatten() {
        let name = group
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        for version in group["versions"].as_array().into_iter().flatten() {
            let Some(text) = version["version"].as_str() else {
                continue;
            };
            let api_version = match name {
                "" => text.to_owned(),
                name => format!("{name}/{text}"),
            };
            for resource in version["resources"].as_array().into_iter().flatten() {
                if let Some(kind) = resource.pointer("/responseKind/kind").and_then(Value::as_str) {
                    versions.insert(format!("{api_version}/{kind}"));
                }
            }
            versions.insert(api_version);
        }
    }
}

/// Shared by all jobs.
pub(crate) type Shared = Arc<Known>;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_read() {
        let mut versions = BTreeSet::new();
        read(
            &json!({"items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [{"responseKind": {"kind": "Pod"}}]}]},
                {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": []}]}]}),
            &mut versions,
        );
        assert_eq!(versions.into_iter().collect::<Vec<_>>(), ["apps/v1", "v1", "v1/Pod"]);
    }
}
