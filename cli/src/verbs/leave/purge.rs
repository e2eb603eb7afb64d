//! `nave leave --purge`: what the hub brought goes.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use nave_crds::{annotations, labels};
use nave_object::{Object, order};
use serde_json::json;

use crate::{
    api,
    connection::{Connection, ConnectionArguments},
    fields,
    fleet_owned::{self, Applied, FleetOwned, deletes_its_objects, inventory},
    kinds::{HELM_RELEASE, KUSTOMIZATION, Kind},
    progress::Progress,
    say,
    server_apply::Applier,
    table::Table,
    wait,
};

/// How long a running controller is given to take its finalizer off an object.
const FINALIZER_PATIENCE: Duration = Duration::from_secs(30);

/// What goes and what stays.
pub(super) struct Plan<'a> {
    owned: &'a FleetOwned,
    rows: Vec<Row>,
    /// Objects of releases, which go when these are uninstalled.
    released: Vec<Row>,
}

/// One applied object.
struct Row {
    applied: Applied,
    /// Name of its Kustomization.
    owner: String,
    /// Why it stays; None when it goes.
    kept: Option<&'static str>,
}

impl<'a> Plan<'a> {
    /// Looks at every object of every inventory: what stands there is not always what may go.
    pub(super) async fn of(connection: &Connection, owned: &'a FleetOwned, agent_namespace: &str) -> Result<Plan<'a>> {
        let mut applier = Applier::new(connection.client.clone());
        let mut rows = Vec::new();
        let total = owned.kustomizations.len();
        let progress = Progress::bar(total, "looking at what was applied");
        for kustomization in &owned.kustomizations {
            let owner = fields::full_name(kustomization);
            let goes = deletes_its_objects(kustomization);
            let mut applied = inventory(kustomization)?;
            applied.sort_by(deletion_order);
            for applied in applied {
                let kept = if goes {
                    kept(&mut applier, &applied, kustomization, agent_namespace).await?
                } else {
                    Some(Some("its Kustomization does not prune"))
                };
                // Something that is gone already needs no row.
                if let Some(kept) = kept {
                    rows.push(Row {
                        applied,
                        owner: owner.clone(),
                        kept,
                    });
                }
            }
            progress.step();
        }
        let mut released = Vec::new();
        for release in &owned.releases {
            released.extend(inventory(release)?.into_iter().map(|applied| Row {
                applied,
                owner: fields::full_name(release),
                kept: None,
            }));
        }
        Ok(Plan { owned, rows, released })
    }

    /// How many objects go.
    pub(super) fn deletes(&self) -> usize {
        let applied = self.rows.iter().filter(|row| row.kept.is_none()).count();
        applied + self.released.len() + self.owned.len()
    }

    /// The preview, to stdout.
    pub(super) fn show(&self) -> Result<()> {
        let mut table = Table::new(["Action", "Kind", "Namespace", "Name", "Of", "Because"]);
        for row in self.rows.iter().chain(&self.released) {
            let id = &row.applied.id;
            let action = if row.kept.is_some() { "keep" } else { "delete" };
            table.row([
                action.to_owned(),
                id.kind.clone(),
                id.namespace.clone(),
                id.name.clone(),
                row.owner.clone(),
                row.kept.unwrap_or_default().to_owned(),
            ]);
        }
        let products = self.owned.products().map(|(kind, object)| (kind.kind, object));
        let sources = self.owned.sources.iter().map(|(kind, object)| (kind.kind, object));
        let secrets = self.owned.secrets.iter().map(|object| ("Secret", object));
        for (kind, object) in products.chain(sources).chain(secrets) {
            table.row([
                "delete".to_owned(),
                kind.to_owned(),
                object.namespace().unwrap_or_default(),
                object.name_any(),
                object.labels().get(labels::FLEET_NAME).cloned().unwrap_or_default(),
                String::new(),
            ]);
        }
        table.print(true)?;
        Ok(())
    }

    /// Suspends everything first, so that no controller puts back what goes.
    pub(super) async fn execute(&self, connection: &Connection, to: &ConnectionArguments) -> Result<()> {
        for kustomization in &self.owned.kustomizations {
            api::set_suspend(&connection.client, &KUSTOMIZATION, kustomization, true).await?;
        }
        for release in &self.owned.releases {
            uninstall(connection, release, to).await?;
        }
        self.delete_applied(connection, to).await?;
        for kustomization in &self.owned.kustomizations {
            delete_flux(connection, &KUSTOMIZATION, kustomization).await?;
        }
        for (kind, source) in &self.owned.sources {
            delete_flux(connection, kind, source).await?;
        }
        for secret in &self.owned.secrets {
            let (name, namespace) = (secret.name_any(), secret.namespace().unwrap_or_default());
            let secrets = Api::<DynamicObject>::namespaced_with(
                connection.client.clone(),
                &namespace,
                &fleet_owned::secret_resource(),
            );
            ignore_missing(secrets.delete(&name, &DeleteParams::default()).await.map(drop))
                .with_context(|| format!("deleting Secret {namespace}/{name}"))?;
        }
        Ok(())
    }

    async fn delete_applied(&self, connection: &Connection, to: &ConnectionArguments) -> Result<()> {
        let mut applier = Applier::new(connection.client.clone());
        // Kustomizations among the applied objects are in the list of Kustomizations too and go with it.
        let ours: BTreeSet<String> = self.owned.kustomizations.iter().map(fields::full_name).collect();
        let is_ours = |row: &&Row| {
            row.applied.gvk.kind == KUSTOMIZATION.kind
                && row.applied.gvk.group == KUSTOMIZATION.group
                && ours.contains(&format!("{}/{}", row.applied.id.namespace, row.applied.id.name))
        };
        let goes: Vec<&Row> = self
            .rows
            .iter()
            .filter(|row| row.kept.is_none() && !is_ours(row))
            .collect();
        let progress = Progress::bar(goes.len(), "deleting what was applied");
        for row in &goes {
            let Applied { gvk, id } = &row.applied;
            applier.delete(gvk, namespace_of(id), &id.name).await?;
            if to.verbose {
                say::detail(&format!("{id} deleted"));
            }
        }
        for row in &goes {
            let Applied { gvk, id } = &row.applied;
            progress.message(format!("waiting for the end of {id}"));
            if let Some(api) = applier.api_if_known(gvk, namespace_of(id)).await?
                && !wait::until_gone(api, &id.name, to.timeout).await?
            {
                say::warning(&format!("{id} is being deleted, but is still there"));
            }
            progress.step();
        }
        drop(progress);
        say::success(&format!("{} applied objects deleted", goes.len()));
        Ok(())
    }
}

fn namespace_of(id: &nave_object::ObjectId) -> Option<&str> {
    Some(id.namespace.as_str()).filter(|namespace| !namespace.is_empty())
}

/// Some(None): it goes. Some(Some(reason)): it stays. None: it is gone already.
async fn kept(
    applier: &mut Applier,
    applied: &Applied,
    kustomization: &DynamicObject,
    agent_namespace: &str,
) -> Result<Option<Option<&'static str>>> {
    let Applied { gvk, id } = applied;
    if is_protected(applied, agent_namespace) {
        return Ok(Some(Some("the agent needs it")));
    }
    let Some(api) = applier.api_if_known(gvk, namespace_of(id)).await? else {
        return Ok(None);
    };
    let found = api
        .get_metadata_opt(&id.name)
        .await
        .with_context(|| format!("looking at {id}"))?;
    Ok(found.map(|object| reason_to_keep(&object.metadata, kustomization)))
}

