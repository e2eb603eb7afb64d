//! Encrypted values are of no use to a reader, and their place in a diff hides everything else.

use base64::{Engine, engine::general_purpose::STANDARD};
use nave_object::Object;
use serde_json::{Value, json};

/// What stands in place of encrypted values.
const MASK: &str = "**SOPS**";
/// The same where Kubernetes wants JSON.
const MASK_JSON: &str = r#"{"mask":"**SOPS**"}"#;
/// What masked values of `data` look like: both masks in base64.
pub const MASKS: [&str; 2] = ["KipTT1BTKio=", "eyJtYXNrIjoiKipTT1BTKioifQ=="];

/// Takes what SOPS encrypted, and its notes, out of an object, as flux does.
///
/// A Secret with SOPS' notes loses all values, a Secret without only those that are SOPS documents themselves. Of other
/// kinds only the notes go: their encrypted values stay as they are.
pub fn mask(object: &mut Object) {
    let is_secret = object.kind() == "Secret";
    let Some(fields) = object.as_value_mut().as_object_mut() else {
        return;
    };
    if !is_secret {
        fields.remove("sops");
        return;
    }
    let notes = fields.remove_entry("sops");
    let is_encrypted = notes
        .as_ref()
        .and_then(|(_, notes)| notes.get("mac")?.as_str())
        .is_some_and(|mac| mac.contains("ENC["));
    let plain = match fields.get("type").and_then(Value::as_str) {
        Some("kubernetes.io/dockerconfigjson") => MASK_JSON,
        _ => MASK,
    };
    if !is_encrypted && let Some((key, value)) = notes {
        fields.insert(key, value);
    }
    for (field, encoded) in [("data", true), ("stringData", false)] {
        for value in fields
            .get_mut(field)
            .and_then(Value::as_object_mut)
            .into_iter()
            .flat_map(serde_json::Map::values_mut)
        {
            if is_encrypted {
                *value = json!(if encoded {
                    STANDARD.encode(plain)
                } else {
                    plain.to_owned()
                });
            } else if is_document(value, encoded) {
                // Flux puts the encoded mask into stringData too; what it stands for is the same.
                *value = json!(MASKS[0]);
            }
        }
    }
}

/// Whether a value of `data` stands for an encrypted one.
pub fn is_masked(value: &Value) -> bool {
    value.as_str().is_some_and(|text| MASKS.contains(&text))
}

fn is_document(value: &Value, encoded: bool) -> bool {
    let Some(text) = value.as_str() else { return false };
    let holds = |bytes: &[u8]| contains(bytes, b"sops") && contains(bytes, b"ENC[");
    if encoded {
        STANDARD.decode(text).is_ok_and(|bytes| holds(&bytes))
    } else {
        holds(text.as_bytes())
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(object: Value, wanted: Value) {
        let mut map = object.as_object().expect("a map").clone();
        map.insert("apiVersion".into(), json!("v1"));
        let mut object = Object::unchecked(map);
        mask(&mut object);
        let mut masked = object.into_value();
        masked.as_object_mut().expect("a map").remove("apiVersion");
        assert_eq!(masked, wanted);
    }

    #[test]
    fn what_is_encrypted_is_masked() {
        let notes = json!({"mac": "ENC[AES256_GCM,data:x]"});
        check(
            json!({"kind": "Secret", "sops": notes, "data": {"a": "eA=="}, "stringData": {"b": "x"}}),
            json!({"kind": "Secret", "data": {"a": MASKS[0]}, "stringData": {"b": MASK}}),
        );
        check(
            json!({"kind": "Secret", "sops": notes, "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "eA=="}}),
            json!({"kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": MASKS[1]}}),
        );
        let document = STANDARD.encode("x: ENC[AES256_GCM]\nsops: {}\n");
        check(
            json!({"kind": "Secret", "data": {"a": document, "b": "eA=="}}),
            json!({"kind": "Secret", "data": {"a": MASKS[0], "b": "eA=="}}),
        );
        check(
            json!({"kind": "Secret", "data": {"a": "eA=="}, "sops": {}}),
            json!({"kind": "Secret", "data": {"a": "eA=="}, "sops": {}}),
        );
        check(
            json!({"kind": "HelmRelease", "spec": {"x": "ENC[1]"}, "sops": notes}),
            json!({"kind": "HelmRelease", "spec": {"x": "ENC[1]"}}),
        );
    }

    #[test]
    fn masks_are_the_encoded_texts() {
        assert_eq!(MASKS, [STANDARD.encode(MASK), STANDARD.encode(MASK_JSON)]);
        assert!(is_masked(&json!(MASKS[1])) && !is_masked(&json!("eA==")) && !is_masked(&json!(1)));
    }
}
