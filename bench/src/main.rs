//! Benchmarks that print the floor of the same run beside our figure: `make bench B=<name>`.

mod apps;
mod commit;
mod connections;
mod fleet;
mod floor;
mod helm;
mod kustomize;
mod memory;
mod mttp;
mod process;
mod remote;
mod rest;
mod sources;
mod table;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "nave-bench", about = "Benchmarks beside their floor")]
struct Arguments {
    #[command(subcommand)]
    name: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Show the benchmarks
    List,
    /// N apps of four objects over one git repository: install, upgrade, no-op by request and by interval
    Apps {
        /// How many
        #[arg(long, default_value_t = 100)]
        apps: usize,
    },
    /// N apps as OCI artifacts, a source and a waiting Kustomization each: install, upgrade, no-op, beside floor and floor+
    Mttp {
        /// How many
        #[arg(long, env = "N", default_value_t = 100)]
        apps: usize,
    },
    /// Resident memory of an agent: idle, and with N Kustomizations
    Memory {
        /// How many
        #[arg(long, default_value_t = 100)]
        apps: usize,
    },
    /// The kustomize engine beside kubectl and kustomize's library: cold, warm, and a monorepo
    Kustomize {
        /// How many pairs of cold runs
        #[arg(long, default_value_t = 40)]
        runs: usize,
        /// How many overlays the monorepo has
        #[arg(long, default_value_t = 1000)]
        overlays: usize,
    },
    /// The chart engine beside Helm: cold and warm; N HelmReleases of one chart in a registry: install and upgrade
    Helm {
        /// How many pairs of cold runs
        #[arg(long, default_value_t = 40)]
        runs: usize,
        /// How many HelmReleases
        #[arg(long, default_value_t = 100)]
        releases: usize,
        /// Only the engine, without a control plane
        #[arg(long)]
        only_engine: bool,
    },
    /// Git monorepos beside `git clone` and `tar`, many OCIRepositories, a large index of a Helm repository
    Sources {
        /// Sizes of the monorepos, in files
        #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000])]
        files: Vec<usize>,
        /// How many OCIRepositories
        #[arg(long, default_value_t = 100)]
        repositories: usize,
        /// Size of the index in MiB
        #[arg(long, default_value_t = 50)]
        index: usize,
    },
    /// N waiting Kustomizations by kubeconfig: on one control plane, and spread over many
    Remote {
        /// How many
        #[arg(long, env = "N", default_value_t = 1000)]
        apps: usize,
        /// Over how many control planes
        #[arg(long, default_value_t = 10)]
        clusters: usize,
    },
    /// N apps as OCI artifacts at rest: what the agent uses while nothing changes
    Rest {
        /// How many
        #[arg(long, env = "N", default_value_t = 1000)]
        apps: usize,
        /// The interval of Kustomizations and sources, and how long is measured
        #[arg(long, default_value_t = 10)]
        minutes: u32,
    },
    /// Read the index of a Helm repository and store it as the source controller does
    #[command(hide = true)]
    ConvertIndex {
        /// The index
        index: PathBuf,
        /// Where it is stored
        json: PathBuf,
    },
    /// Run a command and print the peak of its memory in KiB
    #[command(hide = true)]
    Peak {
        /// The command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        line: Vec<PathBuf>,
    },
    /// A fleet of simulated spokes around a real hub: join storm, idle traffic, commit to seen, kill -9, memory and CPU
    Fleet(fleet::Options),
    /// The simulated spokes of `fleet`, asked by standard input
    #[command(hide = true)]
    FleetSimulator {
        /// The core to stay on
        #[arg(long)]
        core: usize,
    },
    /// Idle connections without sessions over QUIC and TLS over TCP: the floor of an agent's memory at the hub
    Connections {
        /// How many
        #[arg(long, env = "N", default_value_t = 1000)]
        connections: usize,
    },
    /// The listener of `connections`
    #[command(hide = true)]
    ConnectionsListener,
    /// The demo's fleet: from a commit to three healthy clusters, beside applying the change by hand
    Commit {
        /// How many commits
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
}

fn main() -> Result<()> {
    let name = Arguments::parse().name;
    if let Bench::FleetSimulator { core } = name {
        // Before there are threads, so that all of them stay there.
        fleet::hold_this(core)?;
    }
    if let Bench::ConnectionsListener = name {
        nave_runtime::allocator::share_arenas();
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?
        .block_on(run(name))
}

async fn run(name: Bench) -> Result<()> {
    match name {
        Bench::List => {
            println!("apps       N apps of four objects over one git repository: install, upgrade, no-op");
            println!("mttp       N apps as OCI artifacts with a source and a waiting Kustomization each (N=100)");
            println!("memory     resident memory of an agent: idle, and with N Kustomizations");
            println!("kustomize  the kustomize engine beside kubectl and kustomize's library: cold, warm, a monorepo");
            println!("helm       the chart engine beside Helm: cold, warm; N HelmReleases of one chart in a registry");
            println!(
                "sources    git monorepos beside git and tar; 100 OCIRepositories; a Helm index beside Helm's library"
            );
            println!("remote     N Kustomizations by kubeconfig: on one control plane, and spread over ten (N=1000)");
            println!("rest       N apps as OCI artifacts while nothing changes, for one interval of 10 min (N=1000)");
            println!(
                "fleet      simulated spokes around a real hub: join storm, idle traffic, commit to seen, kill -9, memory"
            );
            println!("connections idle connections without sessions: the floor of an agent's memory at the hub");
            println!("commit     from a commit to three healthy clusters, beside applying the change by hand");
            Ok(())
        }
        Bench::Connections { connections } => connections::run(connections).await,
        Bench::ConnectionsListener => connections::listen().await,
        Bench::Apps { apps } => apps::run(apps).await,
        Bench::Mttp { apps } => mttp::run(apps).await,
        Bench::Memory { apps } => memory::run(apps).await,
        Bench::Kustomize { runs, overlays } => kustomize::run(runs, overlays),
        Bench::Helm {
            runs,
            releases,
            only_engine,
        } => helm::run(runs, releases, only_engine).await,
        Bench::Sources {
            files,
            repositories,
            index,
        } => sources::run(&files, repositories, index).await,
        Bench::Rest { apps, minutes } => rest::run(apps, minutes).await,
        Bench::Remote { apps, clusters } => remote::run(apps, clusters).await,
        Bench::ConvertIndex { index, json } => sources::convert_index(&index, &json),
        Bench::Peak { line } => kustomize::run_once_and_tell_peak(&line),
        Bench::Fleet(options) => fleet::run(options).await,
        Bench::FleetSimulator { .. } => fleet::simulate().await,
        Bench::Commit { rounds } => commit::run(rounds).await,
    }
}
