//! `helmCharts` of a kustomization: charts of the tree, of chart repositories and of registries, rendered.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use nave_chart::{
    Chart, IgnoreRules, KubeVersion, LoadLimits, Printing, RenderRequest, check_release_name, load_archive,
    load_folder, render, values::ValueFlags,
};
use nave_chart_repo::{Repositories, choose, convert, find};
use nave_helm_controller::WebDocuments;
use nave_kustomize::{ChartRequest, Tree};
use nave_oci::{Registries, Repository, media_type};

use super::place::Place;
use crate::{failure::advised, say};

/// What a release is called that nobody names, as with Helm.
const NAME: &str = "release-name";
/// A chart's package, and the index of a repository.
const LARGEST_CHART: u64 = 10 << 20;
const LARGEST_INDEX: u64 = 256 << 20;

/// What a chart renders to, as YAML.
///
/// # Errors
/// The chart cannot be had, or its templates fail.
pub async fn inflate(place: &Place, request: &ChartRequest, timeout: Duration) -> Result<String> {
    let what = || format!("chart {}", request.name);
    let chart = match &request.directory {
        Some(directory) => from_tree(place.tree.as_ref(), directory).with_context(what)?,
        None => {
            let package = tokio::time::timeout(timeout, fetch(request, timeout))
                .await
                .with_context(|| format!("{}: fetching it took longer than {timeout:?}", what()))?
                .with_context(what)?;
            load_archive(&package, &LoadLimits::default()).with_context(what)?
        }
    };
    let missing = chart.missing_dependencies();
    ensure!(
        missing.is_empty(),
        "{}: found in Chart.yaml, but missing in charts/ directory: {}",
        what(),
        missing.join(", ")
    );
    rendered(&chart, request).with_context(what)
}

fn rendered(chart: &Chart, request: &ChartRequest) -> Result<String> {
    ensure!(
        request.name_template.is_empty(),
        "nameTemplate is not supported: give the release a releaseName"
    );
    let name = match request.release_name.as_str() {
        "" => NAME,
        name => name,
    };
    check_release_name(name).with_context(|| format!("release name {name:?}"))?;
    let namespace = match request.namespace.as_str() {
        "" => "default",
        namespace => namespace,
    };
    // JSON is YAML.
    let own = serde_json::to_string(&chart.values)?;
    // One after the other, later ones win; the names are for messages.
    let mut texts = vec![("values".to_owned(), request.values(&own)?)];
    for (index, text) in request.additional_values.iter().enumerate() {
        texts.push((format!("additionalValuesFiles[{index}]"), text.clone()));
    }
    let flags = ValueFlags {
        files: texts.iter().map(|(name, _)| name.clone()).collect(),
        ..ValueFlags::default()
    };
    let values = flags.merge(|wanted| {
        let found = texts.iter().find(|(name, _)| name == wanted);
        found
            .map(|(_, text)| text.clone().into_bytes())
            .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))
    })?;
    let mut render_request = RenderRequest::install(name, namespace, values);
    if !request.kube_version.is_empty() {
        render_request.capabilities.kube_version = KubeVersion::parse(&request.kube_version)
            .with_context(|| format!("invalid kube version '{}'", request.kube_version))?;
    }
    let known = render_request
        .capabilities
        .api_versions
        .iter()
        .chain(&request.api_versions);
    render_request.capabilities.api_versions = known.cloned().collect();
    render_request.schema_documents = Some(Arc::new(WebDocuments));
    render_request.now = Timestamp::now();
    render_request.seed = crate::random::seed()?;
    let rendered = render(chart, &render_request)?;
    for warning in &rendered.warnings {
        say::warning(warning);
    }
    Ok(rendered.print(&Printing {
        crds: request.include_crds,
        hooks: !request.skip_hooks,
        tests: !request.skip_tests,
        only: Vec::new(),
    })?)
}

/// A chart that lies beside the kustomization.
fn from_tree(tree: &dyn Tree, top: &str) -> Result<Chart> {
    if top.contains("://") {
        bail!("charts that lie in a remote base are not rendered; name their repository with repo");
    }
    let limits = LoadLimits::default();
    let rules = match tree.read(&format!("{top}/.helmignore")) {
        Some(text) => IgnoreRules::parse(&String::from_utf8_lossy(&text)).context(".helmignore")?,
        None => IgnoreRules::default(),
    };
    let mut files = Vec::new();
    let mut bytes = 0u64;
    let mut folders = vec![(top.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in tree.list(&folder) {
            let (path, name) = (format!("{folder}/{entry}"), format!("{prefix}{entry}"));
            if tree.is_dir(&path) {
                // Links may lead back to where they are; no chart is as deep.
                ensure!(name.matches('/').count() < 64, "{name} lies too deep");
                if !rules.is_folder_ignored(&name) {
                    folders.push((path, format!("{name}/")));
                }
                continue;
            }
            if rules.is_ignored(&name) {
                continue;
            }
            let data = tree
                .read(&path)
                .with_context(|| format!("reading {path}"))?
                .into_owned();
            bytes += data.len() as u64;
            ensure!(
                bytes <= limits.total_bytes && files.len() < limits.files,
                "it exceeds {} bytes or {} files",
                limits.total_bytes,
                limits.files
            );
            files.push((name, data));
        }
    }
    Ok(load_folder(files, &limits)?)
}

/// The package of a chart from a registry or a chart repository.
async fn fetch(request: &ChartRequest, timeout: Duration) -> Result<Vec<u8>> {
    let url = request.repository.trim_end_matches('/');
    if Path::new(url).is_absolute() || !url.contains("://") {
        bail!("repo {url:?} is no address of a chart repository");
    }
    if url.starts_with("oci://") {
        if request.version.is_empty() {
            return Err(advised(
                format!("{url} is a registry, and no version is given"),
                "name the version of the chart",
            ));
        }
        // A plus sign cannot stand in a tag.
        let tag = request.version.replace('+', "_");
        let repository = Repository::from_url(&format!("{url}/{}", request.name))?;
        let remote = Registries::default().open(&repository, nave_oci::Access::default())?;
        let resolved = remote.resolve(&tag, timeout).await?;
        let pulled = remote.manifest(&resolved.digest, timeout).await?;
        let layers = &pulled.manifest.layers;
        let Some(layer) = layers.iter().find(|layer| layer.media_type == media_type::HELM_CHART) else {
            bail!("{url}/{}:{tag} is no chart", request.name);
        };
        return Ok(remote.blob(layer, LARGEST_CHART, timeout).await?);
    }
    let remote = Repositories::default().open(url, nave_chart_repo::Access::default())?;
    let mut index = Vec::new();
    remote.fetch_index(&mut index, LARGEST_INDEX, timeout).await?;
    let mut json = Vec::new();
    convert(index.as_slice(), &mut json).context("reading the index of the repository")?;
    let versions = find(json.as_slice(), &request.name)
        .context("reading the index of the repository")?
        .with_context(|| format!("there is no such chart in {url}"))?;
    let wanted = match (request.version.as_str(), request.devel) {
        ("", true) => ">0.0.0-0",
        (version, _) => version,
    };
    let chart = choose(&request.name, &versions, wanted).map_err(anyhow::Error::msg)?;
    let mut package = Vec::new();
    remote.fetch_chart(chart, &mut package, LARGEST_CHART, timeout).await?;
    Ok(package)
}
