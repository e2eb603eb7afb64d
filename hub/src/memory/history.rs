//! What became of an item on a cluster over time: its last transitions, and what its agent told, in one bounded record.

use prost::Message;

/// Transitions of one item on one cluster that are kept.
pub const KEPT: usize = 16;
/// Events of one item on one cluster that are kept.
pub const EVENTS: usize = 16;
/// Bytes of a message that are kept; the latest message stands whole in the row.
const MESSAGE: usize = 256;

/// The transitions of one item on one cluster, oldest first.
#[derive(Clone, PartialEq, Message)]
pub struct HistoryRecord {
    /// At most [`KEPT`].
    #[prost(message, repeated, tag = "1")]
    pub transitions: Vec<Transition>,
    /// What the agent told, oldest first: at most [`EVENTS`].
    #[prost(message, repeated, tag = "2")]
    pub events: Vec<SpokeEvent>,
}

/// What a controller of the spoke said of a Flux object.
#[derive(Clone, PartialEq, Message)]
pub struct SpokeEvent {
    /// Milliseconds since 1970, by the agent's clock.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    /// Kind of the object.
    #[prost(string, tag = "2")]
    pub kind: String,
    /// Its namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
    /// Its name.
    #[prost(string, tag = "4")]
    pub name: String,
    /// Whether something failed.
    #[prost(bool, tag = "5")]
    pub is_warning: bool,
    /// One word.
    #[prost(string, tag = "6")]
    pub reason: String,
    /// How the message begins.
    #[prost(string, tag = "7")]
    pub message: String,
    /// The revision that it speaks of.
    #[prost(string, tag = "8")]
    pub revision: String,
    /// How many events of the cluster were lost before this one.
    #[prost(uint64, tag = "9")]
    pub lost: u64,
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
        cut(&mut transition.message);
        self.transitions.push(transition);
        let excess = self.transitions.len().saturating_sub(KEPT);
        self.transitions.drain(..excess);
    }

    /// Adds an event; the oldest makes room.
    pub fn hear(&mut self, mut event: SpokeEvent) {
        cut(&mut event.message);
        self.events.push(event);
        let excess = self.events.len().saturating_sub(EVENTS);
        self.events.drain(..excess);
    }

    /// Adds what was noted.
    pub fn add(&mut self, noted: Noted) {
        match noted {
            Noted::Became(transition) => self.push(transition),
            Noted::Told(event) => self.hear(event),
        }
    }

    /// Gives up all but the latest transition.
    pub fn shrink(&mut self) {
        self.events.clear();
        self.transitions.drain(..self.transitions.len().saturating_sub(1));
    }
}

/// Something for the history of an item.
#[derive(Debug, Clone, PartialEq)]
pub enum Noted {
    /// It became otherwise.
    Became(Transition),
    /// Its agent told something.
    Told(SpokeEvent),
}

fn cut(message: &mut String) {
    let mut end = message.len().min(MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
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
        for time_ms in 0..40 {
            record.hear(SpokeEvent {
                time_ms,
                message: "ä".repeat(200),
                ..SpokeEvent::default()
            });
        }
        assert_eq!(
            (record.events.len(), record.transitions.len()),
            (EVENTS, KEPT),
            "neither pushes the other out"
        );
        assert_eq!(
            (record.events[0].time_ms, record.events[0].message.len()),
            (24, MESSAGE)
        );
        record.shrink();
        assert_eq!((record.events.len(), record.transitions[0].time_ms), (0, 39));
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
