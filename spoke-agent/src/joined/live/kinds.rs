//! What a name stands for on this cluster: plural, singular, short name or kind, with or without version and group.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::{Client, core::discovery::v2::APIGroupDiscoveryList};
use nave_proto::wire::{LiveEndCode, LiveRequest};

use super::Ended;

/// What the API server serves is looked up again after this time, and at once when a name is not known.
const FRESH: Duration = Duration::from_secs(60);
/// Unknown names make the agent ask no more often than this.
const AGAIN: Duration = Duration::from_secs(2);

/// A resource that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core one.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural, as in paths.
    pub plural: String,
    /// Kind.
    pub kind: String,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    names: Vec<String>,
}

/// What is known, for a while.
pub struct Kinds {
    client: Client,
    known: Mutex<Option<(Instant, Arc<Vec<Kind>>)>>,
}

impl Kinds {
    /// Nothing yet.
    pub fn new(client: Client) -> Self {
        Kinds {
            client,
            known: Mutex::new(None),
        }
    }

    /// The kind that a request names.
    pub async fn resolve(&self, request: &LiveRequest) -> Result<Kind, Ended> {
        let known = self.known(FRESH).await?;
        if let Some(kind) = find(&known, &request.group, &request.version, &request.resource) {
            return Ok(kind.clone());
        }
        let known = self.known(AGAIN).await?;
        let found = find(&known, &request.group, &request.version, &request.resource);
        found.cloned().ok_or_else(|| {
            let text = format!("the cluster serves no resource {:?}", request.resource);
            Ended::new(LiveEndCode::NotFound, text)
        })
    }

    async fn known(&self, fresh: Duration) -> Result<Arc<Vec<Kind>>, Ended> {
        if let Some((at, known)) = &*self.known.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < fresh
        {
            return Ok(known.clone());
        }
        let failed = |error: kube::Error| {
            let text = format!("asking the cluster what it serves: {error}");
            Ended::new(LiveEndCode::Failed, text)
        };
        let (core, groups) = tokio::try_join!(
            self.client.list_core_api_versions_aggregated(),
            self.client.list_api_groups_aggregated()
        )
        .map_err(failed)?;
        let mut kinds = of(&core);
        kinds.extend(of(&groups));
        let kinds = Arc::new(kinds);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((Instant::now(), kinds.clone()));
        Ok(kinds)
    }
}

/// In the API server's order of preference.
pub fn of(list: &APIGroupDiscoveryList) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for group in &list.items {
        let name = group.metadata.as_ref().and_then(|metadata| metadata.name.clone());
        for version in &group.versions {
            for resource in &version.resources {
                let readable = resource.verbs.iter().any(|verb| verb == "get" || verb == "list");
                let (Some(plural), true) = (&resource.resource, readable) else {
                    continue;
                };
                let kind = resource.response_kind.as_ref().and_then(|kind| kind.kind.clone());
                let kind = kind.unwrap_or_default();
                let mut names = vec![plural.clone(), kind.to_lowercase()];
                names.extend(resource.singular_resource.clone());
                names.extend(resource.short_names.iter().cloned());
                names.retain(|name| !name.is_empty());
                kinds.push(Kind {
                    group: name.clone().unwrap_or_default(),
                    version: version.version.clone().unwrap_or_default(),
                    plural: plural.clone(),
                    kind,
                    namespaced: resource.scope.as_deref() == Some("Namespaced"),
                    names,
                });
            }
        }
    }
    kinds
}

/// The first that fits: `po`, `deployment`, `deployments.apps`, `deployments.v1.apps`.
fn find<'a>(known: &'a [Kind], group: &str, version: &str, typed: &str) -> Option<&'a Kind> {
    let typed = typed.to_lowercase();
    let named = |kind: &Kind, name: &str| kind.names.iter().any(|known| known == name);
    let fits =
        |kind: &&Kind| (group.is_empty() || kind.group == group) && (version.is_empty() || kind.version == version);
    let mut fitting = known.iter().filter(fits);
    if let Some((name, rest)) = typed.split_once('.') {
        let of_group = |kind: &&Kind| {
            named(kind, name) && (kind.group == rest || format!("{}.{}", kind.version, kind.group) == rest)
        };
        return fitting.find(of_group);
    }
    fitting.find(|kind| named(kind, &typed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<Kind> {
        let resource = |plural: &str, singular: &str, kind: &str, short: &str, verbs: &str| {
            serde_json::json!({
                "resource": plural, "singularResource": singular, "scope": "Namespaced",
                "responseKind": {"group": "", "version": "", "kind": kind}, "shortNames": [short],
                "verbs": verbs.split(' ').collect::<Vec<_>>(),
            })
        };
        let group = |name: &str, versions: &[(&str, Vec<serde_json::Value>)]| {
            let versions: Vec<_> = versions
                .iter()
                .map(|(version, resources)| serde_json::json!({"version": version, "resources": resources}))
                .collect();
            serde_json::json!({"metadata": {"name": name}, "versions": versions})
        };
        let list = serde_json::json!({"items": [
            group("", &[("v1", vec![
                resource("pods", "pod", "Pod", "po", "get list"),
                resource("events", "event", "Event", "ev", "get list"),
                resource("tokens", "token", "Token", "", "create"),
            ])]),
            group("apps", &[
                ("v1", vec![resource("deployments", "deployment", "Deployment", "deploy", "get list")]),
                ("v1beta1", vec![resource("deployments", "deployment", "Deployment", "deploy", "get list")]),
            ]),
            group("events.k8s.io", &[("v1", vec![resource("events", "event", "Event", "ev", "get list")])]),
        ]});
        of(&serde_json::from_value(list).expect("a discovery list"))
    }

    #[track_caller]
    fn check(group: &str, version: &str, typed: &str, expected: Option<&str>) {
        let known = known();
        let found = find(&known, group, version, typed);
        let found = found.map(|kind| format!("{}/{}/{}", kind.group, kind.version, kind.plural));
        assert_eq!(found.as_deref(), expected, "{group} {version} {typed}");
    }

    #[test]
    fn names_are_those_of_kubectl() {
        check("", "", "pods", Some("/v1/pods"));
        check("", "", "po", Some("/v1/pods"));
        check("", "", "Pod", Some("/v1/pods"));
        check("", "", "deploy", Some("apps/v1/deployments"));
        check("", "", "deployments.apps", Some("apps/v1/deployments"));
        check("", "", "deployment.v1beta1.apps", Some("apps/v1beta1/deployments"));
        check("apps", "v1beta1", "deployments", Some("apps/v1beta1/deployments"));
        check("", "", "events", Some("/v1/events"));
        check("", "", "events.events.k8s.io", Some("events.k8s.io/v1/events"));
        check("", "", "tokens", None);
        check("", "", "pods.apps", None);
        check("", "", "", None);
    }
}
