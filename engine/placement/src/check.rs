//! The result, after overrides and variables, against what the workspace may do.

mod release;

use serde_json::{Map, Value};

use crate::denial::Denial;
use crate::grant::Grant;
use crate::model::{FleetObject, Product};
use crate::names;

/// What the check needs to know besides the value.
pub(crate) struct Frame<'a> {
    /// The workspace of the fleet object.
    pub workspace: &'a str,
    /// What it may do on the cluster.
    pub grant: &'a Grant,
    /// Namespace of the Flux objects: on the spoke, or on the hub for a kubeconfig cluster.
    pub namespace: &'a str,
    /// Namespace of the workspace on the cluster itself: that of a release, unless the template names another.
    pub on_cluster: &'a str,
    /// Whether the objects stay on the hub.
    pub on_hub: bool,
    /// Names in `spec.secrets`.
    pub secrets: &'a [String],
    /// The fleet object.
    pub fleet: &'a FleetObject,
}

/// A template that may be placed.
pub(crate) struct Checked {
    /// Labels of the product.
    pub labels: Map<String, Value>,
    /// Annotations of the product.
    pub annotations: Map<String, Value>,
    /// Spec of the product.
    pub spec: Map<String, Value>,
    /// Whether manifests get `cluster_*` variables.
    pub variables: bool,
}

/// Labels or annotations.
type Texts = Map<String, Value>;

const METADATA: &str = "spec.template.metadata";
const SPEC: &str = "spec.template.spec";

/// Checks `{metadata, spec}` and takes it apart.
pub(crate) fn check(value: Value, frame: &Frame<'_>) -> Result<Checked, Denial> {
    let mut value = object(value, "spec.template")?;
    let metadata = value.remove("metadata").unwrap_or(Value::Null);
    let spec = value.remove("spec").unwrap_or(Value::Null);
    if let Some(field) = value.keys().next() {
        return Err(Denial::ForbiddenField {
            field: format!("spec.template.{field}"),
            why: "a template has metadata and spec",
        });
    }
    let (labels, mut annotations) = metadata_of(metadata)?;
    let variables = match annotations.remove(names::CLUSTER_VARIABLES) {
        None => true,
        Some(value) if value == names::DISABLED => false,
        Some(_) => {
            return Err(Denial::WrongType {
                field: format!("{METADATA}.annotations[{}]", names::CLUSTER_VARIABLES),
                expected: "\"disabled\", or be left out",
            });
        }
    };
    not_forged(&labels, &format!("{METADATA}.labels"))?;
    not_forged(&annotations, &format!("{METADATA}.annotations"))?;
    let mut spec = object(spec, SPEC)?;
    check_spec(&mut spec, frame)?;
    Ok(Checked {
        labels,
        annotations,
        spec,
        variables,
    })
}

/// Checks the spec of a source that goes to a spoke.
pub(crate) fn check_source(spec: &Map<String, Value>, frame: &Frame<'_>) -> Result<(), Denial> {
    account(
        spec,
        "spec.source.template.spec.serviceAccountName",
        "serviceAccountName",
        frame,
    )
}

fn check_spec(spec: &mut Map<String, Value>, frame: &Frame<'_>) -> Result<(), Denial> {
    // A null is what a merge patch leaves of nothing; the API server would drop it.
    spec.retain(|_, value| !value.is_null());
    if spec.contains_key("kubeConfig") {
        return Err(Denial::ForbiddenField {
            field: format!("{SPEC}.kubeConfig"),
            why: "clusters are reached through Cluster objects only",
        });
    }
    match frame.fleet.owner.product() {
        Product::Kustomization if spec.contains_key("sourceRef") => {
            return Err(Denial::ForbiddenField {
                field: format!("{SPEC}.sourceRef"),
                why: "it follows from spec.source",
            });
        }
        Product::Kustomization => {}
        Product::HelmRelease => release::check_chart(spec, frame)?,
    }
    check_namespaces(spec, frame)?;
    account(spec, &format!("{SPEC}.serviceAccountName"), "serviceAccountName", frame)?;
    if !frame.grant.admin {
        spec.insert(
            "serviceAccountName".into(),
            Value::String(frame.grant.service_account.clone()),
        );
    }
    if let Some(decryption) = child(spec, "decryption")? {
        account(
            decryption,
            &format!("{SPEC}.decryption.serviceAccountName"),
            "serviceAccountName",
            frame,
        )?;
    }
    if let Some(common) = child(spec, "commonMetadata")? {
        for kind in ["labels", "annotations"] {
            match common.get(kind) {
                None | Some(Value::Null) => {}
                Some(Value::Object(map)) => {
                    not_forged(map, &format!("{SPEC}.commonMetadata.{kind}"))?;
                }
                Some(_) => {
                    return Err(Denial::WrongType {
                        field: format!("{SPEC}.commonMetadata.{kind}"),
                        expected: "a map of strings",
                    });
                }
            }
        }
    }
    check_depends_on(spec, frame)?;
    if frame.fleet.owner.product() == Product::HelmRelease {
        return release::check_values(spec, frame);
    }
    if let Some(post_build) = child(spec, "postBuild")?
        && post_build
            .get("substitute")
            .is_some_and(|substitute| !substitute.is_object() && !substitute.is_null())
    {
        return Err(Denial::WrongType {
            field: format!("{SPEC}.postBuild.substitute"),
            expected: "a map of strings",
        });
    }
    if frame.on_hub {
        check_hub_secrets(spec, frame)?;
    }
    Ok(())
}

