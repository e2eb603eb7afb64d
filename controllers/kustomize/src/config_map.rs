//! `spec.kubeConfig.configMapRef`: a cluster's address, and an account of this cluster whose tokens it believes.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::BoxFuture;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{ConfigMap, ServiceAccount as ApiAccount},
};
use kube::{Api, Client, api::PostParams};
use nave_targets::{ServiceAccount, Target, TargetError, Token, TokenAccess, TokenSource};

use crate::{Options, Ports};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Flux's tokens for other clusters live as long.
const TOKEN_SECONDS: i64 = 3_600;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigMapError {
    #[error("ConfigMap {namespace}/{name} was not found")]
    Missing { namespace: String, name: String },
    #[error("reading ConfigMap {namespace}/{name}: {source}")]
    Read {
        namespace: String,
        name: String,
        source: kube::Error,
    },
    #[error("ConfigMap {namespace}/{name}, key {key}: {problem}")]
    Key {
        namespace: String,
        name: String,
        key: &'static str,
        problem: String,
    },
    #[error("the cluster of ConfigMap {namespace}/{name}: {source}")]
    Target {
        namespace: String,
        name: String,
        source: TargetError,
    },
}

/// What a ConfigMap of the provider `generic` says.
#[derive(Debug, PartialEq, Eq)]
struct Generic {
    address: String,
    ca: Option<String>,
    audiences: Vec<String>,
    account: String,
}

/// The key that is wrong, and what is.
type Wrong = (&'static str, String);

/// Pure: reads the keys. `default_account` is `--default-kubeconfig-service-account`.
fn read(data: &BTreeMap<String, String>, gate: bool, default_account: &str) -> Result<Generic, Wrong> {
    let text = |key: &str| data.get(key).map(|text| text.trim()).filter(|text| !text.is_empty());
    match text("provider") {
        Some("generic") => {}
        Some(cloud @ ("aws" | "azure" | "gcp")) => {
            let problem = format!("the provider {cloud} is not supported by this version, use generic or a Secret");
            return Err(("provider", problem));
        }
        Some(other) => return Err(("provider", format!("{other:?} is not known, use generic"))),
        None => return Err(("provider", "it is not set".to_owned())),
    }
    let address = text("address").ok_or_else(|| ("address", "it is not set".to_owned()))?;
    if !address.starts_with("https://") {
        return Err(("address", format!("{address:?} does not start with https://")));
    }
    let account = match text("serviceAccountName") {
        Some(_) if !gate => {
            let problem = "it needs the feature gate ObjectLevelWorkloadIdentity".to_owned();
            return Err(("serviceAccountName", problem));
        }
        Some(name) => name,
        None if default_account.is_empty() => {
            let problem = "it is not set, and neither is --default-kubeconfig-service-account".to_owned();
            return Err(("serviceAccountName", problem));
        }
        None => default_account,
    };
    let audiences: Vec<String> = text("audiences")
        .into_iter()
        .flat_map(str::lines)
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    Ok(Generic {
        audiences: if audiences.is_empty() {
            vec![address.to_owned()]
        } else {
            audiences
        },
        address: address.to_owned(),
        ca: text("ca.crt").map(str::to_owned),
        account: account.to_owned(),
    })
}

/// Tokens of an account of this cluster.
struct AccountTokens {
    api: Api<ApiAccount>,
    name: String,
    audiences: Vec<String>,
}

impl TokenSource for AccountTokens {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, BoxError>> {
        Box::pin(async move {
            let request = TokenRequest {
                spec: Some(TokenRequestSpec {
                    audiences: Some(self.audiences.clone()),
                    expiration_seconds: Some(TOKEN_SECONDS),
                    ..TokenRequestSpec::default()
                }),
                ..TokenRequest::default()
            };
            let answer = self
                .api
                .create_token_request(&self.name, &PostParams::default(), &request)
                .await
                .map_err(|error| format!("a token for ServiceAccount {}: {error}", self.name))?;
            let status = answer.status.unwrap_or_default();
            match (status.token, status.expiration_timestamp) {
                (Some(value), Some(expires)) => Ok(Token {
                    value,
                    expires: expires.0,
                }),
                _ => Err("the answer to a token request has no token".into()),
            }
        })
    }
}

/// The cluster that a ConfigMap of the Kustomization's namespace names; `account` is impersonated there.
pub(crate) async fn target(
    namespace: &str,
    name: &str,
    client: &Client,
    account: Option<&ServiceAccount>,
    ports: &Ports,
    options: &Options,
) -> Result<Arc<Target>, ConfigMapError> {
    let named = || (namespace.to_owned(), name.to_owned());
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(|source| {
        let (namespace, name) = named();
        ConfigMapError::Read {
            namespace,
            name,
            source,
        }
    })?;
    let Some(found) = found else {
        let (namespace, name) = named();
        return Err(ConfigMapError::Missing { namespace, name });
    };
    let gate = options.gates.object_level_workload_identity;
    let generic = read(
        &found.data.unwrap_or_default(),
        gate,
        &options.default_kubeconfig_service_account,
    )
    .map_err(|(key, problem)| {
        let (namespace, name) = named();
        ConfigMapError::Key {
            namespace,
            name,
            key,
            problem,
        }
    })?;
    let access = TokenAccess {
        server: generic.address,
        ca: generic.ca,
        // Whose tokens: two accounts never share a client.
        identity: format!("{namespace}/{} for {}", generic.account, generic.audiences.join(" ")),
    };
    let tokens = AccountTokens {
        api: Api::namespaced(client.clone(), namespace),
        name: generic.account,
        audiences: generic.audiences,
    };
    ports
        .targets
        .by_token(&access, Arc::new(tokens), account)
        .await
        .map_err(|source| {
            let (namespace, name) = named();
            ConfigMapError::Target {
                namespace,
                name,
                source,
            }
        })
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

    #[test]
    fn keys_are_read_and_wrong_ones_named() {
        let full = data(&[
            ("provider", "generic"),
            ("address", "https://c.example.com"),
            ("ca.crt", "PEM"),
            ("audiences", "a\n\n b \n"),
            ("serviceAccountName", "deployer"),
        ]);
        let wanted = Generic {
            address: "https://c.example.com".into(),
            ca: Some("PEM".into()),
            audiences: vec!["a".into(), "b".into()],
            account: "deployer".into(),
        };
        assert_eq!(read(&full, true, ""), Ok(wanted));
        let wrong = |data: &BTreeMap<String, String>, gate: bool| read(data, gate, "").expect_err("it is wrong").0;
        assert_eq!(wrong(&full, false), "serviceAccountName");
        let plain = data(&[("provider", "generic"), ("address", "https://c")]);
        assert_eq!(wrong(&plain, true), "serviceAccountName");
        let read_plain = read(&plain, false, "default").expect("the flag names the account");
        assert_eq!(
            (read_plain.account.as_str(), read_plain.audiences),
            ("default", vec!["https://c".to_owned()])
        );
        assert_eq!(wrong(&data(&[]), true), "provider");
        assert_eq!(wrong(&data(&[("provider", "aws")]), true), "provider");
        assert_eq!(wrong(&data(&[("provider", "generic")]), true), "address");
        assert_eq!(
            wrong(&data(&[("provider", "generic"), ("address", "http://c")]), true),
            "address"
        );
    }
}
