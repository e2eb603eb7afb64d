//! `nave create kustomization`.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{Common, create, go};
use crate::{connection::ConnectionArguments, connection::duration, fields, kinds::KUSTOMIZATION, say};

pub const EXAMPLES: &str = "\
Examples:
  nave create kustomization apps --source GitRepository/flux-system --path ./apps --prune --interval 10m
  nave create kustomization policies --source OCIRepository/policies.platform --depends-on kyverno --wait
  nave create ks apps --source flux-system --path ./apps --export > apps.yaml";

/// Kinds that a Kustomization builds from.
const SOURCES: [&str; 4] = ["OCIRepository", "GitRepository", "Bucket", "ExternalArtifact"];
/// Kinds of `--health-check`, and the API version that is not the default of the API.
const CHECKED: [(&str, Option<&str>); 4] = [
    ("Deployment", None),
    ("DaemonSet", None),
    ("StatefulSet", None),
    ("HelmRelease", Some("helm.toolkit.fluxcd.io/v2")),
];

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Name of the Kustomization
    name: String,
    /// What to build from: [KIND/]NAME[.NAMESPACE]; a GitRepository without a kind
    #[arg(long, value_name = "SOURCE", value_parser = source)]
    source: Source,
    /// Directory of the source to build
    #[arg(long, value_name = "PATH", default_value = "./")]
    path: String,
    /// Delete objects that leave the source
    #[arg(long)]
    prune: bool,
    /// Wait until every object is healthy
    #[arg(long)]
    wait: bool,
    /// Wait until this object is healthy: KIND/NAME.NAMESPACE; may be given several times
    #[arg(long, value_name = "OBJECT", value_delimiter = ',', value_parser = health_check)]
    health_check: Vec<Value>,
    /// How long to wait for health
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    health_check_timeout: Duration,
    /// Kustomization that has to be ready first: NAME or NAMESPACE/NAME; may be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    depends_on: Vec<String>,
    /// Service account to act as
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
    /// Who decrypts
    #[arg(long, value_name = "PROVIDER", value_parser = ["sops"])]
    decryption_provider: Option<String>,
    /// Secret with keys for decryption
    #[arg(long, value_name = "NAME", requires = "decryption_provider")]
    decryption_secret: Option<String>,
    /// Namespace for all objects
    #[arg(long, value_name = "NAMESPACE")]
    target_namespace: Option<String>,
    /// Secret with the kubeconfig of another cluster
    #[arg(long, value_name = "NAME")]
    kubeconfig_secret_ref: Option<String>,
    /// How long to wait after a failure; the interval without it
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    retry_interval: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    kind: &'static str,
    name: String,
    namespace: Option<String>,
}

/// Prints or writes a Kustomization.
pub async fn run(arguments: Arguments, common: &Common, to: &ConnectionArguments) -> Result<()> {
    let spec = spec(&arguments, common);
    if let Some(object) = create(&KUSTOMIZATION, &arguments.name, spec, common, to).await? {
        let revision = fields::text(&object, "/status/lastAppliedRevision");
        say::success(&format!("applied revision {}", fields::shorten(revision)));
    }
    Ok(())
}

fn spec(typed: &Arguments, common: &Common) -> Value {
    let mut source = json!({"kind": typed.source.kind, "name": typed.source.name});
    if let Some(namespace) = &typed.source.namespace {
        source["namespace"] = json!(namespace);
    }
    let mut spec = Map::new();
    let mut set = |name: &str, value: Value| {
        spec.insert(name.to_owned(), value);
    };
    set("interval", go(common.interval));
    set("path", json!(inside(&typed.path)));
    set("prune", json!(typed.prune));
    set("sourceRef", source);
    if !typed.depends_on.is_empty() {
        let dependencies = typed.depends_on.iter().map(|text| match text.split_once('/') {
            Some((namespace, name)) => json!({"namespace": namespace, "name": name}),
            None => json!({"name": text}),
        });
        set("dependsOn", dependencies.collect());
    }
    if typed.wait {
        set("wait", json!(true));
    } else if !typed.health_check.is_empty() {
        set("healthChecks", json!(typed.health_check));
    }
    if typed.wait || !typed.health_check.is_empty() {
        set("timeout", go(typed.health_check_timeout));
    }
    if let Some(name) = &typed.service_account {
        set("serviceAccountName", json!(name));
    }
    if let Some(provider) = &typed.decryption_provider {
        let mut decryption = json!({"provider": provider});
        if let Some(secret) = &typed.decryption_secret {
            decryption["secretRef"] = json!({"name": secret});
        }
        set("decryption", decryption);
    }
    if let Some(namespace) = &typed.target_namespace {
        set("targetNamespace", json!(namespace));
    }
    if let Some(name) = &typed.kubeconfig_secret_ref {
        set("kubeConfig", json!({"secretRef": {"name": name}}));
    }
    if let Some(interval) = typed.retry_interval.filter(|interval| !interval.is_zero()) {
        set("retryInterval", go(interval));
    }
    Value::Object(spec)
}

