//! When to come back: a pure decision.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use nave_proto::{AfterClose, Close};

/// Pauses between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffOptions {
    /// The first of a growing series; each is twice the one before. Each pause is between half of its number and it.
    pub first: Duration,
    /// The longest of the series: a hub that was away for a night has its fleet back so long after it returns, and a
    /// thousand agents that dial it meanwhile are a hundred packets in a second.
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
    /// The agent left by itself and comes back at once, with its new certificate or over a better carrier; nobody else
    /// does at that moment.
    pub at_once: bool,
}

impl Default for BackoffOptions {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(15),
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
        if attempted.at_once {
            return Some(Duration::ZERO);
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
                let next = self.series.next().unwrap_or(self.options.longest);
                Some(next.mul_f64(0.5 + 0.5 * random))
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
        .build()
}

#[cfg(test)]
mod tests {
    use nave_proto::CloseCode;

    use super::*;
    use crate::dialer::DialOptions;

    fn pause(backoff: &mut Backoff, window: Option<u64>, close: Option<Close>) -> Option<u64> {
        let window = window.map(Duration::from_millis);
        let pause = backoff.pause(
            Attempted {
                window,
                close: close.as_ref(),
                at_once: false,
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
        let renewed = Attempted {
            window: Some(Duration::from_secs(2)),
            close: None,
            at_once: true,
        };
        assert_eq!(b.pause(renewed, 0.5), Some(Duration::ZERO));
    }

    #[test]
    fn failures_wait_longer_and_longer_and_success_begins_anew() {
        let mut backoff = Backoff::new(BackoffOptions::default());
        let series: Vec<u64> = (0..8).filter_map(|_| pause(&mut backoff, None, None)).collect();
        assert_eq!(series, [375, 750, 1500, 3000, 6000, 11_250, 11_250, 11_250]);
        pause(&mut backoff, Some(0), None);
        assert_eq!(pause(&mut backoff, None, None), Some(375));
    }

    /// Plays an outage in virtual time: the hub goes at 0 and is back at `outage`. Answers when the agent dials next.
    fn back_after(outage: Duration, mut random: impl FnMut() -> f64) -> Duration {
        let window = Duration::from_millis(2000);
        let mut backoff = Backoff::new(BackoffOptions::default());
        let lost = Attempted {
            window: Some(window),
            close: None,
            at_once: false,
        };
        let mut now = backoff
            .pause(lost, random())
            .expect("a lost connection is dialled again");
        while now < outage {
            // Nobody answers: the attempt lasts until its deadline.
            now += DialOptions::default().connect_timeout;
            let failed = Attempted { window: None, ..lost };
            now += backoff
                .pause(failed, random())
                .expect("a hub that is away is dialled again");
        }
        now - outage
    }

    #[test]
    fn an_agent_is_back_soon_after_an_outage_however_long_it_was() {
        let longest = BackoffOptions::default().longest + DialOptions::default().connect_timeout;
        for outage in [1, 10, 60, 600, 3600, 12 * 3600] {
            let outage = Duration::from_secs(outage);
            for random in [0.0, 0.3, 1.0] {
                let back = back_after(outage, || random);
                assert!(back <= longest, "{back:?} after an outage of {outage:?}");
            }
        }
        // They do not come back in step: a fleet that lost its hub in one moment is spread over the whole pause.
        let outage = Duration::from_secs(3600);
        let mut returns: Vec<Duration> = (0..200)
            .map(|agent: u64| {
                let mut seed = agent;
                back_after(outage, move || {
                    seed = seed
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (seed >> 11) as f64 / (1_u64 << 53) as f64
                })
            })
            .collect();
        returns.sort();
        assert!(
            returns[20] < Duration::from_secs(4) && returns[180] > Duration::from_secs(10),
            "{returns:?}"
        );
    }
}