/// Namespaces that the spec names, and the one that the objects live in.
fn check_namespaces(spec: &Map<String, Value>, frame: &Frame<'_>) -> Result<(), Denial> {
    let outside = |field: &str, namespace: &str| Denial::OutsideGrant {
        field: field.to_owned(),
        namespace: namespace.to_owned(),
        workspace: frame.workspace.to_owned(),
        allowed: frame.grant.namespaces.join(", "),
    };
    if !frame.grant.allows_namespace(frame.namespace) {
        return Err(if frame.on_hub {
            // The account that is impersonated there is looked up in the namespace of the Flux object.
            outside("the namespace of the service account", frame.namespace)
        } else {
            outside("spec.spokeNamespace", frame.namespace)
        });
    }
    for field in ["targetNamespace", "storageNamespace"] {
        if let Some(named) = string(spec, SPEC, field)?
            && !frame.grant.allows_namespace(named)
        {
            return Err(outside(&format!("{SPEC}.{field}"), named));
        }
    }
    let is_release = frame.fleet.owner.product() == Product::HelmRelease;
    if is_release && frame.on_hub && !frame.grant.allows_namespace(frame.on_cluster) {
        return Err(outside("spec.spokeNamespace", frame.on_cluster));
    }
    Ok(())
}

/// References to others of its kind.
fn check_depends_on(spec: &Map<String, Value>, frame: &Frame<'_>) -> Result<(), Denial> {
    let wrong = || Denial::WrongType {
        field: format!("{SPEC}.dependsOn"),
        expected: "a list of {name, namespace, readyExpr}",
    };
    let Some(list) = spec.get("dependsOn") else {
        return Ok(());
    };
    for (index, one) in list.as_array().ok_or_else(wrong)?.iter().enumerate() {
        let one = one.as_object().ok_or_else(wrong)?;
        let field = format!("{SPEC}.dependsOn[{index}]");
        let Some(namespace) = string(one, &field, "namespace")? else {
            continue;
        };
        if namespace == frame.namespace {
            continue;
        }
        if !frame.grant.admin {
            return Err(Denial::CrossNamespace {
                field: format!("{field}.namespace"),
                namespace: namespace.to_owned(),
            });
        }
        if frame.on_hub {
            return Err(Denial::Unsupported {
                field: format!("{field}.namespace"),
                message: format!(
                    "a kubeconfig cluster has its {}s in the hub's namespace {:?}; leave the namespace out",
                    frame.fleet.owner.product().kind(),
                    frame.namespace
                ),
            });
        }
    }
    Ok(())
}

/// On the hub, a Kustomization reads Secrets next to it and sends their content to the cluster, so
/// they need the same consent as Secrets that are copied.
fn check_hub_secrets(spec: &Map<String, Value>, frame: &Frame<'_>) -> Result<(), Denial> {
    let mut used = Vec::new();
    if let Some(decryption) = child(spec, "decryption")?
        && let Some(reference) = decryption.get("secretRef").and_then(Value::as_object)
    {
        let field = format!("{SPEC}.decryption.secretRef");
        used.push((string(reference, &field, "name")?.unwrap_or_default(), field));
    }
    if let Some(post_build) = child(spec, "postBuild")? {
        let list = post_build.get("substituteFrom").and_then(Value::as_array);
        for (index, one) in list.into_iter().flatten().enumerate() {
            let field = format!("{SPEC}.postBuild.substituteFrom[{index}]");
            let one = one.as_object().ok_or_else(|| Denial::WrongType {
                field: field.clone(),
                expected: "a reference {kind, name}",
            })?;
            // A ConfigMap holds no secrets; anything else is treated as if it did.
            if string(one, &field, "kind")? != Some("ConfigMap") {
                used.push((string(one, &field, "name")?.unwrap_or_default(), field));
            }
        }
    }
    consented(&used, frame, "postBuild.substituteFrom or decryption")
}

