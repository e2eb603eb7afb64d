//! What a namespace looks like, without what differs between any two runs.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use serde_json::{Map, Value, json};

use crate::words::same;

/// By `Kind/name`: Flux's objects; by `managed Kind/namespace/name`: what they manage; by `events Kind/name`: what was said.
pub type Look = BTreeMap<String, Value>;

/// The kinds whose objects are looked at, with what they are asked to do.
pub const KINDS: [(&str, &str); 7] = [
    ("source.toolkit.fluxcd.io/v1", "GitRepository"),
    ("source.toolkit.fluxcd.io/v1", "OCIRepository"),
    ("source.toolkit.fluxcd.io/v1", "Bucket"),
    ("source.toolkit.fluxcd.io/v1", "HelmRepository"),
    ("source.toolkit.fluxcd.io/v1", "HelmChart"),
    ("source.toolkit.fluxcd.io/v1", "ExternalArtifact"),
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
];

/// Fields of a status that are times, or count what a reconcile more adds to.
const VOLATILE: [&str; 8] = [
    "lastTransitionTime",
    "lastUpdateTime",
    "firstReconciled",
    "lastReconciled",
    "lastReconciledDuration",
    "totalReconciliations",
    "time",
    "url",
];

/// The API of a kind in one namespace, or of objects without one.
pub fn api(client: &Client, version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Looks at everything in a namespace.
///
/// # Errors
/// The API server refuses, or the inventory names a kind that is not served.
pub async fn look(client: &Client, namespace: &str) -> Result<Look> {
    let mut seen = Look::new();
    for (version, kind) in KINDS {
        let list = api(client, version, kind, Some(namespace))
            .list(&ListParams::default())
            .await
            .with_context(|| format!("listing {kind}"))?;
        for object in list {
            let object = serde_json::to_value(object)?;
            for entry in object["status"]["inventory"]["entries"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let (name, managed) = managed(client, entry).await?;
                seen.insert(format!("managed {name}"), managed);
            }
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            seen.insert(format!("{kind}/{name}"), own(object));
        }
    }
    for (about, said) in events(client, namespace).await? {
        seen.insert(format!("events {about}"), json!(said));
    }
    Ok(seen)
}

/// What shows any write to a managed object that is not one to its status.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    uid: String,
    /// Of what has no status: others write that.
    resource_version: Option<String>,
    generation: Value,
    /// With their times.
    managers: Vec<Value>,
}

/// The traces of everything in the inventories of a namespace, by `Kind/namespace/name`.
///
/// # Errors
/// The API server refuses.
pub async fn traces(client: &Client, namespace: &str) -> Result<BTreeMap<String, Trace>> {
    let (version, kind) = KINDS[KINDS.len() - 1];
    let list = api(client, version, kind, Some(namespace))
        .list(&ListParams::default())
        .await?;
    let mut traces = BTreeMap::new();
    for object in list {
        let object = serde_json::to_value(object)?;
        for entry in object["status"]["inventory"]["entries"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let (name, Some(live)) = entry_object(client, entry).await? else {
                continue;
            };
            let metadata = &live["metadata"];
            let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
            let managers = metadata["managedFields"].as_array().into_iter().flatten();
            let trace = Trace {
                uid: text("uid"),
                resource_version: live.get("status").is_none().then(|| text("resourceVersion")),
                generation: metadata["generation"].clone(),
                managers: managers
                    .filter(|entry| entry["subresource"] != "status")
                    .cloned()
                    .collect(),
            };
            traces.insert(name, trace);
        }
    }
    Ok(traces)
}

/// Whether an object has dealt with the request that its annotation carries.
///
/// # Errors
/// What it is at.
pub fn settled(object: &Value) -> Result<()> {
    let asked = &object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
    let status = &object["status"];
    ensure!(asked == &status["lastHandledReconcileAt"], "not handled: {status}");
    if object["spec"]["suspend"] == json!(true) {
        return Ok(());
    }
    let condition = |kind: &str| {
        let all = status["conditions"].as_array().into_iter().flatten();
        all.clone().find(|condition| condition["type"] == kind)
    };
    let ready = condition("Ready").with_context(|| format!("not Ready or not: {status}"))?;
    ensure!(ready["status"] != "Unknown", "not decided: {status}");
    let at_it = condition("Reconciling").is_some_and(|found| found["reason"] == "Progressing");
    ensure!(!at_it, "at it: {status}");
    Ok(())
}

/// Status, finalizers and who wrote what of an object of Flux.
fn own(object: Value) -> Value {
    let mut status = object["status"].clone();
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let named: Map<String, Value> = conditions.into_iter().map(problem_apart).collect();
    if let Some(status) = status.as_object_mut() {
        status.insert("conditions".to_owned(), Value::Object(named));
    }
    clean(&mut status);
    // People write objects as well: what they own says nothing of an engine.
    let engines: Map<String, Value> = match managers(&object) {
        Value::Object(all) => all
            .into_iter()
            .filter(|(name, _)| name.contains("-controller "))
            .collect(),
        _ => Map::new(),
    };
    json!({"status": status, "finalizers": object["metadata"]["finalizers"], "managers": engines})
}

