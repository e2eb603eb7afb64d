//! What became of an item on a cluster over time: its last transitions, in one bounded record.

use prost::Message;

/// Transitions of one item on one cluster that are kept.
pub const KEPT: usize = 16;
/// Bytes of a message that are kept; the latest message stands whole in the row.
const MESSAGE: usize = 256;

/// The transitions of one item on one cluster, oldest first.
#[derive(Clone, PartialEq, Message)]
pub struct HistoryRecord {
    /// At most [`KEPT`].
    #[prost(message, repeated, tag = "1")]
    pub transitions: Vec<Transition>,
}

/// From then on it was so.
#[derive(Clone, PartialEq, Message)]
pub struct Transition {
    /// Milliseconds since 1970, by the hub's clock.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    /// The state, in the words of the link.
    #[prost(string, tag = "2")]
    pub state: String,
    /// What was applied.
    #[prost(string, tag = "3")]
    pub revision: String,
    /// Reason of the Ready condition.
    #[prost(string, tag = "4")]
    pub reason: String,
    /// How the message of the Ready condition begins.
    #[prost(string, tag = "5")]
    pub message: String,
}

impl HistoryRecord {
    /// Adds a transition; the oldest makes room.
    pub fn push(&mut self, mut transition: Transition) {
        let mut end = transition.message.len().min(MESSAGE);
        while !transition.message.is_char_boundary(end) {
            end -= 1;
        }
        transition.message.truncate(end);
        self.transitions.push(transition);
        let excess = self.transitions.len().saturating_sub(KEPT);
        self.transitions.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_messages_are_cut_at_a_character() {
        let mut record = HistoryRecord::default();
        for time_ms in 0..40 {
            record.push(Transition {
                time_ms,
                message: "ä".repeat(200),
                ..Transition::default()
            });
        }
        let times: Vec<i64> = record.transitions.iter().map(|one| one.time_ms).collect();
        assert_eq!(times, (24..40).collect::<Vec<_>>());
        assert!(record.transitions.iter().all(|one| one.message.len() == MESSAGE));
        let odd = Transition {
            message: format!("a{}", "ä".repeat(200)),
            ..Transition::default()
        };
        record.push(odd);
        assert_eq!(
            record.transitions.last().map(|one| one.message.len()),
            Some(MESSAGE - 1)
        );
    }
}
