//! From what was built to what is applied: normal form, common metadata, owner labels, order.

use base64::Engine;
use nave_crds::labels::{KUSTOMIZE_NAME, KUSTOMIZE_NAMESPACE};
use nave_object::{Object, normalize::normalize, order::apply_order};
use nave_runtime::ports::OwnerRef;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

use crate::rules;

/// Labels and annotations for every object; they win over the object's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommonMetadata {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Why objects cannot be applied, whatever the cluster says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The same object is there twice, perhaps in two versions.
    #[error("{object} is there twice in what was built")]
    Duplicate {
        /// `<Kind>/<namespace>/<name>`.
        object: String,
    },
    /// A Secret was not decrypted.
    #[error("{object} is SOPS encrypted, configuring decryption is required for this secret to be reconciled")]
    Encrypted {
        /// `<Kind>/<namespace>/<name>`.
        object: String,
    },
}

/// Brings objects into the form and order in which they are applied, owned by `owner`.
///
/// # Errors
/// Objects that cannot be applied.
pub fn prepare(objects: Vec<Object>, owner: &OwnerRef, common: &CommonMetadata) -> Result<Vec<Object>, PrepareError> {
    let mut seen = HashSet::new();
    let mut prepared = Vec::with_capacity(objects.len());
    for mut object in objects {
        if !seen.insert(object.id()) {
            return Err(PrepareError::Duplicate {
                object: object.to_string(),
            });
        }
        if is_encrypted(&object) {
            return Err(PrepareError::Encrypted {
                object: object.to_string(),
            });
        }
        normalize(&mut object);
        for (key, value) in &common.labels {
            object.set_label(key, value);
        }
        for (key, value) in &common.annotations {
            object.set_annotation(key, value);
        }
        // An object that is never applied keeps its labels out of the inventory's way all the same: Flux labels it too.
        object.set_label(KUSTOMIZE_NAME, &owner.name);
        object.set_label(KUSTOMIZE_NAMESPACE, &owner.namespace);
        if object.kind() == "CustomResourceDefinition" {
            drop_invalid_ca_bundle(object.as_value_mut());
        }
        prepared.push(object);
    }
    prepared.sort_by(apply_order);
    Ok(prepared)
}

/// A Secret that still carries the `sops` field would be stored with its encrypted values.
fn is_encrypted(object: &Object) -> bool {
    object.kind() == "Secret"
        && object.api_version() == "v1"
        && object.as_value().get("sops").is_some()
        && !decryption_is_disabled(object)
        && !rules::is_left_alone(object.as_value())
}

fn decryption_is_disabled(object: &Object) -> bool {
    object
        .annotation(nave_crds::annotations::KUSTOMIZE_DECRYPT)
        .is_some_and(|value| value.eq_ignore_ascii_case("disabled"))
}

/// Placeholders (`Cg==`) that a certificate injector replaces later are refused by the API server.
fn drop_invalid_ca_bundle(definition: &mut Value) {
    let Some(config) = definition.pointer_mut("/spec/conversion/webhook/clientConfig") else {
        return;
    };
    let Some(bundle) = config.get("caBundle") else {
        return;
    };
    let is_certificate = bundle
        .as_str()
        .and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok())
        .is_some_and(|pem| pem.windows(27).any(|window| window == b"-----BEGIN CERTIFICATE-----"));
    if !is_certificate && let Some(config) = config.as_object_mut() {
        config.remove("caBundle");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn owner() -> OwnerRef {
        OwnerRef {
            kind: "Kustomization".into(),
            namespace: "flux-system".into(),
            name: "apps".into(),
            fleet: None,
        }
    }

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("the test's object is valid")
    }

    #[test]
    fn owner_and_common_metadata_win() {
        let config = object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "name": "c", "labels": {KUSTOMIZE_NAME: "other", "team": "x"}}}));
        let common = CommonMetadata {
            labels: [("team".to_owned(), "y".to_owned())].into(),
            annotations: [("note".to_owned(), "z".to_owned())].into(),
        };
        let prepared = prepare(vec![config], &owner(), &common).expect("nothing is wrong");
        assert_eq!(
            prepared[0].as_value()["metadata"],
            json!({"name": "c", "annotations": {"note": "z"},
                "labels": {KUSTOMIZE_NAME: "apps", KUSTOMIZE_NAMESPACE: "flux-system", "team": "y"}})
        );
    }

    #[test]
    fn duplicates_and_encrypted_secrets_are_refused() {
        let config = |version: &str| object(json!({"apiVersion": version, "kind": "X", "metadata": {"name": "c"}}));
        let error = prepare(
            vec![config("g/v1"), config("g/v2")],
            &owner(),
            &CommonMetadata::default(),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "X/c is there twice in what was built");
        let secret = |annotations: Value| {
            object(json!({"apiVersion": "v1", "kind": "Secret", "sops": {"mac": "m"},
            "metadata": {"name": "s", "annotations": annotations}}))
        };
        assert!(prepare(vec![secret(json!({}))], &owner(), &CommonMetadata::default()).is_err());
        let disabled = json!({"kustomize.toolkit.fluxcd.io/decrypt": "Disabled"});
        assert!(prepare(vec![secret(disabled)], &owner(), &CommonMetadata::default()).is_ok());
    }

    #[track_caller]
    fn check_bundle(bundle: &str, kept: bool) {
        let definition = object(
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "x.example.com"},
            "spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": bundle}}}}}),
        );
        let prepared = prepare(vec![definition], &owner(), &CommonMetadata::default()).expect("nothing is wrong");
        let config = &prepared[0].as_value()["spec"]["conversion"]["webhook"]["clientConfig"];
        assert_eq!(config.get("caBundle").is_some(), kept, "{bundle}");
    }

    #[test]
    fn placeholders_for_certificates_are_dropped() {
        check_bundle("Cg==", false);
        check_bundle("", false);
        check_bundle("not base64!", false);
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        check_bundle(&base64::engine::general_purpose::STANDARD.encode(pem), true);
    }
}
