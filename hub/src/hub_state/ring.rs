//! The ring as the object holds it.

use nave_crds::fleet::{Checkpoint, HubStart, HubStateSpec};
use nave_proto::{CheckpointRing, Start, wire};

/// The newest checkpoint.
pub fn latest(spec: &HubStateSpec) -> Checkpoint {
    spec.checkpoints.last().cloned().unwrap_or_default()
}

/// What the object says.
pub fn read(spec: &HubStateSpec) -> CheckpointRing {
    let recent = spec.checkpoints.iter().map(of_object).collect();
    let starts = spec.starts.iter().filter_map(|start| {
        Some(Start {
            seq: start.seq.unsigned_abs(),
            id: bytes(&start.id).try_into().ok()?,
        })
    });
    CheckpointRing::from_parts(spec.incarnation.unsigned_abs(), recent, starts.collect())
}

/// Puts the ring into the object.
pub fn write(spec: &mut HubStateSpec, ring: &CheckpointRing) {
    spec.incarnation = number(ring.incarnation());
    spec.checkpoints = ring.recent().iter().map(to_object).collect();
    let starts = ring.starts().iter().map(|start| HubStart {
        seq: number(start.seq),
        id: hex(&start.id),
    });
    spec.starts = starts.collect();
}

/// A checkpoint as messages carry it.
pub fn of_object(checkpoint: &Checkpoint) -> wire::Checkpoint {
    wire::Checkpoint {
        incarnation: checkpoint.incarnation.unsigned_abs(),
        seq: checkpoint.seq.unsigned_abs(),
        nonce: bytes(&checkpoint.nonce),
    }
}

fn to_object(checkpoint: &wire::Checkpoint) -> Checkpoint {
    Checkpoint {
        incarnation: number(checkpoint.incarnation),
        seq: number(checkpoint.seq),
        nonce: hex(&checkpoint.nonce),
    }
}

/// The API has no larger numbers.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn bytes(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .filter_map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok())
        .collect()
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
    use nave_proto::Issuer;

    #[test]
    fn the_object_holds_all_of_the_ring() {
        let issuer = Issuer::new([1; 32], *b"process1");
        let mut ring = CheckpointRing::new(&issuer);
        ring.confirm(3, &issuer);
        ring.advance(&issuer);
        let mut spec = HubStateSpec::default();
        write(&mut spec, &ring);
        assert_eq!(read(&spec), ring);
        assert_eq!((spec.incarnation, latest(&spec).seq, spec.starts.len()), (3, 2, 1));
        assert_eq!(spec.starts[0].id, hex(b"process1"));
    }
}
