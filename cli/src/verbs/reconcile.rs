//! `nave reconcile`: now, and wait for the outcome.

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use kube::{ResourceExt, api::DynamicObject};
use nave_crds::annotations;
use serde_json::{Value, json};

use super::target::{ArtifactTarget, ReconcileTarget, SourceTarget, find_first, namespace_of};
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
  nave reconcile helmrelease web --with-source --force
  nave reconcile source git flux-system
  nave reconcile source chart app --with-source
  nave reconcile artifact generator apps
  nave reconcile fleet apps --timeout 10m")]
pub struct Arguments {
    #[command(subcommand)]
    target: ReconcileTarget<Name, NameAndSource, ReleaseName>,
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

impl From<NameAndSource> for Name {
    fn from(typed: NameAndSource) -> Name {
        Name { name: typed.name }
    }
}

/// The name of a HelmRelease, and what may be asked of it.
#[derive(Debug, Clone, clap::Args)]
pub struct ReleaseName {
    /// Name of the object
    name: String,
    /// Reconcile its chart first, and what the chart comes from before that
    #[arg(long)]
    with_source: bool,
    /// Install or upgrade once, even if nothing changed or all retries failed
    #[arg(long)]
    force: bool,
    /// Forget failures, so that there are as many retries as at the start
    #[arg(long)]
    reset: bool,
}

/// Reconciles an object, and its source before it when asked to.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let connection = to.connect().await?;
    let mut also = Vec::new();
    let (kinds, name, with_source): (&[&'static Kind], _, _) = match arguments.target {
        ReconcileTarget::Kustomization(typed) => (&[&kinds::KUSTOMIZATION], typed.name, typed.with_source),
        ReconcileTarget::HelmRelease(typed) => {
            for (asked, annotation) in [
                (typed.force, annotations::FORCE_AT),
                (typed.reset, annotations::RESET_AT),
            ] {
                also.extend(asked.then_some(annotation));
            }
            (&[&kinds::HELM_RELEASE], typed.name, typed.with_source)
        }
        ReconcileTarget::Fleet(typed) => (&kinds::FLEET, typed.name, false),
        ReconcileTarget::FleetHelmRelease(typed) => (&[&kinds::FLEET_HELM_RELEASE], typed.name, false),
        ReconcileTarget::Source { source } => {
            let with_source = matches!(&source, SourceTarget::Chart(typed) if typed.with_source);
            let (kind, typed) = source.split();
            (&[kind], typed.name, with_source)
        }
        ReconcileTarget::Artifact {
            artifact: ArtifactTarget::Generator(typed),
        } => (&[&kinds::ARTIFACT_GENERATOR], typed.name, false),
    };
    let namespace = namespace_of(kinds[0], to, &connection);
    let (kind, object) = find_first(&connection.client, kinds, namespace.as_deref(), &name).await?;
    if with_source {
        for (kind, source) in sources_of(&connection, kind, &object).await? {
            reconcile(&connection, kind, &source, to, &[]).await?;
        }
    }
    reconcile(&connection, kind, &object, to, &also).await
}

async fn reconcile(
    connection: &Connection,
    kind: &'static Kind,
    object: &DynamicObject,
    to: &ConnectionArguments,
    also: &[&str],
) -> Result<()> {
    let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    if api::is_suspended(kind, object) {
        return Err(advised(
            format!("{} {namespace}/{name} is suspended", kind.kind),
            format!("`nave resume {} {name} -n {namespace}` starts it again", kind.word),
        ));
    }
    say::action(&format!("annotating {} {name} in {namespace} namespace", kind.kind));
    let previous = fields::text(object, "/status/lastHandledReconcileAt").to_owned();
    // The same word in all of them: that is how a controller knows that they belong to this request.
    let now = Timestamp::now().to_string();
    let mut patch = json!({"metadata": {"annotations": {annotations::REQUESTED_AT: now}}});
    for annotation in also {
        patch["metadata"]["annotations"][*annotation] = Value::String(now.clone());
    }
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
        "HelmRelease" => ("applied", "/status/history/0/chartVersion"),
        "FleetKustomization" | "FleetHelmRelease" => ("placed", "/status/targetRevision"),
        _ => ("fetched", "/status/artifact/revision"),
    };
    let revision = fields::text(&object, pointer);
    (!revision.is_empty()).then(|| format!("{verb} revision {}", fields::shorten(revision)))
}

/// What has to be reconciled before an object: the source that a Kustomization builds from; the chart of a HelmRelease,
/// and before it what that chart comes from.
async fn sources_of(
    connection: &Connection,
    kind: &Kind,
    object: &DynamicObject,
) -> Result<Vec<(&'static Kind, DynamicObject)>> {
    if *kind != kinds::HELM_RELEASE {
        let source = source_of(connection, object, "/spec/sourceRef").await?;
        return Ok(if is_static(&source) { Vec::new() } else { vec![source] });
    }
    let chart = match fields::text(object, "/status/helmChart").split_once('/') {
        Some((namespace, name)) => {
            let chart = api::get(&connection.client, &kinds::HELM_CHART, namespace, name).await?;
            (&kinds::HELM_CHART, chart)
        }
        None if object.data.pointer("/spec/chart").is_some() => {
            bail!("--with-source: HelmRelease {} has no HelmChart yet", object.name_any())
        }
        None => source_of(connection, object, "/spec/chartRef").await?,
    };
    if *chart.0 != kinds::HELM_CHART {
        return Ok(vec![chart]);
    }
    let source = source_of(connection, &chart.1, "/spec/sourceRef").await?;
    Ok(if is_static(&source) {
        vec![chart]
    } else {
        vec![source, chart]
    })
}

/// Chart repositories in registries have nothing to fetch: it is the chart that asks them.
fn is_static((kind, source): &(&'static Kind, DynamicObject)) -> bool {
    **kind == kinds::HELM_REPOSITORY && fields::text(source, "/spec/type") == "oci"
}

/// The source that an object refers to under `pointer`.
async fn source_of(
    connection: &Connection,
    object: &DynamicObject,
    pointer: &str,
) -> Result<(&'static Kind, DynamicObject)> {
    let text = |field: &str| fields::text(object, &format!("{pointer}/{field}")).to_owned();
    let (kind, name) = (text("kind"), text("name"));
    let namespace = match text("namespace") {
        namespace if namespace.is_empty() => object.namespace().unwrap_or_default(),
        namespace => namespace,
    };
    let fetched = [
        &kinds::GIT_REPOSITORY,
        &kinds::OCI_REPOSITORY,
        &kinds::HELM_REPOSITORY,
        &kinds::HELM_CHART,
        &kinds::BUCKET,
    ];
    let Some(known) = fetched.into_iter().find(|known| known.kind == kind) else {
        bail!(
            "--with-source: the source of {} is {kind} {namespace}/{name}, which cannot be reconciled from here",
            object.name_any()
        );
    };
    Ok((known, api::get(&connection.client, known, &namespace, &name).await?))
}