/// A condition by its type. What is wrong stands apart from what else is said: its words are each engine's own.
fn problem_apart(mut condition: Value) -> (String, Value) {
    let kind = condition["type"].as_str().unwrap_or_default().to_owned();
    let positive = ["Ready", "Healthy", "ArtifactInStorage", "SourceVerified"].contains(&kind.as_str());
    let is_problem = match kind.as_str() {
        "Reconciling" => false,
        _ => condition["status"] == if positive { "False" } else { "True" },
    };
    if is_problem && let Some(map) = condition.as_object_mut() {
        let message = map.remove("message").unwrap_or_default();
        map.insert("problem".to_owned(), message);
    }
    (kind, condition)
}

/// Fields by manager, operation and subresource.
fn managers(object: &Value) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    entries
        .map(|entry| {
            let subresource = text(&entry["subresource"]);
            let name = format!(
                "{} {} {subresource}",
                text(&entry["manager"]),
                text(&entry["operation"])
            );
            (name, entry["fieldsV1"].clone())
        })
        .collect::<Map<String, Value>>()
        .into()
}

/// The object behind an entry of an inventory, if it is there, and `Kind/namespace/name`.
async fn entry_object(client: &Client, entry: &Value) -> Result<(String, Option<Value>)> {
    let id = entry["id"].as_str().context("an id")?;
    let (namespace, rest) = id.split_once('_').context("a namespace")?;
    let (rest, kind) = rest.rsplit_once('_').context("a kind")?;
    let (name, group) = rest.rsplit_once('_').context("a group")?;
    let name = name.replace("__", ":");
    let v = entry["v"].as_str().context("a version")?;
    let version = if group.is_empty() {
        v.to_owned()
    } else {
        format!("{group}/{v}")
    };
    let found = api(
        client,
        &version,
        kind,
        Some(namespace).filter(|namespace| !namespace.is_empty()),
    )
    .get_opt(&name)
    .await?;
    let found = found.map(serde_json::to_value).transpose()?;
    Ok((format!("{kind}/{namespace}/{name}"), found))
}

/// An object of an inventory, without what the cluster gives.
async fn managed(client: &Client, entry: &Value) -> Result<(String, Value)> {
    let (title, found) = entry_object(client, entry).await?;
    let Some(mut object) = found else {
        return Ok((title, Value::Null));
    };
    let managers: Map<String, Value> = match managers(&object) {
        Value::Object(all) => all.into_iter().filter(|(name, _)| !name.ends_with(" status")).collect(),
        _ => Map::new(),
    };
    let metadata = object["metadata"].as_object_mut().context("metadata")?;
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
        "generation",
    ] {
        metadata.remove(field);
    }
    object.as_object_mut().context("a map")?.remove("status");
    // What the cluster itself gives: addresses and tokens.
    if let Some(spec) = object["spec"].as_object_mut() {
        for field in ["clusterIP", "clusterIPs", "volumeName"] {
            spec.remove(field);
        }
    }
    object["managers"] = Value::Object(managers);
    clean(&mut object);
    Ok((title, object))
}

/// By object, what the controllers said of it.
async fn events(
    client: &Client,
    namespace: &str,
) -> Result<BTreeMap<String, BTreeMap<&'static str, BTreeSet<String>>>> {
    let list = Api::<Event>::namespaced(client.clone(), namespace)
        .list(&ListParams::default())
        .await?;
    let mut said: BTreeMap<String, BTreeMap<&'static str, BTreeSet<String>>> = BTreeMap::new();
    for event in list {
        let Some(controller) = event.reporting_component.filter(|name| name.ends_with("-controller")) else {
            continue;
        };
        if controller != "kustomize-controller" && controller != "source-controller" {
            continue;
        }
        let about = event.involved_object;
        let mut annotations = json!(event.metadata.annotations.unwrap_or_default());
        clean(&mut annotations);
        // Each engine compresses in its own way.
        if annotations["source.toolkit.fluxcd.io/digest"].is_string() {
            annotations["source.toolkit.fluxcd.io/digest"] = json!("DIGEST");
        }
        let (kind, reason) = (event.type_.unwrap_or_default(), event.reason.unwrap_or_default());
        let message = same(&event.message.unwrap_or_default());
        if reason == "GarbageCollectionSucceeded" {
            continue; // whether it is told depends on the clock
        }
        if message.starts_with("Health check passed") {
            annotations = json!({}); // two of the same duration are one event
        }
        let name = format!("{}/{}", about.kind.unwrap_or_default(), about.name.unwrap_or_default());
        let about = said.entry(name).or_default();
        let head = format!("{controller} {kind} {reason}");
        if kind == "Warning" || reason == "DependencyNotReady" {
            about.entry("problems").or_default().insert(message);
            about.entry("said").or_default().insert(format!("{head} {annotations}"));
        } else {
            about
                .entry("said")
                .or_default()
                .insert(format!("{head}: {message} {annotations}"));
        }
    }
    Ok(said)
}

/// Takes times away, and what differs between any two runs out of texts.
fn clean(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for name in VOLATILE {
                if map.get(name).is_some_and(|value| !value.is_object()) {
                    map.remove(name);
                }
            }
            map.values_mut().for_each(clean);
        }
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::String(text) => *text = same(text),
        _ => {}
    }
}
