//! Whether the hub is what its agents remember: checkpoints, and the decision *Behind*.
//!
//! The hub writes a new checkpoint before it sends what the checkpoint covers, and the agent shows the last that it saw.
//! A hub restored from a backup does not know it. Its version numbers may have moved on and look new, so a nonce says two
//! things more: which process of the hub made it, and that it was made with the hub's key.
//!
//! ```text
//! nonce = start (8 bytes, random for each process) ‖ HMAC(key, incarnation, seq, start) (its first 8 bytes)
//! ```
//!
//! A hub keeps which process wrote from which number on. So what a lost history gave is told from an ancestor however long
//! ago it was, and what nobody gave is told from both: one agent's key cannot make a hub doubt itself.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::wire::Checkpoint;

/// How many checkpoints a hub remembers word by word.
pub const RING: usize = 128;
/// How many processes of the hub it remembers. Each wrote a checkpoint at least, so they reach back as far as the ring.
pub const STARTS: usize = RING;
/// How far the numbers jump when a hub begins to sign its nonces: what it gave before has a lower number, also what it has
/// lost since.
const JUMP: u64 = 1 << 20;
/// Bytes of a nonce that name the process.
const START_BYTES: usize = 8;
/// Bytes of a nonce that prove the hub's key.
const SEAL_BYTES: usize = 8;

/// Who gives checkpoints: a process of the hub.
#[derive(Clone)]
pub struct Issuer {
    key: [u8; 32],
    start: [u8; START_BYTES],
}

/// A process of the hub that gave checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The number of its first checkpoint.
    pub seq: u64,
    /// What its nonces begin with.
    pub id: [u8; START_BYTES],
}

/// What a hub remembers of its own checkpoints (`HubState`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckpointRing {
    /// Grows when an operator confirms a hub that was Behind; what agents remember of lower ones contradicts nothing.
    incarnation: u64,
    /// The last [`RING`] of this incarnation, oldest first.
    recent: Vec<Checkpoint>,
    /// The last [`STARTS`] processes that gave any in this incarnation, oldest first. None of a hub that never signed.
    starts: Vec<Start>,
}

/// What the checkpoint of an agent is to a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The agent has seen none.
    New,
    /// The hub's latest.
    Current,
    /// One that the hub gave, or one of an incarnation that an operator closed.
    Ancestor,
    /// Older than all that the hub remembers, of the same incarnation: cannot be told from an ancestor. Deletions still
    /// need positive knowledge and pass the brake, so one agent's long absence does not stop the fleet.
    OlderThanMemory,
    /// The agent has seen something of this hub that the hub does not know: the hub lost memory.
    Ahead,
    /// Another history altogether, or the hub has no state at all.
    Foreign,
    /// It claims to be from a time when the hub signed, and was not made with the hub's key: nobody gave it.
    Forged,
}

impl Issuer {
    /// A process with a random `start`. `key` is the hub's, and outlives processes.
    pub fn new(key: [u8; 32], start: [u8; START_BYTES]) -> Self {
        Self { key, start }
    }

    fn give(&self, incarnation: u64, seq: u64) -> Checkpoint {
        Checkpoint {
            incarnation,
            seq,
            nonce: [self.start, self.seal(incarnation, seq, &self.start)].concat(),
        }
    }

    /// Whether it was made with this key, by whichever process.
    fn made(&self, checkpoint: &Checkpoint) -> bool {
        let Some((start, seal)) = checkpoint.nonce.split_at_checked(START_BYTES) else {
            return false;
        };
        // In a time that tells nothing about the right one.
        let mac = self.mac(checkpoint.incarnation, checkpoint.seq, start);
        seal.len() == SEAL_BYTES && mac.verify_truncated_left(seal).is_ok()
    }

    fn seal(&self, incarnation: u64, seq: u64, start: &[u8]) -> [u8; SEAL_BYTES] {
        let whole = self.mac(incarnation, seq, start).finalize().into_bytes();
        std::array::from_fn(|at| whole[at])
    }

    fn mac(&self, incarnation: u64, seq: u64, start: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(b"nave checkpoint v1\0");
        mac.update(&incarnation.to_be_bytes());
        mac.update(&seq.to_be_bytes());
        mac.update(start);
        mac
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Issuer({:?})", self.start)
    }
}

impl CheckpointRing {
    /// The memory of a hub that starts for the first time.
    pub fn new(issuer: &Issuer) -> Self {
        let mut ring = Self::default();
        ring.advance(issuer);
        ring
    }

    /// The memory as it was stored, oldest first.
    pub fn from_parts(incarnation: u64, recent: Vec<Checkpoint>, starts: Vec<Start>) -> Self {
        Self {
            incarnation,
            recent,
            starts,
        }
    }

