//! Overrides: merge patches and JSON patches over the template.

use std::collections::HashSet;

use json_patch::PatchOperation;
use serde_json::Value;

use crate::denial::Denial;
use crate::model::{Cluster, ClusterKey, Override};
use crate::selector::Selector;

/// An override whose patches are parsed.
#[derive(Debug, Clone)]
pub(crate) struct ReadyOverride {
    clusters: ReadySelector,
    merge: Option<Value>,
    patches: Vec<PatchOperation>,
}

/// An override that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("spec.overrides[{index}].patches[{operation}] is no JSON patch operation")]
pub struct OverrideError {
    index: usize,
    operation: usize,
    #[source]
    source: serde_json::Error,
}

/// Parses the patches of every override.
pub(crate) fn ready(overrides: &[Override], workspace: &str) -> Result<Vec<ReadyOverride>, OverrideError> {
    overrides
        .iter()
        .enumerate()
        .map(|(index, one)| {
            let patches = one
                .patches
                .iter()
                .enumerate()
                .map(|(operation, patch)| {
                    serde_json::from_value(patch.clone()).map_err(|source| OverrideError {
                        index,
                        operation,
                        source,
                    })
                })
                .collect::<Result<_, _>>()?;
            Ok(ReadyOverride {
                clusters: ReadySelector::new(one.clusters.selector.as_ref(), &one.clusters.names, workspace),
                merge: one.merge.clone(),
                patches,
            })
        })
        .collect()
}

/// Which overrides apply to a cluster, by index.
pub(crate) fn applicable(overrides: &[ReadyOverride], cluster: &Cluster) -> Vec<usize> {
    overrides
        .iter()
        .enumerate()
        .filter(|(_, one)| one.clusters.matches(cluster))
        .map(|(index, _)| index)
        .collect()
}

/// The template with some overrides applied in order.
pub(crate) fn apply(template: &Value, overrides: &[ReadyOverride], indices: &[usize]) -> Result<Value, Denial> {
    let mut value = template.clone();
    for &index in indices {
        let one = &overrides[index];
        if let Some(merge) = &one.merge {
            json_patch::merge(&mut value, merge);
        }
        json_patch::patch(&mut value, &one.patches).map_err(|error| Denial::Override {
            index,
            message: error.to_string(),
        })?;
    }
    Ok(value)
}

/// Clusters by label or by name, ready to be asked often.
#[derive(Debug, Clone)]
pub(crate) struct ReadySelector {
    selector: Option<Selector>,
    names: HashSet<ClusterKey>,
}

impl ReadySelector {
    /// A plain name means a cluster of the workspace itself.
    pub fn new(selector: Option<&Selector>, names: &[String], workspace: &str) -> Self {
        Self {
            selector: selector.cloned(),
            names: names.iter().map(|name| key_of(name, workspace)).collect(),
        }
    }

    /// Whether a cluster is meant.
    pub fn matches(&self, cluster: &Cluster) -> bool {
        self.selector
            .as_ref()
            .is_some_and(|selector| selector.matches(&cluster.labels))
            || self.names.contains(&cluster.key)
    }
}

/// The cluster that a name in a placement or an override means.
pub(crate) fn key_of(name: &str, workspace: &str) -> ClusterKey {
    match name.split_once('/') {
        Some((namespace, name)) => ClusterKey::new(namespace, name),
        None => ClusterKey::new(workspace, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClusterSelector;
    use serde_json::json;

    fn check(merge: Value, patches: Value, want: Value) {
        let overrides = ready(
            &[Override {
                clusters: ClusterSelector::default(),
                merge: Some(merge).filter(|merge| !merge.is_null()),
                patches: patches.as_array().expect("a list").clone(),
            }],
            "platform",
        )
        .expect("readable");
        let template = json!({"spec": {"path": "a", "images": [{"name": "x"}], "wait": true}});
        assert_eq!(apply(&template, &overrides, &[0]), Ok(want));
    }

    #[test]
    fn merge_follows_rfc_7386() {
        check(
            json!({"spec": {"path": "b", "wait": null, "images": [{"name": "y"}]}}),
            json!([]),
            json!({"spec": {"path": "b", "images": [{"name": "y"}]}}),
        );
    }

    #[test]
    fn patches_see_what_merge_left() {
        check(
            json!({"spec": {"path": "b"}}),
            json!([
                {"op": "test", "path": "/spec/path", "value": "b"},
                {"op": "add", "path": "/spec/images/-", "value": {"name": "z"}},
                {"op": "remove", "path": "/spec/wait"},
            ]),
            json!({"spec": {"path": "b", "images": [{"name": "x"}, {"name": "z"}]}}),
        );
    }

    #[test]
    fn a_patch_that_does_not_fit_is_a_denial() {
        let overrides = ready(
            &[Override {
                patches: vec![json!({"op": "remove", "path": "/spec/nope"})],
                ..Override::default()
            }],
            "platform",
        )
        .expect("readable");
        let denial = apply(&json!({"spec": {}}), &overrides, &[0]).expect_err("denied");
        assert!(
            denial.to_string().starts_with("spec.overrides[0] cannot be applied: "),
            "{denial}"
        );
    }

    #[test]
    fn operations_that_do_not_exist_are_refused() {
        let error = ready(
            &[Override {
                patches: vec![json!({"op": "explode", "path": "/"})],
                ..Override::default()
            }],
            "platform",
        )
        .expect_err("refused");
        assert_eq!(
            error.to_string(),
            "spec.overrides[0].patches[0] is no JSON patch operation"
        );
    }
}
