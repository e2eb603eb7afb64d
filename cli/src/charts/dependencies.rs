//! What a chart depends on, fetched into memory: nothing is written beside the chart.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use nave_chart::{Chart, Dependency};

use super::{Way, from_registry, from_repository};
use crate::{build::read_chart, failure::advised};

/// The chart with the newest versions that `Chart.yaml` allows of all that it depends on. A dependency without a
/// repository has to be there. `folder` is where the chart lies, for repositories such as `file://../common`.
///
/// # Errors
/// A dependency that cannot be found or fetched, with its name.
pub async fn with_dependencies(mut chart: Chart, folder: Option<&Path>, way: &Way, timeout: Duration) -> Result<Chart> {
    let wanted = chart.metadata.dependencies.clone();
    let mut fetched: Vec<Chart> = Vec::new();
    for dependency in &wanted {
        let is_there = |charts: &[Chart]| {
            charts.iter().any(|one| {
                let fits = || {
                    let range = nave_version::Range::parse(&dependency.version).ok()?;
                    let version = nave_version::Version::parse(&one.metadata.version).ok()?;
                    Some(range.matches(&version))
                };
                one.name() == dependency.name && (dependency.version.is_empty() || fits().unwrap_or_default())
            })
        };
        // The same chart under two aliases is fetched once.
        if is_there(&fetched) || (dependency.repository.is_empty() && is_there(&chart.dependencies)) {
            continue;
        }
        let found = fetch(dependency, folder, way, timeout)
            .await
            .with_context(|| format!("dependency {:?} of chart {:?}", dependency.name, chart.name()))?;
        fetched.push(found);
    }
    chart
        .dependencies
        .retain(|old| !fetched.iter().any(|new| new.name() == old.name()));
    chart.dependencies.extend(fetched);
    Ok(chart)
}

async fn fetch(dependency: &Dependency, folder: Option<&Path>, way: &Way, timeout: Duration) -> Result<Chart> {
    let Dependency {
        name,
        version,
        repository,
        ..
    } = dependency;
    match repository.split_once("://") {
        Some(("file", path)) => {
            let folder = folder.context("its repository is a folder, and the chart itself is none")?;
            let found = read_chart(&folder.join(path))?;
            if found.name() != name {
                bail!("{} holds chart {:?}", folder.join(path).display(), found.name());
            }
            Ok(found)
        }
        Some(("oci", _)) => {
            let url = format!("{}/{name}", repository.trim_end_matches('/'));
            Ok(from_registry(&url, version, way, timeout).await?.chart)
        }
        Some(("http" | "https", _)) => from_repository(repository, name, version, way, timeout).await,
        _ if repository.is_empty() => bail!("it names no repository and is not in charts/"),
        _ => Err(advised(
            format!("its repository {repository:?} is a name of helm's own configuration, which is not read"),
            "write the address of the repository into Chart.yaml",
        )),
    }
}
