//! Finding a chart's version in its repository, and fetching its package.

use std::time::Duration;

use nave_artifact::Digest;
use nave_chart_repo::{ChartRepoError, ChartVersion, FindError, choose, find};
use nave_crds::{
    Artifact, HelmChart, HelmRepository,
    conditions::FETCH_FAILED,
    reasons::source as reasons,
    source::{HelmRepositoryType, OciProvider},
};
use nave_oci::{Descriptor, OciError, Remote, Repository, media_type};
use nave_version::{Range, Version, sort_descending};

use super::HelmChartSteps;
use crate::{
    cloud_login::Whose,
    common::Common,
    failure::{Failure, Retry, chain},
    helm_repository,
    oci_access::Ways,
};

/// A version that was found, not fetched yet.
pub(crate) enum Found {
    Http {
        remote: nave_chart_repo::Remote,
        chart: ChartVersion,
    },
    Oci {
        remote: Remote,
        tag: String,
        version: String,
    },
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

impl Found {
    /// The version as the repository has it.
    pub fn version(&self) -> &str {
        match self {
            Found::Http { chart, .. } => &chart.version,
            Found::Oci { version, .. } => version,
        }
    }

    /// Registry and digest of the chart's manifest; none for what an index has.
    pub async fn resolve(&self, timeout: Duration) -> Result<Option<(&Remote, Digest)>, Failure> {
        match self {
            Found::Http { .. } => Ok(None),
            Found::Oci { remote, tag, .. } => {
                let failed = |error: OciError| pull_failure(error.is_access(), chain(&error));
                let resolved = remote.resolve(tag, timeout).await.map_err(failed)?;
                Ok(Some((remote, resolved.digest)))
            }
        }
    }

    /// The package. `digest` is the one that was verified: what else the tag may stand for by now is not fetched.
    pub async fn fetch(&self, digest: Option<Digest>, limit: u64, timeout: Duration) -> Result<Vec<u8>, Failure> {
        match self {
            Found::Http { remote, chart } => {
                let mut data = Vec::new();
                remote
                    .fetch_chart(chart, &mut data, limit, timeout)
                    .await
                    .map_err(|error| pull_failure(error.is_access(), chain(&error)))?;
                Ok(data)
            }
            Found::Oci { remote, tag, .. } => {
                let failed = |error: OciError| pull_failure(error.is_access(), chain(&error));
                let digest = match digest {
                    Some(digest) => digest,
                    None => remote.resolve(tag, timeout).await.map_err(failed)?.digest,
                };
                let pulled = remote.manifest(&digest, timeout).await.map_err(failed)?;
                let layer: &Descriptor = pulled
                    .manifest
                    .layers
                    .iter()
                    .find(|layer| layer.media_type == media_type::HELM_CHART)
                    .ok_or_else(|| {
                        pull_failure(
                            false,
                            format!(
                                "manifest {} has no layer of type {}",
                                pulled.digest,
                                media_type::HELM_CHART
                            ),
                        )
                    })?;
                remote.blob(layer, limit, timeout).await.map_err(failed)
            }
        }
    }
}

/// `spec.timeout` of a repository.
pub(crate) fn timeout(repository: &HelmRepository) -> Duration {
    repository.spec.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.get())
}

/// Whether the repository stands for a registry.
pub(crate) fn is_oci(repository: &HelmRepository) -> bool {
    repository.spec.kind == Some(HelmRepositoryType::Oci)
}

impl HelmChartSteps {
    /// The version that the spec asks for, in the stored index of a repository.
    pub(super) async fn find_in_index(
        &self,
        common: &Common<HelmChart>,
        namespace: &str,
        object: &HelmChart,
        repository: &HelmRepository,
        artifact: &Artifact,
    ) -> Result<Found, Failure> {
        let unreadable = |text: String| {
            Failure::new(
                Retry::Waiting,
                FETCH_FAILED,
                reasons::SOURCE_UNAVAILABLE,
                format!(
                    "the index of HelmRepository '{}' cannot be read: {text}",
                    object.spec.source_ref.name
                ),
            )
        };
        let file = common
            .store
            .open_file(&artifact.path)
            .await
            .map_err(|error| unreadable(chain(&error)))?;
        let name = object.spec.chart.clone();
        let versions = tokio::task::spawn_blocking(move || find(file, &name))
            .await
            .map_err(|error| unreadable(error.to_string()))?
            .map_err(|error: FindError| unreadable(chain(&error)))?;
        let missing = |text: String| reference_failure(Retry::Stalled, text);
        let name = &object.spec.chart;
        let versions =
            versions.ok_or_else(|| missing(format!("no chart name found: chart '{name}' is not in the index")))?;
        let chart = choose(name, &versions, &object.spec.version).map_err(missing)?.clone();
        let access = helm_repository::access(common, namespace, &repository.spec).await?;
        let remote = self
            .repositories
            .open(&repository.spec.url, access)
            .map_err(|error: ChartRepoError| pull_failure(error.is_access(), chain(&error)))?;
        Ok(Found::Http { remote, chart })
    }

