//! All clusters and identities in use, each made once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::Engine;
use http::HeaderValue;
use kube::{Client, Config};
use nave_object::digest;
use serde_json::json;

use crate::{
    client::{ANSWER_DEADLINE, layered},
    discovery::Discovery,
    kubeconfig::{KubeconfigError, KubeconfigPolicy},
    target::{Base, LOCAL, ServiceAccount, Target},
    tokens::{TokenSource, Tokens, authorized},
};

/// A target that nobody asked for this long is dropped with its connections and watches.
const IDLE: Duration = Duration::from_secs(1800);
/// How often idle targets are looked for.
const SWEEP: Duration = Duration::from_secs(60);
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Why there is no client for a cluster.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The kubeconfig is malformed or asks for something that is not allowed.
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
    /// Its certificates or keys cannot be used.
    #[error("making a client from the kubeconfig")]
    Client(#[source] kube::Error),
    /// The account's name cannot be sent in a header.
    #[error("service account {namespace}/{name} is not a valid name")]
    Account {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// One shared client per cluster and identity.
pub struct Targets {
    policy: KubeconfigPolicy,
    local: Arc<Base>,
    override_managers: Arc<[String]>,
    state: Mutex<State>,
}

/// A cluster that is reached with tokens.
#[derive(Debug, Clone)]
pub struct TokenAccess {
    /// The address of its API server.
    pub server: String,
    /// Certificates in PEM that it is verified by; the system's where there are none.
    pub ca: Option<String>,
    /// Whose tokens they are; holds no secret.
    pub identity: String,
}

impl TokenAccess {
    fn kubeconfig(&self) -> String {
        let mut cluster = json!({"server": self.server});
        if let Some(ca) = &self.ca {
            cluster["certificate-authority-data"] = json!(base64::engine::general_purpose::STANDARD.encode(ca));
        }
        json!({"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": ""}}],
            "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "", "user": {}}]})
        .to_string()
    }
}

struct State {
    bases: HashMap<String, Arc<Base>>,
    targets: HashMap<String, (Arc<Target>, Instant)>,
    swept: Instant,
}

impl Targets {
    /// `local` is the cluster that this process reconciles in. Kubeconfigs from Secrets are held to `policy`.
    pub fn new(local: Client, policy: KubeconfigPolicy) -> Self {
        Self::overriding(local, policy, Vec::new())
    }

    /// The same, where fields of these managers are taken over beside those of kubectl, so that a change to them counts.
    pub fn overriding(local: Client, policy: KubeconfigPolicy, managers: Vec<String>) -> Self {
        let override_managers: Arc<[String]> = managers.into();
        Targets {
            policy,
            local: base(local, LOCAL.to_owned(), override_managers.clone()),
            override_managers,
            state: Mutex::new(State {
                bases: HashMap::new(),
                targets: HashMap::new(),
                swept: Instant::now(),
            }),
        }
    }

    /// The local cluster, as this process or as an account.
    ///
    /// # Errors
    /// The account's name is no name.
    pub fn local(&self, account: Option<&ServiceAccount>) -> Result<Arc<Target>, TargetError> {
        self.target(LOCAL, || self.local.clone(), account)
    }

    /// The cluster of a kubeconfig, as the user in it or as an account there.
    ///
    /// # Errors
    /// The kubeconfig is malformed, asks for something not allowed, or cannot be used. Whether the cluster answers is
    /// not asked here.
    pub async fn remote(
        &self,
        kubeconfig: &[u8],
        account: Option<&ServiceAccount>,
    ) -> Result<Arc<Target>, TargetError> {
        // An account replaces whom the kubeconfig impersonates itself, as in Flux.
        let mode = if account.is_some() { "+account" } else { "" };
        let id = format!("kubeconfig:{}{mode}", digest::sha256_hex(kubeconfig));
        let existing = self.lock().bases.get(&id).cloned();
        let base = match existing {
            Some(base) => base,
            None => {
                let mut config = self.policy.config(kubeconfig).await?;
                if account.is_some() {
                    config.auth_info.impersonate = None;
                    config.auth_info.impersonate_uid = None;
                    config.auth_info.impersonate_groups = None;
                    config.auth_info.impersonate_user_extra = None;
                }
                let server = config.cluster_url.to_string();
                let made = base(connect(config)?, server, self.override_managers.clone());
                self.lock().bases.entry(id.clone()).or_insert(made).clone()
            }
        };
        self.target(&id, || base, account)
    }

    /// A cluster that believes tokens of an account of ours, as that account or as another one there.
    ///
    /// # Errors
    /// The address is not allowed, or the certificates cannot be used. Whether there is a token is not asked here.
    pub async fn by_token(
        &self,
        access: &TokenAccess,
        tokens: Arc<dyn TokenSource>,
        account: Option<&ServiceAccount>,
    ) -> Result<Arc<Target>, TargetError> {
        let ca = access.ca.as_deref().unwrap_or_default();
        let parts = [access.server.as_str(), ca, access.identity.as_str()];
        let id = format!("token:{}", digest::sha256_hex(parts.join("\n")));
        let existing = self.lock().bases.get(&id).cloned();
        let base = match existing {
            Some(base) => base,
            None => {
                // What a kubeconfig may say is what an address may say.
                let config = self.policy.config(access.kubeconfig().as_bytes()).await?;
                let server = config.cluster_url.to_string();
                let client = authorized(connect(config)?, Arc::new(Tokens::new(tokens)));
                self.lock()
                    .bases
                    .entry(id.clone())
                    .or_insert(base(client, server, self.override_managers.clone()))
                    .clone()
            }
        };
        self.target(&id, || base, account)
    }

    /// Whether the tokens of this process are for nobody else.
    pub(crate) fn keeps_identity(&self) -> bool {
        self.policy.keep_own_identity
    }

    fn target(
        &self,
        cluster: &str,
        base: impl FnOnce() -> Arc<Base>,
        account: Option<&ServiceAccount>,
    ) -> Result<Arc<Target>, TargetError> {
        let id = match account {
            Some(account) => format!("{cluster} as {}/{}", account.namespace, account.name),
            None => cluster.to_owned(),
        };
        let user = account
            .map(|account| {
                HeaderValue::from_str(&account.user()).map_err(|_| TargetError::Account {
                    namespace: account.namespace.clone(),
                    name: account.name.clone(),
                })
            })
            .transpose()?;
        let mut state = self.lock();
        state.sweep();
        let now = Instant::now();
        if let Some((target, used)) = state.targets.get_mut(&id) {
            *used = now;
            return Ok(target.clone());
        }
        let base = base();
        let client = match user {
            // The base has the deadline already.
            None => base.client.clone(),
            Some(user) => layered(base.client.clone(), Some(user), ANSWER_DEADLINE),
        };
        let target = Arc::new(Target::new(id.clone(), client, base, account.cloned()));
        state.targets.insert(id, (target.clone(), now));
        Ok(target)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sweep(&mut self) {
        if self.swept.elapsed() < SWEEP {
            return;
        }
        self.swept = Instant::now();
        self.targets
            .retain(|_, (target, used)| Arc::strong_count(target) > 1 || used.elapsed() < IDLE);
        self.bases.retain(|_, base| Arc::strong_count(base) > 1);
    }
}

fn base(client: Client, server: String, override_managers: Arc<[String]>) -> Arc<Base> {
    let client = layered(client, None, ANSWER_DEADLINE);
    Arc::new(Base {
        server,
        discovery: Discovery::new(client.clone()),
        client,
        override_managers,
    })
}

fn connect(mut config: Config) -> Result<Client, TargetError> {
    config.connect_timeout = Some(CONNECT_DEADLINE);
    Client::try_from(config).map_err(TargetError::Client)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n\
        clusters: [{name: k, cluster: {server: 'https://cluster.example.com'}}]\nusers: [{name: u, user: {token: t}}]\n";

    #[tokio::test]
    async fn each_cluster_and_identity_is_made_once() {
        let local = Client::try_from(Config::new("http://127.0.0.1:1".parse().expect("a valid URL")))
            .expect("the configuration is complete");
        let targets = Targets::new(local, KubeconfigPolicy::default());
        let account = ServiceAccount {
            namespace: "apps".into(),
            name: "deployer".into(),
        };
        let own = targets.local(None).expect("no account");
        let tenant = targets.local(Some(&account)).expect("a valid name");
        assert!(Arc::ptr_eq(&own, &targets.local(None).expect("no account")));
        assert!(Arc::ptr_eq(
            &tenant,
            &targets.local(Some(&account)).expect("a valid name")
        ));
        assert_eq!((own.id(), tenant.id()), ("local", "local as apps/deployer"));
        let remote = targets
            .remote(KUBECONFIG.as_bytes(), None)
            .await
            .expect("it is allowed");
        let again = targets
            .remote(KUBECONFIG.as_bytes(), None)
            .await
            .expect("it is allowed");
        assert!(Arc::ptr_eq(&remote, &again));
        assert!(!remote.id().contains("token"));
        let bad = ServiceAccount {
            namespace: "a\n".into(),
            name: "b".into(),
        };
        assert!(matches!(targets.local(Some(&bad)), Err(TargetError::Account { .. })));
    }
}
