//! Logging in to Vault or OpenBao with the token of a service account: only to servers that whoever runs this process
//! has listed, since the address is in the file that is to be decrypted.

use std::{collections::BTreeMap, fmt, sync::Arc};

use nave_net::{SecretText, cloud::Cloud};
use nave_object::yaml::{Dialect, read_documents};
use serde_json::{Value, json};

use crate::{
    services::send,
    vault::{JsonBody, path_of, refusal},
};

/// Trusted servers, and the path that each takes logins at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VaultServers(BTreeMap<String, String>);

/// A list of servers that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultServersError {
    /// Not YAML, or more than one document.
    #[error("it is no YAML map")]
    Yaml,
    /// An entry without what it needs.
    #[error("instances[{index}] has no {field}")]
    Missing {
        /// Counted from zero.
        index: usize,
        /// `address` or `loginPath`.
        field: &'static str,
    },
}

impl VaultServers {
    /// Reads `instances: [{address, loginPath}]`, as Flux's `--sops-vault-configmap` has it under `config.yaml`.
    ///
    /// # Errors
    /// It is no such list.
    pub fn from_yaml(text: &str) -> Result<VaultServers, VaultServersError> {
        let documents = read_documents(text, Dialect::K8s).map_err(|_| VaultServersError::Yaml)?;
        let [Value::Object(config)] = documents.as_slice() else {
            return Err(VaultServersError::Yaml);
        };
        let instances = match config.get("instances") {
            None | Some(Value::Null) => return Ok(VaultServers::default()),
            Some(instances) => instances.as_array().ok_or(VaultServersError::Yaml)?,
        };
        let mut servers = BTreeMap::new();
        for (index, instance) in instances.iter().enumerate() {
            let field = |field: &'static str| {
                let text = instance
                    .get(field)
                    .and_then(Value::as_str)
                    .filter(|text| !text.is_empty());
                text.ok_or(VaultServersError::Missing { index, field })
            };
            servers.insert(field("address")?.to_owned(), field("loginPath")?.to_owned());
        }
        Ok(VaultServers(servers))
    }
}

/// Who logs in. Clones share the tokens that Vault gave; it should live no longer than one piece of work.
#[derive(Clone)]
pub struct VaultLogin {
    servers: VaultServers,
    /// Where the servers are listed, for messages.
    place: String,
    cloud: Cloud,
    namespace: String,
    name: String,
    tokens: Arc<tokio::sync::Mutex<BTreeMap<String, SecretText>>>,
}

