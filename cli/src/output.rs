//! Objects to stdout in the form that was asked for.

use std::io::Write;

use anyhow::Result;
use kube::api::DynamicObject;
use nave_object::yaml;
use serde_json::{Value, json};

/// What `-o` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The table with more columns
    Wide,
    /// kind/name, one per line
    Name,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// What `-o` takes where there is no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DataFormat {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Prints one value.
pub fn print_value(value: &Value, format: DataFormat) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match format {
        DataFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(value)?)?,
        DataFormat::Yaml => write!(out, "{}", yaml::write(value))?,
    }
    out.flush()?;
    Ok(())
}

/// The object as kubectl prints it: without managed fields.
pub fn object_value(object: &DynamicObject) -> Result<Value> {
    let mut value = serde_json::to_value(object)?;
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    Ok(value)
}

/// Several objects as one List.
pub fn list_value(objects: &[DynamicObject]) -> Result<Value> {
    let items = objects.iter().map(object_value).collect::<Result<Vec<_>>>()?;
    Ok(json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}))
}

/// `kustomization.kustomize.toolkit.fluxcd.io/apps`, as kubectl's `-o name`.
pub fn object_name(object: &DynamicObject) -> String {
    let types = object.types.clone().unwrap_or_default();
    let kind = types.kind.to_lowercase();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    match types.api_version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

/// Bytes as they are: nothing in them is taken for colour.
pub fn print_data(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// Lines of text.
pub fn print_text(text: &str) -> Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
