//! Events on their way to the hub: a bounded queue that loses the oldest and says how many.

use std::collections::VecDeque;

use prost::Message;

use crate::wire::{EventMsg, MAX_EVENT_BYTES};

/// As many events as a busy minute of one cluster has; more are history, which the cluster keeps itself.
const EVENTS: usize = 64;

/// Events that wait.
#[derive(Debug, Default)]
pub struct EventQueue {
    waiting: VecDeque<EventMsg>,
    dropped: u64,
}

impl EventQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event. When the queue is full the oldest goes; an event that is too large goes itself.
    pub fn push(&mut self, event: EventMsg) {
        if event.encoded_len() > MAX_EVENT_BYTES {
            self.dropped += 1;
            return;
        }
        if self.waiting.len() == EVENTS {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        self.waiting.push_back(event);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn pop(&mut self) -> Option<EventMsg> {
        let mut event = self.waiting.pop_front()?;
        event.dropped_before = std::mem::take(&mut self.dropped);
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_lost_and_counted() {
        let mut queue = EventQueue::new();
        for time_ms in 0..EVENTS as i64 + 3 {
            queue.push(EventMsg {
                time_ms,
                ..EventMsg::default()
            });
        }
        queue.push(EventMsg {
            message: "x".repeat(MAX_EVENT_BYTES),
            ..EventMsg::default()
        });
        let first = queue.pop().expect("full queue");
        assert_eq!((first.time_ms, first.dropped_before), (3, 4));
        assert_eq!(queue.pop().map(|event| event.dropped_before), Some(0));
        assert_eq!(queue.len(), EVENTS - 2);
    }
}
