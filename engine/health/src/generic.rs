//! Rules for every kind: deletion, observed generation, and the conditions that are a convention.

use nave_object::pointer::at;
use serde_json::Value;

use crate::{
    Health, Status,
    fields::{condition, conditions, number, text},
};

/// What decides before the rules of a kind are asked.
pub(crate) fn before_kind(object: &Value) -> Option<Health> {
    if at(object, "/metadata/deletionTimestamp").is_some_and(|time| !time.is_null()) {
        return Some(Health::new(Status::Terminating, "Resource scheduled for deletion"));
    }
    unobserved(object).or_else(|| {
        conditions(object).find_map(|condition| match condition.kind {
            "Reconciling" if condition.is_true() => Some(Health::in_progress(condition.message)),
            "Stalled" if condition.is_true() => Some(Health::failed(condition.message)),
            _ => None,
        })
    })
}

/// In progress while the controller has not seen the latest generation, for kinds that say what they have seen.
pub(crate) fn unobserved(object: &Value) -> Option<Health> {
    let observed = number(object, "/status/observedGeneration")?;
    let generation = number(object, "/metadata/generation").unwrap_or(0);
    (observed != generation).then(|| {
        Health::in_progress(format!(
            "{} generation is {generation}, but latest observed generation is {observed}",
            text(object, "/kind")
        ))
    })
}

/// `Ready` decides for kinds that have it. An unready one is in progress, never failed: `Stalled` says that.
pub(crate) fn by_ready_condition(object: &Value) -> Option<Health> {
    let ready = condition(object, "Ready")?;
    Some(if ready.is_true() {
        Health::current("Resource is Ready")
    } else {
        Health::in_progress(ready.message)
    })
}
