//! What a HelmRelease would give, for those who only look at it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use kube::ResourceExt;
use nave_chart::{Capabilities, Chart, Lookup, ReleaseInfo, RenderLimits, RenderRequest, Rendered, Values};
use nave_crds::helm::{HelmRelease, ValuesKind};
use nave_object::Object;
use nave_release::{Ownership, objects};
use nave_targets::Target;
use tokio::runtime::Handle;

use crate::{
    act::{Failed, chain},
    capabilities::Known,
    documents::WebDocuments,
    lookup::ClusterLookup,
    post_render::PostRenderer,
    settings::place_of,
    tracked::with_digest,
    values,
};

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PreviewError(String);

impl From<Failed> for PreviewError {
    fn from(failed: Failed) -> Self {
        PreviewError(failed.message)
    }
}

/// Everything besides the HelmRelease that a preview depends on.
pub struct PreviewRequest {
    /// The chart, with its values files.
    pub chart: Chart,
    /// Revision of the artifact that the chart comes from, where `chartRef` names one; else empty.
    pub revision: String,
    /// The values, from [`preview_values`].
    pub values: Values,
    /// What the cluster can do, from [`cluster_capabilities`].
    pub capabilities: Capabilities,
    /// Whom the template function `lookup` asks; without, it finds nothing.
    pub target: Option<Arc<Target>>,
    /// Where random values come from.
    pub seed: [u8; 32],
    /// What `now` is.
    pub now: Timestamp,
}

/// What a HelmRelease gives.
pub struct ReleasePreview {
    /// Name of the release.
    pub name: String,
    /// Namespace of the release.
    pub namespace: String,
    /// Post-rendered, with common metadata and owner labels.
    pub rendered: Rendered,
}

impl ReleasePreview {
    /// The objects of the release, hooks apart, with what Helm writes on them when it applies them.
    ///
    /// # Errors
    /// A manifest is no object.
    pub fn objects(&self) -> Result<Vec<Object>, PreviewError> {
        let mut found = objects(&self.rendered.manifest(), &self.name).map_err(|error| PreviewError(chain(&error)))?;
        let ownership = Ownership {
            name: &self.name,
            namespace: &self.namespace,
        };
        found.iter_mut().for_each(|object| ownership.mark(object));
        Ok(found)
    }
}

/// Renders the next version of a release as its controller would.
///
/// # Errors
/// The chart does not render, or what it renders cannot be changed as the spec asks.
pub async fn preview_release(release: &HelmRelease, request: PreviewRequest) -> Result<ReleasePreview, PreviewError> {
    let kind = release.spec.chart_ref.as_ref().map_or("", |reference| &reference.kind);
    let chart = match request.revision.as_str() {
        "" => Arc::new(request.chart),
        revision => {
            with_digest(Arc::new(request.chart), kind, revision, false)
                .map_err(PreviewError)?
                .0
        }
    };
    let place = place_of(release);
    let released = release.status.as_ref().and_then(|status| status.history.first());
    let upgrade = release
        .spec
        .upgrade
        .as_ref()
        .is_some_and(|one| one.disable_schema_validation);
    let install = release
        .spec
        .install
        .as_ref()
        .is_some_and(|one| one.disable_schema_validation);
    let target = request.target.clone();
    let render = RenderRequest {
        release: ReleaseInfo {
            name: place.name.clone(),
            namespace: place.namespace.clone(),
            revision: released.map_or(1, |newest| newest.version + 1),
            is_upgrade: released.is_some(),
        },
        capabilities: request.capabilities,
        values: request.values,
        lookup: target.map(|target| {
            let runtime = Handle::current();
            Arc::new(ClusterLookup { target, runtime }) as Arc<dyn Lookup>
        }),
        resolve: None,
        schema_documents: Some(Arc::new(WebDocuments)),
        seed: request.seed,
        now: request.now,
        skip_schema_validation: if released.is_some() { upgrade } else { install },
        subchart_notes: false,
        limits: RenderLimits::default(),
    };
    let mut rendered = tokio::task::spawn_blocking(move || nave_chart::render(&chart, &render))
        .await
        .map_err(|_| PreviewError("rendering the chart panicked; please report this".to_owned()))?
        .map_err(|error| PreviewError(chain(&error)))?;
    let renderer = PostRenderer {
        spec: &release.spec,
        name: &release.name_any(),
        namespace: &release.namespace().unwrap_or_default(),
        strategy: crate::settings::post_render_strategy(&release.spec, &crate::FeatureGates::default()),
    };
    let sorted = renderer.run(&rendered.files)?;
    (rendered.manifests, rendered.hooks) = (sorted.manifests, sorted.hooks);
    Ok(ReleasePreview {
        name: place.name,
        namespace: place.namespace,
        rendered,
    })
}

/// The values of a release. `read` gives the data of a ConfigMap or Secret of its namespace, none when there is no such
/// object.
///
/// # Errors
/// A reference that cannot be followed, with its name.
pub async fn preview_values(
    release: &HelmRelease,
    read: impl AsyncFn(ValuesKind, &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, String>,
) -> Result<Values, PreviewError> {
    let mut contents = Vec::new();
    for reference in &release.spec.values_from {
        let found = read(reference.kind, &reference.name).await;
        contents.push(found.and_then(|data| values::content_of(reference, data)));
    }
    values::merged(release, contents).map_err(|error| PreviewError(error.to_string()))
}

/// What a cluster can do, as templates see it.
///
/// # Errors
/// The cluster cannot be asked.
pub async fn cluster_capabilities(target: &Target) -> Result<Capabilities, PreviewError> {
    Ok(Known::default().of(target).await?)
}
