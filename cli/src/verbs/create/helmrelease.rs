//! `nave create helmrelease`.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use nave_chart::{
    Values,
    values::{load_values, merge_maps},
};
use serde_json::{Map, Value, json};

use super::{Common, create, go};
use crate::{
    connection::{ConnectionArguments, duration},
    fields,
    kinds::HELM_RELEASE,
    say,
};

pub const EXAMPLES: &str = "\
Examples:
  nave create helmrelease podinfo --source HelmRepository/podinfo --chart podinfo --chart-version '>4.0.0'
  nave create helmrelease web --source GitRepository/platform --chart ./charts/web --values ./values.yaml
  nave create hr podinfo --chart-ref OCIRepository/podinfo --values-from Secret/podinfo --export > podinfo.yaml";

/// Kinds with charts in them.
const SOURCES: [&str; 3] = ["HelmRepository", "GitRepository", "Bucket"];
/// Kinds that are a chart.
const CHARTS: [&str; 3] = ["OCIRepository", "HelmChart", "ExternalArtifact"];
/// Kinds with values.
const VALUES: [&str; 2] = ["Secret", "ConfigMap"];

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Name of the HelmRelease
    name: String,
    /// Name of the release; that of the HelmRelease without it
    #[arg(long, value_name = "NAME")]
    release_name: Option<String>,
    /// Where the chart is: KIND/NAME[.NAMESPACE], a HelmRepository, GitRepository or Bucket
    #[arg(long, value_name = "SOURCE", value_parser = source, requires = "chart", conflicts_with = "chart_ref")]
    source: Option<Reference>,
    /// Name of the chart in a HelmRepository, or its path in another source
    #[arg(long, value_name = "CHART", requires = "source")]
    chart: Option<String>,
    /// Version of the chart, or a range
    #[arg(long, value_name = "VERSION", requires = "source")]
    chart_version: Option<String>,
    /// The chart itself: KIND/NAME[.NAMESPACE], an OCIRepository, HelmChart or ExternalArtifact
    #[arg(long, value_name = "CHART", value_parser = chart)]
    chart_ref: Option<Reference>,
    /// HelmRelease that has to be ready first: NAME or NAMESPACE/NAME; may be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    depends_on: Vec<String>,
    /// Namespace of the release
    #[arg(long, value_name = "NAMESPACE")]
    target_namespace: Option<String>,
    /// Namespace of Helm's own records
    #[arg(long, value_name = "NAMESPACE")]
    storage_namespace: Option<String>,
    /// Make the target namespace
    #[arg(long)]
    create_target_namespace: bool,
    /// Service account to act as
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
    /// What counts as a new chart
    #[arg(long, value_name = "STRATEGY", default_value = "ChartVersion", value_parser = ["Revision", "ChartVersion"])]
    reconcile_strategy: String,
    /// How often to look for charts; as often as the interval without it
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "source")]
    chart_interval: Option<Duration>,
    /// File with values, later ones win; may be given several times
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    values: Vec<PathBuf>,
    /// Secret or ConfigMap with values: KIND/NAME; may be given several times
    #[arg(long, value_name = "OBJECT", value_delimiter = ',', value_parser = values_from)]
    values_from: Vec<Reference>,
    /// What happens to the chart's definitions on an upgrade
    #[arg(long, value_name = "POLICY", value_parser = ["Skip", "Create", "CreateReplace"])]
    crds: Option<String>,
    /// Secret with the kubeconfig of another cluster
    #[arg(long, value_name = "NAME")]
    kubeconfig_secret_ref: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Reference {
    kind: &'static str,
    name: String,
    namespace: Option<String>,
}

impl Reference {
    fn value(&self) -> Value {
        let mut value = json!({"kind": self.kind, "name": self.name});
        if let Some(namespace) = &self.namespace {
            value["namespace"] = json!(namespace);
        }
        value
    }
}

/// Prints or writes a HelmRelease.
pub async fn run(arguments: Arguments, common: &Common, to: &ConnectionArguments) -> Result<()> {
    let spec = spec(&arguments, common)?;
    if let Some(object) = create(&HELM_RELEASE, &arguments.name, spec, common, to).await? {
        let revision = fields::text(&object, "/status/history/0/chartVersion");
        say::success(&format!("applied revision {revision}"));
    }
    Ok(())
}