/// Secrets that are used are listed, and the listed ones are used: on the hub there is nothing else to do with them.
fn consented(used: &[(&str, String)], frame: &Frame<'_>, places: &str) -> Result<(), Denial> {
    for (name, field) in used {
        if !frame.secrets.iter().any(|listed| listed == name) {
            return Err(Denial::Unsupported {
                field: field.clone(),
                message: format!("Secret {name:?} would leave the hub but is not listed in spec.secrets"),
            });
        }
    }
    for listed in frame.secrets {
        if !used.iter().any(|(name, _)| name == listed) {
            return Err(Denial::Unsupported {
                field: "spec.secrets".into(),
                message: format!(
                    "Secret {listed:?} is not copied to a kubeconfig cluster by this version; use it in {places}, or exclude the cluster"
                ),
            });
        }
    }
    Ok(())
}

/// A service account other than the grant's.
fn account(map: &Map<String, Value>, field: &str, key: &str, frame: &Frame<'_>) -> Result<(), Denial> {
    let parent = field.rsplit_once('.').map_or("", |(parent, _)| parent);
    if frame.grant.admin {
        return string(map, parent, key).map(|_| ());
    }
    match string(map, parent, key)? {
        Some(found) if found != frame.grant.service_account => Err(Denial::ServiceAccount {
            field: field.to_owned(),
            found: found.to_owned(),
            workspace: frame.workspace.to_owned(),
            granted: frame.grant.service_account.clone(),
        }),
        _ => Ok(()),
    }
}

/// Labels or annotations that say who owns an object.
fn not_forged(map: &Map<String, Value>, field: &str) -> Result<(), Denial> {
    for (key, value) in map {
        let owners = [
            names::KUSTOMIZE_NAME,
            names::KUSTOMIZE_NAMESPACE,
            names::HELM_NAME,
            names::HELM_NAMESPACE,
        ];
        if key.starts_with(names::FLEET_PREFIX) || owners.contains(&key.as_str()) {
            return Err(Denial::ForgedOwner {
                field: field.to_owned(),
                key: key.clone(),
            });
        }
        if !value.is_string() {
            return Err(Denial::WrongType {
                field: format!("{field}[{key}]"),
                expected: "a string",
            });
        }
    }
    Ok(())
}

/// Labels and annotations; nothing else of the metadata is the template's.
fn metadata_of(metadata: Value) -> Result<(Texts, Texts), Denial> {
    if metadata.is_null() {
        return Ok((Map::new(), Map::new()));
    }
    let mut metadata = object(metadata, METADATA)?;
    let mut take = |key: &str| match metadata.remove(key) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(value) => object(value, &format!("{METADATA}.{key}")),
    };
    let both = (take("labels")?, take("annotations")?);
    match metadata.keys().next() {
        Some(field) => Err(Denial::ForbiddenField {
            field: format!("{METADATA}.{field}"),
            why: "a template may set labels and annotations",
        }),
        None => Ok(both),
    }
}

fn object(value: Value, field: &str) -> Result<Map<String, Value>, Denial> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Denial::WrongType {
            field: field.to_owned(),
            expected: "an object",
        }),
    }
}

/// A field of the spec that is an object, if it is there.
fn child<'a>(spec: &'a Map<String, Value>, key: &str) -> Result<Option<&'a Map<String, Value>>, Denial> {
    match spec.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(Denial::WrongType {
            field: format!("{SPEC}.{key}"),
            expected: "an object",
        }),
    }
}

/// A field that is a string, if it is there and not empty. Go reads an empty string as not set.
fn string<'a>(map: &'a Map<String, Value>, parent: &str, key: &str) -> Result<Option<&'a str>, Denial> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(Denial::WrongType {
            field: format!("{parent}.{key}"),
            expected: "a string",
        }),
    }
}
