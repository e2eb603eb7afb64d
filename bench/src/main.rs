//! Benchmarks that print the floor of the same run beside our figure: `make bench B=<name>`.

mod apps;
mod commit;
mod floor;
mod memory;
mod process;
mod table;

use anyhow::Result;
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
    /// Resident memory of an agent: idle, and with N Kustomizations
    Memory {
        /// How many
        #[arg(long, default_value_t = 100)]
        apps: usize,
    },
    /// The demo's fleet: from a commit to three healthy clusters, beside applying the change by hand
    Commit {
        /// How many commits
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().name {
        Bench::List => {
            println!("apps     N apps of four objects over one git repository: install, upgrade, no-op");
            println!("memory   resident memory of an agent: idle, and with N Kustomizations");
            println!("commit   from a commit to three healthy clusters, beside applying the change by hand");
            Ok(())
        }
        Bench::Apps { apps } => apps::run(apps).await,
        Bench::Memory { apps } => memory::run(apps).await,
        Bench::Commit { rounds } => commit::run(rounds).await,
    }
}
