//! How the conditions of a source sum up to `Ready` (fluxcd/pkg runtime, `conditions.SetSummary`).

use jiff::Timestamp;
use nave_crds::conditions::READY;
use nave_runtime::{Condition, Conditions, Status};

/// Which conditions count, first the most telling, and which of them are bad news when true.
pub(crate) struct Summary {
    pub order: &'static [&'static str],
    pub negative: &'static [&'static str],
}

impl Summary {
    /// Sets `Ready` from the conditions that are there: bad news first, then good news, then what is unknown.
    ///
    /// With none of them nothing is said.
    pub fn apply(&self, conditions: &mut Vec<Condition>, generation: i64, now: Timestamp) {
        let strongest = self
            .order
            .iter()
            .filter_map(|kind| conditions.get_condition(kind))
            .map(|condition| (self.group(condition), condition))
            // `min_by_key` keeps the first of equals, which is the one that comes first in the order.
            .min_by_key(|(group, _)| *group);
        let Some((group, condition)) = strongest else { return };
        let status = match group {
            Group::BadNews | Group::MissingGoodNews => Status::False,
            Group::GoodNews | Group::NoBadNews => Status::True,
            Group::Unknown => Status::Unknown,
        };
        let (reason, message) = (condition.reason.clone(), condition.message.clone());
        conditions.set(READY, status, &reason, message, generation, now);
    }

    fn group(&self, condition: &Condition) -> Group {
        let negative = self.negative.contains(&condition.type_.as_str());
        match (condition.status.as_str(), negative) {
            ("True", true) => Group::BadNews,
            ("False", false) => Group::MissingGoodNews,
            ("True", false) => Group::GoodNews,
            ("False", true) => Group::NoBadNews,
            _ => Group::Unknown,
        }
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Group {
    BadNews,
    MissingGoodNews,
    GoodNews,
    NoBadNews,
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: Summary = Summary {
        order: &[
            "StorageOperationFailed",
            "FetchFailed",
            "ArtifactInStorage",
            "Stalled",
            "Reconciling",
        ],
        negative: &["StorageOperationFailed", "FetchFailed", "Stalled", "Reconciling"],
    };

    #[track_caller]
    fn check(given: &[(&str, Status)], expected: Option<(Status, &str)>) {
        let now = Timestamp::UNIX_EPOCH;
        let mut conditions = Vec::new();
        for (kind, status) in given {
            conditions.set(kind, *status, &format!("R{kind}"), "", 1, now);
        }
        SUMMARY.apply(&mut conditions, 1, now);
        let ready = conditions.get_condition(READY);
        let found = ready.map(|ready| (ready.status.as_str(), ready.reason.as_str()));
        assert_eq!(found, expected.map(|(status, reason)| (status.as_str(), reason)));
    }

    #[test]
    fn bad_news_wins_and_the_first_of_it_speaks() {
        use Status::{False, True, Unknown};
        check(&[], None);
        check(&[("ArtifactInStorage", True)], Some((True, "RArtifactInStorage")));
        check(
            &[("ArtifactInStorage", True), ("Reconciling", True)],
            Some((False, "RReconciling")),
        );
        check(
            &[
                ("Reconciling", True),
                ("FetchFailed", True),
                ("ArtifactInStorage", True),
            ],
            Some((False, "RFetchFailed")),
        );
        check(
            &[("FetchFailed", True), ("StorageOperationFailed", True)],
            Some((False, "RStorageOperationFailed")),
        );
        check(&[("ArtifactInStorage", False)], Some((False, "RArtifactInStorage")));
        check(&[("ArtifactInStorage", Unknown)], Some((Unknown, "RArtifactInStorage")));
        check(&[("FetchFailed", False)], Some((True, "RFetchFailed")));
    }
}
