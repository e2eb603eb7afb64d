//! Which cluster, as whom, in which namespace: the flags that kubectl and flux have too.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::failure::advised;

/// Where Flux objects live unless told otherwise.
pub const FLUX_NAMESPACE: &str = "flux-system";
/// Where the hub lives unless told otherwise.
pub const HUB_NAMESPACE: &str = "nave-system";

/// How the API server is reached; the same for every verb.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct ConnectionArguments {
    /// Kubeconfig file; without it $KUBECONFIG, then ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Cluster of the kubeconfig, in place of the context's
    #[arg(
        long = "kubeconfig-cluster",
        global = true,
        value_name = "NAME",
        id = "kubeconfig_cluster"
    )]
    pub cluster: Option<String>,
    /// User of the kubeconfig, in place of the context's
    #[arg(long, global = true, value_name = "NAME")]
    pub user: Option<String>,
    /// Address of the API server, in place of the kubeconfig's
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// Bearer token for the API server
    #[arg(long, global = true, value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Act as this user
    #[arg(long = "as", global = true, value_name = "USER", id = "as_user")]
    pub as_user: Option<String>,
    /// Act as a member of this group, with --as; may be given several times
    #[arg(long, global = true, value_name = "GROUP")]
    pub as_group: Vec<String>,
    /// Act as this UID, with --as
    #[arg(long, global = true, value_name = "UID")]
    pub as_uid: Option<String>,
    /// Do not verify the certificate of the API server
    #[arg(long, global = true)]
    pub insecure_skip_tls_verify: bool,
    /// Name that the certificate of the API server has to carry
    #[arg(long, global = true, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// Namespace; flux-system for Flux objects, every workspace when looking for fleet objects
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Use the namespace of the kubeconfig's context where --namespace is not given
    #[arg(long, global = true, env = "FLUX_NS_FOLLOWS_KUBE_CONTEXT", value_parser = clap::builder::FalseyValueParser::new(), hide_env = true)]
    pub ns_follows_kube_context: bool,
    /// Without effect, for lines that were written for `flux`: the API server's priority and fairness limits requests
    #[arg(long, global = true, value_name = "N", hide = true)]
    pub kube_api_qps: Option<f32>,
    /// Without effect, as --kube-api-qps
    #[arg(long, global = true, value_name = "N", hide = true)]
    pub kube_api_burst: Option<i32>,
    /// How long to wait for anything
    #[arg(long, global = true, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
    /// Say more about what is done
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// A client and what the kubeconfig said beside it.
#[derive(Clone)]
pub struct Connection {
    /// Talks to the API server.
    pub client: Client,
    /// Address of the API server.
    pub server: String,
    /// Namespace of the kubeconfig's context; `default` when it names none.
    pub context_namespace: String,
}

impl ConnectionArguments {
    /// What can be seen to be wrong before anything is done.
    ///
    /// # Errors
    /// A namespace that no cluster can have.
    pub fn check(&self) -> Result<()> {
        if self.kube_api_qps.is_some() || self.kube_api_burst.is_some() {
            crate::say::warning(
                "--kube-api-qps and --kube-api-burst have no effect: the API server's priority and fairness limits requests",
            );
        }
        match &self.namespace {
            Some(namespace) if !is_dns_label(namespace) => Err(advised(
                format!("--namespace {namespace:?} is no namespace"),
                "a namespace has at most 63 lower-case letters, digits and dashes, and begins and ends with a letter or digit",
            )),
            _ if self.as_user.is_none() && (self.as_uid.is_some() || !self.as_group.is_empty()) => Err(advised(
                "--as-group and --as-uid need --as",
                "name the user to act as; for a group alone any name will do, such as --as nobody",
            )),
            _ => Ok(()),
        }
    }

    /// Opens nothing yet: the first request does.
    ///
    /// # Errors
    /// A kubeconfig that is missing, malformed or does not have what the flags name.
    pub async fn connect(&self) -> Result<Connection> {
        let config = self.config().await?;
        let server = config.cluster_url.to_string();
        let context_namespace = config.default_namespace.clone();
        let client = Client::try_from(config).with_context(|| format!("preparing a client for {server}"))?;
        Ok(Connection {
            client,
            server,
            context_namespace,
        })
    }

    /// The same patience, but the cluster and user that another kubeconfig names by itself.
    pub fn of_file(&self, kubeconfig: &Path) -> ConnectionArguments {
        ConnectionArguments {
            kubeconfig: Some(kubeconfig.to_owned()),
            context: None,
            cluster: None,
            user: None,
            server: None,
            token: None,
            as_user: None,
            as_group: Vec::new(),
            as_uid: None,
            insecure_skip_tls_verify: false,
            tls_server_name: None,
            ..self.clone()
        }
    }

