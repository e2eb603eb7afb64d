//! Kubeconfigs from Secrets: written by whoever may write the Secret, so nothing in them may make this process run a
//! program, read a file, or talk to itself.

use std::net::{IpAddr, Ipv6Addr};

use kube::{
    Config,
    config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig},
};
use nave_object::yaml::{self, Dialect};

/// What a kubeconfig from a Secret may ask for. Everything is refused by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KubeconfigPolicy {
    /// Run the programs that `users[].user.exec` names (Flux's `--insecure-kubeconfig-exec`).
    pub allow_exec: bool,
    /// Skip the check of the server's certificate, or use plain HTTP (Flux's `--insecure-kubeconfig-tls`).
    pub allow_insecure_tls: bool,
    /// Servers on this machine or link, which may include a cloud's metadata service. For test beds.
    pub allow_local_servers: bool,
    /// Go through the proxy that `clusters[].cluster.proxy-url` names.
    pub allow_proxy: bool,
    /// Never use tokens of this process for clusters of `configMapRef`: whoever writes the ConfigMap names the address
    /// that they are shown to, and is somebody else here.
    pub keep_own_identity: bool,
}

/// Why a kubeconfig cannot be used. No text of the kubeconfig but names of fields and the server is repeated, since it holds
/// credentials.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// It is no YAML.
    #[error("kubeconfig is not valid YAML (line {line})")]
    NotYaml {
        /// 1-based; 0 when unknown.
        line: usize,
    },
    /// It is YAML, but not a kubeconfig.
    #[error("kubeconfig is malformed: {problem}")]
    Malformed {
        /// What is wrong.
        problem: String,
    },
    /// It asks for something that the policy does not allow.
    #[error("kubeconfig field {field} is refused: {why}")]
    Refused {
        /// The path of the field.
        field: String,
        /// Why.
        why: String,
    },
    /// Its certificates, keys or addresses cannot be used.
    #[error("kubeconfig cannot be used")]
    Unusable(#[source] kube::config::KubeconfigError),
}

impl KubeconfigPolicy {
    /// Reads a kubeconfig and makes the configuration of its current context, if all of it is allowed.
    ///
    /// # Errors
    /// See [`KubeconfigError`]; each refusal names its field.
    pub async fn config(&self, bytes: &[u8]) -> Result<Config, KubeconfigError> {
        let kubeconfig = self.check(bytes)?;
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(KubeconfigError::Unusable)
    }

