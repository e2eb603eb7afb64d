//! `make demo`: from a commit to three healthy clusters, on one machine.

mod screen;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Parser;
use nave_demo::{
    Fleet, FleetOptions,
    fleet::SPOKES,
    rollout::{self, Rollout},
};

use crate::screen::Screen;

/// How long bringing everything up may take on a slow machine before the demo gives up.
const HEALTHY_WITHIN: Duration = Duration::from_secs(300);
/// How long one commit may take.
const COMMIT_WITHIN: Duration = Duration::from_secs(120);
/// The file that the demo commits a change to, and the change.
const CHANGED_FILE: &str = "platform/apps/base/checkout/deployment.yaml";
const OLD_IMAGE: &str = "registry.example.com/shop/checkout:2.7.1";
const NEW_IMAGE: &str = "registry.example.com/shop/checkout:2.8.0";

#[derive(Parser)]
#[command(name = "nave-demo", about = "A hub and three clusters on this machine")]
struct Arguments {
    /// End after the commit has arrived; the exit code says whether it did
    #[arg(long)]
    once: bool,
    /// Print times as one JSON object on standard output as well
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime needs nothing that a process may lack");
    let result = runtime.block_on(async {
        tokio::select! {
            result = demo(&arguments) => result,
            _ = tokio::signal::ctrl_c() => Ok(false),
        }
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("interrupted; every process is being ended");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True when it ran to its end, false when it was interrupted.
async fn demo(arguments: &Arguments) -> Result<bool> {
    let screen = Screen::new();
    let started = Instant::now();
    screen.step("programs");
    for program in ["nave", "nave-hub", "nave-agent"] {
        tokio::task::block_in_place(|| nave_bed::binary(program))?;
    }
    let fleet = Fleet::start_whole(&FleetOptions::default(), &|step| screen.step(step)).await?;
    screen.step("first roll-out");
    {
        let watching = screen.follow(&fleet);
        let ready = fleet.wait_ready(None, HEALTHY_WITHIN);
        tokio::select! {
            ready = ready => ready.context("the fleet did not become healthy")?,
            stopped = watching => stopped?,
        }
    }
    screen.done(&format!(
        "three clusters healthy {:.1} s after the start",
        started.elapsed().as_secs_f64()
    ));
    print!("{}", fleet.nave.run(&["get", "fleet", "-A"]).await?);
    println!();

    screen.step("a chart");
    let applied = Instant::now();
    fleet.apply_chart().await?;
    let version = fleet
        .wait_released(HEALTHY_WITHIN)
        .await
        .context("the chart was not released everywhere")?;
    screen.done(&format!(
        "status-page {version} released on three clusters after {:.2} s",
        applied.elapsed().as_secs_f64()
    ));
    print!("{}", fleet.nave.run(&["get", "fleet", "-A"]).await?);
    println!();

    screen.step("a commit");
    let rollouts: Vec<Rollout> = SPOKES
        .iter()
        .map(|spoke| {
            Rollout::new(
                spoke.name,
                fleet.planes[spoke.name].client(),
                "shop",
                "checkout",
                NEW_IMAGE,
            )
        })
        .collect();
    let commit = fleet
        .repository
        .replace("Checkout 2.8.0", CHANGED_FILE, OLD_IMAGE, NEW_IMAGE)
        .await?;
    let pushed = Instant::now();
    screen.note(&format!("pushed {} (checkout 2.7.1 -> 2.8.0)", &commit[..8]));
    let arrivals = rollout::wait_all(rollouts, pushed, COMMIT_WITHIN, |name, took| {
        screen.note(&format!("{name:10} running 2.8.0 after {:.2} s", took.as_secs_f64()));
    })
    .await?;
    fleet
        .wait_ready(Some(&commit), COMMIT_WITHIN)
        .await
        .context("the hub did not see the commit arrive everywhere")?;
    let reported = pushed.elapsed();
    screen.done(&format!(
        "the hub reports the commit healthy everywhere after {:.2} s",
        reported.as_secs_f64()
    ));
    if arguments.json {
        let clusters: serde_json::Map<String, serde_json::Value> = arrivals
            .iter()
            .map(|(name, took)| (name.clone(), took.as_secs_f64().into()))
            .collect();
        println!(
            "{}",
            serde_json::json!({"commit": commit, "clusters": clusters, "reported": reported.as_secs_f64()})
        );
    }

    if arguments.once {
        screen.step("ending every process");
        return Ok(true);
    }
    println!("{}", how_to_look_around(&fleet));
    std::future::pending().await
}

fn how_to_look_around(fleet: &Fleet) -> String {
    let mut text = String::from("\nLook around (Ctrl-C ends everything):\n\n");
    text += &format!("  export KUBECONFIG={}\n", fleet.hub_plane.kubeconfig_path().display());
    text += "  nave get fleet -A\n  nave get clusters -A\n  nave describe fleet apps -n platform\n  nave events -A --watch\n\nThe spokes:\n\n";
    for spoke in SPOKES {
        text += &format!(
            "  KUBECONFIG={} nave get all -A   # {}\n",
            fleet.planes[spoke.name].kubeconfig_path().display(),
            spoke.name
        );
    }
    text += &format!("\nThe repository: git clone {}\n", fleet.repository.url);
    if let Some(folder) = std::env::current_exe()
        .ok()
        .and_then(|path| path.parent().map(|folder| folder.display().to_string()))
    {
        text += &format!("The programs:   export PATH={folder}:$PATH\n");
    }
    text
}
