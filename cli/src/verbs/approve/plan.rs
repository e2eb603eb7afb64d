//! Saying yes to deletions that a fleet object holds.

use anyhow::{Result, bail};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::{
    api,
    connection::ConnectionArguments,
    failure::advised,
    fields::{self, field},
    kinds::{FLEET_HELM_RELEASE, FLEET_KUSTOMIZATION, Kind},
    say,
};

/// The kind and name of a fleet object as they were typed, `KIND/NAME`; none for a cluster's name.
pub(super) fn fleet_object(typed: &str) -> Result<Option<(&'static Kind, &str)>> {
    let Some((kind, name)) = typed.split_once('/') else {
        return Ok(None);
    };
    let kind = match kind.to_ascii_lowercase().as_str() {
        "fleet" | "fleetkustomization" | "fleetkustomizations" | "fks" => &FLEET_KUSTOMIZATION,
        "fleethelmrelease" | "fleethelmreleases" | "fhr" => &FLEET_HELM_RELEASE,
        other => bail!("{other:?} is no kind of fleet objects; there are fleetkustomization and fleethelmrelease"),
    };
    Ok(Some((kind, name)))
}

/// Writes the digest of what is held to `spec.deletion.approvedPlan`.
pub(super) async fn approve(
    kind: &'static Kind,
    name: &str,
    wanted: Option<&str>,
    to: &ConnectionArguments,
) -> Result<()> {
    let connection = to.connect().await?;
    let workspace = to.workspace_filter(&connection);
    let object = api::find(&connection.client, kind, workspace.as_deref(), name).await?;
    let digest = choose(kind, &object, wanted)?;
    let patch = json!({"spec": {"deletion": {"approvedPlan": digest}}});
    api::merge(&connection.client, kind, &object, &patch).await?;
    say::success(&format!(
        "{} {}: {} are approved",
        kind.kind,
        fields::full_name(&object),
        describe(&object)
    ));
    Ok(())
}

fn choose(kind: &Kind, object: &DynamicObject, wanted: Option<&str>) -> Result<String> {
    let name = fields::full_name(object);
    let Some(plan) = object.data.pointer("/status/plan") else {
        bail!("{} {name} holds no deletions", kind.kind);
    };
    let digest = field(plan, "digest");
    if wanted.is_some_and(|wanted| !super::begins(digest, wanted)) {
        return Err(advised(
            format!("{} {name} holds another plan by now: {digest}", kind.kind),
            format!(
                "`nave describe {} {}` shows it",
                kind.word,
                kube::ResourceExt::name_any(object)
            ),
        ));
    }
    Ok(digest.to_owned())
}

fn describe(object: &DynamicObject) -> String {
    let plan = object.data.pointer("/status/plan").unwrap_or(&Value::Null);
    let count = |name: &str| plan[name].as_i64().unwrap_or_default();
    format!(
        "{} deletions on {} clusters, of which {} take others along,",
        count("deletes"),
        count("clusters"),
        count("cascades")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(plan: Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "FleetKustomization",
            "metadata": {"name": "apps", "namespace": "p"}, "spec": {}, "status": {"plan": plan},
        }))
        .expect("an object")
    }

    #[test]
    fn a_fleet_object_is_typed_with_its_kind() {
        let check = |typed: &str, want: &str| {
            let told = match fleet_object(typed) {
                Ok(None) => "a cluster".to_owned(),
                Ok(Some((kind, name))) => format!("{} {name}", kind.kind),
                Err(error) => format!("{error:#}"),
            };
            assert_eq!(told, want, "{typed}");
        };
        check("eu-1", "a cluster");
        check("fleet/apps", "FleetKustomization apps");
        check("FleetKustomization/apps", "FleetKustomization apps");
        check("fhr/web", "FleetHelmRelease web");
        check(
            "pod/web",
            "\"pod\" is no kind of fleet objects; there are fleetkustomization and fleethelmrelease",
        );
    }

    #[test]
    fn the_plan_that_is_held_is_approved_and_no_other() {
        let held = object(json!({"digest": "sha256:ab12", "deletes": 4, "cascades": 1, "clusters": 2}));
        let choose = |object: &DynamicObject, wanted: Option<&str>| match choose(&FLEET_KUSTOMIZATION, object, wanted) {
            Ok(digest) => digest,
            Err(error) => format!("{error:#}"),
        };
        assert_eq!(choose(&held, None), "sha256:ab12");
        assert_eq!(choose(&held, Some("AB")), "sha256:ab12");
        assert_eq!(
            choose(&held, Some("sha256:ff")),
            "FleetKustomization p/apps holds another plan by now: sha256:ab12"
        );
        let none: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "FleetKustomization",
            "metadata": {"name": "apps", "namespace": "p"}, "spec": {},
        }))
        .expect("an object");
        assert_eq!(choose(&none, None), "FleetKustomization p/apps holds no deletions");
        assert_eq!(
            describe(&held),
            "4 deletions on 2 clusters, of which 1 take others along,"
        );
    }
}
