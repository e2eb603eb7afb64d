//! How often a packet must go so that the path stays open: learnt from what the path does.
//!
//! An address translator forgets a mapping that was silent for too long; the next packet then comes from another
//! address, and the hub asks whether we still are who we were (PATH_CHALLENGE). Until that packet the hub's own packets
//! went nowhere. So a challenge after a pause says that the pause was too long.

use std::time::Duration;

/// No faster than this, whatever the path does: 120 B every five seconds are 84 KiB an hour.
const FASTEST_MS: u64 = 5_000;
/// After so many quiet pauses a longer one is tried.
const GOOD: u32 = 10;
/// After so many, one that has failed before: networks change.
const GOOD_AGAIN: u32 = 240;

/// The pace of one connection.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    /// The longest pause: what the hub asks for.
    asked: u64,
    pace: u64,
    challenges: u64,
    good: u32,
    /// The shortest pause that is known to be too long.
    failed: Option<u64>,
}

impl KeepAlive {
    /// `remembered` is the pace of the last connection; `asked` what the hub asks for; both in milliseconds.
    pub(crate) fn new(remembered: Option<u64>, asked: u64, challenges: u64) -> Self {
        let mut this = Self {
            asked,
            pace: asked,
            challenges,
            good: 0,
            failed: None,
        };
        this.pace = this.bounded(remembered.unwrap_or(asked));
        this
    }

    /// The pause now, in milliseconds.
    pub(crate) fn pace(&self) -> u64 {
        self.pace
    }

    /// What to remember: nothing while the hub's own pace does.
    pub(crate) fn memory(&self) -> Option<u64> {
        (self.pace < self.asked).then_some(self.pace)
    }

    /// A pause has passed; `challenges` is how often the path was asked for so far. Gives the next pause.
    pub(crate) fn passed(&mut self, challenges: u64) -> u64 {
        if challenges > self.challenges {
            self.challenges = challenges;
            self.good = 0;
            self.failed = Some(self.failed.map_or(self.pace, |failed| failed.min(self.pace)));
            self.pace = self.bounded(self.pace / 2);
            return self.pace;
        }
        self.good += 1;
        if self.good >= GOOD_AGAIN {
            self.failed = None;
        }
        let longer = self.bounded(self.pace + self.pace / 4);
        // Well below what has failed: translators do not keep time to the second.
        let allowed = self.failed.is_none_or(|failed| longer <= failed / 4 * 3);
        if self.good.is_multiple_of(GOOD) && allowed {
            self.pace = longer;
        }
        self.pace
    }

    fn bounded(&self, pace: u64) -> u64 {
        pace.max(FASTEST_MS).min(self.asked)
    }
}

/// A pause as a duration, for people.
pub(crate) fn shown(pace: u64) -> Duration {
    Duration::from_millis(pace)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays pauses against a translator that forgets after `forgets` milliseconds. Gives the pauses in the end.
    fn play(asked: u64, forgets: u64, pauses: usize) -> (Vec<u64>, usize) {
        let mut keep = KeepAlive::new(None, asked, 0);
        let (mut challenges, mut seen) = (0, Vec::new());
        for _ in 0..pauses {
            if keep.pace() > forgets {
                challenges += 1;
            }
            seen.push(keep.pace());
            keep.passed(challenges);
        }
        (seen, challenges as usize)
    }

    #[test]
    fn a_path_that_holds_costs_nothing_more() {
        let (seen, rebound) = play(30_000, 120_000, 100);
        assert!(seen.iter().all(|pace| *pace == 30_000));
        assert_eq!(rebound, 0);
    }

    #[test]
    fn a_short_memory_is_met_and_tried_again_seldom() {
        let (seen, rebound) = play(30_000, 20_000, 200);
        assert_eq!(seen[..3], [30_000, 15_000, 15_000]);
        assert!(rebound <= 2, "{rebound} rebindings: {seen:?}");
        assert!(
            seen[100..].iter().all(|pace| (15_000..=20_000).contains(pace)),
            "{seen:?}"
        );
        let (seen, _) = play(30_000, 1_000, 50);
        assert_eq!(seen.last(), Some(&5_000), "bounded");
    }

    #[test]
    fn a_network_that_has_become_better_is_noticed() {
        let mut keep = KeepAlive::new(None, 30_000, 0);
        keep.passed(1);
        assert_eq!((keep.pace(), keep.memory()), (15_000, Some(15_000)));
        for _ in 0..300 {
            keep.passed(1);
        }
        assert_eq!((keep.pace(), keep.memory()), (30_000, None));
        assert_eq!(KeepAlive::new(Some(9_000), 30_000, 4).passed(4), 9_000);
        assert_eq!(KeepAlive::new(Some(9_000), 700, 0).pace(), 700, "the hub asks for more");
    }
}
