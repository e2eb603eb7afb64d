//! A chart in memory.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{Lock, Metadata};

/// Values of a chart or of a user, keys sorted.
///
/// Numbers that were read from YAML or JSON are floats, as Helm's are; only `--set` makes integers.
pub type Values = Map<String, Value>;

/// A file of a chart; cloning it shares the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The path in the chart, with `/`.
    pub name: String,
    /// The content, without a byte order mark.
    pub data: Arc<[u8]>,
    /// When it was changed last, where the archive says so.
    pub modified: Option<Timestamp>,
}

impl File {
    /// A file whose age is not known.
    pub fn new(name: impl Into<String>, data: impl Into<Arc<[u8]>>) -> File {
        File {
            name: name.into(),
            data: data.into(),
            modified: None,
        }
    }
}

/// A chart with the charts below it.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// `Chart.yaml`, and `requirements.yaml` of old charts.
    pub metadata: Metadata,
    /// `Chart.lock`, or `requirements.lock`.
    pub lock: Option<Lock>,
    /// Files below `templates/`.
    pub templates: Vec<File>,
    /// `values.yaml`.
    pub values: Values,
    /// `values.schema.json`.
    pub schema: Option<File>,
    /// All other files, those in `crds/` too.
    pub files: Vec<File>,
    /// When `Chart.yaml` was changed last.
    pub modified: Option<Timestamp>,
    /// The charts in `charts/`.
    pub dependencies: Vec<Chart>,
}

/// A file in `crds/` of a chart or of one below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crd {
    /// The path from the top, such as `web/charts/db/crds/a.yaml`.
    pub path: String,
    /// The file, named as in its own chart.
    pub file: File,
}

impl Chart {
    /// The name in `Chart.yaml`, or the alias that the chart above gives it.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Whether the chart has no manifests of its own (`type: library`).
    pub fn is_library(&self) -> bool {
        self.metadata.kind.eq_ignore_ascii_case("library")
    }

    /// The files in `crds/` with a name of YAML or JSON, this chart's first and then those below.
    pub fn crds(&self) -> Vec<Crd> {
        let mut crds = Vec::new();
        self.collect_crds(self.name(), &mut crds);
        crds
    }

    /// Charts that `Chart.yaml` wants and `charts/` has not.
    pub fn missing_dependencies(&self) -> Vec<&str> {
        let wanted = self.metadata.dependencies.iter().map(|wanted| wanted.name.as_str());
        let is_there = |name: &str| self.dependencies.iter().any(|chart| chart.name() == name);
        wanted.filter(|name| !is_there(name)).collect()
    }

    fn collect_crds(&self, path: &str, into: &mut Vec<Crd>) {
        for file in &self.files {
            if file.name.starts_with("crds/") && has_manifest_extension(&file.name) {
                into.push(Crd {
                    path: format!("{path}/{}", file.name),
                    file: file.clone(),
                });
            }
        }
        for dependency in &self.dependencies {
            dependency.collect_crds(&format!("{path}/charts/{}", dependency.name()), into);
        }
    }
}

fn has_manifest_extension(name: &str) -> bool {
    let base = name.rsplit('/').next().unwrap_or(name);
    base.rsplit_once('.').is_some_and(|(_, extension)| {
        ["yaml", "yml", "json"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}
