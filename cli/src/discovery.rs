//! What the cluster calls its kinds: `deploy`, `deployments.apps` and `Deployment` are one.

use anyhow::{Context, Result};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};

use tokio::sync::OnceCell;

use crate::failure::advised;

/// All kinds of a cluster, those of the core group first, in the cluster's order of preference.
#[derive(Debug, Default)]
pub struct Discovery {
    kinds: Vec<Known>,
}

/// All kinds, asked for when the first question comes.
pub struct Lazy<'a> {
    client: &'a Client,
    all: OnceCell<Discovery>,
}

impl<'a> Lazy<'a> {
    /// Asks nothing yet.
    pub fn new(client: &'a Client) -> Self {
        Lazy {
            client,
            all: OnceCell::new(),
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn get(&self) -> Result<&Discovery> {
        self.all.get_or_try_init(|| Discovery::of(self.client)).await
    }
}

/// One kind in one version.
#[derive(Debug, Clone)]
pub struct Known {
    resource: ApiResource,
    namespaced: bool,
    singular: String,
    short: Vec<String>,
}

impl Discovery {
    /// Asks for all of them, with two requests.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn of(client: &Client) -> Result<Discovery> {
        let what = "asking for the kinds that the cluster knows";
        let core = client.list_core_api_versions_aggregated().await.context(what)?;
        let groups = client.list_api_groups_aggregated().await.context(what)?;
        let mut kinds = Vec::new();
        for group in core.items.into_iter().chain(groups.items) {
            let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
            for version in group.versions {
                let version_name = version.version.unwrap_or_default();
                for resource in version.resources {
                    let Some(kind) = resource.response_kind.as_ref().and_then(|kind| kind.kind.clone()) else {
                        continue;
                    };
                    let gvk = GroupVersionKind::gvk(&name, &version_name, &kind);
                    let plural = resource.resource.unwrap_or_default();
                    kinds.push(Known {
                        resource: ApiResource::from_gvk_with_plural(&gvk, &plural),
                        namespaced: resource.scope.as_deref() == Some("Namespaced"),
                        singular: resource.singular_resource.unwrap_or_default(),
                        short: resource.short_names,
                    });
                }
            }
        }
        Ok(Discovery { kinds })
    }

    /// One kind of one version, with one request.
    ///
    /// # Errors
    /// The API server does not answer, or knows no such kind.
    pub async fn one(client: &Client, api_version: &str, kind: &str) -> Result<Known> {
        let what = || format!("asking for the kinds of {api_version}");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let list = if group.is_empty() {
            client.list_core_api_resources(version).await
        } else {
            client.list_api_group_resources(api_version).await
        };
        let unknown = || {
            advised(
                format!("the cluster does not know the kind {kind} of {api_version}"),
                "`kubectl api-resources` shows what there is",
            )
        };
        let list = match list {
            Err(kube::Error::Api(status)) if status.code == 404 => return Err(unknown()),
            answer => answer.with_context(what)?,
        };
        let found = list
            .resources
            .into_iter()
            .find(|resource| resource.kind.eq_ignore_ascii_case(kind) && !resource.name.contains('/'))
            .ok_or_else(unknown)?;
        let gvk = GroupVersionKind::gvk(group, version, &found.kind);
        Ok(Known {
            resource: ApiResource::from_gvk_with_plural(&gvk, &found.name),
            namespaced: found.namespaced,
            singular: found.singular_name,
            short: found.short_names.unwrap_or_default(),
        })
    }

    /// The kind that a word stands for, as kubectl reads it: plural, singular, short name or kind, in any case, with
    /// `.group` or `.version.group` behind it where that is needed.
    ///
    /// # Errors
    /// No kind is called so.
    pub fn named(&self, word: &str) -> Result<&Known> {
        let lower = word.to_lowercase();
        let (name, group) = lower.split_once('.').unwrap_or((&lower, ""));
        self.kinds
            .iter()
            .find(|known| known.is_called(name) && known.is_of(group))
            .ok_or_else(|| {
                advised(
                    format!("the cluster knows no kind called {word:?}"),
                    "`kubectl api-resources` shows what there is",
                )
            })
    }

    /// The kind of this group and version.
    pub fn exact(&self, api_version: &str, kind: &str) -> Option<&Known> {
        self.kinds
            .iter()
            .find(|known| known.resource.api_version == api_version && known.resource.kind.eq_ignore_ascii_case(kind))
    }

    /// Whether objects of a kind live in namespaces; none for a kind that the cluster does not know.
    pub fn is_namespaced(&self, group: &str, kind: &str) -> Option<bool> {
        let is = |known: &&Known| known.resource.group == group && known.resource.kind == kind;
        self.kinds.iter().find(is).map(|known| known.namespaced)
    }
}

impl Known {
    /// Objects of a namespace, or of the cluster where the kind has no namespaces.
    pub fn api(&self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        if self.namespaced {
            Api::namespaced_with(client.clone(), namespace, &self.resource)
        } else {
            Api::all_with(client.clone(), &self.resource)
        }
    }

    /// Its kind.
    pub fn kind(&self) -> &str {
        &self.resource.kind
    }

    fn is_called(&self, name: &str) -> bool {
        self.resource.plural == name
            || self.singular == name
            || self.resource.kind.to_lowercase() == name
            || self.short.iter().any(|short| short == name)
    }

    fn is_of(&self, group: &str) -> bool {
        group.is_empty()
            || self.resource.group == group
            || group
                .split_once('.')
                .is_some_and(|(version, group)| self.resource.version == version && self.resource.group == group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(group: &str, version: &str, kind: &str, plural: &str, short: &[&str]) -> Known {
        Known {
            resource: ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural),
            namespaced: true,
            singular: kind.to_lowercase(),
            short: short.iter().map(|&text| text.to_owned()).collect(),
        }
    }

    #[test]
    fn words_are_read_as_kubectl_reads_them() {
        let discovery = Discovery {
            kinds: vec![
                known("", "v1", "Event", "events", &["ev"]),
                known("apps", "v1", "Deployment", "deployments", &["deploy"]),
                known("events.k8s.io", "v1", "Event", "events", &["ev"]),
            ],
        };
        let check = |word: &str, group: Option<&str>| {
            let found = discovery.named(word).ok().map(|known| known.resource.group.clone());
            assert_eq!(found.as_deref(), group, "{word}");
        };
        check("ev", Some(""));
        check("events.events.k8s.io", Some("events.k8s.io"));
        check("events.v1.events.k8s.io", Some("events.k8s.io"));
        check("events.v2.events.k8s.io", None);
        for word in [
            "deploy",
            "Deployment",
            "deployments",
            "deployments.apps",
            "deployment.v1.apps",
        ] {
            check(word, Some("apps"));
        }
        check("deployments.core", None);
        assert!(discovery.exact("apps/v1", "deployment").is_some());
        assert!(discovery.exact("apps/v2", "Deployment").is_none());
        assert_eq!(discovery.is_namespaced("apps", "Deployment"), Some(true));
        assert_eq!(discovery.is_namespaced("", "Deployment"), None);
    }
}
