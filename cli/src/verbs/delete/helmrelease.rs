//! `nave delete helmrelease`.

use anyhow::Result;
use kube::api::DynamicObject;

use super::{Name, delete};
use crate::{connection::ConnectionArguments, fields, kinds::HELM_RELEASE};

pub const EXAMPLES: &str = "\
The controller uninstalls the release before the object goes, unless it is suspended; that goes on after this command has
ended.

Examples:
  nave delete helmrelease podinfo
  nave delete helmrelease podinfo --silent -n team";

/// Deletes a HelmRelease.
pub async fn run(name: Name, silent: bool, to: &ConnectionArguments) -> Result<()> {
    delete(&HELM_RELEASE, &name, silent, to, consequence).await
}

/// What the controller will do with the release.
fn consequence(object: &DynamicObject) -> String {
    if fields::text(object, "/status/history/0/name").is_empty() {
        return String::new();
    }
    match fields::flag(object, "/spec/suspend") {
        true => " and leave its release".to_owned(),
        false => " and uninstall its release".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_question_says_what_follows() {
        let check = |spec: Value, history: Value, expected: &str| {
            let object: DynamicObject = serde_json::from_value(json!({
                "metadata": {"name": "a"}, "spec": spec, "status": {"history": history}
            }))
            .expect("an object");
            assert_eq!(consequence(&object), expected);
        };
        check(json!({}), json!([]), "");
        check(json!({}), json!([{"name": "a"}]), " and uninstall its release");
        check(
            json!({"suspend": true}),
            json!([{"name": "a"}]),
            " and leave its release",
        );
    }
}
