//! How a chart that is not on this machine is found and fetched, in the words of `helm template`.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use nave_net::{BasicAuth, SecretText, TlsOptions};

use super::Way;
use crate::failure::advised;

/// Where a chart is fetched from, which version, and as whom.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ChartArguments {
    /// Address of the repository in which CHART is a name
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Version of the chart, or a range such as ^1.2.0; the latest without
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Take versions in development too; as --version '>0.0.0-0'
    #[arg(long)]
    pub devel: bool,
    /// User of the repository or registry
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Password of the user
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Send user and password to other hosts that the repository names, too
    #[arg(long)]
    pass_credentials: bool,
    /// File with certificates of the authorities that are trusted
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// File with the client's certificate
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// File with the key of the client's certificate
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// Take any certificate of a registry
    #[arg(long)]
    insecure_skip_tls_verify: bool,
    /// Speak plain HTTP with a registry
    #[arg(long)]
    plain_http: bool,
    /// Check the signature of the chart; this version cannot
    #[arg(long, hide = true)]
    verify: bool,
}

impl ChartArguments {
    /// The version that is wanted; empty is the latest.
    pub fn wanted(&self) -> &str {
        match &self.version {
            Some(version) => version,
            None if self.devel => ">0.0.0-0",
            None => "",
        }
    }

    /// The way in.
    ///
    /// # Errors
    /// A file that cannot be read, or a flag that this version cannot follow.
    pub fn way(&self) -> Result<Way> {
        if self.verify {
            return Err(advised(
                "--verify is not supported by this version: signatures of charts are not checked",
                "`helm verify` checks the signature of a downloaded chart",
            ));
        }
        let read = |path: &Option<PathBuf>| {
            let read = |path: &PathBuf| fs::read(path).with_context(|| format!("reading {}", path.display()));
            path.as_ref().map(read).transpose()
        };
        let tls = TlsOptions {
            ca: read(&self.ca_file)?,
            identity: read(&self.cert_file)?.zip(read(&self.key_file)?),
        };
        // Reading the certificates of this machine for nothing would take longer than to render a small chart.
        if tls.ca.is_some() || tls.identity.is_some() {
            tls.client_config().context("--ca-file, --cert-file, --key-file")?;
        }
        Ok(Way {
            basic: self.username.as_ref().map(|username| BasicAuth {
                username: username.clone(),
                password: SecretText::new(self.password.clone().unwrap_or_default()),
            }),
            tls,
            insecure: self.insecure_skip_tls_verify || self.plain_http,
            pass_credentials: self.pass_credentials,
        })
    }
}
