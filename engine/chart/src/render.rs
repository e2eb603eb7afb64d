//! A chart and a request into manifests, hooks and notes.

mod context;
mod evaluate;
mod failure;
mod files;
mod functions;
mod host;

use std::collections::BTreeMap;

use crate::values::{Nulls, coalesce, table, values_of};
use crate::version::is_compatible;
use crate::{
    Chart, Crd, Hook, KindOrder, Manifest, ManifestError, RenderRequest, Values, dependencies, schema, sort_manifests,
};

/// What came of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The chart as a release record keeps it: without charts that are switched off, with aliases as names, with
    /// imported values.
    pub chart: Chart,
    /// The values that templates saw: the user's over those of the charts.
    pub values: Values,
    /// Rendered files by path, notes and partials apart; what a post-renderer is given.
    pub files: BTreeMap<String, String>,
    /// What is applied, in order of installation.
    pub manifests: Vec<Manifest>,
    /// What is applied at moments, in order of installation; not yet by weight.
    pub hooks: Vec<Hook>,
    /// `NOTES.txt`.
    pub notes: String,
    /// Files in `crds/`, which are applied before everything else and are no part of a release.
    pub crds: Vec<Crd>,
    /// What Helm would log: values that were left out, hooks that nobody runs.
    pub warnings: Vec<String>,
}

impl Rendered {
    /// `manifest` of a release record: every manifest behind a line with its template.
    pub fn manifest(&self) -> String {
        let mut text = String::new();
        for manifest in &self.manifests {
            text.push_str("---\n# Source: ");
            text.push_str(&manifest.source);
            text.push('\n');
            text.push_str(&manifest.text);
            text.push('\n');
        }
        text
    }
}

/// Why a chart did not render.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// `Chart.yaml` wants another Kubernetes.
    #[error("chart requires kubeVersion: {range} which is incompatible with Kubernetes {version}")]
    KubeVersion {
        /// What the chart says.
        range: String,
        /// What the cluster is.
        version: String,
    },
    /// Values have something other than a map under the name of a chart below, found while charts are switched.
    #[error("chart dependencies processing failed: {0}")]
    Dependencies(String),
    /// Values have something other than a map under the name of a chart below.
    #[error("{0}")]
    Values(String),
    /// Values do not fit `values.schema.json`.
    #[error("values don't meet the specifications of the schema(s) in the following chart(s):\n{0}")]
    Schema(String),
    /// A template could not be parsed or executed; the text is Helm's.
    #[error("{message}")]
    Template {
        /// Where and why.
        message: String,
    },
    /// What a template gave is no YAML.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// Renders a chart.
///
/// # Errors
/// See [`RenderError`]; nothing of a chart that fails is returned.
pub fn render(chart: &Chart, request: &RenderRequest) -> Result<Rendered, RenderError> {
    let Evaluated {
        chart,
        values,
        mut files,
        mut warnings,
    } = evaluate(chart, request)?;
    let notes = take_notes(&mut files, &chart, request.subchart_notes);
    let sorted = sort_manifests(
        files.iter().map(|(path, text)| (path.as_str(), text.as_str())),
        KindOrder::Install,
    )?;
    for hook in sorted.unknown_hooks {
        warnings.push(format!("skipping unknown hooks {} of {}", hook.events, hook.path));
    }
    Ok(Rendered {
        crds: chart.crds(),
        chart,
        values,
        files,
        manifests: sorted.manifests,
        hooks: sorted.hooks,
        notes,
        warnings,
    })
}

/// The texts of all templates by path, notes too and whatever they are, without looking for manifests in them.
///
/// # Errors
/// As [`render`].
pub fn render_files(chart: &Chart, request: &RenderRequest) -> Result<BTreeMap<String, String>, RenderError> {
    evaluate(chart, request).map(|evaluated| evaluated.files)
}

struct Evaluated {
    chart: Chart,
    values: Values,
    files: BTreeMap<String, String>,
    warnings: Vec<String>,
}

fn evaluate(chart: &Chart, request: &RenderRequest) -> Result<Evaluated, RenderError> {
    let mut warnings = Vec::new();
    let mut chart = chart.clone();
    let given = table(&request.values);
    dependencies::process(&mut chart, &given, &mut warnings).map_err(RenderError::Dependencies)?;
    let named = context::values_map(given.entries().into_iter().collect());
    coalesce(&chart, &named, Nulls::Delete, &mut warnings).map_err(RenderError::Values)?;
    let values = values_of(&named);
    if !request.skip_schema_validation {
        let values = serde_json::Value::Object(values.clone());
        schema::check(&chart, &values, request.schema_documents.as_ref()).map_err(RenderError::Schema)?;
    }
    let range = &chart.metadata.kube_version;
    let version = &request.capabilities.kube_version;
    if !range.is_empty() && !is_compatible(range, &version.normalized) {
        return Err(RenderError::KubeVersion {
            range: range.clone(),
            version: version.version.clone(),
        });
    }
    let files = evaluate::all(&chart, request, named)?;
    Ok(Evaluated {
        chart,
        values,
        files,
        warnings,
    })
}

/// Takes `NOTES.txt` out of the files, and those of charts below, which count only when they are wanted.
fn take_notes(files: &mut BTreeMap<String, String>, chart: &Chart, below: bool) -> String {
    let own = format!("{}/templates/NOTES.txt", chart.name());
    let mut notes = String::new();
    files.retain(|path, text| {
        let is_notes = path.ends_with("NOTES.txt");
        if is_notes && (below || *path == own) {
            if !notes.is_empty() {
                notes.push('\n');
            }
            notes.push_str(text);
        }
        !is_notes
    });
    notes
}
