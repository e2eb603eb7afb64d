//! `nave install`: a hub or an agent into a cluster.

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};
use nave_object::{Gvk, Object, yaml};

use crate::{
    connection::{Connection, ConnectionArguments},
    failure::advised,
    manifests::{self, Component, InstallOptions, manifests},
    output, say,
    server_apply::{Applier, Outcome, apply_all},
    wait,
};

/// Install a hub, or the agent of a cluster
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Running it again upgrades, and keeps an agent joined. The namespace is nave-system for the hub and flux-system for an
agent unless chosen with -n.

Examples:
  nave install --agent
  nave install --hub --advertise hub.example.com:9443
  nave install --agent --export > agent.yaml")]
pub struct Arguments {
    #[command(flatten)]
    pub(super) component: ComponentArguments,
    /// Print the manifests and touch nothing
    #[arg(long)]
    export: bool,
    /// Image to run, in place of that of this version
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Secret with a join token under the key `token`, in the agent's namespace
    #[arg(long, value_name = "NAME", conflicts_with = "hub")]
    token_secret: Option<String>,
    /// Address that agents are to dial; may be given several times
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', conflicts_with = "agent")]
    advertise: Vec<String>,
    /// Address of a notification-controller that is told of events
    #[arg(long, value_name = "URL", conflicts_with = "hub")]
    events_addr: Option<String>,
    /// Log level: trace, debug, info or error
    #[arg(long, value_name = "LEVEL", value_parser = ["trace", "debug", "info", "error"])]
    log_level: Option<String>,
    /// Install an agent even where Flux's own controllers run
    #[arg(long, conflicts_with = "hub")]
    force: bool,
}

/// `--hub` or `--agent`.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(required = true, multiple = false)]
pub struct ComponentArguments {
    /// The centre of a fleet
    #[arg(long)]
    hub: bool,
    /// The reconcilers of one cluster, alone or joined to a hub
    #[arg(long)]
    agent: bool,
}

impl ComponentArguments {
    /// Which one it is.
    pub fn component(self) -> Component {
        if self.hub { Component::Hub } else { Component::Agent }
    }
}

/// Exports, or applies and waits.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let component = arguments.component.component();
    let options = InstallOptions {
        namespace: to.namespace.clone(),
        image: arguments.image,
        hub_secret: arguments.token_secret,
        advertise: arguments.advertise,
        events_addr: arguments.events_addr,
        log_level: arguments.log_level,
        without_definitions: false,
    };
    if arguments.export {
        return output::print_text(&export(&manifests(component, &options)?));
    }
    let connection = to.connect().await?;
    install(component, options, arguments.force, &connection, to).await?;
    say::success("install finished");
    if component == Component::Hub {
        say::hint("`nave hub token create NAME --cluster NAME -n WORKSPACE` prints a token for a cluster to join with");
    }
    Ok(())
}

/// YAML documents, each behind its `---`, as flux exports them.
pub fn export(objects: &[Object]) -> String {
    objects
        .iter()
        .map(|object| format!("---\n{}", yaml::write(object.as_value())))
        .collect()
}

/// Applies the manifests and waits until the Deployment serves.
pub async fn install(
    component: Component,
    mut options: InstallOptions,
    force: bool,
    connection: &Connection,
    to: &ConnectionArguments,
) -> Result<()> {
    let namespace = options
        .namespace
        .clone()
        .unwrap_or_else(|| component.default_namespace().to_owned());
    if component == Component::Agent && !force {
        refuse_beside_flux(&connection.client, &namespace).await?;
    }
    if let Some(existing) = existing(component, &connection.client, &namespace).await? {
        keep_choices(&mut options, &existing);
    }
    say::generating("generating manifests");
    let objects = manifests(component, &options)?;
    say::success("manifests build completed");
    say::action(&format!("installing {} in {namespace} namespace", component.name()));
    let mut applier = Applier::new(connection.client.clone());
    let mut changed = 0;
    apply_all(&mut applier, &objects, to.timeout, |object, outcome| {
        changed += usize::from(outcome != Outcome::Unchanged);
        if to.verbose || outcome != Outcome::Unchanged {
            say::detail(&format!("{object} {}", outcome.as_str()));
        }
    })
    .await?;
    say::success(&format!("{} objects applied, {changed} changed", objects.len()));
    say::waiting("verifying installation");
    let api = applier
        .api(&Gvk::new("apps/v1", "Deployment"), Some(&namespace))
        .await?;
    let what = format!("waiting for {}", component.name());
    // Only the leading hub is ready, however many replicas stand by.
    let message = wait::until(api, component.name(), &what, to.timeout, |object| {
        wait::deployment(object, 1)
    })
    .await
    .with_context(|| format!("{} is not ready", component.name()))?;
    say::success(&message);
    Ok(())
}

/// The Deployment of an earlier installation.
pub async fn existing(component: Component, client: &Client, namespace: &str) -> Result<Option<serde_json::Value>> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let deployment = api
        .get_opt(component.name())
        .await
        .with_context(|| format!("looking for Deployment {namespace}/{}", component.name()))?;
    Ok(deployment.map(serde_json::to_value).transpose()?)
}

/// An upgrade does not part an agent from its hub, nor a hub from its address.
fn keep_choices(options: &mut InstallOptions, existing: &serde_json::Value) {
    let kept = |name: &str| manifests::argument(existing, name).map(str::to_owned);
    if options.hub_secret.is_none() {
        options.hub_secret = kept("hub-secret");
    }
    if options.events_addr.is_none() {
        options.events_addr = kept("events-addr");
    }
    if options.advertise.is_empty() {
        options.advertise = kept("advertise").into_iter().collect();
    }
    if options.log_level.is_none() {
        options.log_level = kept("log-level").filter(|level| level != "info");
    }
}

/// Applying the agent takes over the Service `source-controller`; Flux's own controllers would lose their artifacts
/// while they still run.
async fn refuse_beside_flux(client: &Client, namespace: &str) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let mut running = Vec::new();
    for name in ["source-controller", "kustomize-controller"] {
        let found = api
            .get_opt(name)
            .await
            .with_context(|| format!("looking for Deployment {namespace}/{name}"))?;
        let replicas = found.and_then(|deployment| deployment.spec.replicas);
        if replicas.is_some_and(|replicas| replicas > 0) {
            running.push(name);
        }
    }
    if running.is_empty() {
        return Ok(());
    }
    Err(advised(
        format!("Flux runs in {namespace} namespace: {}", running.join(", ")),
        format!(
            "stop them first, nothing is re-created: kubectl -n {namespace} scale deployment {} --replicas=0; or go on with --force",
            running.join(" ")
        ),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_upgrade_keeps_what_was_chosen_before() {
        let existing = json!({"spec": {"template": {"spec": {"containers": [{"args": [
            "--hub-secret=nave-agent-hub", "--advertise=a:1,b:2", "--log-level=info"
        ]}]}}}});
        let mut options = InstallOptions::default();
        keep_choices(&mut options, &existing);
        assert_eq!(options.hub_secret.as_deref(), Some("nave-agent-hub"));
        assert_eq!(options.advertise, ["a:1,b:2"]);
        assert_eq!(options.log_level, None);
        let mut chosen = InstallOptions {
            hub_secret: Some("other".into()),
            ..Default::default()
        };
        keep_choices(&mut chosen, &existing);
        assert_eq!(chosen.hub_secret.as_deref(), Some("other"));
    }
}