impl fmt::Debug for VaultLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultLogin")
            .field("place", &self.place)
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl VaultLogin {
    /// As the service account `namespace`/`name`, whose tokens come through `cloud`. `place` names the list of servers.
    pub fn new(servers: VaultServers, place: String, cloud: &Cloud, (namespace, name): (String, String)) -> VaultLogin {
        VaultLogin {
            servers,
            place,
            cloud: cloud.during("decrypt_with_vault"),
            namespace,
            name,
            tokens: Arc::default(),
        }
    }

    /// A token of the Vault at `address`: the audience of the account's token is the address, and the role
    /// `<namespace>_<name>`, as in Flux.
    pub(crate) async fn token(&self, client: &reqwest::Client, address: &str) -> Result<SecretText, String> {
        // Two files of one build wait for one login.
        let mut tokens = self.tokens.lock().await;
        if let Some(token) = tokens.get(address) {
            return Ok(token.clone());
        }
        let Some(path) = self.servers.0.get(address) else {
            return Err(format!("{} lists no login path for Vault {address}", self.place));
        };
        let url = path_of(address, path)
            .ok_or_else(|| format!("{}: the login path of Vault {address} is no path", self.place))??;
        let account = self.cloud.account_token(&self.namespace, &self.name, address).await;
        let account = account.map_err(|error| error.to_string())?;
        let role = format!("{}_{}", self.namespace, self.name);
        let request = client
            .post(url)
            .header("X-Vault-Request", "true")
            .json_body(&json!({"role": role, "jwt": account.value.expose()}));
        let (status, answer) = send(request).await?;
        if status != 200 {
            return Err(format!(
                "logging in at {path} as role {role}: {}",
                refusal(status, &answer)
            ));
        }
        let token = answer.pointer("/auth/client_token").and_then(Value::as_str);
        let token = token
            .filter(|token| !token.is_empty())
            .ok_or_else(|| format!("logging in at {path} as role {role}: Vault's answer has no token"))?;
        let token = SecretText::new(token);
        tokens.insert(address.to_owned(), token.clone());
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{Json, Router, http::HeaderMap, http::StatusCode, routing::post};
    use base64::{Engine, engine::general_purpose::STANDARD};
    use jiff::{SignedDuration, Timestamp};
    use nave_net::cloud::{AccountAnswer, AccountToken, Accounts, CacheLimits, CacheObserver, Settings, Usage};
    use nave_sops::{Answer, KeyService, Request};

    use super::*;
    use crate::{Credentials, KeyServices};

    /// A cluster whose tokens say whom they are for.
    struct Cluster;

    impl Accounts for Cluster {
        fn annotations<'a>(&'a self, _: &'a str, _: &'a str) -> AccountAnswer<'a, BTreeMap<String, String>> {
            Box::pin(std::future::ready(Err("nobody asks for them".to_owned())))
        }

        fn token<'a>(
            &'a self,
            namespace: &'a str,
            name: &'a str,
            audiences: &'a [String],
        ) -> AccountAnswer<'a, AccountToken> {
            let answer = if name == "gone" {
                Err("it was not found".to_owned())
            } else {
                Ok(AccountToken {
                    value: SecretText::new(format!("jwt of {namespace}/{name} for {}", audiences.join(" "))),
                    expires: Timestamp::now() + SignedDuration::from_hours(1),
                })
            };
            Box::pin(std::future::ready(answer))
        }
    }

    #[derive(Default)]
    struct Operations(Mutex<Vec<&'static str>>);

    impl CacheObserver for Operations {
        fn looked_up(&self, _: bool, usage: &Usage) {
            self.0.lock().expect("no test panics with it").push(usage.operation);
        }
        fn answered(&self, _: bool) {}
        fn evicted(&self) {}
        fn kept(&self, _: i64) {}
    }

    /// A stand-in that lets one role in, and decrypts for whoever it let in.
    async fn vault(logins: Arc<AtomicUsize>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let jwt = format!("jwt of apps/decryptor for {address}");
        let login = async move |Json(body): Json<Value>| {
            logins.fetch_add(1, Ordering::SeqCst);
            if body == json!({"role": "apps_decryptor", "jwt": jwt}) {
                (
                    StatusCode::OK,
                    Json(json!({"auth": {"client_token": "s.logged-in", "lease_duration": 3600}})),
                )
            } else {
                (StatusCode::BAD_REQUEST, Json(json!({"errors": ["invalid role name"]})))
            }
        };
        let decrypt = async |headers: HeaderMap| {
            if headers.get("X-Vault-Token").is_some_and(|token| token == "s.logged-in") {
                (
                    StatusCode::OK,
                    Json(json!({"data": {"plaintext": STANDARD.encode([7; 32])}})),
                )
            } else {
                (StatusCode::FORBIDDEN, Json(json!({"errors": ["permission denied"]})))
            }
        };
        let router = Router::new()
            .route("/v1/auth/k8s/login", post(login))
            .route("/v1/transit/decrypt/k", post(decrypt));
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn login(servers: &str, account: &str, operations: &Arc<Operations>) -> Credentials {
        let client = reqwest::Client::new();
        let cloud = Cloud::with_client(
            client,
            Settings::default(),
            Some(Arc::new(Cluster)),
            CacheLimits::default(),
        );
        cloud.observe(operations.clone());
        let servers = VaultServers::from_yaml(servers).expect("the list is right");
        let account = ("apps".to_owned(), account.to_owned());
        let cloud = cloud.of_object("Kustomization", "apps", "web");
        let login = VaultLogin::new(servers, "ConfigMap flux-system/vault".to_owned(), &cloud, account);
        Credentials {
            vault_login: Some(login),
            ..Credentials::default()
        }
    }

    async fn ask(address: &str, credentials: &Credentials) -> Answer {
        let services = KeyServices::new()
            .expect("a client can be made")
            .allow_local_addresses(true);
        let request = Request {
            service: KeyService::Vault {
                address: address.to_owned(),
                engine_path: "transit".to_owned(),
                key_name: "k".to_owned(),
            },
            ciphertext: "vault:v1:x".to_owned(),
        };
        services.decrypt(&request, credentials).await
    }

    #[tokio::test]
    async fn an_account_logs_in_once_and_only_where_it_is_listed() {
        nave_net::install_crypto_provider();
        let logins = Arc::new(AtomicUsize::new(0));
        let address = vault(logins.clone()).await;
        let operations = Arc::new(Operations::default());
        let list = format!("instances:\n- address: {address}\n  loginPath: auth/k8s/login\n");
        let credentials = login(&list, "decryptor", &operations);
        for _ in 0..2 {
            assert_eq!(
                ask(&address, &credentials).await.expect("it is let in").as_slice(),
                [7; 32]
            );
        }
        assert_eq!(logins.load(Ordering::SeqCst), 1);
        assert_eq!(*operations.0.lock().expect("it is free"), ["decrypt_with_vault"]);
        for (list, account, wanted) in [
            (
                list.clone(),
                "other",
                "logging in at auth/k8s/login as role apps_other: Vault answered 400: invalid role name".to_owned(),
            ),
            (
                list.clone(),
                "gone",
                "service account 'apps/gone': it was not found".to_owned(),
            ),
            (
                "instances: []".to_owned(),
                "decryptor",
                format!("ConfigMap flux-system/vault lists no login path for Vault {address}"),
            ),
            (
                list.replace("auth/k8s", ".."),
                "decryptor",
                format!("ConfigMap flux-system/vault: the login path of Vault {address} is no path"),
            ),
        ] {
            assert_eq!(
                ask(&address, &login(&list, account, &operations)).await.unwrap_err(),
                wanted
            );
        }
        assert_eq!(logins.load(Ordering::SeqCst), 2, "who is not listed is not asked");
        // A token of a Secret comes first.
        let credentials = Credentials {
            vault_token: Some(SecretText::new("s.other")),
            ..credentials
        };
        let refused = ask(&address, &credentials).await.unwrap_err();
        assert_eq!(refused, "Vault answered 403: permission denied");
    }

    #[test]
    fn lists_of_servers() {
        let read = |text: &str| VaultServers::from_yaml(text).map_err(|error| error.to_string());
        assert_eq!(read("instances:"), Ok(VaultServers::default()));
        assert_eq!(read("a: b"), Ok(VaultServers::default()));
        for (text, wanted) in [
            ("- x", "it is no YAML map"),
            ("instances: x", "it is no YAML map"),
            ("a: [", "it is no YAML map"),
            ("instances: [{address: a}]", "instances[0] has no loginPath"),
            (
                "instances: [{address: a, loginPath: b}, {loginPath: b}]",
                "instances[1] has no address",
            ),
        ] {
            assert_eq!(read(text), Err(wanted.to_owned()));
        }
    }
}
