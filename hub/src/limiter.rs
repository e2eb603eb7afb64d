//! A bucket of tokens: a burst, then a rate.

use std::time::Instant;

/// Says yes so many times at once, and so many times a second after that.
#[derive(Debug)]
pub struct Limiter {
    burst: f64,
    per_second: f64,
    left: f64,
    filled: Option<Instant>,
}

impl Limiter {
    /// A full bucket.
    pub fn new(burst: f64, per_second: f64) -> Self {
        Limiter {
            burst,
            per_second,
            left: burst,
            filled: None,
        }
    }

    /// Takes a token, if there is one.
    pub fn allow(&mut self, now: Instant) -> bool {
        let since = self
            .filled
            .map_or(0.0, |filled| now.saturating_duration_since(filled).as_secs_f64());
        self.filled = Some(now);
        self.left = (self.left + since * self.per_second).min(self.burst);
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_and_then_a_rate() {
        let mut limiter = Limiter::new(3.0, 2.0);
        let start = Instant::now();
        let allowed = (0..10).filter(|_| limiter.allow(start)).count();
        assert_eq!(allowed, 3);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..10).filter(|_| limiter.allow(later)).count(), 2);
        let much_later = later + Duration::from_secs(60);
        assert_eq!((0..10).filter(|_| limiter.allow(much_later)).count(), 3);
    }
}
