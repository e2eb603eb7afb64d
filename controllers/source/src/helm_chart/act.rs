//! Doing what the plan says: find the source, fetch or package the chart, store it.

use std::{collections::BTreeMap, time::Duration};

use nave_artifact::{Digest, FileTree};
use nave_crds::{
    Artifact, HelmChart,
    conditions::{BUILD_FAILED, FETCH_FAILED, STORAGE_OPERATION_FAILED},
    reasons::source as reasons,
};
use nave_runtime::Severity;
use nave_version::Version;
use serde_json::Map;

use super::{
    HelmChartSteps,
    fetch::{self, Found, is_oci, pull_failure},
    package::{Chart, ChartLimits, PackageError, join, merge, read_map},
    plan::{self, package_failure, summary, values_files},
};
use crate::{
    common::{Common, artifact, not_stored},
    failure::{Failure, Retry, chain},
    reconciler::{Done, Told, Work},
    verification,
};

const LATEST: &str = "latest.tar.gz";

/// A chart ready to be stored.
struct Built {
    name: String,
    version: String,
    data: Vec<u8>,
    is_packaged: bool,
    values_files: Vec<String>,
    dependencies: usize,
}

impl HelmChartSteps {
    /// From the object to an artifact. The draft is left as far as it got.
    pub(super) async fn reconcile(
        &self,
        common: &Common<HelmChart>,
        object: &HelmChart,
        work: &mut Work<HelmChart>,
    ) -> Result<Done, Failure> {
        common.check_stored(object, work).await?;
        plan::check(&object.spec)?;
        let built = match object.spec.source_ref.kind.as_str() {
            "HelmRepository" => self.build_from_repository(common, object, work).await?,
            _ => self.build_from_folder(common, object, work).await?,
        };
        let Some(built) = built else {
            if work.is_asked {
                let revision = work.draft.status.artifact.as_ref().map_or("", |a| a.revision.as_str());
                let message = format!("artifact up-to-date with remote revision: '{revision}'");
                let reason = reasons::ARTIFACT_UP_TO_DATE;
                common.record(object, Severity::Trace, reason, &message, BTreeMap::new());
            }
            work.draft.in_storage_as_before();
            relink(common, object, work).await;
            return Ok(Done::UpToDate);
        };
        let says = |action: &str| {
            summary(
                action,
                &built.name,
                &built.version,
                &built.values_files,
                built.dependencies,
            )
        };
        work.draft.outdated(reasons::NEW_CHART, &says("new"));
        let (reason, message) = if built.is_packaged {
            (reasons::CHART_PACKAGE_SUCCEEDED, says("packaged"))
        } else {
            (reasons::CHART_PULL_SUCCEEDED, says("pulled"))
        };
        let file = format!("{}-{}.tgz", built.name, built.version);
        let owner = work.owner.clone();
        let stored = common
            .store
            .put(&owner, &file, built.data)
            .await
            .map_err(|error| not_stored(&error))?;
        work.draft.stored(artifact(stored, built.version, BTreeMap::new()));
        work.draft.status.observed_chart_name = built.name;
        work.draft.status.observed_values_files = if object.spec.ignore_missing_values_files {
            built.values_files
        } else {
            Vec::new()
        };
        work.draft.in_storage(reason, message.clone());
        relink(common, object, work).await;
        Ok(Done::Stored(Told { reason, message }))
    }