    /// The present incarnation.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Recent checkpoints, oldest first.
    pub fn recent(&self) -> &[Checkpoint] {
        &self.recent
    }

    /// Processes that gave checkpoints, oldest first.
    pub fn starts(&self) -> &[Start] {
        &self.starts
    }

    /// The latest checkpoint, if there is any memory.
    pub fn latest(&self) -> Option<&Checkpoint> {
        self.recent.last()
    }

    /// Adds the checkpoint of a change and returns it; it must be stored before anything is sent.
    pub fn advance(&mut self, issuer: &Issuer) -> Checkpoint {
        if !self.is_of(issuer) {
            self.starts.clear(); // what was signed with a key that is gone counts like what was never signed
        }
        let before = self.latest().map(|latest| latest.seq);
        let seq = match before {
            Some(before) if self.starts.is_empty() => before.saturating_add(JUMP),
            Some(before) => before.saturating_add(1),
            None => 1,
        };
        if self.starts.last().is_none_or(|last| last.id != issuer.start) {
            self.starts.push(Start { seq, id: issuer.start });
            cut(&mut self.starts, STARTS);
        }
        let next = issuer.give(self.incarnation, seq);
        self.recent.push(next.clone());
        cut(&mut self.recent, RING);
        next
    }

    /// An operator confirmed a hub that was Behind: a higher incarnation begins, and what agents remember of lower ones is
    /// no contradiction any more.
    pub fn confirm(&mut self, incarnation: u64, issuer: &Issuer) {
        *self = Self {
            incarnation,
            ..Self::default()
        };
        self.advance(issuer);
    }

    /// What an agent's last checkpoint is to this hub.
    pub fn relation(&self, last: Option<&Checkpoint>, issuer: &Issuer) -> Relation {
        let Some(last) = last else { return Relation::New };
        if Some(last) == self.latest() {
            return Relation::Current;
        }
        if self.recent.contains(last) || last.incarnation < self.incarnation {
            return Relation::Ancestor;
        }
        let signed = self.starts.first().filter(|_| self.is_of(issuer));
        let is_signed = |first: &&Start| (last.incarnation, last.seq) >= (self.incarnation, first.seq);
        if signed.filter(is_signed).is_some() {
            return self.relation_of_signed(last, issuer);
        }
        match self.recent.first() {
            Some(_) if last.incarnation != self.incarnation => Relation::Foreign,
            Some(oldest) if last.seq < oldest.seq => Relation::OlderThanMemory,
            Some(_) => Relation::Ahead,
            None => Relation::Foreign,
        }
    }

    /// Of one from a time when this hub signed.
    fn relation_of_signed(&self, last: &Checkpoint, issuer: &Issuer) -> Relation {
        if !issuer.made(last) {
            return Relation::Forged;
        }
        if last.incarnation != self.incarnation {
            return Relation::Foreign;
        }
        let is_past = self.latest().is_some_and(|latest| last.seq <= latest.seq);
        let start = self.starts.iter().rev().find(|start| start.seq <= last.seq);
        match start.filter(|_| is_past) {
            Some(start) if last.nonce.starts_with(&start.id) => Relation::Ancestor,
            _ => Relation::Ahead,
        }
    }

    /// Whether the key that signed is this one.
    fn is_of(&self, issuer: &Issuer) -> bool {
        match (self.starts.first(), self.latest()) {
            (Some(first), Some(latest)) if latest.seq >= first.seq => issuer.made(latest),
            _ => true,
        }
    }
}

