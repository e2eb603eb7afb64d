//! Promise: one stops, the other starts, and no managed object changes; from Flux to Nave and back.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use nave_bed::{GitRepo, GitServer, GitServerOptions, Plane, PlaneOptions, eventually, free_tcp_port};
use nave_demo::fleet;
use nave_flux::{Case, Engine, Look, Trace, Which, differences, look, traces, unexpected};
use serde_json::json;

/// Cases that are set up at the same time.
const AT_ONCE: usize = 4;
/// How long events and watches may take to follow.
const AGREE: Duration = Duration::from_secs(10);

/// A case where it stands: its namespace, as it looks and what its managed objects are.
struct Standing<'a> {
    case: &'a Case,
    repo: GitRepo,
    looks: Look,
    traces: BTreeMap<String, Trace>,
}

async fn there_and_back(first: Which, second: Which) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/kustomizations");
    let wanted = std::env::var("FLUX_CASE").unwrap_or_default();
    let cases: Vec<Case> = Case::read(&folder)?
        .into_iter()
        .filter(|case| case.name.contains(&wanted) && case.moves)
        .collect();
    let plane = Plane::start(PlaneOptions::named("handover")).await?;
    if plane.skip(
        "moving from and to Flux",
        plane.has_workloads(),
        "its plane runs no pods",
    ) {
        return Ok(());
    }
    let client = plane.client();
    fleet::install_crds(&client).await?;
    let folder = tempfile::tempdir()?;
    let storage = format!("127.0.0.1:{}", free_tcp_port()?);
    let server = GitServer::start(GitServerOptions::default()).await?;

    let mut engine = Engine::start(first, &plane, &folder.path().join("first"), &storage).await?;
    let mut standing: Vec<Standing> = stream::iter(&cases)
        .map(|case| set_up(case, &server, &client))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut problems = Vec::new();
    for (turn, which) in [second, first].into_iter().enumerate() {
        engine.stop().await?;
        engine = Engine::start(which, &plane, &folder.path().join(format!("turn-{turn}")), &storage).await?;
        let token = format!("turn-{turn}");
        let found: Vec<Vec<String>> = stream::iter(&standing)
            .map(|at| taken_over(at, which, &token, &client))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        for (at, found) in standing.iter().zip(found) {
            let name = &at.case.name;
            problems.extend(
                found
                    .into_iter()
                    .map(|problem| format!("to {which:?}: {name}: {problem}")),
            );
        }
    }
    // What the one applied and Git has no more is pruned by the other.
    engine.stop().await?;
    engine = Engine::start(second, &plane, &folder.path().join("last"), &storage).await?;
    for at in standing.iter_mut().filter(|at| at.case.name == "plain") {
        at.repo.remove_files(&["app/service.yaml"]).await?;
        at.case.reconcile(&client, "pruned").await?;
        let left = traces(&client, &at.case.name).await?;
        let gone: Vec<&String> = at.traces.keys().filter(|name| !left.contains_key(*name)).collect();
        ensure!(gone == ["Service/plain/web"], "pruned: {gone:?}");
    }
    engine.stop().await?;
    ensure!(
        problems.is_empty(),
        "{} differences:\n{}",
        problems.len(),
        problems.join("\n")
    );
    Ok(())
}

/// Its first step, and what comes of it.
async fn set_up<'a>(case: &'a Case, server: &GitServer, client: &Client) -> Result<Standing<'a>> {
    let repo = server.create_repo(&case.name).await?;
    case.set_up(&repo, client).await?;
    Ok(Standing {
        looks: look(client, &case.name).await?,
        traces: traces(client, &case.name).await?,
        case,
        repo,
    })
}

/// Asks for a reconcile of everything, and compares with what it was.
async fn taken_over(at: &Standing<'_>, which: Which, token: &str, client: &Client) -> Result<Vec<String>> {
    at.case.reconcile(client, token).await?;
    let mut problems = Vec::new();
    let now = traces(client, &at.case.name).await?;
    for (name, before) in &at.traces {
        if now.get(name) != Some(before) {
            problems.push(format!(
                "{name} was written\n      before: {before:?}\n      now: {:?}",
                now.get(name)
            ));
        }
    }
    // Events are another engine's: they are compared side by side.
    let quiet = |looks: &Look| -> Look {
        let mut looks = looks.clone();
        looks.retain(|name, _| !name.starts_with("events "));
        for object in looks.values_mut() {
            if let Some(status) = object["status"].as_object_mut() {
                status.remove("lastHandledReconcileAt");
            }
        }
        looks
    };
    let before = quiet(&at.looks);
    let mut found = Vec::new();
    let same = eventually(AGREE, "the same", || async {
        let now = quiet(&look(client, &at.case.name).await?);
        let (flux, nave) = match which {
            Which::Flux => (&now, &before),
            Which::Nave => (&before, &now),
        };
        let differ = unexpected(differences(&json!(flux), &json!(nave)), &at.case.expected);
        ensure!(
            differ.is_empty(),
            "{}",
            differ.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        );
        Ok(())
    })
    .await;
    if let Err(error) = same {
        found.push(error.root_cause().to_string());
    }
    problems.extend(found);
    Ok(problems)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Flux's controllers, which take many minutes to build: make test T=flux"]
async fn handover_from_flux_and_back_changes_no_managed_object() -> Result<()> {
    there_and_back(Which::Flux, Which::Nave).await
}
