//! `nave hub restore`: a hub from what `nave hub backup` wrote.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::backup::{FORMAT, SECRET};
use crate::{
    api::FIELD_MANAGER,
    confirm::confirm,
    connection::{Connection, ConnectionArguments},
    failure::advised,
    fields,
    kinds::{CLUSTER, HUB_STATE, JOIN_TOKEN, Kind, RETIREMENT_LOG},
    say,
};

/// Make a hub from a file of `nave hub backup`
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Run it before the hub runs: after `nave install --hub`, scale the Deployment to zero, restore, and scale it up again.
Agents find the hub by the addresses that they know, and know it by its authorities. An agent that saw something newer
than the backup makes the hub say so and wait: `nave hub confirm` lets it go on. Tokens that were used stay used.

Examples:
  nave hub restore hub.json --yes")]
pub struct Arguments {
    /// The file
    file: PathBuf,
    /// Replace what is there already; without it nothing that exists is touched
    #[arg(long)]
    overwrite: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Name of the hub's Deployment.
const DEPLOYMENT: &str = "nave-hub";

/// Reads the whole file, looks at what is there, then writes.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let path = arguments.file.display();
    let text = std::fs::read(&arguments.file).with_context(|| format!("reading {path}"))?;
    let (namespace, objects) = parse(&text).with_context(|| format!("reading {path}"))?;
    let connection = to.connect().await?;
    refuse_while_it_runs(&connection, &namespace).await?;
    let mut there = Vec::new();
    for (kind, object) in &objects {
        let api = kind.api(&connection.client, &object.namespace().unwrap_or_default());
        let found = api
            .get_opt(&object.name_any())
            .await
            .with_context(|| format!("getting {} {}", kind.kind, fields::full_name(object)))?;
        there.push(found);
    }
    let existing: Vec<String> = objects
        .iter()
        .zip(&there)
        .filter(|(_, found)| found.is_some())
        .map(|((kind, object), _)| format!("{} {}", kind.kind, fields::full_name(object)))
        .collect();
    if !existing.is_empty() && !arguments.overwrite {
        let named = existing.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        return Err(advised(
            format!("{} of {} objects exist already: {named}", existing.len(), objects.len()),
            "is this the right --context? --overwrite replaces them",
        ));
    }
    if !arguments.yes {
        say::action(&format!(
            "{} objects are written, {} of them in place of what is there",
            objects.len(),
            existing.len()
        ));
        confirm(&format!("restore the hub in {namespace} namespace"), "--yes")?;
    }
    for ((kind, object), found) in objects.iter().zip(there) {
        write(&connection.client, kind, object, found).await?;
    }
    say::success(&format!("{} objects of the hub are restored", objects.len()));
    say::hint("start the hub; if agents saw more than the backup, it waits for `nave hub confirm`");
    Ok(())
}

