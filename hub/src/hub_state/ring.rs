//! The ring itself: which checkpoints were ours.

use nave_crds::fleet::{Checkpoint, HubStateSpec};

/// The newest checkpoint.
pub fn latest(spec: &HubStateSpec) -> Checkpoint {
    spec.checkpoints.last().cloned().unwrap_or_default()
}

/// Adds the next checkpoint and keeps the last `kept`.
pub fn advance(spec: &mut HubStateSpec, nonce: [u8; 16], kept: usize) {
    let seq = latest(spec).seq + 1;
    spec.checkpoints.push(Checkpoint {
        incarnation: spec.incarnation,
        seq,
        nonce: hex(&nonce),
    });
    let excess = spec.checkpoints.len().saturating_sub(kept);
    spec.checkpoints.drain(..excess);
}

/// Starts a new incarnation: every agent of an earlier one is welcome again.
pub fn begin(spec: &mut HubStateSpec, incarnation: i64, nonce: [u8; 16], kept: usize) {
    spec.incarnation = incarnation;
    spec.checkpoints.clear();
    advance(spec, nonce, kept);
}

/// Whether this hub gave that checkpoint, as far as it remembers.
///
/// Earlier incarnations were confirmed by a person. Within the current one everything in the ring is known exactly;
/// what is older than the ring can only be believed by its number.
pub fn knows(spec: &HubStateSpec, seen: &Checkpoint) -> bool {
    if seen.incarnation != spec.incarnation {
        return seen.incarnation < spec.incarnation;
    }
    match spec.checkpoints.first() {
        Some(oldest) if seen.seq < oldest.seq => oldest.incarnation == spec.incarnation,
        _ => spec.checkpoints.contains(seen),
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            let _ = write!(text, "{byte:02x}"); // writing to a string cannot fail
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(incarnation: i64, seqs: std::ops::RangeInclusive<i64>) -> HubStateSpec {
        let mut spec = HubStateSpec {
            incarnation,
            ..HubStateSpec::default()
        };
        spec.checkpoints = seqs.map(|seq| at(incarnation, seq, "a")).collect();
        spec
    }

    fn at(incarnation: i64, seq: i64, history: &str) -> Checkpoint {
        Checkpoint {
            incarnation,
            seq,
            nonce: format!("{history}{seq}"),
        }
    }

    #[test]
    fn only_what_this_hub_gave_is_known() {
        let spec = ring(1, 10..=20);
        let check = |seen: Checkpoint, expected| assert_eq!(knows(&spec, &seen), expected, "{seen:?}");
        check(at(1, 20, "a"), true);
        check(at(1, 10, "a"), true);
        check(at(1, 15, "b"), false); // a history that moved on after a restore
        check(at(1, 21, "a"), false); // more than this hub knows
        check(at(1, 9, "b"), true); // older than the ring: its number has to do
        check(at(0, 999, "b"), true); // confirmed by a person
        check(at(2, 1, "a"), false);
    }

    #[test]
    fn an_empty_ring_knows_nothing_of_its_incarnation() {
        assert!(!knows(&HubStateSpec::default(), &at(0, 1, "a")));
    }

    #[test]
    fn the_ring_is_bounded_and_an_incarnation_starts_it_over() {
        let mut spec = HubStateSpec::default();
        for n in 0..10u8 {
            advance(&mut spec, [n; 16], 4);
        }
        let seqs: Vec<i64> = spec.checkpoints.iter().map(|c| c.seq).collect();
        assert_eq!(seqs, [7, 8, 9, 10]);
        let lost = at(0, 17, "b");
        assert!(!knows(&spec, &lost));
        begin(&mut spec, 1, [9; 16], 4);
        assert!(knows(&spec, &lost));
        assert_eq!((spec.checkpoints.len(), latest(&spec).incarnation), (1, 1));
    }
}
