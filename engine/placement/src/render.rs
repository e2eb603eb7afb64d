//! From a checked template to the objects that are placed.

mod release;

use nave_object::Object;
use serde_json::{Map, Value, json};

use crate::bundle::{ArtifactRequest, Bundle, SecretRequest, canonical};
use crate::check::Checked;
use crate::denial::Denial;
use crate::grant::Grant;
use crate::model::{Cluster, Delivery, FleetObject, Mode, Product, Source};
use crate::names;

/// The bundle for an agent: its objects belong on the spoke.
pub(crate) fn for_agent(
    fleet: &FleetObject,
    cluster: &Cluster,
    grant: Grant,
    namespace: &str,
    checked: Checked,
    source_spec: Option<Map<String, Value>>,
) -> Result<Bundle, Denial> {
    let name = &fleet.owner.name;
    let source = fleet.source.key(&fleet.owner);
    let (source_object, artifact, source_kind) = match fleet.delivery {
        Delivery::Artifact => (
            json!({
                "apiVersion": names::SOURCE_API,
                "kind": "ExternalArtifact",
                "metadata": metadata(fleet, name, namespace, Map::new(), real_source(fleet)),
                "spec": {"sourceRef": {
                    "apiVersion": names::FLEET_API,
                    "kind": fleet.owner.kind,
                    "name": fleet.owner.name,
                    "namespace": fleet.owner.namespace,
                }},
            }),
            Some(ArtifactRequest {
                source: fleet.artifact_source(),
                include: fleet.include.clone(),
                namespace: namespace.to_owned(),
                name: name.clone(),
            }),
            "ExternalArtifact".to_owned(),
        ),
        Delivery::Source => {
            let mut spec = source_spec.ok_or_else(|| Denial::Unsupported {
                field: "spec.source.ref".into(),
                message: format!("{source} has no spec that could be copied to the cluster"),
            })?;
            if fleet.suspend {
                spec.insert("suspend".into(), Value::Bool(true));
            }
            (
                json!({
                    "apiVersion": names::SOURCE_API,
                    "kind": source.kind,
                    "metadata": metadata(fleet, name, namespace, Map::new(), requested(fleet)),
                    "spec": spec,
                }),
                None,
                source.kind,
            )
        }
    };
    let product = product(fleet, cluster, name, namespace, checked, (&source_kind, name));
    Ok(Bundle {
        objects: vec![valid(source_object)?, valid(product)?],
        artifact,
        secrets: fleet
            .secrets
            .iter()
            .map(|secret| SecretRequest {
                name: secret.name.clone(),
                namespace: namespace.to_owned(),
                optional: secret.optional,
            })
            .collect(),
        grant,
        suspend: fleet.suspend,
        requested_at: fleet.requested_at.clone(),
    })
}

/// The bundle for a kubeconfig cluster: one Kustomization or HelmRelease on the hub, next to its fleet object.
/// `on_cluster` is the namespace of the workspace there.
pub(crate) fn for_kubeconfig(
    fleet: &FleetObject,
    cluster: &Cluster,
    grant: Grant,
    on_cluster: &str,
    mut checked: Checked,
) -> Result<Bundle, Denial> {
    let Mode::KubeConfig(kubeconfig) = &cluster.mode else {
        unreachable!("called for kubeconfig clusters only");
    };
    let namespace = &fleet.owner.namespace;
    let name = name_on_hub(&fleet.owner.name, &cluster.key.name);
    if name.len() > names::LABEL_VALUE_LIMIT {
        return Err(Denial::Unsupported {
            field: "metadata.name".into(),
            message: format!(
                "the {} for this cluster would be named {name:?}, longer than the {} characters of its owner label",
                fleet.owner.product().kind(),
                names::LABEL_VALUE_LIMIT
            ),
        });
    }
    // On a spoke, one fleet object is one object of its name; here it is one per cluster.
    if let Some(Value::Array(list)) = checked.spec.get_mut("dependsOn") {
        for one in list {
            if let Some(Value::String(dependency)) = one.get_mut("name") {
                *dependency = format!("{dependency}-{}", cluster.key.name);
            }
            if let Some(one) = one.as_object_mut() {
                one.remove("namespace");
            }
        }
    }
    let mut secret = json!({"name": kubeconfig.secret});
    if !kubeconfig.key.is_empty() {
        secret["key"] = Value::String(kubeconfig.key.clone());
    }
    checked.spec.insert("kubeConfig".into(), json!({"secretRef": secret}));
    if fleet.owner.product() == Product::HelmRelease {
        release::as_on_spoke(&mut checked.spec, &fleet.owner.name, on_cluster);
    }
    let source = fleet.artifact_source();
    let mut product = product(fleet, cluster, &name, namespace, checked, (&source.kind, &source.name));
    let labels = &mut product["metadata"]["labels"];
    labels[names::FLEET_CLUSTER] = json!(cluster.key.name);
    labels[names::FLEET_CLUSTER_NAMESPACE] = json!(cluster.key.namespace);
    Ok(Bundle {
        objects: vec![valid(product)?],
        artifact: None,
        secrets: Vec::new(),
        grant,
        suspend: fleet.suspend,
        requested_at: fleet.requested_at.clone(),
    })
}

