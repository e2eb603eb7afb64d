//! Looks at clusters that are reached by kubeconfig: is the Secret there and sound, does the cluster answer, and may we.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use k8s_openapi::api::{
    authorization::v1::{
        ResourceAttributes, ResourceRule, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SelfSubjectRulesReview,
        SelfSubjectRulesReviewSpec,
    },
    core::v1::Secret,
};
use kube::{Api, Client, ResourceExt, api::PostParams};
use nave_crds::Cluster;
use nave_placement_controller::{ClusterFacts, ClusterProbe, ProbeError};
use nave_targets::{KubeconfigError, TargetError, Targets};

/// A cluster that takes longer to say its version is not reachable.
const DEADLINE: Duration = Duration::from_secs(10);
/// Keys that are tried when the cluster names none, in Flux's order.
const DEFAULT_KEYS: [&str; 2] = ["value", "value.yaml"];

/// Probes through the shared clients, so that a probe and a reconcile use one connection.
pub struct Probe {
    client: Client,
    targets: Arc<Targets>,
}

impl Probe {
    /// Secrets are read with `client`, clusters are reached through `targets`.
    pub fn new(client: Client, targets: Arc<Targets>) -> Self {
        Probe { client, targets }
    }

    async fn look(&self, cluster: &Cluster) -> Result<ClusterFacts, ProbeError> {
        let kubeconfig = self.kubeconfig(cluster).await?;
        let target = self
            .targets
            .remote(&kubeconfig, None)
            .await
            .map_err(|error| refused(&error))?;
        let version = tokio::time::timeout(DEADLINE, target.client().apiserver_version())
            .await
            .map_err(|_| {
                ProbeError::Unreachable(format!("the cluster did not answer within {} s", DEADLINE.as_secs()))
            })?
            .map_err(|error| unreachable(&error))?;
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    verb: Some("patch".to_owned()),
                    resource: Some("namespaces".to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        // The version is public on many clusters; whether the credentials are good shows only here.
        let reviews: Api<SelfSubjectAccessReview> = Api::all(target.client().clone());
        let reviewed = within(reviews.create(&PostParams::default(), &review)).await?;
        if !reviewed.status.is_some_and(|status| status.allowed) {
            may_change_something(target.client(), cluster).await?;
        }
        Ok(ClusterFacts {
            kubernetes_version: version.git_version,
        })
    }

    async fn kubeconfig(&self, cluster: &Cluster) -> Result<Vec<u8>, ProbeError> {
        let Some(reference) = cluster.spec.kube_config.as_ref().map(|config| &config.secret_ref) else {
            return Err(ProbeError::Missing("spec.kubeConfig is not set".to_owned()));
        };
        let namespace = cluster.namespace().unwrap_or_default();
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        let secret = api
            .get_opt(&reference.name)
            .await
            .map_err(|error| {
                ProbeError::Missing(format!(
                    "reading Secret {namespace}/{}: {}",
                    reference.name,
                    chain(&error)
                ))
            })?
            .ok_or_else(|| ProbeError::Missing(format!("Secret {namespace}/{} does not exist", reference.name)))?;
        find(&secret, &reference.name, &reference.key)
    }
}

impl ClusterProbe for Probe {
    fn probe<'a>(&'a self, cluster: &'a Cluster) -> BoxFuture<'a, Result<ClusterFacts, ProbeError>> {
        Box::pin(self.look(cluster))
    }
}

/// The kubeconfig in a Secret.
fn find(secret: &Secret, name: &str, key: &str) -> Result<Vec<u8>, ProbeError> {
    let keys: &[&str] = if key.is_empty() { &DEFAULT_KEYS } else { &[key] };
    let data = secret.data.as_ref();
    let found = keys.iter().find_map(|key| data?.get(*key));
    match found {
        Some(value) if !value.0.is_empty() => Ok(value.0.clone()),
        Some(_) => Err(ProbeError::Malformed(format!(
            "the kubeconfig in Secret {name} is empty"
        ))),
        None => Err(ProbeError::Missing(format!(
            "Secret {name} has no key {}",
            keys.join(" or ")
        ))),
    }
}

fn refused(error: &TargetError) -> ProbeError {
    let text = chain(error);
    match error {
        TargetError::Kubeconfig(KubeconfigError::Refused { .. }) => ProbeError::Refused(text),
        TargetError::Kubeconfig(_) | TargetError::Client(_) | TargetError::Account { .. } => {
            ProbeError::Malformed(text)
        }
    }
}

/// A kubeconfig may well be limited to some namespaces, but not to nothing: asked are the namespaces that the cluster
/// grants, the one that the kubeconfig names, and `default`.
async fn may_change_something(client: &Client, cluster: &Cluster) -> Result<(), ProbeError> {
    let granted = cluster
        .spec
        .access
        .iter()
        .flat_map(|access| access.namespaces.iter().cloned());
    let namespaces: BTreeSet<String> = granted
        .chain([client.default_namespace().to_owned(), "default".to_owned()])
        .collect();
    let api: Api<SelfSubjectRulesReview> = Api::all(client.clone());
    for namespace in &namespaces {
        let review = SelfSubjectRulesReview {
            spec: SelfSubjectRulesReviewSpec {
                namespace: Some(namespace.clone()),
            },
            ..SelfSubjectRulesReview::default()
        };
        let Some(status) = within(api.create(&PostParams::default(), &review)).await?.status else {
            return Ok(()); // an authorizer that cannot list its rules: the first apply will tell
        };
        if status.incomplete || status.resource_rules.iter().any(changes_something) {
            return Ok(());
        }
    }
    Err(ProbeError::Forbidden(format!(
        "the kubeconfig's account is forbidden to change anything in the namespaces {}",
        namespaces.into_iter().collect::<Vec<_>>().join(", ")
    )))
}

/// Everybody may ask what they may do; that changes nothing.
fn changes_something(rule: &ResourceRule) -> bool {
    let writes = rule
        .verbs
        .iter()
        .any(|verb| matches!(verb.as_str(), "*" | "create" | "patch" | "update" | "impersonate"));
    let about_oneself = rule
        .resources
        .as_ref()
        .is_some_and(|resources| !resources.is_empty() && resources.iter().all(|name| name.starts_with("selfsubject")));
    writes && !about_oneself
}

async fn within<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, ProbeError> {
    tokio::time::timeout(DEADLINE, answer)
        .await
        .map_err(|_| ProbeError::Unreachable(format!("the cluster did not answer within {} s", DEADLINE.as_secs())))?
        .map_err(|error| unreachable(&error))
}

fn unreachable(error: &kube::Error) -> ProbeError {
    match error {
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
            ProbeError::Forbidden(format!("the cluster answers {}: {}", status.code, status.message))
        }
        kube::Error::Auth(_) => ProbeError::Malformed(chain(error)),
        _ => ProbeError::Unreachable(chain(error)),
    }
}

/// The error with its causes; each says something new.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    fn check(keys: &[(&str, &str)], key: &str, expected: &str) {
        let data = keys
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        let secret = Secret {
            data: Some(data.collect()),
            ..Secret::default()
        };
        let told = match find(&secret, "eu-1", key) {
            Ok(found) => String::from_utf8(found).unwrap(),
            Err(error) => error.to_string(),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn the_key_is_the_named_one_or_fluxs_defaults() {
        check(&[("value", "a"), ("value.yaml", "b")], "", "a");
        check(&[("value.yaml", "b")], "", "b");
        check(&[("value", "a"), ("kube", "c")], "kube", "c");
        check(&[("value", "a")], "kube", "Secret eu-1 has no key kube");
        check(&[], "", "Secret eu-1 has no key value or value.yaml");
        check(&[("value", "")], "", "the kubeconfig in Secret eu-1 is empty");
    }
}
