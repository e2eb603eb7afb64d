//! Fetching an index, and storing it as JSON. Neither the text nor the JSON is ever held as a whole.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Seek, SeekFrom},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nave_chart_repo::{Access, ChartRepoError, Converted, IndexError, convert};
use nave_crds::{
    HelmRepository,
    conditions::{FETCH_FAILED, STORAGE_OPERATION_FAILED},
    reasons::{self, source as source_reasons},
    source::HelmRepositorySpec,
};
use nave_net::{BasicAuth, TlsOptions};
use nave_runtime::Severity;

use super::HelmRepositorySteps;
use crate::{
    common::{Common, artifact, not_stored, refused},
    failure::{Failure, Retry, chain},
    reconciler::{Done, Told, Work},
    source::Source,
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
const LINK: &str = "index.yaml";

impl HelmRepositorySteps {
    /// From the object to an artifact. The draft is left as far as it got.
    pub(super) async fn reconcile(
        &self,
        common: &Common<HelmRepository>,
        object: &HelmRepository,
        work: &mut Work<HelmRepository>,
    ) -> Result<Done, Failure> {
        common.check_stored(object, work).await?;
        let spec = &object.spec;
        if spec.url.starts_with("oci://") {
            return Err(url_failure("spec.url: an oci address needs 'type: oci'".to_owned()));
        }
        let access = access(common, &work.namespace, spec).await?;
        let remote = self.repositories.open(&spec.url, access).map_err(fetch_failure)?;
        let scratch = common.store.scratch().await.map_err(|error| {
            Failure::new(
                Retry::Backoff,
                STORAGE_OPERATION_FAILED,
                source_reasons::DIRECTORY_CREATION_FAILED,
                format!("making a file for the index: {error}"),
            )
        })?;
        let mut file = tokio::fs::File::from_std(scratch);
        let timeout = spec.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.get());
        let fetching = remote.fetch_index(&mut file, common.options.helm_index_max_size, timeout);
        let fetched = common
            .with_progress(object, work, fetching)
            .await
            .map_err(fetch_failure)?;
        let revision = fetched.digest.to_string();
        let is_current = work
            .draft
            .status
            .artifact
            .as_ref()
            .is_some_and(|artifact| artifact.revision == revision);
        if is_current {
            if work.is_asked {
                let message = format!("artifact up-to-date with remote revision: '{revision}'");
                let reason = source_reasons::ARTIFACT_UP_TO_DATE;
                common.record(object, Severity::Trace, reason, &message, BTreeMap::new());
            }
            relink(common, object, work).await;
            return Ok(Done::UpToDate);
        }
        work.draft.outdated(
            source_reasons::NEW_REVISION,
            &format!("new index revision '{revision}'"),
        );
        let file = file.into_std().await;
        let name = format!("index-{}.yaml", fetched.digest.hex());
        let owner = work.owner.clone();
        let storing = async {
            let result: Arc<Mutex<Option<Result<Converted, IndexError>>>> = Arc::default();
            let slot = result.clone();
            let stored = common
                .store
                .put_with(&owner, &name, move |mut json| {
                    let converted = rewound(file)
                        .map_err(IndexError::Write)
                        .and_then(|file| convert(file, &mut json));
                    let failed = converted.is_err();
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(converted);
                    // The half-written file goes; why is in the slot.
                    if failed {
                        Err(io::Error::other("the index cannot be used"))
                    } else {
                        Ok(())
                    }
                })
                .await;
            let converted = result.lock().unwrap_or_else(PoisonError::into_inner).take();
            match (stored, converted) {
                (Ok(stored), Some(Ok(converted))) => Ok((stored, converted)),
                (Err(error), None | Some(Ok(_)) | Some(Err(IndexError::Write(_)))) => Err(not_stored(&error)),
                (_, Some(Err(error))) => Err(index_failure(&error)),
                (Ok(_), None) => unreachable!("what is stored was converted"),
            }
        };
        let (stored, converted): (_, Converted) = common.with_progress(object, work, storing).await?;
        if !converted.dropped.is_empty() {
            let message = format!(
                "versions that cannot be used are left out: {}",
                converted.dropped.join("; ")
            );
            common.record(
                object,
                Severity::Trace,
                source_reasons::INDEXATION_FAILED,
                &message,
                BTreeMap::new(),
            );
        }
        work.draft.stored(artifact(stored, revision, BTreeMap::new()));
        relink(common, object, work).await;
        Ok(Done::Stored(Told {
            reason: source_reasons::NEW_ARTIFACT,
            message: format!(
                "stored fetched index of size {} from '{}'",
                human_size(fetched.size),
                nave_net::redact(&spec.url)
            ),
        }))
    }
}

