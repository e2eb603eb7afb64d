//! The cheapest check there is: nothing is built, compared or asked for.

use nave_health::HealthExpressions;
use nave_targets::Target;

use crate::{Action, Change, Memory, foreign::Foreign};

/// What an apply with the same inputs as `last` would find, by what the watches say; none when that is in doubt for any
/// object. Makes no request.
pub fn recheck(
    target: &Target,
    last: &[Change],
    memory: &Memory,
    expressions: &HealthExpressions,
) -> Option<Vec<Change>> {
    if !target.keeps_rows() || !memory.is_of(target) {
        return None;
    }
    last.iter()
        .map(|change| {
            let is_skipped = change.action == Action::Skipped;
            let Some(resource) = &change.resource else {
                // The desired object says so, whatever the live one is.
                return is_skipped.then(|| change.clone());
            };
            if is_skipped && memory.fingerprint_of(&change.id).is_none() {
                // Somebody else's, which the watches keep no row of.
                let is_as_seen = memory.foreign(&change.id).is_none_or(Foreign::is_as_seen);
                return is_as_seen.then(|| change.clone());
            }
            let namespace = if resource.namespaced { &change.id.namespace } else { "" };
            let known = target.watch(resource, namespace).known(namespace, &change.id.name)?;
            if memory.fingerprint_of(&change.id)? != known.fingerprint {
                return None;
            }
            if is_skipped {
                return Some(change.clone());
            }
            let judged_by_rules = !expressions.covers(&resource.gvk.group, &resource.gvk.kind);
            Some(change.clone().unchanged(judged_by_rules.then_some(known.health)))
        })
        .collect()
}
