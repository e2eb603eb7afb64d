//! ConfigMaps and Secrets with values.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use nave_crds::helm::ValuesKind;
use nave_object::Gvk;
use serde_json::Value;

use super::given::Given;

/// The data of a ConfigMap or Secret of the release's namespace.
pub async fn data_of(given: &Given<'_>, kind: ValuesKind, name: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>> {
    let kind = match kind {
        ValuesKind::ConfigMap => "ConfigMap",
        ValuesKind::Secret => "Secret",
    };
    match given.find(&Gvk::new("v1", kind), given.namespace(), name).await? {
        Some(object) => Ok(Some(data(&object)?)),
        None => Ok(None),
    }
}

/// `data` as bytes; a Secret of a file may have `stringData`, too.
pub fn data(object: &Value) -> Result<BTreeMap<String, Vec<u8>>> {
    let is_secret = object["kind"] == "Secret";
    let mut data = BTreeMap::new();
    let fields = |field: &str| object[field].as_object().cloned().unwrap_or_default();
    for (key, value) in fields("data") {
        let text = value.as_str().unwrap_or_default();
        let bytes = match is_secret {
            true => STANDARD
                .decode(text.trim())
                .with_context(|| format!("data.{key} is no base64"))?,
            false => text.as_bytes().to_vec(),
        };
        data.insert(key, bytes);
    }
    for (key, value) in fields("stringData") {
        data.insert(key, value.as_str().unwrap_or_default().as_bytes().to_vec());
    }
    Ok(data)
}