fn spec(typed: &Arguments, common: &Common) -> Result<Value> {
    let mut spec = Map::new();
    let mut set = |name: &str, value: Value| {
        spec.insert(name.to_owned(), value);
    };
    set("interval", go(common.interval));
    match (&typed.source, &typed.chart, &typed.chart_ref) {
        (Some(source), Some(chart), _) => {
            let mut template = json!({"chart": chart, "sourceRef": source.value()});
            if let Some(version) = &typed.chart_version {
                template["version"] = json!(version);
            }
            if let Some(interval) = typed.chart_interval.filter(|interval| !interval.is_zero()) {
                template["interval"] = go(interval);
            }
            template["reconcileStrategy"] = json!(typed.reconcile_strategy);
            set("chart", json!({"spec": template}));
        }
        (_, _, Some(reference)) => set("chartRef", reference.value()),
        _ => bail!("chart or chart-ref is required: --chart with --source, or --chart-ref"),
    }
    if !typed.depends_on.is_empty() {
        let dependencies = typed.depends_on.iter().map(|text| match text.split_once('/') {
            Some((namespace, name)) => json!({"namespace": namespace, "name": name}),
            None => json!({"name": text}),
        });
        set("dependsOn", dependencies.collect());
    }
    for (field, value) in [
        ("releaseName", &typed.release_name),
        ("targetNamespace", &typed.target_namespace),
        ("storageNamespace", &typed.storage_namespace),
        ("serviceAccountName", &typed.service_account),
    ] {
        if let Some(value) = value {
            set(field, json!(value));
        }
    }
    if let Some(name) = &typed.kubeconfig_secret_ref {
        set("kubeConfig", json!({"secretRef": {"name": name}}));
    }
    let mut install = Map::new();
    if typed.create_target_namespace {
        install.insert("createNamespace".into(), json!(true));
    }
    if let Some(policy) = &typed.crds {
        install.insert("crds".into(), json!("Create"));
        set("upgrade", json!({"crds": policy}));
    }
    if !install.is_empty() {
        set("install", Value::Object(install));
    }
    if !typed.values_from.is_empty() {
        set("valuesFrom", typed.values_from.iter().map(Reference::value).collect());
    }
    if !typed.values.is_empty() {
        let mut merged = Values::new();
        for path in &typed.values {
            let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            let values = load_values(&text).with_context(|| format!("reading values from {}", path.display()))?;
            merge_maps(&mut merged, values);
        }
        set("values", whole_numbers(Value::Object(merged)));
    }
    Ok(Value::Object(spec))
}

/// Numbers of values are floats to Helm; whole ones are written as they were.
fn whole_numbers(value: Value) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0; // above it, floats leave whole numbers out
    match value {
        Value::Number(number) => match number.as_f64() {
            #[allow(clippy::cast_possible_truncation)] // it is whole, and small enough
            Some(float) if float.fract() == 0.0 && float.abs() < EXACT => json!(float as i64),
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole_numbers).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key, whole_numbers(value)))
            .collect(),
        other => other,
    }
}

fn source(text: &str) -> Result<Reference, String> {
    reference(text, &SOURCES, true)
}

fn chart(text: &str) -> Result<Reference, String> {
    reference(text, &CHARTS, true)
}

fn values_from(text: &str) -> Result<Reference, String> {
    reference(text, &VALUES, false)
}

fn reference(text: &str, kinds: &[&'static str], has_namespace: bool) -> Result<Reference, String> {
    let (kind, name) = text.split_once('/').ok_or_else(|| {
        format!(
            "{text:?} has not the form kind/name, with a kind of {}",
            kinds.join(", ")
        )
    })?;
    let kind = kinds
        .iter()
        .find(|known| known.eq_ignore_ascii_case(kind))
        .ok_or_else(|| format!("kind {kind:?} is not supported, must be one of: {}", kinds.join(", ")))?;
    let (name, namespace) = match name.split_once('.') {
        Some((name, namespace)) if has_namespace => (name, Some(namespace.to_owned()).filter(|text| !text.is_empty())),
        _ => (name, None),
    };
    if name.is_empty() {
        return Err(format!("no name given for {kind}"));
    }
    Ok(Reference {
        kind,
        name: name.to_owned(),
        namespace,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_kinds_names_and_namespaces() {
        let check = |found: Result<Reference, String>, want: (&str, &str, Option<&str>)| {
            let found = found.expect("it can be read");
            assert_eq!((found.kind, found.name.as_str(), found.namespace.as_deref()), want);
        };
        check(source("helmrepository/a.b"), ("HelmRepository", "a", Some("b")));
        check(chart("OCIRepository/a"), ("OCIRepository", "a", None));
        check(values_from("Secret/a.b"), ("Secret", "a.b", None));
        for (text, part) in [
            ("a", "kind/name"),
            ("OCIRepository/a", "not supported"),
            ("Bucket/", "no name"),
        ] {
            let error = source(text).expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn whole_numbers_stay_whole() {
        let values = json!({"replicas": 3.0, "ratio": 0.5, "list": [1e20]});
        assert_eq!(
            whole_numbers(values).to_string(),
            r#"{"list":[1e+20],"ratio":0.5,"replicas":3}"#
        );
    }
}
