//! `nave create`: objects from flags, written to the cluster or to stdout.

mod helmrelease;
mod kustomization;
pub mod secret;
pub mod source;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use clap::Subcommand;
use kube::{
    ResourceExt,
    api::{DynamicObject, PostParams},
};
use nave_object::duration;
use serde_json::{Value, json};

use super::export::document;
use crate::{
    connection::{self, Connection, ConnectionArguments},
    failure::advised,
    kinds::Kind,
    output, say, wait,
};

/// Create or change objects
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// A HelmRelease
    #[command(name = "helmrelease", visible_alias = "hr", after_help = helmrelease::EXAMPLES)]
    HelmRelease(Box<helmrelease::Arguments>),
    /// A source
    Source(source::Arguments),
    /// A Secret with credentials
    Secret(secret::Arguments),
    /// A Kustomization
    #[command(visible_alias = "ks", after_help = kustomization::EXAMPLES)]
    Kustomization(Box<kustomization::Arguments>),
}

/// What every kind takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// How often to reconcile
    #[arg(long, global = true, value_name = "DURATION", default_value = "1m", value_parser = connection::duration)]
    pub interval: Duration,
    /// Print YAML and write nothing
    #[arg(long, global = true)]
    pub export: bool,
    /// Labels of the object: key=value, several with commas
    #[arg(long = "label", global = true, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    pub labels: Vec<(String, String)>,
}

/// Creates what was asked for.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    match arguments.what {
        What::HelmRelease(typed) => helmrelease::run(*typed, &arguments.common, to).await,
        What::Source(typed) => source::run(typed, &arguments.common, to).await,
        What::Secret(typed) => secret::run(typed, &arguments.common, to).await,
        What::Kustomization(typed) => kustomization::run(*typed, &arguments.common, to).await,
    }
}

/// Prints an object, or writes it and waits until it is ready; gives it as it then is, none when it was printed.
///
/// Labels and spec are replaced as a whole where the object is there already, as with flux.
///
/// # Errors
/// The API server refuses it, or it does not become ready in time.
pub async fn create(
    kind: &'static Kind,
    name: &str,
    spec: Value,
    common: &Common,
    to: &ConnectionArguments,
) -> Result<Option<DynamicObject>> {
    check_name(name)?;
    if common.export {
        let object = object_of(kind, name, &to.flux_namespace_unconnected(), spec, common);
        output::print_data(document(&object).as_bytes())?;
        return Ok(None);
    }
    let connection = to.connect().await?;
    let namespace = to.flux_namespace(&connection);
    say::generating(&format!("generating {}", kind.kind));
    let object = serde_json::from_value(object_of(kind, name, &namespace, spec, common))?;
    say::action(&format!("applying {}", kind.kind));
    write(&connection, kind, &namespace, object).await?;
    let what = format!("waiting for {} reconciliation", kind.kind);
    say::waiting(&what);
    let api = kind.api(&connection.client, &namespace);
    wait::until(api.clone(), name, &what, to.timeout, wait::observed)
        .await
        .with_context(|| format!("{} reconciliation failed", kind.kind))?;
    say::success(&format!("{} {name} is ready", kind.kind));
    let read = api.get(name).await;
    Ok(Some(read.with_context(|| {
        format!("getting {} {namespace}/{name}", kind.kind)
    })?))
}

/// The same for an object that nobody reconciles: it is there when it is written.
///
/// # Errors
/// The API server refuses it.
pub async fn create_static(
    kind: &'static Kind,
    name: &str,
    spec: Value,
    common: &Common,
    to: &ConnectionArguments,
) -> Result<()> {
    if common.export {
        return create(kind, name, spec, common, to).await.map(|_| ());
    }
    check_name(name)?;
    let connection = to.connect().await?;
    let namespace = to.flux_namespace(&connection);
    let object = serde_json::from_value(object_of(kind, name, &namespace, spec, common))?;
    say::action(&format!("applying {}", kind.kind));
    write(&connection, kind, &namespace, object).await
}

async fn write(connection: &Connection, kind: &Kind, namespace: &str, object: DynamicObject) -> Result<()> {
    let api = kind.api(&connection.client, namespace);
    let name = object.name_any();
    let what = || format!("writing {} {namespace}/{name}", kind.kind);
    match api.get_opt(&name).await.with_context(what)? {
        None => {
            api.create(&PostParams::default(), &object).await.with_context(what)?;
            say::success(&format!("{} created", kind.kind));
        }
        Some(mut existing) => {
            existing.types = object.types;
            existing.metadata.labels = object.metadata.labels;
            existing.data["spec"] = object.data["spec"].clone();
            api.replace(&name, &PostParams::default(), &existing)
                .await
                .with_context(what)?;
            say::success(&format!("{} updated", kind.kind));
        }
    }
    Ok(())
}

fn object_of(kind: &Kind, name: &str, namespace: &str, spec: Value, common: &Common) -> Value {
    let mut metadata = json!({"name": name, "namespace": namespace});
    if !common.labels.is_empty() {
        metadata["labels"] = json!(common.labels.iter().cloned().collect::<BTreeMap<_, _>>());
    }
    json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata, "spec": spec})
}

/// A duration as Go writes it: `1m0s`.
pub fn go(time: Duration) -> Value {
    duration::format(time).into()
}

pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.len() >= 2 && connection::is_dns_label(name) {
        return Ok(());
    }
    Err(advised(
        format!("name {name:?} is invalid"),
        "a name has 2 to 63 lower-case letters, digits and dashes, and begins and ends with a letter or digit",
    ))
}

fn label(text: &str) -> Result<(String, String), String> {
    let invalid = || format!("{text:?} is no label of the form key=value");
    let (key, value) = text.split_once('=').ok_or_else(invalid)?;
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_part = |text: &str| {
        let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let bytes = text.as_bytes();
        text.len() <= 63
            && edge(bytes.first().copied())
            && edge(bytes.last().copied())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    };
    let is_domain = |text: &str| text.len() <= 253 && text.split('.').all(connection::is_dns_label);
    if !is_part(name) || !prefix.is_none_or(is_domain) || !(value.is_empty() || is_part(value)) {
        return Err(invalid());
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_kubernetes() {
        for text in ["a=b", "a.b/c-d=e_f", "a="] {
            assert!(label(text).is_ok(), "{text}");
        }
        for text in ["a", "=b", "-a=b", "a/b/c=d", "A..b/c=d", "a=b=c", "a=ü"] {
            assert!(label(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_have_two_characters_at_least() {
        for name in ["ab", "a-1"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["a", "", "A1", "a-", "a.b"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