/// Flux's rules of pruning: an object that somebody took over, or that asks to stay, stays.
fn reason_to_keep(metadata: &kube::core::ObjectMeta, kustomization: &DynamicObject) -> Option<&'static str> {
    let label = |key: &str| {
        metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(key))
            .map(String::as_str)
    };
    let annotation = |key: &str| {
        metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(key))
            .map(String::as_str)
    };
    let name = kustomization.name_any();
    let namespace = kustomization.namespace().unwrap_or_default();
    if label(labels::KUSTOMIZE_NAME) != Some(&name) || label(labels::KUSTOMIZE_NAMESPACE) != Some(&namespace) {
        return Some("its labels name another owner");
    }
    for key in [annotations::KUSTOMIZE_PRUNE, annotations::KUSTOMIZE_RECONCILE] {
        let value = annotation(key).or(label(key)).unwrap_or_default();
        if value.eq_ignore_ascii_case(annotations::DISABLED) {
            return Some("it is annotated to stay");
        }
    }
    None
}

/// Without these the purge would saw off the branch it sits on.
fn is_protected(applied: &Applied, agent_namespace: &str) -> bool {
    let Applied { gvk, id } = applied;
    match gvk.kind.as_str() {
        "Namespace" => id.name == agent_namespace || id.name == "kube-system",
        "CustomResourceDefinition" => {
            id.name.ends_with(".toolkit.fluxcd.io") || id.name.ends_with(".extensions.fluxcd.io")
        }
        "Deployment" | "ServiceAccount" => id.namespace == agent_namespace && id.name == "nave-agent",
        "ClusterRole" | "ClusterRoleBinding" => id.name.starts_with("nave-agent-"),
        _ => false,
    }
}

