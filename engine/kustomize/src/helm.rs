//! `helmCharts`: what is asked of Helm.

use nave_object::yaml::{Dialect, Node, parse_nodes, write};
use serde_json::Value;

use crate::error::BuildError;
use crate::kustomization::{HelmChart, HelmGlobals};
use crate::load::Loader;
use crate::merge;

const DEFAULT_HOME: &str = "charts";

/// How `valuesInline` and the values file come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValuesMerge {
    /// Inline values win.
    Override,
    /// The file wins.
    Merge,
    /// Inline values alone count.
    Replace,
}

/// A chart to be rendered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChartRequest {
    /// Name of the chart.
    pub name: String,
    /// Version of the chart; empty for the latest.
    pub version: String,
    /// URL of its repository (`https://`, `oci://`); empty for a chart in the tree.
    pub repository: String,
    /// Directory of the chart in the tree, when it is there already.
    pub directory: Option<String>,
    /// Name of the release; empty for a generated one.
    pub release_name: String,
    /// Template of the release's name, if any.
    pub name_template: String,
    /// Namespace of the release, if any.
    pub namespace: String,
    /// Text of the values file; `None` for the chart's own `values.yaml`.
    pub values_file: Option<String>,
    /// Texts of further values files, later ones win.
    pub additional_values: Vec<String>,
    /// `valuesInline` as JSON text; empty when there are none.
    pub values_inline: String,
    /// How inline values and the file come together.
    pub values_merge: ValuesMerge,
    /// Whether definitions in `crds/` are rendered, too.
    pub include_crds: bool,
    /// Whether hooks are left out.
    pub skip_hooks: bool,
    /// Whether tests are left out.
    pub skip_tests: bool,
    /// API versions that the chart may rely on.
    pub api_versions: Vec<String>,
    /// Kubernetes version that the chart may rely on; empty for the default.
    pub kube_version: String,
    /// Whether development versions count.
    pub devel: bool,
}

impl ChartRequest {
    /// The values to render with, before [`ChartRequest::additional_values`]; `chart_values` is the
    /// chart's own `values.yaml`.
    ///
    /// # Errors
    /// A values file that is no YAML, or that cannot be merged.
    pub fn values(&self, chart_values: &str) -> Result<String, BuildError> {
        let file = self.values_file.as_deref().unwrap_or(chart_values);
        if self.values_inline.is_empty() {
            return Ok(file.to_owned());
        }
        let inline: Value = serde_json::from_str(&self.values_inline)
            .map_err(|error| BuildError::syntax(format!("values of chart {}: {error}", self.name)))?;
        let inline = Node::from_value(&inline);
        let nodes = parse_nodes(file, Dialect::Kyaml)
            .map_err(|error| BuildError::syntax(format!("values file of chart {}: {error}", self.name)))?;
        let file = nodes.into_iter().next().unwrap_or_else(Node::map);
        let merged = match self.values_merge {
            ValuesMerge::Replace => Ok(Some(inline)),
            ValuesMerge::Override => merge::merge_values(file, inline),
            ValuesMerge::Merge => merge::merge_values(inline, file),
        };
        let merged = merged
            .map_err(|problem| BuildError::syntax(format!("values of chart {}: {problem}", self.name)))?
            .unwrap_or_else(Node::map);
        let value = merged
            .to_value(Dialect::Kyaml)
            .map_err(|error| BuildError::syntax(format!("values of chart {}: {error}", self.name)))?;
        Ok(write(&value))
    }
}

/// What an entry of `helmCharts` asks for.
pub(crate) fn request(
    loader: &Loader<'_>,
    chart: &HelmChart,
    globals: &HelmGlobals,
    namespace: &str,
) -> Result<ChartRequest, BuildError> {
    if chart.name.is_empty() {
        return Err(BuildError::syntax("an entry of helmCharts has no name"));
    }
    let values_merge = match chart.values_merge.as_str() {
        "" | "override" => ValuesMerge::Override,
        "merge" => ValuesMerge::Merge,
        "replace" => ValuesMerge::Replace,
        other => {
            return Err(BuildError::syntax(format!(
                "chart {}: valuesMerge `{other}` is none of merge, override, replace",
                chart.name
            )));
        }
    };
    let home = if globals.chart_home.is_empty() {
        DEFAULT_HOME
    } else {
        &globals.chart_home
    };
    let home = match (chart.version.as_str(), chart.repo.as_str()) {
        ("", _) | (_, "") => home.to_owned(),
        (version, _) => format!("{home}/{}-{version}", chart.name),
    };
    let local = format!("{home}/{}", chart.name);
    let directory = loader.has_dir(&local).then(|| loader.display(&local));
    if directory.is_none() && chart.repo.is_empty() {
        return Err(BuildError::syntax(format!(
            "chart {}: there is none at `{local}`, and no repo is given",
            chart.name
        )));
    }
    let values_file = match chart.values_file.as_str() {
        "" => None,
        path => Some(loader.read_text("values file", path)?),
    };
    let additional_values = chart
        .additional_values_files
        .iter()
        .map(|path| loader.read_text("values file", path))
        .collect::<Result<_, _>>()?;
    let inline = match &chart.values_inline {
        Value::Object(map) if !map.is_empty() => chart.values_inline.to_string(),
        _ => String::new(),
    };
    Ok(ChartRequest {
        name: chart.name.clone(),
        version: chart.version.clone(),
        repository: chart.repo.clone(),
        directory,
        release_name: chart.release_name.clone(),
        name_template: chart.name_template.clone(),
        namespace: if chart.namespace.is_empty() {
            namespace.to_owned()
        } else {
            chart.namespace.clone()
        },
        values_file,
        additional_values,
        values_inline: inline,
        values_merge,
        include_crds: chart.include_crds,
        skip_hooks: chart.skip_hooks,
        skip_tests: chart.skip_tests,
        api_versions: chart.api_versions.clone(),
        kube_version: chart.kube_version.clone(),
        devel: chart.devel,
    })
}
