//! The chart inside a release record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::record::{GoTime, null_is_default};

/// Go's zero time.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// A chart without the charts below it, which Helm does not store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChartRecord {
    /// `Chart.yaml`.
    pub metadata: Option<ChartMetadata>,
    /// `Chart.lock`.
    pub lock: Option<Lock>,
    /// Files below `templates/`.
    pub templates: Option<Vec<FileRecord>>,
    /// `values.yaml`.
    pub values: Option<Map<String, Value>>,
    /// `values.schema.json`, in base64.
    pub schema: Option<String>,
    /// When the schema was changed last.
    pub schemamodtime: ZeroTime,
    /// All other files.
    pub files: Option<Vec<FileRecord>>,
    /// When `Chart.yaml` was changed last.
    #[serde(skip_serializing_if = "GoTime::is_zero")]
    pub modtime: GoTime,
}

impl ChartRecord {
    /// `Chart.yaml`, empty where there is none.
    pub fn metadata(&self) -> &ChartMetadata {
        static NONE: ChartMetadata = ChartMetadata::none();
        self.metadata.as_ref().unwrap_or(&NONE)
    }
}

/// A time that is written even when it is zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<String>")]
pub struct ZeroTime(String);

impl Default for ZeroTime {
    fn default() -> Self {
        ZeroTime(ZERO_TIME.to_owned())
    }
}

impl From<Option<String>> for ZeroTime {
    fn from(text: Option<String>) -> Self {
        text.filter(|text| !text.is_empty())
            .map_or_else(Self::default, ZeroTime)
    }
}

/// A file of a chart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileRecord {
    /// The path in the chart.
    pub name: String,
    /// The content in base64.
    pub data: Option<String>,
    /// When it was changed last.
    #[serde(skip_serializing_if = "GoTime::is_zero")]
    pub modtime: GoTime,
}

/// `Chart.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are those of Chart.yaml")]
pub struct ChartMetadata {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub home: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub maintainers: Vec<Maintainer>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub icon: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub condition: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tags: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_version: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deprecated: bool,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kube_version: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

impl ChartMetadata {
    const fn none() -> Self {
        ChartMetadata {
            name: String::new(),
            home: String::new(),
            sources: Vec::new(),
            version: String::new(),
            description: String::new(),
            keywords: Vec::new(),
            maintainers: Vec::new(),
            icon: String::new(),
            api_version: String::new(),
            condition: String::new(),
            tags: String::new(),
            app_version: String::new(),
            deprecated: false,
            annotations: BTreeMap::new(),
            kube_version: String::new(),
            dependencies: Vec::new(),
            kind: String::new(),
        }
    }
}

/// Somebody who looks after a chart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are those of Chart.yaml")]
pub struct Maintainer {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
}

/// A chart that another one needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[allow(missing_docs, reason = "the names are those of Chart.yaml")]
pub struct Dependency {
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    pub repository: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub condition: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enabled: bool,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub import_values: Vec<Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub alias: String,
}

/// `Chart.lock`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lock {
    /// When it was made.
    pub generated: ZeroTime,
    /// Of the dependencies in `Chart.yaml`.
    pub digest: String,
    /// The exact versions.
    pub dependencies: Option<Vec<Dependency>>,
}
