//! A chart and a request into manifests, hooks and notes.

use std::collections::BTreeMap;

use crate::{Chart, Crd, Hook, KindOrder, Manifest, ManifestError, RenderRequest, Sorted, Values, sort_manifests};

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
    /// Values of a chart and of a user have types that cannot be laid over each other.
    #[error("chart dependencies processing failed: {0}")]
    Dependencies(String),
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
pub fn render(chart: &Chart, request: &RenderRequest<'_>) -> Result<Rendered, RenderError> {
    let mut files = BTreeMap::new();
    let mut notes = String::new();
    let own_notes = format!("{}/templates/NOTES.txt", chart.name());
    for file in &chart.templates {
        let path = format!("{}/{}", chart.name(), file.name);
        let text = String::from_utf8_lossy(&file.data).into_owned();
        if text.contains("{{") {
            return Err(RenderError::Template {
                message: format!("{path}: template actions are not supported yet"),
            });
        }
        if path.ends_with("NOTES.txt") {
            if path == own_notes || request.subchart_notes {
                notes.push_str(&text);
            }
        } else {
            files.insert(path, text);
        }
    }
    let Sorted { hooks, manifests, .. } = sort_manifests(
        files.iter().map(|(path, text)| (path.as_str(), text.as_str())),
        KindOrder::Install,
    )?;
    Ok(Rendered {
        chart: chart.clone(),
        values: request.values.clone(),
        files,
        manifests,
        hooks,
        notes,
        crds: chart.crds(),
        warnings: Vec::new(),
    })
}