fn deletion_order(a: &Applied, b: &Applied) -> std::cmp::Ordering {
    let object = |applied: &Applied| {
        Object::from_value(json!({
            "apiVersion": applied.gvk.api_version(), "kind": applied.gvk.kind,
            "metadata": {"name": applied.id.name, "namespace": applied.id.namespace}
        }))
    };
    match (object(a), object(b)) {
        (Ok(a), Ok(b)) => order::delete_order(&a, &b),
        // An inventory id always has a kind and a name; without them there is no order to keep.
        _ => std::cmp::Ordering::Equal,
    }
}

/// Deletes a HelmRelease, whose controller uninstalls the release. Without one it stays, and so does what it installed.
async fn uninstall(connection: &Connection, release: &DynamicObject, to: &ConnectionArguments) -> Result<()> {
    let (name, namespace) = (release.name_any(), release.namespace().unwrap_or_default());
    let api = HELM_RELEASE.api(&connection.client, &namespace);
    if fields::flag(release, "/spec/suspend") {
        // A suspended one would leave its release.
        api::set_suspend(&connection.client, &HELM_RELEASE, release, false).await?;
    }
    ignore_missing(api.delete(&name, &DeleteParams::default()).await.map(drop))
        .with_context(|| format!("deleting HelmRelease {namespace}/{name}"))?;
    match wait::until_gone(api, &name, to.timeout).await? {
        true => say::success(&format!("HelmRelease {namespace}/{name} uninstalled")),
        false => say::warning(&format!(
            "HelmRelease {namespace}/{name} is being uninstalled, but is still there"
        )),
    }
    Ok(())
}

/// Deletes a suspended Flux object. A running controller takes its finalizer off, and nothing else, because the object
/// is suspended; when nobody does, there is no controller, and the finalizer is taken off here.
async fn delete_flux(connection: &Connection, kind: &Kind, object: &DynamicObject) -> Result<()> {
    let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    let what = || format!("deleting {} {namespace}/{name}", kind.kind);
    let api = kind.api(&connection.client, &namespace);
    ignore_missing(api.delete(&name, &DeleteParams::default()).await.map(drop)).with_context(what)?;
    let patience = if object.finalizers().is_empty() {
        Duration::from_secs(1)
    } else {
        FINALIZER_PATIENCE
    };
    if !wait::until_gone(api.clone(), &name, patience).await? {
        let patch = json!({"metadata": {"finalizers": null}});
        let params = PatchParams::apply(api::FIELD_MANAGER);
        ignore_missing(api.patch(&name, &params, &Patch::Merge(&patch)).await.map(drop)).with_context(what)?;
        say::warning(&format!(
            "{} {namespace}/{name}: no controller took the finalizer off, so it was removed",
            kind.kind
        ));
    }
    say::success(&format!("{} {namespace}/{name} deleted", kind.kind));
    Ok(())
}

fn ignore_missing(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn kustomization() -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Kustomization", "metadata": {"name": "apps", "namespace": "flux-system"}
        }))
        .expect("an object")
    }

    #[test]
    fn what_belongs_to_others_or_asks_to_stay_is_kept() {
        let check = |labels: Value, annotations: Value, kept: Option<&str>| {
            let metadata =
                serde_json::from_value(json!({"labels": labels, "annotations": annotations})).expect("metadata");
            assert_eq!(reason_to_keep(&metadata, &kustomization()), kept);
        };
        let ours = json!({labels::KUSTOMIZE_NAME: "apps", labels::KUSTOMIZE_NAMESPACE: "flux-system"});
        check(ours.clone(), json!({}), None);
        check(json!({}), json!({}), Some("its labels name another owner"));
        check(
            json!({labels::KUSTOMIZE_NAME: "apps", labels::KUSTOMIZE_NAMESPACE: "x"}),
            json!({}),
            Some("its labels name another owner"),
        );
        check(
            ours.clone(),
            json!({annotations::KUSTOMIZE_PRUNE: "Disabled"}),
            Some("it is annotated to stay"),
        );
        check(
            ours,
            json!({annotations::KUSTOMIZE_RECONCILE: "disabled"}),
            Some("it is annotated to stay"),
        );
    }

    #[test]
    fn the_branch_that_the_purge_sits_on_stays() {
        let check = |id: &str, protected: bool| {
            let id = nave_object::ObjectId::parse_inventory_id(id).expect(id);
            let gvk = nave_object::Gvk {
                group: id.group.clone(),
                version: "v1".into(),
                kind: id.kind.clone(),
            };
            assert_eq!(
                is_protected(&Applied { gvk, id: id.clone() }, "flux-system"),
                protected,
                "{id}"
            );
        };
        check("_flux-system__Namespace", true);
        check("_apps__Namespace", false);
        check("flux-system_nave-agent_apps_Deployment", true);
        check("team_nave-agent_apps_Deployment", false);
        check(
            "_kustomizations.kustomize.toolkit.fluxcd.io_apiextensions.k8s.io_CustomResourceDefinition",
            true,
        );
    }
}
