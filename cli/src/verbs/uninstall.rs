//! `nave uninstall`: what `install` brought, and nothing else.

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use nave_object::{Object, order};
use serde_json::json;

use super::install::ComponentArguments;
use crate::{
    api,
    confirm::confirm,
    connection::ConnectionArguments,
    hints,
    kinds::{self, Kind},
    manifests::{Component, InstallOptions, manifests},
    progress::Progress,
    say,
    server_apply::Applier,
};

/// Remove a hub, or the agent of a cluster
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Workloads stay: finalizers of Flux and fleet objects are emptied before their definitions go, so nothing that they
applied is deleted. `nave leave --purge` deletes what a fleet brought.

Examples:
  nave uninstall --agent --dry-run
  nave uninstall --hub --keep-crds -s")]
pub struct Arguments {
    #[command(flatten)]
    component: ComponentArguments,
    /// Keep the definitions, the objects of their kinds and the namespace
    #[arg(long)]
    keep_crds: bool,
    /// Keep the namespace
    #[arg(long)]
    keep_namespace: bool,
    /// Show what would be deleted and touch nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    silent: bool,
}

/// Deletes workloads first, then rights, then definitions and the namespace.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let component = arguments.component.component();
    let namespace = to
        .namespace
        .clone()
        .unwrap_or_else(|| component.default_namespace().to_owned());
    let connection = to.connect().await?;
    let keeps_namespace = arguments.keep_namespace || arguments.keep_crds;
    let others = other_users(component, &connection.client).await?;
    let plan = plan(component, &namespace, arguments.keep_crds, keeps_namespace, &others)?;
    let dry = if arguments.dry_run { " (dry run)" } else { "" };
    if !arguments.dry_run && !arguments.silent {
        say::action(&format!(
            "{} objects of {} at {} will be deleted",
            plan.len(),
            component.name(),
            connection.server
        ));
        confirm(&format!("delete {} and its definitions", component.name()), "--silent")?;
    }
    if !others.is_empty() && !arguments.keep_crds {
        say::warning(&format!("definitions that {} needs are kept", others.join(" and ")));
    }
    say::action(&format!("deleting {} in {namespace} namespace", component.name()));
    let mut applier = Applier::new(connection.client.clone());
    let progress = Progress::bar(plan.len(), "deleting");
    let mut failed = 0;
    for object in &plan {
        if object.kind() == "CustomResourceDefinition" && !arguments.dry_run {
            release(&connection.client, object.name(), to).await?;
        }
        if arguments.dry_run {
            say::detail(&format!("{object} deleted{dry}"));
            continue;
        }
        match applier.delete(&object.gvk(), object.namespace(), object.name()).await {
            Ok(true) => say::detail(&format!("{object} deleted")),
            Ok(false) => {}
            Err(error) => {
                say::failure(&hints::describe(&error));
                failed += 1;
            }
        }
        progress.step();
    }
    drop(progress);
    anyhow::ensure!(failed == 0, "{failed} objects could not be deleted");
    say::success(&format!("uninstall finished{dry}"));
    Ok(())
}

/// What goes, in this order: Deployments (so that nobody puts things back), everything else, definitions, namespace.
fn plan(
    component: Component,
    namespace: &str,
    keep_definitions: bool,
    keep_namespace: bool,
    others: &[String],
) -> Result<Vec<Object>> {
    let options = InstallOptions {
        namespace: Some(namespace.to_owned()),
        ..InstallOptions::default()
    };
    let mut objects = manifests(component, &options)?;
    objects.retain(|object| match object.kind() {
        "CustomResourceDefinition" => !keep_definitions && (others.is_empty() || !is_flux_definition(object)),
        "Namespace" => !keep_namespace,
        _ => true,
    });
    objects.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| order::delete_order(a, b)));
    Ok(objects)
}

fn rank(object: &Object) -> u8 {
    match object.kind() {
        "Deployment" => 0,
        "CustomResourceDefinition" => 2,
        "Namespace" => 3,
        _ => 1,
    }
}

fn is_flux_definition(object: &Object) -> bool {
    let name = object.name();
    name.ends_with(".toolkit.fluxcd.io") || name.ends_with(".extensions.fluxcd.io")
}

/// Deployments that need Flux's definitions after this component is gone: Flux's own, an agent, a hub.
async fn other_users(component: Component, client: &Client) -> Result<Vec<String>> {
    let api: Api<Deployment> = Api::all(client.clone());
    let params = ListParams::default().labels("app.kubernetes.io/part-of in (flux,nave)");
    let found = api.list(&params).await.context("looking for other controllers")?;
    let names = found
        .items
        .iter()
        .filter(|deployment| deployment.name_any() != component.name());
    Ok(names
        .map(|deployment| {
            format!(
                "{}/{}",
                deployment.namespace().unwrap_or_default(),
                deployment.name_any()
            )
        })
        .collect())
}

/// Empties the finalizers of every object of a kind, so that its end takes nothing along and hangs on nobody.
async fn release(client: &Client, definition: &str, to: &ConnectionArguments) -> Result<()> {
    let known: Vec<&'static Kind> = kinds::ALL.into_iter().chain([&kinds::JOIN_TOKEN]).collect();
    let Some(kind) = known
        .into_iter()
        .find(|kind| format!("{}.{}", kind.plural, kind.group) == definition)
    else {
        return Ok(());
    };
    let objects = api::list_if_known(client, kind, None, &ListParams::default())
        .await?
        .unwrap_or_default();
    for object in objects.iter().filter(|object| !object.finalizers().is_empty()) {
        let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
        let patch = json!({"metadata": {"finalizers": null}});
        let patched = kind
            .api(client, &namespace)
            .patch(&name, &PatchParams::apply(api::FIELD_MANAGER), &Patch::Merge(&patch))
            .await;
        match patched {
            Ok(_) if to.verbose => say::detail(&format!("{}/{namespace}/{name} finalizers deleted", kind.kind)),
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                return Err(error).with_context(|| format!("emptying finalizers of {} {namespace}/{name}", kind.kind));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds_of(objects: &[Object]) -> Vec<&str> {
        let mut kinds: Vec<&str> = objects.iter().map(Object::kind).collect();
        kinds.dedup();
        kinds
    }

    #[test]
    fn controllers_go_first_and_the_namespace_last() {
        let objects = plan(Component::Agent, "flux-system", false, false, &[]).expect("built in");
        assert_eq!(objects[0].kind(), "Deployment");
        assert_eq!(
            kinds_of(&objects[objects.len() - 4..]),
            ["CustomResourceDefinition", "Namespace"]
        );
    }

    #[test]
    fn definitions_that_others_need_stay() {
        let objects = plan(
            Component::Hub,
            "nave-system",
            false,
            true,
            &["flux-system/nave-agent".into()],
        )
        .unwrap();
        assert!(objects.iter().any(|object| object.name() == "clusters.fleet.nave.dev"));
        assert!(!objects.iter().any(is_flux_definition));
        assert!(!kinds_of(&objects).contains(&"Namespace"));
        let kept = plan(Component::Hub, "nave-system", true, true, &[]).unwrap();
        assert!(!kinds_of(&kept).contains(&"CustomResourceDefinition"));
    }
}
