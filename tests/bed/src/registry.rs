//! A container registry: the CNCF's own, with users, TLS and client certificates on demand.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use crate::go_tool;
use crate::keeper;
use crate::ports::free_tcp_port;
use crate::process::{Launch, Proc};
use crate::tls::{Authority, Issued};

/// What a registry asks of those who come.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// User name and password (HTTP basic).
    pub user: Option<(String, String)>,
    /// Speaks TLS with a certificate for `127.0.0.1` and `localhost`, see [`Registry::ca_pem`].
    pub tls: bool,
    /// Wants a client certificate of its own authority, see [`Registry::client`]. Implies TLS.
    pub mutual_tls: bool,
}

/// A registry on a free port of 127.0.0.1 that keeps everything in memory and ends when it is dropped.
#[derive(Debug)]
pub struct Registry {
    address: String,
    authority: Option<Authority>,
    _process: Proc,
    _dir: TempDir,
}

/// Generous: the machine may be busy with many builds.
const DEADLINE: Duration = Duration::from_secs(60);

impl Registry {
    /// Starts an empty registry; the first start on a machine builds the program.
    ///
    /// # Errors
    /// Go is missing, or the registry does not start.
    pub async fn start(options: RegistryOptions) -> Result<Registry> {
        let program = tokio::task::spawn_blocking(|| go_tool::build("registry"))
            .await
            .context("building the registry")??;
        let dir = keeper::scratch_dir("registry")?;
        let address = format!("127.0.0.1:{}", free_tcp_port()?);
        let mut config = json!({
            "version": "0.1",
            "log": {"level": "info", "formatter": "json"},
            "storage": {"inmemory": {}, "delete": {"enabled": true}, "maintenance": {"uploadpurging": {"enabled": false}}},
            "http": {"addr": address},
        });
        if let Some((user, password)) = &options.user {
            let output = Command::new(&program)
                .args(["htpasswd", user, password])
                .output()
                .context("making a file of users")?;
            ensure!(output.status.success(), "making a file of users: {}", output.status);
            let path = write(dir.path(), "users", &output.stdout)?;
            config["auth"] = json!({"htpasswd": {"realm": "bed", "path": path}});
        }
        let authority = if options.tls || options.mutual_tls {
            let authority = Authority::new("registry")?;
            let issued = authority.server(&["127.0.0.1", "localhost"])?;
            let mut tls = json!({
                "certificate": write(dir.path(), "tls.crt", issued.certificate.as_bytes())?,
                "key": write(dir.path(), "tls.key", issued.key.as_bytes())?,
            });
            if options.mutual_tls {
                tls["clientcas"] = json!([write(dir.path(), "ca.crt", authority.pem().as_bytes())?]);
            }
            config["http"]["tls"] = tls;
            Some(authority)
        } else {
            None
        };
        // JSON is YAML.
        let config = write(dir.path(), "config.yaml", config.to_string().as_bytes())?;
        let process = Launch::new("registry", program)
            .args(["serve", &config])
            .env("OTEL_TRACES_EXPORTER", "none")
            .start()?;
        process.wait_log("listening on", DEADLINE).await?;
        Ok(Registry {
            address,
            authority,
            _process: process,
            _dir: dir,
        })
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The address of a repository, `oci://127.0.0.1:<port>/<name>`.
    pub fn oci_url(&self, name: &str) -> String {
        format!("oci://{}/{name}", self.address)
    }

    /// The authority that signed its certificate, PEM; nothing without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.authority.as_ref().map(Authority::pem)
    }

    /// A client certificate that it takes.
    ///
    /// # Errors
    /// It speaks no TLS.
    pub fn client(&self) -> Result<Issued> {
        let authority = self.authority.as_ref().context("the registry speaks no TLS")?;
        authority.client("reader", None)
    }
}

fn write(dir: &Path, name: &str, content: &[u8]) -> Result<String> {
    let path = dir.join(name);
    fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
    Ok(path.display().to_string())
}