    /// The kubeconfig reduced to its current context, when every part of that is allowed.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<Kubeconfig, KubeconfigError> {
        let mut kubeconfig = read(bytes)?;
        let context_name = kubeconfig
            .current_context
            .clone()
            .filter(|name| !name.is_empty())
            .ok_or_else(|| malformed("current-context is not set"))?;
        kubeconfig.contexts.retain(|context| context.name == context_name);
        let context = kubeconfig
            .contexts
            .first()
            .and_then(|context| context.context.as_ref())
            .ok_or_else(|| malformed("current-context names no entry of contexts"))?;
        let (cluster_name, user_name) = (context.cluster.clone(), context.user.clone());
        kubeconfig.clusters.retain(|cluster| cluster.name == cluster_name);
        let cluster = kubeconfig
            .clusters
            .first()
            .and_then(|cluster| cluster.cluster.as_ref())
            .ok_or_else(|| malformed("the current context names no entry of clusters"))?;
        self.check_cluster(cluster)?;
        let user_name = user_name.unwrap_or_default();
        kubeconfig.auth_infos.retain(|user| user.name == user_name);
        if let Some(user) = kubeconfig.auth_infos.first() {
            self.check_user(user.auth_info.as_ref())?;
        } else if !user_name.is_empty() {
            return Err(malformed("the current context names no entry of users"));
        }
        Ok(kubeconfig)
    }

    fn check_cluster(&self, cluster: &Cluster) -> Result<(), KubeconfigError> {
        let field = |name: &str| format!("clusters[].cluster.{name}");
        if is_set(&cluster.certificate_authority) {
            return Err(refused(
                field("certificate-authority"),
                "files are never read, use certificate-authority-data",
            ));
        }
        if cluster.insecure_skip_tls_verify == Some(true) && !self.allow_insecure_tls {
            return Err(refused(
                field("insecure-skip-tls-verify"),
                "the server's certificate has to be verified (see --insecure-kubeconfig-tls)",
            ));
        }
        if is_set(&cluster.proxy_url) && !self.allow_proxy {
            return Err(refused(field("proxy-url"), "proxies are not allowed"));
        }
        let server = cluster.server.as_deref().unwrap_or_default();
        self.check_server(server, field("server"))
    }

    fn check_server(&self, server: &str, field: String) -> Result<(), KubeconfigError> {
        let uri: http::Uri = server
            .parse()
            .map_err(|_| malformed("clusters[].cluster.server is not a URL"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if self.allow_insecure_tls || self.allow_local_servers => {}
            Some("http") => {
                return Err(refused(field, "credentials would be sent without TLS, use https"));
            }
            _ => {
                return Err(malformed("clusters[].cluster.server does not start with https://"));
            }
        }
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err(malformed("clusters[].cluster.server has no host"));
        }
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(refused(field, "a URL with credentials is not allowed"));
        }
        if !self.allow_local_servers && is_local(host) {
            return Err(refused(
                field,
                &format!("{host} is on this machine or link, not a cluster"),
            ));
        }
        Ok(())
    }

    fn check_user(&self, user: Option<&AuthInfo>) -> Result<(), KubeconfigError> {
        let Some(user) = user else { return Ok(()) };
        let field = |name: &str| format!("users[].user.{name}");
        if user.exec.is_some() && !self.allow_exec {
            return Err(refused(
                field("exec"),
                "programs are not run for kubeconfigs from Secrets (see --insecure-kubeconfig-exec)",
            ));
        }
        if user.auth_provider.is_some() {
            return Err(refused(
                field("auth-provider"),
                "authentication plugins are not supported, use a token or a client certificate",
            ));
        }
        for (name, value, instead) in [
            ("tokenFile", &user.token_file, "token"),
            (
                "client-certificate",
                &user.client_certificate,
                "client-certificate-data",
            ),
            ("client-key", &user.client_key, "client-key-data"),
        ] {
            if is_set(value) {
                let why = format!("files are never read, use {instead}");
                return Err(refused(field(name), &why));
            }
        }
        Ok(())
    }
}

/// Neither parser's own message is passed on: both quote what they read.
fn read(bytes: &[u8]) -> Result<Kubeconfig, KubeconfigError> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8 text"))?;
    let documents =
        yaml::read_documents(text, Dialect::K8s).map_err(|error| KubeconfigError::NotYaml { line: error.line })?;
    let mut documents = documents.into_iter();
    let document = documents.next().ok_or_else(|| malformed("it is empty"))?;
    if documents.next().is_some() {
        return Err(malformed("it has more than one document"));
    }
    if !document.is_object() {
        return Err(malformed("it is not a map of fields"));
    }
    serde_json::from_value(document)
        .map_err(|_| malformed("clusters, users or contexts do not have the expected shape"))
}

fn is_set(value: &Option<String>) -> bool {
    value.as_deref().is_some_and(|text| !text.is_empty())
}

/// Hosts that can only mean this machine or its link. Names that resolve to such addresses are not looked up here.
fn is_local(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    let address = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4),
        Ok(address) => address,
        Err(_) => return false,
    };
    address.is_loopback()
        || address.is_unspecified()
        || match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => is_link_local(&address),
        }
}

