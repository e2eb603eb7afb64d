//! `nave-hub`: the process.

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use nave_hub::{Arguments, Hub, LogEncoding};
use nave_runtime::{
    Tasks, allocator, flags,
    logging::{self, Encoding},
    resident,
    tasks::shutdown_on_signal,
};

fn main() -> Result<()> {
    allocator::share_arenas();
    let words = flags::plain(&Arguments::command(), std::env::args_os());
    let arguments = Arguments::parse_from(words);
    let encoding = match arguments.log_encoding {
        LogEncoding::Json => Encoding::Json,
        LogEncoding::Console => Encoding::Console,
    };
    logging::init(&arguments.log_level, encoding);
    arguments.warn_of_what_does_nothing();
    nave_net::install_crypto_provider();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?
        .block_on(run(arguments))
}

async fn run(arguments: Arguments) -> Result<()> {
    let shutdown = shutdown_on_signal().context("installing signal handlers")?;
    let tasks = Tasks::new(shutdown.clone());
    resident::let_go_when_quiet(&tasks);
    let client = tokio::select! {
        client = nave_hub::client(&arguments) => client?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let Some(hub) = Hub::start(&arguments, client, tasks).await? else {
        return Ok(());
    };
    if !hub.finish().await {
        tracing::warn!("some tasks did not end in time");
    }
    Ok(())
}
