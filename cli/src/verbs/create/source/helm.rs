//! `nave create source helm`.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{begin, refer, say_fetched};
use crate::{
    connection::ConnectionArguments,
    kinds::HELM_REPOSITORY,
    verbs::create::{
        Common, create, create_static,
        secret::{self, Data},
    },
};

pub const EXAMPLES: &str = "\
Without --secret-ref, credentials and certificates that are given go into a Secret helm-NAME.

Examples:
  nave create source helm charts --url https://charts.example.com
  nave create source helm charts --url https://charts.example.com -u me -p \"$PASSWORD\"
  nave create source helm charts --url oci://registry.example.com/charts --secret-ref registry
  nave create source helm charts --url https://charts.example.com --export > charts.yaml";

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Name of the source
    name: String,
    /// Address: https://…, http://… or oci://…
    #[arg(long)]
    url: String,
    /// User name
    #[arg(short, long, requires = "password")]
    username: Option<String>,
    /// Password
    #[arg(short, long, requires = "username")]
    password: Option<String>,
    /// File with the client's certificate
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// File with the client's private key
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// File with the certificate authority of the server
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Secret with credentials, which exists already
    #[arg(long, value_name = "SECRET")]
    secret_ref: Option<String>,
    /// Who authenticates, with oci://
    #[arg(long, value_parser = ["generic", "aws", "azure", "gcp"])]
    oci_provider: Option<String>,
    /// Send the credentials to other hosts too, if charts are there
    #[arg(long)]
    pass_credentials: bool,
}

/// Prints or creates it, with its Secret where that is needed.
pub async fn run(
    arguments: Arguments,
    fetch_timeout: Option<Duration>,
    common: &Common,
    to: &ConnectionArguments,
) -> Result<()> {
    let mut spec = arguments.spec(fetch_timeout, common)?;
    if !common.export && arguments.secret_ref.is_none() {
        let data = arguments.data()?;
        if !data.is_empty() {
            let secret = format!("helm-{}", arguments.name);
            secret::apply(&secret, secret::OPAQUE, data, common, to).await?;
            refer(&mut spec, &[("secretRef", &Some(secret))]);
            if arguments.pass_credentials {
                spec["passCredentials"] = json!(true);
            }
        }
    }
    // Nobody reconciles those of registries: there is nothing to wait for.
    if spec["type"] == "oci" {
        return create_static(&HELM_REPOSITORY, &arguments.name, spec, common, to).await;
    }
    if let Some(made) = create(&HELM_REPOSITORY, &arguments.name, spec, common, to).await? {
        say_fetched(&made);
    }
    Ok(())
}

impl Arguments {
    fn spec(&self, fetch_timeout: Option<Duration>, common: &Common) -> Result<Value> {
        let scheme = self.url.split_once("://").map_or("", |(scheme, _)| scheme);
        if !matches!(scheme, "http" | "https" | "oci") {
            bail!("--url: scheme {scheme:?} is not supported, expected http, https or oci");
        }
        ensure!(
            self.url.split_once("://").is_some_and(|(_, rest)| !rest.is_empty()),
            "--url names no host"
        );
        let mut spec = begin(fetch_timeout, common);
        spec["url"] = json!(self.url);
        if scheme == "oci" {
            spec["type"] = json!("oci");
            if let Some(provider) = &self.oci_provider {
                spec["provider"] = json!(provider);
            }
        } else {
            ensure!(self.oci_provider.is_none(), "--oci-provider is of use with oci:// only");
        }
        if self.secret_ref.is_some() {
            refer(&mut spec, &[("secretRef", &self.secret_ref)]);
            if self.pass_credentials {
                spec["passCredentials"] = json!(true);
            }
        }
        Ok(spec)
    }

    fn data(&self) -> Result<Data> {
        let mut data = Data::new();
        for (key, value) in [("username", &self.username), ("password", &self.password)] {
            if let Some(value) = value {
                data.insert(key, value.clone());
            }
        }
        for (key, file) in [
            ("ca.crt", &self.ca_file),
            ("tls.crt", &self.cert_file),
            ("tls.key", &self.key_file),
        ] {
            if let Some(file) = file {
                let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
                data.insert(key, text);
            }
        }
        Ok(data)
    }
}
