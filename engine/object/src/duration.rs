//! Durations as Go writes and reads them (`time.ParseDuration`, `Duration.String`).

use std::time::Duration;

/// Why a text is not a duration that can be waited for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text does not follow Go's grammar.
    #[error("`{text}` is not a duration such as 1h30m or 500ms")]
    Syntax {
        /// What was given.
        text: String,
    },
    /// The text is a duration below zero.
    #[error("duration `{text}` is negative")]
    Negative {
        /// What was given.
        text: String,
    },
    /// The text is a duration that Go's 64 bits of nanoseconds (292 years) cannot hold.
    #[error("duration `{text}` is too long")]
    TooLong {
        /// What was given.
        text: String,
    },
}

const NANOS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads `1h2m3.5s`, `300ms`, `0`; the units are ns, us, µs, ms, s, m and h.
///
/// # Errors
/// Everything that Go refuses, and negative durations, which no caller of ours can wait for.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let syntax = || DurationError::Syntax { text: text.to_owned() };
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(syntax());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(syntax)?;
        let (number, tail) = rest.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(syntax());
        }
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale = NANOS.iter().find(|(name, _)| *name == unit).ok_or_else(syntax)?.1;
        total += digits(whole).saturating_mul(scale);
        // Digits below a nanosecond are cut off, as in Go.
        let fraction = &fraction[..fraction.len().min(18)];
        total += digits(fraction) * scale / 10u128.pow(fraction.len() as u32);
        if total > i64::MAX as u128 {
            return Err(DurationError::TooLong { text: text.to_owned() });
        }
        rest = tail;
    }
    if negative && total > 0 {
        return Err(DurationError::Negative { text: text.to_owned() });
    }
    Ok(Duration::from_nanos(total as u64))
}

/// The text that Go's `Duration.String` gives: `1h2m3.5s`, `1.5ms`, `0s`.
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000_000_000 {
        let (scale, unit) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{}{unit}", decimal(nanos, scale));
    }
    let minutes = nanos / 60_000_000_000;
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

fn digits(text: &str) -> u128 {
    text.bytes().fold(0u128, |sum, digit| {
        sum.saturating_mul(10).saturating_add(u128::from(digit - b'0'))
    })
}

/// `value / scale` in decimal, without trailing zeros.
fn decimal(value: u128, scale: u128) -> String {
    let (whole, rest) = (value / scale, value % scale);
    if rest == 0 {
        return whole.to_string();
    }
    let width = scale.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_round_trip() {
        for (text, nanos, printed) in [
            ("0", 0, "0s"),
            ("5m", 300_000_000_000, "5m0s"),
            ("1h2m3.5s", 3_723_500_000_000, "1h2m3.5s"),
            ("1.5ms", 1_500_000, "1.5ms"),
            ("10us", 10_000, "10µs"),
            ("10µs", 10_000, "10µs"),
            ("7ns", 7, "7ns"),
            (".5s", 500_000_000, "500ms"),
            ("1.s", 1_000_000_000, "1s"),
            ("24h", 86_400_000_000_000, "24h0m0s"),
            ("1m30s", 90_000_000_000, "1m30s"),
            ("+3s", 3_000_000_000, "3s"),
        ] {
            let duration = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(duration.as_nanos(), nanos, "{text}");
            assert_eq!(format(duration), printed, "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in [
            "",
            "-",
            "5",
            "m",
            "5x",
            "1..5s",
            ".s",
            "5 m",
            "-1s",
            "300000000h",
            "1e3s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
