//! Writing a status subresource: only what changed, and nothing when nothing did.

use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
    core::Request,
};
use serde::{Serialize, de::IgnoredAny};
use serde_json::{Map, Value, json};

/// Sends a merge patch from `old` to `new` status under `manager`. False when they are equal and nothing was sent.
///
/// # Errors
/// The API server's answer; 404 means that the object is gone, which callers usually take as done.
pub async fn patch<K: Resource + Clone>(
    api: &Api<K>,
    name: &str,
    manager: &str,
    old: &impl Serialize,
    new: &impl Serialize,
) -> kube::Result<bool> {
    let old = serde_json::to_value(old).map_err(kube::Error::SerdeError)?;
    let new = serde_json::to_value(new).map_err(kube::Error::SerdeError)?;
    let Some(difference) = merge_patch(&old, &new) else {
        return Ok(false);
    };
    let parameters = PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    let request = Request::new(api.resource_url())
        .patch_subresource(
            "status",
            name,
            &parameters,
            &Patch::Merge(json!({ "status": difference })),
        )
        .map_err(kube::Error::BuildRequest)?;
    // The answer is the whole object, which the watch brings as well.
    let _: IgnoredAny = api.clone().into_client().request(request).await?;
    Ok(true)
}

/// The RFC 7386 merge patch that turns `old` into `new`; none when they are equal.
pub fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return Some(new.clone());
    };
    let mut patch = Map::new();
    for (key, value) in new {
        match old.get(key) {
            None => {
                patch.insert(key.clone(), value.clone());
            }
            Some(before) => {
                if let Some(difference) = merge_patch(before, value) {
                    patch.insert(key.clone(), difference);
                }
            }
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_patches_are_minimal() {
        let old = json!({"a": 1, "b": {"c": 1, "d": 2}, "l": [1, 2], "gone": true});
        let new = json!({"a": 1, "b": {"c": 1, "d": 3}, "l": [2], "fresh": {"x": null}});
        assert_eq!(
            merge_patch(&old, &new),
            Some(json!({"b": {"d": 3}, "l": [2], "gone": null, "fresh": {"x": null}}))
        );
        assert_eq!(merge_patch(&old, &old), None);
    }
}
