//! The time at which an agent judges the hub's certificate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls_pki_types::UnixTime;

/// When this program was built (seconds since 1970), or `SOURCE_DATE_EPOCH` of that build.
pub const BUILD_TIME_SECONDS: u64 = parse_decimal(env!("NAVE_BUILD_EPOCH_SECONDS"));

/// How far a hub leads a clock that may be right, in seconds.
const MOST_LED: u64 = 24 * 60 * 60;

/// The latest moment that is known to have passed, whatever the system clock says.
///
/// It starts at the build time and is raised by each time that an authenticated hub states, so that a spoke whose clock
/// stands at 1970 after a power cut still reaches its hub. Clones share one value.
#[derive(Debug, Clone)]
pub struct TimeFloor(Arc<AtomicU64>);

impl TimeFloor {
    /// A floor at the build time or `seconds` (what was stored last), whichever is later.
    pub fn new(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds.max(BUILD_TIME_SECONDS))))
    }

    /// Raises the floor to a time that an authenticated hub stated, in seconds since 1970; a lower one changes nothing.
    ///
    /// An agent whose own clock may be right (it is behind nothing that the program knows) is led by a day at most: a hub
    /// whose clock runs years ahead for a minute would otherwise never be believed again once it is mended.
    pub fn raise(&self, stated: u64, system: UnixTime) {
        let system = system.as_secs();
        let most = if system < BUILD_TIME_SECONDS {
            u64::MAX
        } else {
            system.saturating_add(MOST_LED)
        };
        self.0.fetch_max(stated.min(most), Ordering::Relaxed);
    }

    /// The floor in seconds since 1970, to be stored.
    pub fn seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// `max(system clock, floor)`.
    pub fn judge(&self, system: UnixTime) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(system.as_secs().max(self.seconds())))
    }
}

impl Default for TimeFloor {
    fn default() -> Self {
        Self::new(0)
    }
}

const fn parse_decimal(text: &str) -> u64 {
    let digits = text.as_bytes();
    let (mut value, mut at) = (0u64, 0);
    while at < digits.len() {
        assert!(digits[at].is_ascii_digit());
        value = value * 10 + (digits[at] - b'0') as u64;
        at += 1;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floor_only_rises_and_a_clock_at_1970_is_lifted() {
        let floor = TimeFloor::default();
        assert_eq!(floor.seconds(), BUILD_TIME_SECONDS);
        floor.raise(BUILD_TIME_SECONDS + 10, UnixTime::since_unix_epoch(Duration::ZERO));
        floor.raise(5, UnixTime::since_unix_epoch(Duration::ZERO));
        let judged = floor.judge(UnixTime::since_unix_epoch(Duration::ZERO));
        assert_eq!(judged.as_secs(), BUILD_TIME_SECONDS + 10);
        let ahead = UnixTime::since_unix_epoch(Duration::from_secs(BUILD_TIME_SECONDS + 99));
        assert_eq!(floor.judge(ahead).as_secs(), BUILD_TIME_SECONDS + 99);
    }

    #[test]
    fn a_hub_years_ahead_leads_only_a_clock_that_is_surely_wrong() {
        let years = BUILD_TIME_SECONDS + 5 * 365 * MOST_LED;
        let floor = TimeFloor::default();
        let right = UnixTime::since_unix_epoch(Duration::from_secs(BUILD_TIME_SECONDS + 100));
        floor.raise(years, right);
        assert_eq!(floor.seconds(), BUILD_TIME_SECONDS + 100 + MOST_LED);
        floor.raise(years, UnixTime::since_unix_epoch(Duration::from_secs(7)));
        assert_eq!(floor.seconds(), years);
    }
}
