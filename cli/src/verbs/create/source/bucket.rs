//! `nave create source bucket`.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{begin, refer, say_fetched};
use crate::{
    connection::ConnectionArguments,
    kinds::BUCKET,
    verbs::create::{
        Common, create,
        secret::{self, Data},
    },
};

pub const EXAMPLES: &str = "\
Without --secret-ref, keys that are given go into a Secret bucket-NAME.

Examples:
  nave create source bucket app --bucket-name app --endpoint minio.example.com --access-key \"$KEY\" --secret-key \"$SECRET\"
  nave create source bucket app --bucket-name app --endpoint s3.amazonaws.com --provider aws --region eu-west-1
  nave create source bucket app --bucket-name app --endpoint minio.example.com --export > app.yaml";

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Name of the source
    name: String,
    /// Name of the bucket
    #[arg(long)]
    bucket_name: String,
    /// Where it is: a host with or without port; for azure the address of the account
    #[arg(long)]
    endpoint: String,
    /// Whose storage it is
    #[arg(long, default_value = "generic", value_parser = ["generic", "aws", "azure", "gcp"])]
    provider: String,
    /// Access key
    #[arg(long, requires = "secret_key")]
    access_key: Option<String>,
    /// Secret key
    #[arg(long, requires = "access_key")]
    secret_key: Option<String>,
    /// Region
    #[arg(long)]
    region: Option<String>,
    /// Speak plain HTTP
    #[arg(long)]
    insecure: bool,
    /// Secret with keys, which exists already
    #[arg(long, value_name = "SECRET")]
    secret_ref: Option<String>,
    /// Secret with the proxy to use
    #[arg(long, value_name = "SECRET")]
    proxy_secret_ref: Option<String>,
    /// Patterns of files to leave out, several with commas
    #[arg(long, value_delimiter = ',', value_name = "PATTERN")]
    ignore_paths: Vec<String>,
}

/// Prints or creates it, with its Secret where that is needed.
pub async fn run(
    arguments: Arguments,
    fetch_timeout: Option<Duration>,
    common: &Common,
    to: &ConnectionArguments,
) -> Result<()> {
    let mut spec = arguments.spec(fetch_timeout, common)?;
    if let (false, None, Some(access), Some(key)) = (
        common.export,
        &arguments.secret_ref,
        &arguments.access_key,
        &arguments.secret_key,
    ) {
        let secret = format!("bucket-{}", arguments.name);
        let data = Data::from([("accesskey", access.clone()), ("secretkey", key.clone())]);
        secret::apply(&secret, secret::OPAQUE, data, common, to).await?;
        refer(&mut spec, &[("secretRef", &Some(secret))]);
    }
    if let Some(made) = create(&BUCKET, &arguments.name, spec, common, to).await? {
        say_fetched(&made);
    }
    Ok(())
}

impl Arguments {
    fn spec(&self, fetch_timeout: Option<Duration>, common: &Common) -> Result<Value> {
        ensure!(!self.bucket_name.is_empty(), "--bucket-name is empty");
        ensure!(!self.endpoint.is_empty(), "--endpoint is empty");
        let mut spec = begin(fetch_timeout, common);
        spec["bucketName"] = json!(self.bucket_name);
        spec["endpoint"] = json!(self.endpoint);
        spec["provider"] = json!(self.provider);
        if let Some(region) = &self.region {
            spec["region"] = json!(region);
        }
        if self.insecure {
            spec["insecure"] = json!(true);
        }
        refer(
            &mut spec,
            &[
                ("secretRef", &self.secret_ref),
                ("proxySecretRef", &self.proxy_secret_ref),
            ],
        );
        if !self.ignore_paths.is_empty() {
            spec["ignore"] = json!(self.ignore_paths.join("\n"));
        }
        Ok(spec)
    }
}