    /// Namespace of Flux objects: the flag, the context where that is wanted, $FLUX_SYSTEM_NAMESPACE, `flux-system`.
    pub fn flux_namespace(&self, connection: &Connection) -> String {
        self.namespace_or(connection, "FLUX_SYSTEM_NAMESPACE", FLUX_NAMESPACE)
    }

    /// As [`ConnectionArguments::flux_namespace`], where no cluster is asked and so no context is known.
    pub fn flux_namespace_unconnected(&self) -> String {
        self.namespace_of(None, "FLUX_SYSTEM_NAMESPACE", FLUX_NAMESPACE)
    }

    /// Workspace to write to: the flag, the context where that is wanted, $NAVE_WORKSPACE, the hub's namespace.
    pub fn workspace(&self, connection: &Connection) -> String {
        self.namespace_or(connection, "NAVE_WORKSPACE", HUB_NAMESPACE)
    }

    /// Workspace to look in: the flag, the context where that is wanted, $NAVE_WORKSPACE, or all of them.
    pub fn workspace_filter(&self, connection: &Connection) -> Option<String> {
        let everywhere = String::new();
        Some(self.namespace_or(connection, "NAVE_WORKSPACE", &everywhere)).filter(|namespace| !namespace.is_empty())
    }

    fn namespace_or(&self, connection: &Connection, variable: &str, default: &str) -> String {
        self.namespace_of(Some(&connection.context_namespace), variable, default)
    }

    fn namespace_of(&self, of_context: Option<&str>, variable: &str, default: &str) -> String {
        if let Some(namespace) = &self.namespace {
            return namespace.clone();
        }
        if let Some(namespace) = of_context.filter(|namespace| self.ns_follows_kube_context && *namespace != "default")
        {
            return namespace.to_owned();
        }
        match std::env::var(variable) {
            Ok(namespace) if is_dns_label(&namespace) => namespace,
            Ok(namespace) if !namespace.is_empty() => {
                crate::say::warning(&format!("{variable}={namespace:?} is no namespace and is ignored"));
                default.to_owned()
            }
            _ => default.to_owned(),
        }
    }

    async fn config(&self) -> Result<Config> {
        let kubeconfig = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let mut config = match kubeconfig {
            Ok(kubeconfig) => {
                let options = KubeConfigOptions {
                    context: self.context.clone(),
                    cluster: self.cluster.clone(),
                    user: self.user.clone(),
                };
                Config::from_custom_kubeconfig(kubeconfig, &options).await?
            }
            Err(error) if self.kubeconfig.is_none() && is_absent(&error) => match Config::incluster() {
                Ok(config) => config,
                // Outside of a pod the missing file is the news.
                Err(_) => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        };
        if let Some(server) = &self.server {
            config.cluster_url = server
                .parse()
                .with_context(|| format!("--server {server:?} is no address"))?;
        }
        if let Some(token) = &self.token {
            config.auth_info.token = Some(token.clone().into());
        }
        if self.as_user.is_some() {
            config.auth_info.impersonate = self.as_user.clone();
            config.auth_info.impersonate_uid = self.as_uid.clone();
            config.auth_info.impersonate_groups = Some(self.as_group.clone()).filter(|groups| !groups.is_empty());
        }
        config.accept_invalid_certs |= self.insecure_skip_tls_verify;
        if let Some(name) = &self.tls_server_name {
            config.tls_server_name = Some(name.clone());
        }
        // kube gives a connection 30 seconds; whoever set a shorter limit for everything means this too.
        config.connect_timeout = config.connect_timeout.map(|limit| limit.min(self.timeout));
        Ok(config)
    }
}

/// Whether there is no kubeconfig at all, as opposed to one that is broken.
fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(source, _) => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Go durations, as in `flux`.
pub fn duration(text: &str) -> Result<Duration, String> {
    nave_object::duration::parse(text).map_err(|error| error.to_string())
}

/// RFC 1123 label.
pub fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|&byte| inner(byte) || byte == b'-')
        && inner(bytes[0])
        && inner(bytes[bytes.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_dns_labels() {
        let longest = "a".repeat(63);
        for good in ["a", "flux-system", "0x0", longest.as_str()] {
            assert!(is_dns_label(good), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", too_long.as_str()] {
            assert!(!is_dns_label(bad), "{bad}");
        }
    }
}