    /// A chart of a repository; none when what is stored is current.
    async fn build_from_repository(
        &self,
        common: &Common<HelmChart>,
        object: &HelmChart,
        work: &mut Work<HelmChart>,
    ) -> Result<Option<Built>, Failure> {
        let namespace = work.namespace.clone();
        let name = &object.spec.source_ref.name;
        let repository = self
            .helm_repositories
            .get(&namespace, name)
            .ok_or_else(|| unavailable("HelmRepository", name))?;
        let found = if is_oci(&repository) {
            let finding = self.find_in_registry(common, &namespace, object, &repository);
            common.with_progress(object, work, finding).await?
        } else {
            let artifact = repository
                .status
                .as_ref()
                .and_then(|status| status.artifact.clone())
                .ok_or_else(|| no_artifact("HelmRepository", name))?;
            work.draft.status.observed_source_artifact_revision = artifact.revision.clone();
            self.find_in_index(common, &namespace, object, &repository, &artifact)
                .await?
        };
        let generation = object.metadata.generation.unwrap_or_default();
        let files = values_files(&object.spec);
        let metadata = (!files.is_empty()).then(|| generation.to_string());
        let version = with_metadata(found.version(), metadata.as_deref())?;
        let chart_name = object.spec.chart.rsplit('/').next().unwrap_or_default();
        let timeout = fetch::timeout(&repository);
        let is_current = is_current(work, chart_name, &version);
        let mut digest = None;
        match &object.spec.verification {
            None => {}
            Some(_) if is_current && work.draft.was_verified() => work.draft.still_verified(),
            Some(verification) => {
                digest = self
                    .verify(common, object, work, &found, verification.into(), timeout)
                    .await?;
            }
        }
        if is_current {
            return Ok(None);
        }
        let limits = limits(common);
        let fetching = found.fetch(digest, limits.package, timeout);
        let data = common.with_progress(object, work, fetching).await?;
        let wanted = Wanted {
            chart: chart_name.to_owned(),
            version: found.version().to_owned(),
            metadata,
            files: files.to_vec(),
            ignore_missing: object.spec.ignore_missing_values_files,
            limits,
        };
        if let Found::Oci { .. } = found {
            work.draft.status.observed_source_artifact_revision.clear();
        }
        blocking(move || from_package(data, wanted)).await.map(Some)
    }

    /// The digest of a chart whose signature holds.
    async fn verify(
        &self,
        common: &Common<HelmChart>,
        object: &HelmChart,
        work: &mut Work<HelmChart>,
        found: &Found,
        wanted: verification::Wanted<'_>,
        timeout: Duration,
    ) -> Result<Option<Digest>, Failure> {
        let Some((remote, digest)) = found.resolve(timeout).await? else {
            return Err(Failure::new(
                Retry::Stalled,
                BUILD_FAILED,
                reasons::CHART_VERIFICATION_ERROR,
                format!(
                    "spec.verify: HelmRepository '{}' is not of type 'oci', and only charts of registries are signed",
                    object.spec.source_ref.name
                ),
            ));
        };
        let namespace = work.namespace.clone();
        let verifying = common.verify(&namespace, wanted, remote, &digest, timeout);
        match common.with_progress(object, work, verifying).await {
            Ok(signer) => {
                if signer.is_some() {
                    let message = format!("verified signature of version {}", found.version());
                    work.draft.verified(&message);
                }
                Ok(Some(digest))
            }
            Err(failure) => {
                let message = format!("chart verification error: {}", failure.message);
                let reason = reasons::CHART_VERIFICATION_ERROR;
                work.draft.unverified(reason, &message);
                Err(Failure::new(failure.retry, BUILD_FAILED, reason, message))
            }
        }
    }

