//! Is anybody there? Every heartbeat is answered by the hub's machine with a packet at least.
//!
//! The carrier's idle timeout is that of the slowest heartbeat that a hub asks of anybody, so an agent with a quick one
//! notices by itself that its hub has vanished. Over TCP the kernel does, by what is not acknowledged.

use nave_proto::hub::silence_ms;

/// So long after a heartbeat its answer has come, if anybody is there.
const ANSWERED_MS: u64 = 5_000;

/// What was heard on one connection, in milliseconds of the monotonic clock.
#[derive(Debug)]
pub(crate) struct Hearing {
    received: u64,
    heard: u64,
    beats: u64,
    look: u64,
}

/// What a look says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quiet {
    /// Look again then, or earlier.
    LookAgain(u64),
    /// Nothing has come for too long.
    Gone,
}

impl Hearing {
    pub(crate) fn new(now: u64) -> Self {
        Self {
            received: 0,
            heard: now,
            beats: 0,
            look: now,
        }
    }

    /// `received` is how many packets have come so far, `beats` how many heartbeats went.
    pub(crate) fn look(&mut self, now: u64, received: u64, beats: u64, heartbeat_ms: u64) -> Quiet {
        if received != self.received {
            (self.received, self.heard) = (received, now);
        }
        if beats != self.beats {
            (self.beats, self.look) = (beats, now + ANSWERED_MS);
        }
        let silence = silence_ms(u32::try_from(heartbeat_ms).unwrap_or(u32::MAX));
        let end = self.heard + silence;
        if now >= end {
            return Quiet::Gone;
        }
        Quiet::LookAgain(if self.look > now { self.look.min(end) } else { end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a hub that answers every heartbeat until `dies`; when it is noticed, in seconds.
    fn noticed_after(heartbeat: u64, dies: u64) -> u64 {
        let mut hearing = Hearing::new(0);
        let (mut now, mut beats, mut received) = (0, 0, 0);
        for second in 1..10_000 {
            if second % heartbeat == 0 {
                beats += 1;
                received += u64::from(second < dies);
                // The answer comes after this look.
                now = second * 1000;
            }
            let due = match hearing.look(now, received, beats, heartbeat * 1000) {
                Quiet::Gone => return second,
                Quiet::LookAgain(at) => at,
            };
            if due <= (second + 1) * 1000 {
                now = due;
            }
        }
        panic!("never noticed");
    }

    #[test]
    fn a_hub_that_vanished_is_noticed_after_two_heartbeats_and_a_little() {
        for (heartbeat, dies) in [(30, 100), (30, 91), (2, 9), (120, 1000)] {
            let after = noticed_after(heartbeat, dies) - dies;
            assert!(after <= 2 * heartbeat + 12, "{heartbeat} s: noticed after {after} s");
        }
    }

    #[test]
    fn a_quiet_line_is_not_taken_for_a_dead_one() {
        let mut hearing = Hearing::new(0);
        for beat in 1..1000 {
            let sent = beat * 30_000;
            assert!(matches!(hearing.look(sent, beat, beat, 30_000), Quiet::LookAgain(_)));
            assert!(matches!(
                hearing.look(sent + 5_000, beat + 1, beat, 30_000),
                Quiet::LookAgain(_)
            ));
        }
    }
}