fn is_link_local(address: &Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

fn malformed(problem: &str) -> KubeconfigError {
    KubeconfigError::Malformed {
        problem: problem.to_owned(),
    }
}

fn refused(field: String, why: &str) -> KubeconfigError {
    KubeconfigError::Refused {
        field,
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: k, user: u}}\n\
             clusters:\n- name: k\n  cluster: {{{cluster}}}\n- name: other\n  cluster: {{server: 'https://127.0.0.1'}}\n\
             users:\n- name: u\n  user: {{{user}}}\n- name: other\n  user: {{exec: {{command: x}}}}\n"
        )
    }

    #[track_caller]
    fn check_refused(cluster: &str, user: &str, wanted: &str) {
        let error = KubeconfigPolicy::default()
            .check(kubeconfig(cluster, user).as_bytes())
            .expect_err(wanted)
            .to_string();
        assert!(error.contains(wanted), "{error}");
        assert!(!error.contains("CANARY"), "{error}");
    }

    const SERVER: &str = "server: 'https://cluster.example.com:6443'";

    #[test]
    fn what_is_dangerous_is_refused_by_name() {
        check_refused(SERVER, "exec: {command: CANARY}", "users[].user.exec");
        check_refused(
            SERVER,
            "auth-provider: {name: oidc, config: {}}",
            "users[].user.auth-provider",
        );
        check_refused(SERVER, "tokenFile: /var/CANARY", "users[].user.tokenFile");
        check_refused(SERVER, "client-certificate: /x", "users[].user.client-certificate");
        check_refused(SERVER, "client-key: /x", "users[].user.client-key");
        check_refused(
            &format!("{SERVER}, certificate-authority: /x"),
            "token: CANARY",
            "clusters[].cluster.certificate-authority",
        );
        check_refused(
            &format!("{SERVER}, insecure-skip-tls-verify: true"),
            "",
            "insecure-skip-tls-verify",
        );
        check_refused(&format!("{SERVER}, proxy-url: 'http://p:1'"), "", "proxy-url");
        for server in [
            "https://127.0.0.1:6443",
            "https://localhost",
            "https://LOCALHOST.:1",
            "https://[::1]:6443",
            "https://0.0.0.0",
            "https://169.254.169.254",
            "https://[fe80::1]",
            "https://[::ffff:127.0.0.1]:1",
            "https://a.localhost",
            "http://cluster.example.com",
            "https://u:CANARY@cluster.example.com",
        ] {
            check_refused(
                &format!("server: '{server}'"),
                "token: CANARY",
                "clusters[].cluster.server is refused",
            );
        }
    }

    #[test]
    fn what_is_no_kubeconfig_is_malformed() {
        let check = |text: &str| {
            let error = KubeconfigPolicy::default()
                .check(text.as_bytes())
                .expect_err(text)
                .to_string();
            assert!(!error.contains("CANARY"), "{error}");
            error
        };
        assert!(check("token: CANARY: CANARY\n").contains("line 1"));
        check("");
        check("CANARY");
        check("[CANARY]");
        check("clusters: CANARY");
        check("users: [{name: CANARY, user: CANARY}]");
        check("{}");
        check("current-context: CANARY");
        assert!(check(&kubeconfig("server: 'ftp://x'", "token: CANARY")).contains("https://"));
        assert!(KubeconfigPolicy::default().check(b"\xff\xfe").is_err());
    }

    #[test]
    fn the_rest_is_allowed_and_flags_allow_more() {
        let kept = KubeconfigPolicy::default()
            .check(kubeconfig(SERVER, "token: t").as_bytes())
            .expect("it is harmless");
        assert_eq!((kept.clusters.len(), kept.auth_infos.len()), (1, 1));
        let all = KubeconfigPolicy {
            keep_own_identity: false,
            allow_exec: true,
            allow_insecure_tls: true,
            allow_local_servers: true,
            allow_proxy: true,
        };
        for (cluster, user) in [
            ("server: 'http://127.0.0.1:1'", ""),
            (
                "server: 'https://[::1]:1', insecure-skip-tls-verify: true, proxy-url: 'http://p:1'",
                "exec: {command: x}",
            ),
        ] {
            all.check(kubeconfig(cluster, user).as_bytes()).expect("flags allow it");
        }
    }
}
