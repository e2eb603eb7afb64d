//! `nave delete kustomization`.

use anyhow::Result;
use kube::api::DynamicObject;

use super::{Name, delete};
use crate::{connection::ConnectionArguments, fields, kinds::KUSTOMIZATION};

pub const EXAMPLES: &str = "\
The controller deletes what the Kustomization has applied, as spec.deletionPolicy and spec.prune say, before the object
goes; that goes on after this command has ended.

Examples:
  nave delete kustomization apps
  nave delete kustomization apps --silent -n team";

/// Deletes a Kustomization.
pub async fn run(name: Name, silent: bool, to: &ConnectionArguments) -> Result<()> {
    delete(&KUSTOMIZATION, &name, silent, to, consequence).await
}

/// What the controller will do with what was applied.
fn consequence(object: &DynamicObject) -> String {
    let prunes = match fields::text(object, "/spec/deletionPolicy") {
        "Delete" | "WaitForTermination" => true,
        "Orphan" => false,
        _ => fields::flag(object, "/spec/prune"),
    };
    let objects = fields::list(object, "/status/inventory/entries").len();
    match (prunes && !fields::flag(object, "/spec/suspend"), objects) {
        (_, 0) => String::new(),
        (true, count) => format!(" and the {count} objects that it has applied"),
        (false, count) => format!(" and leave the {count} objects that it has applied"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_question_says_what_follows() {
        let check = |spec: Value, entries: usize, expected: &str| {
            let entries = vec![json!({"id": "a_b__ConfigMap", "v": "v1"}); entries];
            let object: DynamicObject = serde_json::from_value(json!({
                "metadata": {"name": "a"}, "spec": spec, "status": {"inventory": {"entries": entries}}
            }))
            .expect("an object");
            assert_eq!(consequence(&object), expected, "{spec}");
        };
        check(json!({"prune": true}), 0, "");
        check(json!({"prune": true}), 2, " and the 2 objects that it has applied");
        let left = " and leave the 2 objects that it has applied";
        check(json!({"prune": false}), 2, left);
        check(json!({"prune": true, "suspend": true}), 2, left);
        check(json!({"prune": true, "deletionPolicy": "Orphan"}), 2, left);
        check(
            json!({"prune": false, "deletionPolicy": "Delete"}),
            2,
            " and the 2 objects that it has applied",
        );
    }
}
