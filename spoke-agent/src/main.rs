//! The agent: source, kustomize and helm reconcilers on one cluster, joined to a hub or alone.
//!
//! ```text
//! watches ─► source controller ─► store ─┬► kustomize controller ─┬► this cluster
//!                                   ▲    └► helm controller ──────┤
//!                 hub ══ link ══ joined: items, artifacts, grants; status, plans
//! ```

mod args;
mod definitions;
mod flux_flags;
mod joined;
mod leadership;
mod ports;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, error::ErrorKind};
use nave_runtime::{
    Metrics, Tasks, allocator, flags,
    hints::Hints,
    logging::{self, Encoding},
    resident,
    serve::{self, Ready},
    tasks::shutdown_on_signal,
};

use crate::{
    args::{Arguments, ControllerName, LogEncoding},
    joined::Joined,
    ports::Ports,
};

/// How long reconciles in hand may take after a signal; below the pod's grace period.
const DRAIN: Duration = Duration::from_secs(25);

fn main() -> ExitCode {
    allocator::share_arenas();
    // `nave-agent doctor` with the agent's own flags looks for what keeps this agent from its hub, and ends.
    let first = std::env::args().nth(1).unwrap_or_default();
    let doctor = first == "doctor";
    // What the Job of an upgrade runs.
    let guard = first == "guard-upgrade";
    let typed = || {
        std::env::args()
            .take(1)
            .chain(std::env::args().skip(1 + usize::from(doctor || guard)))
    };
    let arguments = match flux_flags::refused(typed().skip(1)) {
        None => Arguments::parse_from(flags::plain(&Arguments::command(), typed().map(Into::into))),
        Some(why) => Arguments::command().error(ErrorKind::UnknownArgument, why).exit(),
    };
    if let Err(why) = arguments.check() {
        Arguments::command().error(ErrorKind::ValueValidation, why).exit();
    }
    logging::init(
        &arguments.log_level,
        match arguments.log_encoding {
            LogEncoding::Json => Encoding::Json,
            LogEncoding::Console => Encoding::Console,
        },
    );
    arguments.warn_of_what_does_nothing();
    nave_net::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Reconciling waits for others most of the time; more threads than this cost memory and win nothing.
        .worker_threads(std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(1, 4)))
        .max_blocking_threads(16)
        .thread_keep_alive(Duration::from_secs(5))
        .build();
    let result = match runtime {
        Ok(runtime) if doctor => match runtime.block_on(joined::doctor::run(&arguments)) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
        Ok(runtime) if guard => runtime.block_on(joined::upgrade::run_guard(&arguments)),
        Ok(runtime) => runtime.block_on(run(Arc::new(arguments))),
        Err(error) => Err(error).context("starting the runtime"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arc<Arguments>) -> Result<()> {
    let shutdown = shutdown_on_signal().context("installing signal handlers")?;
    let tasks = Tasks::new(shutdown.clone());
    resident::let_go_when_quiet(&tasks);
    let metrics = Metrics::new();
    let ready = Ready::default();
    serve::metrics(&arguments.metrics_addr, metrics.clone(), &tasks).await?;
    serve::health(&arguments.health_addr, ready.clone(), &tasks).await?;

    let client = ports::client(&arguments).await?;
    tokio::select! {
        served = definitions::ensure(&client, arguments.install_crds) => served?,
        _ = shutdown.cancelled() => return Ok(()),
    }
    if arguments.enable_leader_election && !leadership::take(&arguments, &client, &tasks).await {
        return Ok(()); // asked to stop while waiting for our turn
    }
    let hints = Hints::new();
    if !arguments.hint_addr.is_empty() {
        hints.serve(&arguments.hint_addr, &tasks).await?;
    }
    let joined = Joined::prepare(&arguments, &client, &tasks).await?;
    let ports = Ports::build(&arguments, client, metrics, joined.as_ref(), hints, &tasks).await?;
    start_controllers(&arguments, &ports, &tasks);
    if let Some(joined) = joined {
        joined.start(&ports, &tasks).await?;
    }
    let watching = ports.wait_until_watching();
    tokio::select! {
        watching = watching => if watching {
            ready.set(true);
            tracing::info!(version = env!("CARGO_PKG_VERSION"), controllers = ?arguments.controllers, "ready");
        },
        _ = shutdown.cancelled() => {}
    }
    shutdown.cancelled().await;
    ready.set(false);
    if !tasks.finish(DRAIN).await {
        tracing::warn!("some work did not end in time and is left to the next start");
    }
    Ok(())
}

fn start_controllers(arguments: &Arguments, ports: &Ports, tasks: &Tasks) {
    if arguments.runs(ControllerName::Source) {
        tasks.spawn(
            "source-controller",
            nave_source_controller::run(ports.source(), ports.source_options(arguments), ports.source_hints()),
        );
    }
    if arguments.runs(ControllerName::Kustomize) {
        tasks.spawn(
            "kustomize-controller",
            nave_kustomize_controller::run(ports.kustomize(), ports.kustomize_options(arguments)),
        );
    }
    if arguments.runs(ControllerName::Helm) {
        tasks.spawn(
            "helm-controller",
            nave_helm_controller::run(ports.helm(), ports.helm_options(arguments)),
        );
    }
}