/// Keeps the last ones.
fn cut<T>(list: &mut Vec<T>, most: usize) {
    let excess = list.len().saturating_sub(most);
    list.drain(..excess);
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

    fn issuer(start: u8) -> Issuer {
        Issuer::new([7; 32], [start; 8])
    }

    /// As a hub gave them that did not sign.
    fn point(incarnation: u64, seq: u64, nonce: u8) -> Checkpoint {
        Checkpoint {
            incarnation,
            seq,
            nonce: vec![nonce; 16],
        }
    }

    fn unsigned() -> CheckpointRing {
        let recent = (1..=4u8).map(|n| point(5, u64::from(n) + 10, n)).collect();
        CheckpointRing::from_parts(5, recent, Vec::new())
    }

    fn signed(count: usize) -> CheckpointRing {
        let mut ring = CheckpointRing::from_parts(5, Vec::new(), Vec::new());
        (0..count).for_each(|_| drop(ring.advance(&issuer(1))));
        ring
    }

    #[track_caller]
    fn check(ring: &CheckpointRing, last: Checkpoint, expected: Relation) {
        assert_eq!(ring.relation(Some(&last), &issuer(9)), expected, "{last:?}");
    }

    #[test]
    fn what_was_never_signed_is_judged_by_the_ring_and_by_its_number() {
        let ring = unsigned();
        assert_eq!(ring.relation(None, &issuer(9)), Relation::New);
        check(&ring, point(5, 14, 4), Relation::Current);
        check(&ring, point(5, 12, 2), Relation::Ancestor);
        check(&ring, point(4, 99, 9), Relation::Ancestor);
        check(&ring, point(5, 10, 77), Relation::OlderThanMemory);
        for lost in [point(5, 19, 9), point(5, 14, 77), point(5, 12, 77)] {
            check(&ring, lost, Relation::Ahead);
        }
        check(&ring, point(6, 1, 1), Relation::Foreign);
        let empty = CheckpointRing::default();
        assert!(empty.relation(Some(&point(1, 1, 1)), &issuer(9)).means_behind());
        assert!(!empty.relation(None, &issuer(9)).means_behind());
    }

    #[test]
    fn what_nobody_gave_is_forged_and_stops_nobody() {
        let ring = signed(5);
        for forged in [
            point(5, 3, 3),
            point(5, 99, 1),
            point(6, 1, 1),
            point(u64::MAX, u64::MAX, 1),
            Checkpoint {
                nonce: Vec::new(),
                ..point(5, 9, 1)
            },
            Issuer::new([8; 32], [1; 8]).give(5, 9),
        ] {
            check(&ring, forged, Relation::Forged);
        }
        assert!(!Relation::Forged.means_behind());
    }

    #[test]
    fn what_the_hub_gave_and_lost_is_known_however_long_ago() {
        let mut restored = signed(3);
        let mut lived_on = restored.clone();
        let seen: Vec<Checkpoint> = (0..5).map(|_| lived_on.advance(&issuer(2))).collect();
        check(&restored, seen[0].clone(), Relation::Ahead);
        // It moves on by itself before the agent comes back, further than the ring reaches.
        let old = restored.advance(&issuer(3));
        for _ in 0..2 * RING {
            restored.advance(&issuer(3));
        }
        assert_eq!((restored.recent().len(), restored.starts().len()), (RING, 2));
        for lost in &seen {
            check(&restored, lost.clone(), Relation::Ahead);
        }
        check(&restored, old, Relation::Ancestor);
        check(&restored, issuer(1).give(5, 2), Relation::Ancestor);
        check(&restored, issuer(1).give(9, 1), Relation::Foreign);
        restored.confirm(6, &issuer(4));
        check(&restored, seen[4].clone(), Relation::Ancestor);
        assert_eq!(restored.latest(), Some(&issuer(4).give(6, 1)));
    }

    #[test]
    fn a_hub_that_begins_to_sign_knows_what_it_gave_before() {
        let mut ring = unsigned();
        let first = ring.advance(&issuer(1));
        assert_eq!(first.seq, 14 + JUMP);
        check(&ring, point(5, 13, 3), Relation::Ancestor);
        check(&ring, point(5, 10, 77), Relation::OlderThanMemory);
        check(&ring, point(5, 15, 77), Relation::Ahead); // of a history that was lost before it signed
        check(&ring, point(5, first.seq, 77), Relation::Forged);
        assert_eq!(ring.advance(&issuer(1)).seq, first.seq + 1);
    }

    #[test]
    fn a_lost_key_forges_nothing_afterwards() {
        let mut ring = signed(3);
        let (given, other) = (ring.recent()[1].clone(), Issuer::new([8; 32], [2; 8]));
        assert_eq!(ring.relation(Some(&given), &other), Relation::Ancestor);
        let next = ring.advance(&other);
        assert_eq!((next.seq, ring.starts().len()), (3 + JUMP, 1));
        assert_eq!(ring.relation(Some(&given), &other), Relation::Ancestor);
        assert_eq!(
            ring.relation(Some(&point(5, next.seq + 1, 1)), &other),
            Relation::Forged
        );
    }

    #[test]
    fn processes_are_bounded_and_reach_as_far_as_the_ring() {
        let mut ring = signed(1);
        for n in 0..2 * STARTS as u64 {
            ring.advance(&Issuer::new([7; 32], n.to_be_bytes()));
        }
        assert_eq!((ring.starts().len(), ring.recent().len()), (STARTS, RING));
        assert!(ring.starts()[0].seq <= ring.recent()[0].seq);
        check(&ring, point(5, 2, 2), Relation::OlderThanMemory);
    }
}
