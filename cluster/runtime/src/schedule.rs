//! When to look again: intervals with jitter, and exponential delays after errors.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::Rng;

/// The interval moved by up to `percent` either way, so that a thousand objects with one interval do not fire together.
pub fn jittered(interval: Duration, percent: u8) -> Duration {
    if percent == 0 || interval.is_zero() {
        return interval;
    }
    let share = f64::from(percent.min(99)) / 100.0;
    interval.mul_f64(1.0 + rand::rng().random_range(-share..=share))
}

/// The first wait of an object in this process: at a process's start all objects come at once, and with [`jittered`] alone
/// it takes days until they no longer do. Evenly between `percent` of the interval and that much more than all of it, so
/// that requests are spread over the whole interval from its first round on.
pub fn spread(interval: Duration, percent: u8) -> Duration {
    if percent == 0 || interval.is_zero() {
        return interval;
    }
    let share = f64::from(percent.min(99)) / 100.0;
    interval.mul_f64(rand::rng().random_range(share..=1.0 + share))
}

/// Per-object exponential delay: `min`, 2×`min`, 4×`min` … never above `max` (Flux: 750 ms to 15 min).
#[derive(Debug)]
pub struct Backoff<Key> {
    min: Duration,
    max: Duration,
    failures: Mutex<HashMap<Key, u32>>,
}

impl<Key: Eq + Hash> Backoff<Key> {
    /// A back-off between `min` and `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Backoff {
            min,
            max,
            failures: Mutex::default(),
        }
    }

    /// Counts one more failure of `key` and says how long to wait.
    pub fn failed(&self, key: Key) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key).or_insert(0);
        let delay = self
            .min
            .checked_mul(1 << (*count).min(30))
            .unwrap_or(self.max)
            .min(self.max);
        *count = count.saturating_add(1);
        delay
    }

    /// Forgets the failures of `key`, after a success or a deletion.
    pub fn succeeded(&self, key: &Key) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_bound_and_start_again_after_success() {
        let backoff = Backoff::new(Duration::from_millis(750), Duration::from_secs(4));
        let delays: Vec<u128> = (0..5).map(|_| backoff.failed("a").as_millis()).collect();
        assert_eq!(delays, [750, 1500, 3000, 4000, 4000]);
        backoff.succeeded(&"a");
        assert_eq!(backoff.failed("a").as_millis(), 750);
        for _ in 0..100 {
            assert!(backoff.failed("a") <= Duration::from_secs(4));
        }
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let interval = Duration::from_secs(100);
        for _ in 0..1000 {
            let moved = jittered(interval, 5).as_secs_f64();
            assert!((95.0..=105.0).contains(&moved), "{moved}");
        }
        assert_eq!(jittered(interval, 0), interval);
    }

    #[test]
    fn the_first_wait_is_anywhere_in_the_interval() {
        let interval = Duration::from_secs(100);
        let waits: Vec<f64> = (0..1000).map(|_| spread(interval, 5).as_secs_f64()).collect();
        assert!(waits.iter().all(|wait| (5.0..=105.0).contains(wait)));
        // Each tenth of the interval has about a tenth of them; 40 of 1000 is six standard deviations away.
        for tenth in 0..10 {
            let from = 5.0 + 10.0 * f64::from(tenth);
            let count = waits.iter().filter(|wait| (from..from + 10.0).contains(*wait)).count();
            assert!((40..=170).contains(&count), "{count} waits begin at {from}");
        }
        assert_eq!(spread(interval, 0), interval);
    }
}
