//! `nave hub`: what only a hub has.

mod backup;
mod ca;
mod confirm;
pub(super) mod info;
mod recovery;
mod restore;
pub(super) mod token;

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
    /// The hub's certificate authorities
    Ca {
        #[command(subcommand)]
        what: ca::What,
    },
    /// The offline key by which agents know the hub again when its authorities are lost
    RecoveryKey {
        #[command(subcommand)]
        what: recovery::What,
    },
    Confirm(confirm::Arguments),
    Backup(backup::Arguments),
    Restore(restore::Arguments),
}

/// Runs the verb below `hub`.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    match arguments.what {
        What::Token { what } => token::run(what, to).await,
        What::Ca { what } => ca::run(what, to).await,
        What::RecoveryKey { what } => recovery::run(what, to).await,
        What::Confirm(arguments) => confirm::run(arguments, to).await,
        What::Backup(arguments) => backup::run(arguments, to).await,
        What::Restore(arguments) => restore::run(arguments, to).await,
    }
}
