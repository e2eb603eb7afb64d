//! The clocks that the sessions are driven by.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nave_proto::Now;
use tokio::time::Instant;

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
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
