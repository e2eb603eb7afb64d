//! `Chart.yaml`: what it says and what it must say.

use std::collections::{BTreeMap, BTreeSet};

use nave_object::yaml::Node;
use serde::Serialize;
use serde_json::Value;

use crate::decode::{DecodeError, Fields};
use crate::text::{is_alias, quote, sanitize};
use crate::version::is_version;

/// `Chart.yaml`. Serializes with the fields, order and omissions of Helm's release records.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The chart's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its page.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub home: String,
    /// Where its source is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// Its semantic version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// One sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Words to find it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Who looks after it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub maintainers: Vec<Maintainer>,
    /// A picture's URL.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub icon: String,
    /// `v1` or `v2`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// Unused by Helm.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub condition: String,
    /// Unused by Helm.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tags: String,
    /// The version of what it installs, any text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_version: String,
    /// Whether it should not be used any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deprecated: bool,
    /// Texts for other programs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// A range of Kubernetes versions.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kube_version: String,
    /// The charts it needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
    /// `application`, `library` or nothing.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

/// Somebody who looks after a chart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Maintainer {
    /// The person or organisation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where mail goes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// A page.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
}

/// A chart that another one needs.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Dependency {
    /// Its name in its own `Chart.yaml`.
    pub name: String,
    /// A range of versions.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Where it is downloaded from.
    pub repository: String,
    /// Paths in the values, the first boolean of which decides whether it is there; separated by commas.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub condition: String,
    /// Names that switch several charts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Whether it is there; decided when the chart is rendered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enabled: bool,
    /// Values that the chart above takes: texts, or maps with `child` and `parent`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub import_values: Vec<Value>,
    /// The name it has for the chart above.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub alias: String,
}

/// `Chart.lock`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Lock {
    /// When it was made, RFC 3339.
    pub generated: String,
    /// Of the dependencies in `Chart.yaml`.
    pub digest: String,
    /// The exact versions.
    pub dependencies: Vec<Dependency>,
}

/// `Chart.yaml` lacks something or has something it must not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("validation: {0}")]
pub struct InvalidMetadata(pub String);

impl Metadata {
    /// Takes what a document says over what was there before, as Go's decoder does.
    pub(crate) fn read(&mut self, document: &Node) -> Result<(), DecodeError> {
        let Some(fields) = Fields::of(document, "Metadata")? else {
            return Ok(());
        };
        fields.text("name", &mut self.name)?;
        fields.text("home", &mut self.home)?;
        fields.texts("sources", &mut self.sources)?;
        fields.text("version", &mut self.version)?;
        fields.text("description", &mut self.description)?;
        fields.texts("keywords", &mut self.keywords)?;
        fields.list("maintainers", &mut self.maintainers, |node| {
            let mut maintainer = Maintainer::default();
            let Some(fields) = Fields::of(node, "Maintainer")? else {
                return Err(DecodeError::validation(
                    "maintainers must not contain empty or null nodes",
                ));
            };
            fields.text("name", &mut maintainer.name)?;
            fields.text("email", &mut maintainer.email)?;
            fields.text("url", &mut maintainer.url)?;
            Ok(maintainer)
        })?;
        fields.text("icon", &mut self.icon)?;
        fields.text("apiVersion", &mut self.api_version)?;
        fields.text("condition", &mut self.condition)?;
        fields.text("tags", &mut self.tags)?;
        fields.text("appVersion", &mut self.app_version)?;
        fields.flag("deprecated", &mut self.deprecated)?;
        fields.text_map("annotations", &mut self.annotations)?;
        fields.text("kubeVersion", &mut self.kube_version)?;
        fields.list("dependencies", &mut self.dependencies, read_dependency)?;
        fields.text("type", &mut self.kind)
    }

    /// Replaces white space and what cannot be printed, then checks what must be there.
    ///
    /// # Errors
    /// The first thing that is wrong, in Helm's words.
    pub(crate) fn sanitize_and_check(&mut self) -> Result<(), InvalidMetadata> {
        for text in [
            &mut self.name,
            &mut self.description,
            &mut self.home,
            &mut self.icon,
            &mut self.condition,
            &mut self.tags,
            &mut self.app_version,
            &mut self.kube_version,
        ] {
            sanitize(text);
        }
        self.sources.iter_mut().chain(&mut self.keywords).for_each(sanitize);
        let refuse = |problem: String| Err(InvalidMetadata(problem));
        let required = |what: &str| Err(InvalidMetadata(format!("chart.metadata.{what} is required")));
        if self.api_version.is_empty() {
            return required("apiVersion");
        }
        match self.name.as_str() {
            "" => return required("name"),
            "." | ".." => return refuse(format!("chart.metadata.name {} is not allowed", quote(&self.name))),
            name if name.contains('/') => {
                return refuse(format!("chart.metadata.name {} is invalid", quote(name)));
            }
            _ => {}
        }
        if self.version.is_empty() {
            return required("version");
        }
        if !is_version(&self.version) {
            return refuse(format!("chart.metadata.version {} is invalid", quote(&self.version)));
        }
        if !matches!(self.kind.as_str(), "" | "application" | "library") {
            return refuse("chart.metadata.type must be application or library".to_owned());
        }
        for maintainer in &mut self.maintainers {
            sanitize(&mut maintainer.name);
            sanitize(&mut maintainer.email);
            sanitize(&mut maintainer.url);
        }
        let mut names = BTreeSet::new();
        for dependency in &mut self.dependencies {
            for text in [
                &mut dependency.name,
                &mut dependency.version,
                &mut dependency.repository,
                &mut dependency.condition,
            ] {
                sanitize(text);
            }
            dependency.tags.iter_mut().for_each(sanitize);
            if !dependency.alias.is_empty() && !is_alias(&dependency.alias) {
                let name = quote(&dependency.name);
                return refuse(format!("dependency {name} has disallowed characters in the alias"));
            }
            let key = match dependency.alias.as_str() {
                "" => &dependency.name,
                alias => alias,
            };
            if !names.insert(key.to_owned()) {
                return refuse(format!("more than one dependency with name or alias {}", quote(key)));
            }
        }
        Ok(())
    }
}

fn read_dependency(node: &Node) -> Result<Dependency, DecodeError> {
    let Some(fields) = Fields::of(node, "Dependency")? else {
        return Err(DecodeError::validation(
            "dependencies must not contain empty or null nodes",
        ));
    };
    let mut dependency = Dependency::default();
    fields.text("name", &mut dependency.name)?;
    fields.text("version", &mut dependency.version)?;
    fields.text("repository", &mut dependency.repository)?;
    fields.text("condition", &mut dependency.condition)?;
    fields.texts("tags", &mut dependency.tags)?;
    fields.flag("enabled", &mut dependency.enabled)?;
    fields.values("import-values", &mut dependency.import_values)?;
    fields.text("alias", &mut dependency.alias)?;
    Ok(dependency)
}

impl Lock {
    pub(crate) fn read(document: &Node) -> Result<Option<Lock>, DecodeError> {
        let Some(fields) = Fields::of(document, "Lock")? else {
            return Ok(None);
        };
        let mut lock = Lock::default();
        fields.text("generated", &mut lock.generated)?;
        fields.text("digest", &mut lock.digest)?;
        fields.list("dependencies", &mut lock.dependencies, read_dependency)?;
        Ok(Some(lock))
    }
}
