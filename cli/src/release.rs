//! HelmReleases rendered as their controller renders them.
//!
//! ```text
//! FILE ─┬► HelmRelease ──► chart: a path, or the source that it names (file, cluster) ─┐
//!       └► other objects ► values: ConfigMaps and Secrets (file, cluster) ─────────────┴► post-rendered manifests
//! cluster ► HelmRelease
//! ```

mod chart;
mod given;
mod values;

use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::Timestamp;
use nave_chart::{Capabilities, KubeVersion};
use nave_crds::helm::HelmRelease;
use nave_helm_controller::{PreviewRequest, ReleasePreview, cluster_capabilities, preview_release, preview_values};

use self::given::Given;
use crate::{build::Cluster, connection::ConnectionArguments, verbs::diff::target_for};

/// What is rendered, and from what.
#[derive(Debug, Clone, clap::Args)]
pub struct ReleaseArguments {
    /// Name of a HelmRelease of the cluster, or a file that holds one; sources, ConfigMaps and Secrets in the file count, too
    #[arg(value_name = "NAME|FILE")]
    pub what: String,
    /// The chart itself: a folder, an archive, or oci://…; else it is taken from where the HelmRelease says
    #[arg(long, value_name = "CHART")]
    pub chart: Option<String>,
    /// Directories of sources that only a controller can fetch; may be given several times
    #[arg(long, value_name = "KIND/NAMESPACE/NAME=PATH", value_delimiter = ',', value_parser = local_source)]
    pub local_sources: Vec<(String, PathBuf)>,
}

/// A HelmRelease, and what it gives.
pub struct BuiltRelease {
    /// As it was given; its status is that of the cluster, if it came from there.
    pub release: HelmRelease,
    /// Rendered, post-rendered, with common metadata and owner labels.
    pub preview: ReleasePreview,
}

/// What templates see where no cluster is asked.
#[derive(Debug, Clone, Default)]
pub struct Offline {
    /// Version of Kubernetes.
    pub kube_version: Option<String>,
    /// More API versions.
    pub api_versions: Vec<String>,
}

/// Renders a HelmRelease. `cluster` is none in a dry run.
///
/// # Errors
/// There is no such HelmRelease, its chart or values cannot be had, or it does not render.
pub async fn build_release(
    arguments: &ReleaseArguments,
    to: &ConnectionArguments,
    cluster: Option<&Cluster<'_>>,
    offline: &Offline,
) -> Result<BuiltRelease> {
    let given = Given::of(&arguments.what, to, cluster).await?;
    let release = given.release.clone();
    let metadata = &release.metadata;
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let name = metadata.name.clone().unwrap_or_default();
    let what = || format!("HelmRelease {namespace}/{name}");
    let fetched = chart::of(&given, arguments, to.timeout).await.with_context(what)?;
    let values = preview_values(&release, async |kind, name| {
        values::data_of(&given, kind, name)
            .await
            .map_err(|error| format!("{error:#}"))
    })
    .await
    .with_context(what)?;
    let target = match cluster {
        Some(cluster) => {
            let connection = cluster.connection().await?;
            Some(
                target_for(release.spec.kube_config.as_ref(), &namespace, connection)
                    .await
                    .with_context(what)?,
            )
        }
        None => None,
    };
    let mut capabilities = match &target {
        Some(target) => cluster_capabilities(target).await?,
        None => Capabilities::default(),
    };
    if let Some(version) = &offline.kube_version {
        capabilities.kube_version =
            KubeVersion::parse(version).with_context(|| format!("invalid kube version '{version}'"))?;
    }
    let known = capabilities.api_versions.iter().chain(&offline.api_versions);
    capabilities.api_versions = known.cloned().collect();
    let request = PreviewRequest {
        chart: fetched.chart,
        revision: fetched.revision,
        values,
        capabilities,
        target,
        seed: crate::random::seed()?,
        now: Timestamp::now(),
    };
    let preview = preview_release(&release, request).await.with_context(what)?;
    Ok(BuiltRelease { release, preview })
}

fn local_source(text: &str) -> Result<(String, PathBuf), String> {
    let (source, path) = text
        .split_once('=')
        .filter(|(source, path)| {
            source.split('/').count() == 3 && !source.split('/').any(str::is_empty) && !path.is_empty()
        })
        .ok_or("expected Kind/namespace/name=path, such as GitRepository/flux-system/charts=./charts")?;
    Ok((source.to_owned(), PathBuf::from(path)))
}
