//! `spec.kubeConfig.configMapRef`: a cluster's name or address, and whose tokens it is asked with.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use nave_net::cloud::{Accounts, Cloud, ClusterPlace, ClusterRequest, Identity, Provider};
use tower::BoxError;

use crate::{
    accounts::ClusterAccounts,
    target::{ServiceAccount, Target},
    targets::{TargetError, Targets, TokenAccess},
    tokens::{Token, TokenSource},
};

/// A ConfigMap, and what decides how it is read.
#[derive(Clone, Copy)]
pub struct ConfigMapAccess<'a> {
    /// The cluster that holds the ConfigMap and the accounts.
    pub client: &'a Client,
    /// Namespace of the object that names it.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Who is impersonated in the other cluster.
    pub account: Option<&'a ServiceAccount>,
    /// The clouds; without, their providers are refused.
    pub cloud: Option<&'a Cloud>,
    /// The feature gate `ObjectLevelWorkloadIdentity`.
    pub gate: bool,
    /// `--default-kubeconfig-service-account`; empty is none.
    pub default_account: &'a str,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConfigMapError {
    /// There is no such ConfigMap.
    #[error("ConfigMap {namespace}/{name} was not found")]
    Missing {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// It cannot be read.
    #[error("reading ConfigMap {namespace}/{name}: {source}")]
    Read {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why.
        source: kube::Error,
    },
    /// A key that is missing or makes no sense.
    #[error("ConfigMap {namespace}/{name}, key {key}: {problem}")]
    Key {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The cluster cannot be described, or no client can be made for it.
    #[error("the cluster of ConfigMap {namespace}/{name}: {problem}")]
    Cluster {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// What a ConfigMap says.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    cluster: Cluster,
    /// Empty: this process.
    account: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Cluster {
    Generic {
        address: String,
        ca: Option<String>,
        audiences: Vec<String>,
    },
    Cloud(ClusterRequest),
}

/// The key that is wrong, and what is.
type Wrong = (&'static str, String);

/// Pure: reads the keys.
fn read(data: &BTreeMap<String, String>, gate: bool, default_account: &str) -> Result<Said, Wrong> {
    let text = |key: &str| data.get(key).map(|text| text.trim()).filter(|text| !text.is_empty());
    let account = match text("serviceAccountName") {
        Some(_) if !gate => {
            let problem = "it needs the feature gate ObjectLevelWorkloadIdentity".to_owned();
            return Err(("serviceAccountName", problem));
        }
        Some(name) => name,
        None => default_account,
    };
    let provider = match text("provider") {
        Some("generic") => None,
        Some("aws") => Some(Provider::Aws),
        Some("azure") => Some(Provider::Azure),
        Some("gcp") => Some(Provider::Gcp),
        Some(other) => {
            let problem = format!("{other:?} is not known, use aws, azure, gcp or generic");
            return Err(("provider", problem));
        }
        None => return Err(("provider", "it is not set".to_owned())),
    };
    let address = match text("address") {
        Some(address) if !address.starts_with("https://") => {
            return Err(("address", format!("{address:?} does not start with https://")));
        }
        address => address.map(str::to_owned),
    };
    let ca = text("ca.crt").map(str::to_owned);
    let cluster = match provider {
        Some(provider) => {
            let cluster = text("cluster").map(str::to_owned);
            // With address and authority, Azure needs not be asked for the cluster; the others need its name.
            let is_known = provider == Provider::Azure && address.is_some() && ca.is_some();
            Cluster::Cloud(ClusterRequest {
                provider,
                cluster: match cluster {
                    Some(cluster) => cluster,
                    None if is_known => String::new(),
                    None => return Err(("cluster", "it is not set".to_owned())),
                },
                address,
                ca,
            })
        }
        None => {
            let address = address.ok_or_else(|| ("address", "it is not set".to_owned()))?;
            let audiences: Vec<String> = text("audiences")
                .into_iter()
                .flat_map(str::lines)
                .map(|line| line.trim().to_owned())
                .filter(|line| !line.is_empty())
                .collect();
            Cluster::Generic {
                audiences: if audiences.is_empty() {
                    vec![address.clone()]
                } else {
                    audiences
                },
                address,
                ca,
            }
        }
    };
    Ok(Said {
        cluster,
        account: account.to_owned(),
    })
}

/// Tokens of an account of this cluster.
struct AccountTokens {
    accounts: ClusterAccounts,
    namespace: String,
    name: String,
    audiences: Vec<String>,
}

impl TokenSource for AccountTokens {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, BoxError>> {
        Box::pin(async move {
            let token = self.accounts.token(&self.namespace, &self.name, &self.audiences).await;
            let token = token.map_err(|error| format!("a token for ServiceAccount {}: {error}", self.name))?;
            Ok(Token {
                value: token.value.expose().to_owned(),
                expires: token.expires,
            })
        })
    }
}

/// Tokens that a cloud makes for one of its clusters.
struct CloudTokens {
    cloud: Cloud,
    identity: Identity,
    provider: Provider,
    cluster: String,
}

impl TokenSource for CloudTokens {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, BoxError>> {
        Box::pin(async move {
            let token = self
                .cloud
                .cluster_token(&self.identity, self.provider, &self.cluster)
                .await?;
            Ok(Token {
                value: token.value.expose().to_owned(),
                expires: token.expires,
            })
        })
    }
}

impl Targets {
    /// The cluster that a ConfigMap names.
    ///
    /// # Errors
    /// It is missing or wrong, or the cluster cannot be found or reached as it says.
    pub async fn by_config_map(&self, access: ConfigMapAccess<'_>) -> Result<Arc<Target>, ConfigMapError> {
        let (namespace, name) = (access.namespace.to_owned(), access.name.to_owned());
        let api: Api<ConfigMap> = Api::namespaced(access.client.clone(), &namespace);
        let found = match api.get_opt(&name).await {
            Ok(Some(found)) => found,
            Ok(None) => return Err(ConfigMapError::Missing { namespace, name }),
            Err(source) => {
                return Err(ConfigMapError::Read {
                    namespace,
                    name,
                    source,
                });
            }
        };
        let said = match read(&found.data.unwrap_or_default(), access.gate, access.default_account) {
            Ok(said) => said,
            Err((key, problem)) => {
                return Err(ConfigMapError::Key {
                    namespace,
                    name,
                    key,
                    problem,
                });
            }
        };
        self.target_of(access, said)
            .await
            .map_err(|problem| ConfigMapError::Cluster {
                namespace,
                name,
                problem,
            })
    }

    async fn target_of(&self, access: ConfigMapAccess<'_>, said: Said) -> Result<Arc<Target>, String> {
        let namespace = access.namespace;
        let (place, tokens, identity): (ClusterPlace, Arc<dyn TokenSource>, String) = match said.cluster {
            Cluster::Generic { address, ca, audiences } => {
                let accounts = ClusterAccounts::new(access.client.clone());
                let (of, name) = match said.account.as_str() {
                    // Whoever writes the ConfigMap names the address and the audience: with the token of this process he
                    // could be this process.
                    "" if self.keeps_identity() => {
                        return Err(
                            "the identity of this process is not lent here: serviceAccountName has to be set"
                                .to_owned(),
                        );
                    }
                    "" => accounts.own().await?,
                    name => (namespace.to_owned(), name.to_owned()),
                };
                // Whose tokens: two accounts never share a client.
                let identity = format!("{of}/{name} for {}", audiences.join(" "));
                let tokens = AccountTokens {
                    accounts,
                    namespace: of,
                    name,
                    audiences,
                };
                (ClusterPlace { address, ca }, Arc::new(tokens), identity)
            }
            Cluster::Cloud(request) => {
                let cloud = access.cloud.ok_or("identities of clouds cannot be used here")?;
                let cloud = cloud.during("fetch_kubeconfig");
                let identity = match said.account.as_str() {
                    "" => Identity::Process,
                    name => Identity::Account {
                        namespace: namespace.to_owned(),
                        name: name.to_owned(),
                    },
                };
                let place = cloud
                    .cluster_place(&identity, &request)
                    .await
                    .map_err(|error| error.to_string())?;
                let shown = format!("{} {identity} for {}", request.provider, request.cluster);
                let tokens = CloudTokens {
                    cloud,
                    identity,
                    provider: request.provider,
                    cluster: request.cluster,
                };
                (place, Arc::new(tokens), shown)
            }
        };
        let access_by_token = TokenAccess {
            server: place.address,
            ca: place.ca,
            identity,
        };
        let target = self.by_token(&access_by_token, tokens, access.account).await;
        target.map_err(|error: TargetError| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            format!("{error}{}", source.unwrap_or_default())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn wrong(pairs: &[(&str, &str)], gate: bool) -> &'static str {
        read(&data(pairs), gate, "").expect_err("it is wrong").0
    }

    #[test]
    fn generic_clusters() {
        let full = [
            ("provider", "generic"),
            ("address", "https://c.example.com"),
            ("ca.crt", "PEM"),
            ("audiences", "a\n\n b \n"),
            ("serviceAccountName", "deployer"),
        ];
        let wanted = Said {
            cluster: Cluster::Generic {
                address: "https://c.example.com".into(),
                ca: Some("PEM".into()),
                audiences: vec!["a".into(), "b".into()],
            },
            account: "deployer".into(),
        };
        assert_eq!(read(&data(&full), true, ""), Ok(wanted));
        assert_eq!(wrong(&full, false), "serviceAccountName");
        let plain = data(&[("provider", "generic"), ("address", "https://c")]);
        let said = read(&plain, false, "default").expect("the flag names the account");
        let Cluster::Generic { audiences, .. } = said.cluster else {
            panic!("it is generic");
        };
        assert_eq!(
            (said.account.as_str(), audiences),
            ("default", vec!["https://c".to_owned()])
        );
        assert_eq!(read(&plain, false, "").expect("the process itself").account, "");
        assert_eq!(wrong(&[], true), "provider");
        assert_eq!(wrong(&[("provider", "other")], true), "provider");
        assert_eq!(wrong(&[("provider", "generic")], true), "address");
        assert_eq!(
            wrong(&[("provider", "generic"), ("address", "http://c")], true),
            "address"
        );
    }

    #[test]
    fn clusters_of_clouds() {
        let arn = "arn:aws:eks:eu-west-1:1:cluster/a";
        let said = read(&data(&[("provider", "aws"), ("cluster", arn)]), false, "").expect("it is complete");
        let wanted = ClusterRequest {
            provider: Provider::Aws,
            cluster: arn.to_owned(),
            address: None,
            ca: None,
        };
        assert_eq!(said.cluster, Cluster::Cloud(wanted));
        for provider in ["aws", "azure", "gcp"] {
            assert_eq!(wrong(&[("provider", provider)], true), "cluster");
            let place = [("provider", provider), ("address", "https://c"), ("ca.crt", "PEM")];
            let read = read(&data(&place), true, "");
            assert_eq!(read.is_ok(), provider == "azure", "{provider}");
        }
    }
}
