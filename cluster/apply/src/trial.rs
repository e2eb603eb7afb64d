//! Whether an object that does not exist could be created, asked before anything of its stage is written.

use nave_object::Object;
use nave_targets::{ApplyMode, Resource, Target};
use serde_json::Value;

use crate::{
    Problem,
    examine::Context,
    rules::{self, Mode},
};

/// When to ask whether an object that does not exist can be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trial {
    /// With everything else of its stage.
    Now,
    /// By creating it, once everything else of its stage has passed.
    Later,
}

/// Whether nobody has seen the object yet, as far as is known here.
fn is_unknown(context: &Context<'_>, object: &Object) -> bool {
    let id = object.id();
    !context.options.report_only && !context.memory.knows(&id) && !context.options.inventory.has(&id)
}

/// Whether an object that nobody has seen does not exist.
pub(crate) async fn is_absent(context: &Context<'_>, object: &Object, resource: &Resource) -> Result<bool, Problem> {
    if !is_unknown(context, object) {
        return Ok(false);
    }
    let id = object.id();
    let live = context.target.get(resource, &id.namespace, &id.name).await;
    match live {
        Ok(live) => Ok(live.is_none()),
        Err(error) => Err(Problem::api(&id, object.as_value(), "cannot be read", &error)),
    }
}

/// Whether an object that nobody has seen passes its dry run and does not exist: one request says both. If not, it has to be
/// looked at.
pub(crate) async fn would_be_new(context: &Context<'_>, object: &Object, resource: &Resource) -> bool {
    if !is_unknown(context, object) || rules::mode(object.as_value()) == Mode::IfNotPresent {
        return false;
    }
    creates(context.target, resource, object).await.unwrap_or(false)
}

/// Asks whether an object that does not exist can be created.
pub(crate) async fn try_out(target: &Target, resource: &Resource, object: &Object) -> Result<(), Problem> {
    let tried = creates(target, resource, object).await;
    tried
        .map(drop)
        .map_err(|error| Problem::api(&object.id(), object.as_value(), "dry-run failed", &error))
}

async fn creates(target: &Target, resource: &Resource, object: &Object) -> kube::Result<bool> {
    let (id, manager) = (object.id(), nave_targets::APPLY_MANAGER);
    target
        .would_create(resource, &id.namespace, &id.name, manager, object.as_value())
        .await
}

/// Whether the API server would accept the object if it did not exist: asked under a name that nobody has. A re-creation
/// that fails half-way would leave nothing.
pub(crate) async fn would_be_created(target: &Target, resource: &Resource, object: &Object) -> bool {
    let mut trial = object.clone();
    let mut name: String = object.name().chars().take(40).collect();
    name = format!("{}-nave-trial", name.trim_end_matches(['-', '.', ':']));
    trial.set_name(&name);
    if let Some(spec) = trial.as_value_mut().get_mut("spec").and_then(Value::as_object_mut)
        && object.kind() == "Service"
    {
        // They are taken by the object that would be deleted first.
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
        for port in spec
            .get_mut("ports")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            port.remove("nodePort");
        }
    }
    let namespace = object.namespace().unwrap_or_default();
    target
        .apply(
            resource,
            namespace,
            &name,
            nave_targets::APPLY_MANAGER,
            trial.as_value(),
            ApplyMode::DryRun,
        )
        .await
        .is_ok()
}
