//! Control planes by hand: `cargo run -p nave-bed -- up --planes 3`.

use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use nave_bed::{Plane, PlaneOptions, build_controlplane};

/// Control planes for tests and for trying things out.
#[derive(Parser)]
#[command(name = "bed", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Bring control planes up, print their kubeconfigs, and keep them until Ctrl-C.
    Up {
        /// How many.
        #[arg(long, default_value_t = 1)]
        planes: u32,
        /// How many imaginary nodes each has.
        #[arg(long, default_value_t = 1)]
        nodes: u32,
        /// Record all requests in an audit log.
        #[arg(long)]
        audit: bool,
    },
    /// Build the control plane program and print its path.
    Build,
}

#[tokio::main]
async fn main() -> Result<()> {
    match Cli::parse().verb {
        Verb::Up { planes, nodes, audit } => up(planes, nodes, audit).await,
        Verb::Build => {
            let program = tokio::task::spawn_blocking(build_controlplane)
                .await
                .context("building")??;
            println!("{}", program.display());
            Ok(())
        }
    }
}

async fn up(planes: u32, nodes: u32, audit: bool) -> Result<()> {
    let started = Instant::now();
    let options = (1..=planes)
        .map(|number| PlaneOptions {
            name: format!("plane-{number}"),
            audit,
            nodes,
            ..PlaneOptions::default()
        })
        .collect();
    let planes = tokio::select! {
        planes = Plane::start_many(options) => planes?,
        interrupted = tokio::signal::ctrl_c() => return interrupted.context("waiting for Ctrl-C"),
    };
    let mut out = std::io::stdout().lock();
    for plane in &planes {
        writeln!(out, "export KUBECONFIG={}", plane.kubeconfig_path().display())
            .context("writing to standard output")?;
        eprintln!("{}: {}", plane.name, plane.url());
        if let Some(path) = plane.audit_log() {
            eprintln!("{}: requests are recorded in {}", plane.name, path.display());
        }
    }
    out.flush().context("writing to standard output")?;
    drop(out);
    eprintln!(
        "{} planes are up after {:.1} s; Ctrl-C ends them",
        planes.len(),
        started.elapsed().as_secs_f64()
    );
    tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")?;
    for plane in planes {
        plane.stop().await;
    }
    Ok(())
}
