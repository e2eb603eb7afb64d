//! One row: how one fleet object stands on one cluster.

use std::{num::NonZeroU64, sync::Arc};

use nave_artifact::Digest;
use nave_crds::fleet::ClusterCounts;
use nave_placement::ClusterKey;
use nave_placement_controller::{ClusterState, ClusterStatus};
use nave_proto::{shared_text, wire::StatusPayload};

use crate::{desired::Target, memory::RowRecord};

/// Messages of conditions may be long; a status shows one line of ten clusters.
const MAX_MESSAGE: usize = 1024;

/// Which of two rows is the later one.
///
/// Rows live as long as the hub's process, so its own count of connections orders them. An agent's counters do not: one
/// that joins again with a new key begins anew, and would be taken for older than what its former key said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Order {
    /// The hub's count of connections.
    pub session: u64,
    /// The version of the status map in that session.
    pub version: u64,
}

/// What was said of one fleet object on one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    observed_payload: Option<nave_proto::Digest>,
    /// The rest of it.
    pub words: Words,
}

/// All of a row but the payload that it speaks of, which is another on each cluster. When all is well, many clusters say
/// the same of one fleet object: they share the words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Words {
    /// UID of the fleet object.
    pub owner_uid: Arc<str>,
    observed_manifest: Option<Digest>,
    state: ClusterState,
    revision: Arc<str>,
    object: Arc<str>,
    reason: Arc<str>,
    message: Arc<str>,
}

/// The payload that a row speaks of, to be compared with that of the target: the beginning of its digest. A cluster that
/// would make up another one with the same beginning would lie about itself only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(Option<NonZeroU64>);

impl Mark {
    fn of(digest: &nave_proto::Digest) -> Self {
        Mark(NonZeroU64::new(digest.short()))
    }
}

impl Row {
    /// A row that an agent reported; its texts are bounded and clean already.
    pub fn reported(owner_uid: &str, status: &StatusPayload) -> Self {
        let ready = status.conditions.iter().find(|condition| condition.r#type == "Ready");
        Row {
            observed_payload: nave_proto::Digest::from_slice(&status.observed_payload),
            words: Words {
                owner_uid: shared_text(owner_uid),
                observed_manifest: manifest(&status.observed_manifest),
                state: state(&status.state),
                revision: shared_text(&status.revision),
                object: shared_text(&status.object),
                reason: shared_text(ready.map_or("", |ready| ready.reason.as_str())),
                message: shared_text(&cut(ready.map_or("", |ready| ready.message.as_str()))),
            },
        }
    }

    /// The agent did not take the item.
    pub fn refused(owner_uid: &str, target: Option<Target>, reason: &str, message: &str) -> Self {
        Row {
            observed_payload: target.map(|target| target.payload),
            words: Words {
                owner_uid: shared_text(owner_uid),
                observed_manifest: target.and_then(|target| target.manifest),
                state: ClusterState::Failed,
                revision: shared_text(""),
                object: shared_text(""),
                reason: shared_text(reason),
                message: shared_text(&cut(message)),
            },
        }
    }

    /// The agent holds an item of an owner that nobody knows.
    pub fn orphaned(owner_uid: &str) -> Self {
        Row {
            observed_payload: None,
            words: Words {
                owner_uid: shared_text(owner_uid),
                observed_manifest: None,
                state: ClusterState::Orphaned,
                revision: shared_text(""),
                object: shared_text(""),
                reason: shared_text(nave_crds::reasons::fleet::ORPHANED),
                message: shared_text(
                    "the agent holds objects of a fleet object that this hub does not know; they are kept",
                ),
            },
        }
    }

    /// As it is stored, with the digest of the status item that it is of.
    pub fn record(&self, digest: &nave_proto::Digest, cluster_uid: &str) -> RowRecord {
        let (payload, words) = (self.observed_payload, &self.words);
        RowRecord {
            digest: digest.to_vec(),
            owner_uid: words.owner_uid.to_string(),
            cluster_uid: cluster_uid.to_owned(),
            observed_payload: payload.map(nave_proto::Digest::to_vec).unwrap_or_default(),
            observed_manifest: words
                .observed_manifest
                .map(|digest| digest.bytes().to_vec())
                .unwrap_or_default(),
            state: word(words.state).to_owned(),
            revision: words.revision.to_string(),
            object: words.object.to_string(),
            reason: words.reason.to_string(),
            message: words.message.to_string(),
        }
    }

    /// A row that was stored.
    pub fn restored(record: &RowRecord) -> Self {
        Row {
            observed_payload: nave_proto::Digest::from_slice(&record.observed_payload),
            words: Words {
                owner_uid: shared_text(&record.owner_uid),
                observed_manifest: manifest(&record.observed_manifest),
                state: state(&record.state),
                revision: shared_text(&record.revision),
                object: shared_text(&record.object),
                reason: shared_text(&record.reason),
                message: shared_text(&cut(&record.message)),
            },
        }
    }

    /// Which payload it speaks of; none when it does not say.
    pub fn mark(&self) -> Mark {
        self.observed_payload.as_ref().map_or(Mark(None), Mark::of)
    }

    /// The row as the placement controller reads it.
    pub fn status(&self, cluster: ClusterKey, target: Option<&Target>) -> ClusterStatus {
        self.words.status(self.mark(), cluster, target)
    }
}

impl Words {
    /// What is applied.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Whether it stands otherwise than before, and not only with other words.
    pub fn is_another_state(&self, other: &Words) -> bool {
        (self.state, &self.reason, &self.revision, &self.owner_uid)
            != (other.state, &other.reason, &other.revision, &other.owner_uid)
    }