async fn relink(common: &Common<HelmRepository>, object: &HelmRepository, work: &mut Work<HelmRepository>) {
    let path = work
        .draft
        .status
        .artifact
        .as_ref()
        .map(|artifact| artifact.path.clone());
    if let Some(file) = path.as_deref().and_then(|path| path.rsplit('/').next()) {
        work.draft.status.url = common.link(object, &work.owner, LINK, file).await;
    }
}

/// The way into a repository over http, from the Secrets that it names. TLS settings in `secretRef` count where there is
/// no `certSecretRef`, as in older versions of Flux.
pub(crate) async fn access<K: Source>(
    common: &Common<K>,
    namespace: &str,
    spec: &HelmRepositorySpec,
) -> Result<Access, Failure> {
    let mut access = Access {
        tls: common.certificates(namespace, spec.cert_secret_ref.as_ref()).await?,
        pass_credentials: spec.pass_credentials,
        basic: None,
    };
    if let Some(secret) = common.secret(namespace, "secretRef", spec.secret_ref.as_ref()).await? {
        let wrong = |error: &(dyn std::error::Error + 'static)| {
            refused(format!("spec.secretRef: secret '{}': {}", secret.name, chain(error)))
        };
        access.basic = BasicAuth::from_secret(&secret.data).map_err(|error| wrong(&error))?;
        if spec.cert_secret_ref.is_none() {
            access.tls = TlsOptions::from_secret(&secret.data)
                .and_then(|options| options.client_config().map(|_| options))
                .map_err(|error| wrong(&error))?;
        }
    }
    Ok(access)
}

fn rewound(mut file: File) -> io::Result<BufReader<File>> {
    file.seek(SeekFrom::Start(0))?;
    Ok(BufReader::new(file))
}

fn url_failure(message: String) -> Failure {
    Failure::new(Retry::Stalled, FETCH_FAILED, source_reasons::URL_INVALID, message)
}

fn fetch_failure(error: ChartRepoError) -> Failure {
    if let ChartRepoError::Url { .. } = error {
        return url_failure(format!("spec.url: {error}"));
    }
    let message = format!("failed to fetch Helm repository index: {}", chain(&error));
    Failure::new(Retry::Backoff, FETCH_FAILED, reasons::FAILED, message)
}

fn index_failure(error: &IndexError) -> Failure {
    let message = format!("failed to load Helm repository from index YAML: {}", chain(error));
    Failure::new(Retry::Backoff, FETCH_FAILED, source_reasons::INDEXATION_FAILED, message)
}

/// Four digits and a decimal unit, as Docker's `units.HumanSize` writes it: `40.28kB`.
fn human_size(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB"].iter();
    let mut unit = units.next().expect("there is a first unit");
    for larger in units {
        if size < 1000.0 {
            break;
        }
        size /= 1000.0;
        unit = larger;
    }
    let whole = size.trunc().to_string().len();
    let digits = 4_usize.saturating_sub(whole);
    let text = format!("{size:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, expected) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (40_283, "40.28kB"),
            (1_234_567, "1.235MB"),
            (52_428_800, "52.43MB"),
        ] {
            assert_eq!(human_size(bytes), expected);
        }
    }
}
