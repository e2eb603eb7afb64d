//! The chart of a HelmRelease, from where it says.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use nave_chart::{
    Chart, Values,
    values::{load_values, merge_maps},
};
use nave_crds::{HelmChart, HelmRepository, OCIRepository, meta::LocalRef, source::HelmRepositoryType};
use nave_net::{BasicAuth, SecretText, TlsOptions};
use nave_object::Gvk;

use super::{ReleaseArguments, given::Given, values};
use crate::{
    build::read_chart,
    charts::{Way, from_address, from_registry, from_repository, with_dependencies},
    failure::advised,
    kinds::{HELM_CHART, HELM_REPOSITORY, OCI_REPOSITORY},
};

/// A chart, and the revision of the artifact that `chartRef` names.
pub struct Fetched {
    pub chart: Chart,
    pub revision: String,
}

/// Which chart of a source.
struct Wanted {
    kind: String,
    namespace: String,
    name: String,
    chart: String,
    version: String,
    values_files: Vec<String>,
    ignore_missing: bool,
}

/// The chart that was named, or the one that the HelmRelease refers to.
pub async fn of(given: &Given<'_>, arguments: &ReleaseArguments, timeout: Duration) -> Result<Fetched> {
    let plain = |chart: Chart| Fetched {
        chart,
        revision: String::new(),
    };
    if let Some(path) = &arguments.chart {
        let chart = named(path, timeout).await?;
        return Ok(plain(chart));
    }
    let spec = &given.release.spec;
    if let Some(template) = &spec.chart {
        let (spec, source) = (&template.spec, &template.spec.source_ref);
        let wanted = Wanted {
            kind: source.kind.clone(),
            namespace: or_own(&source.namespace, given),
            name: source.name.clone(),
            chart: spec.chart.clone(),
            version: spec.version.clone(),
            values_files: spec.values_files.clone(),
            ignore_missing: spec.ignore_missing_values_files,
        };
        return from_source(given, &wanted, arguments, timeout).await.map(plain);
    }
    let reference = spec
        .chart_ref
        .as_ref()
        .context("it has neither spec.chart nor spec.chartRef")?;
    let namespace = or_own(&reference.namespace, given);
    match reference.kind.as_str() {
        "HelmChart" => {
            let found: HelmChart = given.source(&HELM_CHART, &namespace, &reference.name).await?;
            let wanted = Wanted {
                kind: found.spec.source_ref.kind,
                namespace,
                name: found.spec.source_ref.name,
                chart: found.spec.chart,
                version: found.spec.version,
                values_files: found.spec.values_files,
                ignore_missing: found.spec.ignore_missing_values_files,
            };
            from_source(given, &wanted, arguments, timeout).await.map(plain)
        }
        "OCIRepository" => {
            let found: OCIRepository = given.source(&OCI_REPOSITORY, &namespace, &reference.name).await?;
            from_oci(given, &found, &namespace, timeout).await
        }
        kind => Err(advised(
            format!(
                "spec.chartRef is {kind} {namespace}/{}, whose content only its cluster has",
                reference.name
            ),
            "name the chart with --chart",
        )),
    }
}

fn or_own(namespace: &str, given: &Given<'_>) -> String {
    match namespace {
        "" => given.namespace().to_owned(),
        namespace => namespace.to_owned(),
    }
}

async fn named(path: &str, timeout: Duration) -> Result<Chart> {
    let way = Way::default();
    if path.starts_with("oci://") {
        return Ok(from_registry(path, "", &way, timeout).await?.chart);
    }
    if path.contains("://") {
        return from_address(path, &way, timeout).await;
    }
    let path = Path::new(path);
    complete(read_chart(path)?, path.is_dir().then_some(path), timeout).await
}

/// As source-controller packs a folder: with what it depends on.
async fn complete(chart: Chart, folder: Option<&Path>, timeout: Duration) -> Result<Chart> {
    match chart.missing_dependencies().is_empty() {
        true => Ok(chart),
        false => with_dependencies(chart, folder, &Way::default(), timeout).await,
    }
}

