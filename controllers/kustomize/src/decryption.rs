//! The private keys and credentials of `spec.decryption`, from Secrets.

use std::collections::{BTreeMap, btree_map::Entry};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt};
use nave_crds::kustomize::Kustomization;
use nave_kms::{AwsKey, AwsKeyError, Credentials, KeyServices, VaultLogin, VaultServers, azure_key_from_text};
use nave_net::{
    SecretText,
    cloud::{Cloud, CloudError, GoogleKey, Identity},
};
use nave_sops::{Answer, Answers, KeyError, KeyService, Keys, Request};
use nave_targets::ClusterAccounts;
use tokio::sync::OnceCell;

use crate::{Options, target::cloud_of};

/// The key of the ConfigMap that lists Vaults.
const VAULT_CONFIG: &str = "config.yaml";

/// What a Kustomization decrypts with.
#[derive(Debug)]
pub(crate) struct Decryption {
    pub keys: Keys,
    credentials: Credentials,
    services: KeyServices,
    /// Who logs in to Vault, where that is wanted and no token is at hand.
    login: Option<Login>,
    /// Names the keys without showing them: the identity and version of their Secret.
    pub version: String,
}

/// What is needed to log in to Vault; asked for once a file is encrypted with a key there.
#[derive(Debug)]
struct Login {
    /// Namespace and name of the list of trusted servers.
    config_map: (String, String),
    cloud: Cloud,
    identity: Identity,
    client: HiddenClient,
    made: OnceCell<Result<VaultLogin, String>>,
}

struct HiddenClient(Client);

impl std::fmt::Debug for HiddenClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecryptionError {
    #[error("spec.decryption.secretRef: Secret {namespace}/{name} was not found")]
    Missing { namespace: String, name: String },
    #[error("reading Secret {namespace}/{name} with decryption keys")]
    Read {
        namespace: String,
        name: String,
        source: kube::Error,
    },
    #[error("key {key:?} of Secret {namespace}/{name}")]
    Key {
        namespace: String,
        name: String,
        key: String,
        source: KeyError,
    },
    #[error("key {key:?} of Secret {namespace}/{name}")]
    Aws {
        namespace: String,
        name: String,
        key: String,
        source: AwsKeyError,
    },
    #[error("key {key:?} of Secret {namespace}/{name}: {problem}")]
    Credentials {
        namespace: String,
        name: String,
        key: String,
        problem: String,
    },
    #[error("spec.decryption.serviceAccountName")]
    Identity(#[from] CloudError),
    #[error("key {key:?} of Secret {namespace}/{name} is not UTF-8 text")]
    NotText {
        namespace: String,
        name: String,
        key: String,
    },
}

impl DecryptionError {
    /// Whether the keys may be had another time though nothing is changed.
    pub fn may_pass(&self) -> bool {
        matches!(self, DecryptionError::Read { .. })
    }
}

/// The keys of a Kustomization; none when it decrypts nothing.
pub(crate) async fn decryption_of(
    kustomization: &Kustomization,
    client: &Client,
    options: &Options,
    services: &KeyServices,
) -> Result<Option<Decryption>, DecryptionError> {
    let Some(spec) = &kustomization.spec.decryption else {
        return Ok(None);
    };
    let mut decryption = Decryption {
        keys: Keys::new(),
        credentials: Credentials::default(),
        services: services.clone(),
        login: None,
        version: String::new(),
    };
    if let Some(cloud) = cloud_of(kustomization, options) {
        let identity = Cloud::identity_of(
            &kustomization.namespace().unwrap_or_default(),
            &spec.service_account_name,
            &options.default_decryption_service_account,
            options.gates.object_level_workload_identity,
        )?;
        decryption.login = options.sops_vault_config_map.clone().map(|config_map| Login {
            config_map,
            cloud: cloud.clone(),
            identity: identity.clone(),
            client: HiddenClient(client.clone()),
            made: OnceCell::new(),
        });
        decryption.credentials.ambient = Some((cloud, identity));
    }
    if let Some(reference) = &spec.secret_ref {
        let namespace = kustomization.namespace().unwrap_or_default();
        let Some(secret) = read(client, &namespace, &reference.name).await? else {
            let name = reference.name.clone();
            return Err(DecryptionError::Missing { namespace, name });
        };
        decryption.import(&secret, |_| true)?;
    } else if let Some((namespace, name)) = &options.sops_age_secret {
        // Flux ignores that it is missing.
        if let Some(secret) = read(client, namespace, name).await? {
            decryption.import(&secret, |key| key.ends_with(".agekey"))?;
        }
    }
    Ok(Some(decryption))
}

async fn read(client: &Client, namespace: &str, name: &str) -> Result<Option<Secret>, DecryptionError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    api.get_opt(name).await.map_err(|source| DecryptionError::Read {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        source,
    })
}