    /// The version that the spec asks for, in a registry.
    pub(super) async fn find_in_registry(
        &self,
        common: &Common<HelmChart>,
        namespace: &str,
        object: &HelmChart,
        repository: &HelmRepository,
    ) -> Result<Found, Failure> {
        let spec = &repository.spec;
        let place = Repository::from_url(spec.url.trim_end_matches('/'))
            .and_then(|place| place.join(&object.spec.chart))
            .or_else(|_| Repository::from_url(&format!("{}/{}", spec.url.trim_end_matches('/'), object.spec.chart)))
            .map_err(|error| {
                Failure::new(
                    Retry::Stalled,
                    FETCH_FAILED,
                    reasons::URL_INVALID,
                    format!("HelmRepository '{}': spec.url: {error}", object.spec.source_ref.name),
                )
            })?;
        let ways = Ways {
            secret: spec.secret_ref.as_ref(),
            service_account: "",
            certificates: spec.cert_secret_ref.as_ref(),
            proxy: None,
            insecure: spec.insecure,
            takes_basic: true,
        };
        let mut found = common.registry_access(namespace, &place, ways).await?;
        let provider = spec.provider.unwrap_or_default();
        if provider != OciProvider::Generic && !found.names_credentials {
            // As in Flux, a HelmRepository names no account.
            let field = format!("HelmRepository '{}': spec.provider", object.spec.source_ref.name);
            let login = common.cloud_login(&field, object, provider, Whose::Process, place.registry());
            found.access.credentials = login.await?;
        }
        let failed = |error: OciError| pull_failure(error.is_access(), chain(&error));
        let remote = self.registries.open(&place, found.access).map_err(failed)?;
        let wanted = object.spec.version.as_str();
        // As in Flux, a whole version is not looked for among the tags.
        if Version::parse_strict(wanted).is_ok() {
            return Ok(Found::Oci {
                tag: wanted.replace('+', "_"),
                version: wanted.to_owned(),
                remote,
            });
        }
        let tags = remote.tags(timeout(repository)).await.map_err(failed)?;
        let version = choose_tag(&object.spec.chart, &tags, wanted)
            // Unlike an index, a registry tells nobody when there is more: so it is asked again.
            .map_err(|text| reference_failure(Retry::Backoff, text))?;
        Ok(Found::Oci {
            tag: version.replace('+', "_"),
            version,
            remote,
        })
    }
}

/// The highest version within a range; registries have `_` where versions have `+`.
fn choose_tag(chart: &str, tags: &[String], wanted: &str) -> Result<String, String> {
    let wanted = if wanted.is_empty() { "*" } else { wanted };
    let range =
        Range::parse(wanted).map_err(|error| format!("version '{wanted}' of chart '{chart}': {}", chain(&error)))?;
    let versions: Vec<String> = tags.iter().map(|tag| tag.replace('_', "+")).collect();
    sort_descending(Some(&range), versions.iter().map(String::as_str))
        .first()
        .map(|version| (*version).to_owned())
        .ok_or_else(|| format!("no '{chart}' chart with version matching '{wanted}' found"))
}

fn reference_failure(retry: Retry, text: String) -> Failure {
    Failure::new(
        retry,
        FETCH_FAILED,
        reasons::INVALID_CHART_REFERENCE,
        format!("invalid chart reference: failed to get chart version for remote reference: {text}"),
    )
}

pub(crate) fn pull_failure(is_access: bool, text: String) -> Failure {
    let reason = if is_access {
        reasons::AUTHENTICATION_FAILED
    } else {
        reasons::CHART_PULL_ERROR
    };
    let message = format!("chart pull error: failed to download chart for remote reference: {text}");
    Failure::new(Retry::Backoff, FETCH_FAILED, reason, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_versions() {
        let tags: Vec<String> = ["1.2.3", "1.10.0_build", "2.0.0-rc.1", "latest", "1.2"]
            .map(str::to_owned)
            .to_vec();
        assert_eq!(choose_tag("a", &tags, "").as_deref(), Ok("1.10.0+build"));
        assert_eq!(choose_tag("a", &tags, "~1.2").as_deref(), Ok("1.2.3"));
        assert_eq!(choose_tag("a", &tags, ">=2.0.0-0").as_deref(), Ok("2.0.0-rc.1"));
        assert_eq!(
            choose_tag("a", &tags, "3.x").unwrap_err(),
            "no 'a' chart with version matching '3.x' found"
        );
        assert!(
            choose_tag("a", &tags, "a range")
                .unwrap_err()
                .starts_with("version 'a range' of chart 'a': ")
        );
    }
}
