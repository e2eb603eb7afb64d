//! `nave create secret githubapp`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use nave_git::GitHubApp;

use super::{Data, OPAQUE, apply};
use crate::{connection::ConnectionArguments, verbs::create::Common};

pub const EXAMPLES: &str = "\
Examples:
  nave create secret githubapp app --app-id 123 --app-installation-id 456 --app-private-key app.pem
  nave create secret githubapp app --app-id 123 --app-installation-owner my-org --app-private-key app.pem";

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Name of the Secret
    name: String,
    /// Number of the App
    #[arg(long, value_name = "ID")]
    app_id: String,
    /// User or organization where the App is installed
    #[arg(
        long,
        value_name = "OWNER",
        required_unless_present = "app_installation_id",
        conflicts_with = "app_installation_id"
    )]
    app_installation_owner: Option<String>,
    /// Number of the installation
    #[arg(long, value_name = "ID")]
    app_installation_id: Option<String>,
    /// File with the App's private key
    #[arg(long, value_name = "FILE")]
    app_private_key: PathBuf,
    /// Address of the API of a GitHub Enterprise Server
    #[arg(long, value_name = "URL")]
    app_base_url: Option<String>,
}

/// Prints or writes it.
pub async fn run(arguments: Arguments, common: &Common, to: &ConnectionArguments) -> Result<()> {
    let file = &arguments.app_private_key;
    let key = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let mut data = Data::from([("githubAppID", arguments.app_id), ("githubAppPrivateKey", key)]);
    for (name, value) in [
        ("githubAppInstallationID", arguments.app_installation_id),
        ("githubAppInstallationOwner", arguments.app_installation_owner),
        ("githubAppBaseURL", arguments.app_base_url),
    ] {
        if let Some(value) = value {
            data.insert(name, value);
        }
    }
    let read = data
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes()))
        .collect();
    GitHubApp::from_secret(&read)?;
    apply(&arguments.name, OPAQUE, data, common, to).await
}