impl Decryption {
    fn import(&mut self, secret: &Secret, wanted: impl Fn(&str) -> bool) -> Result<(), DecryptionError> {
        let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
        let version = secret.metadata.resource_version.clone().unwrap_or_default();
        self.version = format!("{} {version}", secret.uid().unwrap_or_default());
        let empty = BTreeMap::new();
        for (key, value) in secret.data.as_ref().unwrap_or(&empty) {
            if !wanted(key) {
                continue;
            }
            let text = || {
                std::str::from_utf8(&value.0).map_err(|_| DecryptionError::NotText {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    key: key.clone(),
                })
            };
            let unusable = |problem: String| DecryptionError::Credentials {
                namespace: namespace.clone(),
                name: name.clone(),
                key: key.clone(),
                problem,
            };
            let token = |text: &str| Some(SecretText::new(text.trim()));
            let added = match key.as_str() {
                key if key.ends_with(".asc") => self.keys.add_pgp(&value.0),
                key if key.ends_with(".agekey") => self.keys.add_age(text()?),
                "sops.vault-token" => {
                    self.credentials.vault_token = token(text()?);
                    Ok(())
                }
                "sops.aws-kms" => {
                    let aws = AwsKey::from_yaml(text()?).map_err(|source| DecryptionError::Aws {
                        namespace: namespace.clone(),
                        name: name.clone(),
                        key: key.clone(),
                        source,
                    })?;
                    self.credentials.aws = Some(aws);
                    Ok(())
                }
                "sops.gcp-kms" => {
                    let gcp = GoogleKey::from_json(text()?).map_err(|error| unusable(error.to_string()))?;
                    self.credentials.gcp = Some(gcp);
                    Ok(())
                }
                "sops.azure-kv" => {
                    self.credentials.azure = Some(azure_key_from_text(text()?).map_err(unusable)?);
                    Ok(())
                }
                _ => Ok(()),
            };
            added.map_err(|source| DecryptionError::Key {
                namespace: namespace.clone(),
                name: name.clone(),
                key: key.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Asks the key services and adds what they say.
    pub async fn ask(&self, requests: Vec<Request>, answers: &mut Answers) {
        for request in requests {
            if let Entry::Vacant(place) = answers.entry(request) {
                let answer = self.answer(place.key()).await;
                place.insert(answer);
            }
        }
    }

    async fn answer(&self, request: &Request) -> Answer {
        let is_vault = matches!(request.service, KeyService::Vault { .. });
        match &self.login {
            Some(login) if is_vault && self.credentials.vault_token.is_none() => {
                let made = login.made.get_or_init(|| login.make()).await;
                let credentials = Credentials {
                    vault_login: Some(made.clone()?),
                    ..self.credentials.clone()
                };
                self.services.decrypt(request, &credentials).await
            }
            _ => self.services.decrypt(request, &self.credentials).await,
        }
    }
}

impl Login {
    /// Reads the list of servers, and who logs in: the named account, else that of this process.
    async fn make(&self) -> Result<VaultLogin, String> {
        let (namespace, name) = &self.config_map;
        let place = format!("ConfigMap {namespace}/{name}");
        let api: Api<ConfigMap> = Api::namespaced(self.client.0.clone(), namespace);
        let found = api
            .get_opt(name)
            .await
            .map_err(|error| format!("reading {place}: {error}"))?;
        let found = found.ok_or_else(|| format!("{place} with the servers of Vault was not found"))?;
        let data = found.data.unwrap_or_default();
        let text = data
            .get(VAULT_CONFIG)
            .ok_or_else(|| format!("{place} has no key {VAULT_CONFIG:?}"))?;
        let servers =
            VaultServers::from_yaml(text).map_err(|error| format!("key {VAULT_CONFIG:?} of {place}: {error}"))?;
        let account = match &self.identity {
            Identity::Account { namespace, name } => (namespace.clone(), name.clone()),
            Identity::Process if self.cloud.lends_process_identity() => {
                ClusterAccounts::new(self.client.0.clone()).own().await?
            }
            Identity::Process => return Err(CloudError::OwnIdentity.to_string()),
        };
        Ok(VaultLogin::new(servers, place, &self.cloud, account))
    }
}
