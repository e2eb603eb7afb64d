//! Times as kubectl shows them.

use std::time::Duration;

use jiff::Timestamp;

/// `45s`, `3m12s`, `5h`, `2d4h`, `400d`: kubectl's `HumanDuration` (apimachinery 0.36).
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |big: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit}{small}{small_unit}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => two(days, "d", hours % 24, "h"),
        _ if days < 730 => format!("{days}d"),
        _ if days < 2920 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

/// How long ago `time` was; a time ahead of our clock counts as now.
pub fn since(time: Timestamp, now: Timestamp) -> String {
    let elapsed = now.duration_since(time);
    human(Duration::try_from(elapsed).unwrap_or_default())
}

/// How long ago the RFC 3339 time in `text` was; `<unknown>` for anything else, as kubectl prints it.
pub fn since_text(text: &str, now: Timestamp) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => since(time, now),
        Err(_) => "<unknown>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_kubectl() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (192, "3m12s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (18_060, "5h1m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (187_200, "2d4h"),
            (691_200, "8d"),
            (34_560_000, "400d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn clocks_that_differ_give_no_negative_age() {
        let now: Timestamp = "2026-11-21T07:00:00Z".parse().expect("valid");
        assert_eq!(since_text("2026-11-21T07:00:05Z", now), "0s");
        assert_eq!(since_text("2026-11-21T06:59:00Z", now), "60s");
        assert_eq!(since_text("", now), "<unknown>");
    }
}
