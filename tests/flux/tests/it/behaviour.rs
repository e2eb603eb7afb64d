//! The same cases run under Flux and under Nave, each on a plane of its own; all that users see is compared.

use std::{path::Path, time::Instant};

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use nave_bed::{GitServer, GitServerOptions, Plane, PlaneOptions, free_tcp_port};
use nave_demo::fleet;
use nave_flux::{Case, Engine, Which};

/// Cases that run at the same time.
const AT_ONCE: usize = 4;

async fn compare(folder: &str) -> Result<()> {
    let cases = Case::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(folder))?;
    // To look at one: FLUX_CASE=<part of its name>.
    let wanted = std::env::var("FLUX_CASE").unwrap_or_default();
    let cases: Vec<Case> = cases.into_iter().filter(|case| case.name.contains(&wanted)).collect();
    ensure!(!cases.is_empty(), "no case has {wanted:?} in its name");
    let folder = tempfile::tempdir()?;
    let planes = Plane::start_many(["flux", "nave"].map(PlaneOptions::named).to_vec()).await?;
    let [flux, nave] = [planes[0].client(), planes[1].client()];
    if planes[0].skip("Flux beside Nave", planes[0].has_workloads(), "its planes run no pods") {
        return Ok(());
    }
    fleet::install_crds(&flux).await?;
    fleet::install_crds(&nave).await?;
    let mut engines = [
        Engine::start(Which::Flux, &planes[0], &folder.path().join("flux"), &address()?).await?,
        Engine::start(Which::Nave, &planes[1], &folder.path().join("nave"), &address()?).await?,
    ];
    let server = GitServer::start(GitServerOptions::default()).await?;
    let problems: Vec<Vec<String>> = stream::iter(&cases)
        .map(|case| async {
            let repo = server.create_repo(&case.name).await?;
            let started = Instant::now();
            let result = case.run(&repo, &[], &flux, &nave).await;
            eprintln!("{}: {:.1} s", case.name, started.elapsed().as_secs_f64());
            Ok::<_, anyhow::Error>(result.unwrap_or_else(|error| vec![format!("{}: {error:#}", case.name)]))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let problems = problems.concat();
    if !problems.is_empty() && std::env::var_os("FLUX_LOGS").is_some() {
        for engine in &engines {
            eprintln!("{}\n", engine.log_tail(60));
        }
    }
    for engine in &mut engines {
        engine.stop().await?;
    }
    ensure!(
        problems.is_empty(),
        "{} cases, {} differences:\n{}",
        cases.len(),
        problems.len(),
        problems.join("\n")
    );
    Ok(())
}

/// Where an engine serves its artifacts.
fn address() -> Result<String> {
    Ok(format!("127.0.0.1:{}", free_tcp_port()?))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Flux's controllers, which take many minutes to build: make test T=flux"]
async fn kustomizations_are_as_flux_has_them() -> Result<()> {
    compare("kustomizations").await
}