fn parse(text: &[u8]) -> Result<(String, Vec<(&'static Kind, DynamicObject)>)> {
    let mut file: Value = serde_json::from_slice(text).context("it is not JSON")?;
    if file["format"] != FORMAT {
        bail!(
            "it says it is {}, and {FORMAT:?} is what can be restored",
            file["format"]
        );
    }
    let namespace = file["hubNamespace"].as_str().unwrap_or_default().to_owned();
    let Value::Array(items) = file["items"].take() else {
        bail!("it has no list of items");
    };
    let mut objects = Vec::new();
    for (number, item) in items.into_iter().enumerate() {
        let object: DynamicObject = serde_json::from_value(item).with_context(|| format!("items[{number}]"))?;
        let name = object.types.as_ref().map_or("", |types| types.kind.as_str());
        let kind = [&SECRET, &HUB_STATE, &RETIREMENT_LOG, &CLUSTER, &JOIN_TOKEN]
            .into_iter()
            .find(|kind| kind.kind == name)
            .with_context(|| format!("items[{number}]: kind {name:?} is no part of a hub"))?;
        if object.name_any().is_empty() || object.namespace().is_none_or(|namespace| namespace.is_empty()) {
            bail!("items[{number}]: it has no name or namespace");
        }
        objects.push((kind, object));
    }
    let has = |wanted: &Kind| objects.iter().any(|(kind, _)| *kind == wanted);
    if namespace.is_empty() || !has(&SECRET) || !has(&HUB_STATE) {
        bail!("it is not whole: a hub has a namespace, authorities (Secret) and checkpoints (HubState)");
    }
    Ok((namespace, objects))
}

/// A hub that runs would go on with what it has in memory, and write it over what is restored.
async fn refuse_while_it_runs(connection: &Connection, namespace: &str) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(connection.client.clone(), namespace);
    let found = api
        .get_opt(DEPLOYMENT)
        .await
        .with_context(|| format!("getting Deployment {namespace}/{DEPLOYMENT}"))?;
    let wanted = found.as_ref().and_then(|found| found.spec.replicas).unwrap_or(0);
    let running = found.and_then(|found| found.status?.replicas).unwrap_or(0);
    if wanted + running > 0 {
        return Err(advised(
            format!("the hub in {namespace} namespace runs"),
            format!("stop it first: kubectl -n {namespace} scale deployment {DEPLOYMENT} --replicas 0"),
        ));
    }
    Ok(())
}

async fn write(client: &Client, kind: &Kind, object: &DynamicObject, found: Option<DynamicObject>) -> Result<()> {
    let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    let what = || format!("restoring {} {namespace}/{name}", kind.kind);
    ensure_namespace(client, &namespace).await?;
    let api = kind.api(client, &namespace);
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    match found {
        None => api.create(&parameters, object).await.with_context(what)?,
        Some(found) => {
            let mut next = object.clone();
            next.metadata.resource_version = found.metadata.resource_version;
            next.metadata.finalizers = found.metadata.finalizers;
            api.replace(&name, &parameters, &next).await.with_context(what)?
        }
    };
    // Used tokens, waiting keys and the start of the last session stand in the status.
    if let Some(status) = object.data.get("status") {
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(&name, &PatchParams::apply(FIELD_MANAGER), &patch)
            .await
            .with_context(|| format!("{}: its status", what()))?;
    }
    Ok(())
}

async fn ensure_namespace(client: &Client, name: &str) -> Result<()> {
    let api: Api<Namespace> = Api::all(client.clone());
    let what = || format!("creating namespace {name}");
    if api.get_opt(name).await.with_context(what)?.is_some() {
        return Ok(());
    }
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    match api.create(&PostParams::default(), &namespace).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop).with_context(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: Value, expected: &str) {
        let error = parse(file.to_string().as_bytes()).expect_err("it is not whole");
        let text = format!("{error:#}");
        assert!(text.contains(expected), "{text:?} has no {expected:?}");
    }

    #[test]
    fn a_file_that_is_not_whole_is_not_begun_with() {
        let item = |kind: &str, version: &str| {
            let metadata = json!({"name": "hub", "namespace": "nave-system"});
            json!({"apiVersion": version, "kind": kind, "metadata": metadata})
        };
        let (secret, state) = (item("Secret", "v1"), item("HubState", "fleet.nave.dev/v1alpha1"));
        check(json!({"format": "other"}), "nave-hub-backup/v1");
        check(json!({"format": FORMAT, "hubNamespace": "n"}), "no list of items");
        check(
            json!({"format": FORMAT, "hubNamespace": "n", "items": [secret]}),
            "it is not whole",
        );
        check(
            json!({"format": FORMAT, "hubNamespace": "n", "items": [item("Pod", "v1")]}),
            "items[0]: kind \"Pod\" is no part of a hub",
        );
        let whole = json!({"format": FORMAT, "hubNamespace": "n", "items": [secret, state]}).to_string();
        let (namespace, objects) = parse(whole.as_bytes()).expect("it is whole");
        assert_eq!((namespace.as_str(), objects.len()), ("n", 2));
    }
}
