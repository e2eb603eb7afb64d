//! A plane out of `KUBEBUILDER_ASSETS`: etcd and kube-apiserver as they are, without controllers and nodes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::plane::PlaneOptions;
use crate::ports::free_tcp_port;
use crate::process::{Launch, Proc};
use crate::tls::Authority;
use crate::wait::eventually;

const DEADLINE: Duration = Duration::from_secs(120);

/// Everything asked is recorded once, without bodies.
const AUDIT_POLICY: &str = r#"{"apiVersion":"audit.k8s.io/v1","kind":"Policy","omitStages":["RequestReceived"],"rules":[{"level":"Metadata"}]}"#;

/// The running processes and what a plane needs to know about them. The API server is dropped before its etcd.
#[derive(Debug)]
pub(crate) struct Assets {
    pub(crate) url: String,
    pub(crate) etcd_url: String,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) audit_log: Option<PathBuf>,
    api_server: Proc,
    etcd: Option<Proc>,
}

impl Assets {
    pub(crate) async fn start(options: &PlaneOptions, binaries: &Path, dir: &Path) -> Result<Assets> {
        let (etcd, etcd_url) = match &options.etcd {
            Some(url) => (None, url.clone()),
            None => {
                let (etcd, url) = start_etcd(&options.name, binaries, dir).await?;
                (Some(etcd), url)
            }
        };
        let authority = Authority::new(&options.name)?;
        let server = authority.server(&["127.0.0.1", "localhost", "kubernetes.default.svc"])?;
        let admin = authority.client("bed-admin", Some("system:masters"))?;
        let signing = authority.client("service-accounts", None)?;
        for (file, content) in [
            ("ca.crt", authority.pem()),
            ("apiserver.crt", &server.certificate),
            ("apiserver.key", &server.key),
            ("service-account.crt", &signing.certificate),
            ("service-account.key", &signing.key),
            ("audit-policy.yaml", AUDIT_POLICY),
        ] {
            fs::write(dir.join(file), content).with_context(|| format!("writing {file}"))?;
        }
        let port = match options.port {
            Some(port) => port,
            None => free_tcp_port()?,
        };
        let url = format!("https://127.0.0.1:{port}");
        let file = |name: &str| dir.join(name).display().to_string();
        let kubeconfig = dir.join("admin.kubeconfig");
        let inline = |pem: &str| STANDARD.encode(pem);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": options.name,
            "clusters": [{"name": options.name, "cluster": {
                "server": url, "certificate-authority-data": inline(authority.pem()),
            }}],
            "users": [{"name": "bed-admin", "user": {
                "client-certificate-data": inline(&admin.certificate), "client-key-data": inline(&admin.key),
            }}],
            "contexts": [{"name": options.name, "context": {"cluster": options.name, "user": "bed-admin"}}],
        });
        fs::write(&kubeconfig, config.to_string()).context("writing the kubeconfig")?;

        let audit_log = options.audit.then(|| dir.join("audit.log"));
        let mut launch = Launch::new(format!("{}-apiserver", options.name), binaries.join("kube-apiserver"))
            .arg(format!("--etcd-servers={etcd_url}"))
            .arg(format!("--etcd-prefix=/planes/{}", options.name))
            .args([
                "--bind-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
                "--authorization-mode=Node,RBAC",
            ])
            .args([
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                "--allow-privileged=true",
            ])
            .args(["--service-cluster-ip-range=10.96.0.0/16", "--profiling=false"])
            .arg(format!("--secure-port={port}"))
            .arg(format!("--client-ca-file={}", file("ca.crt")))
            .arg(format!("--tls-cert-file={}", file("apiserver.crt")))
            .arg(format!("--tls-private-key-file={}", file("apiserver.key")))
            .arg(format!("--service-account-key-file={}", file("service-account.crt")))
            .arg(format!(
                "--service-account-signing-key-file={}",
                file("service-account.key")
            ));
        if let Some(path) = &audit_log {
            launch = launch
                .arg(format!("--audit-policy-file={}", file("audit-policy.yaml")))
                .arg(format!("--audit-log-path={}", path.display()))
                .args([
                    "--audit-log-format=json",
                    "--audit-log-mode=blocking",
                    "--audit-log-maxsize=4096",
                ]);
        }
        let api_server = launch.start()?;
        api_server.wait_ready(&format!("{url}/readyz"), DEADLINE).await?;
        wait_for_default_namespace(&kubeconfig).await?;
        Ok(Assets {
            url,
            etcd_url,
            kubeconfig,
            audit_log,
            api_server,
            etcd,
        })
    }

    pub(crate) fn processes(&self) -> Vec<&Proc> {
        [Some(&self.api_server), self.etcd.as_ref()]
            .into_iter()
            .flatten()
            .collect()
    }
}

async fn start_etcd(name: &str, binaries: &Path, dir: &Path) -> Result<(Proc, String)> {
    let (client, peer) = (free_tcp_port()?, free_tcp_port()?);
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let etcd = Launch::new(format!("{name}-etcd"), binaries.join("etcd"))
        .arg(format!("--data-dir={}", dir.join("etcd").display()))
        .arg(format!("--listen-client-urls={client}"))
        .arg(format!("--advertise-client-urls={client}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!("--initial-cluster=default={peer}"))
        .args(["--unsafe-no-fsync", "--log-level=error"])
        .start()?;
    etcd.wait_ready(&format!("{client}/health"), DEADLINE).await?;
    Ok((etcd, client))
}

/// Ready comes a moment before the namespaces that every cluster has.
async fn wait_for_default_namespace(kubeconfig: &Path) -> Result<()> {
    let text = fs::read_to_string(kubeconfig).context("reading the kubeconfig back")?;
    let client = kube::Client::try_from(crate::plane::client_config(&text).await?).context("making a client")?;
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(client);
    eventually(DEADLINE, "the default namespace", || async {
        namespaces.get("default").await?;
        Ok(())
    })
    .await
}
