//! `.Capabilities`, `.Release` and `.Chart` of templates.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;

use nave_gotemplate::{Function, GoType, List, Map, Object, Shape, Value};
use serde_json::Value as Json;

use crate::{BuildInfo, Capabilities, Chart, Dependency, KubeVersion, ReleaseInfo};

struct CapabilitiesObject(Value, Value, Value);

pub(super) fn capabilities(capabilities: &Capabilities) -> Value {
    Value::object(CapabilitiesObject(
        Value::object(KubeVersionObject(capabilities.kube_version.clone())),
        Value::object(VersionSet(Arc::clone(&capabilities.api_versions))),
        Value::object(BuildInfoObject(capabilities.helm_version.clone())),
    ))
}

impl Object for CapabilitiesObject {
    fn type_name(&self) -> &'static str {
        "*common.Capabilities"
    }

    fn shape(&self) -> Shape {
        Shape::Struct(vec![
            ("KubeVersion", self.0.clone()),
            ("APIVersions", self.1.clone()),
            ("HelmVersion", self.2.clone()),
        ])
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct KubeVersionObject(KubeVersion);

impl Object for KubeVersionObject {
    fn type_name(&self) -> &'static str {
        "common.KubeVersion"
    }

    fn shape(&self) -> Shape {
        Shape::Struct(vec![
            ("Version", Value::string(self.0.version.as_str())),
            ("Major", Value::string(self.0.major.as_str())),
            ("Minor", Value::string(self.0.minor.as_str())),
        ])
    }

    fn method(&self, name: &str) -> Option<Function> {
        let text = match name {
            "GitVersion" => self.0.version.clone(),
            "String" => self.0.normalized.clone(),
            _ => return None,
        };
        Some(Function::new(&[], move |_, _| Ok(Value::string(text.as_str()))))
    }

    fn text(&self) -> Option<String> {
        Some(self.0.normalized.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct VersionSet(Arc<[String]>);

impl Object for VersionSet {
    fn type_name(&self) -> &'static str {
        "common.VersionSet"
    }

    fn shape(&self) -> Shape {
        Shape::List(self.0.iter().map(|version| Value::string(version.as_str())).collect())
    }

    fn method(&self, name: &str) -> Option<Function> {
        let versions = Arc::clone(&self.0);
        (name == "Has").then(|| {
            Function::new(&[GoType::String], move |caller, args| {
                caller.charge(versions.len() as u64 / 16)?;
                let wanted = args[0].as_string().unwrap_or_default();
                Ok(Value::Bool(
                    versions.iter().any(|version| version.as_bytes() == wanted.as_bytes()),
                ))
            })
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct BuildInfoObject(BuildInfo);

impl Object for BuildInfoObject {
    fn type_name(&self) -> &'static str {
        "version.BuildInfo"
    }

    fn shape(&self) -> Shape {
        let BuildInfo {
            version,
            git_commit,
            git_tree_state,
            go_version,
            kube_client_version,
        } = &self.0;
        let text = |text: &String| Value::string(text.as_str());
        Shape::Struct(vec![
            ("Version", text(version)),
            ("GitCommit", text(git_commit)),
            ("GitTreeState", text(git_tree_state)),
            ("GoVersion", text(go_version)),
            ("KubeClientVersion", text(kube_client_version)),
        ])
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

pub(super) fn release(release: &ReleaseInfo) -> Value {
    map([
        ("Name", Value::string(release.name.as_str())),
        ("Namespace", Value::string(release.namespace.as_str())),
        ("IsUpgrade", Value::Bool(release.is_upgrade)),
        ("IsInstall", Value::Bool(!release.is_upgrade)),
        ("Revision", Value::int(release.revision)),
        ("Service", Value::string("Helm")),
    ])
}

/// `Chart.yaml` with the names of Go's fields.
pub(super) fn chart(chart: &Chart, is_root: bool) -> Value {
    let metadata = &chart.metadata;
    let text = |text: &String| Value::string(text.as_str());
    let annotations = match metadata.annotations.is_empty() {
        true => Map::nil(GoType::STRING_MAP),
        false => Map::with(
            GoType::STRING_MAP,
            metadata
                .annotations
                .iter()
                .map(|(key, value)| (Rc::from(key.as_str()), text(value)))
                .collect(),
        ),
    };
    let maintainers = metadata.maintainers.iter().map(|maintainer| {
        map([
            ("Name", text(&maintainer.name)),
            ("Email", text(&maintainer.email)),
            ("URL", text(&maintainer.url)),
        ])
    });
    map([
        ("Name", text(&metadata.name)),
        ("Home", text(&metadata.home)),
        ("Sources", texts(&metadata.sources)),
        ("Version", text(&metadata.version)),
        ("Description", text(&metadata.description)),
        ("Keywords", texts(&metadata.keywords)),
        ("Maintainers", Value::list(maintainers.collect())),
        ("Icon", text(&metadata.icon)),
        ("APIVersion", text(&metadata.api_version)),
        ("Condition", text(&metadata.condition)),
        ("Tags", text(&metadata.tags)),
        ("AppVersion", text(&metadata.app_version)),
        ("Deprecated", Value::Bool(metadata.deprecated)),
        ("Annotations", Value::Map(Rc::new(annotations))),
        ("KubeVersion", text(&metadata.kube_version)),
        (
            "Dependencies",
            Value::list(metadata.dependencies.iter().map(dependency).collect()),
        ),
        ("Type", text(&metadata.kind)),
        ("IsRoot", Value::Bool(is_root)),
    ])
}

fn dependency(dependency: &Dependency) -> Value {
    let text = |text: &String| Value::string(text.as_str());
    // What was imported is a pair of texts by now.
    let imports = dependency.import_values.iter().map(|import| {
        let pair = ["child", "parent"].map(|key| {
            let value = import.get(key).and_then(Json::as_str).unwrap_or_default();
            (Rc::from(key), Value::string(value))
        });
        Value::Map(Rc::new(Map::with(GoType::STRING_MAP, pair.into_iter().collect())))
    });
    map([
        ("Name", text(&dependency.name)),
        ("Version", text(&dependency.version)),
        ("Repository", text(&dependency.repository)),
        ("Condition", text(&dependency.condition)),
        ("Tags", texts(&dependency.tags)),
        ("Enabled", Value::Bool(dependency.enabled)),
        ("ImportValues", Value::list(imports.collect())),
        ("Alias", text(&dependency.alias)),
    ])
}

fn texts(texts: &[String]) -> Value {
    let items = texts.iter().map(|text| Value::string(text.as_str())).collect();
    Value::List(Rc::new(List::new(GoType::ANY_LIST, items)))
}

fn map<const N: usize>(entries: [(&'static str, Value); N]) -> Value {
    let entries = entries.into_iter().map(|(key, value)| (Rc::from(key), value));
    Value::Map(Rc::new(Map::with(GoType::ANY_MAP, entries.collect())))
}
