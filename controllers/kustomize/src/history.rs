//! `status.history`: the last outcomes, newest first.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use nave_crds::{kustomize::Snapshot, meta::Time};
use nave_object::duration;

/// Flux keeps five.
const KEPT: usize = 5;

/// One outcome to be recorded.
pub(crate) struct Entry<'a> {
    /// `sha256:<hex>` of what was built.
    pub digest: &'a str,
    /// Reason of the Ready condition.
    pub reason: &'a str,
    pub took: Duration,
    pub metadata: BTreeMap<String, String>,
}

/// Counts a known outcome up and moves it to the front, or puts a new one there.
pub(crate) fn record(history: &mut Vec<Snapshot>, entry: Entry<'_>, now: Timestamp) {
    let now = Time(nave_runtime::conditions::whole_seconds(now));
    let known = history
        .iter()
        .position(|snapshot| snapshot.digest == entry.digest && snapshot.last_reconciled_status == entry.reason);
    let mut snapshot = match known {
        Some(position) => history.remove(position),
        None => Snapshot {
            digest: entry.digest.to_owned(),
            first_reconciled: now.clone(),
            last_reconciled: now.clone(),
            last_reconciled_duration: String::new(),
            last_reconciled_status: entry.reason.to_owned(),
            total_reconciliations: 0,
            metadata: BTreeMap::new(),
        },
    };
    snapshot.last_reconciled = now;
    snapshot.last_reconciled_duration = duration::format(entry.took);
    snapshot.total_reconciliations = snapshot.total_reconciliations.saturating_add(1);
    snapshot.metadata = entry.metadata;
    history.insert(0, snapshot);
    history.truncate(KEPT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_outcomes_are_counted_and_moved_to_the_front() {
        let mut history = Vec::new();
        let mut add = |digest: &str, reason: &str, second: i64| {
            let entry = Entry {
                digest,
                reason,
                took: Duration::from_millis(1500),
                metadata: BTreeMap::new(),
            };
            record(
                &mut history,
                entry,
                Timestamp::from_second(second).expect("a valid time"),
            );
            history
                .iter()
                .map(|s| format!("{}/{}×{}", s.digest, s.last_reconciled_status, s.total_reconciliations))
                .collect::<Vec<_>>()
        };
        add("a", "Ok", 1);
        add("b", "Ok", 2);
        assert_eq!(add("a", "Ok", 3), ["a/Ok×2", "b/Ok×1"]);
        assert_eq!(add("a", "Bad", 4), ["a/Bad×1", "a/Ok×2", "b/Ok×1"]);
        add("c", "Ok", 5);
        add("d", "Ok", 6);
        assert_eq!(add("e", "Ok", 7), ["e/Ok×1", "d/Ok×1", "c/Ok×1", "a/Bad×1", "a/Ok×2"]);
        assert_eq!(history[4].first_reconciled.0.as_second(), 1);
        assert_eq!(history[4].last_reconciled.0.as_second(), 3);
        assert_eq!(history[0].last_reconciled_duration, "1.5s");
    }
}
