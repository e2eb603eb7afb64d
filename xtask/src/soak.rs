//! Seeded fault rounds: each is a test of its crate that reads `SEED` and `ROUNDS`.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Name, package and test of each soak, with what it does.
const SOAKS: &[(&str, &str, &str, &str)] = &[
    (
        "link",
        "nave-proto",
        "soak",
        "the protocol between two ends in virtual time, with cuts, reordering and restarts",
    ),
    (
        "link-processes",
        "nave-demo",
        "soak_link_processes",
        "a hub and an agent with a control plane each: killed with -9, with full disks, with the way between them cut",
    ),
    (
        "apply",
        "nave-kustomize-controller",
        "soak_apply",
        "a reconciler that is killed at random moments between applying and writing its inventory",
    ),
    (
        "store",
        "nave-store",
        "soak_store",
        "a process that stores, collects and serves artifacts is killed at random moments",
    ),
];

/// Runs one soak; a failing round prints the seed that replays it.
pub fn run(name: &str, seed: u64, rounds: Option<u64>) -> Result<()> {
    if name == "list" {
        for (name, _, _, about) in SOAKS {
            println!("{name:15} {about}");
        }
        return Ok(());
    }
    let Some((_, package, test, _)) = SOAKS.iter().find(|(known, ..)| *known == name) else {
        bail!("no soak is called {name:?}; `make soak S=list` shows them");
    };
    let cargo = |after: &str| {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args(["test", "--package", package, test, "--", after])
            .env("SEED", seed.to_string());
        command
    };
    let listed = cargo("--list").output().context("starting cargo test")?;
    ensure!(
        !listed.status.success() || String::from_utf8_lossy(&listed.stdout).contains(": test"),
        "{package} has no test called {test}…"
    );
    let mut command = cargo("--nocapture");
    if let Some(rounds) = rounds {
        command.env("ROUNDS", rounds.to_string());
    }
    let status = command.status().context("starting cargo test")?;
    ensure!(status.success(), "soak {name} failed, seed {seed}");
    Ok(())
}