    /// A chart of a folder or file of another source; none when what is stored is current.
    async fn build_from_folder(
        &self,
        common: &Common<HelmChart>,
        object: &HelmChart,
        work: &mut Work<HelmChart>,
    ) -> Result<Option<Built>, Failure> {
        let (kind, name) = (object.spec.source_ref.kind.clone(), &object.spec.source_ref.name);
        let artifact = match kind.as_str() {
            "Bucket" => self
                .buckets
                .as_ref()
                .and_then(|buckets| buckets.get(&work.namespace, name))
                .map(|source| source.status.as_ref().and_then(|status| status.artifact.clone())),
            _ => self
                .git_repositories
                .get(&work.namespace, name)
                .map(|source| source.status.as_ref().and_then(|status| status.artifact.clone())),
        };
        let source: Artifact = artifact
            .ok_or_else(|| unavailable(&kind, name))?
            .ok_or_else(|| no_artifact(&kind, name))?;
        work.draft.status.observed_source_artifact_revision = source.revision.clone();
        let unreadable = |text: String| {
            Failure::new(
                Retry::Waiting,
                FETCH_FAILED,
                reasons::SOURCE_UNAVAILABLE,
                format!("the artifact of {kind} '{name}' cannot be read: {text}"),
            )
        };
        let digest = source
            .digest
            .parse()
            .map_err(|error: nave_artifact::DigestError| unreadable(error.to_string()))?;
        let tree = common
            .store
            .tree(&source.path, &digest)
            .await
            .map_err(|error| unreadable(chain(&error)))?;
        let generation = object.metadata.generation.unwrap_or_default();
        let wanted = Wanted {
            chart: object.spec.chart.clone(),
            version: String::new(),
            metadata: plan::version_metadata(&object.spec, &source.revision, generation),
            files: values_files(&object.spec).to_vec(),
            ignore_missing: object.spec.ignore_missing_values_files,
            limits: limits(common),
        };
        let built = blocking(move || from_tree(&tree, wanted)).await?;
        Ok(if is_current(work, &built.name, &built.version) {
            None
        } else {
            Some(built)
        })
    }
}

/// What is to be made of files.
struct Wanted {
    /// Name of the chart, or its path in the source.
    chart: String,
    version: String,
    metadata: Option<String>,
    files: Vec<String>,
    ignore_missing: bool,
    limits: ChartLimits,
}

/// From a package of a repository: as it is, or with other values.
fn from_package(data: Vec<u8>, wanted: Wanted) -> Result<Built, Failure> {
    let mut chart =
        Chart::from_package(&data, wanted.limits).map_err(|error| pull_failure(false, error.to_string()))?;
    if chart.name != wanted.chart || !is_same_version(&chart.version, &wanted.version) {
        return Err(pull_failure(
            false,
            format!(
                "the package is of chart '{}' with version '{}', the repository says '{}' with version '{}'",
                chart.name, chart.version, wanted.chart, wanted.version
            ),
        ));
    }
    let dependencies = 0;
    let Some(metadata) = &wanted.metadata else {
        return Ok(Built {
            name: chart.name,
            version: wanted.version,
            data,
            is_packaged: false,
            values_files: Vec::new(),
            dependencies,
        });
    };
    let own = chart.clone();
    let merged = merged_values(&wanted, |path| {
        let path = join("", path).ok_or_else(|| format!("path '{path}' leads out of the chart"))?;
        Ok(own.values_file(&path).cloned())
    })
    .map_err(package_failure)?;
    let mut repack = || {
        chart.set_version_metadata(metadata)?;
        chart.set_values(&merged.0)?;
        chart.pack(wanted.limits)
    };
    let data = repack().map_err(package_failure)?;
    Ok(Built {
        version: chart.version.to_string(),
        name: chart.name,
        data,
        is_packaged: true,
        values_files: merged.1,
        dependencies,
    })
}

/// From a folder, or a package, in the artifact of another source.
fn from_tree(tree: &FileTree, wanted: Wanted) -> Result<Built, Failure> {
    let path = join("", &wanted.chart).ok_or_else(|| {
        package_failure(PackageError::Reference(format!(
            "path '{}' leads out of the source",
            wanted.chart
        )))
    })?;
    let package = tree.get(&path);
    if package.is_none() && !tree.is_dir(&path) {
        return Err(package_failure(PackageError::Reference(format!(
            "no such file or directory: '{path}'"
        ))));
    }
    let mut chart = match package {
        Some(package) => Chart::from_package(&package.data, wanted.limits),
        None => Chart::from_folder(tree, &path, wanted.limits),
    }
    .map_err(package_failure)?;
    let mut merged = (Map::new(), Vec::new());
    if !wanted.files.is_empty() {
        merged = merged_values(&wanted, |path| {
            let path = join("", path).ok_or_else(|| format!("path '{path}' leads out of the source"))?;
            Ok(tree.get(&path).cloned())
        })
        .map_err(package_failure)?;
    }
    let dependencies = chart.dependencies().0;
    let mut make = || -> Result<(Vec<u8>, bool), PackageError> {
        if let Some(metadata) = &wanted.metadata {
            chart.set_version_metadata(metadata)?;
        }
        if !wanted.files.is_empty() {
            chart.set_values(&merged.0)?;
        }
        match package {
            Some(package) if !chart.is_changed() => Ok((package.data.to_vec(), false)),
            _ => Ok((chart.pack(wanted.limits)?, true)),
        }
    };
    let (data, is_packaged) = make().map_err(package_failure)?;
    Ok(Built {
        version: chart.version.to_string(),
        name: chart.name,
        data,
        is_packaged,
        values_files: merged.1,
        dependencies: if is_packaged { dependencies } else { 0 },
    })
}

