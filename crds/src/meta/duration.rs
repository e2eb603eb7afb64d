//! Durations as Go writes them: `1h2m3.5s`.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Go's `metav1.Duration`: a string such as `10m` or `1h30m0.5s` in JSON.
///
/// Written as Go's `time.Duration.String` does (`10m` is written back as `10m0s`). Values beyond
/// Go's range of 292 years are cut to it: a schema pattern cannot forbid them, and one object
/// that cannot be read would hide every other object of its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

/// Text that is not a Go duration.
#[derive(Debug, thiserror::Error)]
#[error("reading duration {text:?}: expected a number with a unit such as 30s, 5m or 1h30m")]
pub struct DurationError {
    text: String,
}

/// Go keeps durations in a signed 64-bit count of nanoseconds.
const MAX_NANOS: u128 = i64::MAX as u128;

impl Duration {
    /// Zero, which Go treats as "not set" in many places.
    pub const ZERO: Duration = Duration(std::time::Duration::ZERO);

    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// The value as the standard library has it.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }

    /// Whether the value is zero.
    pub const fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

impl From<std::time::Duration> for Duration {
    fn from(value: std::time::Duration) -> Self {
        Self(value)
    }
}

impl From<Duration> for std::time::Duration {
    fn from(value: Duration) -> Self {
        value.0
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || DurationError {
            text: text.chars().take(64).collect(),
        };
        if text == "0" {
            return Ok(Self::ZERO);
        }
        let mut rest = text;
        let mut nanos: u128 = 0;
        while !rest.is_empty() || text.is_empty() {
            let whole_end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
            let (whole, tail) = rest.split_at(whole_end);
            let (fraction, tail) = match tail.strip_prefix('.') {
                Some(after) => {
                    let end = after.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
                    after.split_at(end)
                }
                None => ("", tail),
            };
            if whole.is_empty() && fraction.is_empty() {
                return Err(error());
            }
            let unit_end = tail
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .unwrap_or(tail.len());
            let (unit, next) = tail.split_at(unit_end);
            let unit: u128 = match unit {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                _ => return Err(error()),
            };
            nanos = nanos
                .saturating_add(digits(whole).saturating_mul(unit))
                .saturating_add(fraction_of(fraction, unit));
            rest = next;
        }
        let nanos = nanos.min(MAX_NANOS) as u64;
        Ok(Self(std::time::Duration::from_nanos(nanos)))
    }
}

/// The number that a run of ASCII digits stands for, cut at the maximum.
fn digits(text: &str) -> u128 {
    text.bytes().fold(0u128, |sum, digit| {
        sum.saturating_mul(10).saturating_add(u128::from(digit - b'0'))
    })
}

/// `0.<digits>` of a unit, in nanoseconds, rounded down.
fn fraction_of(text: &str, unit: u128) -> u128 {
    // 13 digits are finer than a nanosecond of an hour; more of them change nothing.
    let text = &text[..text.len().min(13)];
    digits(text) * unit / 10u128.pow(text.len() as u32)
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos().min(MAX_NANOS);
        if nanos == 0 {
            return f.write_str("0s");
        }
        if nanos < 1_000_000_000 {
            let (unit, scale) = match nanos {
                0..1_000 => ("ns", 1),
                1_000..1_000_000 => ("µs", 1_000),
                _ => ("ms", 1_000_000),
            };
            return write_number(f, nanos, scale, unit);
        }
        let seconds = nanos / 1_000_000_000;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write_number(f, nanos % 60_000_000_000, 1_000_000_000, "s")
    }
}

/// `nanos / scale` with its decimals, trailing zeros cut, and the unit.
fn write_number(f: &mut fmt::Formatter<'_>, nanos: u128, scale: u128, unit: &str) -> fmt::Result {
    write!(f, "{}", nanos / scale)?;
    let fraction = nanos % scale;
    if fraction > 0 {
        let width = scale.ilog10() as usize;
        let decimals = format!("{fraction:0width$}");
        write!(f, ".{}", decimals.trim_end_matches('0'))?;
    }
    f.write_str(unit)
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Duration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 30s, 5m or 1h30m")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": crate::schema::DURATION_PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, written: &str) {
        let duration: Duration = text.parse().expect(text);
        assert_eq!(duration.to_string(), written, "{text}");
        let again: Duration = written.parse().expect(written);
        assert_eq!(again, duration, "{text}");
    }

    /// Right-hand sides are what Go 1.26's `time.ParseDuration(x).String()` gives.
    #[test]
    fn durations_are_written_as_go_writes_them() {
        check("0", "0s");
        check("0s", "0s");
        check("10m", "10m0s");
        check("1h", "1h0m0s");
        check("90s", "1m30s");
        check("1h30m", "1h30m0s");
        check("1.5h", "1h30m0s");
        check("60s", "1m0s");
        check("0.5s", "500ms");
        check("1500ms", "1.5s");
        check("1us", "1µs");
        check("1.25ms", "1.25ms");
        check("100ns", "100ns");
        check("2562047h47m16.854775807s", "2562047h47m16.854775807s");
        check("720h", "720h0m0s");
        check("1h0m0.000000001s", "1h0m0.000000001s");
    }

    #[test]
    fn too_long_is_cut_and_not_refused() {
        check("99999999999999999999999h", "2562047h47m16.854775807s");
    }

    #[test]
    fn text_that_is_no_duration_is_refused() {
        for text in ["", "5", "m", "5 m", "-5m", "5d", ".s", "5m5", "1h-2m", "٣m"] {
            assert!(text.parse::<Duration>().is_err(), "{text:?}");
        }
    }
}
