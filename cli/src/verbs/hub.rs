//! `nave hub`: what only a hub has.

mod info;
mod token;

use anyhow::Result;
use clap::Subcommand;

use crate::connection::ConnectionArguments;

pub use info::HubInfo;

/// Work with a hub
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Tokens that let clusters join
    Token {
        #[command(subcommand)]
        what: token::What,
    },
}

/// Runs the verb below `hub`.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    match arguments.what {
        What::Token { what } => token::run(what, to).await,
    }
}
