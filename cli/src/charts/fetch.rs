//! One chart from a repository or a registry.

use std::{io::Cursor, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use nave_chart::{Chart, LoadLimits, load_archive};
use nave_chart_repo::{ChartVersion, Repositories, choose, convert, find};
use nave_net::{BasicAuth, TlsOptions};
use nave_oci::{Access, Credentials, Registries, Repository, media_type};
use nave_version::Version;

use crate::{failure::advised, registry};

/// Limits of Flux's source-controller: bytes of an index, and of a package.
const MAX_INDEX: u64 = 50 << 20;
const MAX_CHART: u64 = 10 << 20;

/// How to get into a repository or registry.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// User and password; without, a registry gets those of `docker login` or `helm registry login`.
    pub basic: Option<BasicAuth>,
    /// More roots, and a client certificate.
    pub tls: TlsOptions,
    /// Allows plain HTTP and any certificate, for registries.
    pub insecure: bool,
    /// Sends the credentials to other hosts too.
    pub pass_credentials: bool,
}

/// A chart that the index of a repository names.
///
/// # Errors
/// The repository's, there is no such chart or version, or it is no chart.
pub async fn from_repository(url: &str, name: &str, wanted: &str, way: &Way, timeout: Duration) -> Result<Chart> {
    let remote = open(url, way)?;
    let shown = || format!("chart {name:?} of {}", remote.url());
    let mut index = Vec::new();
    remote.fetch_index(&mut index, MAX_INDEX, timeout).await?;
    let mut json = Vec::new();
    convert(Cursor::new(index), &mut json).with_context(|| format!("reading the index of {}", remote.url()))?;
    let versions = find(Cursor::new(json), name)
        .with_context(shown)?
        .ok_or_else(|| anyhow!("chart {name:?} is not in the index of {}", remote.url()))?;
    let version = choose(name, &versions, wanted)
        .map_err(anyhow::Error::msg)
        .with_context(shown)?;
    let mut package = Vec::new();
    remote.fetch_chart(version, &mut package, MAX_CHART, timeout).await?;
    loaded(&package).with_context(shown)
}

/// The chart at an address of its own.
///
/// # Errors
/// The server's, or it is no chart.
pub async fn from_address(url: &str, way: &Way, timeout: Duration) -> Result<Chart> {
    let remote = open(url, way)?;
    let package = ChartVersion {
        urls: vec![url.to_owned()],
        ..ChartVersion::default()
    };
    let mut bytes = Vec::new();
    remote.fetch_chart(&package, &mut bytes, MAX_CHART, timeout).await?;
    loaded(&bytes).with_context(|| remote.url().to_string())
}

fn open(url: &str, way: &Way) -> Result<nave_chart_repo::Remote> {
    let access = nave_chart_repo::Access {
        basic: way.basic.clone(),
        tls: way.tls.clone(),
        pass_credentials: way.pass_credentials,
    };
    if way.insecure {
        return Err(advised(
            "certificates of chart repositories are always checked",
            "name the certificate of the authority with --ca-file; --insecure-skip-tls-verify is for registries",
        ));
    }
    Ok(Repositories::default().open(url, access)?)
}

/// A chart of a registry, and what it was found as: `<tag>@<digest>`, or the digest alone.
pub struct Pulled {
    /// The chart.
    pub chart: Chart,
    /// As an OCIRepository has it in its artifact.
    pub revision: String,
}

/// The chart in a repository of a registry, `oci://host/path/chart` with or without a tag or digest.
///
/// # Errors
/// The registry's, there is no such version, or it is no chart.
pub async fn from_registry(url: &str, wanted: &str, way: &Way, timeout: Duration) -> Result<Pulled> {
    let (repository, reference) = Repository::from_url_with_reference(url)?;
    if let Some(tag) = reference.as_deref().filter(|reference| !reference.contains(':')) {
        ensure!(
            wanted.is_empty() || wanted.replace('+', "_") == tag,
            "{url} names the tag {tag}, and --version {wanted} another one"
        );
    }
    let credentials = match &way.basic {
        Some(basic) => Credentials::Basic(basic.clone()),
        None => registry::login(&repository)?,
    };
    let access = Access {
        credentials,
        tls: way.tls.clone(),
        insecure: way.insecure,
        ..Access::default()
    };
    let remote = Registries::default().open(&repository, access)?;
    let (tag, digest) = match reference {
        Some(digest) if digest.contains(':') => {
            let read = digest.parse();
            let digest = read.with_context(|| format!("{url} has a digest that cannot be read"))?;
            (None, digest)
        }
        Some(tag) => {
            let digest = remote.resolve(&tag, timeout).await?.digest;
            (Some(tag), digest)
        }
        None => {
            let tag = tag(&remote, repository.name(), wanted, timeout).await?;
            let digest = remote.resolve(&tag, timeout).await?.digest;
            (Some(tag), digest)
        }
    };
    let pulled = remote.manifest(&digest, timeout).await?;
    let layers = &pulled.manifest.layers;
    let layer = layers
        .iter()
        .find(|layer| layer.media_type == media_type::HELM_CHART)
        .ok_or_else(|| anyhow!("{url} is no chart: it has no layer of type {}", media_type::HELM_CHART))?;
    let package = remote.blob(layer, MAX_CHART, timeout).await?;
    Ok(Pulled {
        chart: loaded(&package).with_context(|| url.to_owned())?,
        revision: match tag {
            Some(tag) => format!("{tag}@{digest}"),
            None => digest.to_string(),
        },
    })
}

/// The tag of a version; registries have `_` where versions have `+`.
async fn tag(remote: &nave_oci::Remote, name: &str, wanted: &str, timeout: Duration) -> Result<String> {
    if Version::parse_strict(wanted).is_ok() {
        return Ok(wanted.replace('+', "_"));
    }
    let tags = remote.tags(timeout).await?;
    let versions: Vec<ChartVersion> = tags
        .iter()
        .map(|tag| ChartVersion {
            version: tag.replace('_', "+"),
            ..ChartVersion::default()
        })
        .filter(|one| Version::parse(&one.version).is_ok())
        .collect();
    let chosen = choose(name, &versions, wanted).map_err(anyhow::Error::msg)?;
    Ok(chosen.version.replace('+', "_"))
}

fn loaded(package: &[u8]) -> Result<Chart> {
    Ok(load_archive(package, &LoadLimits::default())?)
}