/// All values files as one map, and which of them there were.
fn merged_values(
    wanted: &Wanted,
    read: impl Fn(&str) -> Result<Option<nave_artifact::File>, String>,
) -> Result<(Map<String, serde_json::Value>, Vec<String>), PackageError> {
    let mut merged = Map::new();
    let mut found = Vec::new();
    for path in &wanted.files {
        match read(path).map_err(PackageError::Values)? {
            Some(file) => {
                merge(&mut merged, read_map(path, &file).map_err(PackageError::Values)?);
                found.push(path.clone());
            }
            None if wanted.ignore_missing => {}
            None => return Err(PackageError::Values(format!("no values file found at path '{path}'"))),
        }
    }
    Ok((merged, found))
}

fn is_same_version(packed: &Version, listed: &str) -> bool {
    packed.original() == listed || Version::parse(listed).is_ok_and(|listed| listed.to_string() == packed.to_string())
}

fn with_metadata(version: &str, metadata: Option<&str>) -> Result<String, Failure> {
    let Some(metadata) = metadata else {
        return Ok(version.to_owned());
    };
    let wrong = |text: String| package_failure(PackageError::Reference(format!("version '{version}': {text}")));
    Version::parse(version)
        .and_then(|version| version.with_metadata(metadata))
        .map(|version| version.to_string())
        .map_err(|error| wrong(error.to_string()))
}

/// A new spec always makes a new artifact; else name and version decide.
fn is_current(work: &Work<HelmChart>, name: &str, version: &str) -> bool {
    let status = &work.draft.status;
    !work.draft.is_new_generation()
        && name == status.observed_chart_name
        && status
            .artifact
            .as_ref()
            .is_some_and(|artifact| artifact.revision == version)
}

fn limits(common: &Common<HelmChart>) -> ChartLimits {
    ChartLimits {
        package: common.options.helm_chart_max_size,
        file: common.options.helm_chart_file_max_size,
    }
}

async fn relink(common: &Common<HelmChart>, object: &HelmChart, work: &mut Work<HelmChart>) {
    let path = work
        .draft
        .status
        .artifact
        .as_ref()
        .map(|artifact| artifact.path.clone());
    if let Some(file) = path.as_deref().and_then(|path| path.rsplit('/').next()) {
        work.draft.status.url = common.link(object, &work.owner, LATEST, file).await;
    }
}

/// Packing compresses, which takes a while.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Failure::new(
            Retry::Backoff,
            STORAGE_OPERATION_FAILED,
            reasons::ARCHIVE_OPERATION_FAILED,
            format!("packaging the chart: {error}"),
        ))
    })
}

fn unavailable(kind: &str, name: &str) -> Failure {
    Failure::new(
        Retry::Waiting,
        FETCH_FAILED,
        reasons::SOURCE_UNAVAILABLE,
        format!("failed to get source: {kind} '{name}' not found"),
    )
}

fn no_artifact(kind: &str, name: &str) -> Failure {
    Failure::new(
        Retry::Waiting,
        FETCH_FAILED,
        reasons::NO_SOURCE_ARTIFACT,
        format!("no artifact available for {kind} source '{name}'"),
    )
}
