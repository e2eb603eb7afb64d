//! The clocks that the sessions are driven by.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nave_proto::Now;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use tokio::time::Instant;

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

/// What an agent takes for the time of day: the machine's clock, which simulations of spokes may put off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WallClock {
    /// Seconds by which it is ahead of the machine's; no earlier than 1970.
    pub ahead: i64,
}

impl WallClock {
    /// This moment.
    pub(crate) fn now(self) -> Now {
        Now {
            wall: self.wall_ms(),
            ..now()
        }
    }

    /// Milliseconds since 1970.
    pub(crate) fn wall_ms(self) -> i64 {
        wall_ms().saturating_add(self.ahead.saturating_mul(1000)).max(0)
    }

    /// Seconds since 1970.
    pub(crate) fn seconds(self) -> u64 {
        u64::try_from(self.wall_ms() / 1000).unwrap_or_default()
    }

    /// This moment, as certificates are judged at.
    pub(crate) fn unix(self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.seconds()))
    }
}

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.unix())
    }
}

/// This moment.
pub(crate) fn now() -> Now {
    Now {
        mono: origin().elapsed().as_millis() as u64,
        wall: wall_ms(),
    }
}

/// Waits for a moment on the monotonic clock, for ever without one.
pub(crate) async fn wait_until(mono: Option<u64>) {
    match mono {
        Some(mono) => tokio::time::sleep_until(origin() + Duration::from_millis(mono)).await,
        None => std::future::pending().await,
    }
}

pub(crate) fn wall_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_millis() as i64,
        Err(before) => -(before.duration().as_millis() as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_off_in_every_reading_and_time_goes_on() {
        let real = WallClock::default();
        assert!(wall_ms().abs_diff(real.wall_ms()) < 60_000);
        let ahead = WallClock { ahead: 86_400 };
        assert!((ahead.wall_ms() - real.wall_ms() - 86_400_000).abs() < 60_000);
        let first = WallClock { ahead: i64::MIN };
        assert_eq!((first.wall_ms(), first.seconds()), (0, 0));
        assert_eq!(first.current_time(), Some(UnixTime::since_unix_epoch(Duration::ZERO)));
        assert!(first.now().mono <= ahead.now().mono);
    }
}