async fn from_source(
    given: &Given<'_>,
    wanted: &Wanted,
    arguments: &ReleaseArguments,
    timeout: Duration,
) -> Result<Chart> {
    let Wanted {
        kind, namespace, name, ..
    } = wanted;
    if kind == HELM_REPOSITORY.kind {
        let repository: HelmRepository = given.source(&HELM_REPOSITORY, namespace, name).await?;
        let spec = &repository.spec;
        let way = way(
            given,
            namespace,
            spec.secret_ref.as_ref(),
            spec.cert_secret_ref.as_ref(),
        )
        .await?;
        let is_oci = spec.kind == Some(HelmRepositoryType::Oci) || spec.url.starts_with("oci://");
        let way = Way {
            insecure: spec.insecure && is_oci,
            pass_credentials: spec.pass_credentials,
            ..way
        };
        let chart = match is_oci {
            true => {
                let url = format!("{}/{}", spec.url.trim_end_matches('/'), wanted.chart);
                let version = if wanted.version == "*" {
                    ""
                } else {
                    wanted.version.as_str()
                };
                from_registry(&url, version, &way, timeout).await?.chart
            }
            false => from_repository(&spec.url, &wanted.chart, &wanted.version, &way, timeout).await?,
        };
        let files = chart.clone();
        return with_values_files(chart, wanted, |name| {
            let file = files
                .files
                .iter()
                .find(|file| file.name == name.trim_start_matches("./"));
            Ok(file.map(|file| file.data.to_vec()))
        });
    }
    let key = format!("{kind}/{namespace}/{name}");
    let Some((_, folder)) = arguments.local_sources.iter().find(|(source, _)| *source == key) else {
        return Err(advised(
            format!("its chart comes from {key}, whose directory is not known"),
            format!("name it with --local-sources {key}=./path, or the chart with --chart"),
        ));
    };
    // A path like "/charts" or "./charts" is one below the source.
    let path = folder.join(wanted.chart.trim_start_matches("./").trim_start_matches('/'));
    let chart = complete(read_chart(&path)?, path.is_dir().then_some(&path), timeout).await?;
    with_values_files(chart, wanted, |name| {
        match std::fs::read(folder.join(name.trim_start_matches("./").trim_start_matches('/'))) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}

/// Files of `valuesFiles` in place of the chart's own values.
fn with_values_files(
    mut chart: Chart,
    wanted: &Wanted,
    read: impl Fn(&str) -> Result<Option<Vec<u8>>>,
) -> Result<Chart> {
    if wanted.values_files.is_empty() {
        return Ok(chart);
    }
    let mut merged = Values::new();
    for name in &wanted.values_files {
        let values = match read(name).with_context(|| format!("reading values file {name:?}"))? {
            Some(text) => load_values(&text).with_context(|| format!("values file {name:?}"))?,
            None if name == "values.yaml" => chart.values.clone(),
            None if wanted.ignore_missing => continue,
            None => bail!("values file {name:?} was not found"),
        };
        merge_maps(&mut merged, values);
    }
    chart.values = merged;
    Ok(chart)
}

async fn from_oci(given: &Given<'_>, found: &OCIRepository, namespace: &str, timeout: Duration) -> Result<Fetched> {
    let spec = &found.spec;
    let way = way(
        given,
        namespace,
        spec.secret_ref.as_ref(),
        spec.cert_secret_ref.as_ref(),
    )
    .await?;
    let way = Way {
        insecure: spec.insecure,
        ..way
    };
    let reference = spec.reference.clone().unwrap_or_default();
    if !reference.semver_filter.is_empty() {
        return Err(advised(
            format!("OCIRepository {namespace}: spec.ref.semverFilter is not looked at here"),
            "name the chart with --chart",
        ));
    }
    let (url, version) = match (
        reference.digest.as_str(),
        reference.semver.as_str(),
        reference.tag.as_str(),
    ) {
        (digest, _, _) if !digest.is_empty() => (format!("{}@{digest}", spec.url), ""),
        (_, range, _) if !range.is_empty() => (spec.url.clone(), range),
        (_, _, "") => (format!("{}:latest", spec.url), ""),
        (_, _, tag) => (format!("{}:{tag}", spec.url), ""),
    };
    let pulled = from_registry(&url, version, &way, timeout).await?;
    Ok(Fetched {
        chart: pulled.chart,
        revision: pulled.revision,
    })
}

/// User, password and certificates from the Secrets that a source names.
async fn way(
    given: &Given<'_>,
    namespace: &str,
    secret: Option<&LocalRef>,
    certificates: Option<&LocalRef>,
) -> Result<Way> {
    let mut way = Way::default();
    let secret_data = async |reference: &LocalRef| {
        let found = given
            .find(&Gvk::new("v1", "Secret"), namespace, &reference.name)
            .await?;
        let found = found.ok_or_else(|| anyhow!("Secret {namespace}/{} was not found", reference.name))?;
        values::data(&found).with_context(|| format!("Secret {namespace}/{}", reference.name))
    };
    if let Some(reference) = secret {
        let data = secret_data(reference).await?;
        let text = |key: &str| data.get(key).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        way.basic = text("username").map(|username| BasicAuth {
            username,
            password: SecretText::new(text("password").unwrap_or_default()),
        });
        if way.basic.is_none() {
            return Err(advised(
                format!("Secret {namespace}/{} has no key \"username\"", reference.name),
                "log in with `helm registry login` and name the chart with --chart oci://…",
            ));
        }
    }
    if let Some(reference) = certificates {
        let data = secret_data(reference).await?;
        way.tls = TlsOptions::from_certificate_secret(&data)
            .with_context(|| format!("Secret {namespace}/{}", reference.name))?;
    }
    Ok(way)
}
