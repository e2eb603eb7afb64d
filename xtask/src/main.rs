//! Project chores: `cargo xtask <command>`.

mod ci;
mod crds;
mod layers;
mod oracle;
mod oracle_helm;
mod soak;
mod tables;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Nave's project chores")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that CI checks, in order, with one closing line
    Ci {
        /// Run only the tests whose name contains this
        #[arg(long, value_name = "PROMISE")]
        only: Option<String>,
    },
    /// Write crds/yaml from the Rust types
    Crds {
        /// Change nothing; fail when a file is stale
        #[arg(long)]
        check: bool,
    },
    /// Print which crate uses which and check the direction of the layers
    Map,
    /// Build directories with the reference tool and with ours, and show the first difference
    Oracle {
        /// `kustomize` or `helm`
        tool: String,
        /// Directories with a kustomization file, or charts
        #[arg(required = true)]
        dirs: Vec<PathBuf>,
        /// Take every directory below that has a kustomization file
        #[arg(long, short)]
        recursive: bool,
        /// Restrict files to their root, as `kubectl kustomize` does
        #[arg(long)]
        restrict: bool,
        /// Take the directories for golden cases and write what the reference makes of them
        #[arg(long, conflicts_with_all = ["recursive", "restrict"])]
        record: bool,
        /// Render each chart with each of its `ci/*.yaml` too
        #[arg(long, conflicts_with = "record")]
        ci: bool,
        /// Write both texts of what differs into this directory
        #[arg(long, value_name = "DIR", conflicts_with = "record")]
        keep: Option<PathBuf>,
        /// Flags of `helm template`, such as `--set a=b`
        #[arg(last = true)]
        flags: Vec<String>,
    },
    /// Write the kustomize engine's tables from the reference's own
    Tables {
        /// Change nothing; fail when a table is stale
        #[arg(long)]
        check: bool,
    },
    /// Seeded fault rounds
    Soak {
        /// Which one; `list` shows them
        name: String,
        /// The first seed; a failing round prints its own
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many rounds
        #[arg(long)]
        rounds: Option<u64>,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Ci { only } => ci::run(only.as_deref()),
        Command::Crds { check } => crds::run(check),
        Command::Map => layers::run(),
        Command::Oracle {
            tool,
            dirs,
            recursive,
            restrict,
            record,
            ci,
            keep,
            flags,
        } => match tool.as_str() {
            "kustomize" if record => oracle::record(&dirs),
            "kustomize" => oracle::run(&dirs, recursive, restrict),
            "helm" if record => oracle_helm::record(&dirs),
            "helm" => oracle_helm::run(&dirs, recursive, ci, keep.as_deref(), &flags),
            other => bail!("there is no oracle for {other:?}; there are those for kustomize and helm"),
        },
        Command::Tables { check } => tables::run(check),
        Command::Soak { name, seed, rounds } => soak::run(&name, seed, rounds),
    }
}