/// Name of the Kustomization or HelmRelease on the hub that stands for one fleet object on one kubeconfig cluster.
pub fn name_on_hub(fleet: &str, cluster: &str) -> String {
    format!("{fleet}-{cluster}")
}

/// The Kustomization or HelmRelease. `source` is kind and name of what it reads.
fn product(
    fleet: &FleetObject,
    cluster: &Cluster,
    name: &str,
    namespace: &str,
    checked: Checked,
    source: (&str, &str),
) -> Value {
    let Checked {
        labels,
        mut annotations,
        mut spec,
        variables,
    } = checked;
    annotations.extend(requested(fleet));
    if fleet.suspend {
        spec.insert("suspend".into(), Value::Bool(true));
    }
    let product = fleet.owner.product();
    let api = match product {
        Product::Kustomization => {
            spec.insert("sourceRef".into(), json!({"kind": source.0, "name": source.1}));
            if variables {
                add_variables(&mut spec, cluster);
            }
            names::KUSTOMIZE_API
        }
        Product::HelmRelease => {
            release::set_chart(&mut spec, source);
            names::HELM_API
        }
    };
    json!({
        "apiVersion": api,
        "kind": product.kind(),
        "metadata": metadata(fleet, name, namespace, labels, annotations),
        "spec": spec,
    })
}

/// Adds `cluster_*` to `postBuild.substitute`. What the template itself says wins.
fn add_variables(spec: &mut Map<String, Value>, cluster: &Cluster) {
    let post_build = spec.entry("postBuild").or_insert_with(|| Value::Object(Map::new()));
    let Some(post_build) = post_build.as_object_mut() else {
        return;
    };
    let substitute = post_build.entry("substitute").or_insert(Value::Null);
    if substitute.is_null() {
        *substitute = Value::Object(Map::new());
    }
    if let Some(substitute) = substitute.as_object_mut() {
        for (name, value) in cluster.exported() {
            substitute
                .entry(name.as_str())
                .or_insert_with(|| Value::String(value.clone()));
        }
    }
}

fn requested(fleet: &FleetObject) -> Map<String, Value> {
    fleet
        .requested_at
        .iter()
        .map(|at| (names::REQUESTED_AT.to_owned(), Value::String(at.clone())))
        .collect()
}

/// Where the files are from, so that a cluster which leaves its hub can fetch them itself. The names of secrets are told,
/// and nothing of what is in them: an address that carries a password is told without.
fn real_source(fleet: &FleetObject) -> Map<String, Value> {
    let (kind, spec) = match &fleet.source {
        Source::Template { kind, spec } => (kind, spec),
        Source::Reference {
            kind, spec: Some(spec), ..
        } => (kind, spec),
        Source::Reference { spec: None, .. } => return Map::new(),
    };
    let mut spec = spec.clone();
    spec.remove("suspend");
    if let Some(Value::String(url)) = spec.get_mut("url") {
        *url = without_password(url);
    }
    let mut text = Vec::new();
    // The same bytes in every build, or every cluster of the fleet would be sent its items again.
    let mut told = json!({"kind": kind, "spec": spec});
    if fleet.owner.product() == Product::HelmRelease
        && let Some(chart) = fleet.chart()
    {
        told["chart"] = Value::Object(chart.clone());
    }
    canonical(&mut text, &told);
    let text = String::from_utf8(text).expect("JSON is text");
    Map::from_iter([(names::REAL_SOURCE.to_owned(), Value::String(text))])
}

/// `https://user:password@host/…` without what stands before the `@`. The user of an SSH address is no secret and needed.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| *scheme != "ssh") else {
        return url.to_owned();
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = authority.rsplit('@').next().unwrap_or(authority);
    format!("{scheme}://{host}{path}")
}

fn metadata(
    fleet: &FleetObject,
    name: &str,
    namespace: &str,
    mut labels: Map<String, Value>,
    annotations: Map<String, Value>,
) -> Value {
    for (key, value) in [
        (names::FLEET_KIND, &fleet.owner.kind),
        (names::FLEET_NAME, &fleet.owner.name),
        (names::FLEET_NAMESPACE, &fleet.owner.namespace),
        (names::FLEET_UID, &fleet.owner.uid),
    ] {
        labels.insert(key.to_owned(), Value::String(value.clone()));
    }
    let mut metadata = json!({"name": name, "namespace": namespace, "labels": labels});
    if !annotations.is_empty() {
        metadata["annotations"] = Value::Object(annotations);
    }
    metadata
}

fn valid(value: Value) -> Result<Object, Denial> {
    Object::from_value(value).map_err(|error| Denial::Invalid {
        field: "spec.template".into(),
        message: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