/// A path that does not leave its root: `../a/./b` is `./a/b`.
fn inside(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.trim().split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("./{}", parts.join("/"))
}

fn source(text: &str) -> Result<Source, String> {
    let (kind, name) = text.split_once('/').unwrap_or(("GitRepository", text));
    let kind = SOURCES
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(kind))
        .ok_or_else(|| {
            format!(
                "source kind {kind:?} is not supported, must be one of: {}",
                SOURCES.join(", ")
            )
        })?;
    if !text.contains('/') && SOURCES.contains(&name) {
        return Err(format!("no name given for source of kind {name}"));
    }
    let (name, namespace) = match name.split_once('.') {
        Some((name, namespace)) => (name, Some(namespace.to_owned()).filter(|text| !text.is_empty())),
        None => (name, None),
    };
    if name.is_empty() {
        return Err(format!("no name given for source of kind {kind}"));
    }
    Ok(Source {
        kind,
        name: name.to_owned(),
        namespace,
    })
}

fn health_check(text: &str) -> Result<Value, String> {
    let parts = text
        .split_once('/')
        .and_then(|(kind, rest)| Some((kind, rest.split_once('.')?)))
        .filter(|(_, (name, namespace))| !name.is_empty() && !namespace.is_empty() && !namespace.contains('.'));
    let Some((kind, (name, namespace))) = parts else {
        return Err(format!(
            "invalid health check {text:?}, it must have the form kind/name.namespace"
        ));
    };
    let Some((_, api_version)) = CHECKED.iter().find(|(known, _)| *known == kind) else {
        return Err(format!(
            "invalid health check kind {kind:?}, it can be HelmRelease, Deployment, DaemonSet or StatefulSet"
        ));
    };
    let mut check = json!({"kind": kind, "name": name, "namespace": namespace});
    if let Some(api_version) = api_version {
        check["apiVersion"] = json!(api_version);
    }
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_kinds_names_and_namespaces() {
        let check = |text: &str, expected: (&str, &str, Option<&str>)| {
            let found = source(text).expect(text);
            let found = (found.kind, found.name.as_str(), found.namespace.as_deref());
            assert_eq!(found, expected, "{text}");
        };
        check("apps", ("GitRepository", "apps", None));
        check("apps.team", ("GitRepository", "apps", Some("team")));
        check("ocirepository/apps.team", ("OCIRepository", "apps", Some("team")));
        for text in ["", "GitRepository", "Bucket/", "HelmRepository/a", "Bucket/.x"] {
            assert!(source(text).is_err(), "{text}");
        }
    }

    #[test]
    fn health_checks_name_one_object() {
        assert_eq!(
            health_check("HelmRelease/a.b").expect("valid")["apiVersion"],
            "helm.toolkit.fluxcd.io/v2"
        );
        for text in [
            "Deployment/a",
            "Deployment",
            "Pod/a.b",
            "Deployment/a.b.c",
            "Deployment/.b",
        ] {
            assert!(health_check(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_stay_inside() {
        for (path, expected) in [
            ("", "./"),
            ("./", "./"),
            ("apps/", "./apps"),
            ("/a//b/../c", "./a/c"),
            ("../../x", "./x"),
        ] {
            assert_eq!(inside(path), expected, "{path}");
        }
    }
}
