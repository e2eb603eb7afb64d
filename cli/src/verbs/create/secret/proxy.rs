//! `nave create secret proxy`.

use anyhow::Result;
use nave_net::ProxyOptions;

use super::{Data, OPAQUE, apply};
use crate::{connection::ConnectionArguments, verbs::create::Common};

pub const EXAMPLES: &str = "\
Examples:
  nave create secret proxy corporate --address http://proxy.example.com:3128 -u me -p \"$PASSWORD\"";

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Name of the Secret
    name: String,
    /// Address of the proxy: http, https or socks5
    #[arg(long, value_name = "URL")]
    address: String,
    /// User name
    #[arg(short, long)]
    username: Option<String>,
    /// Password
    #[arg(short, long)]
    password: Option<String>,
}

/// Prints or writes it.
pub async fn run(arguments: Arguments, common: &Common, to: &ConnectionArguments) -> Result<()> {
    let mut data = Data::from([("address", arguments.address)]);
    for (name, value) in [("username", arguments.username), ("password", arguments.password)] {
        if let Some(value) = value {
            data.insert(name, value);
        }
    }
    let read = data
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes()))
        .collect();
    ProxyOptions::from_secret(&read)?;
    apply(&arguments.name, OPAQUE, data, common, to).await
}