    /// The row as the placement controller reads it. It speaks of the target only when both the payload (`mark`) and the
    /// manifest that the agent observed are the target's.
    pub fn status(&self, mark: Mark, cluster: ClusterKey, target: Option<&Target>) -> ClusterStatus {
        let current = target.is_some_and(|target| {
            mark != Mark(None)
                && mark == Mark::of(&target.payload)
                && (target.manifest.is_none() || self.observed_manifest == target.manifest)
        });
        ClusterStatus {
            cluster,
            current,
            revision: self.revision.to_string(),
            state: self.state,
            object: self.object.to_string(),
            reason: self.reason.to_string(),
            message: self.message.to_string(),
        }
    }

    /// The number that counts rows like it.
    pub fn of<'a>(&self, counts: &'a mut ClusterCounts) -> &'a mut i64 {
        match self.state {
            ClusterState::Ready => &mut counts.ready,
            ClusterState::Progressing => &mut counts.progressing,
            ClusterState::Failed => &mut counts.failed,
            ClusterState::Suspended => &mut counts.suspended,
            ClusterState::Held => &mut counts.held,
            ClusterState::Orphaned => &mut counts.orphaned,
        }
    }
}

fn manifest(bytes: &[u8]) -> Option<Digest> {
    <[u8; 32]>::try_from(bytes).ok().map(Digest::Sha256)
}

/// A word that this version does not know means that something is going on which it cannot judge.
fn state(word: &str) -> ClusterState {
    match word {
        "ready" => ClusterState::Ready,
        "failed" => ClusterState::Failed,
        "suspended" => ClusterState::Suspended,
        "held" => ClusterState::Held,
        "orphaned" => ClusterState::Orphaned,
        _ => ClusterState::Progressing,
    }
}

/// The word of the link for it.
fn word(state: ClusterState) -> &'static str {
    match state {
        ClusterState::Ready => "ready",
        ClusterState::Progressing => "progressing",
        ClusterState::Failed => "failed",
        ClusterState::Suspended => "suspended",
        ClusterState::Held => "held",
        ClusterState::Orphaned => "orphaned",
    }
}

fn cut(message: &str) -> String {
    if message.len() <= MAX_MESSAGE {
        return message.to_owned();
    }
    let mut end = MAX_MESSAGE - "…".len();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_proto::wire::Condition;

    fn payload(state: &str) -> StatusPayload {
        StatusPayload {
            observed_payload: vec![1; 32],
            observed_manifest: vec![2; 32],
            state: state.into(),
            revision: "main@sha1:1".into(),
            conditions: vec![Condition {
                r#type: "Ready".into(),
                reason: "HealthCheckFailed".into(),
                message: "x".repeat(5000),
                ..Condition::default()
            }],
            ..StatusPayload::default()
        }
    }

    fn order(session: u64, version: u64) -> Order {
        Order { session, version }
    }

    #[test]
    fn later_is_by_session_then_version() {
        assert!(order(2, 1) > order(1, 9));
        assert!(order(1, 2) > order(1, 1));
    }

    #[test]
    fn a_row_speaks_of_the_target_only_when_both_digests_are_the_targets() {
        let row = Row::reported("u", &payload("ready"));
        let target = |payload: u8, manifest: Option<u8>| Target {
            payload: nave_proto::Digest::from_bytes([payload; 32]),
            manifest: manifest.map(|byte| Digest::Sha256([byte; 32])),
        };
        let check = |target: Option<Target>, expected: bool| {
            let status = row.status(ClusterKey::new("platform", "eu-1"), target.as_ref());
            assert_eq!(status.current, expected, "{target:?}");
        };
        check(Some(target(1, Some(2))), true);
        check(Some(target(1, Some(3))), false);
        check(Some(target(9, Some(2))), false);
        check(Some(target(1, None)), true);
        check(None, false);
        let silent = Row::reported("u", &StatusPayload::default());
        let status = silent.status(ClusterKey::new("platform", "eu-1"), Some(&target(0, None)));
        assert!(!status.current, "it names no payload, not one of zeros");
    }

    #[test]
    fn long_messages_are_cut_and_unknown_states_are_progress() {
        let row = Row::reported("u", &payload("meditating"));
        let status = row.status(ClusterKey::new("platform", "eu-1"), None);
        assert_eq!(
            (status.state, status.message.len()),
            (ClusterState::Progressing, MAX_MESSAGE)
        );
        assert_eq!(status.reason, "HealthCheckFailed");
    }

    #[test]
    fn a_row_that_was_stored_says_the_same() {
        for state in ["ready", "progressing", "failed", "suspended", "held", "orphaned"] {
            let row = Row::reported("u", &payload(state));
            let record = row.record(&nave_proto::Digest::from_bytes([9; 32]), "c");
            assert_eq!((record.digest, record.cluster_uid.as_str()), (vec![9; 32], "c"));
            let restored = Row::restored(&row.record(&nave_proto::Digest::from_bytes([9; 32]), "c"));
            assert_eq!(restored, row, "{state}");
        }
    }

    #[test]
    fn other_words_are_no_other_state() {
        let mut said = payload("failed");
        let first = Row::reported("u", &said);
        said.conditions[0].message = "2 of 3 replicas".into();
        let words = Row::reported("u", &said);
        assert!(words != first && !words.words.is_another_state(&first.words));
        said.revision = "main@sha1:2".into();
        let is_another = |said: &StatusPayload| Row::reported("u", said).words.is_another_state(&first.words);
        assert!(is_another(&said) && is_another(&payload("ready")));
    }

    #[test]
    fn the_same_said_again_is_no_news() {
        let first = Row::reported("u", &payload("ready"));
        let again = Row::reported("u", &payload("ready"));
        assert_eq!(first, again);
        assert_ne!(first, Row::reported("u", &payload("failed")));
    }
}
