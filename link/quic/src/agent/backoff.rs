//! When to come back: a pure decision.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use nave_proto::{AfterClose, Close};

/// Pauses between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffOptions {
    /// The first of a growing series; each is about twice the one before, with jitter.
    pub first: Duration,
    /// The longest of the series.
    pub longest: Duration,
    /// When only a person can help: between half of this and this.
    pub rarely: Duration,
}

/// Remembers where in the series of pauses an agent is.
#[derive(Debug)]
pub(crate) struct Backoff {
    options: BackoffOptions,
    series: ExponentialBackoff,
}

/// How the last attempt ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempted<'a> {
    /// Whether `Welcome` came, and with it the window in which to come back.
    pub window: Option<Duration>,
    /// What the hub said.
    pub close: Option<&'a Close>,
}

impl Default for BackoffOptions {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(60),
            rarely: Duration::from_secs(300),
        }
    }
}

impl Backoff {
    pub(crate) fn new(options: BackoffOptions) -> Self {
        Self {
            series: series(options),
            options,
        }
    }

    /// The pause before the next attempt, `None` when there must be none. `random` is from 0 to 1.
    pub(crate) fn pause(&mut self, attempted: Attempted<'_>, random: f64) -> Option<Duration> {
        if attempted.window.is_some() {
            self.series = series(self.options);
        }
        // What the hub asks for overrides everything, and is spread a little: it told many agents the same.
        if let Some(asked) = attempted
            .close
            .map(|close| close.retry_after_ms)
            .filter(|asked| *asked > 0)
        {
            let asked = Duration::from_millis(asked).min(Duration::from_secs(3600));
            return Some(asked.mul_f64(1.0 + 0.1 * random));
        }
        let after = attempted.close.map(Close::after);
        match (after, attempted.window) {
            (Some(AfterClose::Stop), _) => None,
            (Some(AfterClose::Rarely), _) => Some(self.options.rarely.mul_f64(0.5 + 0.5 * random)),
            // All agents of a hub lose it at once; they come back spread over the window that it named.
            (Some(AfterClose::Soon) | None, Some(window)) => Some(window.mul_f64(random)),
            (Some(AfterClose::Soon | AfterClose::BackOff) | None, _) => {
                Some(self.series.next().unwrap_or(self.options.longest))
            }
        }
    }
}

fn series(options: BackoffOptions) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(options.first)
        .with_max_delay(options.longest)
        .with_factor(2.0)
        .without_max_times()
        .with_jitter()
        .build()
}

#[cfg(test)]
mod tests {
    use nave_proto::CloseCode;

    use super::*;

    fn pause(backoff: &mut Backoff, window: Option<u64>, close: Option<Close>) -> Option<u64> {
        let window = window.map(Duration::from_millis);
        let pause = backoff.pause(
            Attempted {
                window,
                close: close.as_ref(),
            },
            0.5,
        );
        pause.map(|pause| pause.as_millis() as u64)
    }

    fn said(code: CloseCode) -> Option<Close> {
        Some(Close::new(code, ""))
    }

    #[test]
    fn pauses_follow_what_happened() {
        let mut backoff = Backoff::new(BackoffOptions::default());
        let b = &mut backoff;
        assert_eq!(
            pause(b, Some(2000), None),
            Some(1000),
            "the connection was lost: within the window"
        );
        assert_eq!(pause(b, Some(2000), said(CloseCode::ShuttingDown)), Some(1000));
        assert_eq!(pause(b, None, said(CloseCode::KeyRevoked)), Some(225_000));
        assert_eq!(pause(b, Some(2000), said(CloseCode::Fenced)), None);
        let asked = said(CloseCode::Overloaded).map(|close| close.retry_after(10_000));
        assert_eq!(pause(b, Some(2000), asked), Some(10_500));
        let absurd = said(CloseCode::Done).map(|close| close.retry_after(u64::MAX));
        assert_eq!(pause(b, None, absurd), Some(3_780_000));
    }

    #[test]
    fn failures_wait_longer_and_longer_and_success_begins_anew() {
        let mut backoff = Backoff::new(BackoffOptions::default());
        let first = pause(&mut backoff, None, None).expect("a pause");
        assert!((500..=1000).contains(&first), "{first}");
        let last = (0..20)
            .filter_map(|_| pause(&mut backoff, None, None))
            .last()
            .expect("a pause");
        assert!((60_000..=120_000).contains(&last), "{last}");
        pause(&mut backoff, Some(0), None);
        let again = pause(&mut backoff, None, None).expect("a pause");
        assert!((500..=1000).contains(&again), "{again}");
    }
}
