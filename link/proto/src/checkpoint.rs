//! Whether the hub is what its agents remember: checkpoints, and the decision *Behind*.
//!
//! The hub writes a new checkpoint before it sends what the checkpoint covers, and the agent shows the last that it saw.
//! A hub restored from a backup does not know it: its version numbers may have moved on and look new, the random nonce
//! cannot.

use crate::wire::Checkpoint;

/// How many checkpoints a hub remembers. An agent that was away for longer shows one that has left the ring.
pub const RING: usize = 256;

/// What a hub remembers of its own checkpoints (`HubState`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckpointRing {
    /// The last [`RING`] of this incarnation, oldest first.
    recent: Vec<Checkpoint>,
    /// Incarnations that ended when an operator confirmed a hub that was Behind.
    past: Vec<u64>,
}

/// What the checkpoint of an agent is to a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The agent has seen none.
    New,
    /// The hub's latest.
    Current,
    /// One that the hub remembers, or one of an incarnation that an operator closed.
    Ancestor,
    /// Older than all that the hub remembers, of the same incarnation: cannot be told from an ancestor. Deletions still
    /// need positive knowledge and pass the brake, so one agent's long absence does not stop the fleet.
    OlderThanMemory,
    /// The agent has seen something of this hub that the hub does not know: the hub lost memory.
    Ahead,
    /// Another history altogether, or the hub has no state at all.
    Foreign,
}

impl CheckpointRing {
    /// The memory of a hub that starts for the first time.
    pub fn new(first: Checkpoint) -> Self {
        Self {
            recent: vec![first],
            past: Vec::new(),
        }
    }

    /// The memory as it was stored: recent checkpoints, oldest first, and past incarnations.
    pub fn from_parts(recent: Vec<Checkpoint>, past: Vec<u64>) -> Self {
        Self { recent, past }
    }

    /// Recent checkpoints, oldest first.
    pub fn recent(&self) -> &[Checkpoint] {
        &self.recent
    }

    /// Past incarnations.
    pub fn past(&self) -> &[u64] {
        &self.past
    }

    /// The latest checkpoint, if there is any memory.
    pub fn latest(&self) -> Option<&Checkpoint> {
        self.recent.last()
    }

    /// Adds the checkpoint of a change and returns it. `nonce` is random; it must be stored before anything is sent.
    pub fn advance(&mut self, nonce: [u8; 16]) -> Checkpoint {
        let (incarnation, seq) = self.latest().map_or((0, 0), |latest| (latest.incarnation, latest.seq));
        let next = Checkpoint {
            incarnation,
            seq: seq + 1,
            nonce: nonce.to_vec(),
        };
        self.recent.push(next.clone());
        if self.recent.len() > RING {
            self.recent.drain(..self.recent.len() - RING);
        }
        next
    }

    /// An operator confirmed a hub that was Behind: a new, random incarnation begins, and what agents remember of
    /// earlier ones (`seen`, from those that connected) is no contradiction any more.
    pub fn confirm(&mut self, incarnation: u64, nonce: [u8; 16], seen: impl IntoIterator<Item = u64>) {
        self.past
            .extend(self.recent.iter().map(|checkpoint| checkpoint.incarnation));
        self.past.extend(seen);
        self.past.sort_unstable();
        self.past.dedup();
        self.past.retain(|past| *past != incarnation);
        self.recent = vec![Checkpoint {
            incarnation,
            seq: 1,
            nonce: nonce.to_vec(),
        }];
    }

    /// What an agent's last checkpoint is to this hub.
    pub fn relation(&self, last: Option<&Checkpoint>) -> Relation {
        let Some(last) = last else { return Relation::New };
        let (Some(oldest), Some(latest)) = (self.recent.first(), self.latest()) else {
            return Relation::Foreign;
        };
        if last == latest {
            return Relation::Current;
        }
        if self.recent.contains(last) || self.past.contains(&last.incarnation) {
            return Relation::Ancestor;
        }
        if last.incarnation != latest.incarnation {
            return Relation::Foreign;
        }
        if last.seq < oldest.seq {
            Relation::OlderThanMemory
        } else {
            Relation::Ahead
        }
    }
}

impl Relation {
    /// Whether a hub that meets it must declare itself Behind.
    pub fn means_behind(self) -> bool {
        matches!(self, Self::Ahead | Self::Foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(incarnation: u64, seq: u64, nonce: u8) -> Checkpoint {
        Checkpoint {
            incarnation,
            seq,
            nonce: vec![nonce; 16],
        }
    }

    fn ring() -> CheckpointRing {
        let mut ring = CheckpointRing::new(point(5, 1, 1));
        for nonce in 2..=4 {
            ring.advance([nonce; 16]);
        }
        ring
    }

    fn check(last: Option<Checkpoint>, expected: Relation, behind: bool) {
        let relation = ring().relation(last.as_ref());
        assert_eq!((relation, relation.means_behind()), (expected, behind), "{last:?}");
    }

    #[test]
    fn relations() {
        check(None, Relation::New, false);
        check(Some(point(5, 4, 4)), Relation::Current, false);
        check(Some(point(5, 2, 2)), Relation::Ancestor, false);
        check(Some(point(5, 9, 9)), Relation::Ahead, true);
        check(Some(point(5, 4, 77)), Relation::Ahead, true);
        check(Some(point(5, 2, 77)), Relation::Ahead, true);
        check(Some(point(6, 1, 1)), Relation::Foreign, true);
        assert!(CheckpointRing::default().relation(Some(&point(1, 1, 1))).means_behind());
        assert!(!CheckpointRing::default().relation(None).means_behind());
    }

    #[test]
    fn a_restored_hub_is_behind_until_it_is_confirmed() {
        let before = ring();
        let mut lived_on = before.clone();
        let seen = lived_on.advance([40; 16]);
        let mut restored = before;
        // It moves on by itself before the agent comes back: the same number, another nonce.
        restored.advance([41; 16]);
        assert!(restored.relation(Some(&seen)).means_behind());
        restored.confirm(77, [50; 16], [seen.incarnation]);
        assert_eq!(restored.relation(Some(&seen)), Relation::Ancestor);
        assert_eq!(restored.latest(), Some(&point(77, 1, 50)));
    }

    #[test]
    fn memory_is_bounded_and_a_long_absence_stops_nobody() {
        let mut ring = ring();
        for _ in 0..2 * RING {
            ring.advance([9; 16]);
        }
        assert_eq!(ring.recent().len(), RING);
        let relation = ring.relation(Some(&point(5, 2, 2)));
        assert_eq!((relation, relation.means_behind()), (Relation::OlderThanMemory, false));
    }
}
