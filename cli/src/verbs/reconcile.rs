//! `nave reconcile`: now, and wait for the outcome.

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use kube::{ResourceExt, api::DynamicObject};
use serde_json::json;

use super::target::{ReconcileTarget, namespace_of};
use crate::{
    api,
    connection::{Connection, ConnectionArguments},
    failure::advised,
    fields, hints,
    kinds::{self, Kind},
    say, wait,
};

/// Reconcile an object now and wait for the outcome
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
The request is the annotation reconcile.fluxcd.io/requestedAt; the wait ends when the object has handled it and is ready
or failed.

Examples:
  nave reconcile kustomization apps --with-source
  nave reconcile source git flux-system
  nave reconcile fleet apps --timeout 10m")]
pub struct Arguments {
    #[command(subcommand)]
    target: ReconcileTarget<Name, NameAndSource>,
}

/// The name of an object.
#[derive(Debug, Clone, clap::Args)]
pub struct Name {
    /// Name of the object
    name: String,
}

/// The name of an object that has a source.
#[derive(Debug, Clone, clap::Args)]
pub struct NameAndSource {
    /// Name of the object
    name: String,
    /// Reconcile its source first
    #[arg(long)]
    with_source: bool,
}

/// Reconciles an object, and its source before it when asked to.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let connection = to.connect().await?;
    let (kind, name, with_source) = match arguments.target {
        ReconcileTarget::Kustomization(typed) => (&kinds::KUSTOMIZATION, typed.name, typed.with_source),
        ReconcileTarget::Fleet(typed) => (&kinds::FLEET_KUSTOMIZATION, typed.name, false),
        ReconcileTarget::Source { source } => {
            let (kind, typed) = source.split();
            (kind, typed.name, false)
        }
    };
    let namespace = namespace_of(kind, to, &connection);
    let object = api::find(&connection.client, kind, namespace.as_deref(), &name).await?;
    if with_source {
        let (kind, source) = source_of(&connection, &object).await?;
        reconcile(&connection, kind, &source, to).await?;
    }
    reconcile(&connection, kind, &object, to).await
}

async fn reconcile(
    connection: &Connection,
    kind: &'static Kind,
    object: &DynamicObject,
    to: &ConnectionArguments,
) -> Result<()> {
    let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    if fields::flag(object, "/spec/suspend") {
        return Err(advised(
            format!("{} {namespace}/{name} is suspended", kind.kind),
            format!("`nave resume {} {name} -n {namespace}` starts it again", kind.word),
        ));
    }
    say::action(&format!("annotating {} {name} in {namespace} namespace", kind.kind));
    let previous = fields::text(object, "/status/lastHandledReconcileAt").to_owned();
    let patch =
        json!({"metadata": {"annotations": {nave_crds::annotations::REQUESTED_AT: Timestamp::now().to_string()}}});
    api::merge(&connection.client, kind, object, &patch).await?;
    say::success(&format!("{} annotated", kind.kind));
    let what = format!("waiting for {} reconciliation", kind.kind);
    say::waiting(&what);
    let message = wait::until(
        kind.api(&connection.client, &namespace),
        &name,
        &what,
        to.timeout,
        wait::reconciled(&previous),
    )
    .await
    .with_context(|| format!("{} reconciliation failed", kind.kind))?;
    say::success(&revision(connection, kind, &namespace, &name).await.unwrap_or(message));
    Ok(())
}

/// What was applied or fetched, from the object as it is now.
async fn revision(connection: &Connection, kind: &Kind, namespace: &str, name: &str) -> Option<String> {
    let object = match api::get(&connection.client, kind, namespace, name).await {
        Ok(object) => object,
        Err(error) => {
            say::warning(&hints::describe(&error));
            return None;
        }
    };
    let (verb, pointer) = match kind.kind {
        "Kustomization" => ("applied", "/status/lastAppliedRevision"),
        "FleetKustomization" => ("placed", "/status/targetRevision"),
        _ => ("fetched", "/status/artifact/revision"),
    };
    let revision = fields::text(&object, pointer);
    (!revision.is_empty()).then(|| format!("{verb} revision {}", fields::shorten(revision)))
}

/// The source that a Kustomization builds from.
async fn source_of(connection: &Connection, object: &DynamicObject) -> Result<(&'static Kind, DynamicObject)> {
    let (kind, name) = (
        fields::text(object, "/spec/sourceRef/kind"),
        fields::text(object, "/spec/sourceRef/name"),
    );
    let namespace = match fields::text(object, "/spec/sourceRef/namespace") {
        "" => object.namespace().unwrap_or_default(),
        namespace => namespace.to_owned(),
    };
    let fetched = [&kinds::GIT_REPOSITORY, &kinds::OCI_REPOSITORY, &kinds::BUCKET];
    let Some(known) = fetched.into_iter().find(|known| known.kind == kind) else {
        bail!(
            "--with-source: the source of {} is {kind} {namespace}/{name}, which cannot be reconciled from here",
            object.name_any()
        );
    };
    Ok((known, api::get(&connection.client, known, &namespace, name).await?))
}
