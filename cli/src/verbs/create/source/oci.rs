//! `nave create source oci`.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{begin, refer, say_fetched, verify::VerifyArguments};
use crate::{
    connection::ConnectionArguments,
    failure::advised,
    kinds::OCI_REPOSITORY,
    verbs::create::{Common, create},
};

pub const EXAMPLES: &str = "\
Examples:
  nave create source oci app --url oci://registry.example.com/app --tag 1.0.0
  nave create source oci app --url oci://registry.example.com/app --tag-semver '>=1.0.0' --secret-ref registry
  nave create source oci app --url oci://registry.example.com/app --tag latest --verify-provider cosign --verify-secret-ref keys
  nave create source oci app --url oci://registry.example.com/app --digest sha256:0a… --export > app.yaml";

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Name of the source
    name: String,
    /// Address: oci://host/repository, without a tag
    #[arg(long)]
    url: String,
    /// Tag
    #[arg(long)]
    tag: Option<String>,
    /// Range of versions; the highest tag within it is followed
    #[arg(long, value_name = "RANGE")]
    tag_semver: Option<String>,
    /// Digest
    #[arg(long)]
    digest: Option<String>,
    /// Who authenticates
    #[arg(long, default_value = "generic", value_parser = ["generic", "aws", "azure", "gcp"])]
    provider: String,
    /// Pull secret with credentials (type kubernetes.io/dockerconfigjson)
    #[arg(long, value_name = "SECRET")]
    secret_ref: Option<String>,
    /// Secret with the proxy to use
    #[arg(long, value_name = "SECRET")]
    proxy_secret_ref: Option<String>,
    /// Service account with pull secrets, or with an identity in a cloud
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
    /// Secret with certificates
    #[arg(long, value_name = "SECRET")]
    cert_ref: Option<String>,
    #[command(flatten)]
    verify: VerifyArguments,
    /// Patterns of files to leave out, several with commas
    #[arg(long, value_delimiter = ',', value_name = "PATTERN")]
    ignore_paths: Vec<String>,
    /// Speak plain HTTP
    #[arg(long)]
    insecure: bool,
    /// Which layer to take, and what to do with it: MEDIA-TYPE:extract or MEDIA-TYPE:copy
    #[arg(long, value_name = "SELECTOR", value_parser = layer)]
    layer_selector: Option<(String, String)>,
}

/// Prints or creates it.
pub async fn run(
    arguments: Arguments,
    fetch_timeout: Option<Duration>,
    common: &Common,
    to: &ConnectionArguments,
) -> Result<()> {
    let spec = arguments.spec(fetch_timeout, common)?;
    if let Some(made) = create(&OCI_REPOSITORY, &arguments.name, spec, common, to).await? {
        say_fetched(&made);
    }
    Ok(())
}

impl Arguments {
    fn spec(&self, fetch_timeout: Option<Duration>, common: &Common) -> Result<Value> {
        ensure!(
            self.url.starts_with("oci://"),
            "--url: {:?} does not begin with oci://",
            nave_net::redact(&self.url)
        );
        let references = [
            ("tag", &self.tag),
            ("semver", &self.tag_semver),
            ("digest", &self.digest),
        ];
        let reference: serde_json::Map<String, Value> = references
            .into_iter()
            .filter_map(|(field, value)| Some((field.to_owned(), json!(value.as_ref()?))))
            .collect();
        if reference.is_empty() {
            return Err(advised(
                "nothing says what to follow",
                "name one of --tag, --tag-semver and --digest",
            ));
        }
        let mut spec = begin(fetch_timeout, common);
        spec["url"] = json!(self.url);
        spec["ref"] = reference.into();
        spec["provider"] = json!(self.provider);
        refer(
            &mut spec,
            &[
                ("secretRef", &self.secret_ref),
                ("proxySecretRef", &self.proxy_secret_ref),
                ("certSecretRef", &self.cert_ref),
            ],
        );
        if let Some(name) = &self.service_account {
            spec["serviceAccountName"] = json!(name);
        }
        if let Some(verify) = self.verify.spec()? {
            spec["verify"] = verify;
        }
        if !self.ignore_paths.is_empty() {
            spec["ignore"] = json!(self.ignore_paths.join("\n"));
        }
        if self.insecure {
            spec["insecure"] = json!(true);
        }
        if let Some((media_type, operation)) = &self.layer_selector {
            spec["layerSelector"] = json!({"mediaType": media_type, "operation": operation});
        }
        Ok(spec)
    }
}

/// The media type may hold colons only where flux's does: none.
fn layer(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((media_type, operation @ ("extract" | "copy"))) if !media_type.is_empty() => {
            Ok((media_type.to_owned(), operation.to_owned()))
        }
        _ => Err("expected MEDIA-TYPE:extract or MEDIA-TYPE:copy".to_owned()),
    }
}
